#!/usr/bin/env python3
"""Real clients against pro-echo: programs that know nothing of this library.

A thousand connections at once, random chunks up to 1 MiB, half-closes, resets, every byte compared;
in every style, on two shards.
"""
import asyncio
import random
import shutil
import socket
import struct
import subprocess

from lib import harness
from lib.harness import (Echo, SHAPES, STYLES_ON_2, Skip, case_per_engine, case_per_shape, check,
                         equal, wait_until)

MIB = 1 << 20
CLIENTS = 1000
BIG = 200  # of them send chunks of up to 1 MiB, the others up to 16 KiB
RESETS = 150  # of them break off in the middle
CLOSES = 150  # of them close without a half-close; all others half-close


def chunk_sizes(chunk_max):
    """A few sizes of every order of magnitude."""
    top = chunk_max.bit_length() - 1
    sizes = [random.randint(1, 1 << random.randint(0, top)) for _ in range(random.randint(1, 6))]
    if chunk_max == MIB and random.random() < 0.25:
        sizes.append(MIB)
    return sizes


class Client:
    def __init__(self, number, chunk_max, ending):
        self.number, self.ending = number, ending
        self.sizes = chunk_sizes(chunk_max)
        self.data = harness.random_bytes(sum(self.sizes))
        # The echo after which a resetting client has had enough.
        self.enough = random.randrange(len(self.data)) if ending == "reset" else len(self.data)

    async def send(self):
        at = 0
        for size in self.sizes:
            self.writer.write(self.data[at:at + size])
            at += size
            await self.writer.drain()
        if self.ending == "half-close":
            self.writer.write_eof()

    async def compare(self):
        """Read the echo up to enough bytes; with a half-close, up to the end of the stream."""
        at = 0
        while at < self.enough or self.ending == "half-close":
            piece = await self.reader.read(65536)
            if not piece:
                break
            if piece != self.data[at:at + len(piece)]:
                raise AssertionError(f"client {self.number}: other bytes than it sent, in the "
                                     f"{len(piece)} from {at} of {len(self.data)}")
            at += len(piece)
        check(at >= self.enough, f"client {self.number} ({self.ending}): end of stream after {at} "
                                 f"of {len(self.data)} bytes")

    async def run(self, address, everybody):
        self.reader, self.writer = await asyncio.open_connection(*address, limit=65536)
        await everybody.wait()
        sending = asyncio.ensure_future(self.send())
        try:
            await self.compare()
            if self.ending != "reset":
                await sending
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            if self.ending == "reset":
                self.writer.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.writer.transport.abort()
            self.writer.close()
            try:
                await self.writer.wait_closed()
            except ConnectionError:
                pass


class Everybody:
    """Opens when the last of them has connected."""

    def __init__(self, count):
        self.missing = count
        self.event = asyncio.Event()

    async def wait(self):
        self.missing -= 1
        if self.missing == 0:
            self.event.set()
        await self.event.wait()


async def run_clients(address, clients):
    everybody = Everybody(len(clients))
    tasks = [asyncio.ensure_future(client.run(address, everybody)) for client in clients]
    try:
        await asyncio.wait_for(asyncio.gather(*tasks), 120)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def echo(engine, count, big, resets, closes, **options):
    server = Echo(engine, **options)
    equal(server.engine, engine, "engine")
    handles = server.handles()
    endings = ["reset"] * resets + ["close"] * closes
    endings += ["half-close"] * (count - len(endings))
    random.shuffle(endings)
    clients = [Client(number, MIB if number < big else 16 * 1024, ending)
               for number, ending in enumerate(endings)]
    asyncio.run(run_clients(server.address, clients))
    wait_until(lambda: server.handles() == handles, "the server to close what its clients closed")

    totals = server.end()
    least = sum(client.enough for client in clients)
    most = sum(len(client.data) for client in clients)
    equal(totals["connections"], count, "connections")
    equal((totals["canceled"], totals["discarded"]), (0, 0), "canceled, discarded")
    check(totals["errors"] <= resets, f"{totals['errors']} errors with {resets} resets")
    check(least <= totals["bytes_out"] <= totals["bytes_in"] <= most,
          f"bytes: {least} <= {totals['bytes_out']} out <= {totals['bytes_in']} in <= {most}")
    harness.note(f"{engine}: {count} clients, {totals['bytes_in'] / MIB:.0f} MiB in, "
                 f"{totals['bytes_out'] / MIB:.0f} MiB out, {totals['errors']} errors")


@case_per_shape(*STYLES_ON_2)
def a_thousand_clients_get_back_every_byte(engine, shape):
    if harness.resource.getrlimit(harness.resource.RLIMIT_NOFILE)[0] < CLIENTS + 64:
        raise Skip("too few descriptors for a thousand clients: ulimit -n")
    echo(engine, CLIENTS, BIG, RESETS, CLOSES, shape=shape)


@case_per_engine
def clients_over_ipv6_get_back_every_byte(engine):
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError as error:
        raise Skip(f"no IPv6 here: {error.strerror}") from error
    echo(engine, 50, 4, 5, 5, listen="[::1]:0")


@case_per_engine
def ipv4_clients_reach_a_server_on_any_ipv6_address(engine):
    try:
        with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True):
            pass
    except (OSError, ValueError) as error:
        raise Skip(f"no dual stack here: {error}") from error
    server = Echo(engine, listen="[::]:0")
    with socket.create_connection(("127.0.0.1", server.address[1]), harness.LIMIT_S) as sock:
        sock.sendall(b"hello")
        equal(harness.recv_exactly(sock, 5), b"hello", "echo")
    server.end()


@case_per_shape(*SHAPES)
def only_resets_leave_nothing_behind(engine, shape):
    echo(engine, 200, 8, 200, 0, shape=shape)


@case_per_shape(*SHAPES)
def socat_gets_back_every_byte(engine, shape):
    if not shutil.which("socat"):
        raise Skip("socat is not installed")
    server = Echo(engine, shape=shape)
    data = [harness.random_bytes(size) for size in (1, 4095, MIB, 3 * MIB)]
    # It half-closes at the end of its input, and ends at the end of the stream.
    command = ["socat", "-t", str(harness.LIMIT_S), "-", f"TCP4:127.0.0.1:{server.address[1]}"]
    for sent in data:
        done = subprocess.run(command, input=sent, capture_output=True, timeout=harness.LIMIT_S,
                              check=False)
        equal(done.returncode, 0, f"exit status of socat, {done.stderr!r}")
        check(done.stdout == sent, f"{len(done.stdout)} bytes came back, not the {len(sent)} sent")
    totals = server.end()
    equal((totals["connections"], totals["bytes_out"], totals["errors"]),
          (len(data), sum(map(len, data)), 0), "connections, bytes out, errors")


@case_per_shape(*SHAPES)
def curl_reads_its_own_request(engine, shape):
    """As an answer of HTTP 0.9, which ends when the server ends its side of an idle connection."""
    if not shutil.which("curl"):
        raise Skip("curl is not installed")
    server = Echo(engine, "--idle-timeout", "0.1", shape=shape)
    url = f"http://127.0.0.1:{server.address[1]}/a/path"
    command = ["curl", "-sS", "--noproxy", "*", "--http0.9", "-H", "Expect:", "-d", "x" * 50000, url]
    done = subprocess.run(command, capture_output=True, timeout=harness.LIMIT_S, check=False)
    equal(done.returncode, 0, f"exit status of curl, {done.stderr!r}")
    check(done.stdout.startswith(b"POST /a/path HTTP/1.1\r\n") and
          done.stdout.endswith(b"\r\n\r\n" + b"x" * 50000),
          f"{len(done.stdout)} bytes: {done.stdout[:100]!r}")
    totals = server.end()
    equal((totals["connections"], totals["bytes_out"], totals["errors"]),
          (1, len(done.stdout), 0), "connections, bytes out, errors")


if __name__ == "__main__":
    harness.main()
