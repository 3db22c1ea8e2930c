#!/usr/bin/python3
"""The client's model of a set finds what is wrong with made-up events."""

import unittest

from model import Subscription, freeze, parse

PART = {"table": "t", "key": ["id"], "captured": ["id", "v", "tag"], "old_values": True, "blind": False}
SPEC = {"channel": "t", "columns": None, "ops": None, "parts": [PART, {**PART, "table": "other"}]}


def row(number, value, tag="T1."):
    return {"id": number, "v": value, "tag": tag}


def by_key(*rows):
    return {freeze({"id": each["id"]}): each for each in rows}


class Sets(unittest.TestCase):
    def setUp(self):
        self.sub = Subscription(SPEC)
        self.sub.load({"t": by_key(row(1, "a"), row(2, "b")), "other": {}})
        self.id = 0

    def event(self, op, key, **members):
        self.id += 1
        self.sub.event({"op": op, "id": str(self.id), "table": "t", **({"key": {"id": key}} if key else {}), **members})

    def kinds(self):
        return sorted(kind for kind, _ in self.sub.wrong)

    def wrong(self, *rows):
        self.sub.compare({"t": by_key(*rows), "other": {}})
        return self.kinds()

    def test_right(self):
        self.event("INSERT", 3, new=row(3, "c"))
        self.event("UPDATE", 3, new=row(3, "d"), old=row(3, "c"))
        self.event("UPDATE", 4, new=row(4, "d"), old=row(3, "d"))
        self.event("DELETE", 1, old=row(1, "a"))
        self.assertEqual(self.wrong(row(2, "b"), row(4, "d")), [])

    def test_truncate(self):
        self.event("TRUNCATE", None)
        self.assertEqual(self.wrong(), [])

    def test_insert_of_a_present_row(self):
        self.event("INSERT", 1, new=row(1, "a"))
        self.assertEqual(self.kinds(), ["set"])

    def test_update_of_an_absent_row(self):
        self.event("UPDATE", 3, new=row(3, "c"), old=row(3, "b"))
        self.assertEqual(self.kinds(), ["set"])

    def test_delete_of_an_absent_row(self):
        self.event("DELETE", 3, old=row(3, "b"))
        self.assertEqual(self.kinds(), ["set"])

    def test_missing_event(self):
        self.assertEqual(self.wrong(row(1, "a")), ["set"])
        self.assertEqual(self.wrong(row(1, "a"), row(2, "b"), row(3, "c")), ["set", "set"])

    def test_other_value(self):
        self.assertEqual(self.wrong(row(1, "a"), row(2, "c")), ["set"])

    def test_numbers_are_texts(self):
        self.assertNotEqual(freeze(parse("1.0")), freeze(parse("1.00")))
        self.assertNotEqual(freeze(parse("1")), freeze(parse('"1"')))

    def test_old_row_is_another(self):
        self.event("UPDATE", 1, new=row(1, "b"), old=row(1, "z"))
        self.assertEqual(self.kinds(), ["old"])

    def test_twice(self):
        self.event("DELETE", 1, old=row(1, "a"))
        self.id = 0
        self.event("DELETE", 2, old=row(2, "b"))
        self.assertEqual(self.kinds(), ["order"])

    def test_old_of_an_entering_row(self):
        self.event("INSERT", 3, new=row(3, "c"), old=row(3, "b"))
        self.assertEqual(self.kinds(), ["leaked"] * 1)

    def test_new_of_a_leaving_row(self):
        self.event("DELETE", 1, new=row(1, "c"), old=row(1, "a"))
        self.assertEqual(self.kinds(), ["shape"])

    def test_column_that_was_not_asked_for(self):
        self.event("INSERT", 3, new={**row(3, "c"), "secret": "SECRET"})
        self.assertEqual(self.kinds(), ["leaked"])

    def test_missing_column(self):
        self.event("INSERT", 3, new={"id": 3, "tag": "T"})
        self.assertEqual(self.kinds(), ["shape"])

    def test_after_a_reset_rows_are_unknown(self):
        self.sub.reset({"reason": "x"})
        self.event("DELETE", 7, old=row(7, "a"))
        self.assertEqual(self.kinds(), [])
        self.assertIsNone(self.sub.rows)

    def test_table_of_no_subscription(self):
        self.event("DELETE", 1, old=row(1, "a"), table="third")
        self.assertEqual(self.kinds(), ["leaked"])

    def test_row_of_another_table(self):
        self.event("INSERT", 1, new=row(1, "a"), table="other")
        self.assertEqual(self.wrong(row(1, "a"), row(2, "b")), ["set"])

    def test_operation_that_was_not_asked_for(self):
        self.sub.spec = {**SPEC, "ops": ["INSERT"]}
        self.event("DELETE", 1, old=row(1, "a"))
        self.assertEqual(self.kinds(), ["ops"])

    def test_columns_of_before(self):
        self.sub.parts["t"].before = {"v"}
        self.event("UPDATE", 1, new=row(1, 7), old=row(1, "z"))
        self.assertEqual(self.wrong(row(1, "7"), row(2, 8)), [])


if __name__ == "__main__":
    unittest.main()
