"""wamp.py PORT METHOD SECRET FORMAT: what Autobahn|Python does with tables and functions, on asyncio."""

import asyncio
import sys

from autobahn.asyncio.wamp import ApplicationRunner, ApplicationSession
from autobahn.wamp.auth import create_authenticator
from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.serializer import CBORSerializer, JsonSerializer, MsgPackSerializer
from autobahn.wamp.types import CallOptions, PublishOptions, RegisterOptions, SubscribeOptions

port, method, secret, form = sys.argv[1:]
serializer = {"json": JsonSerializer, "cbor": CBORSerializer, "msgpack": MsgPackSerializer}[form]()

# Values that come back as they were. MessagePack has integers of 64 bits.
values = [None, True, 0, -1, 2**53 + 1, -2**63, 2**64 - 1, 1.5, -1e-300, "\U0001f600 \xfc", b"", bytes(range(256)), [[], {}, [None]],
          {"a": {"\xe4": [1, 2]}}] + ([] if form == "msgpack" else [2**70, -2**1000])


def check(good, name):
    print("%s - %s" % ("ok" if good else "not ok", name), flush=True)


async def refusal(call):
    try:
        await call
    except ApplicationError as error:
        return error.error, error.args, error.kwargs
    return None, (), {}


class Shop(ApplicationSession):
    def onConnect(self):
        self.join(self.config.realm, [method], "jane" if method == "wampcra" else "joe")

    def onChallenge(self, challenge):
        options = {"authid": "jane", "secret": secret} if method == "wampcra" else {"ticket": secret}
        return create_authenticator(method, **options).on_challenge(self, challenge)

    async def onJoin(self, details):
        if method == "wampcra":
            check((details.authid, details.authrole, details.authmethod) == ("jane", "web", "wampcra"), "a secret")
            self.leave()
            return
        check((details.authid, details.authrole, details.authmethod) == ("joe", "web", "ticket"), "a token as ticket")
        check(await self.call("com.shop.add", 1, 2) == 3, "a call by position")
        check(await self.call("com.shop.add", a=5, b=6) == 11, "by name")
        error, args, kwargs = await refusal(self.call("com.shop.fail"))
        check((error, args, kwargs.get("sqlstate")) == ("wamp.error.runtime_error", ("not enough money",), "PT402"),
              "an error of PostgreSQL")
        check((await refusal(self.call("com.shop.nothing")))[0] == "wamp.error.no_such_procedure", "an unknown procedure")

        events = asyncio.Queue()
        subscription = await self.subscribe(lambda *args, **kwargs: events.put_nowait((args, kwargs)), "com.shop.orders")
        order = {"json": 20, "cbor": 21, "msgpack": 22}[form]
        await self.call("com.shop.place_order", id=order, name="Tea")
        args, kwargs = await events.get()
        check((args, kwargs["op"], kwargs["new"]) == ((), "INSERT", {"id": order, "name": "Tea"}), "an event of a table")
        await subscription.unsubscribe()
        await self.register(lambda value, **kwargs: [value, kwargs], "com.echo.python")
        got = [await self.call("com.echo.python", value, named=value) for value in values]
        check(got == [[value, {"named": value}] for value in values], "arguments and results in %s" % form)

        for match, topic in (("prefix", "com.shop."), ("wildcard", "com..orders")):
            subscription = await self.subscribe(lambda *args, **kwargs: events.put_nowait((args, kwargs)), topic, SubscribeOptions(match=match))
            await self.call("com.shop.place_order", id=10 * order + len(match), name=match)
            check((await events.get())[1]["new"]["name"] == match, "an event of a table: %s" % match)
            await subscription.unsubscribe()
        await self.subscribe(lambda *args, **kwargs: events.put_nowait((args, kwargs)), "com.chat.python")
        publication = await self.publish("com.chat.python", 1, a=2, options=PublishOptions(acknowledge=True, exclude_me=False))
        check(publication.id > 0 and await events.get() == ((1,), {"a": 2}), "a message, acknowledged")

        def steps(n, details):
            if details.progress:
                details.progress(1)
                details.progress(2)
            return n

        def fails():
            raise ApplicationError("com.proc.error.empty", "nothing left", code=7)

        await self.register(steps, "com.proc.python.steps", RegisterOptions(details_arg="details"))
        await self.register(fails, "com.proc.python.fails")
        results = []
        check(await self.call("com.proc.python.steps", 3, options=CallOptions(on_progress=results.append)) == 3 and results == [1, 2],
              "a procedure of a client, with progress")
        results = []
        await self.call("com.shop.numbers", 3, options=CallOptions(on_progress=results.append))
        check(results == [1, 2, 3], "a set in progress")
        error, args, kwargs = await refusal(self.call("com.proc.python.fails"))
        check((error, args, kwargs) == ("com.proc.error.empty", ("nothing left",), {"code": 7}), "its error")
        self.leave()

    def onDisconnect(self):
        asyncio.get_event_loop().stop()


ApplicationRunner("ws://127.0.0.1:%s/ws" % port, "realm1", serializers=[serializer]).run(Shop)
