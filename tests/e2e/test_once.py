"""A double click, a reload, a retry, the same Idempotency-Key: the receipt of the first, and one mail."""

import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import sys
import time
import urllib.parse

import pytest

sys.path.append(str(pathlib.Path(__file__).parents[1] / "tools"))

from bridge import PATIENCE, Bridge, fields_of, free_port, receipt_in  # noqa: E402
from rawhttp import Reader, metrics, reset  # noqa: E402
from tracing import Strace, roles, threads, wait_dead  # noqa: E402

ORDER = [("name", "Ada"), ("item", "tea")]
JSON = {"Accept": "application/json"}


def bridge_with(fronts=1, **form):
    admin = free_port()
    b = Bridge({"bridge": {"fronts": fronts, "admin_listen": f"127.0.0.1:{admin}", "drain_timeout": "5s"},
                "form order": {"once_window": "10m", **form}})
    b.admin = admin
    return b


@pytest.fixture
def bridge():
    with bridge_with() as b:
        yield b


def connect(bridge, source="127.0.0.1"):
    raw = socket.create_connection(("127.0.0.1", bridge.port), PATIENCE, (source, 0))
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return bridge.context().wrap_socket(raw, server_hostname="localhost")


def connect_each(bridge, fronts):
    """A connection to each: while the others are stopped, it takes what comes."""
    connections = []
    for wanted in fronts:
        others = [pid for pid in fronts if pid != wanted]
        for pid in others:
            os.kill(pid, signal.SIGSTOP)
        try:
            connections.append(connect(bridge))
        finally:
            for pid in others:
                os.kill(pid, signal.SIGCONT)
    return connections


def request(fields=ORDER, **headers):
    body = urllib.parse.urlencode(fields).encode()
    lines = {"Host": "localhost", "Content-Type": "application/x-www-form-urlencoded", "Content-Length": len(body),
             "Accept": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"POST /f/order HTTP/1.1\r\n{head}\r\n".encode() + body


def post(bridge, fields=ORDER, source="127.0.0.1", **headers):
    with connect(bridge, source) as c:
        c.sendall(request(fields, **headers))
        return Reader(c).answer()


def ref_of(answer):
    assert answer is not None and answer.status == 200, answer
    return json.loads(answer.body)["id"]


def replayed(answer):
    return answer.headers.get("idempotent-replayed") == "true"


def mails_when_idle(bridge):
    """All mails, once nothing waits for delivery."""
    bridge.wait_until(lambda: not bridge.queue(), "empty queue")
    return bridge.mails()


def commit_thread(bridge, front=0):
    """The one that stores: it is there from the start."""
    return threads(roles(bridge)["front"][front])[1]


@contextlib.contextmanager
def tampered(bridge, *options, front=0):
    with Strace(roles(bridge)["front"][front], *options, thread=commit_thread(bridge, front)) as trace:
        yield trace


def slow_disk(milliseconds=400):
    return "-e", "trace=fsync", "-e", f"inject=fsync:delay_enter={milliseconds * 1000}:when=1"


# ---- at the same time


def test_a_double_click_that_reaches_two_fronts_is_one_mail():
    with bridge_with(fronts=2) as b:
        fronts = roles(b)["front"]
        connections = [c for _ in range(3) for c in connect_each(b, fronts)]
        with tampered(b, *slow_disk(), front=0), tampered(b, *slow_disk(), front=1):
            for c in connections:
                c.sendall(request())
            answers = [Reader(c).answer() for c in connections]
        for c in connections:
            c.close()
        assert len({ref_of(a) for a in answers}) == 1
        assert sum(not replayed(a) for a in answers) == 1, "one of them is the first"
        assert len({a.body for a in answers}) == 1
        assert len(mails_when_idle(b)) == 1
        counted = metrics(b.admin)
        assert counted["submissions_committed_total"] == 1 and counted["submissions_repeated_total"] == 5


def test_whoever_waited_for_one_that_failed_is_stored_in_its_place(bridge):
    with tampered(bridge, "-e", "trace=renameat2", "-e", "inject=renameat2:delay_enter=400000:when=1"):
        with connect(bridge) as first, connect(bridge) as second:
            first.sendall(request())
            drafts = bridge.spool / "tmp"
            bridge.wait_until(lambda: list(drafts.iterdir()), "draft of the first")
            second.sendall(request())
            time.sleep(0.1)
            for draft in drafts.iterdir():
                draft.unlink()  # the rename fails
            assert Reader(first).answer().status == 503
            answer = Reader(second).answer()
    ref = ref_of(answer)
    assert not replayed(answer)
    (mail,) = mails_when_idle(bridge)
    assert ref in mail["Subject"]


def test_a_visitor_who_left_and_retries_while_the_first_is_being_stored_makes_one_mail(bridge):
    with tampered(bridge, *slow_disk()):
        gone = connect(bridge)
        gone.sendall(request())
        time.sleep(0.1)
        reset(gone)
        answer = post(bridge)
    assert replayed(answer)
    (mail,) = mails_when_idle(bridge)
    assert ref_of(answer) in mail["Subject"]


def test_a_visitor_who_leaves_while_waiting_takes_nothing_along(bridge):
    with tampered(bridge, *slow_disk()):
        with connect(bridge) as first:
            first.sendall(request())
            time.sleep(0.1)
            waiting = connect(bridge)
            waiting.sendall(request())
            time.sleep(0.1)
            reset(waiting)
            ref = ref_of(Reader(first).answer())
    assert ref_of(post(bridge)) == ref
    assert len(mails_when_idle(bridge)) == 1


def test_a_reload_in_the_middle_does_not_make_a_second_mail(bridge):
    with tampered(bridge, *slow_disk(1500)):
        with connect(bridge) as first:
            first.sendall(request())
            time.sleep(0.1)
            bridge.process.send_signal(signal.SIGHUP)
            bridge.wait_for_log("reloaded: ")
            second = post(bridge)  # with the new set of fronts, while the old one is still at work
            assert replayed(second)
            assert ref_of(second) == ref_of(Reader(first).answer())
    assert len(mails_when_idle(bridge)) == 1


def test_a_stop_answers_those_who_wait(bridge):
    with tampered(bridge, *slow_disk()), connect(bridge) as first, connect(bridge) as second:
        first.sendall(request())
        second.sendall(request())
        time.sleep(0.1)
        bridge.process.send_signal(signal.SIGTERM)
        assert ref_of(Reader(first).answer()) == ref_of(Reader(second).answer())


def test_a_front_that_hangs_does_not_keep_another_from_ending():
    with bridge_with(fronts=2) as b:
        b.config["bridge"]["drain_timeout"] = "1s"
        b.write_config()
        b.process.send_signal(signal.SIGHUP)
        b.wait_for_log("reloaded: ")
        b.wait_until(lambda: len(b.named("front")) == 2, "two fronts")
        hanging, other = b.named("front")
        first, second = connect_each(b, [hanging, other])
        with Strace(hanging, *slow_disk(300), thread=threads(hanging)[1]):
            first.sendall(request())
            time.sleep(0.1)
            os.kill(hanging, signal.SIGSTOP)
        try:
            second.sendall(request())
            time.sleep(0.1)
            b.process.send_signal(signal.SIGTERM)
            assert wait_dead(other, PATIENCE), "it waits for the first for ever"
        finally:
            os.kill(hanging, signal.SIGCONT)
            first.close(), second.close()


# ---- one after the other


@pytest.mark.parametrize("success", [None, "https://www.example.com/thanks.html"])
@pytest.mark.parametrize("headers", [{}, JSON])
def test_a_repeat_is_answered_as_the_first_was(success, headers):
    with bridge_with(success=success) as b:
        first = b.post(ORDER, headers=headers)
        second = b.post(ORDER, headers=headers)
        assert first[0] == second[0] == (303 if success and not headers else 200)
        assert first[2] == second[2], "not the same page"
        assert "Idempotent-Replayed" not in first[1] and second[1].pop("Idempotent-Replayed") == "true"
        first[1].pop("Date"), second[1].pop("Date")
        assert first[1] == second[1]
        (mail,) = mails_when_idle(b)
        assert receipt_in(second[2]) in mail["Subject"]
        assert f"repeat of {receipt_in(second[2])} (form order)" in b.log()


def test_the_same_order_after_the_window_is_a_second_mail():
    with bridge_with(once_window="1s") as b:
        first = ref_of(post(b))
        time.sleep(2)
        second = post(b)
        assert ref_of(second) != first and not replayed(second)
        assert len(b.mails(2)) == 2


def test_without_a_window_each_post_is_a_mail():
    with bridge_with(once_window="0") as b:
        assert ref_of(post(b, Idempotency_Key="k")) != ref_of(post(b, Idempotency_Key="k"))
        assert len(b.mails(2)) == 2


def test_other_visitors_with_the_same_content_are_mails_of_their_own(bridge):
    refs = {ref_of(post(bridge)), ref_of(post(bridge, source="127.0.0.2")), ref_of(post(bridge, User_Agent="Firefox")),
            ref_of(post(bridge, ORDER[::-1])), ref_of(post(bridge, ORDER + [("item", "tea")]))}
    assert len(refs) == 5
    assert len(bridge.mails(5)) == 5


def test_what_was_mended_is_no_repeat_of_what_was_sent_back(bridge):
    wrong = [("name", ""), ("item", "tea"), ("_nonce", "n")]
    assert post(bridge, wrong).status == 422 and post(bridge, wrong).status == 422
    answer = post(bridge, [("name", "Ada"), *wrong[1:]])
    assert ref_of(answer) and not replayed(answer)


def test_a_mended_reply_address_is_another_mail(bridge):
    wrong = ref_of(post(bridge, [*ORDER, ("_replyto", "ada@exampel.com")]))
    mended = ref_of(post(bridge, [*ORDER, ("_replyto", "ada@example.com")]))
    assert wrong != mended and bridge.mail(mended)["Reply-To"] == "ada@example.com"


def test_a_nonce_stands_for_the_visitor_and_stays_out_of_the_mail(bridge):
    ref = ref_of(post(bridge, [*ORDER, ("_nonce", "a1")]))
    assert ref_of(post(bridge, [*ORDER, ("_nonce", "a1")], source="127.0.0.2", User_Agent="other")) == ref
    assert ref_of(post(bridge, [*ORDER, ("_nonce", "a2")])) != ref
    for mail in bridge.mails(2):
        assert fields_of(mail) == ORDER


# ---- Idempotency-Key


def test_the_same_key_is_the_same_submission_wherever_it_comes_from(bridge):
    ref = ref_of(post(bridge, Idempotency_Key='"8e03978e-40d5-43e8"'))
    again = post(bridge, source="127.0.0.2", User_Agent="other", Idempotency_Key="8e03978e-40d5-43e8")
    assert ref_of(again) == ref and replayed(again)
    assert ref_of(post(bridge, Idempotency_Key="another")) != ref
    assert len(bridge.mails(2)) == 2


def test_a_key_with_other_content_is_refused_and_nothing_is_stored(bridge):
    ref = ref_of(post(bridge, Idempotency_Key="k"))
    answer = post(bridge, [("name", "Bob")], Idempotency_Key="k")
    assert answer.status == 422 and not replayed(answer)
    assert [e["code"] for e in json.loads(answer.body)["errors"]] == ["IDEMPOTENCY_KEY_REUSED"]
    page = post(bridge, [("name", "Bob")], Idempotency_Key="k", Accept="text/html")
    assert page.status == 422 and b"came with another content before" in page.body and b"Bob" not in page.body
    assert ref_of(post(bridge, Idempotency_Key="k")) == ref
    assert len(mails_when_idle(bridge)) == 1


@pytest.mark.parametrize("key", ['""', "a b", '"a" "b"', "x" * 256, "k;v=1"])
def test_a_key_that_is_none_is_refused(bridge, key):
    answer = post(bridge, Idempotency_Key=key)
    assert answer.status == 400
    assert [e["code"] for e in json.loads(answer.body)["errors"]] == ["IDEMPOTENCY_KEY_INVALID"]
    assert not bridge.queue() and not bridge.mail_files()


# ---- over restarts, reloads and deaths


def test_a_restart_remembers(bridge):
    refs = [ref_of(post(bridge, [("name", str(i))])) for i in range(3)]
    bridge.stop()
    bridge.start()
    assert [ref_of(post(bridge, [("name", str(i))])) for i in range(3)] == refs
    bridge.process.send_signal(signal.SIGHUP)
    bridge.wait_for_log("reloaded: ")
    assert ref_of(post(bridge, [("name", "1")])) == refs[1]
    assert len(mails_when_idle(bridge)) == 3


def kill_all(bridge):
    bridge.process.send_signal(signal.SIGSTOP)  # or it replaces a role that nobody then knows of
    for pid in [bridge.process.pid, *bridge.roles()]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    bridge.process.wait()
    bridge.process = None
    bridge.log_size = len(bridge.log())


def test_all_processes_killed_after_the_answer_still_remember(bridge):
    ref = ref_of(post(bridge))
    kill_all(bridge)
    bridge.start()
    answer = post(bridge)
    assert ref_of(answer) == ref and replayed(answer)
    assert len(mails_when_idle(bridge)) == 1


# The commit thread's calls on its way, each killed on entry: before anything is there, with a draft in tmp/, after the
# rename, after it is durable, after others are told.
POINTS = [("pwrite64", 1), ("openat", 1), ("fsync", 1), ("renameat2", 1), ("fsync", 2), ("pwrite64", 2), ("write", 2)]


def post_and_die(bridge, call, k):
    """A post that a killed front does not answer."""
    front = roles(bridge)["front"][0]
    with tampered(bridge, "-e", f"trace={call}", "-e", f"inject={call}:signal=SIGKILL:when={k}"):
        with connect(bridge) as c, contextlib.suppress(OSError):
            c.sendall(request())
            assert Reader(c).answer() is None
        assert wait_dead(front, PATIENCE), f"{call} {k} was not reached"


@pytest.mark.parametrize("call,k", POINTS)
def test_a_retry_after_a_front_was_killed_makes_one_mail(bridge, call, k):
    post_and_die(bridge, call, k)
    bridge.wait_until(lambda: bridge.named("front"), "new front")
    ref = ref_of(post(bridge))
    assert ref_of(post(bridge)) == ref
    (mail,) = mails_when_idle(bridge)
    assert ref in mail["Subject"]
    assert not [p for p in (bridge.spool / "tmp").iterdir() if ref in p.name], "its draft was left"


@pytest.mark.parametrize("call,k", POINTS)
def test_a_retry_after_everything_was_killed_makes_one_mail(bridge, call, k):
    post_and_die(bridge, call, k)
    kill_all(bridge)
    bridge.start()
    ref = ref_of(post(bridge))
    (mail,) = mails_when_idle(bridge)
    assert ref in mail["Subject"]


def test_a_front_killed_in_the_middle_does_not_block_those_who_wait():
    with bridge_with(fronts=2) as b:
        fronts = roles(b)["front"]
        first, second = connect_each(b, fronts)
        with tampered(b, *slow_disk(600)):
            first.sendall(request())
            time.sleep(0.1)
            second.sendall(request())
            time.sleep(0.1)
            os.kill(fronts[0], signal.SIGKILL)
            ref = ref_of(Reader(second).answer())
        first.close(), second.close()
        assert ref_of(post(b)) == ref
        assert len(mails_when_idle(b)) == 1


# ---- the files


def test_a_journal_that_cannot_be_written_costs_no_submission(bridge):
    bridge.stop()
    (bridge.spool / "once" / "journal").unlink()
    (bridge.spool / "once" / "journal").mkdir()
    bridge.start()
    assert "a repeat that comes after a restart will be a second mail" in bridge.log()
    assert ref_of(post(bridge)) == ref_of(post(bridge))
    assert len(mails_when_idle(bridge)) == 1


def test_a_front_can_write_the_journal_and_read_neither_it_nor_the_key(bridge):
    post(bridge)
    assert (bridge.spool / "once" / "key").stat().st_mode & 0o777 == 0o600
    for pid in bridge.roles():
        opened = {}
        for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir():
            target = os.readlink(fd)
            if "/once/" in target:
                flags = re.search(r"flags:\s+(\d+)", pathlib.Path(f"/proc/{pid}/fdinfo/{fd.name}").read_text())[1]
                opened[pathlib.Path(target).name] = int(flags, 8) & os.O_ACCMODE
        assert opened == ({"journal": os.O_WRONLY} if pid in bridge.named("front") else {})


def test_the_journal_holds_nothing_that_was_sent(bridge):
    post(bridge, [("name", "Ada Lovelace"), ("email", "ada@example.com"), ("_nonce", "nonce-1")], Idempotency_Key="key-1")
    journal = (bridge.spool / "once" / "journal").read_bytes()
    assert len(journal) == 64
    for secret in (b"Ada", b"example", b"nonce", b"key-1", b"127.0"):
        assert secret not in journal
