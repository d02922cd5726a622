"""When disks are full, read-only or broken, a visitor is told the truth, and what was accepted waits and arrives.

System calls of the running roles are made to fail with strace; file systems that are full or read-only are real ones.
Needs root, for both."""

import contextlib
import fcntl
import http.client
import json
import mailbox
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import pytest

sys.path.append(str(pathlib.Path(__file__).parents[1] / "tools"))

from bridge import PROGRAM, Bridge, free_port, receipt_in  # noqa: E402
from ledger import Ledger, whole  # noqa: E402
from rawhttp import post, reset  # noqa: E402
from tracing import Strace, alive, roles, threads  # noqa: E402

MAIN, WORKER = 0, 1  # the threads of a role, in the order they were started
SETTINGS = {"fronts": 1, "retry_min": "1s", "retry_max": "1s", "drain_timeout": "2s"}


def fail(call, error, when=""):
    """Options for strace. getpid is made instead: the role's own filter sees that one, and allows it."""
    return "-e", f"trace={call}", "-e", f"inject={call}:error={error}:syscall=getpid{when}"


def run(*args):
    return subprocess.run([str(a) for a in args], check=True, capture_output=True, text=True).stdout.strip()


class Faulty:
    """A bridge that retries at once, its ledger and its metrics."""

    def __init__(self, form=None, bridge=None, directory=None, spool=None):
        self.admin = free_port()
        config = {"bridge": dict(SETTINGS, admin_listen=f"127.0.0.1:{self.admin}", **(bridge or {})),
                  "form order": form or {}}
        if spool:
            config["bridge"]["spool"] = spool
        self.bridge = Bridge(config, directory=directory, start=False)
        self.bridge.spool = spool or self.bridge.spool
        self.ledger = Ledger()

    def __enter__(self):
        self.bridge.start()
        return self

    def __exit__(self, *_):
        self.bridge.close()

    def metric(self, name):
        client = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=10)
        client.request("GET", "/metrics")
        text = client.getresponse().read().decode()
        client.close()
        return next(int(line.split()[1]) for line in text.splitlines() if line.startswith(f"formbridge_{name} "))

    def warm(self):
        """One delivered: the threads that work are there."""
        assert self.ledger.post(self.bridge) == 200
        self.wait_delivered()

    def front(self, which=WORKER):
        pid = roles(self.bridge)["front"][0]
        return pid, threads(pid)[which]

    def courier(self, which=WORKER):
        pid = roles(self.bridge)["courier"]
        return pid, threads(pid)[which]

    def files(self, *directories):
        return [f for d in directories for f in (self.bridge.spool / d).iterdir()]

    def messages(self):
        return [name for name in self.bridge.queue() if not name.endswith((".state", ".new"))]

    def wait_delivered(self):
        self.bridge.wait_until(lambda: not self.messages(), "empty queue")
        assert not self.files("held")

    def check_refused(self, mails, reason):
        """A post now is answered with an error that is true, seen by the owner, and without a trace."""
        failed, size = self.metric("submissions_failed_total"), len(self.bridge.log())
        status, headers, page = self.bridge.post([("name", "Ada")])
        assert status == 503 and headers["Retry-After"].isdigit()
        assert b"could not be stored safely, so it was not accepted" in page
        status, _, answer = self.bridge.post([("name", "Ada")], headers={"Accept": "application/json"})
        assert status == 503 and "not accepted" in json.loads(answer)["error"]
        assert self.metric("submissions_failed_total") == failed + 2
        assert f"could not be stored and is answered 503: {reason}" in self.bridge.log()[size:]
        assert not self.files("tmp", "queue", "held") and len(self.bridge.mail_files()) == mails

    def check_recovers(self):
        assert self.ledger.post(self.bridge) == 200
        self.wait_delivered()
        self.ledger.check_maildir(self.bridge.maildir)


# ---- the front cannot store


STORING = [
    ("openat", ""),
    ("write", ":when=1+2"),  # every second one: a failed submission writes to its file, then to the loop
    ("fsync", ""),
    ("renameat2", ""),
]


@pytest.mark.parametrize("error, reason", [
    ("ENOSPC", "No space left on device"), ("EDQUOT", "Disk quota exceeded"), ("EIO", "Input/output error"),
    ("EROFS", "Read-only file system")])
@pytest.mark.parametrize("call, when", STORING, ids=[call for call, _ in STORING])
def test_a_submission_that_cannot_be_stored_is_refused_and_leaves_nothing(call, when, error, reason):
    with Faulty() as f:
        f.warm()
        pid, thread = f.front()
        with Strace(pid, *fail(call, error, when), thread=thread):
            f.check_refused(mails=1, reason=reason)
        f.check_recovers()


def test_that_a_submission_could_not_be_stored_is_said_though_its_visitor_has_left():
    with Faulty() as f:
        f.warm()
        size = len(f.bridge.log())
        pid, thread = f.front()
        with Strace(pid, *fail("fsync", "EIO"), thread=thread):
            for i in range(20):
                c = f.bridge.connect()
                c.sendall(post())
                time.sleep(i / 1000)  # on a busy machine what is reset at once may never be read
                reset(c)
            f.bridge.wait_until(lambda: "is answered 503: Input/output error" in f.bridge.log()[size:], "complaint")
        assert f.ledger.post(f.bridge) == 200
        f.wait_delivered()


def test_a_submission_whose_directory_cannot_be_synced_is_taken_back():
    with Faulty() as f:
        f.warm()
        pid, thread = f.front()
        with Strace(pid, "-P", f.bridge.spool / "queue", *fail("fsync", "EIO"), thread=thread):
            f.check_refused(mails=1, reason="Input/output error")
        f.check_recovers()


def test_a_spool_without_rename_noreplace_takes_submissions_all_the_same():
    with Faulty() as f:
        f.warm()
        pid, thread = f.front()
        with Strace(pid, *fail("renameat2", "EINVAL"), thread=thread):
            f.check_recovers()
        assert not f.files("tmp")


def test_a_sync_of_many_that_fails_refuses_none_whose_own_sync_works():
    with Faulty() as f:
        f.warm()
        pid, thread = f.front()
        slow = "-e", "inject=renameat2:delay_enter=400000:when=1"
        with Strace(pid, "-e", "trace=syncfs,renameat2", *fail("syncfs", "EIO")[2:], *slow, thread=thread) as trace:
            first = threading.Thread(target=f.ledger.post, args=(f.bridge,))
            first.start()
            time.sleep(0.1)
            assert f.ledger.post_together(f.bridge, 8) == [200] * 8
            first.join()
            assert trace.calls()["syncfs"] > 0
        f.check_recovers()


def test_each_submission_has_a_flush_of_its_own_where_the_file_system_has_none_for_all():
    """overlayfs, the disk of a container, does not tell of writes that failed below it."""
    with mounted("overlay", None) as place, Faulty(spool=place / "spool") as f:
        f.warm()
        before, group = f.metric("commit_syncs_total"), 32
        assert f.ledger.post_together(f.bridge, group) == [200] * group
        assert f.metric("commit_syncs_total") - before > group
        f.check_recovers()


@contextlib.contextmanager
def mounted(kind, size, options="rw"):
    """A small file system of its own, mounted."""
    top = pathlib.Path(tempfile.mkdtemp(prefix="formbridge-test-"))
    place = top / "mounted"
    place.mkdir()
    if kind == "tmpfs":
        run("mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", place)
    elif kind == "overlay":
        for name in ("lower", "upper", "work"):
            (top / name).mkdir()
        run("mount", "-t", "overlay", "-o", f"lowerdir={top}/lower,upperdir={top}/upper,workdir={top}/work", "overlay", place)
    else:
        run("truncate", "-s", size, top / "image")
        run("mkfs.ext4", "-q", top / "image")
        run("mount", "-o", f"loop,{options}", top / "image", place)
    try:
        yield place
    finally:
        if subprocess.run(["umount", place], capture_output=True).returncode != 0:
            run("umount", "--lazy", place)
        shutil.rmtree(top)


def fill(place):
    """To the last block."""
    with open(place / "filler", "wb", buffering=0) as filler:
        for size in (1 << 20, 4096, 512, 1):
            with contextlib.suppress(OSError):
                while filler.write(bytes(size)) == size:
                    pass
        with contextlib.suppress(OSError):
            os.fsync(filler.fileno())


@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
def test_a_full_spool_refuses_and_serves_again_when_there_is_room(kind):
    with mounted(kind, "16M") as place, Faulty(spool=place / "spool") as f:
        f.warm()
        fill(place)
        f.check_refused(mails=1, reason="No space left on device")
        (place / "filler").unlink()
        f.check_recovers()


def ready(f):
    client = http.client.HTTPConnection("127.0.0.1", f.admin, timeout=20)
    client.request("GET", "/readyz")
    answer = client.getresponse()
    return answer.status, answer.read()


def checked(f):
    f.bridge.write_config()
    done = subprocess.run([PROGRAM, "-c", f.bridge.dir / "config.ini", "check"], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("kind", ["full", "read-only"])
def test_check_tries_to_write_to_the_spool_and_a_start_does_without(kind):
    """Who starts a server on a full disk gets one that answers 503 until there is room."""
    with mounted("ext4", "16M") as place:
        f = Faulty(spool=place / "spool")
        assert checked(f)[0] == 0
        if kind == "full":
            fill(place)
        else:
            run("mount", "-o", "remount,ro", place)
        code, said = checked(f)
        words = "No space left on device" if kind == "full" else "Read-only file system"
        assert code == 78 and f"problem: spool {place}/spool cannot be written: {words}; make room, or mount it writable" in said
        if kind == "full":
            with f:
                assert f"warning: spool {place}/spool cannot be written: {words}: forms are answered 503" in f.bridge.log()
                assert ready(f) == (503, b"the disk of the spool is full or read-only\n")  # before a visitor has found out
                f.check_refused(mails=0, reason="No space left on device")
                (place / "filler").unlink()
                f.check_recovers()
        else:
            run("mount", "-o", "remount,rw", place)
            assert checked(f)[0] == 0


def test_monitoring_sees_that_nothing_is_delivered():
    with Faulty() as f:
        f.warm()
        f.bridge.wait_until(lambda: f.metric("courier_running") == 1, "the courier")
        (f.bridge.spool / "lock").unlink()
        (f.bridge.spool / "lock").mkdir()
        os.kill(f.bridge.named("courier")[0], signal.SIGKILL)
        f.bridge.wait_for_log("courier: error: cannot open the file lock of the spool")
        f.bridge.wait_for_log("a courier ended before its time, with exit code 71")
        assert f.metric("courier_running") == 0
        assert f.ledger.post(f.bridge) == 200
        (f.bridge.spool / "lock").rmdir()
        f.bridge.wait_until(lambda: f.metric("courier_running") == 1, "the courier", 60)
        f.check_recovers()


def test_an_upload_that_fills_the_spool_leaves_no_part_of_itself():
    with mounted("tmpfs", "4M") as place, Faulty(spool=place / "spool") as f:
        f.warm()
        body = (b'--b\r\nContent-Disposition: form-data; name="name"\r\n\r\nAda\r\n'
                b'--b\r\nContent-Disposition: form-data; name="file"; filename="big.bin"\r\n\r\n'
                + os.urandom(6 << 20) + b"\r\n--b--\r\n")
        status, headers, _ = f.bridge.post(body, headers={"Content-Type": "multipart/form-data; boundary=b"})
        assert status == 503 and "Retry-After" in headers
        assert not f.files("tmp", "queue") and len(f.bridge.mail_files()) == 1
        f.check_recovers()


def test_a_spool_whose_disk_fails_refuses_and_its_mail_arrives_after_the_repair():
    """The kernel makes a file system read-only that finds itself broken."""
    with mounted("ext4", "16M", "errors=remount-ro") as place:
        with Faulty(spool=place / "spool") as f:
            f.warm()
            away = f.bridge.dir / "away"
            f.bridge.maildir.rename(away)
            assert f.ledger.post(f.bridge) == 200
            f.bridge.wait_for_log("deferred")
            loop = os.path.basename(run("findmnt", "-no", "SOURCE", place))
            pathlib.Path(f"/sys/fs/ext4/{loop}/trigger_fs_error").write_text("formbridge test")

            failed, size = f.metric("submissions_failed_total"), len(f.bridge.log())
            status, headers, page = f.bridge.post([("name", "Ada")])
            assert status == 503 and "Retry-After" in headers and b"was not accepted" in page
            assert f.metric("submissions_failed_total") == failed + 1
            assert "Read-only file system" in f.bridge.log()[size:]
            assert not f.files("tmp", "held") and len(f.messages()) == 1

            f.bridge.stop()
            run("umount", place)
            assert subprocess.run(["fsck.ext4", "-y", place.parent / "image"], capture_output=True).returncode <= 1
            run("mount", "-o", "loop", place.parent / "image", place)
            away.rename(f.bridge.maildir)
            f.bridge.start()
            f.wait_delivered()
            f.check_recovers()


# ---- the courier cannot deliver


def check_delivery_waits(f, reason, mails=1):
    """What is posted now is accepted, and waits with the reason in the log."""
    size = len(f.bridge.log())
    assert f.ledger.post(f.bridge) == 200
    f.bridge.wait_for_log("deferred", count=2, since=size)  # tried again
    log = f.bridge.log()[size:]
    assert reason in log, log
    assert "delivered" not in log and len(f.bridge.mail_files()) == mails
    assert f.metric("messages_queued") == 1 and f.metric("deliveries_deferred_total") >= 2


ERRORS = [("ENOSPC", "make room on its disk"), ("EDQUOT", "raise the quota"), ("EIO", "its disk fails"),
          ("EROFS", "mount it writable again")]


@pytest.mark.parametrize("error, remedy", ERRORS)
@pytest.mark.parametrize("call", ["linkat", "fsync"])
def test_a_delivery_that_fails_waits_and_arrives_when_the_fault_is_gone(call, error, remedy):
    with Faulty() as f:
        f.warm()
        pid, thread = f.courier()
        with Strace(pid, *fail(call, error), thread=thread):
            check_delivery_waits(f, remedy, mails=1 if call == "linkat" else 2)  # linked, and not sure of it
        f.wait_delivered()
        assert f.ledger.check_maildir(f.bridge.maildir) == 0


@contextlib.contextmanager
def other_mailbox(size="16M", kind="tmpfs"):
    """A bridge whose Maildir is on another file system than its spool, so that it copies."""
    with mounted(kind, size) as place, Faulty(form={"deliver": f"maildir:{place}/Maildir"}) as f:
        f.bridge.maildir = place / "Maildir"
        f.warm()
        yield f, place


@pytest.mark.parametrize("error, remedy", ERRORS)
@pytest.mark.parametrize("call, when", [("write", ":when=1+2"), ("fsync", ":when=1"), ("renameat", "")],
                         ids=["write", "fsync", "rename"])
def test_a_copy_that_fails_shows_no_mail_program_a_part_and_arrives_when_the_fault_is_gone(call, when, error, remedy):
    with other_mailbox() as (f, _):
        pid, thread = f.courier()
        size = len(f.bridge.log())
        with Strace(pid, *fail(call, error, when), thread=thread):
            assert f.ledger.post(f.bridge) == 200
            f.bridge.wait_for_log("deferred", since=size)
            assert remedy in f.bridge.log()[size:]
            assert len(f.bridge.mail_files()) == 1, "a mail program sees what was not delivered"
            assert not list((f.bridge.maildir / "tmp").iterdir()), "part of a message was left in tmp/"
        f.wait_delivered()
        assert f.ledger.check_maildir(f.bridge.maildir) == 0


@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
def test_mail_for_a_full_file_system_waits_until_there_is_room(kind):
    with other_mailbox(kind=kind) as (f, place):
        fill(place)
        check_delivery_waits(f, "No space left on device; make room on its disk")
        assert not list((f.bridge.maildir / "tmp").iterdir())
        (place / "filler").unlink()
        f.wait_delivered()
        assert f.ledger.check_maildir(f.bridge.maildir) == 0


def test_mail_for_a_read_only_file_system_waits_until_it_is_writable():
    with other_mailbox(kind="ext4") as (f, place):
        run("mount", "-o", "remount,ro", place)
        try:
            check_delivery_waits(f, "Read-only file system; mount it writable again")
        finally:
            run("mount", "-o", "remount,rw", place)
        f.wait_delivered()
        assert f.ledger.check_maildir(f.bridge.maildir) == 0


def test_mail_for_a_maildir_that_is_away_waits_until_it_is_back():
    with Faulty() as f:
        f.warm()
        f.bridge.maildir.rename(f.bridge.dir / "away")
        check_delivery_waits(f, "create it and reload formbridge", mails=0)
        (f.bridge.dir / "away").rename(f.bridge.maildir)
        f.wait_delivered()
        assert f.ledger.check_maildir(f.bridge.maildir) == 0


def test_mail_for_a_maildir_that_is_made_anew_arrives_there_after_a_reload():
    with Faulty() as f:
        f.warm()
        f.bridge.maildir.rename(f.bridge.dir / "old")
        check_delivery_waits(f, "create it and reload formbridge", mails=0)
        for part in "tmp", "new", "cur":
            (f.bridge.maildir / part).mkdir(parents=True)
        f.bridge.process.send_signal(signal.SIGHUP)
        f.wait_delivered()
        assert len(f.bridge.mail_files()) == 1


# ---- an mbox


@contextlib.contextmanager
def with_mbox(place):
    with Faulty(form={"deliver": f"mbox:{place}/mbox"}) as f:
        f.warm()
        yield f, place / "mbox"


def mbox_tokens(path):
    box = mailbox.mbox(path)
    tokens = [whole(message.as_bytes()) for message in box]
    box.close()
    return tokens


@pytest.mark.parametrize("error, remedy", ERRORS)
@pytest.mark.parametrize("call, when", [("write", ":when=2+3"), ("fsync", "")], ids=["write", "fsync"])
def test_an_append_that_fails_is_taken_off_the_mbox_again(call, when, error, remedy, tmp_path):
    with with_mbox(tmp_path) as (f, path):
        before = path.read_bytes()
        pid, thread = f.courier()
        size = len(f.bridge.log())
        with Strace(pid, *fail(call, error, when), thread=thread):
            assert f.ledger.post(f.bridge) == 200
            f.bridge.wait_for_log("deferred", since=size)
            assert remedy in f.bridge.log()[size:]
            # A next try may be at work.
            f.bridge.wait_until(lambda: path.read_bytes() == before, "mbox as it was before")
        f.wait_delivered()
        assert path.read_bytes().startswith(before)
        assert sorted(mbox_tokens(path)) == sorted(f.ledger.answered)
        assert not path.with_name("mbox.lock").exists()


def test_mail_for_an_mbox_on_a_full_file_system_waits_until_there_is_room():
    with mounted("tmpfs", "16M") as place, with_mbox(place) as (f, path):
        before = path.read_bytes()
        fill(place)
        size = len(f.bridge.log())
        assert f.ledger.post(f.bridge) == 200
        f.bridge.wait_for_log("deferred", since=size)
        assert "make room on its disk" in f.bridge.log()[size:]
        assert path.read_bytes() == before
        (place / "filler").unlink()
        f.wait_delivered()
        assert sorted(mbox_tokens(path)) == sorted(f.ledger.answered)


def test_mail_for_an_mbox_that_another_program_locks_waits_for_it(tmp_path):
    with with_mbox(tmp_path) as (f, path):
        lock = path.with_name("mbox.lock")
        lock.touch()
        size = len(f.bridge.log())
        assert f.ledger.post(f.bridge) == 200
        f.bridge.wait_for_log("is locked by another program", since=size)
        assert len(mbox_tokens(path)) == 1 and lock.exists()
        lock.unlink()
        f.wait_delivered()
        assert sorted(mbox_tokens(path)) == sorted(f.ledger.answered)


# ---- a queue with strange things in it


def test_foreign_files_in_the_queue_are_left_alone_and_stop_no_mail():
    with Faulty() as f:
        f.warm()
        queue = f.bridge.spool / "queue"
        name = "20260101T000000Z.AAAA-BBBB-CCCC.order"
        (queue / "notes.txt").write_text("not ours")
        (queue / "backup").mkdir()
        (queue / "20260101T000000Z.AAAA-BBBB-DDDD.order").mkdir()  # a message's name
        (queue / name).symlink_to("/etc/hostname")
        (queue / f"{name}.state").write_bytes(b"\xff\x00 not a state\n")
        os.mkfifo(queue / "20260101T000000Z.AAAA-BBBB-EEEE.order")
        foreign = set(f.bridge.queue())
        for _ in range(3):
            assert f.ledger.post(f.bridge) == 200
        f.bridge.wait_until(lambda: len(f.bridge.mail_files()) == 4, "4 mails")
        f.bridge.wait_for_log("queue/ holds a file that is not ours and is left alone: ")
        f.bridge.wait_until(lambda: not {n for n in f.bridge.queue() if n[:7] != "2026010"} - foreign, "ours gone")
        assert {n for n in foreign if not n.endswith(".state")} <= set(f.bridge.queue())
        assert f.ledger.check_maildir(f.bridge.maildir) == 0
        assert alive(roles(f.bridge)["courier"])


def test_a_message_that_cannot_be_read_stops_no_other():
    with tempfile.TemporaryDirectory(prefix="formbridge-test-") as directory:
        os.chmod(directory, 0o711)
        maildir = pathlib.Path(directory) / "Maildir"
        maildir.mkdir()
        shutil.chown(maildir, "nobody")
        with Faulty(bridge={"user": "nobody"}, directory=directory) as f:
            f.warm()
            now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
            foreign = f.bridge.spool / "queue" / f"{now}.AAAA-BBBB-CCCC.order"
            foreign.write_bytes(f.bridge.mail_files()[0].read_bytes())
            foreign.chmod(0o600)  # root's: copied in by hand, and its owner forgotten
            assert [f.ledger.post(f.bridge) for _ in range(3)] == [200] * 3
            f.bridge.wait_for_log("deferred AAAA-BBBB-CCCC")
            assert "Permission denied" in f.bridge.log()
            f.bridge.wait_until(lambda: len(f.bridge.mail_files()) == 4, "4 mails")
            shutil.chown(foreign, "nobody")
            f.wait_delivered()
            assert len(f.bridge.mail_files()) == 5


def test_a_message_that_cannot_be_read_says_nothing_of_its_mailbox():
    """On a quiet site it is tried alone: the next mail must not wait for the mailbox to get well, which it is."""
    with tempfile.TemporaryDirectory(prefix="formbridge-test-") as directory:
        os.chmod(directory, 0o711)
        maildir = pathlib.Path(directory) / "Maildir"
        maildir.mkdir()
        shutil.chown(maildir, "nobody")
        with Bridge({"bridge": {"user": "nobody", "retry_min": "1s", "retry_max": "10m"}}, directory=directory) as b:
            assert b.post([("name", "Ada")])[0] == 200
            b.mails(1)
            now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
            foreign = b.spool / "queue" / f"{now}.AAAA-BBBB-CCCC.order"
            foreign.write_bytes(b.mail_files()[0].read_bytes())
            foreign.chmod(0o600)
            b.wait_for_log("deferred AAAA-BBBB-CCCC", count=3, seconds=60)
            assert re.search("cannot read the queued message .*: Permission denied; give that file to the user of", b.log())
            for i in range(3):
                assert b.post([("name", f"Bea {i}")])[0] == 200
                b.mails(2 + i)


@pytest.mark.parametrize("deliver", ["maildir", "mbox", "lmtp"])
def test_a_message_whose_file_was_given_to_another_form_is_held(deliver):
    """By whoever may put files into queue/: another form's mail goes to other people."""
    with tempfile.TemporaryDirectory(prefix="formbridge-test-") as directory:
        place = {"maildir": f"maildir:{directory}/other", "mbox": f"mbox:{directory}/mbox", "lmtp": "lmtp:/nowhere"}[deliver]
        with Bridge(start=False) as b:
            b.config["form other"] = {**Bridge.FORM, "deliver": place}
            b.write_config()
            b.start()
            assert b.post([("name", "Ada")])[0] == 200
            mail, = b.mails(1)
            content = b.mail_files()[0].read_bytes()
            now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
            for receipt, form in (("AAAA-BBBB-CCCC", "other"), ("AAAA-BBBB-DDDD", "order")):
                (b.spool / "queue" / f"{now}.{receipt}.{form}").write_bytes(content)
            with open(b.spool / "queue" / f"{now}.AAAA-BBBB-HHHH.order", "wb") as hole:
                hole.truncate(1 << 42)
            assert b.post([("name", "Bea")])[0] == 200 # and with it the courier sees the others
            b.mails(3)
            b.wait_for_log("held AAAA-BBBB-CCCC (form other): its file is named as one of form other, but its header names another")
            b.wait_for_log("held AAAA-BBBB-HHHH (form order): it has 4398046511104 bytes, more than a post of max_body can become")
            b.wait_until(lambda: not b.queue(), "an empty queue")
            assert b"Ada" not in b"".join(p.read_bytes() for p in pathlib.Path(directory).rglob("*") if p.is_file())


def rewrite(mbox):
    """As archivers do it."""
    new = mbox.with_name("mbox.new")
    new.write_bytes(mbox.read_bytes())
    new.rename(mbox)


def test_an_mbox_that_is_replaced_under_its_lock_gets_the_mail_all_the_same():
    """By a program that holds the fcntl lock alone: what is appended to the file it took away is in no mailbox."""
    with tempfile.TemporaryDirectory(prefix="formbridge-test-") as directory:
        mbox = pathlib.Path(directory) / "mbox"
        with Bridge({"bridge": {"retry_min": "1s", "retry_max": "1s"}, "form order": {"deliver": f"mbox:{mbox}"}}) as b:
            receipts = [receipt_in(b.post([("name", "Ada")])[2])]
            b.wait_until(lambda: not b.queue(), "the first in the mbox")
            with open(mbox, "r+b") as f:
                fcntl.lockf(f, fcntl.LOCK_EX)
                receipts.append(receipt_in(b.post([("name", "Bea")])[2]))
                b.wait_until(lambda: mbox.with_name("mbox.lock").exists(), "the courier at its lock")
                time.sleep(0.3)
                rewrite(mbox)
            b.wait_until(lambda: not b.queue(), "the second in the mbox")
            assert [m["X-Formbridge-Ref"] for m in mailbox.mbox(mbox)] == receipts


def test_an_mbox_that_is_replaced_without_a_lock_while_it_is_written_gets_the_mail_again():
    with tempfile.TemporaryDirectory(prefix="formbridge-test-") as directory:
        mbox = pathlib.Path(directory) / "mbox"
        with Bridge({"bridge": {"retry_min": "1s", "retry_max": "1s"}, "form order": {"deliver": f"mbox:{mbox}"}}) as b:
            b.post([("name", "Ada")])
            b.wait_until(lambda: not b.queue(), "the first in the mbox")
            before = mbox.read_bytes()
            with Strace(roles(b)["courier"], "-e", "trace=fsync", "-e", "inject=fsync:delay_enter=1500000"):
                receipt = receipt_in(b.post([("name", "Bea")])[2])
                b.wait_until(lambda: len(mbox.read_bytes()) > len(before), "the second being written")
                mbox.with_name("mbox.new").write_bytes(before)
                mbox.with_name("mbox.new").rename(mbox)
                b.wait_for_log(f"deferred {receipt}")
            assert f"mbox {mbox} was replaced while it was written; who rewrites it has to make {mbox}.lock first" in b.log()
            b.wait_until(lambda: not b.queue(), "the second in the mbox")
            assert mailbox.mbox(mbox)[1]["X-Formbridge-Ref"] == receipt


def test_a_limit_of_file_sizes_is_answered_like_a_full_disk():
    with Bridge(start=False) as b:
        b.popen = lambda *words, **options: subprocess.Popen(
            *words, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (200000, 200000)), **options)
        b.start()
        assert b.post([("name", "x" * 300000)])[0] == 503
        assert b.post([("name", "Ada")])[0] == 200
        b.mails(1)
        assert "File too large" in b.log() and "died" not in b.log()


def test_mail_of_a_form_that_is_gone_from_the_config_is_held_and_delivered_when_it_is_released():
    with Faulty() as f:
        f.warm()
        held, queue = f.bridge.spool / "held", f.bridge.spool / "queue"
        name = "20260101T000000Z.AAAA-BBBB-CCCC.former"
        content = f.bridge.mail_files()[0].read_bytes()
        (queue / name).write_bytes(content.replace(b"\nX-Formbridge-Form: order\n", b"\nX-Formbridge-Form: former\n"))
        assert f.ledger.post(f.bridge) == 200  # and with it the courier sees the other
        f.bridge.wait_for_log("held AAAA-BBBB-CCCC (form former): the config has no [form former]")
        f.bridge.wait_until(lambda: not f.bridge.queue(), "empty queue")
        assert (held / name).exists() and (held / f"{name}.state").exists()
        assert f.metric("messages_held") == 1 and len(f.bridge.mail_files()) == 2

        f.bridge.config["form former"] = f.bridge.config["form order"]
        f.bridge.write_config()
        f.bridge.process.send_signal(signal.SIGHUP)
        f.bridge.wait_for_log("reloaded")
        (held / f"{name}.state").rename(queue / f"{name}.state")
        (held / name).rename(queue / name)
        assert f.ledger.post(f.bridge) == 200
        f.wait_delivered()
        assert len(f.bridge.mail_files()) == 4


# ---- memory and descriptors run out


@contextlib.contextmanager
def limited(pid, option, soft):
    """A limit of a process, for a while."""
    before = run("prlimit", "--pid", pid, f"--{option}", "-o", "SOFT", "--noheadings", "--raw")
    run("prlimit", "--pid", pid, f"--{option}={soft}:")
    try:
        yield
    finally:
        run("prlimit", "--pid", pid, f"--{option}={before}:")


def address_space(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmSize:"))


def sanitized(pid):
    """The sanitizers take terabytes of addresses, and end a process that gets no more."""
    return address_space(pid) > 1 << 40


def test_a_front_without_memory_refuses_and_lives():
    with Faulty() as f:
        f.warm()
        pid, _ = f.front()
        if sanitized(pid):
            return
        upload = (b'--b\r\nContent-Disposition: form-data; name="name"\r\n\r\nAda\r\n'
                  b'--b\r\nContent-Disposition: form-data; name="file"; filename="big.bin"\r\n\r\n'
                  + bytes(8 << 20) + b"\r\n--b--\r\n")
        with limited(pid, "as", address_space(pid) + (2 << 20)):
            status, headers, page = f.bridge.post(upload, headers={"Content-Type": "multipart/form-data; boundary=b"})
            assert status == 503 and "Retry-After" in headers and b"was not accepted" in page
            for _ in range(30):  # little as there is, connections come and go
                assert f.ledger.post(f.bridge) in (200, 503, None)
        assert alive(pid), f.bridge.log()
        f.bridge.wait_until(lambda: not f.bridge.queue(), "empty queue")
        assert not f.files("tmp", "held")
        f.check_recovers()


def test_a_front_without_descriptors_refuses_and_lives():
    with Faulty() as f:
        f.warm()
        pid, _ = f.front()
        descriptors = max(int(n) for n in os.listdir(f"/proc/{pid}/fd")) + 1
        for spare in range(4):
            with limited(pid, "nofile", descriptors + spare):
                assert f.ledger.post(f.bridge) in (200, 503, None)
        assert alive(pid), f.bridge.log()
        time.sleep(1.1)  # it rests for a second
        assert not f.files("tmp", "held")
        f.check_recovers()


def test_a_courier_without_memory_delivers_when_there_is_some():
    with Faulty() as f:
        f.warm()
        pid = roles(f.bridge)["courier"]
        if sanitized(pid):
            return
        f.bridge.wait_until(lambda: len(threads(pid)) == 1, "end of the idle worker")
        with limited(pid, "as", address_space(pid)):
            assert [f.ledger.post(f.bridge) for _ in range(3)] == [200] * 3
            time.sleep(1.5)
        f.wait_delivered()
        assert alive(pid), f.bridge.log()
        assert f.ledger.check_maildir(f.bridge.maildir) == 0
