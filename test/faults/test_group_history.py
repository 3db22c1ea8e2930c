#!/usr/bin/python3
"""Each violation of groups is found in a made-up history that has it, and none in one that has none."""

import unittest

from group_history import Delivery, Effect, Group, check_groups
from history import History, check
from test_history import ALL, LEDGER, TIMES, subscription

PARALLEL = Group("g", ("a",))
ORDERED = Group("g", ("a",), ordered=True)
AGAIN = Group("g", ("a",), again=True)
EFFECTS = [Effect(n + 1, "g", each.channel, each.op, each.tag, each.key, each.id) for n, each in enumerate(ALL)]
ONE, TWO, THREE, FOUR = EFFECTS


def delivery(attempt, begin, end, event=10):
    made = Delivery("g", event, 7, attempt, begin, "consumer %d" % attempt)
    made.end = end
    return made


class Tests(unittest.TestCase):
    def kinds(self, effects, group=PARALLEL, deliveries=(), **changes):
        history = History(LEDGER, TIMES, {tx: when + 5 for tx, when in TIMES.items()}, 1000.0, [subscription(ALL)], ALL)
        check(history)
        history.violations.clear()
        check_groups(history, [group], effects, deliveries, **changes)
        return sorted({violation.kind for violation in history.violations})

    def test_good(self):
        self.assertEqual(self.kinds(EFFECTS), [])
        self.assertEqual(self.kinds(EFFECTS, ORDERED, [delivery(1, 5.0, 6.0), delivery(2, 7.0, 8.0)]), [])

    def test_lost(self):
        self.assertEqual(self.kinds(EFFECTS[1:]), ["group lost"])
        self.assertEqual(self.kinds([]), ["group lost"])

    def test_removed_by_retention(self):
        resets = [("g", 1, 15)]
        self.assertEqual(self.kinds(EFFECTS[1:], resets=resets, may_reset=True), [])
        self.assertEqual(self.kinds(EFFECTS[1:], resets=resets), ["group reset"])
        self.assertEqual(self.kinds(EFFECTS[2:], resets=resets, may_reset=True), ["group lost"])
        self.assertEqual(self.kinds(EFFECTS[1:], resets=[("other", 1, 15)], may_reset=True), ["group lost"])
        self.assertEqual(self.kinds(EFFECTS[1:], AGAIN, resets=[("g", 14, 15)], may_reset=True), [])
        self.assertEqual(self.kinds(EFFECTS[2:], AGAIN, resets=[("g", 14, 15)], may_reset=True), ["group lost"])
        self.assertEqual(self.kinds(EFFECTS[1:], resets=[("g", 14, 15)], may_reset=True), ["group lost"])

    def test_duplicate(self):
        self.assertEqual(self.kinds(EFFECTS + [ONE._replace(n=9)]), ["group duplicate"])

    def test_undone(self):
        self.assertEqual(self.kinds(EFFECTS + [ONE._replace(n=9, tag="x9")]), ["group undone"])

    def test_order(self):
        swapped = [ONE._replace(n=2), TWO._replace(n=1), THREE, FOUR]
        self.assertEqual(self.kinds(swapped), [])
        self.assertEqual(self.kinds(swapped, ORDERED), ["group order"])
        other_key = [TWO._replace(n=3), THREE._replace(n=2), ONE, FOUR]
        self.assertEqual(self.kinds(other_key, ORDERED), [])

    def test_shared(self):
        self.assertEqual(self.kinds(EFFECTS, deliveries=[delivery(1, 5.0, 8.0), delivery(2, 7.0, 9.0)]), ["group shared"])
        self.assertEqual(self.kinds(EFFECTS, deliveries=[delivery(1, 5.0, 8.0), delivery(2, 7.0, 9.0, 20)]), [])
        # The first one was given back before the answer of the second one, which came earlier, was read.
        self.assertEqual(self.kinds(EFFECTS, deliveries=[delivery(2, 5.0, 8.0), delivery(1, 7.0, 9.0)]), [])


if __name__ == "__main__":
    unittest.main()
