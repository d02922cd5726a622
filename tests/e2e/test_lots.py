"""What a submission costs: few system calls of the front's loop, and a share of the courier's flushes."""

import os
import pathlib
import sys
import time

import pytest

sys.path.append(str(pathlib.Path(__file__).parents[1] / "tools"))

from bridge import WRAPPER, Bridge  # noqa: E402
from tracing import Strace, roles, threads  # noqa: E402

POSTS = 100
CALLS_OF_THE_LOOP = 18  # a submission, but for those that wait: how often depends on who is faster
INSTRUMENTED = bool(WRAPPER) or "asan" in os.environ.get("FORMBRIDGE", "")


@pytest.fixture(scope="module")
def bridge():
    with Bridge({"bridge": {"fronts": 1}}) as b:
        yield b


def submit(connection, number):
    body = b"name=Ada&message=%d" % number
    connection.sendall(b"POST /f/order HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n"
                       b"Content-Type: application/x-www-form-urlencoded\r\n\r\n" % len(body) + body)
    answer = b""
    while b"</html>" not in answer:
        piece = connection.recv(65536)
        assert piece, answer
        answer += piece
    assert answer.startswith(b"HTTP/1.1 200 ")


def delivered(bridge):
    return len(list((bridge.maildir / "new").iterdir())) if bridge.maildir.exists() else 0


def test_a_submission_takes_few_calls_of_the_loop(bridge):
    (front,) = roles(bridge)["front"]
    connection = bridge.connect()
    submit(connection, 0)
    time.sleep(0.2)
    with Strace(front, thread=threads(front)[0]) as trace:
        for i in range(POSTS):
            submit(connection, 1 + i)
        trace.detach()
        calls = trace.calls()
    connection.close()
    # The sanitizers and valgrind make calls of their own.
    assert INSTRUMENTED or (calls.total() - calls["epoll_wait"]) / POSTS <= CALLS_OF_THE_LOOP, calls


def test_the_courier_delivers_a_steady_stream_in_lots(bridge):
    connection = bridge.connect()
    submit(connection, 1000)
    bridge.wait_until(lambda: len(os.listdir(bridge.spool / "queue")) == 0, "empty queue")
    before = delivered(bridge)
    with Strace(roles(bridge)["courier"], "-e", "trace=fsync") as trace:
        start = time.monotonic()
        for i in range(POSTS):
            submit(connection, 2000 + i)
        bridge.wait_until(lambda: delivered(bridge) == before + POSTS, "delivery")
        took = time.monotonic() - start
        trace.detach()
        flushes = trace.calls()["fsync"]
    connection.close()
    assert 1 <= flushes <= took * 10 + 3
