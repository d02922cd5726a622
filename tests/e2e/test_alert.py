"""`alert_to`: a person hears of held mail by mail: soon, seldom, never of what was typed, and whatever is restarted."""

import email
import email.policy
import os
import re
import subprocess
import time

import pytest

from bridge import Bridge, make_certificate, receipt_in, text_of
from test_seal import OWNER, mail_certificate
from test_queue import HELD, host, listed, post, queue, reload  # noqa: F401, F811 (host is a fixture)

HOUR = 3600


@pytest.fixture
def alarmed(host):  # noqa: F811
    """A bridge whose host refuses everything, and which says so to another mailbox."""
    host.answer = b"550 5.1.1 nobody here\r\n"
    with Bridge(start=False) as bridge:
        bridge.alerts = bridge.dir / "Alerts"
        bridge.config["bridge"].update(retry_min="1s", retry_max="1s", alert_to="admin@example.com second@example.com",
                                       alert_from="forms@example.com", alert_deliver=f"maildir:{bridge.alerts}")
        bridge.config["form order"]["deliver"] = f"lmtp:{host.path}"
        bridge.write_config()
        bridge.start()
        yield bridge


def alerts(bridge, count=None):
    def files():
        return sorted((bridge.alerts / "new").glob("*"))
    if count:
        bridge.wait_until(lambda: len(files()) >= count, f"{count} alerts")
    return [email.message_from_bytes(p.read_bytes(), policy=email.policy.default) for p in files()]


def an_hour_passes(bridge):
    """For the bridge, which must not run: what it remembers becomes an hour older."""
    stamp = bridge.spool / "alerted"
    stamp.write_text(f"{int(stamp.read_text()) - HOUR}\n")
    for path in (bridge.spool / "held").glob("*.state"):
        was = path.stat().st_mtime - HOUR
        os.utime(path, (was, was))


def post_marked(bridge):
    status, _, page = bridge.post([("name", "Ada"), ("secret", "the-typed-text")])
    assert status == 200
    return receipt_in(page)


def test_an_alert_names_what_is_held_and_why_but_nothing_that_was_typed(alarmed):
    receipt = post_marked(alarmed)
    (mail,) = alerts(alarmed, 1)
    assert mail["From"] == "forms@example.com" and mail["To"] == "admin@example.com, second@example.com"
    assert mail["Subject"] == "localhost: 1 message is held and needs a person"
    assert mail["Auto-Submitted"] == "auto-generated" and mail["Message-ID"].endswith("@localhost>")
    text = text_of(mail)
    assert f"{receipt} (form order)\n" in text and "550 5.1.1 nobody here" in text
    assert "Ada" not in mail.as_string() and "typed" not in mail.as_string()
    assert all(len(line) <= 78 for line in mail.as_string().splitlines())
    assert "formbridge queue release ID" in text
    alarmed.wait_until(lambda: alarmed.queue() == [], "empty queue")


def test_alerts_come_at_most_hourly_also_across_restarts(alarmed):
    first = post(alarmed)
    alerts(alarmed, 1)
    second = post(alarmed)
    alarmed.wait_for_log(f"held {second}")
    time.sleep(2.5)
    alarmed.stop()
    alarmed.start()
    third = post(alarmed)
    alarmed.wait_for_log(f"held {third}")
    time.sleep(2.5)
    assert len(alerts(alarmed)) == 1
    alarmed.stop()
    an_hour_passes(alarmed)
    alarmed.start()
    both = alerts(alarmed, 2)
    text = "".join(text_of(m) for m in both)
    for receipt in (first, second, third):
        assert text.count(receipt) == 1, "each is told of once"
    assert "2 messages are held" in both[0]["Subject"] + both[1]["Subject"]


def test_nothing_new_is_no_alert(alarmed):
    post(alarmed)
    alerts(alarmed, 1)
    alarmed.stop()
    an_hour_passes(alarmed)
    alarmed.start()
    time.sleep(2.5)
    assert len(alerts(alarmed)) == 1


def everything_waits(bridge, host, after):  # noqa: F811
    host.answer = b"451 4.3.0 later\r\n"
    bridge.stop()
    bridge.config["bridge"]["alert_after"] = after
    bridge.write_config()
    bridge.start()


def test_what_waits_for_long_is_told_of_once(alarmed, host):  # noqa: F811
    """A mail host that does not know the password any more puts everything off for days."""
    everything_waits(alarmed, host, "2s")
    receipt = post_marked(alarmed)
    time.sleep(2.5)
    queue(alarmed, "flush")  # in place of half a minute until the queue is looked at
    (mail,) = alerts(alarmed, 1)
    assert mail["Subject"] == "localhost: 1 message waits for long"
    text = text_of(mail)
    assert "These have waited for " in text and f"{receipt} (form order)\n" in text and "451 4.3.0 later" in text
    assert "Ada" not in mail.as_string() and "typed" not in mail.as_string()


def test_nobody_is_told_of_what_waits_where_that_is_not_wanted(alarmed, host):  # noqa: F811
    everything_waits(alarmed, host, "0")
    post_marked(alarmed)
    for _ in range(3):
        time.sleep(1)
        queue(alarmed, "flush")
    assert alerts(alarmed) == []


def test_what_a_person_holds_is_no_news(alarmed, host):  # noqa: F811
    host.answer = b"451 4.3.0 later\r\n"
    receipt = post(alarmed)
    alarmed.wait_for_log(f"deferred {receipt}")
    queue(alarmed, "hold", receipt)
    alarmed.stop()
    alarmed.start()
    time.sleep(2.5)
    assert alerts(alarmed) == []
    host.answer = b"550 5.1.1 nobody here\r\n"
    other = post(alarmed)
    (mail,) = alerts(alarmed, 1)
    assert other in text_of(mail) and receipt not in text_of(mail)


def test_many_held_messages_are_one_mail_that_counts_them(alarmed):
    alarmed.stop()
    for i in range(45):
        name = f"20260101T0000{i:02}Z.7K2M-Q9XD-4T{i:02}.order"
        (alarmed.spool / "held" / name).write_bytes(b"Subject: x\n\nx\n")
        state = alarmed.spool / "held" / f"{name}.state"
        state.write_bytes(b"formbridge-state 1\nheld no room at the host\n")
        os.utime(state, (1767225600, 1767225600))
    alarmed.start()
    (mail,) = alerts(alarmed, 1)
    text = text_of(mail)
    assert text.count("no room at the host") == 20 and "and 25 more\n" in text
    assert "45 messages are held" in mail["Subject"]


def test_an_alert_waits_and_is_retried_like_any_mail(alarmed, host):  # noqa: F811
    alarmed.stop()
    alarmed.config["bridge"]["alert_deliver"] = f"lmtp:{host.path}"
    alarmed.write_config()
    alarmed.start()
    receipt = post(alarmed)
    alarmed.wait_for_log(f"held {receipt}")
    host.answer = b"451 4.3.0 later\r\n"
    alarmed.wait_for_log("(form _alert) to lmtp:")
    waits = [e for e in listed(alarmed, HELD) if e["form"] == "_alert"]
    assert len(waits) == 1


def test_an_alert_that_fails_is_held_and_causes_no_other(alarmed, host):  # noqa: F811
    alarmed.stop()
    alarmed.config["bridge"]["alert_deliver"] = f"lmtp:{host.path}"
    alarmed.write_config()
    alarmed.start()
    receipt = post(alarmed)
    alarmed.wait_for_log("(form _alert): ")
    alarmed.stop()
    an_hour_passes(alarmed)
    alarmed.start()
    time.sleep(2.5)
    entries = listed(alarmed, HELD)
    assert sorted(e["form"] for e in entries) == ["_alert", "order"] and receipt in [e["id"] for e in entries]
    assert {e["state"] for e in entries} == {"held"}


def test_an_alert_outlives_a_config_without_alerts(alarmed, host):  # noqa: F811
    host.answer = b"550 5.1.1 nobody here\r\n"
    alarmed.stop()
    alarmed.config["bridge"]["alert_deliver"] = f"lmtp:{host.path}"
    alarmed.write_config()
    alarmed.start()
    post(alarmed)
    alarmed.wait_for_log("(form _alert): ")
    (alert,) = [e for e in listed(alarmed, HELD) if e["form"] == "_alert"]
    for key in ("alert_to", "alert_from", "alert_deliver"):
        del alarmed.config["bridge"][key]
    alarmed.write_config()
    reload(alarmed)
    queue(alarmed, "release", alert["id"])
    alarmed.wait_for_log("the config has no alert_to to say where it goes")
    assert len([e for e in listed(alarmed, HELD) if e["form"] == "_alert"]) == 1


def test_no_visitor_can_send_an_alert(alarmed):
    status, _, _ = alarmed.post([("name", "Ada")], "_alert")
    assert status == 404
    assert alarmed.queue() == []


# ---- certificates


def calm(bridge, host):  # noqa: F811
    """Nothing else to tell."""
    host.answer = b"250 ok\r\n"
    bridge.stop()


def test_a_tls_certificate_that_ends_is_told_of_once(alarmed, host):  # noqa: F811
    """Who has no monitoring reads mail: a renewal that fails for weeks must not be found out by visitors."""
    calm(alarmed, host)
    make_certificate(alarmed.dir, days=10)
    alarmed.start()
    (mail,) = alerts(alarmed, 1)
    assert mail["Subject"] == "localhost: a certificate has to be renewed"
    assert re.search(r"^The TLS certificate ends on \d{4}-\d\d-\d\d, in (9|10) days: renew it\.\n    formbridge check ", text_of(mail), re.M)
    assert "formbridge queue" not in text_of(mail)
    alarmed.stop()
    an_hour_passes(alarmed)
    alarmed.start()
    time.sleep(2)
    assert len(alerts(alarmed)) == 1


def test_a_certificate_for_mail_that_has_ended_is_told_of(alarmed, host, tmp_path):  # noqa: F811
    calm(alarmed, host)
    cert, key = mail_certificate(tmp_path, "owner")[:2]
    subprocess.run(["openssl", "x509", "-in", cert, "-signkey", key, "-days", "-1", "-out", cert], check=True, capture_output=True)
    alarmed.config["form order"].update(encrypt_to=cert, to=OWNER)
    alarmed.write_config()
    alarmed.start()
    (mail,) = alerts(alarmed, 1)
    assert re.search(r"^A certificate that mail is encrypted for ended on [-\d]+: the form with it takes nothing until it is renewed", text_of(mail), re.M)
