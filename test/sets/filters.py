"""
Random filters, each as a client writes it and as the condition in SQL that it stands for. Nothing here is taken
from the product: the grammar is that of PostgREST's documentation.
"""

import re
import urllib.parse

from values import EXPRESSIONS, PATHS, PATTERNS, TYPES, identifier, literal

OPERATORS = {"eq": "=", "neq": "<>", "gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "like": "~~", "ilike": "~~*",
             "match": "~", "imatch": "~*", "cs": "@>", "cd": "<@", "ov": "&&", "sl": "<<", "sr": ">>", "nxr": "&<",
             "nxl": "&>", "adj": "-|-"}
SIMPLE = re.compile(r"[A-Za-z0-9_:.+-]+\Z")
MANY = ("eq", "neq", "gt", "gte", "lt", "lte", "like", "ilike", "match", "imatch")


def quote(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def array(texts):
    """The text of a PostgreSQL array."""
    return "{" + ",".join(quote(text) for text in texts) + "}"


class Condition:
    """column [path] [not.] op value; the value is a text, or the list of in."""

    def __init__(self, column, path, negated, op, many, value, sql):
        self.column = column
        self.path = path
        self.negated = negated
        self.op = op
        self.many = many
        self.value = value
        self.sql = sql


class Maker:
    """Makes filters of the columns of a table: a list of (name, type)."""

    def __init__(self, rng, columns, schema):
        self.rng = rng
        self.columns = [(name, kind) for name, kind in columns if TYPES[kind].compare]
        self.schema = schema

    def make(self):
        """Returns (the client's text, SQL, names of the columns)."""
        self.used = set()
        texts, conditions = [], []
        for _ in range(self.rng.choice((1, 1, 1, 2, 3))):
            text, sql = self.member(True, 0)
            texts.append(self.encode(text))
            conditions.append(sql)
        return "&".join(texts), " AND ".join("(%s)" % each for each in conditions), sorted(self.used)

    def pseudo(self, name):
        """A condition on context or payload. Returns (the client's text, SQL)."""
        text, sql = self.render(self.compare_path(name, identifier(name), "jsonb"), True)
        return self.encode(text), sql

    def condition(self):
        """Only SQL, for policies."""
        self.used = set()
        return self.member(True, 1)[1]

    def encode(self, text):
        """As in a query string: what must be, and some of what need not be."""
        safe = "" if self.rng.random() < 0.2 else "=.,()\"\\{}*:>[] '!/|^$+@#;?<~`"
        encoded = urllib.parse.quote(text, safe=safe)
        if self.rng.random() < 0.5:
            encoded = re.sub("(%[89A-F][0-9A-F])+", lambda found: urllib.parse.unquote(found.group()), encoded)
        return encoded

    # ---------------- lists ----------------

    def member(self, top, depth):
        if depth < 3 and self.rng.random() < (0.25 if top else 0.2):
            word = self.rng.choice(("and", "or", "or"))
            negated = self.rng.random() < 0.25
            members = [self.member(False, depth + 1) for _ in range(self.rng.randint(1, 3))]
            sql = (" %s " % word.upper()).join("(%s)" % each for _, each in members)
            text = "%s%s%s(%s)" % ("not." * negated, word, "=" if top else "", ",".join(each for each, _ in members))
            return text, "NOT (%s)" % sql if negated else sql
        return self.render(self.compare(), top)

    def render(self, condition, top):
        name = condition.column
        if not re.match(r"[A-Za-z_][A-Za-z0-9_]*\Z", name) or self.rng.random() < 0.05:
            name = quote(name)
        for i, step in enumerate(condition.path):
            arrow = "->>" if i == len(condition.path) - 1 and condition.path_text else "->"
            name += arrow + (str(step) if isinstance(step, int) or SIMPLE.match(step) and "." not in step
                             else quote(step))
        if condition.op == "in":
            value = "(" + ",".join(self.item(each) for each in condition.value) + ")"
        else:
            value = condition.value if top else self.item(condition.value)
        text = "%s%s%s%s%s.%s" % (name, "=" if top else ".", "not." * condition.negated, condition.op, condition.many,
                                  value)
        return text, "NOT (%s)" % condition.sql if condition.negated else condition.sql

    def item(self, text):
        return text if SIMPLE.match(text) and self.rng.random() < 0.8 else quote(text)

    # ---------------- conditions ----------------

    def compare(self):
        rng = self.rng
        name, kind = rng.choice(self.columns)
        self.used.add(name)
        of_type = TYPES[kind]
        left = identifier(name)
        if of_type.path and rng.random() < 0.5:
            return self.compare_path(name, left, kind)
        operators = list(of_type.compare)
        if of_type.text:
            operators += ["like", "ilike", "match", "imatch"]
        op = "is" if rng.random() < 0.1 else rng.choice(operators)
        return self.finish(name, (), False, left, op, of_type.values, kind == "boolean", kind.endswith("[]"))

    def compare_path(self, name, left, kind):
        rng = self.rng
        path = rng.choice(PATHS) if kind == "jsonb" else (rng.choice((0, 1, -1)),)
        as_text = rng.random() < 0.7
        sql = left if kind == "jsonb" else "to_jsonb(%s)" % left
        for i, step in enumerate(path):
            arrow = "->>" if as_text and i == len(path) - 1 else "->"
            sql = "(%s %s %s)" % (sql, arrow, step if isinstance(step, int) else literal(step))
        if as_text:
            values = ["1", "x", "u1", "u2", "x,y", "null", "2", "a"]
            op = rng.choice(("eq", "in", "like", "neq", "gt", "is", "isdistinct"))
        else:
            values = ["1", '"x"', "null", '"u1"', "{}", '{"b": "x"}', "[1.0]"]
            op = rng.choice(("eq", "neq", "cs", "is"))
        return self.finish(name, path, as_text, sql, op, values, False)

    def finish(self, name, path, as_text, left, op, values, boolean, array_typed=False):
        rng = self.rng
        many = ""
        if op == "is":
            value = rng.choice(("null", "not_null", "true", "false", "unknown") if boolean else ("null", "not_null"))
            sql = "%s IS %s" % (left, {"not_null": "NOT NULL"}.get(value, value.upper()))
        elif op == "in":
            value = [rng.choice(values) for _ in range(rng.randint(0, 4))]
            sql = "%s = ANY (%s)" % (left, literal(array(value)))
        elif op == "isdistinct":
            value = rng.choice(values)
            sql = "%s IS DISTINCT FROM %s" % (left, literal(value))
        else:
            pool = PATTERNS if "like" in op else EXPRESSIONS if "match" in op else values
            value = rng.choice(pool)
            right = literal(value)
            if op in MANY and not array_typed and rng.random() < 0.15:
                word = rng.choice(("any", "all"))
                value = array(rng.choice(pool) for _ in range(rng.randint(0, 3)))
                many = "(%s)" % word
                right = "%s (%s)" % (word.upper(), literal(value))
            if "like" in op:
                right = right.replace("*", "%")
            sql = "%s %s %s" % (left, OPERATORS[op], right)
        result = Condition(name, path, rng.random() < 0.2, op, many, value, sql)
        result.path_text = as_text
        return result
