#!/usr/bin/env python3
"""pro-echo on bad days: faults by seed under its engine (PROACTOR_FAULTS), real clients at the other end.

In mild weather every client gets all of its bytes back.  With everything on a client may be cut off;
what it got until then is the beginning of what it sent, and the server goes on, drains and ends well.
"""
import errno
import select
import socket
import threading

from lib import harness
from lib.harness import Echo, case_per_engine, check, equal

CLIENTS = 40
MILD = "short_read,short_write,slow"
ALL = MILD + ",reset,aborted,handles"


def echo(server, data):
    """What came back of the data; and whether the connection broke."""
    back = b""
    try:
        with server.connect() as sock:
            sent = 0
            while sent < len(data) or len(back) < len(data):
                more = [sock] if sent < len(data) else []
                readable, writable, _ = select.select([sock], more, [], harness.LIMIT_S)
                check(readable or writable, f"nothing moved after {len(back)} bytes")
                if writable:
                    sent += sock.send(data[sent:sent + 20000])
                if readable:
                    piece = sock.recv(65536)
                    if not piece:
                        return back, True
                    back += piece
            sock.shutdown(socket.SHUT_WR)
            check(not sock.recv(1), "more came back than was sent")
    except OSError as error:  # a reset, at whatever call
        check(error.errno in (errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN), str(error))
        return back, True
    return back, False


def crowd(server, datas):
    results = [None] * len(datas)

    def one(i):
        try:
            results[i] = echo(server, datas[i])
        except Exception as error:  # for the thread that looks
            results[i] = error

    threads = [threading.Thread(target=one, args=(i,)) for i in range(len(datas))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        if isinstance(result, Exception):
            raise result
    return results


def run(engine, plan, seed):
    server = Echo(engine, env={"PROACTOR_FAULTS": f"{seed}:{plan}"})
    datas = [harness.random_bytes(harness.random.randint(1, 60000)) for _ in range(CLIENTS)]
    results = crowd(server, datas)
    for data, (back, broke) in zip(datas, results):
        check(data.startswith(back), f"seed {seed}: other bytes came back than were sent")
        check(broke or back == data, f"seed {seed}: {len(back)} of {len(data)} bytes came back")
    return server.end(), sum(broke for _, broke in results)


@case_per_engine
def mild_faults_only_slow_it_down(engine):
    for seed in (1, 2, 3):
        totals, broken = run(engine, MILD, seed)
        equal((broken, totals["errors"], totals["connections"]), (0, 0, CLIENTS),
              "broken, errors, connections")
        equal(totals["bytes_in"], totals["bytes_out"], "bytes in and out")


@case_per_engine
def all_faults_cut_clients_off_and_nothing_else(engine):
    broken = 0
    for seed in (1, 2, 3, 4):
        broken += run(engine, ALL, seed)[1]
    check(broken > 0, "not one connection was cut")


@case_per_engine
def the_plan_is_explained_and_a_wrong_one_refused(engine):
    explain = ["bin/pro-echo", "--engine", engine, "--explain"]
    done = harness.run(*explain, env={"PROACTOR_FAULTS": "7:reset"})
    said = done.stdout + done.stderr
    check("faults are injected: seed 7, reset 1:" in said, said)
    done = harness.run(*explain, env={"PROACTOR_FAULTS": "7:rain"})
    check(done.returncode != 0, "a plan that is none was taken")


if __name__ == "__main__":
    harness.main()
