"""A TCP proxy between clients and the gateway that can do to connections what networks do."""

import asyncio
import socket
import struct

PIECE = 65536


class Connection:
    """Two sockets and the two directions between them."""

    def __init__(self, proxy, reader, writer):
        self.proxy = proxy
        self.client = (reader, writer)
        self.server = None
        self.hole = False       # neither reads nor writes, nor closes
        self.released = asyncio.Event()

    async def run(self):
        try:
            self.server = await asyncio.open_connection("127.0.0.1", self.proxy.target)
        except OSError:
            self.reset()
            return
        await asyncio.gather(self.copy(self.client[0], self.server[1]), self.copy(self.server[0], self.client[1]))
        self.reset()

    async def copy(self, reader, writer):
        try:
            while True:
                piece = await reader.read(PIECE)
                if self.hole:
                    await self.released.wait()
                if self.proxy.delay:
                    await asyncio.sleep(self.proxy.delay)
                if not piece:
                    break
                writer.write(piece)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
        except (OSError, RuntimeError):  # the latter where we have half-closed it
            self.reset()

    def reset(self):
        """An RST to both sides."""
        for pair in (self.client, self.server):
            if pair is None:
                continue
            raw = pair[1].get_extra_info("socket")
            if raw is not None and raw.fileno() >= 0:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            pair[1].transport.abort()
        self.released.set()

    def half_close(self):
        """End the client's direction to the server only."""
        try:
            if self.server is not None and self.server[1].can_write_eof():
                self.server[1].write_eof()
        except (OSError, RuntimeError):
            pass


class Proxy:
    """target: the port to connect to. All methods but start() may be called from the loop's thread only."""

    def __init__(self, target):
        self.target = target
        self.delay = 0.0
        self.connections = set()
        self.port = None
        self.server = None

    async def start(self):
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]

    async def _serve(self, reader, writer):
        connection = Connection(self, reader, writer)
        self.connections.add(connection)
        try:
            await connection.run()
        finally:
            self.connections.discard(connection)

    def some(self, random, share):
        return [connection for connection in sorted(self.connections, key=id) if random.random() < share]

    def heal(self):
        """No faults any more; connections in which something was held up are reset."""
        self.delay = 0.0
        for connection in list(self.connections):
            if connection.hole:
                connection.hole = False
                connection.reset()

    def stop(self):
        self.server.close()
        for connection in list(self.connections):
            connection.reset()
