#!/usr/bin/python3
"""Each violation of sets is found in a made-up history that has it, and none in one that has none."""

import json
import unittest

import rules
from history import Change, History, check
from set_history import CHANGED, NOT_KNOWN, Past, SetEvent, SetSubscription, check_sets

CLAIMS = {"role": "member", "sub": "u1", "tenant": 1}
EVERYTHING = rules.Filter(None, "true", lambda row: True)
SMALL = rules.Filter("v=lt.2", "v < 2", lambda row: row["v"] < 2)


def row(key, tag, owner="u1", v=1, tenant=0):
    return {"id": key, "tenant": tenant, "owner": owner, "v": v, "tag": tag}


def state(policies, members=(), on=True):
    return {"t": {"on": on, "policies": policies}, "h": {"on": False, "policies": {}}, "members": list(members)}


def change(tx, op, old=None, new=None):
    shown = new or old or {}
    return (int(tx), tx, 100 + int(tx), "t", op, shown.get("id"), shown.get("tag", str(100 + int(tx))), new, old)


# Transactions 1 to 6, one change each, with ids 10 to 60 and begun at 10 to 60; a ruling at 35.
LEDGER = [
    change("1", "INSERT", new=row(1, "x1")),
    change("2", "INSERT", new=row(2, "x2", owner="u2")),
    change("3", "UPDATE", row(1, "x1"), row(1, "x3", v=2)),
    change("4", "UPDATE", row(2, "x2", owner="u2"), row(2, "x4")),
    change("5", "UPDATE", row(1, "x3", v=2), row(1, "x5", owner="u2", v=2)),
    change("6", "DELETE", old=row(2, "x4")),
]
CHANGES = {each[1]: Change(*each, 1, 1) for each in LEDGER}
OWN = [("first", state({"p": "own"}))]
TURNED = OWN + [("7", state({"p": "members"}, [["u1", 0]]))]
TIMES = {**{str(n): float(10 * n) for n in range(1, 7)}, "7": 35.0}


def event(tx, op, name="s0", **changes):
    """The event that an op makes of a transaction's change."""
    made = CHANGES[tx]
    params = {"position": "1-%d" % (10 * int(tx)), "id": 10 * int(tx), "tx": made.xid, "seq": 1, "of": 1, "at": "", "op": op,
              "schema": "public", "table": "t", "channel": "t", "key": {"id": made.key}}
    if op != made.op:
        params["cause"] = made.op
    if op != "DELETE":
        params["new"] = made.new
    if op != "INSERT":
        params["old"] = made.old
    params.update(changes)
    return SetEvent(name, {at: value for at, value in params.items() if value is not None})


I1, U3, I4, D5, D6 = (event(tx, op) for tx, op in (
    ("1", "INSERT"), ("3", "UPDATE"), ("4", "INSERT"), ("5", "DELETE"), ("6", "DELETE")))
ALL = [I1, U3, I4, D5, D6]
AFTER = [event("4", "UPDATE"), event("5", "UPDATE"), D6]    # by memberships


class Tests(unittest.TestCase):
    def setUp(self):
        self.want = rules.Want("s0", "t", EVERYTHING, None, False, CLAIMS)

    def subscription(self, log, since=None, start=5, sent=1.0, until=100, ops=None):
        """log: events, and (id, reason) of resets; each comes half a second after its transaction began."""
        made = SetSubscription("member", 1, self.want, ops, since, start, sent, sent)
        for each in log:
            if isinstance(each, SetEvent):
                made.receive(each, max(sent, each.id + 2.0))
            else:
                made.reset(*each, max(sent, each[0] + 8.0))
        made.cover(until, 200.0)
        return made

    def kinds(self, subscriptions, rulings=tuple(OWN), selected=()):
        history = History(LEDGER, TIMES, {tx: when + 1 for tx, when in TIMES.items()}, 1000.0, [], [])
        history.base = {tx: 10 * int(tx) for tx in CHANGES}
        past = Past(history, list(rulings), subscriptions, selected)
        check(history)
        check_sets(past)
        return sorted({violation.kind for violation in history.violations})

    def test_good(self):
        one = self.subscription(ALL)
        self.assertEqual(self.kinds([one], selected=[(one, {})]), [])

    def test_good_with_filter(self):
        self.want = rules.Want("s0", "t", SMALL, ["id", "tag"], False, CLAIMS)

        def short(made):
            return {"id": made["id"], "tag": made["tag"]}
        old3, new4, old6 = short(CHANGES["3"].old), short(CHANGES["4"].new), short(CHANGES["6"].old)
        self.assertEqual(self.kinds([self.subscription([
            event("1", "INSERT", new=short(CHANGES["1"].new)), event("3", "DELETE", old=old3),
            event("4", "INSERT", new=new4), event("6", "DELETE", old=old6)])]), [])

    def test_good_ops(self):
        self.assertEqual(self.kinds([self.subscription([I1, I4], ops=["INSERT"])]), [])

    def test_hidden(self):
        self.assertEqual(self.kinds([self.subscription([I1, event("2", "INSERT")] + ALL[1:])]), ["leaked"])

    def test_hidden_old_values(self):
        for wrong in (event("4", "UPDATE"), event("4", "INSERT", old=CHANGES["4"].old)):
            self.assertEqual(self.kinds([self.subscription([I1, U3, wrong, D5, D6])]), ["leaked"])

    def test_hidden_new_values(self):
        for wrong in (event("5", "UPDATE"), event("5", "DELETE", new=CHANGES["5"].new)):
            self.assertEqual(self.kinds([self.subscription([I1, U3, I4, wrong, D6])]), ["leaked"])

    def test_silent_leave(self):
        self.assertEqual(self.kinds([self.subscription([I1, U3, I4, D6])]), ["wrong set"])

    def test_no_cause(self):
        self.assertEqual(self.kinds([self.subscription([I1, U3, event("4", "INSERT", cause=None), D5, D6])]), ["corrupt"])

    def test_other_values(self):
        wrong = event("3", "UPDATE", new=row(1, "x3", v=7))
        self.assertEqual(self.kinds([self.subscription([I1, wrong, I4, D5, D6])]), ["corrupt"])

    def test_undone(self):
        undone = event("3", "UPDATE", id=35)
        self.assertEqual(self.kinds([self.subscription([I1, U3, undone, I4, D5, D6])]), ["undone"])

    def test_ruling(self):
        self.assertEqual(self.kinds([self.subscription([I1, U3, (30, CHANGED)] + AFTER)], TURNED), [])

    def test_ruling_without_reset(self):
        self.assertEqual(self.kinds([self.subscription([I1, U3] + AFTER)], TURNED), ["wrong set"])

    def test_ruling_too_late(self):
        self.assertEqual(self.kinds([self.subscription([I1, U3, I4, (40, CHANGED)] + AFTER[1:])], TURNED), ["wrong set"])

    def test_ruling_that_has_not_begun(self):
        one = self.subscription([I1, event("2", "INSERT"), U3] + AFTER)
        self.assertEqual(self.kinds([one], TURNED), ["leaked"])

    def test_ruling_while_it_came(self):
        """The feed may know of it before it reads what was committed before."""
        one = SetSubscription("member", 1, self.want, None, None, 5, 1.0, 1.0)
        one.receive(I1, 12.0)
        one.reset(20, CHANGED, 36.0)
        for each in [U3] + AFTER:
            one.receive(each, 70.0)
        self.assertEqual(self.kinds([one], TURNED), [])

    def test_needless(self):
        self.assertEqual(self.kinds([self.subscription([I1, U3, (30, CHANGED), I4, D5, D6])]), ["needless reset"])
        self.assertEqual(self.kinds([self.subscription([I1, U3, (30, CHANGED), (30, CHANGED)] + AFTER)], TURNED), ["needless reset"])
        self.assertEqual(self.kinds([self.subscription([I1, (30, NOT_KNOWN), I4, D5, D6])]), ["needless reset"])

    def test_resumed(self):
        first = self.subscription([I1, U3], until=35)
        self.assertEqual(self.kinds([first, self.subscription([I4, D5, D6], since=30, start=30, sent=70.0)]), [])

    def test_resumed_with_reset(self):
        first = self.subscription([I1, U3], until=32)
        again = self.subscription([(30, CHANGED)] + AFTER, since=30, start=30, sent=70.0)
        self.assertEqual(self.kinds([first, again], TURNED), [])

    def test_resumed_without_reset(self):
        first = self.subscription([I1, U3], until=32)
        again = self.subscription(AFTER, since=30, start=30, sent=70.0)
        self.assertEqual(self.kinds([first, again], TURNED), ["wrong set"])

    def test_resumed_and_not_placed(self):
        first = self.subscription([I1, U3], until=32)
        again = self.subscription([], since=30, start=30, sent=70.0, until=30)
        self.assertEqual(self.kinds([first, again], TURNED), [])

    def test_resumed_by_former_rulings(self):
        first = self.subscription([I1, U3], until=32)
        again = self.subscription([I4, D5, D6], since=30, start=30, sent=70.0)
        self.assertEqual(self.kinds([first, again], TURNED), ["wrong set"])

    def test_other_end(self):
        one = self.subscription(ALL)
        self.assertEqual(self.kinds([one], selected=[(one, {2: "x4"})]), ["wrong set"])

    def test_keys(self):
        for variants, tenants, sees in (
                (["own"], [], True), (["members"], [], False), (["members"], [0], True), (["own", "not 0"], [], False),
                (["not 0"], [], False), (["own", "known"], [], True), (["exists", "low"], [0], True)):
            known = rules.key(state(dict(enumerate(variants)), [["u1", each] for each in tenants]), "t", CLAIMS)
            self.assertEqual(rules.sees(known, row(1, "x"), CLAIMS), sees, json.dumps(variants))
        self.assertIsNone(rules.key(state({}, on=False), "t", CLAIMS))


if __name__ == "__main__":
    unittest.main()
