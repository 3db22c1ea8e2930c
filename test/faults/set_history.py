"""What members received, and whether it is what the policies, memberships and filters of the time let them have.

Whoever has loaded its set and then gets a reset loads it again. So the time of a subscription has parts, each from one
reset to the next, and in each of them the member may see the rows of one state: the one by which the server decides.
Rulings are ordered, and it is known when each began to commit and when that had returned. A change that began to commit
when a ruling had returned is decided by this or a later one, and by none that had not begun when it came. Violations:

	leaked			values of a row that was hidden by every state that may have decided
	wrong set		another change of the set than every such state makes of it, or a part that no single state explains; or a
					set that is not what SELECT returns in the end
	corrupt			an event that says something else than the table, or not what its op says of the set
	needless reset	a reset although nothing had changed for the member

The rows of a snapshot, and the events up to the first position that is not inside it, must make the set as it is at that
position; an event that does not fit the rows before it is a wrong set, too.
"""

import bisect
import collections
import time

import rules
from history import INFINITE, Bounds, Subscription, change_id, check_order

CHANGED = "the rows that the subscription may see have changed"
MAY_HAVE_CHANGED = "the rows that the subscription may see may have changed since the position"
NOT_KNOWN = "a column that is needed was not captured"      # row security was enabled later, or for other columns
INTERRUPTED = ("the connection ended before the snapshot was complete",
               "the snapshot begins again, because its worker has ended",
               "the rows that the subscription may see may have changed since the snapshot")
CORE = {"id", "v", "tag", "tenant", "owner", "pad"}     # columns that are never altered
MEMBERS = {"position", "id", "tx", "seq", "of", "at", "op", "cause", "schema", "table", "channel", "key", "new", "old"}


class SetEvent:
    """An event of a subscription to a set, whose name is its tag. params: the rest of the event's."""

    __slots__ = ("id", "position", "name", "params", "channel", "op")
    tag = ""    # no event of a set is a client's fence

    def __init__(self, name, params):
        self.id = params["id"]
        self.position = params["position"]
        self.name = name
        self.params = params
        self.channel = params["channel"]
        self.op = params["op"]


class Snapshot:
    """Rows of a set, key -> row, and the events that have come inside it."""

    def __init__(self):
        self.rows = {}
        self.whole = False      # all rows have come
        self.events = []
        self.wrong = []

    def add(self, rows):
        for row in rows:
            if row["id"] in self.rows:
                self.wrong.append("row %d twice" % row["id"])
            self.rows[row["id"]] = row

    def apply(self, event):
        if not self.whole:
            self.wrong.append("event %d comes before the last of the rows" % event.id)
        self.events.append(event)
        if event.op == "TRUNCATE":
            self.rows.clear()
            return
        key = event.params["key"]["id"]
        if (key in self.rows) != (event.op != "INSERT"):
            self.wrong.append("%s %d of the row %d, which is %sthere"
                              % (event.op, event.id, key, "" if key in self.rows else "not "))
        self.rows.pop(key, None)
        if event.op != "DELETE":
            self.rows[key] = event.params["new"]


class SetSubscription(Subscription):
    """
    log: (number, event or reason or Snapshot or None, when): events, resets, the first position that is not inside a
    snapshot, positions. fresh: the Snapshot until then.
    """

    def __init__(self, client, connection, want, ops, since, start, sent=0.0, answered=0.0):
        super().__init__(client, connection, want.channel, ops, since, start, sent, answered)
        self.want = want
        self.log = []
        self.fresh = None
        self.has_rows = True    # it resumes, or its client loads them
        self.snapshots = []
        self.wrong = []

    def receive(self, event, when=0.0):
        super().receive(event, when)
        self.log.append((event.id, event, when))

    def cover(self, number, when=None):
        super().cover(number)
        self.log.append((number, None, time.monotonic() if when is None else when))

    def reset(self, number, reason, when=None):
        super().reset(number, reason)
        if self.want.snapshot:
            if reason in INTERRUPTED and self.fresh is None:
                self.wrong.append("a reset of a snapshot that was joined: %s" % reason)
            self.wrong += self.fresh.wrong if self.fresh is not None else []
            self.fresh = Snapshot()
        self.log.append((number, reason, time.monotonic() if when is None else when))

    # ---------------- snapshots ----------------

    def expect_rows(self):
        self.has_rows = False
        self.fresh = Snapshot()

    def add_rows(self, params):
        if self.fresh is None or self.fresh.whole:
            self.wrong.append("rows that were not to come")
            return
        self.fresh.add(params["rows"])
        self.fresh.whole = bool(params.get("done"))

    def apply(self, event, when):
        super().receive(event, when)
        self.fresh.apply(event)

    def join(self, number, when):
        super().cover(number)
        self.log.append((number, self.fresh, when))
        self.snapshots.append(self.fresh)
        self.fresh = None

    def __str__(self):
        return "%s, connection %d, %s" % (self.client, self.connection, self.want)


class Part:
    """Of a subscription, from a reset or its beginning to the next reset or its end, and what came in between."""

    def __init__(self, subscription, start, after, opened):
        self.subscription = subscription
        self.start = start          # the id from which on the member has the set
        self.after = after          # None, "since" or the reason of the reset
        self.snapshot = None        # Snapshot, if the member got the set by one
        self.followed = None        # the reason of the reset that ended it
        self.opened = opened        # when
        self.events = {}            # id -> SetEvent
        self.numbers = []           # ids that were passed, and when the first that passed them came
        self.times = []
        self.upto = start
        self.keys = set()           # of states that explain it

    def passed(self, number, when):
        if number > self.upto or not self.numbers:
            self.numbers.append(max(number, self.upto))
            self.times.append(when)
            self.upto = max(number, self.upto)

    def when(self, number):
        """When everything up to this id had come."""
        return self.times[bisect.bisect_left(self.numbers, number)]

    def __str__(self):
        return "%s, (%d, %d], since %s" % (self.subscription, self.start, self.upto, self.after)


def parts_of(subscription):
    part, after, found = None, None, []
    if subscription.has_rows:
        part = Part(subscription, subscription.begin(), None if subscription.since is None else "since",
                    subscription.answered)
        found.append(part)
    for number, what, when in subscription.log:
        if isinstance(what, str):
            # What retention has removed, or one event that could not be decided, is given up.
            if part is not None:
                part.followed = what
            if what == CHANGED and part is not None:
                part.passed(number, when)
            part, after = None, what
        if isinstance(what, Snapshot) or isinstance(what, str) and not subscription.want.snapshot:
            part = Part(subscription, number, after, when)
            part.snapshot = what if isinstance(what, Snapshot) else None
            found.append(part)
            continue
        if part is None:
            continue
        if what is not None:
            part.events[number] = what
        part.passed(number, when)
    return found


class Rulings:
    """rows: (tx, state) in their order. begin, end: those of all transactions."""

    def __init__(self, rows, begin, end):
        self.states = [state for _, state in rows]
        self.number = {tx: i for i, (tx, _) in enumerate(rows)}
        self.begun = [begin.get(tx, -INFINITE) for tx, _ in rows]
        # Of one whose end is not known, the next one waited for it.
        self.ended = [end.get(tx, then) for (tx, _), then in zip(rows, self.begun[1:] + [INFINITE])]
        self.ended[0] = -INFINITE

    def first(self, when, tx=None):
        """The earliest state that may decide what begins at this time, in this transaction."""
        return max(bisect.bisect_left(self.ended, when) - 1, self.number.get(tx, 0))

    def last(self, when):
        """The latest state that may have decided what has come by this time."""
        return bisect.bisect_left(self.begun, when) - 1


class Reader:
    """What one want may be at each time."""

    def __init__(self, past, want):
        self.past = past
        self.want = want
        self.keys = [rules.key(state, want.channel, want.claims) for state in past.rulings.states]
        self.effects = {}   # (key, change's number in the ledger) -> op

    def between(self, first, last):
        return set(self.keys[first:max(first, last) + 1])

    def deciding(self, part, number, change):
        """Keys of the states that may have decided about a change. Replays go by those of the present."""
        rulings = self.past.rulings
        begun = max(self.past.history.begin[change.tx], part.subscription.sent)
        return self.between(rulings.first(begun, change.tx), rulings.last(part.when(number)))

    def changed(self, first, last):
        """How many rulings after the first of these up to the last change what the member may see."""
        if self.want.channel not in rules.TABLES:
            return 0
        seen = [(state[self.want.channel], rules.tenants_of(state, self.want.claims))
                for state in self.past.rulings.states[first:last + 1]]
        return sum(one != two for one, two in zip(seen, seen[1:]))

    def effect(self, key, change):
        """What a change does to the set, as an op, or None."""
        if change.op == "TRUNCATE":
            return change.op
        known = (key, change.ord)
        if known not in self.effects:
            old = change.old is not None and self.want.selects(key, change.old)
            new = change.new is not None and self.want.selects(key, change.new)
            self.effects[known] = ("UPDATE" if old else "INSERT") if new else ("DELETE" if old else None)
        return self.effects[known]

    def rows(self, key, number):
        """The set after this id, key -> tag, and the keys of which it is not known."""
        rows, unsure = self.past.table(self.want.channel, number)
        return {at: row["tag"] for at, row in rows.items() if at not in unsure and self.want.selects(key, row)}, unsure


class Past:
    """
    What the comparison of sets needs beside a history. rulings: as workload.read_rulings() returns them. sets: all
    SetSubscriptions, those of one member and want in their order. selected: (SetSubscription, key -> tag): what SELECT
    returned in the end to those that had come to the end.
    """

    def __init__(self, history, rulings, sets, selected=()):
        self.history = history
        self.rulings = Rulings(rulings, history.begin, history.end)
        self.sets = sets
        self.selected = selected
        self.by_channel = collections.defaultdict(list)     # channel -> (id, Change), in order
        self.by_table = collections.defaultdict(list)       # the same -> Change, in the order of the ledger
        self.tables = {}
        self.bounds = None
        self.judged = 0     # changes that were compared, for each subscription that they concerned

    def learn_ids(self):
        """Events of sets tell ids of transactions, too."""
        names = {rows[0].xid: name for name, rows in self.history.transactions.items()}
        for subscription in self.sets:
            for event, _ in subscription.events:
                name = names.get(event.params["tx"])
                if name is not None:
                    self.history.base.setdefault(name, event.id - event.params["seq"] + 1)

    def sort(self):
        for change in sorted(self.history.changes.values(), key=lambda each: each.ord):
            self.by_table[change.channel].append(change)
            number = change_id(self.history, change)
            if number is not None:
                self.by_channel[change.channel].append((number, change))
        for changes in self.by_channel.values():
            changes.sort(key=lambda pair: pair[0])

    def changes(self, channel, after, upto):
        """(id, Change) of a channel, of those whose id is known."""
        pairs = self.by_channel[channel]
        return pairs[bisect.bisect_right(pairs, after, key=lambda pair: pair[0]):
                     bisect.bisect_right(pairs, upto, key=lambda pair: pair[0])]

    def is_before(self, change, number):
        """Whether a change has an id up to this; None: not known."""
        known = change_id(self.history, change)
        if known is not None:
            return known <= number
        if self.bounds is None:
            self.bounds = Bounds(self.history)
        low, high = self.bounds.of(change.tx)
        return True if high <= number else False if low >= number else None

    def table(self, channel, number):
        """The rows after this id, and the keys of those of which this is not known."""
        if (channel, number) in self.tables:
            return self.tables[channel, number]
        rows, unsure, later = {}, set(), set()
        # The order of the ledger is that of changes of a row, and of those of the table.
        for change in self.by_table[channel]:
            before = None not in later and change.key not in later and self.is_before(change, number)
            if before is False:
                later.add(change.key)
            elif before is None:
                unsure.update(rows.keys() if change.op == "TRUNCATE" else [change.key])
            elif change.op == "TRUNCATE":
                rows.clear()
                unsure.clear()
            else:
                unsure.discard(change.key)
                rows.pop(change.key, None)
                if change.new is not None:
                    rows[change.key] = change.new
        self.tables[channel, number] = rows, unsure
        return rows, unsure


# ---------------- one event ----------------

def check_content(past, subscription, event, change):
    """It says what its op says of the set, and of the rows what the ledger says."""
    want, op = subscription.want, event.op
    params = event.params
    true = {"tx": change.xid, "seq": change.seq, "of": change.of, "channel": change.channel}
    if op != "TRUNCATE":
        true["key"] = {"id": change.key}
    if op != change.op:
        true["cause"] = change.op
    if op in ("INSERT", "UPDATE"):
        true["new"] = want.shown(change.new)
    if op in ("UPDATE", "DELETE"):
        true["old"] = want.shown(change.old)
    said = {name: params[name] for name in MEMBERS - {"position", "id", "at", "op", "schema", "table"}
            if name in params}
    if said != true or not params.keys() <= MEMBERS:
        hidden = op == "INSERT" and "old" in params or op == "DELETE" and "new" in params
        past.history.violation("leaked" if hidden else "corrupt", "%s: %s should have %s", subscription, params, true)


def rows_of(op, change):
    """The rows of which an event with this op has values."""
    return ([change.new] if op in ("INSERT", "UPDATE") else []) + ([change.old] if op in ("UPDATE", "DELETE") else [])


def judge_change(past, reader, part, number, change):
    """Whether some state that may have decided does to the set what came."""
    subscription = part.subscription
    event = part.events.get(number)
    op = event.op if event is not None else None
    deciding = reader.deciding(part, number, change)
    effects = {reader.effect(key, change) for key in deciding}
    if subscription.ops:
        effects = {effect if effect in subscription.ops else None for effect in effects}
    past.judged += 1
    if event is not None:
        check_content(past, subscription, event, change)
    if op in effects:
        return True
    hidden = event is not None and op != "TRUNCATE" and any(
        row is not None and not any(reader.want.selects(key, row) for key in deciding) for row in rows_of(op, change))
    past.history.violation("leaked" if hidden else "wrong set", "%s: %s of id %d, should be one of %s by %s: %s",
                           part, op, number, effects, deciding, change)
    return False


# ---------------- a part ----------------

def first_difference(reader, part, key, changes):
    """The first change about which this state has not decided, or None."""
    ops = part.subscription.ops
    for number, change in changes:
        effect = reader.effect(key, change)
        event = part.events.get(number)
        if (event.op if event is not None else None) != (effect if not ops or effect in ops else None):
            return number, "has another effect", change
        if key not in reader.deciding(part, number, change):
            return number, "began after another ruling had returned, or came before that began", change
    return None


def check_part(past, reader, part):
    """One state explains everything that came and did not come."""
    history, subscription = past.history, part.subscription
    changes = past.changes(part.subscription.channel, part.start, part.upto)
    known = {number for number, _ in changes}
    for number in part.events.keys() - known:
        history.violation("undone", "%s: %s is not committed", part, part.events[number].params)
    right = [judge_change(past, reader, part, number, change) for number, change in changes]
    opening = reader.between(past.rulings.first(subscription.sent), past.rulings.last(part.opened))
    candidates = set(opening)
    for number, change in changes:
        candidates |= reader.deciding(part, number, change)
    differences = {key: first_difference(reader, part, key, changes) for key in candidates}
    part.keys = {key for key, difference in differences.items() if difference is None}
    if not changes:
        part.keys = opening
    if part.keys:
        return
    part.keys = candidates
    if all(right):
        key = max(differences, key=lambda each: differences[each][0])
        history.violation("wrong set", "%s: no state explains all of it without a reset. %s does until id %d, which %s: %s",
                          part, key, *differences[key])


def fits(reader, key, snapshot, table, unsure):
    """Whether the rows that a snapshot and its events have made are those of a table that this state lets through."""
    want = reader.want
    true = {at: want.shown(row) for at, row in table.items() if at not in unsure and want.selects(key, row)}
    rows = {at: row for at, row in snapshot.rows.items() if at not in unsure}
    return rows.keys() == true.keys() and all(
        rows[at].get(name) == row[name] for at, row in true.items() for name in row.keys() & CORE)


def check_snapshot(past, reader, part):
    """The set as it is where the snapshot and the stream are joined."""
    history, subscription, snapshot = past.history, part.subscription, part.snapshot
    names = reader.want.columns or rules.CARRIED.get(subscription.channel)
    for row in snapshot.rows.values():
        if names and row.keys() - {"id"} - set(names):
            history.violation("leaked", "%s: %s has other columns than %s", part, row, names)
    changes = dict(past.changes(subscription.channel, subscription.start, part.start))
    for event in snapshot.events:
        if event.id in changes:
            check_content(past, subscription, event, changes[event.id])
        else:
            history.violation("undone", "%s: %s is not committed", part, event.params)
    if subscription.ops:
        return      # events of other operations, which the snapshot has not seen, are missing
    for text in snapshot.wrong:
        history.violation("wrong set", "%s: %s", part, text)
    keys = set(part.keys)
    if part.followed == CHANGED:
        # The rows may already be those of the state that the reset is about.
        keys |= reader.between(past.rulings.first(subscription.sent), past.rulings.last(part.opened))
    table, unsure = past.table(subscription.channel, part.start)
    past.judged += 1
    if any(fits(reader, key, snapshot, table, unsure) for key in keys):
        return
    hidden = [at for at in snapshot.rows.keys() & table.keys() - unsure
              if not any(reader.want.selects(key, table[at]) for key in keys)]
    rows = min((reader.rows(key, part.start)[0] for key in keys), key=lambda each: len(each.keys() ^ snapshot.rows.keys()))
    true = {(at, tag) for at, tag in rows.items() if at not in unsure}
    mine = {(at, row["tag"]) for at, row in snapshot.rows.items() if at not in unsure}
    history.violation("leaked" if hidden else "wrong set",
                      "%s: %d rows and %d events up to the join are not the set of %s; missing: %d, as %s; too much: %d, as %s; "
                      "of all states, these fit: %s; asked for between the rulings %d and %d; ended by %s", part,
                      len(snapshot.rows), len(snapshot.events), keys, len(true - mine), sorted(true - mine)[:5],
                      len(mine - true), sorted(mine - true)[:5],
                      {key for key in reader.keys if fits(reader, key, snapshot, table, unsure)},
                      past.rulings.first(subscription.sent), past.rulings.last(part.opened), part.followed)


def check_resumed(past, reader, part, before):
    """The set that a member had is the one from which the server went on."""
    had = next((each for each in reversed(before) if each.start <= part.start <= each.upto), None)
    if had is None or had.keys & part.keys:
        return
    then = [reader.rows(key, part.start)[0] for key in had.keys]
    now = [reader.rows(key, part.start)[0] for key in part.keys]
    if not any(rows in then for rows in now):
        past.history.violation("wrong set", "%s: resumed without a reset; the member had the rows of %s", part, had.keys)


def check_reset(past, reader, part, changes):
    """changes: how many resets may come because policies or memberships have changed, beside those that have come."""
    if part.after in (None, "since"):
        fine = True
    elif part.after in INTERRUPTED:
        fine = part.snapshot is not None
    elif part.after == CHANGED:
        fine = changes > 0
    elif part.after == MAY_HAVE_CHANGED:
        # The server notes what applied to a member for as long as it retains events.
        fine = past.history.resets or reader.changed(0, past.rulings.last(part.opened)) > 0
    elif part.after == NOT_KNOWN:
        fine = part.subscription.channel == "h"
    else:
        fine = past.history.resets
    if not fine:
        past.history.violation("needless reset", "%s", part)


def check_end(past, reader, part, selected):
    """With the part's events applied to its first rows, the member has what SELECT returns."""
    for key in part.keys:
        rows, unsure = reader.rows(key, part.start)
        if part.snapshot is not None:
            rows = {at: row["tag"] for at, row in part.snapshot.rows.items()}
        for number in sorted(part.events):
            event = part.events[number]
            if event.op == "TRUNCATE":
                rows.clear()
                unsure = set()
            elif event.op == "DELETE":
                rows.pop(event.params["key"]["id"], None)
            else:
                rows[event.params["key"]["id"]] = event.params["new"]["tag"]
        differing = {at: tag for at, tag in rows.items() ^ selected.items() if at not in unsure}
        past.judged += 1
        if not differing:
            return
    past.history.violation("wrong set", "%s: the set is not what SELECT returns; %d rows differ, as %s", part,
                           len(differing), sorted(differing.items())[:3])


def check_subscription(past, reader, subscription, before):
    """before: parts of earlier subscriptions of the member to the same. Returns its own."""
    check_order(past.history, subscription)
    for text in subscription.wrong:
        past.history.violation("wrong set", "%s: %s", subscription, text)
    parts = parts_of(subscription)
    # Of one that resumes, changes may be told that happened while the member was away.
    first = 0 if subscription.since is not None else past.rulings.first(subscription.sent)
    resets = 0
    for part in parts:
        check_part(past, reader, part)
        if part.snapshot is not None:
            check_snapshot(past, reader, part)
        check_reset(past, reader, part, reader.changed(first, past.rulings.last(part.opened)) - resets)
        resets += part.after == CHANGED
    # A subscription that waits for a lock gets nothing, and no reset either, before it is placed.
    if subscription.since is not None and (parts[0].events or parts[0].followed is None and parts[0].upto > parts[0].start):
        check_resumed(past, reader, parts[0], before)
    return parts


def check_sets(past):
    """All violations are added to the history's, which must have been checked before."""
    readers = {}
    parts = collections.defaultdict(list)   # want -> all of its parts so far
    selected = {id(subscription): rows for subscription, rows in past.selected}
    past.sort()
    for subscription in past.sets:
        want = subscription.want
        if want not in readers:
            readers[want] = Reader(past, want)
        found = check_subscription(past, readers[want], subscription, parts[want])
        parts[want] += found
        if id(subscription) in selected and not subscription.ops and found:
            check_end(past, readers[want], found[-1], selected[id(subscription)])
