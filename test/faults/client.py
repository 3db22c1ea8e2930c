"""WebSocket clients that come, go, resume and write down everything they receive."""

import asyncio
import json
import random
import socket
import struct
import time

import websockets

from history import Event, Subscription
from workload import NOTICES

RETRY = (-32001, -32003, -32004)
NOTIFY = '{"jsonrpc":"2.0","method":"event","params":{"op":"NOTIFY"'


def position_id(position):
    return int(position.partition("-")[2].rstrip("s"))


class Seen:
    """Every different message of an event, parsed once for all clients."""

    def __init__(self):
        self.texts = {}
        self.bodies = {}    # of events of subscriptions with tags: what follows the tag -> params

    def event(self, text):
        event = self.texts.get(text)
        if event is None:
            params = json.loads(text)["params"]
            event = Event(params)
            self.texts[text] = event
        return event

    def body(self, text):
        params = self.bodies.get(text)
        if params is None:
            params = self.bodies[text] = json.loads('{"params":{' + text)["params"]
        return params


class Client:
    """
    manner: steady (stays, all channels), or how likely it does what: see MANNERS. urls: where it may connect to; the
    choice is made for each connection. The client knows its subscriptions by the names of their channels.
    """

    MANNERS = {
        "steady": dict(life=1e9, slow=0, abandon=0, rewind=0, ping=0.5, resubscribe=0),
        "restless": dict(life=0.6, slow=0, abandon=0.1, rewind=0.15, ping=1, resubscribe=0.7),
        "slow": dict(life=3, slow=0.05, abandon=0.05, rewind=0.05, ping=0.3, resubscribe=0.2),
        "returning": dict(life=0.25, slow=0.002, abandon=0.05, rewind=0.3, ping=1, resubscribe=0.2),
    }

    def __init__(self, number, seed, manner, channels, ops, urls, seen):
        self.name = "%s %d" % (manner, number)
        self.random = random.Random("%d client %d" % (seed, number))
        self.manner = dict(self.MANNERS[manner])
        self.channels = channels
        self.ops = ops
        self.urls = urls
        self.seen = seen
        self.connections = 0
        self.texts = {}             # id of a position -> its text, as it was told last
        self.positions = {}         # channel -> id of the position from which to go on
        self.past = {}              # channel -> some positions before that
        self.subscriptions = []     # all there ever were
        self.active = {}            # channel -> Subscription, after its reply
        self.requests = {}          # id -> what was asked
        self.last_id = 0
        self.closes = {}            # why connections ended -> how often
        self.fences = {}            # tags of fences received -> their ids
        self.unexpected = []        # what no client should ever get
        self.messages = 0
        self.renewals = 0           # of tokens of open connections
        self.stopping = False
        self.calm = False           # no drops of its own any more
        self.websocket = None
        self.login = None           # tokens of the present connection, see bearer.py
        self.abandoned = []
        self.timers = []

    # ---------------- connections ----------------

    async def run(self):
        while not self.stopping:
            url = self.random.choice(self.urls)
            try:
                websocket = await self.connect(url)
            except (OSError, asyncio.TimeoutError, websockets.WebSocketException, EOFError) as error:
                self.count_close(type(error).__name__)
                await asyncio.sleep(self.random.uniform(0.02, 0.15))
                continue
            self.connections += 1
            self.websocket = websocket
            try:
                await self.converse(websocket)
            except websockets.ConnectionClosed as closed:
                self.closed(closed)
            except OSError as error:
                self.count_close(type(error).__name__)
            for timer in self.timers:
                timer.cancel()
            self.timers.clear()
            self.active.clear()
            self.requests.clear()
            self.websocket = None
            if websocket not in self.abandoned:
                websocket.transport.abort()
            await asyncio.sleep(self.random.uniform(0, 0.1))

    async def connect(self, url, **options):
        return await websockets.connect(url, max_size=None, max_queue=16, ping_interval=None, compression=None,
                                        open_timeout=5, close_timeout=1, **options)

    def count_close(self, why):
        self.closes[why] = self.closes.get(why, 0) + 1

    def closed(self, closed):
        code = closed.rcvd.code if closed.rcvd is not None else None
        self.count_close("close %s" % code)
        if code == 4008:
            # From where to go on is said in the reason, and is as good as our own positions.
            if self.random.random() < 0.5:
                self.bookmark(closed.rcvd.reason.rpartition(" ")[2])
        elif code is not None and code not in (1000, 1001, 1012, 4503):
            self.unexpected.append("close %d %s" % (code, closed.rcvd.reason))

    def later(self, seconds, action, *arguments):
        self.timers.append(asyncio.get_running_loop().call_later(seconds, action, *arguments))

    async def converse(self, websocket):
        self.begin()
        if not self.calm:
            self.later(self.random.expovariate(1 / self.manner["life"]), self.drop, websocket)
        async for text in websocket:
            self.receive(text)
            if websocket in self.abandoned:
                return
            if self.manner["slow"] and not self.calm and self.random.random() < self.manner["slow"]:
                await self.idle()
        await websocket.recv()  # says why it was closed

    def begin(self):
        """Subscribe to everything, and plan other requests."""
        for channel in self.channels:
            self.subscribe(channel)
        if not self.calm:
            if self.random.random() < self.manner["ping"]:
                self.later(self.random.uniform(0, 0.5), self.ping)
            if self.random.random() < self.manner["resubscribe"]:
                self.later(self.random.uniform(0, 0.5), self.unsubscribe, self.random.choice(self.channels))

    async def idle(self):
        """Do not read for a while."""
        await asyncio.sleep(self.random.uniform(0, 0.2))

    def drop(self, websocket):
        """End the connection as clients do: with a close frame, by a reset, or not at all."""
        if self.calm:
            return
        if self.random.random() < self.manner["abandon"]:
            self.count_close("we abandoned it")
            self.abandoned.append(websocket)
            return
        if self.random.random() < 0.4:
            self.count_close("we closed it")
            self.timers.append(asyncio.ensure_future(websocket.close()))
            return
        self.count_close("we reset it")
        raw = websocket.transport.get_extra_info("socket")
        if raw is not None and raw.fileno() >= 0:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        websocket.transport.abort()

    def settle(self):
        """From now on stay and be quick."""
        self.calm = True
        for websocket in self.abandoned:
            websocket.transport.abort()

    # ---------------- requests ----------------

    def send(self, method, **params):
        """Sent at once, without waiting for the socket: requests are few and small."""
        self.last_id += 1
        text = json.dumps({"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params})
        websocket = self.websocket
        if websocket is None or websocket.close_code is not None:
            return
        self.requests[self.last_id] = (method, params, time.monotonic())
        self.timers.append(asyncio.ensure_future(self.send_text(websocket, text)))

    @staticmethod
    async def send_text(websocket, text):
        try:
            await websocket.send(text)
        except (websockets.ConnectionClosed, OSError):
            pass

    def request(self, name):
        """Which subscription is meant, as parameters of subscribe."""
        return {"channel": name}

    @staticmethod
    def name_in(params):
        """The name of the subscription that a message is about, or None."""
        return params.get("channel")

    def new_subscription(self, name, *arguments):
        made = Subscription(self.name, self.connections, name, self.ops, *arguments, self.login)
        self.subscriptions.append(made)
        return made

    def subscribe(self, channel):
        params = self.request(channel)
        if self.ops:
            params["ops"] = self.ops
        since = self.positions.get(channel)
        if since is not None:
            past = self.past.get(channel)
            if past and not self.calm and self.random.random() < self.manner["rewind"]:
                since = self.random.choice(past)
            params["since"] = self.texts[since]
        self.send("subscribe", **params)

    def resubscribe(self, channel):
        if channel not in self.active and not any(
                method == "subscribe" and self.name_in(params) == channel for method, params, _ in self.requests.values()):
            self.subscribe(channel)

    def unsubscribe(self, channel):
        if channel in self.active and not self.calm:
            params = self.request(channel)
            params.pop("snapshot", None)
            self.send("unsubscribe", **params)

    def ping(self):
        self.send("ping")
        if not self.calm:
            self.later(self.random.uniform(0.05, 0.5), self.ping)

    # ---------------- what comes ----------------

    def receive(self, text):
        now = time.monotonic()
        self.messages += 1
        if text.startswith(NOTIFY):
            self.notice(json.loads(text)["params"])
            return
        if text.startswith('{"jsonrpc":"2.0","method":"event"'):
            self.event(self.parse(text), now)
            return
        message = json.loads(text)
        method = message.get("method")
        if method is None:
            self.reply(message, now)
        elif method == "rows":
            self.rows(message["params"], now)
        elif method == "reset":
            self.reset(message["params"])
        elif method == "position":
            self.bookmark(message["params"]["position"])
        elif method == "error":
            self.ended(message["params"])
        else:
            self.unexpected.append(text)

    def parse(self, text):
        return self.seen.event(text)

    def event(self, event, now):
        subscription = self.active.get(event.name)
        if subscription is None:
            self.unexpected.append("connection %d: event %d of %s, to which we are not subscribed"
                                   % (self.connections, event.id, event.name))
            return
        subscription.receive(event, now)
        if event.tag.startswith("fence"):
            self.fences[event.tag] = event.id
        self.texts[event.id] = event.position
        self.advance(event.name, event.id)

    def notice(self, params):
        subscription = self.active.get(params["channel"])
        if subscription is None:
            self.unexpected.append("connection %d: notification %s, to which we are not subscribed"
                                   % (self.connections, params))
            return
        subscription.notices.append(params["payload"])

    def rows(self, params, _):
        self.unexpected.append("rows %s" % params)

    def advance(self, channel, number):
        past = self.past.setdefault(channel, [])
        old = self.positions.get(channel)
        if old is not None and self.random.random() < 0.1:
            past.append(old)
            del past[:-20]
        if old is None or number > old:
            self.positions[channel] = number

    def note(self, position):
        number = position_id(position)
        self.texts[number] = position
        return number

    def bookmark(self, position):
        number = self.note(position)
        for channel, subscription in self.active.items():
            subscription.cover(number)
            self.advance(channel, number)

    def reset(self, params):
        channel = self.name_in(params)
        subscription = self.active.get(channel)
        number = self.note(params["position"])
        if subscription is None:
            self.unexpected.append("reset of %s, to which we are not subscribed" % channel)
            return
        if params["reason"] == "notifications were lost" and channel == NOTICES:
            # They are in no log, and of what is in the log nothing may be missing.
            subscription.notices.append(None)
            subscription.cover(number)
            self.advance(channel, number)
            return
        subscription.reset(number, params["reason"])
        self.positions[channel] = number
        self.past[channel] = []

    def ended(self, params):
        channel = self.name_in(params.get("data", {}))
        if not self.retries(channel, params["code"]) or channel not in self.active:
            self.unexpected.append("error %s" % params)
            return
        del self.active[channel]
        self.later(self.random.uniform(0.05, 0.3), self.resubscribe, channel)

    def reply(self, message, now):
        method, params, sent = self.requests.pop(message["id"], (None, None, None))
        channel = self.name_in(params) if params else None
        error = message.get("error")
        if method == "subscribe" and error is not None and self.retries(channel, error["code"]):
            self.later(self.random.uniform(0.05, 0.3), self.resubscribe, channel)
        elif method == "unsubscribe" and error is not None and channel not in self.active:
            pass  # it had just been ended
        elif method is None or error is not None:
            self.unexpected.append("reply %s to %s %s" % (message, method, params))
        elif method == "subscribe":
            self.subscribed(channel, params.get("since"), message["result"]["position"], sent, now)
        elif method == "unsubscribe":
            self.active.pop(channel, None)
            self.later(self.random.uniform(0, 0.3), self.resubscribe, channel)
        elif method == "ping":
            self.bookmark(message["result"]["position"])

    def retries(self, _, code):
        """Whether a subscription that has failed with this code is asked for again."""
        return code in RETRY

    def subscribed(self, channel, since, position, sent, now):
        since = position_id(since) if since is not None else None
        start = self.note(position)
        self.active[channel] = self.new_subscription(channel, since, start, sent, now)
        self.positions[channel] = since if since is not None else start

    # ---------------- the end ----------------

    def missing(self, tags):
        """On which channels it has not yet received the event with this tag. tags: channel -> tag."""
        return [channel for channel in self.channels
                if channel not in self.active or tags[channel] not in self.fences]

    def stop(self):
        self.stopping = True
        self.settle()
        if self.websocket is not None:
            self.websocket.transport.abort()
