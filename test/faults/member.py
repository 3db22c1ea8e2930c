"""
Clients that may see only some rows: their token's claims, policies, memberships and filters decide which. Some of their
subscriptions begin with a snapshot of these rows.
"""

import time

import rules
import tokens
from client import Client, position_id
from set_history import SetEvent, SetSubscription
from workload import NOTICES

TAGGED = '{"jsonrpc":"2.0","method":"event","params":{"tag":"'
LOOK = 0.05         # in s, between two questions how far the server is
INSIDE = "s"        # at the end of a position inside a snapshot
BUSY, INTERNAL, TIMEOUT = -32011, -32603, -32013


class Member(Client):
    """
    Its subscriptions to sets of rows have tags as names. It also subscribes to the channel of messages, so that it knows
    when everything else must have come.
    """

    def __init__(self, number, seed, manner, ops, urls, seen):
        super().__init__(number, seed, manner, [NOTICES], ops, urls, seen)
        self.name = "member %d, %s" % (number, manner)
        # No two members have the same subject: a client that comes back is recognized by it.
        self.claims = {"role": rules.ROLE, "sub": "u%d" % (number % rules.USERS),
                       "tenant": self.random.randrange(rules.TENANTS)}
        self.token = tokens.sign(self.claims)
        self.wants = {want.name: want for want in rules.make_wants(self.random, self.claims)}
        self.snapshots = {name for name, want in self.wants.items() if want.snapshot}
        self.insides = {}   # name -> the position inside a snapshot that the subscription has come to
        self.channels = self.channels + list(self.wants)
        self.sets = []      # all subscriptions to sets that there ever were

    async def connect(self, url):
        return await super().connect(url, extra_headers={"Authorization": "Bearer " + self.token})

    def request(self, name):
        return self.wants[name].request() if name in self.wants else super().request(name)

    @staticmethod
    def name_in(params):
        return params.get("tag", params.get("channel"))

    def new_subscription(self, name, *arguments):
        if name not in self.wants:
            return super().new_subscription(name, *arguments)
        made = SetSubscription(self.name, self.connections, self.wants[name], self.ops, *arguments)
        self.sets.append(made)
        return made

    def parse(self, text):
        if not text.startswith(TAGGED):
            return super().parse(text)
        name, _, body = text[len(TAGGED):].partition('",')
        return SetEvent(name, self.seen.body(body))

    # ---------------- snapshots ----------------

    def retries(self, name, code):
        """The worker that reads the rows may be killed, or none may be there."""
        return super().retries(name, code) or name in self.snapshots and code in (BUSY, INTERNAL, TIMEOUT)

    def subscribe(self, name):
        """Without the stream, or from a position inside a snapshot, the rows come again."""
        if name in self.snapshots and (name in self.insides or self.random.random() < 0.3):
            params = self.request(name)
            if self.ops:
                params["ops"] = self.ops
            if name in self.insides and self.random.random() < 0.5:
                params["since"] = self.insides[name]
            self.send("subscribe", **params)
        else:
            super().subscribe(name)

    def subscribed(self, name, since, position, sent, now):
        if name not in self.snapshots or since is not None and not since.endswith(INSIDE):
            super().subscribed(name, since, position, sent, now)
            return
        self.active[name] = self.new_subscription(name, None, position_id(position), sent, now)
        self.active[name].expect_rows()
        self.lose(name, position)

    def lose(self, name, position):
        """From here on the subscription is inside a snapshot."""
        if not position.endswith(INSIDE):
            self.unexpected.append("%s is not inside a snapshot at %s" % (name, position))
        self.insides[name] = position
        self.positions.pop(name, None)
        self.past[name] = []

    def rows(self, params, now):
        name = self.name_in(params)
        if name not in self.active or name not in self.snapshots:
            super().rows(params, now)
            return
        self.active[name].add_rows(params)
        if params.get("done"):
            self.come_to(name, params["position"], now)

    def come_to(self, name, position, now):
        if position.endswith(INSIDE):
            self.insides[name] = position
            return
        del self.insides[name]
        self.positions[name] = self.note(position)
        self.active[name].join(self.positions[name], now)

    def event(self, event, now):
        if event.name in self.snapshots and event.name in self.active and self.active[event.name].fresh is not None:
            self.active[event.name].apply(event, now)
            self.come_to(event.name, event.position, now)
        else:
            super().event(event, now)

    def bookmark(self, position):
        """It is not about subscriptions whose rows are not joined with the stream, and says nothing of others then."""
        if position.endswith(INSIDE):
            return
        number = self.note(position)
        for name, subscription in self.active.items():
            if name not in self.insides:
                subscription.cover(number)
                self.advance(name, number)

    def reset(self, params):
        name = self.name_in(params)
        if name not in self.snapshots or name not in self.active:
            super().reset(params)
            return
        self.active[name].reset(position_id(params["position"]), params["reason"], time.monotonic())
        self.lose(name, params["position"])

    # ---------------- the end ----------------

    def ended(self, params):
        # It took too long if the feed was frozen meanwhile.
        if params["code"] == -32003 and not params["message"].endswith("took too long"):
            self.unexpected.append("error %s" % params)
        super().ended(params)

    def settle(self):
        if not self.calm:
            self.later(LOOK, self.look)
        super().settle()

    def begin(self):
        super().begin()
        if self.calm:
            self.later(LOOK, self.look)

    def look(self):
        """Ask how far the server is, while an event has come that some sets may lack."""
        if self.behind():
            self.send("ping")
        self.later(LOOK, self.look)

    def behind(self):
        """The sets that have not come to the last fence."""
        last = max(self.fences.values(), default=0)
        return [name for name in self.wants if name in self.active and self.positions.get(name, -1) < last]

    def missing(self, tags):
        if tags[NOTICES] not in self.fences:
            return [NOTICES]
        return [name for name in self.channels if name not in self.active] + self.behind()
