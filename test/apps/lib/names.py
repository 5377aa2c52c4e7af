#!/usr/bin/env python3
"""A small DNS server with good and bad answers, and listeners for the addresses it gives.

    names.py COMMAND...     be both in new namespaces (network, mounts), and run the command there

Good only for tests: one question a packet, no compression.  A name says how it is answered:

    dual.test      127.0.0.2 and ::1        v4.test     127.0.0.2 alone     v6.test    ::1 alone
    slow4.test     A late                   slow6.test  AAAA late           bad6.test  AAAA: SERVFAIL
    dead6.test     AAAA: a net that no way leads to; A: good
    silent.test    no answer                bad.test    SERVFAIL            lost.test  the second time
    anything else  NXDOMAIN
Late is after two seconds.
"""
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

PORT = 7777
GOOD = {1: socket.inet_pton(socket.AF_INET, "127.0.0.2"), 28: socket.inet_pton(socket.AF_INET6, "::1")}
DEAD = socket.inet_pton(socket.AF_INET6, "fd00:dead::1")
A, AAAA = 1, 28
LATE_S = 2

asked = {}


def answer_of(name, kind):
    """(response code, address or None, late), or None: no answer."""
    first, _, rest = name.partition(".")
    if rest != "test" or kind not in GOOD:
        return 3, None, False
    if first in ("dual", "slow4", "slow6", "bad6", "dead6", "lost"):
        if first == "bad6" and kind == AAAA:
            return 2, None, False
        if first == "lost":
            asked[kind] = asked.get(kind, 0) + 1
            if asked[kind] == 1:
                return None
        late = (first, kind) in (("slow4", A), ("slow6", AAAA))
        return 0, DEAD if first == "dead6" and kind == AAAA else GOOD[kind], late
    if first in ("v4", "v6"):
        return 0, GOOD[kind] if first == ("v4" if kind == A else "v6") else None, False
    if first == "silent":
        return None
    return (2 if first == "bad" else 3), None, False


def answer(sock, packet, sender):
    labels, at = [], 12
    while packet[at]:
        labels.append(packet[at + 1:at + 1 + packet[at]].decode())
        at += 1 + packet[at]
    question = packet[12:at + 5]
    kind = struct.unpack(">H", packet[at + 1:at + 3])[0]
    found = answer_of(".".join(labels).lower(), kind)
    if found is None:
        return
    code, address, late = found
    if late:
        time.sleep(LATE_S)
    record = b""
    if address:
        record = b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 0, len(address)) + address
    header = packet[:2] + struct.pack(">HHHHH", 0x8180 | code, 1, int(bool(record)), 0, 0)
    sock.sendto(header + question + record, sender)


def serve(sock):
    while True:
        packet, sender = sock.recvfrom(4096)
        threading.Thread(target=answer, args=(sock, packet, sender), daemon=True).start()


def inside(command):
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as conf:
        conf.write("nameserver 127.0.0.1\noptions timeout:1 attempts:5\n")
        conf.flush()
        subprocess.run(["mount", "--bind", conf.name, "/etc/resolv.conf"], check=True)
    dns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    dns.bind(("127.0.0.1", 53))
    threading.Thread(target=serve, args=(dns,), daemon=True).start()
    listeners = [socket.create_server(("127.0.0.2", PORT)),
                 socket.create_server(("::1", PORT), family=socket.AF_INET6)]
    status = subprocess.run(command, check=False).returncode
    del listeners
    return status


def command_for(*command):
    """The command line that runs a command in such a world."""
    return ["unshare", "--net", "--mount", sys.executable, os.path.abspath(__file__), *command]


def is_possible():
    probe = ["unshare", "--net", "--mount", "ip", "link", "set", "lo", "up"]
    try:
        return subprocess.run(probe, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(inside(sys.argv[1:]))
