"""What consumers of groups did, and whether each event was done once, in order, by one consumer at a time.

An effect is a row that a consumer writes in the transaction that acknowledges the event. Violations:

	group lost			an event that has no effect
	group duplicate		an event that has two
	group undone		an effect of an event that is not committed
	group shared		an event that one consumer got while another one had it
	group order			effects of one key in another order than its events, in a group that keeps it
	group reset			a reset although retention may not remove events
"""

import collections

from history import change_id

# An event, named as the ledger names it; key is None for messages and TRUNCATE.
Effect = collections.namedtuple("Effect", "n group channel op tag key id")


class Delivery:
    """An event that a consumer got: it had the event from begin to end for sure. number: of the delivery. attempt: how often it was delivered."""

    __slots__ = ("group", "id", "number", "attempt", "begin", "end", "consumer")

    def __init__(self, group, event, number, attempt, begin, consumer):
        self.group = group
        self.id = event
        self.number = number
        self.attempt = attempt
        self.begin = begin
        self.end = begin
        self.consumer = consumer

    def __str__(self):
        return "%s, event %d to %s, attempt %d, from %.3f to %.3f" % (self.group, self.id, self.consumer, self.attempt,
                                                                      self.begin, self.end)


class Group:
    """
    channels: whose events belong to it. ordered: by key. again: events that were set aside are sent again, as events of a
    new id that nobody knows if retention removes them.
    """

    def __init__(self, name, channels, ordered=False, again=False):
        self.name = name
        self.channels = channels
        self.ordered = ordered
        self.again = again


def check_groups(history, groups, effects, deliveries, resets=(), may_reset=False):
    """
    history: a History that was checked, so that it knows the ids. resets: (group, from, to) of what retention has removed.
    Adds to its violations.
    """
    by_group = collections.defaultdict(list)
    for effect in effects:
        by_group[effect.group].append(effect)
    for group in groups:
        mine = sorted(by_group[group.name], key=lambda effect: effect.n)
        gone = [(low, high) for name, low, high in resets if name == group.name]
        check_once(history, group, mine)
        check_lost(history, group, mine, gone)
        if group.ordered:
            check_order(history, group, mine)
        if gone and not may_reset:
            history.violation("group reset", "%s: %s", group.name, gone)
    check_shared(history, deliveries)


def check_once(history, group, effects):
    done = {}
    for effect in effects:
        ident = (effect.channel, effect.op, effect.tag)
        if ident in done:
            history.violation("group duplicate", "%s: %s and %s", group.name, done[ident], effect)
        done.setdefault(ident, effect)
        if ident not in history.changes:
            history.violation("group undone", "%s: %s", group.name, effect)


def check_lost(history, group, effects, gone):
    done = {(effect.channel, effect.op, effect.tag) for effect in effects}
    missing = []
    for ident, change in history.changes.items():
        if change.channel not in group.channels or ident in done:
            continue
        number = change_id(history, change)
        if not any(number is None or (group.again or low <= number) and number <= high for low, high in gone):
            missing.append((number, change))
    if missing:
        history.violation("group lost", "%s: %d events, as id %s, %s; removed by retention: %s", group.name, len(missing),
                          *missing[0], gone)


def check_order(history, group, effects):
    last = {}
    for effect in effects:
        before = last.get((effect.channel, effect.key))
        if before is not None and before.id > effect.id:
            history.violation("group order", "%s: %s is done after %s", group.name, effect, before)
        last[(effect.channel, effect.key)] = effect


def check_shared(history, deliveries):
    """Counts of attempts grow while a server runs, and a consumer has an event only while it does."""
    by_event = collections.defaultdict(list)
    for delivery in deliveries:
        by_event[(delivery.group, delivery.id)].append(delivery)
    for each in by_event.values():
        for one in each:
            for two in each:
                if two.attempt > one.attempt and one.begin <= two.begin <= one.end:
                    history.violation("group shared", "%s; %s", one, two)
