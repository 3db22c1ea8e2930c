#!/usr/bin/python3
"""slow_reader.py PORT CA: takes a snapshot of the channel large with a small window, first by small pieces, and counts
its rows."""
import base64
import json
import os
import socket
import ssl
import struct
import sys

plain = socket.socket()
plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
plain.connect(("127.0.0.1", int(sys.argv[1])))
client = ssl.create_default_context(cafile=sys.argv[2]).wrap_socket(plain, server_hostname="localhost")
client.sendall(
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: " + base64.b64encode(os.urandom(16)) + b"\r\n\r\n"
)
got = b""
reads = 0


def need(count):
    """Return the next bytes."""
    global got, reads
    while len(got) < count:
        data = client.recv(100 if reads < 1000 else 65536)
        if not data:
            sys.exit("the connection has ended")
        reads += 1
        got += data
    data, got = got[:count], got[count:]
    return data


while not (head := got).endswith(b"\r\n\r\n"):
    got += client.recv(1)
got = b""
request = json.dumps(
    {"jsonrpc": "2.0", "id": 1, "method": "subscribe", "params": {"channel": "large", "snapshot": True}}
).encode()
client.sendall(b"\x81" + bytes([0x80 | len(request)]) + b"\0\0\0\0" + request)

rows = 0
message = b""
while True:
    first, length = need(2)
    if length == 126:
        (length,) = struct.unpack(">H", need(2))
    elif length == 127:
        (length,) = struct.unpack(">Q", need(8))
    payload = need(length)
    if first & 15 == 9:
        client.sendall(b"\x8a\x80\0\0\0\0")
        continue
    message += payload
    if not first & 128:
        continue
    parsed, message = json.loads(message), b""
    if parsed.get("method") == "rows":
        rows += len(parsed["params"]["rows"])
        if parsed["params"].get("done"):
            break
print(f"{rows} rows")
