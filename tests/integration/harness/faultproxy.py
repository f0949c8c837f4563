"""A TCP proxy on loopback that does to connections what networks do: delays, resets, cuts, stalls, flipped bits.

As a program: faultproxy.py TARGET_PORT SEED; prints the port that it listens on, then takes settings as lines of JSON on standard input.
"""
import asyncio
import json
import random
import socket
import struct
import subprocess
import sys

PIECE = 64 << 10


class Settings:
    latency = 0.0       # seconds each way; pieces behind each other are delayed together, as by a long line
    bytes_per_second = 0  # of each connection and direction; 0: as fast as it goes
    refuse = False      # every connection is reset at once
    blackhole = False   # bytes are taken and go nowhere
    faults = 0.0        # share of connections that get a fault, drawn from the seed
    kinds = ("reset up", "reset down", "cut down", "stall", "flip up")
    within = 200_000    # a fault comes at a byte drawn up to here

    def update(self, changes):
        for name, value in changes.items():
            assert hasattr(self, name), name
            setattr(self, name, value)


def reset(writer):
    """RST instead of FIN."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Proxy:
    def __init__(self, target, seed):
        self.target, self.random, self.settings, self.count = target, random.Random(seed), Settings(), {"connections": 0, "faults": 0}

    async def connection(self, client_in, client_out):
        self.count["connections"] += 1
        if self.settings.refuse:
            return reset(client_out)
        try:
            server_in, server_out = await asyncio.open_connection("127.0.0.1", self.target, limit=4 * PIECE)
        except OSError:
            return reset(client_out)
        for writer in (client_out, server_out):
            writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        kind, at = None, 0
        if self.random.random() < self.settings.faults:
            kind, at = self.random.choice(self.settings.kinds), self.random.randrange(1, self.settings.within)
        ends = (client_out, server_out)
        await asyncio.gather(self.direction(client_in, server_out, "up", kind, at, ends), self.direction(server_in, client_out, "down", kind, at, ends))
        for writer in ends:
            writer.close()

    async def direction(self, source, sink, name, kind, at, ends):
        """Reads on, and hands pieces with their time to a second task that lets them out when that has come."""
        loop, pieces = asyncio.get_running_loop(), asyncio.Queue(maxsize=64)

        async def let_out():
            nonlocal kind
            passed, free_at = 0, 0.0
            while (item := await pieces.get()) is not None:
                due, piece = item
                if self.settings.bytes_per_second:
                    free_at = max(free_at, loop.time()) + len(piece) / self.settings.bytes_per_second
                    due = max(due, free_at)
                if due > loop.time():
                    await asyncio.sleep(due - loop.time())
                if self.settings.blackhole:
                    continue
                if kind and (kind.endswith(name) or kind == "stall") and passed + len(piece) > at:
                    self.count["faults"] += 1
                    keep = max(0, at - passed)
                    if kind != "flip up":
                        sink.write(piece[:keep])
                        await sink.drain()
                        if kind == "stall":
                            await asyncio.sleep(3600)
                        for end in ends:
                            reset(end) if kind.startswith("reset") else end.close()
                        return
                    piece = bytearray(piece)
                    piece[min(keep, len(piece) - 1)] ^= 1
                    kind = None  # once
                passed += len(piece)
                sink.write(piece)
                await sink.drain()
            if sink.can_write_eof():
                sink.write_eof()

        writer = asyncio.create_task(let_out())
        try:
            while piece := await source.read(PIECE):
                await pieces.put((loop.time() + self.settings.latency, piece))
                if writer.done():
                    break
            if not writer.done():
                await pieces.put(None)
            await writer
        except (OSError, ConnectionError, asyncio.CancelledError):
            writer.cancel()
            for end in ends:
                end.transport.abort()

    async def serve(self):
        server = await asyncio.start_server(self.connection, "127.0.0.1", 0, limit=4 * PIECE)
        print(server.sockets[0].getsockname()[1], flush=True)
        commands = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
        while line := await commands.readline():
            self.settings.update(json.loads(line))
            print(json.dumps(self.count), flush=True)


class FaultProxy:
    """The program, as tests use it: `port` leads to `target`; set(latency=0.02) and so on."""

    def __init__(self, target, seed=1):
        self.process = subprocess.Popen([sys.executable, __file__, str(target), str(seed)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    def set(self, **changes):
        """Changes settings, of connections to come and (but for faults) of those that are; returns the counts so far."""
        self.process.stdin.write(json.dumps(changes) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def stop(self):
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            stream.close()


if __name__ == "__main__":
    asyncio.run(Proxy(int(sys.argv[1]), int(sys.argv[2])).serve())
