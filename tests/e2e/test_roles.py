"""The processes: what each may do and holds, and what becomes of the service when one of them dies, or all are told to."""

import fcntl
import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time

import pytest

import bridge as harness
from bridge import PATIENCE, PROGRAM, Bridge, comm, free_port, make_certificate
from rawhttp import BODY, Reader, head, metrics, one, post, stored, strict

root_only = pytest.mark.usefixtures("as_root")


@pytest.fixture
def as_root():
    assert os.geteuid() == 0, "this test changes users: run it as root"


def wait(condition, what, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"no {what} within {seconds} s"
        time.sleep(0.02)


def alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def status(pid):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def descriptors(pid):
    found = {}
    for fd in os.listdir(f"/proc/{pid}/fd"):
        found[int(fd)] = os.readlink(f"/proc/{pid}/fd/{fd}")
    return found


# ---- narrowed --------------------------------------------------------------------------------------------------------------


def test_every_role_is_under_seccomp_and_may_gain_nothing(bridge):
    names = [comm(p) for p in bridge.roles()]
    assert sorted(set(names)) == ["fb-courier", "fb-front", "fb-signer"]
    for pid in bridge.roles():
        for task in os.listdir(f"/proc/{pid}/task"):
            s = status(f"{pid}/task/{task}")
            assert (s["Seccomp"], s["NoNewPrivs"]) == ("2", "1"), (comm(pid), s)


def test_no_role_holds_what_is_not_its_own(bridge):
    kinds = {}
    for pid in bridge.roles():
        held = descriptors(pid)
        kinds[comm(pid)] = [held[fd] for fd in sorted(held) if fd > 2]
        assert not any("key.pem" in t or "cert.pem" in t or "config.ini" in t for t in held.values()), held
        assert not any(t.startswith(str(bridge.maildir)) for t in held.values()), held
    fronts = len(bridge.named("front"))
    assert len(kinds["fb-signer"]) % fronts == 0 and all(t.startswith("socket:") for t in kinds["fb-signer"])
    listening = {line.split()[9] for line in open("/proc/net/tcp") if line.split()[3] == "0A"}
    for role, count in (("fb-front", 1), ("fb-courier", 0), ("fb-signer", 0)):
        assert sum(t[8:-1] in listening for t in kinds[role] if t.startswith("socket:")) == count, (role, kinds[role])


@root_only
def test_every_role_runs_as_the_user(tmp_path):
    user = pwd.getpwnam("nobody")
    with Bridge({"bridge": {"user": "nobody"}}, start=False) as b:
        b.dir.chmod(0o755)
        b.maildir.mkdir()
        os.chown(b.maildir, user.pw_uid, user.pw_gid)
        b.start()
        for pid in b.roles():
            s = status(pid)
            assert set(s["Uid"].split()) == {str(user.pw_uid)} and set(s["Gid"].split()) == {str(user.pw_gid)}
            assert {s[k] for k in ("CapPrm", "CapEff", "CapInh", "CapAmb")} == {"0" * 16}
            assert "0" not in s["Groups"].split()
        assert b.post([("name", "Ada")])[0] == 200
        b.mails(1)
        assert b.spool.stat().st_uid == user.pw_uid and b.spool.stat().st_mode & 0o777 == 0o700


# ---- deaths ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["signer", "courier", "front"])
def test_a_role_that_is_killed_is_replaced_and_service_goes_on(role):
    with Bridge({"bridge": {"fronts": "2"}}) as b:
        assert b.post([("name", "first")])[0] == 200
        victim = b.named(role)[0]
        os.kill(victim, signal.SIGKILL)
        for i in range(5):
            assert b.post([("name", f"n{i}")])[0] == 200
        b.wait_for_log(f"a {role} died of signal 9")
        b.wait_until(lambda: len(b.roles()) == 4 and victim not in b.roles(), "a successor")
        b.mails(6)
        assert len(b.mail_files()) == 6


def shakes_hands(b):
    try:
        b.connect().close()
        return True
    except OSError:
        return False


def test_a_signer_that_hangs_holds_up_a_front_once():
    with Bridge({"bridge": {"fronts": "1"}}) as b, strict(b) as held:
        signer = b.named("signer")[0]
        os.kill(signer, signal.SIGSTOP)
        try:
            begun = time.monotonic()
            assert not any(shakes_hands(b) for _ in range(10))
            assert time.monotonic() - begun < 10  # ten waits would be thirty
            begun = time.monotonic()
            held.sendall(post())
            assert Reader(held).answer().status == 200 and time.monotonic() - begun < 2.5
        finally:
            os.kill(signer, signal.SIGCONT)
        b.wait_until(lambda: shakes_hands(b), "handshakes again")
        b.wait_for_log("the signer answers again")
        assert all(shakes_hands(b) for _ in range(5))


def test_a_submission_that_was_answered_survives_the_courier():
    with Bridge({"bridge": {"fronts": "1"}}) as b:
        for i in range(10):
            assert b.post([("name", "Ada")])[0] == 200
            for pid in b.named("courier"):
                os.kill(pid, signal.SIGKILL)
        b.mails(10, 40)
        assert len({m["Message-ID"] for m in b.mails()}) == 10


def test_the_open_connections_of_a_dead_front_are_forgotten():
    admin = free_port()
    with Bridge({"bridge": {"fronts": "1", "admin_listen": f"127.0.0.1:{admin}", "max_per_address": "8"}}) as b:
        for _ in range(3):
            held = [strict(b) for _ in range(6)]
            assert metrics(admin)["connections_open"] == 7
            old = b.front()
            os.kill(old, signal.SIGKILL)
            b.wait_until(lambda: b.named("front") not in ([], [old]), "a new front")
            for c in held:
                c.close()
        b.wait_until(lambda: metrics(admin)["connections_open"] == 1, "an honest count")
        assert metrics(admin)["role_deaths_total"] == 3


def test_a_role_that_dies_again_and_again_is_started_ever_more_slowly():
    with Bridge({"bridge": {"fronts": "1"}}) as b:
        waits = []
        for _ in range(4):
            pid = b.named("courier")[0]
            begun = time.monotonic()
            os.kill(pid, signal.SIGKILL)
            b.wait_until(lambda: b.named("courier") not in ([], [pid]), "a new courier", 15)
            waits.append(time.monotonic() - begun)
        assert waits[0] < PATIENCE / 10 and waits[3] > 2.5 > waits[1], waits
        assert b.post([("name", "Ada")])[0] == 200
        b.mails(1)


@pytest.mark.parametrize("role", ["front", "courier"])
@pytest.mark.parametrize("leave", [signal.SIGHUP, signal.SIGTERM], ids=["reload", "end"])
def test_a_role_that_hangs_keeps_neither_an_old_set_nor_the_way_out(role, leave):
    with Bridge({"bridge": {"fronts": 1, "drain_timeout": "30s"}}, start=False) as b:
        clock = harness.Clock(b)
        b.start()
        (pid,) = b.named(role)
        os.kill(pid, signal.SIGSTOP)
        b.process.send_signal(leave)
        if leave == signal.SIGHUP:
            b.wait_for_log("reloaded:")
        time.sleep(1)
        assert pid in b.roles()
        for ahead in range(60, 601, 60):  # past the time of its fronts, and then of its courier
            clock.set_ahead(ahead)
            time.sleep(0.2)
            b.process.send_signal(signal.SIGCHLD)  # so that the parent looks at once
        b.wait_until(lambda: pid not in b.roles(), "the end of it", 20 + PATIENCE)
        assert f"a {role} (process {pid}) that was to finish hangs: it is killed" in b.log()
        if leave == signal.SIGHUP:
            assert b.post([("name", "Ada")])[0] == 200
        else:
            assert b.process.wait(PATIENCE) == 0
            b.process = None


def test_all_roles_end_when_the_parent_is_killed():
    b = Bridge()
    try:
        pids = b.roles()
        c = strict(b)
        b.process.kill()
        b.process.wait()
        wait(lambda: not any(alive(p) for p in pids), "end of the roles", 3 * PATIENCE)
        c.close()
        b.log_size = len(b.log())
        b.start()  # the port is free again
        assert b.post([("name", "Ada")])[0] == 200
    finally:
        b.close()


def ticks(pids):
    """Clock ticks of CPU time, all together."""
    fields = [pathlib.Path(f"/proc/{p}/stat").read_text().rsplit(")", 1)[1].split() for p in pids]
    return sum(int(f[11]) + int(f[12]) for f in fields)


def test_nobody_is_busy_while_nothing_happens():
    with Bridge({"bridge": {"fronts": "2"}}) as b:
        fresh, body, answered, closing = strict(b), strict(b), strict(b), strict(b)
        body.sendall(head(length=8) + BODY[:3])
        closing.sendall(head(b"POST /f/none HTTP/1.1", 5000))
        answered.sendall(post())
        for c in (answered, closing):
            Reader(c).answer()
        for _ in range(20):  # several commits at a time
            clients = [strict(b) for _ in range(8)]
            for c in clients:
                c.sendall(post())
            for c in clients:
                assert Reader(c).answer().status == 200
                c.close()
        b.mails(161, 30)
        time.sleep(1.5)
        before = ticks(b.roles())
        time.sleep(1)
        spent = ticks(b.roles()) - before
        for c in (fresh, body, answered, closing):
            c.close()
        assert spent <= os.sysconf("SC_CLK_TCK") // 20


# ---- SIGTERM -----------------------------------------------------------------------------------------------------------------


def test_sigterm_answers_what_was_begun_and_ends_with_0(bridge):
    body = strict(bridge)
    body.sendall(head(length=8) + BODY[:3])
    begun = strict(bridge)
    begun.sendall(post()[:30])
    idle = strict(bridge)
    time.sleep(0.2)
    bridge.process.send_signal(signal.SIGTERM)
    bridge.wait_for_log("ending:")
    assert Reader(idle).rest() == []  # closed, and with close_notify
    with pytest.raises(OSError):
        strict(bridge, timeout=1)
    body.sendall(BODY[3:])
    begun.sendall(post()[30:])
    for c in (body, begun):
        answers = Reader(c).rest()
        assert [a.status for a in answers] == [200] and answers[0].headers["connection"] == "close"
        c.close()
    assert bridge.process.wait(PATIENCE) == 0
    assert len(bridge.mails()) + len(bridge.queue()) == 2 and stored(bridge) == 2
    idle.close()


def test_sigint_ends_too(bridge):
    assert bridge.stop(signal.SIGINT) == 0


def test_drain_timeout_ends_what_does_not_end_itself():
    with Bridge({"bridge": {"drain_timeout": "1s"}}) as b:
        c = strict(b)
        c.sendall(head(length=8) + BODY[:3])
        time.sleep(0.2)
        begun = time.monotonic()
        assert b.stop() == 0
        assert 0.8 < time.monotonic() - begun < PATIENCE / 2
        assert "drain_timeout is over" in b.log() and stored(b) == 0
        c.close()


@root_only
def test_what_the_disk_still_has_at_the_end_becomes_mail(monkeypatch):
    """The time to drain is over while a commit waits for its disk: nobody is answered, and nothing may be torn."""
    monkeypatch.setenv("ASAN_OPTIONS", "detect_leaks=0")  # which cannot be done in a process that is traced
    with Bridge({"bridge": {"drain_timeout": "1s", "fronts": "1"}}) as b:
        slow = subprocess.Popen(
            ["strace", "-f", "-o", "/dev/null", "-p", str(b.front()), "-e", "trace=fsync,fdatasync,syncfs",
             "-e", "inject=fsync,fdatasync,syncfs:delay_enter=2500000"], stderr=subprocess.PIPE)
        slow.stderr.readline()  # "attached"
        c = strict(b)
        c.sendall(post())
        time.sleep(0.3)
        assert b.stop() == 0
        c.close()
        slow.wait(PATIENCE)
        assert "died" not in b.log() and "ended before its time" not in b.log(), b.log()
        b.start()
        assert len(b.mails(1)) == 1


# ---- SIGHUP ------------------------------------------------------------------------------------------------------------------


def test_sighup_serves_a_new_config_and_lets_old_connections_finish(bridge):
    old = strict(bridge)
    old.sendall(head(length=8) + BODY[:3])
    resting = strict(bridge)
    time.sleep(0.2)
    before = bridge.roles()
    bridge.config["form booking"] = dict(bridge.config["form order"], success="https://www.example.com/thanks")
    bridge.write_config()
    bridge.process.send_signal(signal.SIGHUP)
    bridge.wait_for_log("reloaded:")
    assert bridge.post([("name", "Ada")], form="booking")[0] == 303
    assert Reader(resting).rest() == []
    old.sendall(BODY[3:])
    assert [a.status for a in Reader(old).rest()] == [200]
    old.close()
    resting.close()
    bridge.wait_until(lambda: not set(before) & set(bridge.roles()), "the end of the old roles")
    bridge.mails(2)
    assert len(bridge.mail_files()) == 2 and "died" not in bridge.log()


def test_a_sighup_during_a_reload_is_not_lost():
    with Bridge({"bridge": {"fronts": "16"}}) as b:
        count = len(b.roles())
        b.process.send_signal(signal.SIGHUP)
        b.wait_until(lambda: len(b.roles()) > count or "reloaded:" in b.log(), "the new roles")
        b.config["form booking"] = dict(b.config["form order"])
        b.write_config()
        b.process.send_signal(signal.SIGHUP)
        b.wait_for_log("reloaded:", 2)
        assert b.post([("name", "Ada")], form="booking")[0] == 200


def test_a_reload_raises_the_limit_of_descriptors(bridge):
    hard = int(subprocess.run(["prlimit", f"--pid={bridge.process.pid}", "--nofile", "--output=HARD", "--noheadings", "--raw"],
                              check=True, capture_output=True, text=True).stdout)
    subprocess.run(["prlimit", f"--pid={bridge.process.pid}", f"--nofile=256:{hard}"], check=True)
    before = bridge.roles()
    bridge.config["bridge"]["max_connections"] = "1000"
    bridge.write_config()
    bridge.process.send_signal(signal.SIGHUP)
    bridge.wait_for_log("reloaded:")
    bridge.wait_until(lambda: not set(before) & set(bridge.roles()), "the end of the old roles")
    limits = pathlib.Path(f"/proc/{bridge.front()}/limits").read_text()
    assert int(re.search(r"Max open files\s+(\d+)", limits).group(1)) >= 3000, limits


def test_no_connection_is_refused_during_reloads():
    with Bridge({"bridge": {"fronts": "2"}}) as b:
        failures, count, end = [], [0], threading.Event()

        def client():
            while not end.is_set():
                try:
                    assert one(b, post()).status == 200
                    count[0] += 1
                except Exception as e:  # noqa: BLE001: told below
                    failures.append(e)

        t = threading.Thread(target=client)
        t.start()
        for i in range(1, 4):
            time.sleep(0.3)
            b.process.send_signal(signal.SIGHUP)
            b.wait_for_log("reloaded:", i)
        time.sleep(0.3)
        end.set()
        t.join(PATIENCE)
        assert not failures and count[0] > 5, failures
        b.mails(count[0], 30)
        assert stored(b) == count[0]


def test_more_forms_than_a_courier_knows_places_may_share_one_mailbox():
    forms = {f"form f{i}": dict(Bridge.FORM, deliver="maildir:") for i in range(300)}
    with Bridge(forms, start=False) as b:
        for form in forms:
            b.config[form]["deliver"] = f"maildir:{b.maildir}"
        b.write_config()
        b.start()
        assert b.post([("name", "Ada")], form="f299")[0] == 200
        b.mails(1)


BAD = {
    "a mistake": (lambda b: b.config["form order"].update(to="nobody at all"), "the config has mistakes"),
    "a wrong key": (lambda b: make_key(b.dir / "key.pem"), "does not belong to the certificate"),
    "no certificate": (lambda b: (b.dir / "cert.pem").unlink(), "cert.pem"),
    "a port in use": (lambda b: b.config["bridge"].update(http_listen=f"127.0.0.1:{b.taken}"), "another program listens"),
    "another spool": (lambda b: b.config["bridge"].update(spool=b.dir / "other"), "spool cannot change while mail may wait"),
}


def make_key(path):
    subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", path], check=True,
                   capture_output=True)


@pytest.mark.parametrize("case", BAD)
def test_a_bad_reload_leaves_the_old_set_and_says_why(bridge, case):
    spoil, words = BAD[case]
    context, before = bridge.loose_context(), bridge.roles()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bridge.taken = taken.getsockname()[1]
        spoil(bridge)
        bridge.write_config()
        since = len(bridge.log())
        bridge.process.send_signal(signal.SIGHUP)
        bridge.wait_for_log(words, since=since)
        bridge.wait_until(lambda: re.search("the old (set of roles|one) stays", bridge.log()[since:]), "words of what stays")
        time.sleep(0.3)
    assert bridge.roles() == before and "reloaded:" not in bridge.log()
    with socket.create_connection(("127.0.0.1", bridge.port)) as raw, context.wrap_socket(raw) as c:
        c.sendall(post())
        assert Reader(c).answer().status == 200


def test_a_new_certificate_is_picked_up(bridge):
    old = ssl.get_server_certificate(("127.0.0.1", bridge.port))
    (bridge.dir / "new").mkdir()
    cert, key = make_certificate(bridge.dir / "new")
    os.replace(key, bridge.dir / "key.pem")
    os.replace(cert, bridge.dir / "cert.pem")
    bridge.wait_for_log("reloading: the certificate has changed", seconds=20 + PATIENCE)
    bridge.wait_for_log("reloaded:")
    new = ssl.get_server_certificate(("127.0.0.1", bridge.port))
    assert new != old and new.split() == (bridge.dir / "cert.pem").read_text().split()
    assert bridge.post([("name", "Ada")])[0] == 200


def test_a_new_certificate_that_was_refused_is_followed_by_the_right_one_without_delay(bridge):
    (bridge.dir / "new").mkdir()
    cert, key = make_certificate(bridge.dir / "new")
    os.replace(cert, bridge.dir / "cert.pem")  # and its key comes late
    bridge.wait_for_log("not everything the config names is in order", seconds=20 + PATIENCE)
    os.replace(key, bridge.dir / "key.pem")
    bridge.wait_for_log("reloaded:", seconds=20 + PATIENCE)
    assert bridge.post([("name", "Ada")])[0] == 200


# ---- what is found before anything is served ------------------------------------------------------------------------------------


def fails(b, code, *words):
    """The program ends by itself with this code and says this; check says it too."""
    b.write_config()
    b.start(wait=False)
    assert b.process.wait(PATIENCE) == code, b.log()
    b.process = None
    for word in words:
        assert word in b.log(), (word, b.log())
    assert "ready:" not in b.log()


def check(b):
    b.write_config()
    done = subprocess.run([*harness.WRAPPER, PROGRAM, "-c", b.dir / "config.ini", "check"], capture_output=True, text=True,
                          timeout=30)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def ready():
    with Bridge(start=False) as b:
        yield b


def both(b, *words):
    code, said = check(b)
    assert code == 78 and "problem: " in said, said
    for word in words:
        assert word in said, (word, said)
    fails(b, 78, *words)


def test_check_is_content_with_what_is_right(ready):
    code, said = check(ready)
    assert code == 0 and "problem" not in said, said
    assert said.endswith("Good enough to start; but read the warnings.\n" if "warning:" in said else "Everything is in order.\n")


def test_trust_in_a_proxy_that_nobody_asks_for_is_found(ready):
    ready.config["bridge"]["trusted_proxies"] = "192.0.2.1"
    code, said = check(ready)
    assert code == 0 and "warning: trusted_proxies has no effect" in said, said


def test_a_key_of_another_certificate_is_found(ready):
    make_key(ready.dir / "key.pem")
    both(ready, "does not belong to the certificate", str(ready.dir / "key.pem"))


def test_an_expired_certificate_is_found(ready):
    run = ["openssl", "x509", "-in", ready.dir / "cert.pem", "-signkey", ready.dir / "key.pem", "-days", "-1", "-out",
           ready.dir / "cert.pem"]
    subprocess.run(run, check=True, capture_output=True)
    code, said = check(ready)
    assert code == 78 and re.search("problem: .*cert.pem expired on .*: renew the certificate", said), said
    ready.start() # a machine that starts again: a renewal may need port 80, and what is behind a proxy goes on
    assert re.search("error: .*cert.pem expired on .*: renew the certificate", ready.log())
    ready.process.send_signal(signal.SIGHUP)
    ready.wait_for_log("not everything the config names is in order: the old set of roles stays")


def test_a_key_that_others_may_read_or_write_is_found(ready):
    for mode in (0o604, 0o620, 0o602):
        (ready.dir / "key.pem").chmod(mode)
        code, said = check(ready)
        assert code == 78 and str(ready.dir / "key.pem") in said and "problem: " in said, (oct(mode), said)
    fails(ready, 78, str(ready.dir / "key.pem"))


def test_a_missing_key_or_garbage_is_found(ready):
    (ready.dir / "key.pem").write_text("no key at all\n")
    both(ready, str(ready.dir / "key.pem"))
    (ready.dir / "key.pem").unlink()
    both(ready, str(ready.dir / "key.pem"), "No such file")


@root_only
def test_a_mailbox_that_the_user_cannot_write_is_found(ready):
    ready.dir.chmod(0o755)
    ready.config["bridge"]["user"] = "nobody"
    ready.maildir.mkdir(mode=0o755)
    both(ready, str(ready.maildir))


@root_only
def test_a_spool_that_the_user_cannot_write_is_found(ready):
    ready.dir.chmod(0o755)
    ready.config["bridge"]["user"] = "nobody"
    ready.spool.mkdir(mode=0o755)
    both(ready, str(ready.spool))


@root_only
def test_a_user_that_does_not_exist_is_found(ready):
    ready.config["bridge"]["user"] = "no-such-user"
    both(ready, "user no-such-user does not exist")


def test_a_port_in_use_is_said(ready):
    with socket.create_server(("127.0.0.1", 0)) as s:
        ready.config["bridge"]["listen"] = f"127.0.0.1:{s.getsockname()[1]}"
        fails(ready, 69, "cannot listen on", "another program listens there")


def test_children_are_seen_though_who_started_us_ignored_their_end(ready):
    """SIG_IGN of SIGCHLD is inherited, and the kernel then reaps without a word (wait(2))."""
    ignoring = "import os,signal,sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    ready.write_config()
    command = [sys.executable, "-c", ignoring, PROGRAM, "-c", str(ready.dir / "config.ini")]
    done = subprocess.run([*command, "check"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done
    with open(ready.log_path, "ab") as log:
        ready.process = subprocess.Popen(command, stderr=log, stdout=log)
    ready.wait_for_log("ready: ")
    os.kill(ready.named("courier")[0], signal.SIGKILL)
    ready.wait_for_log("a courier died of signal 9")


def test_fronts_of_a_reload_that_fails_finish_what_they_have_begun():
    """They share the door with the old ones from their first moment, though another role of their set never comes."""
    way = b"X-Forwarded-For: 203.0.113.7", b"X-Forwarded-Proto: https"
    with Bridge(start=False) as b:
        b.config["bridge"] |= {"listen": f"plain:127.0.0.1:{b.port}", "fronts": 2}
        b.config["pickup box"] = {"listen": f"127.0.0.1:{free_port()}", "maildir": b.maildir,
                                  "password": hashed("a secret that is long enough")}
        b.write_config()
        harness.preload(b, "hang", HANG_FILE=str(b.dir / "hang"))
        b.start()
        old = b.roles()
        (b.dir / "hang").write_text("fb-signer")
        b.process.send_signal(signal.SIGHUP)
        b.wait_until(lambda: len(b.named("front")) == 4 and len(b.named("signer")) == 2, "the new set")
        time.sleep(1)
        begun = []
        for _ in range(40):  # some of them with the new fronts
            begun.append(socket.create_connection(("127.0.0.1", b.port), PATIENCE))
            begun[-1].sendall(post(b"name=Ada", *way)[:-1])
        time.sleep(0.5)
        (signer,) = set(b.named("signer")) - set(old)
        os.kill(signer, signal.SIGKILL)
        b.wait_for_log("could not be started: the old one stays")
        for c in begun:
            c.sendall(b"a")
            assert Reader(c).answer().status == 200
        b.wait_until(lambda: sorted(b.roles()) == sorted(old), "the end of the new set", 40)
        assert one_plain(b, post(b"name=Ada", *way)).status == 200


def one_plain(b, request):
    with socket.create_connection(("127.0.0.1", b.port), PATIENCE) as c:
        c.sendall(request)
        return Reader(c).answer()


def hashed(password):
    return subprocess.run([PROGRAM, "passwd"], input=password + "\n", capture_output=True, text=True, check=True).stdout.strip()


class Manager:
    """What a service manager does for a service: reads its words (sd_notify(3)), keeps its descriptors (FDSTORE), and hands
    them to its next run (sd_listen_fds(3))."""

    def __init__(self, directory):
        self.path = str(directory / "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.settimeout(PATIENCE)
        self.kept = []

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.forget()
        self.socket.close()

    def forget(self):
        for fd in self.kept:
            os.close(fd)
        self.kept = []

    def word(self):
        """The next one that is not about descriptors."""
        while True:
            text, fds, _, _ = socket.recv_fds(self.socket, 4096, 253)
            if text == b"FDSTOREREMOVE=1\nFDNAME=listen":
                self.forget()
            elif text == b"FDSTORE=1\nFDNAME=listen":
                self.kept += fds
            elif text == b"BARRIER=1":
                os.close(fds[0])
            else:
                assert not fds
                return text

    HAND_OVER = """
import os, sys
end = sys.argv.index("--")
for i, fd in enumerate(sys.argv[1:end]):
    os.dup2(int(fd), 3 + i)
    os.close(int(fd))
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[end + 1], sys.argv[end + 1:])
"""

    def serve(self, b):
        """From now on b is its service."""
        usual, popen = b.environment(), subprocess.Popen

        def start(command, **options):
            copies = [fcntl.fcntl(fd, fcntl.F_DUPFD, 100) for fd in self.kept]
            try:
                return popen([sys.executable, "-c", self.HAND_OVER, *map(str, copies), "--", *command], pass_fds=copies, **options)
            finally:
                for fd in copies:
                    os.close(fd)

        b.popen = start
        b.environment = lambda: usual | {"NOTIFY_SOCKET": self.path, "LISTEN_FDS": str(len(self.kept))}


def test_the_service_manager_is_told(tmp_path):
    """As sd_notify(3) does: when all serves, at a reload, good or refused, and at the end."""
    with Manager(tmp_path) as manager, Bridge(start=False) as b:
        manager.serve(b)
        b.start()
        assert manager.word() == b"READY=1"
        for change in ({}, {"spool": b.dir / "other"}, {"spool": b.spool, "hostname": "no.example.com",
                                                         "http_listen": f"127.0.0.1:{b.port}1"}, {"colour": "red"}):
            b.config["bridge"] |= change
            b.write_config()
            b.process.send_signal(signal.SIGHUP)
            state, since = manager.word().split(b"\n")
            assert state == b"RELOADING=1" and abs(int(since.removeprefix(b"MONOTONIC_USEC=")) / 1e6 - time.monotonic()) < PATIENCE
            assert manager.word() == b"READY=1"
        b.process.send_signal(signal.SIGTERM)
        assert manager.word() == b"STOPPING=1"


def listening(fds):
    found = []
    for fd in fds:
        with socket.socket(fileno=os.dup(fd)) as s:
            found.append(s.getsockname() if s.family == socket.AF_UNIX else s.getsockname()[:2])
    return sorted(found, key=str)


def test_a_restart_refuses_nobody(tmp_path):
    """The service manager keeps the listening sockets from one run to the next: who comes between is answered by the next."""
    with Manager(tmp_path) as manager, Bridge(start=False) as b:
        path = b.dir / "http.sock"
        admin, pop, plain = free_port(), free_port(), free_port()
        b.config["bridge"] |= {"listen": f"127.0.0.1:{b.port} [::1]:{b.port} unix:{path} plain:127.0.0.1:{plain}",
                               "admin_listen": f"127.0.0.1:{admin}"}
        b.config["pickup orders"] = {"listen": f"127.0.0.1:{pop}", "maildir": b.maildir, "password": hashed("x" * 20)}
        b.write_config()
        manager.serve(b)
        b.start()
        assert manager.word() == b"READY=1"
        where = [("127.0.0.1", p) for p in (b.port, plain, admin, pop)] + [("::1", b.port), str(path)]
        assert listening(manager.kept) == sorted(where, key=str)
        b.process.send_signal(signal.SIGTERM)
        assert manager.word() == b"STOPPING=1"
        b.stop()
        with socket.create_connection(("127.0.0.1", plain), PATIENCE) as c, socket.socket(socket.AF_UNIX) as u, \
                socket.create_connection(("127.0.0.1", pop), PATIENCE) as m:
            u.settimeout(PATIENCE)
            u.connect(str(path))
            for waiting in (c, u):
                waiting.sendall(post(b"name=Ada", b"X-Forwarded-For: 203.0.113.7", b"X-Forwarded-Proto: https"))
            b.start()
            for waiting in (c, u):
                assert Reader(waiting).answer().status in (200, 303)
            context = ssl._create_unverified_context()
            with context.wrap_socket(m) as tls:
                assert tls.recv(100).startswith(b"+OK")
        assert manager.word() == b"READY=1" and len(manager.kept) == len(where)
        assert b.post([("name", "Ada")])[0] == 200
        # A reload that listens elsewhere has the manager keep that, and no more the other.
        b.config["bridge"]["listen"] = f"127.0.0.1:{b.port}"
        b.write_config()
        b.process.send_signal(signal.SIGHUP)
        assert manager.word().startswith(b"RELOADING=1") and manager.word() == b"READY=1"
        assert listening(manager.kept) == [("127.0.0.1", p) for p in sorted((b.port, admin, pop))]


def test_what_was_handed_over_and_is_not_wanted_is_in_nobodys_way(tmp_path):
    """The config has changed meanwhile: one address of all, a part of what is still held, and the path of a socket is gone."""
    with Manager(tmp_path) as manager, Bridge(start=False) as b, socket.socket(socket.AF_INET6) as both:
        path = b.dir / "http.sock"
        b.config["bridge"]["listen"] = f"0.0.0.0:{b.port} unix:{path}"
        b.write_config()
        manager.serve(b)
        b.start()
        assert manager.word() == b"READY=1"
        b.stop()
        assert manager.word() == b"STOPPING=1"
        path.unlink()
        both.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        both.bind(("::", 0))
        both.listen()
        r, w = os.pipe()
        manager.kept += [both.detach(), r, w]
        b.config["bridge"]["listen"] = f"127.0.0.1:{b.port} unix:{path}"
        b.write_config()
        b.start(wait=False)
        assert manager.word() == b"READY=1"
        assert listening(manager.kept) == [("127.0.0.1", b.port), str(path)]
        assert "the service manager handed over 1 socket where the config does not listen: closed" in b.log()
        assert "error: the service manager hands over an IPv6 socket that takes IPv4, too: it needs BindIPv6Only=ipv6-only" in b.log()
        assert b.post([("name", "Ada")])[0] == 200
        with socket.socket(socket.AF_UNIX) as u:
            u.connect(str(path))


def test_monitoring_sees_a_reload_that_was_refused():
    admin = free_port()
    with Bridge({"bridge": {"admin_listen": f"127.0.0.1:{admin}"}}) as b:
        assert metrics(admin)["reload_failed_timestamp_seconds"] == 0
        b.config["bridge"]["colour"] = "red"
        b.write_config()
        b.process.send_signal(signal.SIGHUP)
        b.wait_until(lambda: abs(metrics(admin)["reload_failed_timestamp_seconds"] - time.time()) < 60, "the time")
        del b.config["bridge"]["colour"]
        b.write_config()
        b.process.send_signal(signal.SIGHUP)
        b.wait_for_log("reloaded:")
        b.wait_until(lambda: metrics(admin)["reload_failed_timestamp_seconds"] == 0, "none")


def test_a_mailbox_that_is_missing_does_not_keep_a_new_certificate_out(bridge):
    """For people it is a reason to refuse a reload; but the certificate of all forms must not expire for one."""
    bridge.config["form other"] = {**Bridge.FORM, "deliver": f"maildir:{bridge.dir}/gone/Maildir"}
    (bridge.dir / "gone").mkdir()
    bridge.write_config()
    bridge.process.send_signal(signal.SIGHUP)
    bridge.wait_for_log("reloaded:")
    shutil.rmtree(bridge.dir / "gone")
    bridge.process.send_signal(signal.SIGHUP)
    bridge.wait_for_log("not everything the config names is in order: the old set of roles stays")
    (bridge.dir / "new").mkdir()
    cert, key = make_certificate(bridge.dir / "new")
    os.replace(key, bridge.dir / "key.pem")
    os.replace(cert, bridge.dir / "cert.pem")
    bridge.wait_for_log("reloading: the certificate has changed", seconds=20 + PATIENCE)
    bridge.wait_for_log("reloaded:", count=2)
    assert f"warning: form other: Maildir {bridge.dir}/gone/Maildir: No such file" in bridge.log()


def test_there_may_be_hundreds_of_mailboxes():
    with Bridge(start=False) as b:
        for i in range(300):
            kind = f"mbox:{b.dir}/m{i}/box" if i % 3 == 0 else f"maildir:{b.dir}/m{i}"
            (b.dir / f"m{i}").mkdir()
            b.config[f"form f{i}"] = {"to": "o@example.com", "from": "w@example.com", "deliver": kind}
        b.write_config()
        b.start()
        for i in (0, 298, 299):
            assert b.post([("name", "Ada")], f"f{i}")[0] == 200
        b.wait_for_log("delivered ", count=3)


@pytest.mark.parametrize("journal", [True, False])
def test_mistakes_at_a_start_have_the_priority_of_errors_in_the_journal(ready, journal):
    ready.config["bridge"]["colour"] = "red"
    ready.write_config()
    usual = ready.environment()
    ready.environment = lambda: usual | ({"JOURNAL_STREAM": "8:1"} if journal else {})
    ready.start(wait=False)
    assert ready.process.wait(PATIENCE) == 2
    ready.process = None
    (line,) = [line for line in ready.log().splitlines() if "colour" in line]
    assert line.startswith("<3>formbridge: error: " if journal else "formbridge: error: ")


def test_two_instances_do_not_share_a_spool():
    """The second would sweep up what the first is writing, and hold the mail of forms that it does not know."""
    with Bridge() as first, Bridge(start=False) as second:
        second.config["bridge"]["spool"] = first.spool
        (first.spool / "tmp/being-written").write_bytes(b"x")
        second.write_config()
        second.start(wait=False)
        assert second.process.wait(PATIENCE) == 78, second.log()
        second.process = None
        assert f"spool {first.spool} is in use by another formbridge: end that one" in second.log()
        assert (first.spool / "tmp/being-written").exists()
        assert first.post([("name", "Ada")])[0] == 200
        first.mails(1)
        os.kill(first.process.pid, signal.SIGKILL)  # its lock goes with it, though its roles may still be ending
        first.process.wait()
        first.process = None
        second.start()
        assert second.post([("name", "Ada")])[0] == 200


def test_mistakes_in_the_config_are_all_said(ready):
    ready.config["bridge"]["fronts"] = "many"
    ready.config["form order"]["colour"] = "red"
    fails(ready, 2, "config.ini:", "fronts", "colour")


def test_the_words_of_the_log_hold_no_field_value(bridge):
    with strict(bridge) as c:
        c.sendall(post(b"name=topsecret&email=topsecret%40example.org"))
        assert Reader(c).answer().status == 200
    bridge.mails(1)
    one(bridge, post(b"name=&x=topsecret"))
    one(bridge, post(b"name=%zztopsecret"))
    assert bridge.post([("name", "topsecret")], headers={"Origin": "https://topsecret.example.org"})[0] == 200
    assert "topsecret" not in bridge.log() and "accepted " in bridge.log()


def test_no_role_gets_a_descriptor_of_the_parents_where_standard_files_were_closed():
    with Bridge(start=False) as b:
        shell = f"exec {PROGRAM} -c {b.dir}/config.ini <&- >&- 2>&-"
        b.process = subprocess.Popen([*harness.WRAPPER, "sh", "-c", shell])
        wait(lambda: len(b.named("front")) > 0 and b.named("signer") and b.named("courier"), "roles")
        wait(lambda: socket.socket().connect_ex(("127.0.0.1", b.port)) == 0, "answer")
        for pid in [b.process.pid, *b.roles()]:
            assert [os.readlink(f"/proc/{pid}/fd/{n}") for n in range(3)] == ["/dev/null"] * 3
