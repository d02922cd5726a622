"""`check --online` proves every mail host without sending anything; `test FORM` sends one marked submission the whole way."""

import os
import re
import subprocess

import pytest

from bridge import PROGRAM, Bridge, make_certificate, multipart, receipt_in, text_of
from mailhosts import NAME, Dovecot, good, new_mail, workdir  # noqa: F401 (fixtures)
from test_queue import host  # noqa: F401
from test_seal import mail_certificate
from test_smtp_postfix import dovecot, postfix, secret  # noqa: F401

HELD, USAGE, UNAVAILABLE, TEMPFAIL, CONFIG = 1, 64, 69, 75, 78


def run(bridge, *words, code=0, seconds=90):
    done = subprocess.run([PROGRAM, "-c", bridge.dir / "config.ini", *words], capture_output=True, text=True,
                          timeout=seconds)
    assert done.returncode == code, done
    return done


# ---- check --online


@pytest.fixture
def sending(postfix, good, secret):  # noqa: F811
    """A bridge that is not started, with a mail host that wants a login."""
    host_config = {"server": f"127.0.0.1:{postfix.implicit}", "tls_name": NAME, "trust": good.trust,
                   "username": Dovecot.USER, "password_file": secret}
    with Bridge({"mailhost main": host_config, "form order": {"deliver": "main", "to": "orders@example.com"}},
                start=False) as bridge:
        yield bridge


def online(bridge, code=0):
    done = run(bridge, "check", "--online", code=code)
    return [line for line in done.stdout.splitlines() if "mailhost main: " in line or "target lmtp" in line][-1]


@pytest.mark.parametrize("tls", ["implicit", "starttls"])
def test_what_was_proved_is_printed(sending, postfix, good, tls):  # noqa: F811
    sending.config["mailhost main"].update(tls=tls, server=f"127.0.0.1:{getattr(postfix, tls)}")
    sending.write_config()
    line = online(sending)
    for fact in ("ok: ", "TLS 1.2, TLS_ECDHE_", f"certificate for {NAME}", 'issued by "Example Root"', "29 days left",
                 f"pin sha256:{good.leaf.pin()}", "logged in with SCRAM-SHA-256", "at most 200000 bytes", "PIPELINING",
                 "8BITMIME", "SIZE"):
        assert fact in line, (fact, line)
    assert new_mail(postfix.mail / "orders") == []


def test_an_envelope_that_the_host_would_not_take_is_found(sending, postfix):  # noqa: F811
    """Else it is found by the first visitor, whose mail is held."""
    sending.config["form order"]["to"] = "orders@example.com stranger@example.com"
    sending.write_config()
    out = run(sending, "check", "--online", code=CONFIG).stdout
    assert re.search(r"^problem: form order: its mail from website@example\.com to stranger@example\.com would be held: "
                     r"127\.0\.0\.1:\d+ answered RCPT TO with: 550 5\.1\.1 ", out, re.M), out
    assert "to orders@example.com" not in out and "ok: mailhost main: TLS 1.2" in out
    assert new_mail(postfix.mail / "orders") == []


def test_the_log_says_how_mail_went_to_the_host_and_what_it_answered(sending, postfix):  # noqa: F811
    """For who has to show it one day: its queue's number finds the mail in the host's log."""
    sending.start()
    status, _, page = sending.post([("name", "Ada")])
    receipt = receipt_in(page)
    sending.wait_for_log(f"delivered {receipt}")
    sending.wait_until(lambda: new_mail(postfix.mail / "orders"), "the mail")
    log = sending.log()
    assert re.search(rf"delivered {receipt} \(form order\) to main: 127\.0\.0\.1:{postfix.implicit} answered the message with: "
                     r"250 2\.0\.0 Ok: queued as \w+$", log, re.M), log
    assert re.search(rf"connected to main: TLS 1\.2, TLS_ECDHE_\w+, certificate for {NAME}, issued by .*; logged in with SCRAM-SHA-256", log), log


def test_the_printed_pin_is_one_the_config_takes(sending):
    (pin,) = re.findall(r"pin (\S+?);", online(sending))
    sending.config["mailhost main"]["pin"] = pin
    sending.write_config()
    assert "ok: " in online(sending)


@pytest.mark.parametrize("change, words", [
    ({"tls_name": "other.example.com"}, "other.example.com"),
    ({"pin": "0" * 64}, "pin"),
    ({"server": "127.0.0.1:1"}, "Connection refused"),
    ({"server": "mail.invalid"}, "cannot be looked up"),
])
def test_a_failure_is_one_sentence_and_an_exit_code(sending, change, words):
    sending.config["mailhost main"].update(change)
    sending.write_config()
    line = online(sending, CONFIG)
    assert line.startswith("problem: mailhost main: ") and words in line


def test_a_wrong_password_is_found(sending):
    wrong = sending.dir / "wrong-secret"
    wrong.write_text("guess\n")
    wrong.chmod(0o600)
    sending.config["mailhost main"]["password_file"] = wrong
    sending.write_config()
    assert "535" in online(sending, CONFIG)


def test_a_missing_password_is_said_once(sending):
    sending.config["mailhost main"]["password_file"] = "/nonexistent"
    sending.write_config()
    out = run(sending, "check", "--online", code=CONFIG).stdout
    assert len(re.findall("^problem: ", out, re.M)) == 1 and "no mail host was contacted" in out


def test_without_online_no_host_is_contacted(sending):
    sending.config["mailhost main"]["server"] = "127.0.0.1:1"
    sending.write_config()
    assert "TLS" not in run(sending, "check").stdout


@pytest.mark.parametrize("sealed", [False, True], ids=["plain", "sealed"])
def test_a_max_body_that_the_host_would_not_take_is_found_and_the_one_that_is_named_fits(sending, postfix, tmp_path,  # noqa: F811
                                                                                         sealed):
    form = sending.config["form order"]
    form["to"] = "orders@example.com"
    if sealed:
        form["encrypt_to"] = mail_certificate(tmp_path, "orders", "orders@example.com")[0]
    sending.write_config()
    said = run(sending, "check", "--online").stdout
    words = r"warning: form order: posts of max_body \(12582912 bytes\) become mails of up to \d+, and main takes 200000 at most"
    (fits,) = re.findall(words + r": what is larger would be held; set max_body of the form to (\d+)k\n", said)
    form["max_body"] = f"{fits}k"
    sending.write_config()
    assert "max_body" not in run(sending, "check", "--online").stdout
    with sending:
        sending.start()
        kind, around = multipart([("name", "Ada"), ("photo", "a.jpg", "image/jpeg", b"")])
        kind, body = multipart([("name", "Ada"), ("photo", "a.jpg", "image/jpeg", os.urandom(int(fits) * 1024 - len(around)))])
        status, _, page = sending.post(body, headers={"Content-Type": kind})
        assert len(body) == int(fits) * 1024 and status == 200
        sending.wait_for_log(f"delivered {receipt_in(page)}")
    sending.wait_until(lambda: [len(m) > 150000 for m in new_mail(postfix.mail / "orders")] == [True], "the mail")


def test_lmtp_is_asked_too(sending, dovecot):  # noqa: F811
    sending.config["form order"]["deliver"] = f"lmtp:{dovecot.lmtp}"
    sending.write_config()
    assert "ok: " in online(sending)
    sending.config["form order"]["deliver"] = "lmtp:/nonexistent"
    sending.write_config()
    assert "No such file" in online(sending, CONFIG)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_it_works_as_the_configured_user(sending):
    sending.config["bridge"]["user"] = "nobody"
    os.chmod(sending.dir, 0o711)
    sending.write_config()
    assert "logged in" in online(sending)


# ---- test FORM


@pytest.mark.parametrize("user", [None, "nobody"])
def test_a_marked_submission_goes_the_whole_way(user):
    if user and os.geteuid() != 0:
        pytest.skip("only root can be another user")
    config = {"bridge": {"user": user}, "form order": {"required": "name e-mail item", "reply_to": "{e-mail}",
                                                       "origins": "https://www.example.com",
                                                       "success": "https://www.example.com/thanks.html"}}
    with Bridge(config, start=False) as bridge:
        os.chmod(bridge.dir, 0o777)
        bridge.start()
        out = run(bridge, "test", "order").stdout
        receipt = re.search(r"^accepted: the receipt is (\S+)$", out, re.M)[1]
        assert out.splitlines()[-1] == f"delivered: to maildir:{bridge.maildir}"
        text = text_of(bridge.mail(receipt))
        assert "name: formbridge test\n" in text and "e-mail: website@example.com\n" in text
        assert 'formbridge-test: sent by the command "formbridge test"' in text
        assert run(bridge, "test", "order").stdout.split()[4] != receipt, "twice is two submissions"


def test_every_kind_of_key_is_known(tmp_path):
    for kind in ("p384", "rsa"):
        with Bridge(kind=kind) as bridge:
            assert "delivered: to" in run(bridge, "test", "order").stdout


def test_a_server_with_another_key_gets_nothing(bridge):
    (bridge.dir / "other").mkdir()
    cert, key = make_certificate(bridge.dir / "other")
    text = (bridge.dir / "config.ini").read_text()
    text = text.replace(str(bridge.dir / "cert.pem"), str(cert)).replace(str(bridge.dir / "key.pem"), str(key))
    (bridge.dir / "config.ini").write_text(text)
    done = run(bridge, "test", "order", code=UNAVAILABLE)
    assert "pin" in done.stderr and done.stdout == ""
    assert bridge.mail_files() == [] and bridge.queue() == []


def test_no_server_is_said(bridge):
    bridge.stop()
    assert "Connection refused" in run(bridge, "test", "order", code=UNAVAILABLE).stderr


def test_a_server_that_refuses_is_quoted(bridge):
    bridge.config["form booking"] = dict(bridge.config["form order"])
    bridge.write_config()  # which the running server has not read
    assert "the server answered 404: " in run(bridge, "test", "booking", code=UNAVAILABLE).stderr


def test_a_form_that_is_not_in_the_config_is_an_error(bridge):
    assert "[form nothing]" in run(bridge, "test", "nothing", code=USAGE).stderr
    run(bridge, "test", code=USAGE)


def test_what_is_held_is_said_with_its_reason(host):  # noqa: F811
    host.answer = b"550 5.1.1 nobody here\r\n"
    with Bridge({"form order": {"deliver": f"lmtp:{host.path}"}}) as bridge:
        out = run(bridge, "test", "order", code=HELD).stdout
        assert re.search(r"^held: .*550 5\.1\.1 nobody here", out, re.M)


def test_what_still_waits_is_said_with_its_reason():
    with Bridge({"form order": {"deliver": "lmtp:/nonexistent"}}) as bridge:
        out = run(bridge, "test", "order", code=TEMPFAIL).stdout
        assert re.search(r"^waits: for lmtp:/nonexistent: .*No such file", out, re.M) and "formbridge queue show" in out
