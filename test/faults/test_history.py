#!/usr/bin/python3
"""Each violation is found in a made-up history that has it, and none in one that has none."""

import unittest

from history import Event, History, Login, Subscription, Use, check
from tokens import Expulsion, Revocation


def row(number, tx, channel, op, key, tag, old=None):
    new = None if op == "DELETE" else {"id": key, "tag": tag}
    return (number, tx, int(tx), channel, op, key, tag, new, None if old is None else {"id": key, "tag": old})


LEDGER = [
    row(1, "1", "a", "INSERT", 1, "x1"),
    row(2, "2", "a", "UPDATE", 1, "x2", "x1"), row(3, "2", "a", "INSERT", 2, "x3"),
    row(4, "3", "secret", "INSERT", 7, "s1"),
    row(5, "4", "a", "DELETE", 1, "x2", "x2"),
]
IDS = {"x1": 10, "x2": 20, "x3": 21, "s1": 30}
TIMES = {str(n): float(10 * n) for n in range(1, 5)}


def event(change, number, seq=1, of=1):
    _, _, xid, channel, op, key, tag, new, old = change
    return Event({"id": number, "position": "1-%d" % number, "tx": xid, "seq": seq, "of": of, "channel": channel,
                  "op": op, "key": {"id": key}, "new": new, "old": old})


E1 = event(LEDGER[0], 10)
E2 = event(LEDGER[1], 20, 1, 2)
E3 = event(LEDGER[2], 21, 2, 2)
S1 = event(LEDGER[3], 30)
E4 = event(LEDGER[4], 40)
ALL = [E1, E2, E3, E4]


def subscription(events, since=None, start=5, channel="a", name="steady 0"):
    made = Subscription(name, 1, channel, None, since, start)
    for number, each in enumerate(events):
        made.receive(each, 100.0 + number)
    return made


class Tests(unittest.TestCase):
    def kinds(self, subscriptions, events=None, **changes):
        arguments = dict(
            ledger=LEDGER, begin=TIMES, end={tx: when + 5 for tx, when in TIMES.items()}, quiet=1000.0,
            subscriptions=subscriptions,
            events=events if events is not None else sorted(
                {e for s in subscriptions for e, _ in s.events} | {S1}, key=lambda e: e.id))
        arguments.update(changes)
        return sorted({violation.kind for violation in check(History(**arguments))})

    def test_good(self):
        self.assertEqual(self.kinds([subscription(ALL)], tables={"a": {2: "x3"}}), [])

    def test_good_resumed_within_a_transaction(self):
        self.assertEqual(self.kinds([subscription(ALL[:2]), subscription(ALL[2:], since=20, start=20)]), [])

    def test_lost(self):
        self.assertEqual(self.kinds([subscription([E1, E3, E4]), subscription(ALL, name="b")]), ["lost"])

    def test_lost_at_the_beginning(self):
        other = subscription(ALL, name="b")
        self.assertEqual(self.kinds([subscription(ALL[:1]), subscription([E4], since=10, start=10), other]), ["lost"])

    def test_lost_where_the_reply_leaps(self):
        other = subscription(ALL, name="b")
        self.assertEqual(self.kinds([subscription(ALL[:1]), subscription([E4], since=10, start=21), other]), ["lost"])

    def test_lost_to_everybody(self):
        self.assertEqual(self.kinds([subscription([E2, E3, E4])]), ["lost"])

    def test_lost_after_a_position(self):
        one = subscription([E1])
        one.cover(25)
        self.assertEqual(self.kinds([one, subscription(ALL, name="b")]), ["lost"])

    def test_position_before_its_event(self):
        one = subscription([E1])
        one.cover(25)
        one.receive(E2)
        one.receive(E3)
        self.assertEqual(self.kinds([one, subscription(ALL, name="b")]), ["lost"])

    def test_reset(self):
        one = subscription([E1])
        one.reset(25, "retention")
        one.receive(E4)
        both = [one, subscription(ALL, name="b")]
        self.assertEqual(self.kinds(both, resets=True), [])
        self.assertEqual(self.kinds(both), ["needless reset"])

    def test_notices(self):
        sent = ["1.1", "2.1", "1.2", "1.3"]
        for received, found in (
                (["1.1", "2.1", "1.2", "1.3"], []), (["2.1", "1.2"], []), (["1.1", "1.3"], ["lost"]),
                (["1.1", None, "1.3"], []), (["1.1", None, "1.1"], ["duplicate"]), (["1.2", "1.1"], ["out of order"]),
                (["1.1", "1.9"], ["undone"])):
            one = subscription(ALL)
            one.notices = received
            self.assertEqual(self.kinds([one], notices=sent), found)

    def test_lost_beside_a_reset(self):
        one = subscription([E1])
        one.reset(15, "retention")
        one.receive(E4)
        self.assertEqual(self.kinds([one, subscription(ALL, name="b")], resets=True), ["lost"])

    def test_nobody_got_it_but_a_reset_explains_it(self):
        one = subscription([])
        one.reset(15, "retention")
        for each in ALL[1:]:
            one.receive(each)
        self.assertEqual(self.kinds([one], resets=True), [])

    def test_duplicate(self):
        self.assertEqual(self.kinds([subscription([E1, E2, E2, E3, E4])]), ["duplicate"])

    def test_duplicate_over_a_reconnect(self):
        self.assertEqual(self.kinds([subscription(ALL[:2]), subscription([E2, E3, E4], since=20, start=20)]),
                         ["duplicate"])

    def test_duplicate_with_another_id(self):
        again = event(LEDGER[0], 50)
        self.assertIn("duplicate", self.kinds([subscription(ALL + [again])]))

    def test_id_twice(self):
        self.assertIn("duplicate", self.kinds([subscription(ALL), subscription([event(LEDGER[3], 40)],
                                                                               channel="secret")]))

    def test_out_of_order(self):
        self.assertEqual(self.kinds([subscription([E1, E3, E2, E4])]), ["out of order"])

    def test_transactions_out_of_order(self):
        late = event(LEDGER[0], 35)
        self.assertIn("out of order", self.kinds([subscription([E2, E3, late, E4])]))

    def test_order_within_a_transaction(self):
        swapped = [E1, event(LEDGER[2], 20, 1, 2), event(LEDGER[1], 21, 2, 2), E4]
        self.assertIn("out of order", self.kinds([subscription(swapped)]))

    def test_split(self):
        apart = event(LEDGER[2], 31, 2, 2)
        self.assertIn("split transaction", self.kinds([subscription([E1, E2, apart, E4])]))

    def test_undone(self):
        undone = event(row(9, "9", "a", "INSERT", 9, "x9"), 35)
        self.assertEqual(self.kinds([subscription([E1, E2, E3, undone, E4])]), ["undone"])

    def test_corrupt(self):
        wrong = event(row(1, "1", "a", "INSERT", 1, "x1"), 10)
        wrong.new = {"id": 2, "tag": "x1"}
        self.assertEqual(self.kinds([subscription([wrong, E2, E3, E4])]), ["corrupt"])

    def test_leaked(self):
        one = subscription([S1], channel="secret")
        self.assertEqual(self.kinds([one], events=ALL + [S1], revoked=[(25.0, 200.0)]), ["leaked"])
        self.assertEqual(self.kinds([one], events=ALL + [S1], revoked=[(35.0, 200.0)]), [])
        self.assertEqual(self.kinds([one], events=ALL + [S1], revoked=[(25.0, 99.0)]), [])

    def test_subscribed_without_the_right(self):
        one = Subscription("steady 0", 1, "secret", None, None, 35, 50.0, 51.0)
        self.assertEqual(self.kinds([one], events=ALL + [S1], revoked=[(45.0, 60.0)]), ["leaked"])

    def login(self, exp, answered=5.0, sent=4.0):
        login = Login()
        login.reads = False
        login.uses.append(Use({"sub": "7", "iat": 50}, sent, exp, answered))
        return login

    def token_kinds(self, login, **changes):
        """Of a client that has received all events, the last of which was written at 40."""
        one = subscription(ALL)
        one.login = login
        one.answered = 60.0
        return self.kinds([one], **changes)

    def test_expired(self):
        self.assertEqual(self.token_kinds(self.login(41.0)), [])
        self.assertEqual(self.token_kinds(self.login(39.5)), [])
        self.assertEqual(self.token_kinds(self.login(38.0)), ["leaked"])

    def test_accepted_after_its_expiry(self):
        self.assertEqual(self.token_kinds(self.login(11.0, answered=12.0)), [])
        self.assertEqual(self.token_kinds(self.login(8.0, answered=12.0)), ["leaked"])

    def test_renewed(self):
        login = self.login(20.0)
        login.uses.append(Use({"sub": "7"}, 18.0, 50.0))
        self.assertEqual(self.token_kinds(login), [])
        login.uses[1].exp = 30.0
        self.assertEqual(self.token_kinds(login), [])   # it may have been accepted after it had expired
        login.uses[1].answered = 19.0
        self.assertEqual(self.token_kinds(login), ["leaked"])

    def test_revoked(self):
        def revoked(committed, before=100, claims=None):
            return self.token_kinds(self.login(100.0),
                                    revocations=[Revocation(claims or {"sub": "7"}, before, 1.0, committed)])
        self.assertEqual(revoked(38.0), ["leaked"])
        self.assertEqual(revoked(39.5), [])
        self.assertEqual(revoked(None), [])
        self.assertEqual(revoked(38.0, before=50), [])
        self.assertEqual(revoked(38.0, claims={"sub": "8"}), [])

    def test_revoked_before_it_was_presented(self):
        login = self.login(1000.0, sent=50.0, answered=51.0)
        revocations = [Revocation({"sub": "7"}, 100, 1.0, 45.0)]
        self.assertEqual(self.token_kinds(login, revocations=revocations), ["leaked"])
        login.uses[0].sent = 44.5
        self.assertEqual(self.token_kinds(login, revocations=revocations), [])

    def test_role_not_granted(self):
        def expelled(revoked, granted):
            return self.token_kinds(self.login(1000.0), expulsions=[Expulsion(1.0, revoked, granted, 900.0)])
        self.assertEqual(expelled(38.0, 200.0), ["leaked"])
        self.assertEqual(expelled(40.5, 200.0), [])
        self.assertEqual(expelled(38.0, 99.0), [])

    def test_answered_too_late(self):
        for exp, found in ((44.0, []), (41.0, ["leaked"])):
            login = self.login(exp)
            login.answers.append(("ping", 45.0))
            self.assertEqual(self.token_kinds(login), found)

    def test_received_too_late(self):
        login = self.login(42.0)
        one = subscription([E1])
        one.login = login
        one.answered = 60.0
        others = [subscription(ALL, name="b")]
        for when, reads, found in ((46.0, True, []), (48.0, True, ["leaked"]), (48.0, False, [])):
            one.events = [(E1, when)]
            login.reads = reads
            self.assertEqual(self.kinds([one] + others), found)

    def test_other_state(self):
        self.assertEqual(self.kinds([subscription(ALL)], tables={"a": {2: "x3", 5: "x5"}}), ["lost"])


if __name__ == "__main__":
    unittest.main()
