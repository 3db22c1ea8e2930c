"""wamp.py PORT METHOD SECRET: what Autobahn|Python does with tables and functions, on asyncio."""

import asyncio
import sys

from autobahn.asyncio.wamp import ApplicationRunner, ApplicationSession
from autobahn.wamp.auth import create_authenticator
from autobahn.wamp.exception import ApplicationError

port, method, secret = sys.argv[1:]


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
        await self.call("com.shop.place_order", id=20, name="Tea")
        args, kwargs = await events.get()
        check((args, kwargs["op"], kwargs["new"]) == ((), "INSERT", {"id": 20, "name": "Tea"}), "an event of a table")
        await subscription.unsubscribe()
        self.leave()

    def onDisconnect(self):
        asyncio.get_event_loop().stop()


ApplicationRunner("ws://127.0.0.1:%s/ws" % port, "realm1").run(Shop)
