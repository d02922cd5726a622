"""Real mail hosts: Postfix over both kinds of TLS with logins checked by Dovecot, and Dovecot's LMTP. The mail that arrives
is byte for byte the one that was sent."""

import pytest
from mailhosts import (  # noqa: F401 (fixtures)
    HEADER,
    MESSAGE,
    NAME,
    Dovecot,
    Postfix,
    free_port,
    good,
    new_mail,
    sendone,
    wait_until,
    workdir,
)


def home(directory, name):
    path = directory / name
    path.mkdir()
    path.chmod(0o755)
    return path


@pytest.fixture(scope="session")
def dovecot(workdir):  # noqa: F811
    with Dovecot(home(workdir, "dovecot")) as d:
        yield d


@pytest.fixture(scope="session")
def postfix(workdir, good, dovecot):  # noqa: F811
    with Postfix(home(workdir, "postfix"), good, dovecot.auth) as p:
        yield p


@pytest.fixture(scope="session")
def secret(workdir):  # noqa: F811
    path = workdir / "postfix-secret"
    path.write_text(Dovecot.PASSWORD + "\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def submit(postfix, good, sendone, secret):  # noqa: F811
    def run(port, login=True, **keys):
        keys = {"server": "127.0.0.1", "tls_name": NAME, "trust": good.trust} | keys
        if login:
            keys = {"username": Dovecot.USER, "password_file": secret} | keys
        return sendone(port=port, **keys)

    return run


def arrived(maildir, content=MESSAGE):
    mails = wait_until(lambda: new_mail(maildir))
    assert len(mails) == 1 and mails[0].endswith(content), mails
    return mails[0][: -len(content)].decode()


def test_tls_from_the_first_byte_with_login(postfix, submit):
    lines = submit(postfix.implicit)
    assert [line[1] for line in lines] == ["done", "done", "done", "good"], lines
    assert "TLS 1.2, TLS_ECDHE_ECDSA_WITH_" in lines[1][2] and "certificate for mail.example.com" in lines[1][2]
    assert "250 2.0.0 Ok: queued as" in lines[2][2]
    received = arrived(postfix.mail / "orders")
    assert "Received: from forms.example.com" in received and "ESMTPSA" in received


def test_starttls_with_login(postfix, submit):
    lines = submit(postfix.starttls, tls="starttls")
    assert [line[1] for line in lines] == ["done", "done", "done", "good"], lines
    assert "ESMTPSA" in arrived(postfix.mail / "orders")


def test_the_login_was_scram(dovecot, postfix, submit):
    submit(postfix.implicit)
    arrived(postfix.mail / "orders")
    assert "sasl_method=SCRAM-SHA-256, sasl_username=website" in (postfix.home / "log").read_text()


def test_a_wrong_password_leaves_the_mail_waiting(workdir, postfix, submit):  # noqa: F811
    wrong = workdir / "wrong-secret"
    wrong.write_text("guess")
    wrong.chmod(0o600)
    lines = submit(postfix.implicit, password_file=wrong)
    assert len(lines) == 1 and lines[0][:2] == ("open", "temporary")
    assert "535" in lines[0][2] and "check username and password_file" in lines[0][2]
    assert new_mail(postfix.mail / "orders") == []


def test_a_missing_login_is_explained(postfix, submit):
    lines = submit(postfix.implicit, login=False)
    assert lines[2][1] == "permanent" and "554 5.7.1" in lines[2][2]
    assert new_mail(postfix.mail / "orders") == []


def test_recipients_of_one_message_share_a_transaction(postfix, submit):
    to = ["orders@example.com", "nobody@example.com", "other@example.com", "orders@example.net"]
    lines = submit(postfix.open, login=False, to=to)
    outcomes = {what: outcome for what, outcome, _ in lines}
    assert outcomes["orders@example.com"] == outcomes["other@example.com"] == "done"
    assert outcomes["nobody@example.com"] == "permanent", lines
    assert outcomes["orders@example.net"] in ("temporary", "permanent")
    assert outcomes["connection"] == "good"
    arrived(postfix.mail / "orders")
    arrived(postfix.mail / "other")


def test_the_announced_size_is_respected(workdir, postfix, submit):  # noqa: F811
    large = workdir / "too-large"
    large.write_bytes(b"Subject: x\n\n" + b"123456789\n" * 30000)
    lines = submit(postfix.open, login=False, file=large)
    assert lines[2][1] == "permanent" and "takes at most 200000 bytes (SIZE)" in lines[2][2]


def test_many_messages_over_one_connection(postfix, submit):
    lines = submit(postfix.implicit, times=20)
    assert [line[1] for line in lines if line[0] == "orders@example.com"] == ["done"] * 20
    found = []
    wait_until(lambda: found.extend(new_mail(postfix.mail / "orders")) or len(found) == 20)
    assert all(mail.endswith(MESSAGE) for mail in found)


def test_a_message_at_every_chunk_boundary(workdir, postfix, submit):  # noqa: F811
    path = workdir / "boundary"
    for length in (16382, 16383, 16384, 16385):
        filler = b"".join(b".%070d\n" % i for i in range(length // 72 + 1))
        content = (HEADER + filler)[: length - 1] + b"\n"
        path.write_bytes(content)
        lines = submit(postfix.open, login=False, file=path)
        assert lines[2][1] == "done"
        arrived(postfix.mail / "orders", content)


def test_lmtp_to_dovecot(dovecot, sendone):  # noqa: F811
    lines = sendone(lmtp=dovecot.lmtp, to=["orders@example.com", "other@example.com"])
    assert [line[1] for line in lines] == ["done", "done", "done", "done", "good"], lines
    for name in ("orders", "other"):
        arrived(dovecot.mail / name)


def test_a_stopped_host_leaves_the_mail_waiting(workdir, good, sendone):  # noqa: F811
    lines = sendone(server="127.0.0.1", port=free_port(), tls_name=NAME, trust=good.trust)
    assert lines == [lines[0]] and lines[0][1] == "temporary" and "Connection refused" in lines[0][2]
