"""Plays a plan against a server: clients, transactions, and the comparison after each transaction."""

import asyncio
import json
import re
import time

import psycopg2
import websockets

from model import Mark, Number, Subscription, freeze, parse
from values import identifier, literal

import cluster
import tokens

SECONDS = 20        # for anything that the server has to do
ROUNDS = 3          # of marks to go back to
FENCE = "fence"
ABSENT = object()

ASKED = ("channel", "filter", "columns", "ops", "tag", "snapshot")
# A commit that has its ids and is not visible yet takes a while.
SLOW_COMMIT = "pending-reserved=pause:0.8,commit-after=pause:0.8"

SETTINGS = "SET timezone = 'UTC'; SET datestyle = 'ISO'; SET intervalstyle = 'postgres'; SET bytea_output = 'hex';" \
    " SET extra_float_digits = 1"


def show(value):
    """A value of JSON as text, with numbers as they were written."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, dict):
        return "{%s}" % ", ".join("%s: %s" % (json.dumps(name), show(each)) for name, each in value.items())
    if isinstance(value, list):
        return "[%s]" % ", ".join(map(show, value))
    return json.dumps(value)


class Stuck(Exception):
    pass


def position_id(position):
    return int(position.partition("-")[2].rstrip("s"))


class Client:
    """A connection with a token and its subscriptions."""

    def __init__(self, number, spec, port):
        self.number = number
        self.spec = spec
        self.port = port
        self.subs = [Subscription(each) for each in spec["subs"]]
        self.claims = spec["claims"]
        self.renewals = 0
        self.websocket = None
        self.reader = None
        self.requests = {}
        self.last_id = 0
        self.texts = []         # everything received since the last comparison
        self.other = []         # violations that concern no subscription
        self.away = False
        self.fence = None       # called with the id of an event of the channel fence

    async def connect(self):
        self.websocket = await websockets.connect(
            "ws://127.0.0.1:%d/ws" % self.port, max_size=None, max_queue=None, ping_interval=None, compression=None,
            open_timeout=SECONDS, extra_headers={"Authorization": "Bearer " + tokens.sign(self.claims)})
        self.reader = asyncio.ensure_future(self.read())

    async def close(self):
        if self.websocket is not None:
            await self.websocket.close()
            await asyncio.gather(self.reader, return_exceptions=True)
        self.websocket = None
        for future in self.requests.values():
            future.cancel()
        self.requests.clear()

    async def read(self):
        try:
            async for text in self.websocket:
                self.receive(text)
            code = self.websocket.close_code
            if code not in (1000, None):
                self.other.append(("closed", "the connection was closed with %s %s" % (code, self.websocket.close_reason)))
        except websockets.ConnectionClosed as closed:
            self.other.append(("closed", str(closed)))
        except Exception as error:      # the checker's own
            self.other.append(("checker", "%s: %s" % (type(error).__name__, error)))
            raise

    async def request(self, method, **params):
        """Returns the result, or the error as an exception's argument."""
        self.last_id += 1
        future = asyncio.get_running_loop().create_future()
        self.requests[self.last_id] = future
        await self.websocket.send(json.dumps({"id": self.last_id, "method": method, "params": params}))
        try:
            return await asyncio.wait_for(future, SECONDS)
        except asyncio.TimeoutError:
            raise Stuck("no answer to %s %s of client %d %s" % (method, params, self.number, self.other or "")) from None

    def receive(self, text):
        self.texts.append(text)
        message = parse(text)
        method = message.get("method")
        if method is None:
            future = self.requests.pop(int(message["id"]), None)
            if future is not None and not future.done():
                future.set_result(message)
        elif method == "position":
            pass
        elif method in ("event", "reset", "rows"):
            params = message["params"]
            if params["channel"] == FENCE:
                if method == "event":
                    self.fence(int(params["id"]))
                return
            sub = self.find(params["channel"], params.get("tag"))
            if sub is None or sub.state not in ("asked", "live"):
                self.other.append(("leaked", "%s of no subscription: %s" % (method, text[:300])))
            elif method == "event":
                sub.event(params)
            elif method == "rows":
                sub.receive_rows(params)
            else:
                sub.reset(params)
        elif method == "error":
            data = message["params"].get("data", {})
            sub = self.find(data.get("channel"), data.get("tag"))
            if sub is None:
                self.other.append(("error", text[:300]))
            else:
                sub.state = "ended"
                sub.error = message["params"]
        else:
            self.other.append(("unexpected", text[:300]))

    def find(self, channel, tag):
        for sub in self.subs:
            if sub.spec["channel"] == channel and sub.spec["tag"] == tag:
                return sub
        return None

    async def subscribe(self, sub, since=None):
        """Returns whether there is a subscription now."""
        spec = sub.spec
        params = {name: spec[name] for name in ASKED}
        params["since"] = since
        sub.state = "asked"
        sub.error = None
        reply = await self.request("subscribe", **{name: value for name, value in params.items() if value is not None})
        if "error" in reply:
            sub.state = "ended"
            sub.error = reply["error"]
            return False
        sub.start = position_id(reply["result"]["position"])
        if sub.error is not None:
            return False    # the message that ends it came right behind the result
        sub.state = "live"
        return True

    async def ping(self, until):
        """Wait until everything up to this id was received. Returns the position."""
        end = time.monotonic() + SECONDS
        while True:
            position = (await self.request("ping"))["result"]["position"]
            if position_id(position) >= until:
                return position
            if time.monotonic() > end:
                raise Stuck("client %d does not get beyond %s, waits for %d" % (self.number, position, until))
            await asyncio.sleep(0.001)


class Player:
    """One run of a plan. violations: (kind, text)."""

    def __init__(self, plan, server, log=None):
        self.plan = plan
        self.server = server
        self.clients = [Client(i, spec, server.port) for i, spec in enumerate(plan["clients"])]
        self.god = self.clients[0]
        self.god.fence = self.passed
        self.violations = []
        self.received = []          # what clients with violations got before the comparison
        self.changes = 0            # of policies and the like, committed
        self.untold = set()         # tables without an event since the last change
        self.seen = {}              # client -> what it received before the comparison
        self.executed = {}          # id of an event -> operation
        self.altered = 0            # number of alterations
        self.alterations = []       # (number, table, names of columns)
        self.remade = set()         # tables: a channel may learn only from their first event who sees what
        self.born = {}              # (table, column) -> id of the last event that does not have it as it is
        self.said = []              # (id, channel, payload) of messages
        self.comparisons = 0
        self.limited = 0            # of these, with a filter or fewer columns, or in a table with policies
        self.refused = 0
        self.resets = 0
        self.events = 0
        self.echoes = 0
        self.snapshots = 0
        self.met = 0                # of these, that began while a transaction was open
        self.joining = []           # tasks
        self.step = -1
        self.number = 0             # of the comparison
        self.fence_id = 0
        self.fences = []
        self.log = log
        self.writer = None
        self.oracle = None

    @staticmethod
    def alike(client, other):
        """Whether they have, or had, the same role and subject and other claims."""
        mine, its = client.claims, other.claims
        return (mine["role"], mine.get("sub")) == (its["role"], its.get("sub")) and (mine != its or other.renewals > 0)

    def passed(self, number):
        self.fences.append(number)
        self.wake.set()

    async def play(self):
        self.wake = asyncio.Event()
        self.writer = self.server.connect()
        self.oracle = self.server.connect()
        try:
            with self.writer.cursor() as cursor:
                cursor.execute(SETTINGS)
                for sql in self.plan["ddl"]:
                    cursor.execute(sql)
            with self.oracle.cursor() as cursor:
                cursor.execute(SETTINGS + "; SET application_name = 'oracle'; SET statement_timeout = 2000;"
                               " SET SESSION AUTHORIZATION authenticator")
            self.oracle.set_session(readonly=True, autocommit=False)
            self.can_pause = bool(self.server.query("SELECT 1 FROM pg_settings WHERE name = 'pg_notifyd.fail_points'"))
            await self.begin()
            for self.step, step in enumerate(self.plan["steps"]):
                await getattr(self, step["do"])(step)
                if self.violations:
                    await self.look_again()
                    break
        except Stuck as stuck:
            self.fail("stuck", str(stuck))
        except psycopg2.OperationalError as error:
            self.fail("crash", str(error).strip())
        except (OSError, websockets.WebSocketException, asyncio.TimeoutError) as error:
            self.fail("closed", "%s: %s" % (type(error).__name__, error))
        finally:
            await asyncio.gather(*(client.close() for client in self.clients), return_exceptions=True)
            self.clean()

    def clean(self):
        self.oracle.close()
        self.writer.close()
        cluster.wait_until(self.server.accepts, SECONDS, "the server")
        self.server.query("SET client_min_messages = error; ALTER ROLE bypass BYPASSRLS; GRANT app TO staff;"
                          " DROP SCHEMA IF EXISTS %s CASCADE" % self.plan["schema"])

    def fail(self, kind, text):
        self.violations.append((kind, "step %d: %s" % (self.step, text)))

    async def look_again(self):
        """Whether what was missing comes without being waited for: then a ping was answered too early."""
        await asyncio.sleep(0.5)
        for client in self.clients:
            for sub in client.subs:
                if sub.ops:
                    self.fail("late", "%s: %d events came after the answer to a ping"
                              % (self.describe(client, sub), len(sub.ops)))

    # ---------------- steps ----------------

    async def begin(self):
        await asyncio.gather(*(client.connect() for client in self.clients))
        reply = await self.god.request("subscribe", channel=FENCE)
        if "error" in reply:
            raise Stuck("the fence: %s" % reply["error"])
        for client in self.clients:
            for sub in client.subs:
                await self.join_quietly(client, sub)
        await self.compare(touched=True)

    async def join(self, client, sub):
        """Subscribe anew."""
        sub.rows = None
        sub.resets[:] = ["new"]
        sub.changes, sub.altered = self.changes, self.altered
        sub.begin = object()
        self.remember(sub)
        sub.next()
        if sub.spec["snapshot"]:
            self.snapshots += 1
            sub.expect_rows()
        await client.subscribe(sub)

    async def join_quietly(self, client, sub):
        """While nothing else happens, so that it is known which rows come first."""
        await self.join(client, sub)
        if not sub.limited() or sub.state != "live":
            return
        await self.wait_rows()
        if sub.state == "live" and not sub.unclear:
            self.check_limited(client, sub)

    async def transaction(self, step):
        ended = {}
        for each in step.get("joins", ()):
            client = self.clients[each["client"]]
            # Another one may have ended it: without a tag, all of the channel end.
            if not client.away and each["sub"] < len(client.subs) and client.subs[each["sub"]].state != "new":
                ended.setdefault(each["at"], []).append(
                    (client, await self.end(client, client.subs[each["sub"]]) or [], each["pause"]))
        changed = await self.run_safely(step, ended)
        for joins in ended.values():
            self.join_meanwhile(joins)      # whose place the transaction did not come to
        await asyncio.gather(*self.joining)
        self.joining.clear()
        self.changes += changed
        await self.pass_fence()
        if changed:
            # What the change means is told with the next event at the latest.
            self.touch()
        await self.compare()

    async def leave(self, step):
        client = self.clients[step["client"]]
        if client.away:
            return
        await client.close()
        client.away = True
        for sub in client.subs:
            if sub.state == "live":
                sub.state = "away"

    async def return_(self, step):
        client = self.clients[step["client"]]
        if not client.away:
            return
        client.away = False
        await client.connect()
        for sub in client.subs:
            if sub.state != "away" or not sub.marks:
                await self.join_quietly(client, sub)
                continue
            last = sub.marks[-1]
            marks = [mark for mark in sub.marks if mark.renewals == last.renewals
                     and (self.plan["across"] or mark.changes == last.changes)]
            mark = marks[-1 - min(step["back"], len(marks) - 1)]
            del sub.marks[:]
            sub.load(mark.rows)
            sub.next()
            sub.last = position_id(mark.position)
            sub.changes, sub.altered, sub.begin = mark.told, mark.altered, mark.number
            self.remember(sub)
            sub.versions = self.select(client, sub)[1] or set()
            sub.doubtful = any(self.alike(client, other) for other in self.clients)
            since = mark.position
            if sub.spec["snapshot"] and step.get("inside"):
                since += "s"
                sub.expect_rows()
                sub.doubtful = sub.interrupted = True
            await client.subscribe(sub, since=since)
        if not step["quick"]:
            await self.compare()

    async def resubscribe(self, step):
        client = self.clients[step["client"]]
        if client.away:
            return
        if not client.subs:
            return
        for sub in await self.end(client, client.subs[step["sub"] % len(client.subs)]) or []:
            await self.join_quietly(client, sub)
        await self.compare()

    async def end(self, client, sub):
        """Unsubscribe. Returns the subscriptions that are to begin anew, or None if that failed."""
        if sub.state == "live":
            params = {"channel": sub.spec["channel"]}
            if sub.spec["tag"] is not None:
                params["tag"] = sub.spec["tag"]
            reply = await client.request("unsubscribe", **params)
            if "error" in reply and sub.state != "live":
                return None     # it has ended just now
            if "error" in reply:
                self.fail("unsubscribe", "%s: %s" % (params, reply["error"]))
                return None
            # Without a tag all subscriptions of the channel end.
            ended = [each for each in client.subs if each.state == "live" and params in (
                {"channel": each.spec["channel"]}, {"channel": each.spec["channel"], "tag": each.spec["tag"]})]
        else:
            ended = [sub]
        for sub in ended:
            sub.state = "new"
        return ended

    async def renew(self, step):
        """Another token of the same subject and role."""
        client = self.clients[step["client"]]
        if client.away:
            return
        reply = await client.request("auth", token=tokens.sign(step["claims"]))
        if "error" in reply:
            self.fail("refused", "auth with %s: %s" % (json.dumps(step["claims"]), reply["error"]))
            return
        client.claims = step["claims"]
        client.renewals += 1
        for sub in client.subs:
            sub.changes = -1
        await self.compare()

    # ---------------- alterations ----------------

    async def alter(self, step):
        last = self.fence_id
        statements = [{"do": "row", "sql": sql} for sql in step["statements"]]
        try:
            await self.run({"statements": statements, "commit": True}, False, {})
        except psycopg2.Error as error:
            if self.writer.closed:
                raise
            self.writer.cursor().execute("ROLLBACK")
            if self.log:
                self.log("    the alteration failed: %s" % str(error).strip())
            return
        table = step["table"]
        self.altered += 1
        if step["forget"]:
            self.remade.add(table)
        self.alterations.append((self.altered, table, step["names"]))
        moved = {(table, new): self.born.pop((table, old)) for old, new in step["renamed"].items()
                 if (table, old) in self.born}
        self.born.update(moved)
        self.born.update({(table, name): last for name in step["born"]})
        self.describe_watches()
        for client in self.clients:
            for sub in client.subs:
                if table not in sub.parts:
                    continue
                self.remember(sub)
                self.doubt(client, sub, set(step["names"]))
                if len(step["renamed"]) > 1 and any(step["renamed"].keys() & set(part.spec["uses"])
                                                    for part in sub.parts.values()):
                    del sub.marks[:]    # its filter is about other columns now
                if step["forget"]:
                    sub.excused = True
                    if sub.fresh is None:
                        sub.rows = None
                    sub.versions = set()
                    del sub.marks[:]
        await self.pass_fence()
        self.touch()
        await self.compare()

    def describe_watches(self):
        with self.writer.cursor() as cursor:
            cursor.execute("SELECT relname, channel, coalesce(cols::text[], ARRAY(SELECT attname::text FROM pg_attribute WHERE"
                           " attrelid = c.oid AND attnum > 0 AND NOT attisdropped)), old_values"
                           " FROM notifyd.watches JOIN pg_class c ON c.oid = relation"
                           " WHERE relnamespace::regnamespace::text = %s", (self.plan["schema"],))
            watches = {(table, channel): (captured, old_values)
                       for table, channel, captured, old_values in cursor.fetchall()}
        for client in self.clients:
            for sub in client.subs:
                for table, part in sub.parts.items():
                    found = watches.get((table, sub.spec["channel"]))
                    if found is not None:
                        part.describe(found[0], part.key, found[1])

    def remember(self, sub):
        """Events of before the alterations that the subscription has not heard of are not as the watch says now."""
        for table, part in sub.parts.items():
            news = [names for number, altered, names in self.alterations if number > sub.altered and altered == table]
            part.before = {name for names in news for name in names} if news else None

    @staticmethod
    def doubt(client, sub, names):
        """After this nobody can say what the subscription means."""
        spec = sub.spec
        uses = {name for part in sub.parts.values() for name in part.spec["uses"]}
        sub.unclear |= client.spec["role"] == "narrow" or bool(names & set(spec["columns"] or ()))
        if spec["filter"] is not None:
            sub.unclear |= any((part.spec["sql"] is not None) != (uses <= part.captured | set(part.key))
                                 for part in sub.parts.values())

    # ---------------- the writer ----------------

    async def run_safely(self, step, joins):
        """
        Run a transaction. If one of its statements fails, again with savepoints. Returns the number of changes.
        joins: see run().
        """
        try:
            return await self.run(step, False, joins)
        except psycopg2.Error:
            if self.writer.closed:
                raise
            self.writer.cursor().execute("ROLLBACK")
        try:
            return await self.run(step, True, joins)
        except psycopg2.Error as error:
            self.writer.cursor().execute("ROLLBACK")
            if self.log:
                self.log("    the transaction failed: %s" % str(error).strip())
            return 0

    def join_meanwhile(self, joins):
        """joins: (client, subscriptions, how long to wait then); they are taken. Returns how long to wait."""
        pause = 0
        for client, subs, wait in joins:
            self.joining += [asyncio.ensure_future(self.join(client, sub)) for sub in subs]
            for sub in subs:
                sub.excused = True      # its SELECT may be of a state that is gone
            self.met += len(subs)
            pause = max(pause, wait)
        joins.clear()
        return pause

    async def run(self, step, savepoints, joins):
        """joins: number of a statement -> what is to be joined before it; the last two: before COMMIT and during it."""
        changed = 0
        last = len(step["statements"])
        with self.writer.cursor() as cursor:
            if joins.get(last + 1) and self.can_pause:
                cursor.execute("SET pg_notifyd.fail_points = %s", (SLOW_COMMIT,))
            cursor.execute("BEGIN")
            for i, statement in enumerate(step["statements"]):
                if joins.get(i):
                    await asyncio.sleep(self.join_meanwhile(joins[i]))
                guarded = savepoints and "SAVEPOINT" not in statement["sql"]
                if guarded:
                    cursor.execute("SAVEPOINT guard")
                try:
                    self.execute(cursor, statement)
                    changed += statement["do"] == "change"
                except psycopg2.Error as error:
                    if not guarded:
                        raise
                    if self.log:
                        self.log("    failed: %s: %s" % (statement["sql"], str(error).strip()))
                    cursor.execute("ROLLBACK TO guard")
                if guarded:
                    cursor.execute("RELEASE guard")
            if joins.get(last):
                await asyncio.sleep(self.join_meanwhile(joins[last]))
            end = "COMMIT" if step["commit"] else "ROLLBACK"
            if joins.get(last + 1):
                ending = asyncio.get_running_loop().run_in_executor(None, cursor.execute, end)
                await asyncio.sleep(self.join_meanwhile(joins[last + 1]))
                try:
                    await ending
                finally:
                    if self.can_pause and not self.writer.closed:
                        cursor.execute("RESET pg_notifyd.fail_points")
            else:
                cursor.execute(end)
        return changed if step["commit"] else 0

    @staticmethod
    def execute(cursor, statement):
        if statement["do"] == "copy":
            import io
            cursor.copy_expert(statement["sql"], io.StringIO(statement["data"]))
        else:
            cursor.execute(statement["sql"])

    def touch(self):
        """An event in each channel."""
        with self.writer.cursor() as cursor:
            for table, part in sorted(self.god_parts().items()):
                keys = ", ".join(map(identifier, part.key))
                cursor.execute("UPDATE {0}.{1} SET level = level WHERE ({2}) = (SELECT {2} FROM {0}.{1} ORDER BY {2} LIMIT 1)"
                               .format(self.plan["schema"], table, keys))
                if cursor.rowcount == 0:
                    self.untold.add(table)

    def god_parts(self):
        return {table: part for sub in self.god.subs for table, part in sub.parts.items()}

    async def pass_fence(self):
        """Wait until the feed has sent everything that is committed."""
        self.fences.clear()
        self.wake.clear()
        with self.writer.cursor() as cursor:
            cursor.execute("SELECT notify_send(%s, 'null')", (FENCE,))
        try:
            await asyncio.wait_for(self.wake.wait(), SECONDS)
        except asyncio.TimeoutError:
            raise Stuck("the fence does not come") from None
        self.fence_id = self.fences[-1]

    # ---------------- comparison ----------------

    def waiting(self):
        return [(client, sub) for client in self.clients for sub in client.subs
                if sub.state == "live" and sub.fresh is not None]

    async def wait_rows(self):
        end = time.monotonic() + SECONDS
        while self.waiting():
            if time.monotonic() > end:
                raise Stuck("no rows for %s" % self.describe(*self.waiting()[0]))
            await asyncio.sleep(0.001)

    async def compare(self, touched=False):
        here = [client for client in self.clients if not client.away]
        while True:
            await self.wait_rows()
            await self.pass_fence()
            positions = await asyncio.gather(*(client.ping(self.fence_id) for client in here))
            if not self.waiting():
                break
        self.number += 1
        for sub in self.god.subs:
            self.executed.update((number, op) for number, op, _ in sub.ops)
            self.said += [(number, sub.spec["channel"], event["payload"])
                          for number, op, event in sub.log if op == "MESSAGE"]
            self.untold -= {event["table"] for _, _, event in sub.log if "table" in event}
        for client, position in zip(here, positions):
            self.check_texts(client)
            for sub in client.subs:
                if sub.state == "live":
                    self.check_echo(client, sub)
            for sub in client.subs:
                if sub.state == "live":
                    self.check(client, sub, position)
                elif sub.state == "ended":
                    await self.check_ended(client, sub)
            self.violations.extend((kind, "step %d, client %d: %s" % (self.step, client.number, text))
                                   for kind, text in client.other)
            client.other.clear()

    def check_texts(self, client):
        """Canaries in columns that the client must not see, in whatever it received."""
        hidden = ["SECRET", "HOSTILE"]
        if client.spec["role"] == "narrow":
            hidden.append("WITHHELD")
        if client.spec["role"] != "narrow" and any(part.exposed for sub in client.subs
                                                   for part in sub.parts.values()):
            hidden.remove("SECRET")
        if hidden:
            pattern = re.compile("|".join(hidden))
            for text in client.texts:
                if pattern.search(text):
                    self.fail("leaked", "client %d received a hidden column: %s" % (client.number, text[:1000]))
        self.seen[client], client.texts = client.texts, []

    def describe(self, client, sub):
        spec = sub.spec
        return "client %d (%s), subscription %s" % (client.number, json.dumps(client.claims), json.dumps(
            {name: spec[name] for name in ASKED if spec[name] is not None}))

    def check_limited(self, client, sub):
        """The rows of a snapshot with an order or a limit are those that SELECT has there, in order."""
        part, = sub.parts.values()
        asked = sub.spec["snapshot"]
        found, _, error = self.select(client, sub)
        if error is not None or part.spec["blind"]:
            return
        mine, every = sub.first[part.spec["table"]], found[part.spec["table"]]
        for key, row in mine.items():
            if key not in every or sub.differ(part, row, every[key]):
                self.fail("set", "%s: has %s instead of %s"
                          % (self.describe(client, sub), json.dumps(row), json.dumps(every.get(key))))
        with self.oracle.cursor() as cursor:
            cursor.execute("SELECT set_config('request.jwt.claims', %s, true)", (json.dumps(client.claims),))
            cursor.execute("SET LOCAL ROLE " + client.spec["role"])
            names = ["level"] if "order" in asked else part.key
            cursor.execute("SELECT (SELECT row_to_json(k) FROM (SELECT %s) AS k)::text FROM %s.%s AS x%s ORDER BY %s LIMIT %d" % (
                ", ".join("x." + identifier(name) for name in names), self.plan["schema"], part.spec["table"],
                "" if part.spec["sql"] is None else " WHERE " + part.spec["sql"],
                "level DESC NULLS LAST" if "order" in asked else ", ".join("x." + identifier(name) for name in names),
                asked["limit"]))
            wanted = [freeze(parse(key)) for key, in cursor.fetchall()]
        self.oracle.rollback()
        came = [freeze({name: row[name] for name in names}) if "order" in asked else key for key, row in mine.items()]
        if came != wanted:
            self.fail("set", "%s: the rows %s instead of %s" % (self.describe(client, sub), came, wanted))

    def check(self, client, sub, position):
        self.comparisons += 1
        self.resets += len(sub.resets)
        rows, versions, error = self.select(client, sub)
        known = None if sub.spec["echo"] else rows      # an echo has no rows of its own
        due = self.changes > sub.changes or self.altered > sub.altered or self.plan["now"] or sub.doubtful
        sub.doubtful = False
        wrong = sub.wrong if sub.rows is not None or not due else \
            [each for each in sub.wrong if each[0] == "leaked"]
        sub.wrong = []
        wrong = [each for each in sub.doubted if each[0] == "leaked" or not due] + wrong
        sub.doubted = []
        if sub.interrupted and not sub.resets:
            sub.fail("reset", "no reset after a position inside a snapshot")
        sub.interrupted = False
        if sub.unclear:
            known = None
            sub.rows = None
        elif sub.spec["must_not"]:
            sub.fail("accepted", "a subscription that has to be refused")
        if error is None:
            hidden = sub.tags - versions - sub.versions
            if hidden:
                seen = [text for text in self.seen[client] if any('"%s"' % tag in text for tag in hidden)]
                sub.fail("leaked", "versions of rows that the client may not see: %s, as in %s"
                         % (", ".join(sorted(hidden)), "; ".join(seen[:3])))
            if sub.rows is not None:
                sub.compare(rows)
            if sub.resets and sub.resets != ["new"] and not (due or sub.unclear or self.remade & sub.parts.keys()):
                sub.fail("reset", "a reset without a cause: %s" % "; ".join(sub.resets))
        self.check_messages(sub)
        self.check_guesses(client, sub)
        for number, op, cause in sub.ops:
            if number in self.executed and (cause or op) != self.executed[number]:
                sub.fail("cause", "%s with cause %s, executed was %s" % (op, cause, self.executed[number]))
            if cause == op:
                sub.fail("cause", "%s with the same cause" % op)
        for kind, text in wrong + sub.wrong:
            self.fail(kind, "%s: %s" % (self.describe(client, sub), text))
        if wrong or sub.wrong:
            self.received += ["client %d: %s" % (client.number, text) for text in self.seen[client]]
        sub.wrong = []
        sub.load(known)
        sub.versions = versions if error is None else set()
        self.events += len(sub.ops)
        sub.next()
        sub.excused = False
        sub.begin, sub.start = self.number, position_id(position)
        if not self.untold & sub.parts.keys():
            sub.changes, sub.altered = self.changes, self.altered
            self.remember(sub)
        mark = Mark(position, known, sub.changes, self.changes, client.renewals, sub.altered, self.number)
        sub.marks = (sub.marks + [mark])[-ROUNDS - 1:]

    def check_guesses(self, client, sub):
        """No event of before columns that policies or filter need had their types."""
        if not self.born or sub.unclear:
            return
        for table, part in sub.parts.items():
            needs = set(part.spec["uses"]) if part.spec["sql"] is not None else set()
            born = max((self.born.get((table, name), 0) for name in needs | self.policy_columns(client, table)), default=0)
            early = [(number, op) for number, op, event in sub.log
                     if number <= born and op != "TRUNCATE" and event.get("table") == table]
            if early:
                sub.fail("guessed", "events that cannot be judged: %s" % early)

    def policy_columns(self, client, table):
        """The columns that the policies of a table name, if they apply to the client."""
        with self.oracle.cursor() as cursor:
            cursor.execute("SELECT set_config('role', %s, true)", (client.spec["role"],))
            cursor.execute(
                "SELECT attname FROM pg_policy p JOIN pg_depend ON classid = 'pg_policy'::regclass AND objid = p.oid"
                " AND refobjid = polrelid JOIN pg_attribute ON attrelid = polrelid AND attnum = refobjsubid"
                " WHERE polrelid = %s::regclass AND row_security_active(polrelid) AND polcmd IN ('r', '*')"
                " AND EXISTS (SELECT FROM unnest(polroles) r WHERE r = 0 OR pg_has_role(r, 'usage'))",
                ("%s.%s" % (self.plan["schema"], table),))
            found = {name for name, in cursor.fetchall()}
        self.oracle.rollback()
        return found

    def check_messages(self, sub):
        """Exactly the messages that the filter selects."""
        said = [each for each in self.said if each[1] == sub.spec["channel"] and each[0] > sub.start]
        if sub.spec["messages"] is None:
            said = []
        elif sub.spec["echo"]:
            return
        elif said and sub.spec["messages"] != "true":
            fits = self.ask(sub.spec["messages"], "payload", [each[2] for each in said])
            said = [each for each, fit in zip(said, fits) if fit]
        wanted = [each[0] for each in said]
        if sub.spec["snapshot"] and sub.resets and not set(sub.messages) - set(wanted):
            return      # those up to the snapshot do not come
        if sub.messages != wanted:
            kind = "leaked" if set(sub.messages) - set(wanted) else "messages"
            sub.fail(kind, "the messages %s instead of %s" % (sub.messages, wanted))

    def check_echo(self, client, sub):
        """Exactly those events of the other subscription that fit."""
        if not sub.spec["echo"]:
            return
        other, condition = sub.spec["echo"]
        other = client.subs[other]
        if sub.unclear or other.unclear:
            return
        if other.state != "live" or other.begin != sub.begin or sub.resets or other.resets:
            return
        fits = [True] * len(other.log)
        if condition != "true" and other.log:
            fits = self.ask(condition, "context", [event.get("context", ABSENT) for _, _, event in other.log])
        ops = sub.spec["ops"]
        # The context does not matter where the filter names columns that are not there.
        unlimited = {table for table, part in other.parts.items()
                     if other.spec["filter"] is not None and part.spec["sql"] is None}
        wanted = [each for each, fit in zip(other.log, fits)
                  if (fit or each[1] == "TRUNCATE" or each[2].get("table") in unlimited) and (ops is None or each[1] in ops)]
        if freeze([list(each) for each in wanted]) != freeze([list(each) for each in sub.log]):
            self.fail("echo", "%s: the events %s instead of %s" % (
                self.describe(client, sub), [each[:2] for each in sub.log], [each[:2] for each in wanted]))
        self.echoes += len(wanted)

    def ask(self, condition, name, documents):
        """The truth of a condition for each of some JSON values, which it calls so."""
        values = ", ".join("(%d, %s::jsonb)" % (n, "NULL" if each is ABSENT else literal(show(each)))
                           for n, each in enumerate(documents))
        with self.oracle.cursor() as cursor:
            cursor.execute("SELECT (%s) IS TRUE FROM (VALUES %s) AS v (n, %s) ORDER BY n" % (condition, values, name))
            found = [each for each, in cursor.fetchall()]
        self.oracle.rollback()
        return found

    def select(self, client, sub):
        """Returns table -> key -> row and the tags of all visible versions, or an error."""
        rows, versions = {}, set()
        with self.oracle.cursor() as cursor:
            try:
                cursor.execute("SELECT set_config('request.jwt.claims', %s, true)", (json.dumps(client.claims),))
                if client.claims.get("sub") == "mad":
                    cursor.execute("SET LOCAL statement_timeout = 100")
                cursor.execute("SET LOCAL ROLE " + client.spec["role"])
                for name, part in sub.parts.items():
                    table = "%s.%s" % (self.plan["schema"], name)
                    where = "" if part.spec["sql"] is None or sub.unclear else " WHERE " + part.spec["sql"]
                    rows[name] = {}
                    if not part.spec["blind"]:
                        cursor.execute("SELECT (SELECT row_to_json(k) FROM (SELECT %s) AS k)::text,"
                                       " (SELECT row_to_json(c) FROM (SELECT %s) AS c)::text FROM %s AS x%s" % (
                                           ", ".join("x." + identifier(column) for column in part.key),
                                           ", ".join("x." + identifier(column) for column in sorted(part.columns)),
                                           table, where))
                        rows[name] = {freeze(parse(key)): parse(row) if row else {} for key, row in cursor.fetchall()}
                    cursor.execute("SELECT tag FROM %s_all%s" % (table, where))
                    versions |= {tag for tag, in cursor.fetchall()}
                self.oracle.rollback()
            except psycopg2.Error as error:
                if self.oracle.closed:
                    raise
                self.oracle.rollback()
                return None, None, str(error).strip()
        return rows, versions, None

    async def check_ended(self, client, sub):
        """Refused, or ended with an error: right only if SELECT fails too, or the role lacks a privilege."""
        if sub.error is None:
            return
        self.refused += 1
        _, _, error = self.select(client, sub)
        text = json.dumps(sub.error)
        if re.search(r"T\d+\.|SECRET|WITHHELD|HOSTILE", text):
            self.fail("leaked", "%s: the error tells data: %s" % (self.describe(client, sub), text))
        if error is None and sub.spec["may"] and not sub.unclear and not sub.excused and client.claims.get("sub") != "mad":
            self.fail("refused", "%s: %s" % (self.describe(client, sub), text))
        sub.error = None
        sub.excused = False
        sub.next()


setattr(Player, "return", Player.return_)
