"""
Changes of tables and watches while clients are subscribed or away. An alteration is a step of the plan:

	statements	one transaction
	table		its name
	names		of columns that are called, or read, in another way than before
	born		of these, those that events of before do not have, or not with this type
	renamed		old name -> new name
	forget		clients cannot keep what they have: that is documented
"""

from values import TYPES, identifier, literal

# Types that a column's type can be changed to, and whether the texts of old values are those of new ones.
CONVERSIONS = {
    "int": [("bigint", True), ("numeric", True), ("text", False), ("smallint", False)],
    "smallint": [("int", True), ("bigint", True), ("numeric", True), ("text", False)],
    "bigint": [("numeric", True), ("text", False)],
    "numeric": [("text", False), ("double precision", False)],
    "numeric(6,2)": [("numeric", True), ("text", False)],
    "text": [("varchar(9)", True), ("citext", False)],
    "varchar(9)": [("text", True), ("citext", False)],
    "citext": [("text", False)],
    "boolean": [("text", False)],
    "uuid": [("text", False)],
    "date": [("timestamptz", False), ("text", False)],
    "timestamptz": [("date", False)],
    "jsonb": [("text", False)],
    "int[]": [("text[]", False)],
    "{s}.mood": [("text", False)],
    "{s}.positive": [("bigint", False), ("int", False)],
}


class Alteration:
    def __init__(self, table, statements, names=(), born=(), renamed=None, forget=False):
        self.step = {"do": "alter", "table": table.name, "statements": statements, "names": sorted(names),
                     "born": sorted(born), "renamed": renamed or {}, "forget": forget}


def both(planner, table, sql):
    return planner.both(table, "ALTER TABLE {table} " + sql.replace("{", "{{").replace("}", "}}"))


def add(planner, table):
    rng = planner.rng
    kind = rng.choice(sorted(TYPES))
    name = "new %d" % rng.randrange(1000)
    default = ""
    if rng.random() < 0.5:
        default = " DEFAULT " + literal(rng.choice(TYPES[kind].values))
    table.extra.append((name, kind))
    table.columns.append((name, kind))
    return Alteration(table, both(planner, table, "ADD COLUMN %s %s%s" % (
        identifier(name), kind.format(s=planner.schema), default)), [name], [name])


def choose(planner, table, choice):
    """One of some columns, mostly one that filters use."""
    used = [each for each in choice if (table.name, each[0]) in planner.used]
    return planner.rng.choice(used if used and planner.rng.random() < 0.8 else choice)


def drop(planner, table, cascade=False):
    name, kind = planner.rng.choice(table.extra)
    if len(table.extra) > 1:
        table.extra.remove((name, kind))
        table.columns.remove((name, kind))
        for channel, (captured, old_values) in table.watches.items():
            if captured is not None and cascade:
                table.watches[channel] = [each for each in captured if each != name], old_values
    return Alteration(table, both(planner, table, "DROP COLUMN %s%s" % (identifier(name), " CASCADE" * cascade)), [name])


def retype(planner, table):
    choice = [each for each in table.extra if each[1] in CONVERSIONS]
    if not choice:
        return add(planner, table)
    old = choose(planner, table, choice)
    kind, serves = planner.rng.choice(CONVERSIONS[old[1]])
    for columns in (table.extra, table.columns):
        columns[columns.index(old)] = (old[0], kind)
    name = identifier(old[0])
    return Alteration(table, both(planner, table, "ALTER COLUMN %s TYPE %s USING %s::%s" % (
        name, kind, name, kind)), [old[0]], [] if serves else [old[0]])


def replace(planner, table):
    """Another column of the same name and type."""
    name, kind = choose(planner, table, table.extra)
    for columns in (table.extra, table.columns):
        columns.remove((name, kind))
        columns.append((name, kind))
    return Alteration(table, both(planner, table, "DROP COLUMN %s" % identifier(name)) + both(
        planner, table, "ADD COLUMN %s %s" % (identifier(name), kind.format(s=planner.schema))), [name], [name])


def rename_columns(table, names):
    """names: old -> new."""
    table.extra = [(names.get(name, name), kind) for name, kind in table.extra]
    table.columns = [(names.get(name, name), kind) for name, kind in table.columns]
    table.granted = [names.get(name, name) for name in table.granted]
    for channel, (captured, old_values) in table.watches.items():
        if captured is not None:
            table.watches[channel] = [names.get(name, name) for name in captured], old_values


def rename(planner, table):
    name, _ = planner.rng.choice(table.extra)
    new = "renamed %d" % planner.rng.randrange(1000)
    rename_columns(table, {name: new})
    return Alteration(table, both(planner, table, "RENAME COLUMN %s TO %s" % (identifier(name), identifier(new))),
                      [name, new], renamed={name: new})


def swap(planner, table):
    """Two columns get each other's name."""
    one, other = planner.rng.choice((("owner", "hid_owner"), ("level", "tenant"), ("hid", "level")))
    if len(table.extra) > 1 and planner.rng.random() < 0.5:
        (one, _), (other, _) = planner.rng.sample(table.extra, 2)
        rename_columns(table, {one: other, other: one})
    else:   # of the same type
        table.granted = [{one: other, other: one}.get(name, name) for name in table.granted]
        for channel, (captured, old_values) in table.watches.items():
            if captured is not None:
                table.watches[channel] = [{one: other, other: one}.get(name, name) for name in captured], old_values
    statements = []
    for old, new in ((one, "between"), (other, one), ("between", other)):
        statements += both(planner, table, "RENAME COLUMN %s TO %s" % (identifier(old), identifier(new)))
    return Alteration(table, statements, [one, other], renamed={one: other, other: one})


def watch(planner, table):
    """Other columns, with or without old values; perhaps removed in between."""
    channel = planner.rng.choice(sorted(table.watches))
    before = set(table.captured(channel))
    table.watches[channel] = table.make_watch()
    statements = [table.watch(planner.schema, channel)]
    if planner.rng.random() < 0.3:
        statements.insert(0, "SELECT notify_unwatch('%s.%s', %s)" % (planner.schema, table.name, literal(channel)))
    return Alteration(table, statements, before ^ set(table.captured(channel)))


def recreate(planner, table):
    """Another table of the same name."""
    full = "%s.%s" % (planner.schema, table.name)
    statements = ["DROP TABLE %s, %s_all CASCADE" % (full, full), "DROP FUNCTION %s_mark, %s_keep" % (full, full)]
    statements += table.ddl(planner.schema)
    planner.policies[table.name] = []
    if planner.rng.random() < 0.7:
        statements += planner.create_policy(table, "again") + both(planner, table, "ENABLE ROW LEVEL SECURITY")
    statements.append(planner.insert(table)["sql"])
    return Alteration(table, statements, forget=True)


def partitions(planner, table):
    """A partition is detached, changed, and perhaps attached again."""
    full = "%s.%s" % (planner.schema, table.name)
    statements = ["ALTER TABLE %s DETACH PARTITION %s_p0" % (full, full),
                  "UPDATE %s_p0 SET owner = 'u%d'" % (full, planner.rng.randint(1, 4)),
                  "ALTER TABLE %s ATTACH PARTITION %s_p0 FOR VALUES WITH (MODULUS 2, REMAINDER 0)" % (full, full)]
    return Alteration(table, statements, forget=True)


def alteration(planner, table, away):
    """away: so that clients who are away need no reset. Returns a step."""
    rng = planner.rng
    kinds = [add, retype, retype, replace, rename, swap, watch, drop]
    if away and "whole" in planner.uses:
        kinds = [rename, swap, watch]
    if not away:
        kinds += [recreate, lambda *args: drop(*args, cascade=True)] + [partitions] * 3 * table.partitioned
    return rng.choice(kinds)(planner, table).step
