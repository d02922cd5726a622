"""Many connections: the fronts share them, an idle one is small, ten thousand are no trouble."""

import os
import pathlib
import re
import resource
import socket
import subprocess
import time

import pytest

from bridge import PATIENCE, WRAPPER, Bridge, Clock, free_port
from rawhttp import exchange, metrics

MANY, SECURE = 10_000, 500
INSTRUMENTED = bool(WRAPPER) or "asan" in os.environ.get("FORMBRIDGE", "")


@pytest.fixture(scope="module", autouse=True)
def descriptors():
    """As many as the system allows, for the bridge and for us."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture
def bridge():
    admin = free_port()
    with Bridge({"bridge": {"fronts": 2, "admin_listen": f"127.0.0.1:{admin}", "max_connections": MANY + 1000,
                            "max_per_address": MANY + 1000, "handshake_timeout": 120}}) as b:
        b.admin = admin
        yield b


def is_socket(descriptor):
    try:
        return os.readlink(descriptor).startswith("socket:")
    except FileNotFoundError:  # closed in the meantime
        return False


def sockets(pid):
    return sum(is_socket(f) for f in pathlib.Path(f"/proc/{pid}/fd").iterdir())


def memory_kb(pids):
    return sum(int(line.split()[1]) for pid in pids
               for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
               if line.startswith("Pss:"))


def accepted(bridge, count):
    bridge.wait_until(lambda: metrics(bridge.admin)["connections_open"] >= count, f"{count} connections", 3 * PATIENCE)


def shares_of(bridge, fronts, count, pause):
    """How many of so many connections each front took."""
    before = [sockets(pid) for pid in fronts]
    open_connections = []
    for _ in range(count):
        open_connections.append(socket.create_connection(("127.0.0.1", bridge.port)))
        time.sleep(pause)
    accepted(bridge, count)

    def shares():
        return [sockets(pid) - n for pid, n in zip(fronts, before)]

    bridge.wait_until(lambda: sum(shares()) == count, "the end of the questions about metrics")
    found = shares()
    for s in open_connections:
        s.close()
    bridge.wait_until(lambda: [sockets(pid) for pid in fronts] == before, "the end of the connections")
    return found


@pytest.mark.parametrize("pause", [0.003, 0], ids=["one after the other", "all at once"])
def test_the_fronts_share_connections_evenly(bridge, pause):
    """In five rounds together: what else runs on the machine may hold one of them up in any one."""
    fronts = bridge.named("front")
    rounds = [shares_of(bridge, fronts, 200, pause) for _ in range(5)]
    assert min(sum(shares) for shares in zip(*rounds)) >= 5 * 70, rounds


def secure_connections(bridge, count):
    """Resumed after the first, which is quicker."""
    context, session, found = bridge.context(), None, []
    for _ in range(count):
        raw = socket.create_connection(("127.0.0.1", bridge.port), PATIENCE)
        found.append(context.wrap_socket(raw, server_hostname="localhost", session=session))
        session = session or found[0].session
    return found


def post(connection, name=b"Ada"):
    body = b"name=" + name + b"&message=" + b"x" * 900
    connection.sendall(b"POST /f/order HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n"
                       b"Content-Type: application/x-www-form-urlencoded\r\n\r\n" % len(body) + body)
    answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 200 ")
    return answer


def test_visitors_who_come_one_after_the_other_share_a_parser_and_nothing_else():
    """Each on a connection that stays open, in turn, twice; what one says is never another's."""
    visitors = 40
    with Bridge({"bridge": {"fronts": 1}, "form order": {"subject": "{name}", "rate": "1000/1m"}}) as b:
        before = sockets(b.front())
        context = b.context()
        connections = [context.wrap_socket(socket.create_connection(("127.0.0.1", b.port), PATIENCE, (f"127.0.0.{i + 2}", 0)),
                                           server_hostname="localhost") for i in range(visitors)]
        receipts = {}
        for turn in "ab":
            for i, c in enumerate(connections):
                answer = post(c, b"%d%s" % (i, turn.encode()))
                receipts[f"{i}{turn}"] = re.search(r"[0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]{4}", answer.decode())[0]
        assert sockets(b.front()) - before - visitors <= 4, "each has a parser of its own"
        for c in connections:
            c.close()
        mails = b.mails(2 * visitors)
        assert len(mails) == 2 * visitors == len(set(receipts.values()))
        for mail in mails:
            who = mail["Subject"]
            received = str(mail["Received"])
            assert receipts[who] in received, "another's receipt"
            assert f"[127.0.0.{int(who[:-1]) + 2}]" in received, "another's address"


TEXT = b"Content-Type: text/plain"
FORM = b"Content-Type: application/x-www-form-urlencoded"


@pytest.mark.parametrize("top, status", [
    (b"POST /f/nobody HTTP/1.1", 404), (b"POST /f/order HTTP/1.1\r\n" + TEXT, 415), (b"GET / HTTP/1.1", 200),
    (b"OPTIONS /f/order HTTP/1.1", 204), (b"PUT /f/order HTTP/1.1", 405),
    (b"POST /f/order HTTP/1.1\r\nConnection: close\r\n" + FORM, 200)])
def test_an_answer_that_announces_the_end_is_the_last(top, status):
    """Judged by its head, though the whole body is there at once: RFC 9112 §9.6."""
    request = top + b"\r\nHost: localhost\r\nContent-Length: 8\r\n\r\nname=Ada"
    with Bridge() as b:
        answers = exchange(b, request + b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert [a.status for a in answers] == [status]
        assert answers[0].headers["connection"].lower() == "close"


def left_behind(pid, mark):
    """Where it stands in the memory of a process."""
    found = []
    with open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, rights, *rest = line.split()
            begin, end = (int(n, 16) for n in span.split("-"))
            if rights.startswith("rw") and not rest[-1].startswith("[v") and end - begin < 1 << 30:  # more is a sanitizer's
                memory.seek(begin)
                if mark in memory.read(end - begin):
                    found.append(rest[-1])
    return found


@pytest.mark.parametrize("path, more, size, length", [
    ("order", b"", 200, 0), ("order", b"", 20000, 0), ("order", b"", 300000, 0), ("order", b"Connection: close\r\n", 200, 0),
    ("order", b"Connection: close\r\n", 300000, 0), ("nobody", b"", 200, 0), ("nobody", b"", 300000, 0),
    ("order", b"", 200, 5000), ("order", b"Bad Head: x\r\n", 200, 0)],
    ids=["small", "medium", "large", "small, last", "large, last", "refused", "large, refused", "broken off", "bad head"])
def test_nothing_of_a_visitor_who_left_stays_in_memory(path, more, size, length):
    cookie, field = b"c00kie7f3a91", b"f1eld5b27c4e"
    body = b"name=" + field + b"x" * size + field
    request = (b"POST /f/" + path.encode() + b" HTTP/1.1\r\nHost: localhost\r\nCookie: a=" + cookie + b"\r\n" + more + FORM +
               b"\r\nContent-Length: %d\r\n\r\n" % (length or len(body)) + body)
    with Bridge({"bridge": {"fronts": 1}}) as b:
        with b.connect() as c:
            try:
                c.sendall(request)
                if length == 0:
                    c.recv(65536)
            except OSError:  # it was refused before all of it was sent
                pass
        if not INSTRUMENTED:  # the sanitizers and valgrind keep what is freed
            b.wait_until(lambda: left_behind(b.front(), cookie) == [] == left_behind(b.front(), field), "end of its traces",
                         2)  # and not when the heap is trimmed some time


def test_the_secret_of_an_old_session_is_wiped_though_nobody_comes(tmp_path):
    keys = tmp_path / "keys"
    with Bridge({"bridge": {"fronts": 1}}, start=False) as b:
        clock = Clock(b)
        b.start()
        context = b.context()
        context.keylog_filename = keys  # NSS's format: CLIENT_RANDOM, the random bytes, the master secret
        with context.wrap_socket(socket.create_connection(("127.0.0.1", b.port)), server_hostname="localhost") as c:
            post(c)
            session = c.session
        secret = bytes.fromhex(keys.read_text().split()[-1])
        assert len(secret) == 48

        def kept():
            return left_behind(b.front(), secret)

        with context.wrap_socket(socket.create_connection(("127.0.0.1", b.port)), server_hostname="localhost",
                                 session=session) as c:
            assert c.session_reused
            post(c)
        assert kept()
        clock.set_ahead(3600)
        socket.create_connection(("127.0.0.1", b.port)).close()  # anything that happens, in place of a minute's wait
        b.wait_until(lambda: kept() == [], "the end of the session")


def test_what_uploads_took_is_given_back_though_nobody_stays(bridge):
    fronts = bridge.named("front")
    before = memory_kb(fronts)
    body = b"name=Ada&message=" + b"x" * 400_000
    request = b"POST /f/order HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + FORM + b"\r\nContent-Length: %d\r\n\r\n"
    connections = [bridge.connect() for _ in range(40)]
    for c in connections:
        c.sendall(request % len(body) + body[:-1])
    bridge.wait_until(lambda: memory_kb(fronts) > before + 10_000, "bodies in memory")
    for c in connections:
        c.sendall(body[-1:])
        assert b" 200 " in c.recv(100)
        c.close()
    bridge.wait_until(lambda: INSTRUMENTED or memory_kb(fronts) < before + 2_000, "memory given back")


def test_a_connection_that_rests_after_a_post_takes_less_than_24_kb(bridge):
    before = memory_kb(bridge.named("front"))
    connections = secure_connections(bridge, SECURE)
    for c in connections:
        post(c)

    def each():
        return (memory_kb(bridge.named("front")) - before) / SECURE

    # The sanitizers and valgrind keep what is freed.
    bridge.wait_until(lambda: INSTRUMENTED or each() < 24, "rest")
    post(connections[0])
    for c in connections:
        c.close()


def test_ten_thousand_connections_are_no_trouble(bridge):
    """Most of them never say a word; what they have at most is the patience of handshake_timeout."""
    available = min(MANY, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SECURE - 200)
    assert available > 1000, "raise the limit of open files (ulimit -Hn)"
    secure = secure_connections(bridge, SECURE)
    silent = [socket.create_connection(("127.0.0.1", bridge.port), PATIENCE) for _ in range(available - SECURE)]
    accepted(bridge, available)
    for c in secure[:20]:
        post(c)
    assert bridge.post([("name", "Ada")])[0] == 200
    fronts = bridge.named("front")
    busy = sum(int(n) for pid in fronts
               for n in pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13])
    time.sleep(1)
    idle = sum(int(n) for pid in fronts
               for n in pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13])
    assert (idle - busy) / os.sysconf("SC_CLK_TCK") < 0.3, "idle connections keep the processor busy"
    for s in silent + secure:
        s.close()
    bridge.wait_until(lambda: metrics(bridge.admin)["connections_open"] <= 2, "the end of all connections", 3 * PATIENCE)
