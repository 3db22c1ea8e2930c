"""
A subscription as its client has it: the set of rows that events have built, and everything that was wrong with them.
"""

import collections
import json

# position, rows, number of changes that were told, of all changes, of renewed tokens, of alterations, of the comparison
Mark = collections.namedtuple("Mark", "position rows told changes renewals altered number")


class Number(str):
    """A number of JSON as it was written."""


def parse(text):
    return json.loads(text, parse_int=Number, parse_float=Number, parse_constant=Number)


def freeze(value):
    """A value of JSON, comparable and hashable."""
    if isinstance(value, dict):
        return tuple(sorted((name, freeze(each)) for name, each in value.items()))
    if isinstance(value, list):
        return ("[]",) + tuple(freeze(each) for each in value)
    if isinstance(value, Number):
        return ("number", str(value))
    return value


class Part:
    """What a subscription gets of a table. spec: what the plan says about that."""

    def __init__(self, spec, columns):
        self.spec = spec
        self.only = columns
        self.exposed = False    # events had canaries once
        self.describe(spec["captured"], spec["key"], spec["old_values"])
        self.before = None      # while events of before an alteration may come: columns that were called otherwise

    def describe(self, captured, key, old_values):
        """What the watch captures."""
        self.captured = set(captured)
        self.exposed |= "secret" in captured
        self.columns = self.captured if self.only is None else self.captured & set(self.only)
        self.key = list(key)
        self.old_values = old_values

    def key_of(self, values):
        return freeze({name: values.get(name) for name in self.key})


class Subscription:
    """
    spec: what the plan says about it. rows: table -> key -> row, or None while the client would have to load the set.
    wrong: what was wrong since the last comparison; counts only if no reset that was due came in between.
    """

    def __init__(self, spec, state="new"):
        self.spec = spec
        self.parts = {each["table"]: Part(each, spec["columns"]) for each in spec["parts"]}
        self.state = state      # new, asked, live, ended, away
        self.rows = None
        self.resets = []        # reasons, since the last comparison
        self.wrong = []
        self.tags = set()       # of versions received since the last comparison
        self.versions = set()   # tags of all versions that were visible then
        self.last = 0           # id of the last event
        self.events = 0
        self.ops = []           # (id, op, cause), since the last comparison
        self.log = []           # (id, op, the event without its tag), since then
        self.messages = []      # ids, since then
        self.begin = None       # the number of the last comparison
        self.start = 0          # its position
        self.error = None       # why it was refused or has ended
        self.doubtful = False   # resumed, and the server cannot tell whether this client had the same rows
        self.changes = 0        # number of changes of policies that had happened at the last comparison
        self.altered = 0        # number of alterations
        self.unclear = False    # an alteration has made it unclear what it gets
        self.excused = False    # it may end
        self.first = None       # the rows of a snapshot with a limit
        self.fresh = None       # table -> key -> row, while the rows of a snapshot are received
        self.doubted = []       # what was wrong before the last reset, which may be the reason for it
        self.interrupted = False    # it resumes from a position inside a snapshot: a reset must follow
        self.marks = []         # Mark of comparisons, to resume from

    def load(self, rows):
        self.rows = None if rows is None else {table: dict(rows[table]) for table in rows}
        self.resets.clear()
        self.wrong.clear()

    def next(self):
        """Begin with what the next comparison is about."""
        self.events += len(self.ops)
        for each in (self.ops, self.log, self.messages, self.tags):
            each.clear()

    def fail(self, kind, text):
        self.wrong.append((kind, text))

    def reset(self, params):
        self.resets.append(params.get("reason", ""))
        self.rows = None
        if self.spec.get("snapshot"):
            self.doubted += self.wrong
            self.wrong = []
            self.expect_rows()

    # ---------------- the rows of a snapshot ----------------

    def expect_rows(self):
        self.rows = None
        self.fresh = {table: {} for table in self.parts}

    def limited(self):
        return isinstance(self.spec.get("snapshot"), dict)

    def receive_rows(self, params):
        """A part of a snapshot's rows. The last one makes them the set."""
        if self.fresh is None:
            self.fail("rows", "rows that were not to come")
            return
        if params.get("rows"):
            part = self.parts.get(params["table"])
            if part is None or part.spec["blind"]:
                self.fail("leaked", "rows of the table %s" % params["table"])
                return
            for row in params["rows"]:
                self.receive_row(part, params["key"], row)
        if params.get("done"):
            # Events do not keep rows at a limit, so those are only looked at.
            self.first, self.rows = (self.fresh, None) if self.limited() else (None, self.fresh)
            self.fresh = None

    def receive_row(self, part, names, row):
        rows = self.fresh[part.spec["table"]]
        key = freeze({name: row.get(name) for name in names})
        if part.before is None:
            if sorted(names) != sorted(part.key):
                self.fail("shape", "rows with the key %s" % names)
            if set(row) - part.columns - set(part.key):
                self.fail("leaked", "a row with the columns %s" % sorted(set(row) - part.columns - set(part.key)))
            if (part.columns | set(part.key)) - set(row):
                self.fail("shape", "a row lacks the columns %s" % sorted((part.columns | set(part.key)) - set(row)))
        if isinstance(row.get("tag"), str):
            self.tags.add(row["tag"])
        if key in rows:
            self.fail("set", "a row twice: %s" % json.dumps(row))
        rows[key] = {name: value for name, value in row.items() if name in part.columns}

    # ---------------- events ----------------

    def event(self, params):
        op = params["op"]
        number = int(params["id"])
        if number <= self.last:
            self.fail("order", "event %d after %d" % (number, self.last))
        self.last = number
        if self.fresh is not None:
            self.fail("order", "event %d before the rows" % number)
        self.log.append((number, op, {name: value for name, value in params.items() if name != "tag"}))
        if self.spec["ops"] is not None and op not in self.spec["ops"]:
            self.fail("ops", "%s was not asked for" % op)
        if params.get("truncated"):
            self.fail("shape", "truncated")
        if op == "MESSAGE":
            self.messages.append(number)
            return
        self.ops.append((number, op, params.get("cause")))
        part = self.parts.get(params["table"])
        if part is None:
            self.fail("leaked", "an event of the table %s" % params["table"])
            return
        if part.spec["blind"] and op != "TRUNCATE":
            self.fail("leaked", "an event without privileges on its columns: %s" % op)
        self.check_shape(part, op, params)
        if self.rows is not None:
            getattr(self, op.lower())(part, self.rows[part.spec["table"]], params)

    def check_shape(self, part, op, params):
        key = set(part.key)
        for name in ("key", "new", "old"):
            row = params.get(name)
            if name == "old" and op in ("UPDATE", "DELETE") and part.old_values and row is None \
                    and part.columns and part.before is None:
                self.fail("shape", "%s without old" % op)
            if row is None:
                continue
            if isinstance(row.get("tag"), str):
                self.tags.add(row["tag"])
            wanted = key if name == "key" else part.columns
            allowed = wanted
            if name == "old":
                allowed = key | part.columns if part.old_values or part.before is not None else key
            if set(row) - allowed - (part.before or set()):
                self.fail("leaked", "%s of %s has the columns %s" % (name, op, sorted(set(row) - allowed)))
            if name in ("key", "new") and wanted - set(row) and part.before is None:
                self.fail("shape", "%s of %s lacks the columns %s" % (name, op, sorted(wanted - set(row))))
        wanted = {"INSERT": (True, True, None), "UPDATE": (True, True, None), "DELETE": (True, False, None),
                  "TRUNCATE": (False, False, False)}[op]
        for name, want in zip(("key", "new", "old"), wanted):
            if name == "new" and want and not part.columns:
                continue
            if want is not None and (name in params) != want:
                self.fail("shape", "%s %s %s" % (op, "without" if want else "with", name))
        if op == "INSERT" and "old" in params:
            self.fail("leaked", "INSERT with old")

    def check_old(self, part, params, row):
        """What the event says of the old row must be what the client has."""
        for name, value in params.get("old", {}).items():
            if name in row and name not in (part.before or ()) and freeze(row[name]) != freeze(value):
                self.fail("old", "old has %s = %r instead of %r" % (name, value, row[name]))

    def insert(self, part, rows, params):
        key = part.key_of(params["key"])
        if key in rows:
            self.fail("set", "INSERT of a row that is there: %s" % json.dumps(params["key"]))
        rows[key] = params.get("new", {})

    def update(self, part, rows, params):
        key = part.key_of(params["key"])
        old = part.key_of({**params["key"], **params.get("old", {})})
        if old not in rows:
            self.fail("set", "UPDATE of a row that is not there: %s" % json.dumps(params["key"]))
        else:
            self.check_old(part, params, rows.pop(old))
        if key in rows:
            self.fail("set", "UPDATE to a key that is there: %s" % json.dumps(params["key"]))
        rows[key] = params.get("new", {})

    def delete(self, part, rows, params):
        key = part.key_of(params["key"])
        if key not in rows:
            self.fail("set", "DELETE of a row that is not there: %s" % json.dumps(params["key"]))
        else:
            self.check_old(part, params, rows.pop(key))

    def truncate(self, _, rows, __):
        rows.clear()

    # ---------------- comparison ----------------

    def compare(self, found):
        """Compare with what SELECT returns: table -> key -> row."""
        for table, rows in found.items():
            part = self.parts[table]
            mine = self.rows[table]
            if part.spec["blind"]:
                continue
            for key in rows.keys() - mine.keys():
                self.fail("set", "missing: %s" % json.dumps(rows[key]))
            for key in mine.keys() - rows.keys():
                self.fail("set", "too much: %s" % json.dumps(mine[key]))
            for key in rows.keys() & mine.keys():
                if self.differ(part, mine[key], rows[key]):
                    self.fail("set", "has %s instead of %s" % (json.dumps(mine[key]), json.dumps(rows[key])))

    @staticmethod
    def differ(part, mine, row):
        names = mine.keys() | row.keys()
        if part.before is not None:
            names = (mine.keys() & row.keys()) - part.before
        return any(name not in mine or name not in row or freeze(mine[name]) != freeze(row[name]) for name in names)
