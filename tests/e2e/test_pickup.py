"""An order posted over HTTPS is collected over POP3S from the same program."""

import poplib
import signal
import subprocess
import time

import pytest

from bridge import PROGRAM, Bridge, free_port

PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def hashed():
    return subprocess.run([PROGRAM, "passwd"], input=PASSWORD + "\n", capture_output=True, text=True,
                          check=True).stdout.strip()


@pytest.fixture
def shop(hashed):
    port = free_port()
    b = Bridge(start=False)
    b.config["pickup orders"] = {"listen": f"127.0.0.1:{port}", "maildir": b.maildir, "password": hashed}
    b.pop_port = port
    b.write_config()
    b.start()
    with b:
        yield b


def login(b, password=PASSWORD):
    pop = poplib.POP3_SSL("127.0.0.1", b.pop_port, timeout=20, context=b.loose_context())
    pop.user("orders")
    pop.pass_(password)
    return pop


def test_an_order_is_collected_as_it_was_stored_and_removed_at_quit(shop):
    assert shop.post([("name", "Ada"), ("email", "ada@example.com")])[0] == 200
    shop.mails(1)
    stored = shop.mail_files()[0].read_bytes()
    pop = login(shop)
    assert pop.stat()[0] == 1
    lines = pop.retr(1)[1]
    assert b"\n".join(lines) + b"\n" == stored
    pop.dele(1)
    assert shop.mail_files(), "nothing is removed before QUIT"
    pop.quit()
    assert not shop.mail_files()


def test_a_wrong_password_opens_nothing_and_is_in_no_log(shop):
    with pytest.raises(poplib.error_proto):
        login(shop, "a-wrong-password-4711")
    assert "4711" not in shop.log()


def test_the_pickup_can_reach_its_maildir_and_nothing_else(shop):
    pid = next(p for p in shop.roles() if open(f"/proc/{p}/comm").read().strip() == "fb-pickup")
    status = open(f"/proc/{pid}/status").read()
    assert "Seccomp:\t2" in status and "NoNewPrivs:\t1" in status


def test_a_reload_lets_a_session_finish_and_serves_the_next(shop):
    assert shop.post([("name", "Ada")])[0] == 200
    shop.mails(1)
    pop = login(shop)
    shop.process.send_signal(signal.SIGHUP)
    shop.wait_for_log("reloaded: ")
    assert pop.stat()[0] == 1
    pop.quit()
    shop.wait_until(lambda: login(shop).stat()[0] == 1, "a session with the new set")


def test_a_pickup_that_is_killed_is_replaced(shop):
    assert shop.post([("name", "Ada")])[0] == 200
    shop.mails(1)
    pid = next(p for p in shop.roles() if open(f"/proc/{p}/comm").read().strip() == "fb-pickup")
    subprocess.run(["kill", "-9", str(pid)], check=True)
    shop.wait_for_log("a pickup died of signal 9")
    end = time.monotonic() + 15
    while True:
        try:
            assert login(shop).stat()[0] == 1
            return
        except (OSError, poplib.error_proto):
            assert time.monotonic() < end
            time.sleep(0.2)


def test_a_password_in_clear_in_the_config_is_refused_and_not_repeated(hashed):
    b = Bridge(start=False)
    b.config["pickup orders"] = {"listen": "127.0.0.1:1", "maildir": b.maildir, "password": "hunter2-4711"}
    b.write_config()
    b.start(wait=False)
    assert b.process.wait(20) == 2
    assert "password is not a hash" in b.log() and "4711" not in b.log()
    b.close()


def test_a_full_mailbox_is_listed_within_the_sandbox(shop):
    for part in ("new", "cur", "tmp"):
        (shop.maildir / part).mkdir(parents=True, exist_ok=True)
    for i in range(300):
        (shop.maildir / "new" / f"{1700000000 + i}.R{i}.localhost").write_bytes(b"Subject: x\n\nx\n")
    pop = login(shop)
    assert pop.stat()[0] == 300
    pop.quit()
