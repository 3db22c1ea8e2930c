"""What was written and what was received, and whether the one is what the other should be.

Everything here is pure: check() gets a History and returns violations by Jepsen's names.

	lost				an event that a subscription should have had, or a position that passes it
	duplicate			an event twice, or one from before the position that was asked for
	out of order		two events of a subscription, a row, or of transactions of which one followed the other
	split transaction	events of another transaction between those of one
	undone				an event of a transaction, or of a part of one, that is not committed
	leaked				an event to a role that was not allowed to read it when it was committed and received, or to a client
						whose token had expired or was revoked a second before it was committed; an answer to such a client
	corrupt				an event that says something else than the table
	needless reset		a reset although nothing was taken away
	unexpected			what no client should get
	stuck				no progress after the last fault had ended
	left behind			processes that outlive their server
"""

import bisect
import collections

import rules
import tokens

INFINITE = float("inf")
GRACE = 1.0         # s within which an end of a token takes effect: that is documented
ANSWER = 3.0        # the same for answers, which a process may have begun that was frozen then
ARRIVAL = 5.0       # the same for events to a client that reads: some may have been on their way

Change = collections.namedtuple("Change", "ord tx xid channel op key tag new old seq of")
Violation = collections.namedtuple("Violation", "kind text")


class Event:
    """An event as a client gets it. Two are the same object exactly if their texts are the same."""

    __slots__ = ("id", "position", "tx", "seq", "of", "channel", "op", "key", "new", "old", "tag")

    def __init__(self, params):
        self.id = params["id"]
        self.position = params["position"]
        self.tx = params["tx"]
        self.seq = params["seq"]
        self.of = params["of"]
        self.channel = params["channel"]
        self.op = params["op"]
        self.key = params.get("key", {}).get("id")
        self.new = params.get("new")
        self.old = params.get("old")
        if self.op == "MESSAGE":
            self.tag = params["payload"]["tag"]
        elif self.op == "TRUNCATE":
            self.tag = str(self.tx)
        else:
            self.tag = (self.old if self.op == "DELETE" else self.new)["tag"]

    @property
    def name(self):
        return self.channel

    def ident(self):
        return (self.channel, self.op, self.tag)


class Use:
    """A token that a connection has presented."""

    def __init__(self, claims, sent, exp, answered=None):
        self.claims = claims
        self.sent = sent
        self.exp = exp              # when it has expired, at the latest
        self.answered = answered    # when it had been accepted for sure, or None

    def expires(self):
        """If it may have been accepted after it had expired, it served until the skew was over."""
        return self.exp if self.answered is not None and self.answered <= self.exp else self.exp + tokens.SKEW

    def __repr__(self):
        return "(%s, sent %.3f, expires %.3f, answered %s)" % (self.claims, self.sent, self.exp, self.answered)


class Login:
    """The tokens of one connection."""

    def __init__(self):
        self.uses = []              # in the order in which they were sent; refused ones removed
        self.reads = True           # the client has always read what came
        self.answers = []           # (method, when it was asked for) of answers to other requests

    def possible(self, begin, end):
        """The tokens of which one was the client's at some time between begin and end."""
        first = max((i for i, use in enumerate(self.uses) if use.answered is not None and use.answered <= begin),
                    default=0)
        return [use for use in self.uses[first:] if use.sent <= end]


class Subscription:
    """One subscription of one connection: what was asked for and what came."""

    def __init__(self, client, connection, channel, ops, since, start, sent=0.0, answered=0.0, login=None):
        self.client = client
        self.connection = connection
        self.channel = channel
        self.ops = ops
        self.since = since          # the id asked for, or None
        self.start = start          # the id in the reply
        self.sent = sent
        self.answered = answered
        self.login = login
        self.events = []            # (Event, when)
        self.notices = []           # payloads of raw notifications; None: some were lost, and we were told
        self.told = []              # (how many events came before, id, reason): positions; of resets with a reason

    def receive(self, event, when=0.0):
        self.events.append((event, when))

    def cover(self, number):
        self.told.append((len(self.events), number, None))

    def reset(self, number, reason):
        self.told.append((len(self.events), number, reason))

    def resets(self):
        return [(number, reason) for _, number, reason in self.told if reason is not None]

    def begin(self):
        return self.start if self.since is None else self.since

    def end(self):
        """The last id up to which this subscription is known to have been served."""
        last = [self.begin()]
        if self.events:
            last.append(max(event.id for event, _ in self.events))
        return max(last + [number for _, number, _ in self.told])

    def gaps(self):
        """(after, up to) of what resets have given up."""
        found = []
        before = self.begin()
        done = 0
        for count, number, reason in self.told:
            before = max([before] + [event.id for event, _ in self.events[done:count]])
            done = count
            if reason is not None and number > before:
                found.append((before, number))
            before = max(before, number)
        return found

    def __str__(self):
        return "%s, connection %d, %s" % (self.client, self.connection, self.channel)


class History:
    """
    ledger: rows as workload.read_ledger() returns them. begin, end: transaction -> when; one that has no end had ended by
    quiet. revoked: (from when on, until when) the role could not read secret. resets: whether there may be any.
    notices: the transactions that sent a raw notification, which is their name, in the order of each session.
    revocations, expulsions: those of tokens.Issuer. backlog: for so many s clients that read may be behind.
    """

    def __init__(self, ledger, begin, end, quiet, subscriptions, events, revoked=(), resets=False, tables=None,
                 notices=(), revocations=(), expulsions=(), backlog=0):
        self.begin = begin
        self.end = end
        self.quiet = quiet
        self.subscriptions = subscriptions
        self.events = events
        self.revoked = revoked
        self.resets = resets
        self.tables = tables or {}
        self.backlog = backlog
        self.revocations = revocations
        self.expulsions = expulsions
        self.notices = {name: place for place, name in enumerate(notices)}
        self.by_writer = collections.defaultdict(list)  # the places of each session's notices
        for name, place in self.notices.items():
            self.by_writer[writer_of(name)].append(place)
        self.transactions = collections.defaultdict(list)
        for row in ledger:
            self.transactions[row[1]].append(row)
        self.changes = {}
        for name, rows in self.transactions.items():
            self.transactions[name] = [Change(*row, i + 1, len(rows)) for i, row in enumerate(rows)]
            for change in self.transactions[name]:
                self.changes[(change.channel, change.op, change.tag)] = change
        self.base = {}              # transaction -> id of its first event, as far as anybody got one
        self.violations = []

    def ended(self, name):
        return self.end.get(name, self.quiet)

    def violation(self, kind, text, *arguments):
        self.violations.append(Violation(kind, text % arguments))


def check(history):
    """All violations."""
    check_events(history)
    check_transactions(history)
    check_rows(history)
    known = ids_by_channel(history)
    for subscription in history.subscriptions:
        check_order(history, subscription)
        check_resets(history, subscription)
        check_complete(history, subscription, known)
        check_private(history, subscription)
        check_token(history, subscription)
        check_notices(history, subscription)
    check_answers(history)
    check_unknown(history)
    check_state(history)
    return history.violations


# ---------------- events ----------------

def visible(channel, row):
    """Of a row of the ledger, what the watch carries."""
    names = rules.CARRIED.get(channel)
    return row if row is None or names is None else {name: row[name] for name in names}


def check_events(history):
    """Each event by itself, and which ids the transactions have."""
    by_id = {}
    by_ident = {}
    for event in history.events:
        other = by_id.setdefault(event.id, event)
        if other is not event:
            history.violation("duplicate", "id %d is %s and %s, or differs in its text", event.id, other.ident(),
                              event.ident())
        other = by_ident.setdefault(event.ident(), event)
        if other is not event:
            history.violation("duplicate", "%s is id %d and id %d", event.ident(), other.id, event.id)
        change = history.changes.get(event.ident())
        if change is None:
            history.violation("undone", "%s, id %d, tx %d, %d of %d, is not committed", event.ident(), event.id,
                              event.tx, event.seq, event.of)
            continue
        said = (event.tx, event.of, event.key, event.position.partition("-")[2], event.new, event.old)
        true = (change.xid, change.of, change.key, str(event.id), visible(change.channel, change.new),
                visible(change.channel, change.old))
        if said != true:
            history.violation("corrupt", "id %d says %s, it was %s", event.id, said, true)
        if event.seq != change.seq:
            history.violation("out of order", "id %d is number %d of its transaction, it was %s", event.id, event.seq,
                              change)
            continue
        base = event.id - change.seq + 1
        if history.base.setdefault(change.tx, base) != base:
            history.violation("split transaction", "%s has id %d and should have %d", change, event.id,
                              history.base[change.tx] + change.seq - 1)


# ---------------- transactions and rows ----------------

def check_transactions(history):
    """If one had ended before another began to commit, its events come first; none lies within another."""
    order = sorted(history.base, key=history.base.get)
    latest, whose = -INFINITE, None
    last, before = 0, None
    for name in order:
        if history.ended(name) < latest:
            history.violation("out of order", "transaction %s had ended before %s began, and has later ids", name, whose)
        if name in history.begin and history.begin[name] > latest:
            latest, whose = history.begin[name], name
        if history.base[name] <= last:
            history.violation("split transaction", "the ids of %s and %s overlap", before, name)
        last = history.base[name] + len(history.transactions[name]) - 1
        before = name


def change_id(history, change):
    base = history.base.get(change.tx)
    return None if base is None else base + change.seq - 1


def check_rows(history):
    rows = collections.defaultdict(list)
    for change in history.changes.values():
        number = change_id(history, change)
        if number is not None and change.key is not None:
            rows[(change.channel, change.key)].append((number, change))
    for row, changes in rows.items():
        changes.sort(key=lambda pair: pair[0])
        for (_, one), (_, two) in zip(changes, changes[1:]):
            if one.ord > two.ord:
                history.violation("out of order", "row %s: %s comes before %s", row, one, two)


# ---------------- subscriptions ----------------

def ids_by_channel(history):
    """channel -> sorted (id, op) of all changes whose id is known."""
    known = collections.defaultdict(list)
    for change in history.changes.values():
        number = change_id(history, change)
        if number is not None:
            known[change.channel].append((number, change.op))
    for pairs in known.values():
        pairs.sort()
    return known


def check_order(history, subscription):
    """Ids grow, from the position that was asked for on, and none is passed by a position that was told."""
    last = subscription.begin()
    passed = last
    told = collections.deque(subscription.told)
    seen = set()
    for i, (event, _) in enumerate(subscription.events):
        while told and told[0][0] <= i:
            _, number, reason = told.popleft()
            passed = max(passed, number)
            if reason is not None:
                last = passed
        if event.id in seen or event.id <= subscription.begin():
            history.violation("duplicate", "%s: id %d again", subscription, event.id)
        elif event.id <= last:
            history.violation("out of order", "%s: id %d after %d", subscription, event.id, last)
        elif event.id <= passed:
            history.violation("lost", "%s: id %d comes after position %d was told", subscription, event.id, passed)
        seen.add(event.id)
        last = max(last, event.id)


def check_resets(history, subscription):
    for number, reason in subscription.resets():
        if not history.resets:
            history.violation("needless reset", "%s: to %d: %s", subscription, number, reason)


def check_complete(history, subscription, known):
    """All that are known of the channel between its begin and its end were received, but for what resets gave up."""
    pairs = known.get(subscription.channel, [])
    first = bisect.bisect_right(pairs, (subscription.begin(), "~"))
    last = bisect.bisect_right(pairs, (subscription.end(), "~"))
    gaps = subscription.gaps()
    received = {event.id for event, _ in subscription.events}
    missing = [number for number, op in pairs[first:last]
               if number not in received and (not subscription.ops or op in subscription.ops)
               and not any(low < number <= high for low, high in gaps)]
    if missing:
        history.violation("lost", "%s: %d events from id %d to %d, of (%d, %d], resets %s", subscription, len(missing),
                          missing[0], missing[-1], subscription.begin(), subscription.end(), subscription.resets())
    for event, _ in subscription.events:
        if event.channel != subscription.channel or (subscription.ops and event.op not in subscription.ops):
            history.violation("unexpected", "%s: id %d is of %s, %s", subscription, event.id, event.channel, event.op)


def check_private(history, subscription):
    if subscription.channel != "secret":
        return
    for begin, end in history.revoked:
        if begin < subscription.sent and subscription.answered < end:
            history.violation("leaked", "%s: subscribed while it could not be read", subscription)
        for event, when in subscription.events:
            change = history.changes.get(event.ident())
            if change is not None and begin < history.begin[change.tx] and when < end:
                history.violation("leaked", "%s: id %d was written and received while it could not be read",
                                  subscription, event.id)


# ---------------- tokens ----------------

def token_end(history, use):
    """When the server had to stop serving this token."""
    revoked = tokens.revoked_at(history.revocations, use.claims)
    return use.expires() if revoked is None else min(use.expires(), revoked)


def was_revoked(history, use):
    """Whether the token was revoked before the connection presented it."""
    revoked = tokens.revoked_at(history.revocations, use.claims)
    return revoked is not None and use.sent > revoked


def check_token(history, subscription):
    """No event came that was committed when the client's token had ended, or could not have its role."""
    login = subscription.login
    if login is None:
        return
    ends = {use: token_end(history, use) for use in login.uses}
    uses = login.possible(subscription.sent, subscription.answered)
    if all(was_revoked(history, use) for use in uses):
        history.violation("leaked", "%s: subscribed with a token that had been revoked before it was presented: %s",
                          subscription, uses)
    for event, when in subscription.events:
        change = history.changes.get(event.ident())
        if change is None:
            continue
        begun = history.begin[change.tx]
        last = max(ends[use] for use in login.possible(begun, when))
        if begun > last + GRACE:
            history.violation("leaked", "%s: id %d was written %.3f s after the end of the token: %s", subscription,
                              event.id, begun - last, login.possible(begun, when))
        elif login.reads and when > last + ARRIVAL + history.backlog:
            history.violation("leaked", "%s: id %d came %.3f s after the end of the token: %s", subscription, event.id,
                              when - last, login.possible(begun, when))
        if any(each.revoked < begun and when < each.granted for each in history.expulsions):
            history.violation("leaked", "%s: id %d was written and received while tokens could not have their role",
                              subscription, event.id)


def check_answers(history):
    """Who sends requests long after the end of a token gets no answer."""
    logins = {id(subscription.login): subscription for subscription in history.subscriptions if subscription.login}
    for subscription in logins.values():
        login = subscription.login
        for method, sent in login.answers:
            last = max(use.expires() for use in login.possible(sent, INFINITE))
            if sent > last + ANSWER:
                history.violation("leaked", "%s: %s was answered %.1f s after the token had expired: %s", subscription,
                                  method, sent - last, login.uses)


# ---------------- raw notifications ----------------

def writer_of(name):
    return name.partition(".")[0]


def check_notices(history, subscription):
    """Those of one session come in order, each once, and between two of them none is missing unless that was told."""
    last = {}       # writer -> place of the one that came last
    gapless = set()  # writers of whom one has come since a loss was told
    for payload in subscription.notices:
        if payload is None:
            gapless.clear()
            continue
        place = history.notices.get(payload)
        if place is None:
            history.violation("undone", "%s: notification %s is not committed", subscription, payload)
            continue
        writer = writer_of(payload)
        before = last.get(writer, -1)
        if place == before:
            history.violation("duplicate", "%s: notification %s again", subscription, payload)
        elif place < before:
            history.violation("out of order", "%s: notification %s comes late", subscription, payload)
        elif writer in gapless:
            places = history.by_writer[writer]
            missing = bisect.bisect_left(places, place) - bisect.bisect_right(places, before)
            if missing:
                history.violation("lost", "%s: %d notifications before %s", subscription, missing, payload)
        last[writer] = max(before, place)
        gapless.add(writer)


# ---------------- what nobody received ----------------

def coverage(subscriptions):
    """The union of what these subscriptions of one client to one channel span, as [begin, end], and all gaps."""
    spans = []
    gaps = []
    for subscription in sorted(subscriptions, key=Subscription.begin):
        gaps += subscription.gaps()
        if spans and subscription.begin() <= spans[-1][1]:
            spans[-1][1] = max(spans[-1][1], subscription.end())
        else:
            spans.append([subscription.begin(), subscription.end()])
    return spans, gaps


class Bounds:
    """Between which ids a transaction must be of which no id is known, by those that had ended or not yet begun."""

    def __init__(self, history):
        self.history = history
        ends = [(history.ended(name), base + len(history.transactions[name]) - 1)
                for name, base in history.base.items()]
        # Nor does what begins after a subscription was answered come before the position that it
        # starts from.
        ends += [(subscription.answered, subscription.start) for subscription in history.subscriptions
                 if subscription.since is None]
        ends.sort()
        begins = sorted(((history.begin[name], base) for name, base in history.base.items() if name in history.begin),
                        reverse=True)
        self.ends, self.low = self._running(ends, max)
        self.begins, self.high = self._running(begins, min)
        self.begins.reverse()
        self.high.reverse()

    @staticmethod
    def _running(pairs, function):
        best = None
        keys, values = [], []
        for key, value in pairs:
            best = value if best is None else function(best, value)
            keys.append(key)
            values.append(best)
        return keys, values

    def of(self, name):
        at = bisect.bisect_left(self.ends, self.history.begin[name])
        low = self.low[at - 1] if at > 0 else 0
        at = bisect.bisect_right(self.begins, self.history.ended(name))
        high = self.high[at] if at < len(self.high) else INFINITE
        return low, high


def check_unknown(history):
    """Transactions of which no client got anything: lost to each one that nothing excuses."""
    by_client = collections.defaultdict(list)
    for subscription in history.subscriptions:
        by_client[(subscription.client, subscription.channel)].append(subscription)
    spanned = {key: coverage(subscriptions) for key, subscriptions in by_client.items()}
    bounds = Bounds(history)
    for name, changes in history.transactions.items():
        if name in history.base:
            continue
        low, high = bounds.of(name)
        for (client, channel), (spans, gaps) in spanned.items():
            ops = by_client[(client, channel)][0].ops
            mine = [change for change in changes if change.channel == channel and (not ops or change.op in ops)]
            if (mine and any(begin <= low and high <= end for begin, end in spans)
                    and not any(gap_low < high and low < gap_high for gap_low, gap_high in gaps)):
                history.violation("lost", "%s, %s: transaction %s, between ids %s and %s, which nobody got: %s", client,
                                  channel, name, low, high, mine[0])


def check_state(history):
    """Whoever has been there from the beginning and applies all events has the table, whatever the ledger says."""
    by_client = collections.defaultdict(list)
    for subscription in history.subscriptions:
        by_client[(subscription.client, subscription.channel)].append(subscription)
    for (client, channel), subscriptions in by_client.items():
        spans, gaps = coverage(subscriptions)
        if channel not in history.tables or subscriptions[0].ops or gaps or len(spans) != 1:
            continue
        if subscriptions[0].since is not None or not client.startswith("steady"):
            continue
        rows = {}
        for event in sorted({event for sub in subscriptions for event, _ in sub.events}, key=lambda e: e.id):
            if event.op == "TRUNCATE":
                rows.clear()
            elif event.op == "DELETE":
                rows.pop(event.key, None)
            else:
                rows[event.key] = event.tag
        if rows != history.tables[channel]:
            differing = set(rows.items()) ^ set(history.tables[channel].items())
            history.violation("lost", "%s, %s: applying all events does not give the table: %d rows differ, as %s",
                              client, channel, len(differing), sorted(differing)[:3])
