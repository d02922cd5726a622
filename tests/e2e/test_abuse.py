"""What was done to FormMail scripts for thirty years, done to us: no recipient, header, part or message more than the owner
asked for, and no request that costs much more than its bytes."""

import email
import email.policy
import itertools
import json
import os
import pathlib
import random
import re

import pytest

from bridge import Bridge, fields_of, multipart, receipt_in, text_of, uploads_of

SITE, EVIL = "https://www.example.com", "evil@evil.example"
DIALECTS = "formspree formmail netlify web3forms"
HEADERS = {"Received", "Date", "From", "To", "Subject", "Reply-To", "Message-ID", "X-Formbridge-Form",
           "X-Formbridge-Ref", "MIME-Version", "Content-Type", "Content-Transfer-Encoding", "X-Spam-Flag", "X-Spam-Score",
           "X-Spam-Reason"}


@pytest.fixture(scope="module")
def bridge():
    common = {**Bridge.FORM, "origins": SITE, "required": None, "reply_to": "{email}", "subject": "{name} {subject}", "spam": "off"}
    with Bridge({"bridge": {"fronts": 1, "max_fields": 1000},
                 "form order": {**common, "dialect": DIALECTS},
                 "form plain": {**common, "dialect": "none"}}, start=False) as b:
        b.config["form plain"]["deliver"] = b.config["form order"]["deliver"]
        b.write_config()
        b.start()
        yield b


def raw_mail(bridge, receipt):
    bridge.mail(receipt)
    (path,) = [p for p in bridge.mail_files() if receipt in p.name]
    return path.read_bytes()


def accepted(bridge):
    return bridge.log().count("front: accepted ")


def sent(bridge, body, form="order", **headers):
    """Posts, and checks what must hold for every mail. Returns the mail."""
    before = accepted(bridge)
    status, got, page = bridge.post(body, form=form, headers=headers)
    assert status in (200, 303), page
    assert "evil" not in got.get("Location", "") and "Set-Cookie" not in got and "X-Evil" not in got
    raw = raw_mail(bridge, receipt_in(page))
    assert accepted(bridge) == before + 1
    assert b"\r" not in raw and b"\0" not in raw and raw.isascii() and max(map(len, raw.split(b"\n"))) <= 998
    mail = email.message_from_bytes(raw, policy=email.policy.default)
    assert set(mail.keys()) <= HEADERS and len(mail.keys()) == len(set(mail.keys())), mail.keys()
    assert mail["To"] == "owner@example.com" and mail["From"] == "website@example.com" and mail["Cc"] is None and mail["Bcc"] is None
    assert mail["Reply-To"] is None or re.fullmatch(r"[^\s,;<>]+@[^\s,;<>]+", mail["Reply-To"])
    assert mail.defects == [] and all(part.defects == [] for part in mail.walk())
    return mail


# ---- recipients ---------------------------------------------------------------------------------------------------

NAMES = """to cc bcc To CC Bcc recipient Recipient RECIPIENT recipients recipient_list _to _cc _bcc _recipient _email mailto sendto
send_to target owner rcpt envelope-to resent-to errors-to return-path sender from _from from_name ccemail email_to alert_to
autorespond _autoresponse _webhook webhook mail_options deliver deliver_to spool subject[to] to[] recipient[] X-To Apparently-To
missing_fields_redirect print_config env_report derive_fields file_names csvfile logfile crm_url good_template""".split()
ADDRESSES = [EVIL, f"owner@example.com,{EVIL}", f"<{EVIL}>", f"owner@example.com\r\nBcc: {EVIL}", f"owner@example.com%0aBcc:{EVIL}",
             f'"owner@example.com" {EVIL}', f"owner@example.com({EVIL})", f"{EVIL}?owner@example.com", f"|/bin/sh -c x;{EVIL}",
             f"owner%evil.example@example.com {EVIL}", f"{EVIL}\0owner@example.com", f"@evil.example:{EVIL}", "/etc/passwd"]


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("form", ["order", "plain"])
def test_no_field_names_a_recipient(bridge, form, address):
    sent(bridge, [(name, address) for name in NAMES] + [("message", "x")], form)


@pytest.mark.parametrize("address", ADDRESSES)
def test_the_address_for_answers_is_one_or_none(bridge, address):
    for name in ("email", "_replyto", "replyto", "reply-to", "Reply-To"):
        mail = sent(bridge, [("name", "Ada"), (name, address)])
        assert mail["Reply-To"] in (None, EVIL) and (mail["Reply-To"] is None or address == EVIL)
        assert [n for n, _ in fields_of(mail)] == ["name", name]  # not lost, whatever it is


# ---- headers, parts and messages ------------------------------------------------------------------------------------

PAYLOADS = {
    "header": "x\r\nX-Evil: 1", "line feed": "x\nX-Evil: 1", "return": "x\rX-Evil: 1", "escaped": "x%0d%0aX-Evil: 1",
    "doubly escaped": "x%250aX-Evil: 1", "folded": "x\r\n X-Evil: 1\r\nX-Evil: 2", "next line": "x\u0085X-Evil: 1",
    "separators": "x\u2028X-Evil: 1\u2029X-Evil: 2", "form feed": "x\fX-Evil: 1\vX-Evil: 2", "body": "x\r\n\r\nX-Evil: 1",
    "part": "x\r\n--=_0\r\nContent-Type: text/html\r\n\r\n<b>evil</b>", "type": "x\r\nContent-Type: multipart/mixed; boundary=evil\r\n\r\n--evil",
    "mbox": "x\n\nFrom evil@evil.example Mon Jan  1 00:00:00 2026\nSubject: evil", "smtp": "x\r\n.\r\nMAIL FROM:<evil@evil.example>\r\n",
    "encoded word": "=?utf-8?q?x=0d=0aX-Evil:_1?=", "encoded word, base64": "=?utf-8?b?eA0KWC1FdmlsOiAx?=", "nul": "x\0\r\nX-Evil: 1",
    "overlong": b"x\xc0\x8d\xc0\x8aX-Evil: 1", "not utf-8": b"\xff\xfe\r\nX-Evil: 1", "wide": "x\u560d\u560aX-Evil: 1",
    "footer": "x\r\n-- \r\nReceipt: EVIL", "backward": "\u202ex\u2066\r\nX-Evil: 1", "long": "\u00e4" * 5000 + "\r\nX-Evil: 1",
}
CONTROLS = """_next _subject _replyto _language _gotcha _cc _format redirect subject email realname required sort title return_link_url
missing_fields_redirect replyto from_name form-name access_key name message""".split()


def as_bytes(text):
    return text if isinstance(text, bytes) else text.encode()


@pytest.mark.parametrize("payload", PAYLOADS)
def test_no_value_becomes_a_header_or_a_part(bridge, payload):
    value = PAYLOADS[payload]
    mail = sent(bridge, [("other", "y")] + [(name, value) for name in CONTROLS if name != "required"])
    assert not mail.is_multipart() and "\n-- \nReceipt: " in text_of(mail)
    assert text_of(mail).count("\n-- \n") == 1
    for accept in ("application/json", "text/html"):
        fields = [("required", value), ("_language", value), ("_next", value), ("missing_fields_redirect", value)]
        status, got, page = bridge.post(fields, headers={"Accept": accept})
        assert status in (200, 422) and "X-Evil" not in got and "Location" not in got
        assert accept == "text/html" or json.loads(page)


@pytest.mark.parametrize("payload", PAYLOADS)
def test_no_name_becomes_a_header_or_a_part(bridge, payload):
    name = as_bytes(PAYLOADS[payload])[:250]
    mail = sent(bridge, [(name, "y"), ("last", "z")])
    assert not mail.is_multipart() and len(fields_of(mail)) == 2 and fields_of(mail)[1] == ("last", "z")


@pytest.mark.parametrize("payload", PAYLOADS)
def test_no_upload_becomes_more_than_one_part(bridge, payload):
    text = as_bytes(PAYLOADS[payload])
    quoted = text.replace(b"\r", b"%0D").replace(b"\n", b"%0A").replace(b'"', b"%22")
    kind, body = multipart([("photo", quoted[:200], "image/png", text), (quoted[:200], b"a.txt", "text/html; x=\"y\"", b"<b>evil</b>"), ("name", text)])
    status, _, page = bridge.post(body, headers={"Content-Type": kind})
    assert status == 200, page
    mail = email.message_from_bytes(raw_mail(bridge, receipt_in(page)), policy=email.policy.default)
    assert mail.get_content_type() == "multipart/mixed" and [part.get_content_maintype() for part in mail.iter_parts()][0] == "text"
    uploads = uploads_of(mail)
    assert len(list(mail.walk())) == 4 and [u[2] for u in uploads] == [text, b"<b>evil</b>"]
    for part in mail.walk():
        assert set(part.keys()) <= HEADERS | {"Content-Disposition"} and part.defects == []
    assert all(not re.search(r"[\r\n/\\\0]", u[0]) for u in uploads)


def test_repeats_of_a_control_do_not_add_up(bridge):
    fields = [("_subject", "one"), ("_subject", "two"), ("_replyto", "a@example.org"), ("_replyto", EVIL), ("_next", "/a"), ("_next", "/b")]
    mail = sent(bridge, fields)
    assert mail["Subject"] == "one" and mail["Reply-To"] == "a@example.org" and ("_subject", "two") in fields_of(mail)


# ---- who sends it ---------------------------------------------------------------------------------------------------

REFERERS = ["", "null", "about:blank", f"{SITE}/order.html", f"{SITE}.evil.example/", f"{SITE}@evil.example/", "https://evil.example/" + SITE,
            f"https://evil.example/?{SITE}", f"https://evil.example/#{SITE}", "javascript:alert(1)", "https://evil.example\\@www.example.com/",
            "//evil.example", "https://www.example.com:8443/", "x" * 3000, "https://www.example.com%00.evil.example/", "https://evil.example/%0d%0aX-Evil:1"]


@pytest.mark.parametrize("referer", REFERERS, ids=range(len(REFERERS)))
def test_no_referer_opens_anything_or_is_believed(bridge, referer):
    status, headers, page = bridge.post([("name", "Ada"), ("_next", "/t.html")], headers={"Referer": referer})
    assert status == 303 and headers["Location"] == f"{SITE}/t.html"
    assert "evil" not in raw_mail(bridge, receipt_in(page)).decode()
    status, headers, _ = bridge.post([("name", "Ada")], headers={"Referer": f"{SITE}/", "Origin": "https://evil.example"})
    assert status == 403 and "Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize("origin", ["https://evil.example", f"{SITE}.evil.example", f"{SITE}@evil.example", "http://www.example.com", f"{SITE}:444",
                                    f"{SITE}/", "https://example.com", "https://xwww.example.com", f"{SITE} https://evil.example", "NULL", "*", "https://"])
def test_no_origin_but_the_forms_own_is_let_in(bridge, origin):
    status, headers, _ = bridge.post([("name", "Ada")], headers={"Origin": origin})
    assert status == 403 and "Access-Control-Allow-Origin" not in headers


# ---- what a request may cost ------------------------------------------------------------------------------------------

TICKS = os.sysconf("SC_CLK_TCK")


def cpu(bridge):
    """Seconds that the one front has used, its commit thread included."""
    pid = bridge.front()
    try:  # nanoseconds, of each thread
        return sum(int((t / "schedstat").read_text().split()[0]) for t in pathlib.Path(f"/proc/{pid}/task").iterdir()) / 1e9
    except (FileNotFoundError, ValueError):
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS


def cost(bridge, body, count=6, form="order", statuses=(200,), **headers):
    """CPU seconds of the front for count posts on one connection."""
    client = bridge.client()
    for _ in range(2):
        bridge.post(body, form=form, client=client, headers=headers)
    before = cpu(bridge)
    for _ in range(count):
        status, _, page = bridge.post(body, form=form, client=client, headers=headers)
        assert status in statuses, page
    after = cpu(bridge)
    client.close()
    return max(after - before, 1e-4)


def names(count, kind):
    """So many names of equal length: random, or of one and the same value under a hash that web servers have used."""
    if kind == "random":
        return ["".join(random.Random(i).choices("abcdefghij", k=24)) for i in range(count)]
    pair = {"djb": ("Ez", "FY"), "java": ("Aa", "BB"), "equal": ("aa", "aa")}[kind]
    return ["".join(p) for p in itertools.islice(itertools.product(pair, repeat=12), count)]


@pytest.mark.parametrize("kind", ["djb", "java", "equal"])
@pytest.mark.parametrize("form", ["order", "plain"])
def test_names_of_equal_hash_cost_what_others_cost(bridge, kind, form):
    plain = cost(bridge, [(n, "x") for n in names(900, "random")], form=form)
    hostile = cost(bridge, [(n, "x") for n in names(900, kind)], form=form)
    assert hostile < 3 * plain, (hostile, plain)


HOSTILE = {
    "sort by a long list": [("sort", "order:" + ",".join(names(2000, "djb")))],
    "sort by name": [("sort", "alphabetic")],
    "require a long list": [("required", ",".join(["x"] * 9000))],
    "controls without end": [("_next", "/" + "%41" * 600)] * 150 + [("_subject", "x" * 300)] * 150 + [("email", "a@" * 200)] * 150,
    "a deep path": [("_next", "/a" * 990), ("redirect", "/" + "%2e" * 600), ("good_url", "/.." * 600)],
    "an address of dots": [("_replyto", "a." * 120 + "@" + "b." * 100 + "c")] * 100,
    "a subject of braces": [("_subject", "{" * 200), ("name", "{name}" * 2000), ("subject", "{_subject}" * 20)],
    "a subject without end": [("name", "\u0085" * 20000)],
}


@pytest.mark.parametrize("trick", HOSTILE)
def test_no_control_costs_much_more_than_its_bytes(bridge, trick):
    filler = [(n, "x") for n in names(400, "random")]
    size = sum(len(n) + len(v.encode()) for n, v in HOSTILE[trick])
    statuses = (200, 303, 422)
    plain = cost(bridge, filler + [("message", "x" * size)], statuses=statuses)
    hostile = cost(bridge, filler + HOSTILE[trick], statuses=statuses)
    assert hostile < 5 * plain, (hostile, plain)


TOO_MUCH = {"names": b"&".join(b"a%d=1" % i for i in range(50000)), "repeats": b"a=1&" * 100000, "nothing": b"&" * 500000 + b"a=1",
            "escapes": b"%41" * 100000 + b"=1", "equals": b"=" * 1000000, "one name": b"a" * 1000000}


@pytest.mark.parametrize("kind", TOO_MUCH)
def test_what_is_too_much_is_refused_and_costs_little(bridge, kind):
    body = TOO_MUCH[kind]
    plain = cost(bridge, b"message=" + b"x" * len(body), count=2, statuses=(200,))
    hostile = cost(bridge, body, count=2, statuses=(413, 200))
    assert hostile < 5 * plain, (hostile, plain)


def test_too_many_fields_are_refused_and_nothing_is_stored(bridge):
    before = accepted(bridge)
    assert bridge.post([(f"f{i}", "x") for i in range(1001)])[0] == 413
    assert bridge.post([("x" * 257, "x")])[0] == 413
    kind, body = multipart([(f"f{i}", "a.txt", "text/plain", "x") for i in range(11)])
    assert bridge.post(body, headers={"Content-Type": kind})[0] == 413
    assert accepted(bridge) == before
