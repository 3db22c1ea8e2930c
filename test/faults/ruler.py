"""The writer that changes policies and memberships, alone or together with rows."""

import json

import rules
from workload import Undo, Writer

PAUSE = 0.3         # between two transactions, in s, on average


class Ruler(Writer):
    """Its transactions come one after the other, and each writes to rulings what it has left."""

    LEVELS = ("READ COMMITTED",)

    def __init__(self, number, seed, cluster, transactions, goal):
        super().__init__(number, seed, cluster, transactions, goal, 0)
        self.kinds = ((1, self.rule),)

    def transaction(self):
        self.stopping.wait(self.random.expovariate(1 / PAUSE))
        super().transaction()

    def rule(self):
        # Who waits for the lock of a table holds up all that come after.
        self.do("SET LOCAL lock_timeout = 300; LOCK TABLE rulings IN EXCLUSIVE MODE")
        self.do("SELECT state FROM rulings ORDER BY n DESC LIMIT 1")
        state = self.cursor.fetchone()[0]
        events = self.rows()
        for _ in range(self.random.choice((1, 1, 1, 2, 3))):
            self.random.choice((self.membership, self.membership, self.policy, self.policy, self.switch))(state)
        events += self.rows()
        self.do("INSERT INTO rulings (tx, state) VALUES (%s, %s)", self.name_now, json.dumps(state))
        if self.random.random() < 0.1:
            raise Undo
        return events

    def rows(self):
        return self.change_in(self.random.choice(rules.TABLES)) if self.random.random() < 0.3 else 0

    # ---------------- changes of the state ----------------

    def membership(self, state):
        member = ["u%d" % self.random.randrange(rules.USERS), self.random.randrange(rules.TENANTS)]
        if member in state["members"]:
            state["members"].remove(member)
            self.do("DELETE FROM members WHERE u = %s AND tenant = %s", *member)
        else:
            state["members"].append(member)
            self.do("INSERT INTO members VALUES (%s, %s)", *member)

    def policy(self, state):
        table = self.random.choice(rules.TABLES)
        slot = self.random.choice(list(rules.SLOTS))
        policies = state[table]["policies"]
        variant = self.random.choice(list(rules.SLOTS[slot]))
        if slot not in policies:
            self.do(rules.create(table, slot, variant))
        elif slot == "r" or self.random.random() < 0.3:
            self.do("DROP POLICY %s ON %s" % (slot, table))
            variant = None
        else:
            self.do("ALTER POLICY %s ON %s%s" % (slot, table, rules.using(table, variant)))
        policies.pop(slot, None)
        if variant is not None:
            policies[slot] = variant

    def switch(self, state):
        """Mostly row security is enabled."""
        table = self.random.choice(rules.TABLES)
        state[table]["on"] = not state[table]["on"] or self.random.random() < 0.5
        self.do(rules.enable(table, state[table]["on"]))
