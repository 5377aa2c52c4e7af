#!/usr/bin/env python3
"""How pro-echo ends, in every style: SIGINT or SIGTERM drains it, and no byte is lost."""
import asyncio
import random
import select
import signal
import socket
import time

from lib import harness
from lib.harness import (Echo, SHAPES, STYLES_ON_2, case_per_engine, case_per_shape, check, equal,
                         wait_until)


def refused(address):
    try:
        socket.create_connection(address, harness.LIMIT_S).close()
        return False
    except ConnectionError:
        return True


async def transfer(address, data, halfway, signaled):
    """Send data, the second half after the signal, while comparing the echo to its end."""
    reader, writer = await asyncio.open_connection(*address)

    async def send():
        half = len(data) // 2
        writer.write(data[:half])
        await writer.drain()
        while not harness.is_established(writer.get_extra_info("socket")):
            await asyncio.sleep(0.005)
        halfway.release()
        await signaled.wait()
        at = half
        while at < len(data):
            size = random.randint(1, 64 * 1024)
            writer.write(data[at:at + size])
            await writer.drain()
            at += size
        writer.write_eof()

    sending = asyncio.ensure_future(send())
    got = await reader.read(-1)
    await sending
    writer.close()
    check(got == data, f"{len(got)} of {len(data)} bytes came back"
                       + ("" if data.startswith(got) else ", and others than were sent"))


async def interrupted_transfers(server, number, count):
    halfway, signaled = asyncio.Semaphore(0), asyncio.Event()
    sizes = [random.choice([2, 1000, 30 * 1000, 300 * 1000]) for _ in range(count)]
    tasks = [asyncio.ensure_future(
        transfer(server.address, harness.random_bytes(size), halfway, signaled)) for size in sizes]
    try:
        for _ in range(count):
            await asyncio.wait_for(halfway.acquire(), harness.LIMIT_S)
        server.signal(number)
        signaled.set()
        await asyncio.wait_for(asyncio.gather(*tasks), harness.LIMIT_S)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return sum(sizes)


def drain_in_the_middle(engine, shape, number):
    server = Echo(engine, shape=shape)
    size = asyncio.run(interrupted_transfers(server, number, 100))
    totals = server.wait_totals()
    want = {"connections": 100, "bytes_in": size, "bytes_out": size, "discarded": 0, "canceled": 0,
            "errors": 0}
    equal(totals, want, "totals")


@case_per_shape(*STYLES_ON_2)
def a_hundred_transfers_lose_no_byte_at_sigterm(engine, shape):
    drain_in_the_middle(engine, shape, signal.SIGTERM)


@case_per_shape(*SHAPES[1:])
def a_hundred_transfers_lose_no_byte_at_sigint(engine, shape):
    drain_in_the_middle(engine, shape, signal.SIGINT)


@case_per_shape(*SHAPES)
def what_was_received_is_echoed_to_slow_readers(engine, shape):
    """The echoes are in flight when the signal comes; the clients read only then."""
    server = Echo(engine, shape=shape)
    data = harness.random_bytes(2000 * 1000)
    socks = []
    for _ in range(10):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        sock.connect(server.address)
        sock.setblocking(False)
        socks.append(sock)
    sent = [0] * len(socks)

    def fill():
        """Send until neither they nor the server can take more."""
        for i, sock in enumerate(socks):
            try:
                sent[i] += sock.send(data[sent[i]:])
            except BlockingIOError:
                pass
        return not select.select([], [s for i, s in enumerate(socks) if sent[i] < len(data)], [],
                                 0.1)[1]

    wait_until(fill, "the sockets to be full")
    server.signal(signal.SIGTERM)
    for i, sock in enumerate(socks):
        sock.settimeout(harness.LIMIT_S)
        sock.shutdown(socket.SHUT_WR)
    for i, sock in enumerate(socks):
        got = harness.recv_all(sock)
        check(got == data[:sent[i]], f"client {i}: {len(got)} of {sent[i]} bytes came back")
        sock.close()
    totals = server.wait_totals()
    equal((totals["canceled"], totals["bytes_out"]), (0, sum(sent)), "canceled, bytes out")


@case_per_shape(*SHAPES)
def idle_clients_are_half_closed(engine, shape):
    server = Echo(engine, shape=shape)
    socks = [server.connect() for _ in range(20)]
    for i, sock in enumerate(socks):
        if i % 2:  # the others never said a word
            sock.sendall(b"hello")
            equal(harness.recv_exactly(sock, 5), b"hello", "echo")
    begin = time.monotonic()
    server.signal(signal.SIGTERM)
    for sock in socks:
        equal(sock.recv(100), b"", "what an idle client reads")
    took = time.monotonic() - begin
    check(took < 4, f"the end of the stream came after {took:.1f} s")
    socks[0].sendall(b"too late")  # not echoed, and no harm done
    for sock in socks:
        sock.close()
    totals = server.wait_totals()
    equal((totals["connections"], totals["canceled"], totals["errors"]), (20, 0, 0),
          "connections, canceled, errors")
    equal(totals["discarded"], len(b"too late"), "discarded")


@case_per_shape(*SHAPES)
def the_listener_closes_at_once(engine, shape):
    server = Echo(engine, shape=shape)
    with server.connect() as sock:
        sock.sendall(b"x")
        harness.recv_exactly(sock, 1)
        server.signal(signal.SIGTERM)
        wait_until(lambda: refused(server.address), "new connections to be refused", 4)
    equal(server.wait_totals()["canceled"], 0, "canceled")


def backlog(engine, shape, count, *options):
    """Connections that the kernel has taken, and the server has not: it stands still."""
    server = Echo(engine, *options, shape=shape)
    with server.connect() as sock:
        sock.sendall(b"up")
        harness.recv_exactly(sock, 2)
    server.signal(signal.SIGSTOP)
    socks = []
    for i in range(count):
        sock = server.connect()
        sock.sendall(b"client %d" % i)
        socks.append(sock)
    harness.wait_established(socks)
    for sock in socks:
        sock.shutdown(socket.SHUT_WR)
    server.signal(signal.SIGTERM)
    server.signal(signal.SIGCONT)
    for i, sock in enumerate(socks):
        equal(harness.recv_all(sock), b"client %d" % i, "echo")
        sock.close()
    totals = server.wait_totals()
    equal((totals["connections"], totals["canceled"], totals["errors"]), (count + 1, 0, 0),
          "connections, canceled, errors")


@case_per_shape(*SHAPES)
def the_backlog_is_accepted_first(engine, shape):
    backlog(engine, shape, 100)


@case_per_shape(*SHAPES)
def the_backlog_is_accepted_first_also_beyond_the_maximum(engine, shape):
    backlog(engine, shape, 20, "--max-connections", "2")


class NeverEnding:
    """A server with three clients that do not end: one talks, one does not read, one is silent."""

    def __init__(self, engine, shape):
        self.server, self.name = Echo(engine, shape=shape), str(shape)
        self.talker, self.deaf, self.silent = (self.server.connect() for _ in range(3))
        for sock in (self.talker, self.deaf, self.silent):
            sock.sendall(b"x")
            harness.recv_exactly(sock, 1)
        self.deaf.setblocking(False)
        self.echoes, self.took = 0, None

    def stuff(self):
        """Send all that the sockets hold; true when they are full."""
        try:
            while True:
                self.deaf.send(bytes(65536))
        except BlockingIOError:
            return not select.select([], [self.deaf], [], 0.1)[1]

    def talk(self, begin):
        """True when it has been cut."""
        if self.took is None:
            try:
                self.talker.sendall(b"y")
                harness.recv_exactly(self.talker, 1)
                self.echoes += 1
            except (AssertionError, ConnectionError):
                self.took = time.monotonic() - begin
        return self.took is not None


@case_per_engine
def clients_that_never_end_are_cut_at_five_seconds(engine):
    all_styles = [NeverEnding(engine, shape) for shape in SHAPES]  # at once: it takes its time
    for one in all_styles:
        wait_until(one.stuff, "the sockets to be full")
    begin = time.monotonic()
    for one in all_styles:
        one.server.signal(signal.SIGTERM)
    while not all([one.talk(begin) for one in all_styles]) and time.monotonic() - begin < 20:
        time.sleep(0.05)
    for one in all_styles:
        check(one.took and 4.9 < one.took < 9, f"{one.name}: the talker was cut after {one.took} s")
        check(one.echoes > 20, f"{one.name}: only {one.echoes} echoes after the signal")
        totals = one.server.wait_totals()
        equal((totals["connections"], totals["canceled"]), (3, 3), "connections, canceled")


@case_per_shape(*SHAPES)
def a_second_signal_cancels_at_once(engine, shape):
    server = Echo(engine, shape=shape)
    sock = server.connect()
    sock.sendall(b"x")
    harness.recv_exactly(sock, 1)
    begin = time.monotonic()
    server.signal(signal.SIGINT)
    wait_until(lambda: refused(server.address), "the drain to begin", 4)
    server.signal(signal.SIGTERM)
    equal(server.wait_totals()["canceled"], 1, "canceled")
    took = time.monotonic() - begin
    check(took < 4, f"it took {took:.1f} s")


@case_per_shape(*SHAPES)
def a_server_without_clients_ends_at_once(engine, shape):
    for number in (signal.SIGTERM, signal.SIGINT):
        server = Echo(engine, shape=shape)
        begin = time.monotonic()
        server.signal(number)
        equal(set(server.wait_totals().values()), {0}, "totals")
        took = time.monotonic() - begin
        check(took < 4, f"it took {took:.1f} s")


if __name__ == "__main__":
    harness.main()
