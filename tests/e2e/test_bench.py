"""The clients of the measurements count what is true: as many answers as mails, and the handshakes they say."""

import subprocess
import time

import pytest

from bridge import ROOT, Bridge, free_port
from rawhttp import metrics

SECONDS = "0.5"


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    program = tmp_path_factory.mktemp("bench") / "load"
    subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", "-o", program, ROOT / "bench" / "load.c",
                    "-lssl", "-lcrypto", "-lpthread"], check=True)
    return program


@pytest.fixture
def bridge():
    admin = free_port()
    with Bridge({"bridge": {"admin_listen": f"127.0.0.1:{admin}"}}) as b:
        b.admin = admin
        yield b


def run(load, bridge, mode, clients, body="1024", path="/f/order", connections=()):
    """Requests that succeeded, those that failed, and what the program ended with."""
    began = time.monotonic()
    done = subprocess.run([load, "127.0.0.1", str(bridge.port), mode, str(clients), SECONDS, body, path, *connections],
                          capture_output=True, text=True, timeout=60)
    took = time.monotonic() - began
    rate, median, slowest, good, bad, cpu = (float(n) for n in done.stdout.split())
    if good:
        assert good / took <= rate <= good / float(SECONDS)
        assert 0 < median <= slowest <= took * 1e6
        assert 0 < cpu <= took * 64
    return int(good), int(bad), done.returncode


@pytest.mark.parametrize("mode, clients, body, connections", [
    ("new", 3, "1024", ()), ("resume", 3, "1024", ()), ("keep", 1, "1024", ()), ("keep", 5, "1024", ()),
    ("keep", 2, "1024", ("10",)), ("new", 3, "100000u", ()), ("keep", 3, "100000u", ())])
def test_what_it_counts_is_in_the_mailbox(load, bridge, mode, clients, body, connections):
    good, bad, status = run(load, bridge, mode, clients, body, connections=connections)
    assert (bad, status) == (0, 0)
    assert len(bridge.mails(count=good)) == good > 0
    counts = metrics(bridge.admin)
    full, resumed = counts["handshakes_total"], counts["handshakes_resumed_total"]
    expected = {"new": (good, 0), "resume": (clients, good),  # the first of each is for its session
                "keep": (int(connections[0]) if connections else clients, 0)}
    assert (full, resumed) == expected[mode]


def test_handshakes_alone_are_no_posts(load, bridge):
    full, bad, status = run(load, bridge, "shake", 3)
    assert (bad, status) == (0, 0) and full > 0
    resumed, bad, status = run(load, bridge, "reshake", 3)
    assert (bad, status) == (0, 0) and resumed > 0

    def counted():  # the last ones may be counted a moment after the client has seen them
        counts = metrics(bridge.admin)
        return counts["handshakes_total"], counts["handshakes_resumed_total"]

    bridge.wait_until(lambda: counted() == (full + 3, resumed), "the handshakes")
    assert bridge.mail_files() == []


def test_what_is_refused_is_a_failure(load, bridge):
    for mode in ("new", "keep"):
        good, bad, status = run(load, bridge, mode, 2, path="/f/nobody")
        assert good == 0 and bad > 0 and status == 1
    bridge.stop()
    good, bad, status = run(load, bridge, "new", 1)
    assert good == 0 and bad > 0 and status == 1
