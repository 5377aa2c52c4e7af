#!/usr/bin/env python3
"""Do the servers of bench/peers echo?  Builds them, and asks each for what bench/tcp does not ask for: more
bytes than the kernel takes while nobody reads, several connections at once, an end of stream, work.  Then
the measuring programs themselves, for a moment.

    smoke.py BUILD
"""
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "lib"))
import peers  # noqa: E402

MOST = 8 << 20  # some never stop to read, and would take more for ever


def payload(seed, size):
    """Bytes that ask for no work, and tell where they come from."""
    return bytes(random.Random(seed).choices(b"xyz0123456789", k=size))


def receive(sock, size):
    got = bytearray()
    while len(got) < size:
        piece = sock.recv(1 << 20)
        if not piece:
            raise AssertionError(f"the connection ended after {len(got)} of {size} bytes")
        got += piece
    return bytes(got)


def push_until_full(sock, data):
    """Send without reading until nothing more goes; return how many bytes went."""
    sock.setblocking(False)
    at = 0
    try:
        while at < len(data):
            at += sock.send(data[at:at + (1 << 16)])
    except BlockingIOError:
        pass
    sock.setblocking(True)
    sock.settimeout(60)
    return at


def echoes(server):
    with server.connect() as one, server.connect() as other:
        for sock in (one, other, one):
            sock.sendall(b"x" * 64)
        if receive(other, 64) != b"x" * 64 or receive(one, 128) != b"x" * 128:
            raise AssertionError("something else came back")
        big = payload(1, MOST)
        sent = push_until_full(one, big)
        if receive(one, sent) != big[:sent]:
            raise AssertionError(f"{sent} bytes that nobody read at once came back otherwise")
        for work in (b"b1000.", b"c1000."):
            other.sendall(work.ljust(64, b"x"))
            if receive(other, 64) != work.ljust(64, b"x"):
                raise AssertionError("work was not answered")
        one.shutdown(socket.SHUT_WR)
        if one.recv(1):
            raise AssertionError("something came after the end")


def measures(build, *words):
    subprocess.run([os.path.join(build, "bench", words[0]), *words[1:]], check=True,
                   stdout=subprocess.DEVNULL)


def makes_the_matrix(build):
    """All of bench/matrix for a moment: its page has each section, with rows, and its plots are XML."""
    with tempfile.TemporaryDirectory() as out:
        subprocess.run([sys.executable, os.path.join(HERE, "matrix.py"), build, "--quick", "--out", out],
                       check=True, stdout=subprocess.DEVNULL)
        with open(os.path.join(out, "trade-offs.md"), encoding="utf-8") as file:
            sections = file.read().split("\n## ")[1:]
        if len(sections) != 11:
            raise AssertionError(f"the page has {len(sections)} sections")
        for section in sections:
            if len(re.findall(r"^\| .*\d.* \|$", section, re.MULTILINE)) < 2:
                raise AssertionError(f"a section without figures: {section.splitlines()[0]}")
        if shutil.which("gnuplot"):
            plots = [name for name in os.listdir(out) if name.endswith(".svg")]
            for name in plots:
                xml.etree.ElementTree.parse(os.path.join(out, name))
            if len(plots) != 5:
                raise AssertionError(f"{len(plots)} plots")


def main():
    build = sys.argv[1]
    subprocess.run(["cmake", "--build", build, "--target", "peers", "bench-load", "bench-tcp", "bench-pipeline",
                    "bench-many", "bench-timers"],
                   check=True, stdout=subprocess.DEVNULL)
    passed = failed = skipped = 0

    def step(name, run):
        nonlocal passed, failed
        try:
            run()
            passed += 1
            print(f"ok {name}")
        except (AssertionError, OSError, subprocess.CalledProcessError,
                xml.etree.ElementTree.ParseError) as why:
            failed += 1
            print(f"FAIL {name}: {why}")

    rows = peers.table(build)
    pooled = {"name": "pro-pooled", "program": "pro_pooled", "word": "", "engine": ""}
    for row in [*rows, pooled]:
        if not peers.is_built(build, row):
            skipped += 1
            print(f"skip {row['name']}: its package is not installed")
            continue
        with peers.Server(build, row) as server:
            step(row["name"], lambda: echoes(server))
    for name in ("tcp", "pipeline"):
        step(name, lambda: measures(build, name, "--quick", "--rounds", "1", "--connections", "10"))
    for name in ("many", "timers"):
        step(name, lambda: measures(build, name, "--max", "1000", "--rounds", "2", "--window-ms", "2"))
    step("matrix", lambda: makes_the_matrix(build))
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
