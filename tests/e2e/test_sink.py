"""The whole program against a host that fails at each stage in each way (smtp-sink behind stunnel): what is refused for good is
held, all else waits, and when the host is well again the message arrives."""

import os
import re
import subprocess

import pytest

from bridge import Bridge, free_port
from mailhosts import NAME, good, listening, wait_until, workdir  # noqa: F401 (fixtures)
from test_queue import HELD, listed_any, post, queue

STAGES = ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "."]
WAYS = {"4xx": "-r{}", "5xx": "-f{}", "421": "-Q{}", "drop": "-q{}", "stall": "-W{}:30"}
IN_WORDS = {"CONNECT": "the connection", "MAIL": "MAIL FROM", "RCPT": "RCPT TO", ".": "the message"}


class Sink:
    """smtp-sink on a port of its own, TLS in front of it on another."""

    def __init__(self, directory, files):
        self.port, self.clear, self.dumps = free_port(), free_port(), directory / "dumps"
        self.dumps.mkdir()
        self.dumps.chmod(0o777)
        (directory / "stunnel.conf").write_text(
            f"foreground = yes\npid =\n[smtps]\naccept = 127.0.0.1:{self.port}\nconnect = 127.0.0.1:{self.clear}\n"
            f"cert = {files.chain}\n")
        self.stunnel = subprocess.Popen(["stunnel", directory / "stunnel.conf"], stderr=subprocess.DEVNULL)
        self.sink = None

    def become(self, *options):
        """Replaces the host by one with these faults, which has taken nothing yet."""
        self.end()
        for dump in self.dumps.iterdir():
            dump.unlink()
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        self.sink = subprocess.Popen(  # -p: with PIPELINING a fault may strike another command than the one it is for
            ["smtp-sink", *user, "-p", *options, "-d", f"{self.dumps}/m.", f"127.0.0.1:{self.clear}", "100"],
            stderr=subprocess.DEVNULL)
        wait_until(lambda: listening(self.clear) and listening(self.port))

    def end(self):
        if self.sink is not None:
            self.sink.kill()
            self.sink.wait()

    def close(self):
        self.end()
        self.stunnel.terminate()
        self.stunnel.wait()

    def took(self, receipt):
        """How many whole messages with this receipt."""
        texts = [p.read_text(errors="replace") for p in self.dumps.iterdir()]
        return sum(f"X-Formbridge-Ref: {receipt}\n" in t and "name: Ada\n" in t for t in texts)


@pytest.fixture(scope="module")
def sink(workdir, good):  # noqa: F811
    directory = workdir / "sink"
    directory.mkdir()
    s = Sink(directory, good)
    try:
        s.become()
        yield s
    finally:
        s.close()


@pytest.fixture
def bridge(sink, good):  # noqa: F811
    config = {"bridge": {"retry_min": "1h", "retry_max": "1h"},
              "mailhost main": {"server": f"127.0.0.1:{sink.port}", "tls_name": NAME, "trust": good.trust, "timeout": "2s"},
              "form order": {"deliver": "main"}}
    with Bridge(config) as b:
        yield b


def recover(bridge, sink, receipt):
    sink.become()
    queue(bridge, "flush")
    wait_until(lambda: sink.took(receipt) == 1 and listed_any(bridge) == [])


def test_a_host_that_is_well_gets_the_message_once(bridge, sink):
    sink.become()
    receipt = post(bridge)
    wait_until(lambda: sink.took(receipt) == 1 and listed_any(bridge) == [])


@pytest.mark.parametrize("way", [w for w in WAYS if w != "5xx"])
@pytest.mark.parametrize("stage", STAGES)
def test_what_fails_for_now_waits_and_arrives(bridge, sink, stage, way):
    sink.become(WAYS[way].format(stage))
    receipt = post(bridge)
    bridge.wait_for_log(f"deferred {receipt} (form order) to main: ")
    (line,) = re.findall(f"deferred {receipt} .*", bridge.log())
    assert IN_WORDS.get(stage, stage) in line
    assert ("duplicate" in line) == (stage == "." and way in ("drop", "stall")), line
    recover(bridge, sink, receipt)


@pytest.mark.parametrize("stage", ["MAIL", "RCPT", "DATA", "."])
def test_what_is_refused_for_good_is_held_until_a_person_releases_it(bridge, sink, stage):
    sink.become(WAYS["5xx"].format(stage))
    receipt = post(bridge)
    bridge.wait_for_log(f"held {receipt} ")
    (line,) = queue(bridge, code=HELD).stdout.splitlines()
    assert line.startswith(receipt) and "500 5.3.0 Error: command failed" in line
    sink.become()
    queue(bridge, "release", receipt)
    wait_until(lambda: sink.took(receipt) == 1 and listed_any(bridge) == [])


def test_a_refused_connection_waits(bridge, sink):
    sink.become("-fCONNECT")
    receipt = post(bridge)
    bridge.wait_for_log(f"deferred {receipt} ")
    recover(bridge, sink, receipt)


def test_a_host_without_ehlo_is_greeted_with_helo(bridge, sink):
    sink.become("-fEHLO")
    receipt = post(bridge)
    wait_until(lambda: sink.took(receipt) == 1 and listed_any(bridge) == [])
