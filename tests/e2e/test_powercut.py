"""After a power cut at any moment, what was answered with success before it is in the queue or the mailbox, whole.

Spool and mailboxes are on a disk whose every write is logged (tests/tools/blocklog.py). The log is replayed up to many
of its entries, each result is mounted, and compared with what clients had been told by then. Needs root, for mounting.

The control shows that this can fail: with the sync of the queue's directory left out, it must find losses."""

import contextlib
import os
import pathlib
import random
import signal
import sys
import time

import pytest

sys.path.append(str(pathlib.Path(__file__).parents[1] / "tools"))

from blocklog import BlockLog, LoggedDisk, Replay  # noqa: E402
from bridge import Bridge  # noqa: E402
from ledger import Ledger, whole  # noqa: E402
from tracing import Strace, roles  # noqa: E402

POINTS = 100
GROUP = 8


class TimedLedger(Ledger):
    """Remembers how long the log was when each answer had come."""

    def __init__(self, disk):
        super().__init__()
        self.disk = disk
        self.when = {}  # token -> position in the log

    def post(self, bridge, form="order"):
        status = super().post(bridge, form)
        position = self.disk.position()
        with self.lock:
            for token in self.answered:
                self.when.setdefault(token, position)
        return status


class Recording:
    """A bridge at work on a logged disk, and the submissions that it took."""

    def __init__(self, directory):
        self.disk = LoggedDisk(directory)
        self.mounted = self.disk.mounted
        self.ledger = TimedLedger(self.disk)
        self.content = {}  # token -> the bytes of its message
        (directory / "bridge").mkdir()
        self.bridge = Bridge(
            {"bridge": {"fronts": 1, "spool": self.mounted / "spool"},
             "form order": {"deliver": f"maildir:{self.mounted}/Maildir"},
             "form ledger": dict(Bridge.FORM, deliver=f"mbox:{self.mounted}/mbox")},
            directory=directory / "bridge", start=False)
        self.bridge.spool, self.bridge.maildir = self.mounted / "spool", self.mounted / "Maildir"

    def note_content(self, directory):
        for path in directory.iterdir():
            content = path.read_bytes()
            self.content[whole(content)] = content

    def make(self, strace=()):
        """strace: options for the front."""
        with self.disk:
            self.bridge.start()
            pids = roles(self.bridge)
            try:
                front = pids["front"][0]
                with Strace(front, *strace) if strace else contextlib.nullcontext():
                    os.kill(pids["courier"], signal.SIGSTOP)  # nothing but the front writes
                    for form in ["order"] * 12 + ["ledger"] * 4:
                        assert self.ledger.post(self.bridge, form) == 200
                    assert self.ledger.post_together(self.bridge, GROUP) == [200] * GROUP
                    self.note_content(self.mounted / "spool" / "queue")
                    os.kill(pids["courier"], signal.SIGCONT)
                    for _ in range(12):
                        assert self.ledger.post(self.bridge) == 200
                    assert self.ledger.post_together(self.bridge, GROUP) == [200] * GROUP
                    self.bridge.wait_until(lambda: not self.bridge.queue(), "empty queue")
                    self.note_content(self.mounted / "Maildir" / "new")
            finally:
                os.kill(pids["courier"], signal.SIGCONT)
                self.bridge.stop()
        assert set(self.ledger.answered) <= set(self.content)

    # -- after the cut

    def lost_at(self, position):
        """Tokens answered before that position of the log, and not on the disk that is mounted; all else is whole."""
        kept = set()
        for directory in "spool/queue", "Maildir/new", "Maildir/cur":
            path = self.mounted / directory
            for file in path.iterdir() if path.is_dir() else ():
                if file.name.endswith((".state", ".new")):
                    continue
                content = file.read_bytes()
                token = whole(content)
                assert token in self.content and self.content[token] == content, f"{file.name} is not whole"
                kept.add(token)
        mbox = self.mounted / "mbox"
        appended = mbox.read_bytes() if mbox.exists() else b""
        kept |= {token for token, content in self.content.items() if content in appended}
        return {token for token, at in self.ledger.when.items() if at <= position} - kept

    def cuts(self, log):
        """Numbers of entries to cut after: right after each answer, and spread over the whole log."""
        after_answers = {log.after(at) for at in self.ledger.when.values()}
        rest = max(POINTS - len(after_answers), 20)
        return sorted(after_answers | {len(log.entries) * i // rest for i in range(rest + 1)})

    def replay(self):
        """{number of entries: tokens lost by a cut there}."""
        log = BlockLog(self.disk.log)
        losses = {}
        replay = Replay(self.disk, log)
        rng = random.Random(20261121)
        for cut in self.cuts(log):
            position = log.entries[cut - 1].end if cut else 0
            # The disk had no cache: it has all that was sent to it.
            # It had one: of what came after the last flush it has any part.
            flushed = log.flushed(cut)
            some = [e for e in log.entries[flushed:cut] if rng.random() < 0.5]
            replay.forward(flushed)
            for extra in (log.entries[flushed:cut], some):
                with replay.mounted(self.mounted, extra):
                    losses.setdefault(cut, set()).update(self.lost_at(position))
        return losses

    def restart_after(self, cut):
        """The program is started on what a cut left: it delivers all of it."""
        log = BlockLog(self.disk.log)
        replay = Replay(self.disk, log)
        replay.forward(cut)
        position = log.entries[cut - 1].end
        with replay.mounted(self.mounted):
            lock = self.mounted / "mbox.lock"
            if lock.exists():  # as after the restart of a machine: the lock is older than its start
                os.utime(lock, (time.time() - 3600,) * 2)
            self.bridge.start()
            try:
                self.bridge.wait_until(
                    lambda: not [n for n in self.bridge.queue() if not n.endswith((".state", ".new"))], "empty queue")
            finally:
                self.bridge.stop()
            assert not self.lost_at(position)
            assert not list((self.mounted / "spool" / "tmp").iterdir()), "drafts are left in tmp/"


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    made = Recording(tmp_path_factory.mktemp("powercut"))
    made.make()
    return made


def test_no_answered_submission_is_lost_by_a_power_cut(recording, capsys):
    losses = recording.replay()
    lost = {cut: tokens for cut, tokens in losses.items() if tokens}
    with capsys.disabled():
        print(f"\npower cut: {len(losses)} points, each with and without a cache in the disk;"
              f" {len(recording.ledger.answered)} answered with success, lost at {len(lost)} points")
    assert not lost


def test_what_a_power_cut_left_is_delivered_after_the_next_start(recording):
    log = BlockLog(recording.disk.log)
    answers = sorted({log.after(at) for at in recording.ledger.when.values()})
    for cut in answers[:: max(1, len(answers) // 6)]:
        recording.restart_after(cut)


def test_the_power_cut_test_sees_the_loss_when_the_directory_is_not_synced(tmp_path, capsys):
    control = Recording(tmp_path)
    control.make(["-P", f"{control.mounted}/spool/queue",
                  "-e", "trace=fsync", "-e", "inject=fsync:retval=0:syscall=getpid"])
    lost = {cut for cut, tokens in control.replay().items() if tokens}
    with capsys.disabled():
        print(f"\npower cut without the directory's sync: lost at {len(lost)} points, as it must be")
    assert lost
