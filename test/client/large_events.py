# large_events.py URL default|any: a client of `files` with the limit of websockets, or without one.
import asyncio
import json
import sys

import websockets


async def main(url, limit):
    options = {} if limit == 'default' else {'max_size': None}
    async with websockets.connect(url, close_timeout=1000, **options) as socket:
        await socket.send(json.dumps({'id': 1, 'method': 'subscribe', 'params': {'channel': 'files', 'since': None}}))
        await socket.recv()
        print('subscribed', flush=True)
        watch = asyncio.create_task(closing(socket))
        while True:
            event = json.loads(await socket.recv()).get('params')
            if event and 'key' in event:
                print(event['key']['id'], 'truncated' if event.get('truncated') else len(event['new']['data']), flush=True)


async def closing(socket):
    while socket.close_sent is None:
        await asyncio.sleep(0.01)
    print('sent', socket.close_sent.code, flush=True)


asyncio.run(main(*sys.argv[1:]))
