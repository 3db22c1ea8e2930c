"""
A subscription as its client has it: the set of rows that events have built, and everything that was wrong with them.
"""

import json


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


class Subscription:
    """
    spec: what the plan says about it. rows: key -> row, or None while the client would have to load the set. wrong:
    what was wrong since the last comparison; counts only if no reset that was due came in between.
    """

    def __init__(self, spec, state="new"):
        self.spec = spec
        self.columns = set(spec["captured"])
        if spec["columns"] is not None:
            self.columns &= set(spec["columns"])
        self.state = state      # new, asked, live, ended, away
        self.rows = None
        self.resets = []        # reasons, since the last comparison
        self.wrong = []
        self.tags = set()       # of versions received since the last comparison
        self.versions = set()   # tags of all versions that were visible then
        self.last = 0           # id of the last event
        self.events = 0
        self.ops = []           # (id, op, cause), since the last comparison
        self.error = None       # why it was refused or has ended
        self.doubtful = False   # resumed, and the server cannot tell whether this client had the same rows
        self.changes = 0        # number of changes of policies that had happened at the last comparison
        self.marks = []         # (position, rows, changes that were told, all changes) of comparisons, to resume from

    def load(self, rows):
        self.rows = None if rows is None else dict(rows)
        self.resets.clear()
        self.wrong.clear()

    def fail(self, kind, text):
        self.wrong.append((kind, text))

    def reset(self, params):
        self.resets.append(params.get("reason", ""))
        self.rows = None

    # ---------------- events ----------------

    def event(self, params):
        op = params["op"]
        number = int(params["id"])
        self.events += 1
        if number <= self.last:
            self.fail("order", "event %d after %d" % (number, self.last))
        self.last = number
        self.ops.append((number, op, params.get("cause")))
        if self.spec["blind"] and op != "TRUNCATE":
            self.fail("leaked", "an event without privileges on its columns: %s" % op)
        if params.get("truncated"):
            self.fail("shape", "truncated")
        self.check_shape(op, params)
        if self.rows is not None:
            getattr(self, op.lower())(params)

    def check_shape(self, op, params):
        key = set(self.spec["key"])
        for name in ("key", "new", "old"):
            row = params.get(name)
            if name == "old" and op in ("UPDATE", "DELETE") and self.spec["old_values"] and row is None \
                    and self.columns:
                self.fail("shape", "%s without old" % op)
            if row is None:
                continue
            if isinstance(row.get("tag"), str):
                self.tags.add(row["tag"])
            allowed = self.columns
            if name == "key" or name == "old" and not self.spec["old_values"]:
                allowed = key
            elif name == "old":
                allowed = key | self.columns
            if set(row) - allowed:
                self.fail("leaked", "%s of %s has the columns %s" % (name, op, sorted(set(row) - allowed)))
            if name in ("key", "new") and allowed - set(row):
                self.fail("shape", "%s of %s lacks the columns %s" % (name, op, sorted(allowed - set(row))))
        wanted = {"INSERT": (True, True, None), "UPDATE": (True, True, None), "DELETE": (True, False, None),
                  "TRUNCATE": (False, False, False)}[op]
        for name, want in zip(("key", "new", "old"), wanted):
            if want is not None and (name in params) != want:
                self.fail("shape", "%s %s %s" % (op, "without" if want else "with", name))
        if op == "INSERT" and "old" in params:
            self.fail("leaked", "INSERT with old")

    def check_old(self, params, row):
        """What the event says of the old row must be what the client has."""
        for name, value in params.get("old", {}).items():
            if name in row and freeze(row[name]) != freeze(value):
                self.fail("old", "old has %s = %r instead of %r" % (name, value, row[name]))

    def key(self, values):
        return freeze({name: values[name] for name in self.spec["key"]})

    def insert(self, params):
        key = self.key(params["key"])
        if key in self.rows:
            self.fail("set", "INSERT of a row that is there: %s" % json.dumps(params["key"]))
        self.rows[key] = params["new"]

    def update(self, params):
        key = self.key(params["key"])
        old = self.key({**params["key"], **params.get("old", {})})
        if old not in self.rows:
            self.fail("set", "UPDATE of a row that is not there: %s" % json.dumps(params["key"]))
        else:
            self.check_old(params, self.rows.pop(old))
        if key in self.rows:
            self.fail("set", "UPDATE to a key that is there: %s" % json.dumps(params["key"]))
        self.rows[key] = params["new"]

    def delete(self, params):
        key = self.key(params["key"])
        if key not in self.rows:
            self.fail("set", "DELETE of a row that is not there: %s" % json.dumps(params["key"]))
        else:
            self.check_old(params, self.rows.pop(key))

    def truncate(self, _):
        self.rows.clear()

    # ---------------- comparison ----------------

    def compare(self, rows):
        """Compare with what SELECT returns: key -> row."""
        for key in rows.keys() - self.rows.keys():
            self.fail("set", "missing: %s" % json.dumps(rows[key]))
        for key in self.rows.keys() - rows.keys():
            self.fail("set", "too much: %s" % json.dumps(self.rows[key]))
        for key in rows.keys() & self.rows.keys():
            if freeze(rows[key]) != freeze(self.rows[key]):
                self.fail("set", "has %s instead of %s" % (json.dumps(self.rows[key]), json.dumps(rows[key])))
