"""Before a start, before a reload and once a day everything that the config names is looked at. Some of it may hang, as a
disk does; here it is a FIFO that nobody writes to. The service goes on meanwhile."""

import contextlib
import os
import pathlib
import signal
import time

import pytest

from bridge import Bridge, Clock, comm

WAIT = 120  # of checkup.c
DAY = 86400


def hang(b):
    b.words.unlink()
    os.mkfifo(b.words)


def begin(b):
    """A check hangs, and it alone: what comes later finds the file again."""
    b.wait_until(lambda: len(checks(b)) == 1, "a check", 15)
    (pid,) = checks(b)
    seen = time.monotonic()

    def hangs():  # some kernels do not say where: then it had time enough
        where = pathlib.Path(f"/proc/{pid}/wchan").read_text()
        return "partner" in where or (where in ("", "0") and time.monotonic() > seen + 2)

    b.wait_until(hangs, "a check that hangs")
    b.words.rename(b.dir / "fifo")
    b.words.write_text("casino\n")


def answer(b):
    os.close(os.open(b.dir / "fifo", os.O_WRONLY | os.O_NONBLOCK))


@contextlib.contextmanager
def checked(start=True):
    with Bridge({"bridge": {"fronts": 1, "drain_timeout": "5s"}}, start=False) as b:
        b.words = b.dir / "words"
        b.words.write_text("casino\n")
        b.config["form order"]["spam_words_file"] = b.words
        b.write_config()
        b.clock = Clock(b)
        if start:
            b.start()
        yield b


def checks(b):
    return [p for p in b.roles() if comm(p) == "fb-check"]


def replaces_a_front(b):
    front = b.front()
    os.kill(front, signal.SIGKILL)
    b.wait_until(lambda: b.named("front") not in ([], [front]), "a new front", 3)
    b.wait_until(lambda: accepts(b), "service")


def accepts(b):
    try:
        return b.post([("name", "Ada")])[0] == 200
    except OSError:
        return False


def ends(b):
    begun = time.monotonic()
    assert b.stop() == 0 and time.monotonic() - begun < 5


def by_signal(b):
    b.process.send_signal(signal.SIGHUP)


def by_clock(b):
    b.clock.set_ahead(DAY)


@pytest.mark.parametrize("cause", [by_signal, by_clock])
def test_roles_are_replaced_and_it_ends_while_a_check_hangs(cause):
    with checked() as b:
        hang(b)
        cause(b)
        begin(b)
        replaces_a_front(b)
        assert len(checks(b)) == 1
        ends(b)


def test_a_check_that_hangs_keeps_no_door_open():
    with checked() as b:
        hang(b)
        by_signal(b)
        begin(b)
        (pid,) = checks(b)
        b.wait_until(lambda: {int(fd) for fd in os.listdir(f"/proc/{pid}/fd")} <= {0, 1, 2}, "descriptors closed")


@pytest.mark.parametrize("first", [by_signal, by_clock])
def test_a_signal_during_a_check_is_obeyed_after_it(first):
    with checked() as b:
        hang(b)
        first(b)
        begin(b)
        by_signal(b)
        time.sleep(0.5)
        assert b.log().count("reloading: SIGHUP") == (first is by_signal)
        answer(b)
        b.wait_for_log("reloaded:", count=1 + (first is by_signal))
        assert b.log().count("reloading: SIGHUP") == 1 + (first is by_signal) and accepts(b)


def test_a_check_that_hangs_for_long_refuses_the_reload_and_says_where_it_hangs():
    with checked() as b:
        hang(b)
        by_signal(b)
        begin(b)
        b.clock.set_ahead(WAIT - 20)
        time.sleep(0.5)
        assert "cannot check" not in b.log()
        b.clock.set_ahead(WAIT + 1)
        b.wait_for_log("is in order: the old set of roles stays", seconds=15)
        assert ("cannot check: it takes more than 120 seconds, and is at spam_words_file of form order now; does a disk hang?"
                in b.log())
        b.wait_until(lambda: b.roles() and not checks(b), "the end of the check")
        by_signal(b)
        b.wait_for_log("reloaded:")
        assert accepts(b)


def test_a_start_whose_check_hangs_for_long_fails():
    with checked(start=False) as b:
        hang(b)
        b.start(wait=False)
        begin(b)
        b.clock.set_ahead(WAIT + 1)
        assert b.process.wait(15) == 78
        assert "cannot check: it takes more than 120 seconds" in b.log()
        b.process = None


def test_it_can_be_ended_before_it_has_started():
    with checked(start=False) as b:
        hang(b)
        b.start(wait=False)
        begin(b)
        ends(b)
