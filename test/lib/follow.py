#!/usr/bin/python3
"""follow.py URL COUNT [ca=FILE] [unix=SOCKET]: subscribes to channel t by Python's websockets, prints "subscribed" and
then COUNT events, each as a line of JSON."""
import asyncio
import json
import ssl
import sys

import websockets


async def follow(url, count, ca=None, unix=None):
    options = {"max_size": None}
    if ca:
        options["ssl"] = ssl.create_default_context(cafile=ca)
    connecting = websockets.unix_connect(unix, url, **options) if unix else websockets.connect(url, **options)
    async with connecting as client:
        await client.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "subscribe", "params": {"channel": "t"}}))
        while count > 0:
            message = json.loads(await client.recv())
            if message.get("id") == 1:
                print("subscribed" if "result" in message else message, flush=True)
            elif message.get("method") == "event":
                print(json.dumps(message["params"]), flush=True)
                count -= 1


asyncio.run(follow(sys.argv[1], int(sys.argv[2]), **dict(word.split("=", 1) for word in sys.argv[3:])))
