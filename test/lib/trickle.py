#!/usr/bin/python3
"""trickle.py PORT CA: a TLS client that sends each byte by itself. Prints the answer to a request."""
import socket
import ssl
import sys

context = ssl.create_default_context(cafile=sys.argv[2])
incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def carry(step):
    """Repeat a step of TLS until it needs nothing more from the server."""
    while True:
        try:
            result = step()
            wanted = False
        except ssl.SSLWantReadError:
            wanted = True
        for byte in outgoing.read():
            connection.sendall(bytes([byte]))
        if not wanted:
            return result
        incoming.write(connection.recv(65536))


carry(tls.do_handshake)
carry(lambda: tls.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
print(carry(lambda: tls.read(65536)).decode())
