"""Clients that may see only some rows: their token's claims, policies, memberships and filters decide which."""

import rules
import tokens
from client import Client
from set_history import SetEvent, SetSubscription
from workload import NOTICES

TAGGED = '{"jsonrpc":"2.0","method":"event","params":{"tag":"'
LOOK = 0.05         # in s, between two questions how far the server is


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

    def ended(self, params):
        if params["code"] == -32003:
            self.unexpected.append("error %s" % params)
        super().ended(params)

    # ---------------- the end ----------------

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
        return [name for name in self.wants if name in self.active and self.positions[name] < last]

    def missing(self, tags):
        if tags[NOTICES] not in self.fences:
            return [NOTICES]
        return [name for name in self.channels if name not in self.active] + self.behind()
