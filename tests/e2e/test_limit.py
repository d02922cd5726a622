"""Who sends too often is told how long to wait, and nothing of it is read or stored; everybody else is not in its way.

Visitors with addresses of the documentation's networks (RFC 5737, RFC 3849) live on the loopback device of a network
namespace of their own, which nothing leaves. Needs root."""

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import threading

import pytest

from bridge import PATIENCE, Bridge, free_port
from rawhttp import Reader, head, metrics, post

CLONE_NEWNET = 0x40000000
ADDRESSES = ["203.0.113.7/32", "203.0.113.8/32", "2001:db8:1:2::5/128", "2001:db8:1:2:ffff::6/128",
             "2001:db8:1:3::5/128"]


def in_own_network(work):
    """Runs work() in a thread whose sockets and child processes are in a new network namespace."""
    result = []

    def run():
        try:
            assert ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            for address in ADDRESSES:
                subprocess.run(["ip", "addr", "add", address, "dev", "lo", "nodad"] if ":" in address else
                               ["ip", "addr", "add", address, "dev", "lo"], check=True)
            work()
            result.append(None)
        except BaseException as e:  # noqa: BLE001: it is raised again below
            result.append(e)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if result[0] is not None:
        raise result[0]


@contextlib.contextmanager
def running(fronts=1, **form):
    port, admin = free_port(), free_port()
    with Bridge({"bridge": {"fronts": fronts, "listen": f"0.0.0.0:{port} [::]:{port}",
                            "admin_listen": f"127.0.0.1:{admin}"}, "form order": form}) as b:
        b.port, b.admin = port, admin
        yield b


def connect(bridge, source):
    raw = socket.create_connection((source, bridge.port), PATIENCE, (source, 0))  # all addresses are its own
    return bridge.context().wrap_socket(raw, server_hostname="localhost")


def send(bridge, source, request=None):
    with connect(bridge, source) as c:
        c.sendall(request or post())
        return Reader(c).answer()


def statuses(bridge, source, count):
    return [send(bridge, source).status for _ in range(count)]


def test_who_sends_too_often_is_told_how_long_to_wait():
    def work():
        with running(rate="3/60s") as b:
            assert statuses(b, "203.0.113.7", 3) == [200, 200, 200]
            page = send(b, "203.0.113.7")
            assert page.status == 429 and 15 <= int(page.headers["retry-after"]) <= 20
            assert b"Too many forms came from your connection" in page.body
            script = send(b, "203.0.113.7", post(b"name=Ada", b"Accept: application/json"))
            assert script.status == 429 and "Too many" in json.loads(script.body)["error"]
            assert len(b.mails(3)) == 3
            b.wait_until(lambda: not b.queue(), "empty queue")
            assert metrics(b.admin)["rate_limited_total"] == 2
            assert statuses(b, "203.0.113.8", 3) == [200, 200, 200], "another visitor is in its way"

    in_own_network(work)


def test_the_answer_does_not_wait_for_the_body():
    def work():
        with running(rate="1/1h") as b:
            assert statuses(b, "203.0.113.7", 1) == [200]
            with connect(b, "203.0.113.7") as c:
                c.sendall(head(b"POST /f/order HTTP/1.1", 1000000))
                assert Reader(c).answer().status == 429

    in_own_network(work)


def test_an_ipv6_network_of_64_bits_is_one_visitor():
    def work():
        with running(rate="2/1h") as b:
            assert statuses(b, "2001:db8:1:2::5", 1) == [200]
            assert statuses(b, "2001:db8:1:2:ffff::6", 2) == [200, 429]
            assert statuses(b, "2001:db8:1:2::5", 1) == [429]
            assert statuses(b, "2001:db8:1:3::5", 2) == [200, 200]

    in_own_network(work)


def test_counts_over_all_fronts_and_over_a_reload():
    def work():
        with running(fronts=2, rate="6/1h") as b:
            stopped = b.named("front")
            for front in stopped:  # while it is stopped, the other takes the posts
                os.kill(front, signal.SIGSTOP)
                try:
                    assert statuses(b, "203.0.113.7", 3) == [200, 200, 200]
                finally:
                    os.kill(front, signal.SIGCONT)
            assert statuses(b, "203.0.113.7", 2) == [429, 429]
            b.process.send_signal(signal.SIGHUP)
            b.wait_for_log("reloaded: ")
            assert statuses(b, "203.0.113.7", 1) == [429]

    in_own_network(work)


def test_each_form_has_its_own_count():
    def work():
        with running(rate="1/1h") as b:
            b.config["form book"] = dict(b.config["form order"])
            b.write_config()
            b.process.send_signal(signal.SIGHUP)
            b.wait_for_log("reloaded: ")
            assert statuses(b, "203.0.113.7", 2) == [200, 429]
            other = post().replace(b"/f/order", b"/f/book")
            assert [send(b, "203.0.113.7", other).status for _ in range(2)] == [200, 429]

    in_own_network(work)


def test_without_a_rate_nobody_waits():
    def work():
        with running(rate="off") as b:
            with connect(b, "203.0.113.7") as c:
                reader = Reader(c)
                for _ in range(100):
                    c.sendall(post())
                    assert reader.answer().status == 200

    in_own_network(work)


def test_the_default_lets_a_school_class_pass_and_stops_a_flood():
    def work():
        with running() as b:
            with connect(b, "203.0.113.7") as c:
                reader, seen = Reader(c), []
                for _ in range(60):
                    c.sendall(post())
                    seen.append(reader.answer().status)
                assert seen == [200] * 60
            assert 429 in statuses(b, "203.0.113.7", 3)

    in_own_network(work)


def test_programs_on_this_machine_are_not_counted_as_visitors():
    with Bridge({"form order": {"rate": "1/1h"}}) as b:
        assert [b.post([("name", "Ada")])[0] for _ in range(4)] == [200] * 4


def test_visitors_of_a_proxy_on_this_machine_are_counted_by_the_address_that_it_names():
    port = free_port()
    with Bridge({"bridge": {"listen": f"plain:127.0.0.1:{port}"},
                 "form order": {"rate": "1/1h", "once_window": "10m"}}) as b:
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as c:
            reader = Reader(c)

            def send_as(address):
                c.sendall(post(b"name=Ada", b"X-Forwarded-Proto: https", b"X-Forwarded-For: " + address))
                return reader.answer().status

            visitors = [b"203.0.113.7", b"203.0.113.8", b"2001:db8:1:2::5", b"2001:db8:1:2:ffff::6"]
            assert [send_as(a) for a in visitors] == [200, 200, 200, 429]
        assert len(b.mails(3)) == 3, "the same content of another visitor was taken for a repeat"


def test_a_form_has_a_rate_for_all_together():
    def work():
        with running(rate="off", form_rate="2/1h") as b:
            assert statuses(b, "203.0.113.7", 1) == [200]
            assert statuses(b, "127.0.0.1", 1) == [200]
            answer = send(b, "203.0.113.8")
            assert answer.status == 429 and 1700 <= int(answer.headers["retry-after"]) <= 1800
            assert b"not by you alone" in answer.body and b"your connection" not in answer.body

    in_own_network(work)


@pytest.mark.parametrize("rate", ["60", "60/", "0/5m", "60/2d", "many", "1000001/1s", "-1/5m"])
def test_a_rate_that_is_none_is_told_by_its_line(rate):
    with Bridge({"form order": {"rate": rate}}, start=False) as b:
        b.start(wait=False)
        assert b.process.wait(PATIENCE) == 2
        b.process = None
        assert f'rate: "{rate}" is not a number and a time, such as 60/5m' in b.log()
