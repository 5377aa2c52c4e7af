#!/usr/bin/env python3
"""Native Linux clients against pro-echo.exe, which runs under Wine: two systems, one stream of bytes.

Each client sends random pieces, compares every byte of the echo, and ends in one of three ways: it
closes, it ends its sending side and reads to the end of the stream, or it breaks off with a reset.
"""
import asyncio
import os
import random
import signal
import socket
import struct
import subprocess
import sys

from lib import harness
from lib.harness import TOTALS, TOTAL_NAMES, Server, case, check, equal, note

WINE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "scripts", "wine.py")
PIECE_MAX = 40000
ENDINGS = ("close", "half-close", "reset")


class WindowsEcho(Server):
    """pro-echo.exe.  Wine hands SIGINT on as Ctrl-C."""

    def __init__(self, *options):
        program = harness.path("bin/pro-echo.exe")
        super().__init__(sys.executable, WINE, "run", program, "--listen", "127.0.0.1:0", *options)

    def end(self):
        """The totals of its last line, by name."""
        self.signal(signal.SIGINT)
        status, lines = self.wait()
        equal(status, 0, f"exit status, after {lines!r}")
        found = TOTALS.fullmatch(lines[-1].rstrip("\r"))
        check(found, f"not a line of totals: {lines!r}")
        return dict(zip(TOTAL_NAMES, map(int, found.groups())))


async def compare(reader, data, enough):
    """Read until so many bytes of the echo came; return how many more came with them."""
    at = 0
    while at < enough:
        piece = await reader.read(65536)
        check(piece, f"end of stream after {at} of {len(data)} bytes")
        check(piece == data[at:at + len(piece)], f"other bytes than it sent, from {at}")
        at += len(piece)
    return at


async def client(address, ending, everybody):
    reader, writer = await asyncio.open_connection(*address)
    await everybody.wait()
    data = harness.random_bytes(sum(random.randint(1, PIECE_MAX) for _ in range(4)))
    writer.write(data)
    if ending == "half-close":
        writer.write_eof()
    if ending == "reset":
        await compare(reader, data, random.randrange(len(data)))
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                                   struct.pack("ii", 1, 0))
        writer.transport.abort()
    else:
        got = await compare(reader, data, len(data))
        equal(got, len(data), "bytes of echo")
        if ending == "half-close":
            equal(await reader.read(1), b"", "what comes after the echo")
    writer.close()
    try:
        await writer.wait_closed()
    except ConnectionError:
        check(ending == "reset", "the connection was reset")
    return len(data)


async def clients(address, count):
    everybody = asyncio.Event()
    tasks = [asyncio.ensure_future(client(address, ENDINGS[i % len(ENDINGS)], everybody))
             for i in range(count)]
    everybody.set()
    return await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 120)


def serve(count, *options):
    server = WindowsEcho(*options)
    answers = asyncio.run(clients(server.address, count))
    errors = [answer for answer in answers if isinstance(answer, Exception)]
    totals = server.end()
    note(f"{count} clients, {sum(a for a in answers if isinstance(a, int))} bytes sent, {totals}")
    check(not errors, f"{len(errors)} of {count} clients failed, one: {errors[:1]!r}")
    equal(totals["connections"], count, "connections that it counted")
    return totals


@case
def one_client_after_the_other_in_each_way_to_end():
    server = WindowsEcho()
    for ending in ENDINGS:
        async def alone(ending=ending):
            everybody = asyncio.Event()
            everybody.set()
            return await client(server.address, ending, everybody)
        check(asyncio.run(alone()) > 0, ending)
    equal(server.end()["connections"], len(ENDINGS), "connections that it counted")


@case
def one_client():
    totals = serve(1, "--style", "stackless")
    equal(totals["bytes_in"], totals["bytes_out"], "bytes echoed")
    equal(totals["errors"], 0, "errors")


@case
def ten_clients_at_once():
    serve(10, "--style", "callback", "--max-connections", "4")


@case
def five_hundred_clients_at_once():
    serve(500)


@case
def several_listeners_on_one_address_are_refused_by_name():
    command = [sys.executable, WINE, "run", harness.path("bin/pro-echo.exe"), "--listen", "127.0.0.1:0"]
    done = subprocess.run([*command, "--shards", "2"], capture_output=True, timeout=120, check=False,
                          env=harness.environment())
    said = done.stderr.decode()
    equal(done.returncode, 1, f"exit status, {said!r}")
    check("pro-echo: cannot listen on 127.0.0.1:0 by each of 2 shards: not supported" in said, said)


@case
def a_drain_with_connections_open_ends_in_order():
    server = WindowsEcho()
    check(", 1 shard, coroutine style" in server.output.decode(), server.output)
    idle = [server.connect() for _ in range(10)]
    for sock in idle:
        sock.sendall(b"hello")
        equal(harness.recv_exactly(sock, 5), b"hello", "the echo")
    server.signal(signal.SIGINT)
    for sock in idle:
        equal(sock.recv(1), b"", "what an idle connection gets in a drain")
        sock.close()
    status, lines = server.wait()
    equal(status, 0, f"exit status, after {lines!r}")


if __name__ == "__main__":
    harness.main()
