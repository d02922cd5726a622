"""`formbridge queue`: what waits and what needs a person is seen and steered, beside a running bridge and without one."""

import json
import os
import pathlib
import pty
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "tools"))

from bridge import PROGRAM, Bridge, Clock, preload, receipt_in  # noqa: E402
from tracing import Strace, roles  # noqa: E402

HELD, USAGE, DATAERR, TEMPFAIL = 1, 64, 65, 75
UNIT = "s", "m", "h", "d"


def queue(bridge, *words, code=0):
    done = subprocess.run([PROGRAM, "-c", bridge.dir / "config.ini", "queue", *words], capture_output=True, text=True)
    assert done.returncode == code, (words, done)
    return done


def listed(bridge, code=0):
    return json.loads(queue(bridge, "list", "--json", code=code).stdout)


def tried(bridge):
    """For each target of the one message: how often."""
    return [(t["target"], t["tries"]) for t in listed(bridge)[0]["targets"]]


def on_a_terminal(bridge, *words):
    primary, terminal = pty.openpty()
    done = subprocess.run([PROGRAM, "-c", bridge.dir / "config.ini", "queue", *words], stdout=terminal)
    os.close(terminal)
    text = b""
    try:
        while piece := os.read(primary, 65536):  # the last piece may come after the program has ended
            text += piece
    except OSError:  # EIO: all is read, and nobody has the other end
        pass
    os.close(primary)
    return done.returncode, text.decode().replace("\r\n", "\n")


def post(bridge, form="order"):
    status, _, page = bridge.post([("name", "Ada")], form)
    assert status == 200
    return receipt_in(page)


class Host:
    """An LMTP server that answers RCPT as it is told, and counts what it took. share: so many messages it takes by one
    connection, and ends that at the next."""

    def __init__(self, path):
        self.share, self.answers = None, {}
        self.answer, self.taken, self.gate = b"451 4.3.0 later\r\n", [], threading.Event()
        self.gate.set()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        os.chmod(path, 0o666)
        self.listener.listen()
        self.in_data = threading.Event()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with connection, connection.makefile("rwb") as f:
            def say(line):
                f.write(line)
                f.flush()
            say(b"220 mail.example.com LMTP\r\n")
            left = self.share
            for line in f:
                verb = line[:4].upper()
                if verb == b"MAIL" and left is not None:
                    if left == 0:
                        say(b"421 4.7.0 too many messages by this connection\r\n")
                        return
                    left -= 1
                if verb == b"MAIL":
                    accepted = 0
                if verb == b"RCPT":
                    answer = self.answers.get(line[line.find(b"<") + 1:line.find(b">")].decode(), self.answer)
                    accepted += answer.startswith(b"2")
                    say(answer)
                elif verb == b"DATA":
                    say(b"354 go on\r\n")
                    message = b""
                    for text in f:
                        if text == b".\r\n":
                            break
                        message += text
                    self.in_data.set()
                    self.gate.wait(20)
                    self.taken.append(re.search(rb"X-Formbridge-Ref: (\S+)", message)[1].decode())
                    self.accepted = accepted
                    say(b"250 2.0.0 taken\r\n" * accepted)
                elif verb == b"QUIT":
                    say(b"221 bye\r\n")
                    return
                else:
                    say(b"250 ok\r\n")

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@pytest.fixture
def host():
    directory = pathlib.Path(tempfile.mkdtemp(prefix="fbq"))
    h = Host(directory / "lmtp")
    h.path = directory / "lmtp"
    yield h
    h.close()
    shutil.rmtree(directory)


@pytest.fixture
def waiting(host):
    """A bridge whose host puts everything off, and the receipt of a message that was tried once."""
    config = {"bridge": {"retry_min": "1h", "retry_max": "1h"}, "form order": {"deliver": f"lmtp:{host.path}"}}
    with Bridge(config) as bridge:
        receipt = post(bridge)
        bridge.wait_until(lambda: tried(bridge) == [(f"lmtp:{host.path}", 1)], "note of the first try")
        yield bridge, receipt


# ---- seen


def test_an_empty_queue_says_so(bridge):
    assert queue(bridge).stdout == ""
    assert listed(bridge) == []
    assert on_a_terminal(bridge) == (0, "Nothing waits.\n")


def test_the_list_says_where_each_message_waits_and_why(waiting, host):
    bridge, receipt = waiting
    (line,) = queue(bridge).stdout.splitlines()
    ref, state, age, form, size, tries, target, reason = line.split("\t")
    assert (ref, state, form, tries, target) == (receipt, "queued", "order", "1", f"lmtp:{host.path}")
    assert age[-1] in UNIT and int(age[:-1]) < 60
    assert int(size) == next((bridge.spool / "queue").glob(f"*{receipt}.order")).stat().st_size
    assert "answered RCPT TO with: 451 4.3.0 later" in reason
    assert queue(bridge, "list").stdout.split("\t")[0] == receipt


def test_the_list_is_aligned_on_a_terminal(waiting):
    bridge, receipt = waiting
    code, text = on_a_terminal(bridge)
    head, line, end = text.splitlines()
    assert code == 0 and head.startswith("RECEIPT ") and line.startswith(receipt) and end == "1 wait, 0 need a person."
    assert head.index("WHERE, WHY") == line.index("lmtp:")
    assert "\t" not in text


def test_the_list_is_json_for_programs(waiting, host):
    bridge, receipt = waiting
    (entry,) = listed(bridge)
    assert entry["id"] == receipt and entry["form"] == "order" and entry["state"] == "queued" and entry["held"] is None
    assert abs(entry["time"] - time.time()) < 60
    (target,) = entry["targets"]
    assert target["target"] == f"lmtp:{host.path}" and target["tries"] == 1 and not target["done"]
    assert 2000 < target["next_try"] - time.time() <= 3600
    assert json.loads(queue(bridge, "--json").stdout) == [entry]


def test_one_message_is_shown_with_its_mail(waiting):
    bridge, receipt = waiting
    shown = queue(bridge, "show", receipt).stdout
    assert f"receipt: {receipt}\nform: order\nstate: queued\nfile: queue/" in shown
    assert re.search(r"451 4\.3\.0 later \(1 try, the next in \d+m\)\n", shown)
    assert "\nFrom: website@example.com\n" in shown and "\nname: Ada\n" in shown


def test_what_a_host_says_does_nothing_to_a_terminal(bridge):
    name = "20260101T000000Z.7K2M-Q9XD-4TRW.order"
    bridge.stop()
    (bridge.spool / "held" / name).write_bytes(b"Subject: \x1b[2Jx\n\n\x9b2J\n")
    (bridge.spool / "held" / f"{name}.state").write_bytes(
        b"formbridge-state 1\nheld \xc2\x9b2J \xff\ntarget main\nfailed \xc2\x9b2J \xff\n")
    for words in (["list"], ["show", "7K2M-Q9XD-4TRW"]):
        done = subprocess.run([PROGRAM, "-c", bridge.dir / "config.ini", "queue", *words], capture_output=True)
        assert set(done.stdout) <= set(range(0x20, 0x7F)) | {9, 10}
    assert listed(bridge, HELD)[0]["held"]


# ---- receipts


def test_a_receipt_may_be_typed_as_it_was_read_out(waiting):
    bridge, receipt = waiting
    plain = receipt.replace("-", "")
    name = bridge.queue()[0]
    for said in (receipt.lower(), plain, plain.replace("0", "o").replace("1", "l"), receipt[:6], plain[:4], name):
        assert f"receipt: {receipt}\n" in queue(bridge, "show", said).stdout


def test_a_wrong_receipt_touches_nothing(waiting):
    bridge, receipt = waiting
    for said in ("AAAA-AAAA-AAAA", "", "-", receipt[:3], receipt + "0", "../queue", receipt + "/", "*"):
        words = "no message with the receipt" if len(said) > 3 else f"{said} is too little: give 4 letters of the receipt"
        for verb in ("show", "hold", "release", "drop"):
            assert words in queue(bridge, verb, said, code=DATAERR).stderr
    assert listed(bridge)[0]["id"] == receipt


def test_a_receipt_that_stands_for_two_touches_neither(bridge):
    bridge.stop()
    names = ["20260101T000000Z.7K2M-Q9XD-4TRW.order", "20260101T000001Z.7K2M-Q9XD-4TRX.order"]
    for name in names:
        (bridge.spool / "held" / name).write_bytes(b"Subject: x\n\nx\n")
    assert "several" in queue(bridge, "drop", "7k2m", code=DATAERR).stderr
    assert sorted(p.name for p in (bridge.spool / "held").iterdir()) == names
    queue(bridge, "drop", "7k2mq9xd4trw")
    assert [p.name for p in (bridge.spool / "held").iterdir()] == names[1:]


@pytest.mark.parametrize("words", [["shw", "X"], ["show"], ["show", "A", "B"], ["hold"], ["drop"], ["flush", "X"], ["list", "X"], ["--jso"],
                                   ["flush", "--json"], ["drop", "--json"], ["list", "--json", "--json"]])
def test_wrong_words_are_a_usage_error(bridge, words):
    assert "show ID" in queue(bridge, *words, code=USAGE).stderr


# ---- steered


def test_flush_tries_at_once_what_waits(waiting, host):
    bridge, receipt = waiting
    host.answer = b"250 2.1.5 ok\r\n"
    queue(bridge, "flush")
    bridge.wait_until(lambda: host.taken == [receipt] and bridge.queue() == [], "delivery")


def test_flush_says_when_nobody_runs(bridge):
    bridge.stop()
    assert "when it starts" in queue(bridge, "flush", code=TEMPFAIL).stderr


@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_held_mail_rests_until_it_is_released(waiting, host, running):
    bridge, receipt = waiting
    if not running:
        bridge.stop()
    queue(bridge, "hold", receipt)
    assert "is held already" in queue(bridge, "hold", receipt).stderr
    (entry,) = listed(bridge, HELD)
    assert entry["state"] == "held" and entry["held"] == "held by a person"
    assert queue(bridge, code=HELD).stdout.split("\t")[:2] == [receipt, "held"]
    assert on_a_terminal(bridge)[1].endswith("0 wait, 1 need a person.\n")
    shown = queue(bridge, "show", receipt).stdout
    assert "451 4.3.0 later (1 try)\n" in shown and "the next in" not in shown
    assert bridge.queue() == []
    host.answer = b"250 2.1.5 ok\r\n"
    if running:
        queue(bridge, "flush")
        time.sleep(0.5)
        assert host.taken == []
    queue(bridge, "release", receipt)
    if not running:
        assert "is not held" in queue(bridge, "release", receipt).stderr
        bridge.start()
    bridge.wait_until(lambda: host.taken == [receipt] and bridge.queue() == [], "delivery")
    assert listed(bridge) == []
    assert list((bridge.spool / "held").iterdir()) == []


@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
@pytest.mark.parametrize("held", [True, False], ids=["held", "queued"])
def test_only_drop_deletes(waiting, host, running, held):
    bridge, receipt = waiting
    if not running:
        bridge.stop()
    if held:
        queue(bridge, "hold", receipt)
    assert f"{receipt} (form order) is deleted" in queue(bridge, "drop", receipt).stdout
    assert listed(bridge) == []
    queue(bridge, "drop", receipt, code=DATAERR)
    host.answer = b"250 2.1.5 ok\r\n"
    if running:
        queue(bridge, "flush")
        second = post(bridge)
        bridge.wait_until(lambda: host.taken == [second], "delivery of the next one")
    assert not list((bridge.spool / "held").iterdir())


def test_a_refused_message_is_held_and_the_list_says_why(waiting, host):
    bridge, receipt = waiting
    host.answer = b"550 5.1.1 nobody here\r\n"
    queue(bridge, "flush")
    bridge.wait_for_log(f"held {receipt}")
    (entry,) = listed(bridge, HELD)
    assert "550 5.1.1 nobody here" in entry["held"] and "550 5.1.1" in entry["targets"][0]["reason"]
    assert entry["held"].startswith("owner@example.com: ")  # which of several it is
    assert entry["targets"][0]["tries"] == 2  # the one that was refused is one, too
    line = queue(bridge, code=HELD).stdout
    assert f"lmtp:{host.path}\t" in line and "550 5.1.1 nobody here" in line
    host.answer = b"250 2.1.5 ok\r\n"
    queue(bridge, "release", receipt)
    bridge.wait_until(lambda: host.taken == [receipt] and bridge.queue() == [], "delivery")


def test_several_are_steered_at_once_and_the_log_says_what_a_person_did(waiting, host):
    bridge, first = waiting
    others = [post(bridge) for _ in range(3)]
    bridge.wait_for_log("deferred ", count=4)
    done = queue(bridge, "hold", first, "AAAA-AAAA-AAAA", others[0], code=DATAERR)
    assert "no message with the receipt AAAA-AAAA-AAAA" in done.stderr
    assert [e["id"] for e in listed(bridge, HELD) if e["state"] == "held"] == sorted([first, others[0]], key=lambda r: [
        e["id"] for e in listed(bridge, HELD)].index(r))
    assert all(t["next_try"] == 0 for e in listed(bridge, HELD) if e["state"] == "held" for t in e["targets"])
    queue(bridge, "drop", others[1], others[2])
    queue(bridge, "flush")
    for receipt, word in ((first, "held"), (others[0], "held"), (others[1], "dropped"), (others[2], "dropped")):
        bridge.wait_for_log(f"{receipt} (form order) was {word} by a person")
    host.answer = b"250 2.1.5 ok\r\n"
    queue(bridge, "release", first, others[0])
    bridge.wait_until(lambda: sorted(host.taken) == sorted([first, others[0]]) and bridge.queue() == [], "delivery")


def test_who_steered_stands_in_the_system_log(waiting):
    """What is dropped out of held/ is told of nowhere else; and who it was matters."""
    bridge, receipt = waiting
    preload(bridge, "syslog", SYSLOG_FILE=str(bridge.dir / "syslog"))
    for sudo, verb in (("1234", "hold"), ("", "release"), ("77x", "hold"), ("1234", "drop")):
        subprocess.run([PROGRAM, "-c", bridge.dir / "config.ini", "queue", verb, receipt], check=True, capture_output=True,
                       env=bridge.environment() | ({"SUDO_UID": sudo} if sudo else {}))
    us = os.getuid()
    by = [1234, us, us, 1234] if us == 0 else [us] * 4
    assert (bridge.dir / "syslog").read_text().splitlines() == [
        f"<21>{receipt} (form order) was {what} by user {who} of this machine"
        for what, who in zip(("held", "released", "held", "dropped"), by)]


def test_a_spool_that_is_not_there_is_said_and_not_made(bridge):
    bridge.stop()
    bridge.config["bridge"]["spool"] = bridge.dir / "mistyped"
    bridge.write_config()
    done = queue(bridge, code=66)
    assert f"there is no spool {bridge.dir}/mistyped: nothing was ever accepted there" in done.stderr
    assert not (bridge.dir / "mistyped").exists()


# ---- beside the courier


def test_holding_what_is_being_delivered_breaks_nothing(waiting, host):
    bridge, receipt = waiting
    host.answer = b"250 2.1.5 ok\r\n"
    host.gate.clear()
    queue(bridge, "flush")
    assert host.in_data.wait(10)
    queue(bridge, "hold", receipt)
    host.gate.set()
    bridge.wait_until(lambda: host.taken == [receipt], "delivery")
    bridge.wait_for_log(f"{receipt} (form order) was taken out of the queue")
    assert [e["state"] for e in listed(bridge, HELD)] == ["held"]
    queue(bridge, "drop", receipt)
    second = post(bridge)
    bridge.wait_until(lambda: host.taken == [receipt, second], "delivery of the next one")


def test_dropping_what_is_being_delivered_breaks_nothing(waiting, host):
    bridge, receipt = waiting
    host.answer = b"250 2.1.5 ok\r\n"
    host.gate.clear()
    queue(bridge, "flush")
    assert host.in_data.wait(10)
    queue(bridge, "drop", receipt)
    host.gate.set()
    bridge.wait_until(lambda: host.taken == [receipt], "delivery")
    second = post(bridge)
    bridge.wait_until(lambda: host.taken == [receipt, second], "delivery of the next one")
    bridge.wait_until(lambda: listed(bridge) == [], "an empty queue")


def test_steering_under_load_loses_nothing(host):
    """Holds and releases race with deliveries; in the end every receipt was delivered, and nothing is left."""
    host.answer = b"250 2.1.5 ok\r\n"
    config = {"bridge": {"retry_min": "1s", "retry_max": "1s"}, "form order": {"deliver": f"lmtp:{host.path}"}}
    with Bridge(config) as bridge:
        receipts, errors = [], []

        def steer():
            while not stop.is_set():
                for verb, state in (("hold", "queued"), ("release", "held")):
                    out = subprocess.run([PROGRAM, "-c", bridge.dir / "config.ini", "queue", "--json"],
                                         capture_output=True, text=True)
                    for entry in json.loads(out.stdout):
                        if entry["state"] == state:
                            done = subprocess.run(
                                [PROGRAM, "-c", bridge.dir / "config.ini", "queue", verb, entry["id"]],
                                capture_output=True, text=True)
                            if done.returncode not in (0, DATAERR, 74):
                                errors.append(done)

        stop = threading.Event()
        thread = threading.Thread(target=steer)
        thread.start()
        try:
            client = bridge.client()
            for _ in range(150):
                status, _, page = bridge.post([("name", "Ada")], client=client)
                assert status == 200
                receipts.append(receipt_in(page))
                time.sleep(0.01)
        finally:
            stop.set()
            thread.join()
        assert not errors
        for entry in listed_any(bridge):
            if entry["state"] == "held":
                queue(bridge, "release", entry["id"])
        bridge.wait_until(lambda: not [e for e in listed_any(bridge)], "an empty queue", 30)
        assert set(receipts) == set(host.taken)
        print(f"{len(receipts)} receipts, {len(host.taken) - len(receipts)} delivered twice because they were held meanwhile")


def listed_any(bridge):
    done = subprocess.run([PROGRAM, "-c", bridge.dir / "config.ini", "queue", "--json"], capture_output=True, text=True)
    assert done.returncode in (0, HELD)
    return json.loads(done.stdout)


# ---- across changes


def reload(bridge):
    since = len(bridge.log())
    bridge.process.send_signal(signal.SIGHUP)
    bridge.wait_for_log("reloaded: ", since=since)


def test_waiting_mail_survives_a_restart(waiting, host):
    bridge, receipt = waiting
    bridge.stop()
    (before,) = listed(bridge)
    bridge.start()
    (after,) = listed(bridge)
    assert before == after and after["targets"][0]["tries"] == 1
    host.answer = b"250 2.1.5 ok\r\n"
    queue(bridge, "flush")
    bridge.wait_until(lambda: host.taken == [receipt], "delivery")


def test_mail_of_a_form_that_is_gone_is_held_until_it_is_back(waiting, host):
    bridge, receipt = waiting
    bridge.config["form booking"] = bridge.config.pop("form order")
    bridge.write_config()
    (line,) = queue(bridge).stdout.splitlines()
    assert "nothing in the config says where it goes" in line
    reload(bridge)
    bridge.wait_for_log(f"held {receipt}")
    (entry,) = listed(bridge, HELD)
    assert "the config has no [form order]" in entry["held"]
    assert "the config has no [form order]" in queue(bridge, code=HELD).stdout
    queue(bridge, "release", receipt)
    bridge.wait_for_log(f"held {receipt}", count=2)
    host.answer = b"250 2.1.5 ok\r\n"
    bridge.config["form order"] = bridge.config["form booking"]
    bridge.write_config()
    reload(bridge)
    queue(bridge, "release", receipt)
    bridge.wait_until(lambda: host.taken == [receipt] and bridge.queue() == [], "delivery")


def test_mail_follows_a_mail_host_that_was_renamed(host):
    """What waits for the old name goes to the new one, and the list does not speak of the old one any more."""
    secret = {"server": "localhost:1", "trust": None}
    config = {"bridge": {"retry_min": "1h", "retry_max": "1h"}, "mailhost old": secret, "form order": {"deliver": "old"}}
    with Bridge(config, start=False) as bridge:
        secret["trust"] = bridge.dir / "cert.pem"
        bridge.config["mailhost old"]["trust"] = bridge.dir / "cert.pem"
        bridge.write_config()
        bridge.start()
        receipt = post(bridge)
        bridge.wait_for_log(f"deferred {receipt} (form order) to old")
        del bridge.config["mailhost old"]
        bridge.config["mailhost new"] = secret
        bridge.config["form order"]["deliver"] = "new"
        bridge.write_config()
        assert tried(bridge) == [("new", 0)]
        reload(bridge)
        bridge.wait_until(lambda: tried(bridge) == [("new", 1)], "note of a try for the new name")
        bridge.config["form order"]["deliver"] = f"maildir:{bridge.maildir}"
        bridge.write_config()
        reload(bridge)
        assert bridge.mail(receipt)["To"] == "owner@example.com"
        bridge.wait_until(lambda: bridge.queue() == [], "an empty queue")


# ---- rights


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_a_recipient_that_the_config_no_longer_names_holds_nothing(host):
    """It was mistyped, and refused for that; now it is right, and everyone has the mail."""
    host.answer = b"250 ok\r\n"
    host.answers = {"owner@example.com": b"451 4.3.0 later\r\n", "typo@example.com": b"550 5.1.1 no such user\r\n"}
    config = {"bridge": {"retry_min": "2s", "retry_max": "2s"},
              "form order": {"deliver": f"lmtp:{host.path}", "to": "owner@example.com typo@example.com"}}
    with Bridge(config) as bridge:
        receipt = post(bridge)
        bridge.wait_for_log(f"refused {receipt} (form order) to typo@example.com")
        assert f"given {receipt}" not in bridge.log()
        bridge.config["form order"]["to"] = "owner@example.com right@example.com"
        bridge.write_config()
        bridge.process.send_signal(signal.SIGHUP)
        bridge.wait_for_log("reloaded:")
        host.answers = {}
        bridge.wait_until(lambda: listed_any(bridge) == [], "an empty queue")
        assert receipt in host.taken and f"held {receipt}" not in bridge.log()


def test_a_host_that_takes_few_messages_by_a_connection_gets_all_at_once(host):
    """Its 421 at the next MAIL speaks for the connection, not for the host (RFC 5321 3.8)."""
    host.share, host.answer = 0, b"250 ok\r\n" # not even a new connection is good for one: then it is the host
    with Bridge({"bridge": {"retry_min": "1h", "retry_max": "1h"}, "form order": {"deliver": f"lmtp:{host.path}"}}) as bridge:
        receipts = [post(bridge)]
        bridge.wait_until(lambda: tried(bridge) == [(f"lmtp:{host.path}", 1)], "note of the first try")
        assert f"deferred {receipts[0]}" in bridge.log() and "421 4.7.0 too many" in bridge.log()
        host.share = 2
        host.gate.clear()
        assert queue(bridge, "flush").returncode == 0
        receipts += [post(bridge) for _ in range(8)]
        host.gate.set()
        bridge.wait_until(lambda: listed_any(bridge) == [], "an empty queue")
        assert sorted(host.taken) == sorted(receipts) and bridge.log().count("deferred") == 1


def test_new_mail_finds_out_at_once_whether_its_host_works_again(host):
    """The waits between looks at a host that fails grow; that its last message was put off may be that one's trouble."""
    aside = host.path.with_name("aside")
    host.path.rename(aside)
    host.answer = b"250 ok\r\n"
    with Bridge({"bridge": {"retry_min": "1s", "retry_max": "1h"}, "form order": {"deliver": f"lmtp:{host.path}"}}) as bridge:
        first = post(bridge)
        bridge.wait_for_log("try 4,", seconds=20)
        aside.rename(host.path)
        time.sleep(1)
        started = time.monotonic()
        second = post(bridge)
        bridge.wait_until(lambda: sorted(host.taken) == sorted([first, second]), "both")
        assert time.monotonic() - started < 3 # by itself it would look after five seconds or more


def test_a_read_that_fails_for_a_moment_costs_nothing_of_what_the_state_remembers(host):
    host.answer = b"250 ok\r\n"
    host.answers = {"later@example.com": b"451 4.3.0 later\r\n"}
    config = {"bridge": {"retry_min": "1h", "retry_max": "1h"},
              "form order": {"deliver": f"lmtp:{host.path}", "to": "owner@example.com later@example.com"}}
    with Bridge(config) as bridge:
        receipt = post(bridge)
        bridge.wait_until(lambda: tried(bridge) == [(f"lmtp:{host.path}", 1)], "note of the first try")
        assert host.taken == [receipt]
        assert f"given {receipt} (form order) to owner@example.com by lmtp:{host.path}: " in bridge.log()
        host.answers = {}
        state = next(p for p in (bridge.spool / "queue").iterdir() if p.name.endswith(".state"))
        with Strace(roles(bridge)["courier"], "-P", state, "-e", "trace=read", "-e", "inject=read:error=EIO:when=1..2:syscall=getpid"):
            assert queue(bridge, "flush").returncode == 0
            bridge.wait_until(lambda: listed_any(bridge) == [], "an empty queue")
        assert host.taken == [receipt, receipt] and host.accepted == 1, "the second time for one alone"
        assert "cannot be read" not in bridge.log()


def test_mail_of_a_time_when_the_clock_was_ahead_has_an_age_all_the_same(host):
    """Else nobody would hear of it until it is so late again."""
    config = {"bridge": {"retry_min": "1s", "retry_max": "1s", "max_age": "4s"}, "form order": {"deliver": f"lmtp:{host.path}"}}
    with Bridge(config, start=False) as bridge:
        clock = Clock(bridge)
        clock.set_ahead(20 * 86400)
        bridge.start()
        receipt = post(bridge)
        bridge.wait_for_log(f"deferred {receipt}")
        clock.set_ahead(0)
        bridge.stop() # and again after a restart
        bridge.start()
        bridge.wait_for_log(f"held {receipt}", seconds=20)


def test_files_stay_those_of_the_user_when_root_steers(host):
    config = {"bridge": {"user": "nobody", "retry_min": "1h", "retry_max": "1h"},
              "form order": {"deliver": f"lmtp:{host.path}"}}
    os.chmod(host.path.parent, 0o755)
    with Bridge(config, start=False) as bridge:
        os.chmod(bridge.dir, 0o711)
        bridge.start()
        receipt = post(bridge)
        bridge.wait_for_log(f"deferred {receipt}")
        queue(bridge, "hold", receipt)
        owner = pwd.getpwnam("nobody").pw_uid
        files = list((bridge.spool / "held").iterdir())
        assert len(files) == 2 and {p.stat().st_uid for p in files} == {owner}
        assert {p.stat().st_mode & 0o777 for p in files} == {0o600}
        queue(bridge, "release", receipt)
        host.answer = b"250 2.1.5 ok\r\n"
        queue(bridge, "flush")
        bridge.wait_until(lambda: host.taken == [receipt], "delivery")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_others_see_and_steer_nothing(bridge):
    os.chmod(bridge.dir, 0o711)
    os.chmod(bridge.dir / "config.ini", 0o644)
    done = subprocess.run([PROGRAM, "-c", bridge.dir / "config.ini", "queue"], capture_output=True, text=True,
                          preexec_fn=lambda: os.setuid(65534))
    assert done.returncode == 77 and done.stdout == "" and str(bridge.spool) in done.stderr
