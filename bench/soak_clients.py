"""soak_clients.py PORT CLIENTS GROUPS: clients over TLS that stay connected for long, and check what they get.

Client k subscribes to the rows of "soak" with grp = k modulo GROUPS, and counts an error when n, which each UPDATE of such a
row increases by one, is not one more than before. A client whose connection ends comes back and resumes; every other one uses
server-sent events. Prints a line of JSON when all have subscribed, and one for each command:

  cut N      end N connections, without a word; answers when their clients are back
  report     what was received since the start
  settle N   wait until the clients of group g have n = N[g] (a JSON array), at most 60 s; then as report

It ends when its standard input is closed.
"""

import asyncio
import hashlib
import json
import random
import ssl
import sys
import urllib.parse

PORT, CLIENTS, GROUPS = (int(argument) for argument in sys.argv[1:4])
AT_ONCE = 64  # handshakes
COUNTS = {"events": 0, "errors": 0, "resets": 0, "connected": 0, "lost": 0}
CERTIFICATES = {}  # how many connections have seen each
TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
TLS.check_hostname = False
TLS.verify_mode = ssl.CERT_NONE  # the certificate is made for the run, and compared instead


class Client:
    def __init__(self, number, gate):
        self.number = number
        self.group = number % GROUPS
        self.gate = gate
        self.position = None
        self.n = None
        self.writer = None
        self.ready = asyncio.Event()

    async def run(self):
        delay = 0.1
        while True:
            try:
                async with self.gate:
                    reader, self.writer = await asyncio.open_connection("127.0.0.1", PORT, ssl=TLS)
                    await (self.request_stream() if self.number % 2 else self.request_websocket(reader))
                self.note_certificate()
                COUNTS["connected"] += 1
                await (self.read_stream(reader) if self.number % 2 else self.read_websocket(reader))
            except (OSError, asyncio.IncompleteReadError, ssl.SSLError, EOFError):
                pass
            COUNTS["lost"] += 1
            self.ready.clear()
            self.writer.close() if self.writer else None
            self.writer = None
            await asyncio.sleep(delay * (0.5 + random.random()))

    def note_certificate(self):
        certificate = hashlib.sha256(self.writer.get_extra_info("ssl_object").getpeercert(True)).hexdigest()[:12]
        CERTIFICATES[certificate] = CERTIFICATES.get(certificate, 0) + 1

    def take(self, method, params):
        if method == "event":
            n = params["new"]["n"]
            if self.n is not None and n != self.n + 1:
                COUNTS["errors"] += 1
                print("client %d: n = %d after %d" % (self.number, n, self.n), file=sys.stderr, flush=True)
            self.n = n
            COUNTS["events"] += 1
        elif method == "reset":
            COUNTS["resets"] += 1
            self.n = None
        elif method == "error":
            raise EOFError
        if params and "position" in params:
            self.position = params["position"]

    # ---------------- WebSocket ----------------

    async def request_websocket(self, reader):
        self.writer.write(b"GET /ws HTTP/1.1\r\nHost: localhost:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                          b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" % PORT)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101"):
            raise EOFError
        params = {"channel": "soak", "filter": "grp=eq.%d" % self.group}
        if self.position:
            params["since"] = self.position
        self.send(1, json.dumps({"id": 1, "method": "subscribe", "params": params}).encode())

    def send(self, opcode, payload):
        head = bytes([0x80 | opcode, 0x80 | len(payload)]) if len(payload) < 126 else \
            bytes([0x80 | opcode, 0xfe]) + len(payload).to_bytes(2, "big")
        self.writer.write(head + b"\0\0\0\0" + payload)  # a mask that changes nothing

    async def read_websocket(self, reader):
        while True:
            first, length = await reader.readexactly(2)
            if length >= 126:
                length = int.from_bytes(await reader.readexactly(2 if length == 126 else 8), "big")
            payload = await reader.readexactly(length)
            opcode = first & 15
            if opcode == 9:
                self.send(10, payload)
            elif opcode == 8:
                raise EOFError
            elif opcode == 1:
                message = json.loads(payload)
                if "id" in message:
                    if "error" in message:
                        raise EOFError
                    self.position = self.position or message["result"]["position"]
                    self.ready.set()
                else:
                    self.take(message["method"], message["params"])

    # ---------------- server-sent events ----------------

    async def request_stream(self):
        query = urllib.parse.urlencode({"channel": "soak", "filter": "grp=eq.%d" % self.group})
        resume = "Last-Event-ID: %s\r\n" % self.position if self.position else ""
        self.writer.write(("GET /events?%s HTTP/1.0\r\nHost: localhost:%d\r\n%s\r\n" % (query, PORT, resume)).encode())

    async def read_stream(self, reader):
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head.split(b"\r\n")[0]:
            raise EOFError
        self.ready.set()
        while True:
            method, data = "message", []
            while True:
                line = (await reader.readline()).decode()
                if not line.endswith("\n"):
                    raise EOFError
                name, _, value = line.rstrip("\r\n").partition(":")
                value = value[1:] if value.startswith(" ") else value
                if line.rstrip("\r\n") == "":
                    break
                if name == "event":
                    method = value
                elif name == "data":
                    data.append(value)
                elif name == "id":
                    self.position = value
            if data:
                params = json.loads("\n".join(data))
                params.pop("position", None)  # the id is what resumes
                self.take("event" if method == "message" else method, params)


def answer(value):
    print(json.dumps(value), flush=True)


async def main():
    gate = asyncio.Semaphore(AT_ONCE)
    clients = [Client(number, gate) for number in range(CLIENTS)]
    tasks = [asyncio.create_task(client.run()) for client in clients]
    await asyncio.gather(*(client.ready.wait() for client in clients))
    answer({"clients": CLIENTS})
    commands = asyncio.StreamReader(limit=1 << 20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    while line := (await commands.readline()).decode():
        command, _, rest = line.strip().partition(" ")
        if command == "cut":
            for client in random.sample(clients, int(rest)):
                if client.writer:
                    client.ready.clear()
                    client.writer.transport.abort()
            await asyncio.wait_for(asyncio.gather(*(client.ready.wait() for client in clients)), 120)
        elif command == "settle":
            wanted = json.loads(rest)
            for _ in range(600):
                behind = [client for client in clients if client.n is not None and client.n != wanted[client.group]]
                if not behind:
                    break
                await asyncio.sleep(0.1)
            COUNTS["behind"] = len(behind)
            COUNTS["silent"] = sum(client.n is None for client in clients)
        answer(dict(COUNTS, certificates=CERTIFICATES))
    for task in tasks:
        task.cancel()


asyncio.run(main())
