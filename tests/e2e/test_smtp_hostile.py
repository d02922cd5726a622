"""Every state of an SMTP session against every kind of answer, and what only an attacker would say."""

import base64
import socket
import time

import pytest
from mailhosts import (  # noqa: F401 (fixtures)
    EOF,
    MESSAGE,
    NAME,
    PLAINTEXT,
    SILENCE,
    Server,
    assert_nothing_sent,
    good,
    sendone,
    workdir,
)

DUPLICATE = "may bring a duplicate"


@pytest.fixture(scope="session")
def secret(workdir):  # noqa: F811
    path = workdir / "secret"
    path.write_text("correct horse\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def session(good, sendone, secret):  # noqa: F811
    """session(script, **keys) -> (server, lines): one connection to a scripted host."""

    def run(script=None, login=True, starttls=False, **keys):
        script = {k.replace("-", "_"): v for k, v in (script or {}).items()}
        keys = {"server": "127.0.0.1", "tls_name": NAME, "trust": good.trust} | keys
        if login:
            keys |= {"username": "website", "password_file": secret}
        if starttls:
            keys["tls"] = "starttls"
        with Server(good, implicit=not starttls, **script) as server:
            lines = sendone(port=server.port, **keys)
        return server, lines

    return run


def outcome_of(lines, what):
    return next((outcome, reason) for kind, outcome, reason in lines if kind == what)


def drip(c):
    for byte in b"250-" + b"x" * 30:
        c.send(bytes([byte]))
        time.sleep(0.2)
    return False


OPENING = ["GREETING", "EHLO", "STARTTLS", "EHLO-TLS", "AUTH", "CHALLENGE"]
TRANSACTION = ["MAIL", "RCPT", "DATA", "BODY"]

BROKEN = {
    "421": b"421 4.3.2 closing\r\n",
    "empty-line": b"\r\n",
    "words": b"hello\r\n",
    "short-code": b"25\r\n",
    "code-out-of-range": b"999 what\r\n",
    "no-space": b"250_ok\r\n",
    "two-codes": b"250-ok\r\n451 no\r\n",
    "bare-lf": b"250 ok\n",
    "bare-cr": b"250 o\rk\r\n",
    "nul": b"250 o\0k\r\n",
    "over-long-line": b"250 " + b"x" * 3000 + b"\r\n",
    "endless-line": b"250 " + b"x" * 100000,
    "endless-reply": b"250-x\r\n" * 2000,
    "end-of-stream": EOF,
    "end-in-a-line": lambda c: c.send(b"250 o"),
    "end-in-a-reply": lambda c: c.send(b"250-o\r\n"),
    "silence": SILENCE,
    "drip": drip,
}


@pytest.mark.parametrize("answer", BROKEN)
@pytest.mark.parametrize("state", OPENING)
def test_a_broken_answer_while_opening_is_temporary_and_sends_nothing(session, state, answer):
    server, lines = session({state: BROKEN[answer]}, starttls=True, timeout=1)
    assert lines[0][:2] == ("open", "temporary"), lines
    assert len(lines) == 1 and server.said("MAIL") == []
    assert f":{server.port}: " in lines[0][2]


@pytest.mark.parametrize("answer", BROKEN)
@pytest.mark.parametrize("state", TRANSACTION)
def test_a_broken_answer_in_a_transaction_is_temporary_and_ends_the_connection(session, state, answer):
    server, lines = session({state: BROKEN[answer]}, timeout=1, to=["a@example.com", "b@example.com"])
    assert outcome_of(lines, "connection")[0] == "lost"
    for address in ("a@example.com", "b@example.com"):
        outcome, reason = outcome_of(lines, address)
        assert outcome == "temporary", lines
        assert (DUPLICATE in reason) == (state == "BODY" and answer != "421"), reason


REFUSALS = {
    # state: {answer: outcome of opening}; the mail waits until the host or the config is repaired
    "GREETING": [b"421 4.3.2 busy", b"450 later", b"554 5.7.1 no service", b"250 hm", b"354 hm"],
    "EHLO": [b"450 later", b"500 what", b"502 5.5.1 no", b"220 hm", b"334 hm", b"250 alone"],
    "STARTTLS": [b"454 4.7.0 not now", b"501 5.5.4 no", b"502 no", b"250 hm", b"334 hm"],
    "EHLO-TLS": [b"450 later", b"502 no", b"220 hm", b"334 hm", b"250 alone"],
    "AUTH": [b"454 4.7.0 later", b"504 5.5.4 no such", b"535 5.7.8 no", b"538 5.7.11 tls", b"235 2.7.0 ok", b"250 hm"],
    "CHALLENGE": [b"454 4.7.0 later", b"535 5.7.8 no", b"534 5.7.9 weak", b"250 hm", b"334 !!!", b"334 "],
}


@pytest.mark.parametrize("state,answer", [(s, a) for s in REFUSALS for a in REFUSALS[s]])
def test_a_refusal_while_opening_is_temporary_and_sends_nothing(session, state, answer):
    server, lines = session({state: answer + b"\r\n"}, starttls=True, timeout=2)
    assert lines[0][:2] == ("open", "temporary") and len(lines) == 1, lines
    assert server.said("MAIL") == []
    if state in ("GREETING", "EHLO", "STARTTLS"):
        assert_nothing_sent(server)


def test_a_refused_login_says_what_to_repair(session):
    _, lines = session({"CHALLENGE": b"535 5.7.8 Error: authentication failed\r\n"})
    assert lines[0][1] == "temporary"
    assert "535 5.7.8 Error: authentication failed; check username and password_file" in lines[0][2]
    assert "correct" not in lines[0][2]


ANSWERED = [
    # state, answer, outcome, is the connection still good
    ("MAIL", b"200 ok", "done", True),
    ("MAIL", b"354 hm", "temporary", False),
    ("MAIL", b"451 4.3.0 later", "temporary", True),
    ("MAIL", b"550 5.7.1 no", "permanent", True),
    ("MAIL", b"530 5.7.0 Authentication required", "temporary", True),
    ("RCPT", b"251 2.1.5 will forward", "done", True),
    ("RCPT", b"354 hm", "temporary", False),
    ("RCPT", b"450 4.2.1 later", "temporary", True),
    ("RCPT", b"550 5.1.1 unknown", "permanent", True),
    ("RCPT", b"552 too many recipients", "temporary", True),
    ("DATA", b"250 hm", "temporary", False),
    ("DATA", b"334 hm", "temporary", False),
    ("DATA", b"451 4.3.0 later", "temporary", True),
    ("DATA", b"554 5.7.1 no", "permanent", True),
    ("BODY", b"200 ok", "done", True),
    ("BODY", b"354 hm", "temporary", False),
    ("BODY", b"452 4.3.1 disk full", "temporary", True),
    ("BODY", b"552 5.3.4 too big", "permanent", True),
]


@pytest.mark.parametrize("pipelining", [False, True])
@pytest.mark.parametrize("state,answer,outcome,good_after", ANSWERED)
def test_the_host_decides_in_a_transaction(session, state, answer, outcome, good_after, pipelining):
    ehlo = b"250-mail.example.com\r\n" + (b"250-PIPELINING\r\n" if pipelining else b"") + b"250 AUTH PLAIN\r\n"
    script = {"EHLO-TLS": ehlo, state: [answer + b"\r\n"] * 2}
    server, lines = session(script, to=["a@example.com", "b@example.com"], times=2)
    assert outcome_of(lines, "a@example.com")[0] == outcome, lines
    assert outcome_of(lines, "b@example.com")[0] == outcome, lines
    assert outcome_of(lines, "connection")[0] == ("good" if good_after else "lost")
    if good_after:
        words = answer.decode()
        assert words in outcome_of(lines, "a@example.com")[1] or outcome == "done"
        assert server.said("QUIT") == ["QUIT"]


def test_after_an_unfinished_transaction_comes_rset(session):
    server, lines = session({"RCPT": [b"550 5.1.1 unknown\r\n"]}, times=2)
    assert [line[1] for line in lines if line[0] == "orders@example.com"] == ["permanent", "done"]
    assert server.said("RSET") == ["RSET"]
    server, lines = session({"RCPT": [b"550 5.1.1 unknown\r\n"], "RSET": b"500 what\r\n"}, times=2)
    assert [line[1] for line in lines if line[0] == "orders@example.com"] == ["permanent", "temporary"]


@pytest.mark.parametrize("pipelining", [False, True])
def test_recipients_have_outcomes_of_their_own(session, pipelining):
    ehlo = b"250-mail.example.com\r\n" + (b"250-PIPELINING\r\n" if pipelining else b"") + b"250 AUTH PLAIN\r\n"
    answers = [b"250 ok\r\n", b"550 5.1.1 unknown\r\n", b"450 4.2.0 greylisted\r\n", b"250 ok\r\n"]
    to = ["a@example.com", "b@example.com", "c@example.com", "d@example.com"]
    server, lines = session({"EHLO-TLS": ehlo, "RCPT": answers}, to=to)
    assert [outcome_of(lines, a)[0] for a in to] == ["done", "permanent", "temporary", "done"]
    assert len(server.bodies) == 1


def test_many_recipients_are_one_transaction(session):
    to = [f"a{i}@example.com" for i in range(120)]
    ehlo = b"250-mail.example.com\r\n250-PIPELINING\r\n250 AUTH PLAIN\r\n"
    server, lines = session({"EHLO-TLS": ehlo}, to=to)
    assert {outcome_of(lines, a)[0] for a in to} == {"done"}
    assert len(server.said("MAIL")) == 1 and len(server.said("RCPT")) == 120 and len(server.bodies) == 1


# ---- STARTTLS ------------------------------------------------------------------------------------------------------


def test_an_answer_injected_before_the_handshake_ends_the_session(session):
    server, lines = session({"STARTTLS": b"220 go ahead\r\n250 injected\r\n"}, starttls=True)
    assert lines[0][:2] == ("open", "temporary") and "attacker" in lines[0][2]
    assert_nothing_sent(server)


def test_an_answer_injected_a_moment_later_ends_the_session(session):
    def later(c):
        c.send(b"220 go ahead\r\n")
        time.sleep(0.3)
        c.send(b"250 injected\r\n")
        return True

    server, lines = session({"STARTTLS": later}, starttls=True)
    assert lines[0][:2] == ("open", "temporary") and "clear text after STARTTLS" in lines[0][2]
    assert_nothing_sent(server)


def test_going_on_in_clear_after_starttls_ends_the_session(session):
    server, lines = session({"AFTER-STARTTLS": PLAINTEXT}, starttls=True)
    assert lines[0][:2] == ("open", "temporary") and "nothing was sent" in lines[0][2]
    assert_nothing_sent(server)


def test_without_starttls_nothing_is_sent(session):
    server, lines = session({"EHLO": b"250-mail.example.com\r\n250 AUTH PLAIN LOGIN\r\n"}, starttls=True)
    assert lines[0][:2] == ("open", "temporary") and "offers no STARTTLS" in lines[0][2]
    assert_nothing_sent(server)


def test_a_second_greeting_ends_the_session(session):
    server, lines = session({"GREETING": b"220 one\r\n220 two\r\n"}, starttls=True)
    assert lines[0][:2] == ("open", "temporary") and "out of turn" in lines[0][2]
    assert_nothing_sent(server)


def test_what_was_offered_in_clear_is_forgotten_under_tls(session):
    script = {
        "EHLO": b"250-mail.example.com\r\n250-STARTTLS\r\n250-PIPELINING\r\n250-SIZE 10\r\n250-DSN\r\n250 AUTH PLAIN\r\n",
        "EHLO-TLS": b"250 mail.example.com\r\n",
    }
    server, lines = session(script, starttls=True)
    assert lines[0][1] == "temporary" and "offers no AUTH" in lines[0][2]
    server, lines = session(script, starttls=True, login=False)
    assert outcome_of(lines, "orders@example.com")[0] == "done"
    assert server.said("MAIL") == ["MAIL FROM:<website@example.com>"]


def test_plain_smtp_on_the_implicit_port_is_explained(good, sendone):  # noqa: F811
    with Server(None, context=None) as server:
        lines = sendone(server="127.0.0.1", port=server.port, tls_name=NAME, trust=good.trust, timeout=3)
    assert lines[0][1] == "temporary" and "set tls = starttls" in lines[0][2]
    assert len(server.connections[0].wire) > 0 and set(server.lines) == set()


def test_tls_on_the_starttls_port_is_explained(good, sendone):  # noqa: F811
    with Server(good) as server:
        lines = sendone(server="127.0.0.1", port=server.port, tls_name=NAME, trust=good.trust, tls="starttls", timeout=1)
    assert lines[0][1] == "temporary" and "set tls = implicit" in lines[0][2]


# ---- AUTH -------------------------------------------------------------------------------------------------------------


def test_success_before_the_host_proved_itself_is_no_success(session):
    ehlo = b"250-mail.example.com\r\n250 AUTH PLAIN SCRAM-SHA-256\r\n"
    server, lines = session({"EHLO-TLS": ehlo, "CHALLENGE": b"235 2.7.0 welcome\r\n"})
    assert lines[0][1] == "temporary" and "impostor" in lines[0][2]
    assert server.said("AUTH") == ["AUTH SCRAM-SHA-256"] and server.said("MAIL") == []


def test_the_password_goes_out_as_configured(session):
    server, _ = session()
    assert base64.b64decode(server.lines[2]) == b"\0website\0correct horse"


def test_login_is_spoken_where_nothing_better_is_offered(session):
    answers = []

    def prompt(c):
        c.send(b"334 UGFzc3dvcmQ6\r\n")
        answers.append(c.line())
        c.send(b"235 ok\r\n")
        return True

    server, lines = session({"EHLO-TLS": b"250-mail.example.com\r\n250 AUTH LOGIN\r\n", "CHALLENGE": prompt})
    assert outcome_of(lines, "orders@example.com")[0] == "done"
    assert base64.b64decode(server.lines[2]) == b"website"
    assert base64.b64decode(answers[0]) == b"correct horse"


def test_an_unknown_mechanism_is_named(session):
    _, lines = session({"EHLO-TLS": b"250-mail.example.com\r\n250 AUTH XOAUTH2 CRAM-MD5\r\n"})
    assert lines[0][1] == "temporary" and "none of SCRAM-SHA-256, PLAIN and LOGIN" in lines[0][2]


@pytest.mark.parametrize(
    "content,mode,words",
    [
        (b"secret\n", 0o644, "chmod 600"),
        (b"secret\n", 0o660, "chmod 600"),
        (b"", 0o600, "must hold one line"),
        (b"\n", 0o600, "must hold one line"),
        (b"one\ntwo\n", 0o600, "must hold one line"),
        (b"nul\0\n", 0o600, "must hold one line"),
        (b"x" * 600, 0o600, "at most 512"),
        (None, 0, "No such file"),
    ],
)
def test_a_password_file_that_is_not_right_is_refused(workdir, good, sendone, content, mode, words):  # noqa: F811
    path = workdir / "password"
    path.unlink(missing_ok=True)
    if content is not None:
        path.write_bytes(content)
        path.chmod(mode)
    lines = sendone(server="127.0.0.1", port=1, trust=good.trust, username="u", password_file=path)
    assert lines[0][:2] == ("load", "failed") and words in lines[0][2] and str(path) in lines[0][2]
    assert "secret" not in lines[0][2]


# ---- the message -------------------------------------------------------------------------------------------------------


def test_dots_are_stuffed_and_lines_end_in_crlf(session):
    server, lines = session()
    expected = MESSAGE.replace(b"\n", b"\r\n").replace(b"\r\n.", b"\r\n..") + b".\r\n"
    assert server.bodies == [expected]
    assert outcome_of(lines, "orders@example.com") == (
        "done",
        f"127.0.0.1:{server.port} answered the message with: 250 2.0.0 queued as 1",
    )


UNSENDABLE = {
    "empty": (b"", "is empty"),
    "bare-cr": (b"Subject: x\n\nend\r.\r\nMAIL FROM:<x@example.org>\n", "carriage return"),
    "crlf": (b"Subject: x\r\n\r\n", "carriage return"),
    "nul": (b"Subject: x\n\na\0b\n", "NUL"),
    "long-line": (b"Subject: x\n\n" + b"x" * 999 + b"\n", "more than 998"),
    "eight-bit": (b"Subject: x\n\n\xc3\xa4\n", "8BITMIME"),
    "eight-bit-header": (b"Subject: \xc3\xa4\n\nx\n", "SMTPUTF8"),
    "too-large": (b"Subject: x\n\n" + b"xxxxxxxxx\n" * 20000, "takes at most 200000 bytes (SIZE), the message has 220014"),
}


@pytest.mark.parametrize("case", UNSENDABLE)
def test_a_message_that_must_not_go_out_never_begins(workdir, session, case):  # noqa: F811
    content, words = UNSENDABLE[case]
    path = workdir / f"message-{case}"
    path.write_bytes(content)
    ehlo = b"250-mail.example.com\r\n250-SIZE 200000\r\n250 AUTH PLAIN\r\n"
    server, lines = session({"EHLO-TLS": ehlo}, file=path)
    outcome, reason = outcome_of(lines, "orders@example.com")
    assert outcome == "permanent" and words in reason
    assert server.said("MAIL") == [] and outcome_of(lines, "connection")[0] == "good"


def test_a_large_message_arrives_whole(workdir, session):  # noqa: F811
    path = workdir / "large"
    content = b"Subject: x\n\n" + b"".join(b".%d " % i + b"x" * (i % 900) + b"\n" for i in range(4000)) + b"no end"
    path.write_bytes(content)
    ehlo = b"250-mail.example.com\r\n250-SIZE 0\r\n250 AUTH PLAIN\r\n"
    server, lines = session({"EHLO-TLS": ehlo}, file=path)
    assert outcome_of(lines, "orders@example.com")[0] == "done"
    assert server.bodies[0] == (b"\r\n" + content.replace(b"\n", b"\r\n")).replace(b"\r\n.", b"\r\n..")[2:] + b"\r\n.\r\n"
    assert f"SIZE={len(content) + content.count(b'%c' % 10) + 2}" in server.said("MAIL")[0]


def test_success_said_before_the_end_is_no_success(session):
    server, lines = session({"DATA": b"354 go ahead\r\n250 2.0.0 queued\r\n"})
    assert outcome_of(lines, "orders@example.com")[0] == "temporary"
    assert "out of turn" in outcome_of(lines, "orders@example.com")[1]
    assert outcome_of(lines, "connection")[0] == "lost" and server.bodies == []


def test_a_connection_lost_within_the_message_is_temporary(workdir, session):  # noqa: F811
    path = workdir / "long"
    path.write_bytes(b"Subject: x\n\n" + b"x" * 70 * 1 + (b"\n" + b"x" * 70) * 200000)

    def hang_up(c):
        c.send(b"354 go ahead\r\n")
        c.receive()
        return False

    _, lines = session({"EHLO-TLS": b"250-x\r\n250 AUTH PLAIN\r\n", "DATA": hang_up}, file=path)
    outcome, reason = outcome_of(lines, "orders@example.com")
    assert outcome == "temporary" and "middle of the message" in reason and DUPLICATE not in reason


def test_a_host_that_takes_nothing_within_the_message_is_temporary(workdir, session):  # noqa: F811
    path = workdir / "long2"
    path.write_bytes(b"Subject: x\n\n" + (b"x" * 70 + b"\n") * 200000)

    def stop_reading(c):
        c.send(b"354 go ahead\r\n")
        time.sleep(3)
        return False

    _, lines = session({"EHLO-TLS": b"250-x\r\n250 AUTH PLAIN\r\n", "DATA": stop_reading}, file=path, timeout=1)
    outcome, reason = outcome_of(lines, "orders@example.com")
    assert outcome == "temporary" and "middle of the message" in reason


# ---- extensions ------------------------------------------------------------------------------------------------------


def test_extensions_are_used_where_offered_and_needed(workdir, session):  # noqa: F811
    ehlo = b"250-m\r\n250-SIZE\r\n250-8bitmime\r\n250-DSN\r\n250-smtputf8\r\n250-REQUIRETLS\r\n250 AUTH PLAIN\r\n"
    path = workdir / "eight"
    path.write_bytes(b"Subject: x\n\n\xc3\xa4\n")
    server, lines = session({"EHLO-TLS": ehlo}, file=path, to=["\u00e4@example.com"], requiretls="yes")
    assert lines[2][1] == "done"
    assert server.said("MAIL") == [
        "MAIL FROM:<website@example.com> SIZE=18 BODY=8BITMIME SMTPUTF8 RET=HDRS REQUIRETLS"
    ]
    assert server.said("RCPT") == ["RCPT TO:<\u00e4@example.com> NOTIFY=FAILURE"]
    server, _ = session({"EHLO-TLS": ehlo})
    assert "SMTPUTF8" not in server.said("MAIL")[0] and "8BITMIME" not in server.said("MAIL")[0]


def test_requiretls_that_is_not_offered_is_permanent(session):
    server, lines = session(requiretls="yes")
    assert lines[0][:2] == ("open", "permanent") and "REQUIRETLS" in lines[0][2]
    assert server.said("AUTH") == [] and server.said("MAIL") == []


def test_an_address_that_needs_smtputf8_fails_alone(session):
    server, lines = session(to=["a@example.com", "\u00e4@example.com"])
    assert outcome_of(lines, "a@example.com")[0] == "done"
    assert outcome_of(lines, "\u00e4@example.com")[0] == "permanent"
    assert len(server.said("RCPT")) == 1


@pytest.mark.parametrize("bad", ["a@example.com>\r\nRCPT TO:<b@example.com", "a b@example.com", "a@example.com\r", ""])
def test_an_address_cannot_add_a_command(session, bad):
    server, lines = session(to=[bad, "ok@example.com"])
    assert "the address cannot stand in RCPT TO" in str(lines) and ("ok@example.com", "done") in [x[:2] for x in lines]
    assert server.said("RCPT") == ["RCPT TO:<ok@example.com>"]


def test_an_old_host_under_tls_is_greeted_with_helo(session):
    server, lines = session({"EHLO-TLS": b"502 5.5.1 what\r\n"}, login=False)
    assert outcome_of(lines, "orders@example.com")[0] == "done"
    assert server.said("HELO") == ["HELO forms.example.com"]
    assert server.said("MAIL") == ["MAIL FROM:<website@example.com>"]


# ---- reuse ----------------------------------------------------------------------------------------------------------------


def test_a_connection_is_used_again(session):
    server, lines = session(times=3)
    assert [line[1] for line in lines if line[0] == "orders@example.com"] == ["done"] * 3
    assert len(server.connections) == 1 and len(server.said("AUTH")) == 1 and len(server.bodies) == 3


def test_a_connection_that_was_closed_while_idle_is_noticed(session):
    def then_close(c):
        c.send(b"250 2.0.0 queued\r\n")
        c.send(b"421 4.4.2 idle for too long\r\n")
        return False

    _, lines = session({"BODY": then_close}, times=2, pause=1)
    assert ("idle", "lost", "") in lines
    assert outcome_of(lines, "orders@example.com")[0] == "done"


def test_the_end_is_a_close_notify(session):
    server, lines = session()
    assert outcome_of(lines, "orders@example.com")[0] == "done"
    assert server.said("QUIT") == ["QUIT"]
    assert server.errors == []  # without close_notify this server would see a truncation


# ---- LMTP and addresses ----------------------------------------------------------------------------------------------------


def test_lmtp_has_an_answer_for_each_recipient(sendone):  # noqa: F811
    to = ["a@example.com", "b@example.com", "c@example.com", "d@example.com"]
    verdicts = b"250 2.0.0 a\r\n452 4.2.2 b is full\r\n550 5.2.0 no\r\n"
    with Server(None, RCPT=[b"250 ok\r\n", b"250 ok\r\n", b"550 5.1.1 c\r\n", b"250 ok\r\n"], BODY=verdicts) as server:
        lines = sendone(lmtp=f"127.0.0.1:{server.port}", to=to)
    assert [outcome_of(lines, a)[0] for a in to] == ["done", "temporary", "permanent", "permanent"]
    assert "b is full" in outcome_of(lines, "b@example.com")[1]
    assert server.said("LHLO") == ["LHLO forms.example.com"] and server.said("QUIT") == ["QUIT"]


def test_lmtp_that_ends_between_answers_leaves_the_rest_for_later(sendone):  # noqa: F811
    to = ["a@example.com", "b@example.com"]
    with Server(None, BODY=lambda c: c.send(b"250 2.0.0 a\r\n")) as server:
        lines = sendone(lmtp=f"127.0.0.1:{server.port}", to=to)
    assert [outcome_of(lines, a)[0] for a in to] == ["done", "temporary"]
    assert DUPLICATE in outcome_of(lines, "b@example.com")[1]


def test_lmtp_never_leaves_the_machine(sendone):  # noqa: F811
    for where in ("192.0.2.1:24", "[2001:db8::1]:24", "0.0.0.0:24"):
        lines = sendone(lmtp=where)
        assert lines[0][:2] == ("open", "temporary") and "not on this machine" in lines[0][2]
    lines = sendone(lmtp="/nonexistent/socket")
    assert lines[0][:2] == ("open", "temporary") and "No such file" in lines[0][2]


def test_a_host_that_is_not_there_is_named_with_its_addresses(good, sendone):  # noqa: F811
    with socket.create_server(("127.0.0.1", 0)) as s:
        port = s.getsockname()[1]
    lines = sendone(server="127.0.0.1", port=port, tls_name=NAME, trust=good.trust)
    assert lines[0][1] == "temporary"
    assert lines[0][2] == f"127.0.0.1:{port}: cannot connect: 127.0.0.1: Connection refused"
    lines = sendone(server="mail.invalid", port=465, trust=good.trust)
    assert lines[0][1] == "temporary" and "mail.invalid cannot be looked up" in lines[0][2]
