# pip install websockets. Follows a table: keeps its rows, and shows each change.
import asyncio, json, random, websockets

URL = 'ws://localhost:7432/ws?database=shop'
rows = {}

async def follow(changed):
    position = None
    async for socket in websockets.connect(URL, max_size=None):  # events may be larger than 1 MiB
        try:
            await socket.send(json.dumps({'id': 1, 'method': 'subscribe', 'params': {'channel': 'orders', 'snapshot': True, 'since': position}}))
            async for text in socket:
                message = json.loads(text)
                if message.get('error') or message.get('method') == 'error':
                    raise SystemExit((message.get('error') or message['params'])['message'])
                params = message.get('params') or message['result']
                if message.get('method') == 'reset' or params.get('op') == 'TRUNCATE':
                    rows.clear()
                for row in params.get('rows', []):
                    rows[row['id']] = row
                if 'key' in params and 'op' in params:
                    rows.pop((params.get('old') or params['key'])['id'], None)
                    if params['op'] != 'DELETE':
                        rows[params['key']['id']] = params['new']
                position = params.get('position', position)
                changed(params)
        except websockets.ConnectionClosed as closed:
            if closed.rcvd and closed.rcvd.code == 4401:
                raise SystemExit(closed.rcvd.reason)  # another attempt would end in the same way
            await asyncio.sleep(random.random())  # connect() waits longer if there is no server, and the position says where to go on

if __name__ == '__main__':
    asyncio.run(follow(lambda params: print(len(rows), 'orders', params.get('op', ''), flush=True)))
