"""Types of columns, values of them, and what filters can do with them."""


class Type:
    """
    values: texts. compare: operators that take one of these values. name: {s} stands for the schema of
    the run. patterns, expressions: whether like and match can be used. path: whether the value
    has parts that a JSON path can reach.
    """

    def __init__(self, name, values, compare, text=False, path=False):
        self.name = name
        self.values = values
        self.compare = compare
        self.text = text
        self.path = path


ORDER = ["eq", "neq", "gt", "gte", "lt", "lte", "isdistinct", "in"]
EQUAL = ["eq", "neq", "isdistinct", "in"]
ARRAY = ["eq", "cs", "cd", "ov", "neq"]
RANGE = ["eq", "cs", "cd", "ov", "sl", "sr", "nxr", "nxl", "adj"]

TEXTS = ["", " ", "a", "A", "abc", "Abc", "a,b", "x(y)", '"q"', "back\\slash", "100%", "_u", "*", "null", "ü€",
         "line\nbreak", "{a}", "{a,b}", "a.b", "it's", "true", "a&b=c", "\U0001f600", "not.eq.1", "+1 2", "%41"]
PATTERNS = ["a*", "*b*", "_u*", "A%", "*", "%", "*(*", "", "abc", "*\\%", "*,*", "*\"*"]
EXPRESSIONS = ["^a", "b$", "[A-C]", "x\\(", "^$", ".", "a|b", ",", "^.{3}$"]
UUIDS = ["00000000-0000-0000-0000-00000000000%d" % i for i in range(4)]
USERS = ["u1", "u2", "u3", "u4"]
PATHS = [("a",), ("a", "b"), ("owner",), (0,), (-1,), ("tags", 0), ("no",), ("odd key",)]

TYPES = {each.name: each for each in [
    Type("int", ["-2147483648", "0", "1", "2", "3", "7", "42"], ORDER),
    Type("bigint", ["9007199254740993", "9007199254740992", "-1", "0", "5", "9223372036854775807"], ORDER),
    Type("smallint", ["-3", "0", "1", "2"], ORDER),
    Type("numeric", ["0", "1.0", "1.00", "-2.50", "1e20", "NaN", "0.000001", "12345678901234567890.5"], ORDER),
    Type("numeric(6,2)", ["0", "1.5", "1.50", "-2.505"], ORDER),
    Type("double precision", ["0", "-0", "1.5", "NaN", "Infinity", "1e300", "0.1"], ORDER),
    Type("text", TEXTS, ORDER, text=True),
    Type("varchar(9)", [t for t in TEXTS if len(t) <= 9], ORDER, text=True),
    Type("char(4)", ["", "a", "ab", "ab  ", "A", "abcd"], ORDER, text=True),
    Type("citext", TEXTS, ORDER, text=True),
    Type("boolean", ["true", "false"], ["eq", "neq", "in", "is", "gt", "isdistinct"]),
    Type("uuid", UUIDS, ORDER),
    Type("date", ["2024-02-29", "1999-12-31", "infinity", "2024-03-01"], ORDER),
    Type("timestamptz", ["2024-01-01 00:00:00+00", "2024-02-29 12:34:56.789+02", "infinity", "1970-01-01 00:00:00+00",
                         "2024-01-01 01:00:00+01"], ORDER),
    Type("interval", ["1 day", "24:00:00", "1 mon -1 day", "0"], ORDER),
    Type("bytea", ["\\x", "\\x00ff", "\\x61"], ORDER),
    Type("jsonb", ["null", "{}", '{"a": 1}', '{"a": {"b": "x"}}', '{"owner": "u1"}', '{"owner": "u2", "a": "x,y"}',
                   '[1, 2, "x"]', '"str"', "5", '{"a": null}', '{"tags": ["u1", "u2"]}', '{"odd key": [1.0]}'],
         ["eq", "cs", "cd", "neq", "isdistinct"], path=True),
    Type("int[]", ["{}", "{1,2}", "{NULL,3}", "[0:1]={5,6}", "{{1,2},{3,4}}", "{7}", "{2}"], ARRAY, path=True),
    Type("text[]", ["{}", "{a,b}", '{"x,y",NULL}', '{"\\"","\\\\"}', "{u1,u2}", "{NULL}", '{"null"}', "{u3}"], ARRAY,
         path=True),
    Type("{s}.mood", ["low", "mid", "High one", "x,y"], ORDER),
    Type("{s}.positive", ["1", "2", "77"], ORDER),
    Type("int4range", ["empty", "[1,5)", "(,3)", "[2,)", "[4,9)", "[3,4)"], RANGE),
    Type("tstzrange", ["empty", "[2024-01-01 00:00:00+00,2024-02-01 00:00:00+00)", "[2024-01-15 00:00:00+00,)"], RANGE),
    Type("{s}.spot", ["(1,a)", "(2,)", '(3,"x,y")', "(,)"], []),
]}

KEY_TYPES = {
    "int": [str(i) for i in range(1, 13)],
    "bigint": [str(9007199254740990 + i) for i in range(12)],
    "text": ["k%d" % i for i in range(8)] + ["K, 1", 'k"', "k\\", "ü"],
    "uuid": ["00000000-0000-0000-0000-0000000000%02x" % i for i in range(12)],
    "date": ["2024-01-%02d" % (i + 1) for i in range(12)],
}


def literal(text):
    """A text as SQL."""
    return "NULL" if text is None else "'" + text.replace("'", "''") + "'"


def identifier(name):
    return '"' + name.replace('"', '""') + '"'
