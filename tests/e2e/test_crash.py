"""Killed at any moment, what was answered with success is in the mailbox: whole, at most twice, with one Message-ID.

The roles of a running bridge are killed on entry to each system call that a submission makes, found by recording one
that is left alive. Needs root, for strace on processes that do not let themselves be traced by their own user."""

import contextlib
import os
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import threading
import time

import pytest

sys.path.append(str(pathlib.Path(__file__).parents[1] / "tools"))

from bridge import PATIENCE, Bridge  # noqa: E402
from ledger import Ledger  # noqa: E402
from tracing import Strace, roles, threads, wait_dead  # noqa: E402

# How often these are made depends on who is faster; nothing changes at them.
IDLE = {"futex", "restart_syscall", "poll", "ppoll", "epoll_wait", "sched_yield", "mmap", "munmap", "mprotect",
        "madvise", "brk", "rt_sigprocmask", "clone", "clone3", "clock_nanosleep", "exit", "exit_group"}
GROUP = 10  # enough for one syncfs(2) of all
SETTINGS = {"bridge": {"fronts": 1, "retry_min": "1s", "retry_max": "1s", "drain_timeout": "2s"}}
MAIN, WORKER = 0, 1  # the threads of a role, in the order they were started


def flush(bridge):
    """What waits for a retry is tried now."""
    with contextlib.suppress(OSError):  # no courier, this moment
        fd = os.open(bridge.spool / "wake", os.O_WRONLY | os.O_NONBLOCK)
        os.write(fd, b"!")
        os.close(fd)


def messages(bridge):
    return [name for name in bridge.queue() if not name.endswith((".state", ".new"))]


def wait_delivered(bridge, nudge=lambda: None):
    soon = time.monotonic() + 0.3

    def empty():
        nudge()
        if time.monotonic() > soon:
            flush(bridge)
        return not messages(bridge)

    bridge.wait_until(empty, "empty queue")
    assert not list((bridge.spool / "held").iterdir())


def thread_of(pid, which):
    return threads(pid)[which]


def points_of(trace):
    return [(call, k + 1) for call, n in sorted(trace.calls().items()) if call not in IDLE for k in range(n)]


def kill_at(call, k):
    return "-e", f"trace={call}", "-e", f"inject={call}:signal=SIGKILL:when={k}"


def pid_of(bridge, role):
    found = roles(bridge)[role]
    return found[0] if role == "front" else found


class Run:
    """One directory, a bridge started anew for each point, one ledger over all of them."""

    def __init__(self, config=None, act=None, nudge=lambda bridge: None):
        merged = {section: dict(keys) for section, keys in SETTINGS.items()}
        for section, keys in (config or {}).items():
            merged.setdefault(section, {}).update(keys)
        self.bridge = Bridge(merged, start=False)
        self.ledger = Ledger()
        self.act = act or (lambda: self.ledger.post(self.bridge))
        self.nudge = nudge
        self.fired = self.missed = 0

    def start(self):
        """Started, and warm: the threads that work are there."""
        self.bridge.start()
        assert self.ledger.post(self.bridge) == 200
        wait_delivered(self.bridge, lambda: self.nudge(self.bridge))

    def finish(self):
        """The role was replaced: the next submission is taken, and all of them arrive."""
        assert self.ledger.post(self.bridge) == 200, self.bridge.log()[-2000:]
        wait_delivered(self.bridge, lambda: self.nudge(self.bridge))
        self.bridge.stop()

    def points(self, role, which, delay=()):
        self.start()
        pid = pid_of(self.bridge, role)
        with Strace(pid, *delay, thread=thread_of(pid, which)) as trace:
            self.act()
            wait_delivered(self.bridge, lambda: self.nudge(self.bridge))
            time.sleep(0.1)
            trace.detach()
            found = points_of(trace)
        self.finish()
        return found

    def kill(self, role, which, call, k, delay=()):
        self.start()
        pid = pid_of(self.bridge, role)
        with Strace(pid, *kill_at(call, k), *delay, thread=thread_of(pid, which)):
            self.act()
            wait_delivered(self.bridge, lambda: self.nudge(self.bridge))
            dead = wait_dead(pid, 0.1)
        self.fired += dead
        self.missed += not dead
        self.finish()

    def kill_at_each(self, role, which, points, delay=()):
        for call, k in points:
            self.kill(role, which, call, k, delay)

    def report(self, capsys, what, twice):
        with capsys.disabled():
            print(f"\n{what}: {self.fired} points, {self.missed} not reached; {len(self.ledger.answered)} answered with"
                  f" success, {len(self.ledger.unanswered)} cut off, 0 lost, {twice} delivered twice")
        assert self.fired > 0 and self.missed <= self.fired // 4, "the recorded calls are not those that are made"

    def check_swept(self):
        self.bridge.start()
        self.bridge.stop()
        assert not list((self.bridge.spool / "tmp").iterdir()), "the start has left drafts of a killed front in tmp/"

    def close(self):
        self.bridge.close()


@contextlib.contextmanager
def running(*args, **kwargs):
    run = Run(*args, **kwargs)
    try:
        yield run
    finally:
        run.close()


@contextlib.contextmanager
def reader(maildir):
    """A mail program that looks all the time and takes each new message to cur/ at once."""
    done = threading.Event()

    def look():
        while not done.wait(0.001):
            for path in (maildir / "new").iterdir() if (maildir / "new").is_dir() else ():
                with contextlib.suppress(FileNotFoundError):
                    path.rename(maildir / "cur" / f"{path.name}:2,S")

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


# ---- the front


def test_no_answered_submission_is_lost_when_a_front_is_killed_at_any_call(capsys):
    with running() as run:
        for which in (MAIN, WORKER):
            run.kill_at_each("front", which, run.points("front", which))
        run.check_swept()
        run.report(capsys, "front, one submission", run.ledger.check_maildir(run.bridge.maildir))


def test_no_answered_submission_is_lost_when_a_front_is_killed_while_it_commits_several_at_once(capsys):
    with running() as run:

        def opener_then_group():
            """The commit of the first is slow, so that the others make one lot."""
            first = threading.Thread(target=run.ledger.post, args=(run.bridge,))
            first.start()
            drafts = run.bridge.spool / "tmp"
            run.bridge.wait_until(lambda: list(drafts.iterdir()) or not first.is_alive(), "draft of the first")
            run.ledger.post_together(run.bridge, GROUP)
            first.join()

        def slow(call):
            return "-e", f"inject={call}:delay_enter=400000:when=1"

        run.act = opener_then_group
        found = run.points("front", WORKER, slow("renameat2"))
        assert ("syncfs", 1) in found, f"the submissions were not committed together: {found}"
        of_opener = {"openat": 1, "write": 3, "fsync": 2, "renameat2": 1, "close": 1}
        for call, k in found:
            if k > of_opener.get(call, 0):
                slowed = "fsync" if call == "renameat2" else "renameat2"
                delay = ("-e", f"trace={call},{slowed}", *slow(slowed))
                run.kill("front", WORKER, call, k, delay)
        run.act = lambda: run.ledger.post_together(run.bridge, GROUP)
        run.kill_at_each("front", MAIN, [(call, k + 1) for call in ("write", "sendmsg") for k in range(GROUP)])
        run.check_swept()
        run.report(capsys, "front, several at once", run.ledger.check_maildir(run.bridge.maildir))


# ---- the courier


@contextlib.contextmanager
def elsewhere():
    """A directory on another file system than the spool."""
    place = pathlib.Path(tempfile.mkdtemp(prefix="formbridge-test-", dir="/dev/shm"))
    try:
        yield place
    finally:
        shutil.rmtree(place)


def test_no_answered_submission_is_lost_when_the_courier_is_killed_while_it_links_into_a_maildir(capsys):
    with running() as run:
        for which in (MAIN, WORKER):
            run.kill_at_each("courier", which, run.points("courier", which))
        run.report(capsys, "courier, link", run.ledger.check_maildir(run.bridge.maildir))


def test_no_answered_submission_is_lost_when_the_courier_is_killed_while_a_mail_program_reads(capsys):
    with running() as run:
        found = {which: run.points("courier", which) for which in (MAIN, WORKER)}
        with reader(run.bridge.maildir):
            for which in (MAIN, WORKER):
                run.kill_at_each("courier", which, found[which])
        twice = run.ledger.check_maildir(run.bridge.maildir)
        run.report(capsys, "courier, link, with a mail program at work", twice)


def test_no_answered_submission_is_lost_when_the_courier_is_killed_while_it_copies_to_another_file_system(capsys):
    with elsewhere() as place:
        assert os.stat(place).st_dev != os.stat(tempfile.gettempdir()).st_dev
        with running({"form order": {"deliver": f"maildir:{place}/Maildir"}}) as run:
            found = run.points("courier", WORKER)
            assert any(call.startswith("rename") for call, _ in found), "it does not copy"
            run.kill_at_each("courier", WORKER, found)
            run.report(capsys, "courier, copy", run.ledger.check_maildir(place / "Maildir"))
            assert not list((place / "Maildir" / "tmp").iterdir()), "a killed copy was left in tmp/"


def age_lock(bridge):
    """Nobody waits for the lock of a dead program for as long as it would take."""
    lock = bridge.dir / "mbox.lock"
    with contextlib.suppress(FileNotFoundError):
        os.utime(lock, (time.time() - 3600,) * 2)


def test_no_answered_submission_is_lost_when_the_courier_is_killed_while_it_appends_to_an_mbox(capsys):
    with running(nudge=age_lock) as run:
        run.bridge.config["form order"]["deliver"] = f"mbox:{run.bridge.dir}/mbox"
        run.bridge.write_config()
        run.kill_at_each("courier", WORKER, run.points("courier", WORKER))
        run.report(capsys, "courier, mbox", run.ledger.check_mbox(run.bridge.dir / "mbox"))


def test_no_answered_submission_is_lost_when_the_courier_is_killed_while_it_delivers_several_at_once(capsys):
    with running() as run:

        def group():
            """The courier sleeps until all are queued, so that they make one lot."""
            pid = pid_of(run.bridge, "courier")
            os.kill(pid, signal.SIGSTOP)
            statuses = run.ledger.post_together(run.bridge, GROUP)
            os.kill(pid, signal.SIGCONT)
            assert statuses == [200] * GROUP

        run.act = group
        for which, expected in (WORKER, ("linkat", GROUP)), (MAIN, ("unlinkat", GROUP)):
            found = run.points("courier", which)
            assert expected in found, f"they were not delivered together: {found}"
            run.kill_at_each("courier", which, found)
        run.report(capsys, "courier, several at once", run.ledger.check_maildir(run.bridge.maildir))


def test_no_mailbox_is_forgotten_when_the_courier_is_killed_while_it_notes_that_one_of_two_fails(capsys):
    with running() as run:
        second = run.bridge.dir / "Second"
        new, away = second / "new", second / "away"
        run.bridge.config["form order"]["deliver"] = f"maildir:{run.bridge.maildir} maildir:{second}"
        run.bridge.write_config()

        def post_while_one_is_away():
            new.rename(away)
            status = run.ledger.post(run.bridge)
            assert status == 200
            queued = run.bridge.spool / "queue"
            end = time.monotonic() + 0.3
            while not list(queued.glob("*.state")) and time.monotonic() < end:
                time.sleep(0.005)
            away.rename(new)

        run.act = post_while_one_is_away
        found = run.points("courier", MAIN)
        assert ("fsync", 1) in found and any(call.startswith("rename") for call, _ in found), f"no state: {found}"
        run.kill_at_each("courier", MAIN, found)
        twice = run.ledger.check_maildir(run.bridge.maildir) + run.ledger.check_maildir(second)
        run.report(capsys, "courier, state of a retry", twice)


# ---- all of them, at random moments


def load(run, seconds):
    """Four clients that post as fast as they can."""
    end = time.monotonic() + seconds

    def client():
        while time.monotonic() < end:
            if run.ledger.post(run.bridge) is None:
                time.sleep(0.02)

    clients = [threading.Thread(target=client) for _ in range(4)]
    for c in clients:
        c.start()
    return clients


@pytest.mark.parametrize("whom", ["the parent", "all processes"])
def test_no_answered_submission_is_lost_when_killed_under_load(whom, capsys):
    rng = random.Random(20261121)
    with running() as run:
        for _ in range(20):
            run.bridge.start()
            pids = run.bridge.roles()
            clients = load(run, 0.4)
            time.sleep(rng.uniform(0.02, 0.38))
            run.bridge.process.kill()
            for pid in pids if whom == "all processes" else ():
                os.kill(pid, signal.SIGKILL)
            for c in clients:
                c.join()
            for pid in pids:  # a role whose parent is gone finishes and ends
                assert wait_dead(pid, 3 * PATIENCE), f"process {pid} outlives its parent:\n{run.bridge.log()[-2000:]}"
            run.bridge.stop()
            run.fired += 1
        run.bridge.start()
        wait_delivered(run.bridge)
        run.bridge.stop()
        run.check_swept()
        run.report(capsys, f"{whom} killed under load", run.ledger.check_maildir(run.bridge.maildir))


def test_no_role_outlives_a_parent_that_was_killed():
    with running() as run:
        run.bridge.start()
        pids = roles(run.bridge)
        client = threading.Thread(target=run.ledger.post, args=(run.bridge,))
        with Strace(pids["signer"], "-e", "trace=sendto", "-e", "inject=sendto:delay_enter=600000"):
            client.start()  # the signer is busy while the others die
            time.sleep(0.3)
            run.bridge.process.kill()
            os.kill(pids["front"][0], signal.SIGKILL)
            client.join()
        try:
            assert wait_dead(pids["courier"], PATIENCE), "the courier outlives its parent"
            assert wait_dead(pids["signer"], PATIENCE), "the signer outlives its parent"
        finally:
            for pid in pids["signer"], pids["courier"]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            run.bridge.stop()
