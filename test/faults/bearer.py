"""Clients with tokens, which expire, are renewed and are revoked."""

import asyncio
import time

import tokens
from client import Client
from history import Login, Use

LATE = 2.5          # for so many s after its token's expiry, at most, a client that dozes does not read


class Bearer(Client):
    """As a client, with the manners of BEARERS beside those of MANNERS."""

    BEARERS = {
        # token: how long one is valid, in s; refresh: how likely the client renews one; doze: how likely
        # it reads nothing until its token has expired, when it is slow
        "refreshing": dict(like="steady", token=(0.8, 4), refresh=1, slow=0, doze=0),
        "wandering": dict(like="returning", token=(0.5, 10), refresh=0.6, slow=0.002, doze=0),
        "expiring": dict(like="steady", token=(0.3, 1.5), refresh=0, slow=0.0003, doze=0.3),
    }

    def __init__(self, number, seed, manner, channels, ops, urls, seen, issuer):
        super().__init__(number, seed, self.BEARERS[manner]["like"], channels, ops, urls, seen)
        self.name = "%s %d" % (manner, number)
        self.manner.update(self.BEARERS[manner], rewind=0.1, ping=1)
        self.issuer = issuer
        self.clock = issuer.clock
        self.claims = None      # of the token to present next
        self.login = None       # of the present connection
        self.began = 0.0        # when this connection did
        self.opened = 0.0       # when its handshake had ended
        self.stubborn = 0.0     # until when it presents a token that was refused

    # ---------------- tokens ----------------

    def new_token(self):
        self.stubborn = 0.0
        life = 60 if self.calm else self.random.uniform(*self.manner["token"])
        self.claims = self.issuer.issue(self.name, life, late=self.random.random() < 0.15)

    def choose_token(self):
        """Mostly go on with the last one while it is valid."""
        if (self.claims is None or self.claims["exp"] < self.clock.now() + 0.1
                or self.stubborn == 0.0 and self.random.random() < 0.2):
            self.new_token()

    def use(self, sent):
        """A use of the present token, from now on."""
        return Use(self.claims, sent, self.clock.latest(self.claims["exp"], self.began, self.opened))

    async def connect(self, url):
        """Present the token in one of the ways there are."""
        self.choose_token()
        self.began = time.monotonic()
        self.opened = 0.0
        token = tokens.sign(self.claims)
        way = self.random.choice(("header", "parameter", "subprotocol", "request"))
        options = {}
        if way == "header":
            options["extra_headers"] = {"Authorization": "Bearer " + token}
        elif way == "parameter":
            url += "?access_token=" + token
        elif way == "subprotocol":
            options["subprotocols"] = ["pg_notifyd.v1", "bearer." + token]
        self.login = None
        websocket = await super().connect(url, **options)
        self.opened = time.monotonic()
        self.login = Login()
        if way != "request":
            self.login.uses.append(self.use(self.began))
        return websocket

    def begin(self):
        if self.login.uses:
            self.greet()
        else:
            self.authenticate()

    def greet(self):
        """The connection has a token: subscribe, and plan what becomes of it."""
        super().begin()
        if self.random.random() < self.manner["refresh"]:
            # At once the events of the past are still on their way.
            soon = self.random.random() < 0.4
            self.later(self.random.uniform(0, 0.05 if soon else 0.8 * self.left()), self.refresh)

    def left(self):
        """How long the connection's token lives."""
        use = self.login.uses[-1]
        return max(0.0, use.exp + (tokens.SKEW if use.exp < use.sent else 0) - time.monotonic())

    def authenticate(self):
        use = self.use(time.monotonic())
        self.login.uses.append(use)
        self.send("auth", token=tokens.sign(use.claims))

    def refresh(self):
        subject = self.claims["sub"]
        self.new_token()
        # Another subject can only come on another connection.
        if self.claims["sub"] == subject and self.login is not None:
            self.authenticate()

    async def idle(self):
        if self.random.random() < self.manner["doze"]:
            self.login.reads = False
            await asyncio.sleep(self.left() + self.random.uniform(0, LATE))
        else:
            await super().idle()

    # ---------------- what comes ----------------

    def reply(self, message, now):
        method, params, sent = self.requests.get(message["id"], (None, None, None))
        if method == "auth":
            del self.requests[message["id"]]
            self.authenticated(params["token"], message, now)
            return
        if "error" not in message and self.login.uses:
            if self.login.uses[0].answered is None:
                self.login.uses[0].answered = now
            self.login.answers.append((method, sent))
        super().reply(message, now)

    def authenticated(self, token, message, now):
        use = next(use for use in self.login.uses if tokens.sign(use.claims) == token)
        if "error" in message:
            self.login.uses.remove(use)
            if message["error"]["code"] != -32001 or not self.refusal_is_due(use, now):
                self.unexpected.append("reply %s to auth with %s" % (message, use.claims))
            if self.login.uses:
                self.claims = self.login.uses[-1].claims
            else:
                self.refused()
                self.websocket.transport.abort()
            return
        first = use is self.login.uses[0] and use.answered is None and not self.active
        use.answered = now
        if message["result"]["role"] != tokens.ROLE:
            self.unexpected.append("reply %s to auth" % message)
        if first:
            self.greet()
            return
        self.renewals += 1
        if self.random.random() < self.manner["refresh"]:
            self.later(self.random.uniform(0, 0.9) * self.left(), self.refresh)

    def closed(self, closed):
        now = time.monotonic()
        code = closed.rcvd.code if closed.rcvd is not None else None
        if code not in (4001, 4401):
            super().closed(closed)
            return
        self.count_close("close %d" % code)
        uses = self.login.uses if self.login is not None else []
        due = (any(self.has_expired(use, now) for use in uses) if code == 4001
               else any(self.refusal_is_due(use, now) for use in uses))
        if not due:
            self.unexpected.append("close %d %s at %.3f, tokens %s" % (code, closed.rcvd.reason, now, uses))
        if code == 4401:
            self.refused()

    def refused(self):
        """Present the same token for a while at times, and always if only its role was refused."""
        now = time.monotonic()
        if self.stubborn == 0.0:
            self.stubborn = now + max(0.0, self.random.uniform(-2, 3))
        if now >= self.stubborn and not self.issuer.may_be_expelled(self.began, now):
            self.claims = None

    def has_expired(self, use, now):
        exp = self.clock.earliest(use.claims["exp"], self.began, now)
        return exp + (tokens.SKEW if exp < use.sent else 0) <= now + 0.1

    def is_not_valid_yet(self, use, now):
        """Because the server's clock was set back."""
        return self.clock.latest(use.claims["iat"], self.began, now) > now + tokens.SKEW - 1

    def refusal_is_due(self, use, now):
        """Whether something explains that a token is refused."""
        return (self.issuer.may_be_revoked(use.claims) or self.issuer.may_be_expelled(self.began, now)
                or self.has_expired(use, now) or use.answered is None and self.is_not_valid_yet(use, now))
