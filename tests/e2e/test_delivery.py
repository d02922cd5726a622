"""A post over HTTPS is a mail in the mailbox: the whole way, through the real program."""

import email.utils
import json
import mailbox
import os
import pathlib
import re
import socket
import stat
import tempfile
import threading
import time
import urllib.parse

import pytest

from bridge import Bridge, fields_of, multipart, receipt_in, uploads_of

FIELDS = [
    ("name", "Ada"),
    ("email", "ada@example.org"),
    ("colour", "red"),
    ("colour", ""),
    ("colour", "red"),
    ("message", "Grüß Gott,\n\n  zwei Brötchen 🥐\nbitte."),
    ("empty", ""),
]
HEADERS = ["Received", "Date", "From", "To", "Subject", "Reply-To", "Message-ID", "X-Formbridge-Form",
           "X-Formbridge-Ref", "X-Spam-Score", "X-Spam-Reason", "MIME-Version", "Content-Type", "Content-Transfer-Encoding"]


def urlencoded(fields):
    body = urllib.parse.urlencode([(n, v.replace("\n", "\r\n")) for n, v in fields]).encode()
    return "application/x-www-form-urlencoded", body


def as_multipart(fields):
    return multipart([(n, v.replace("\n", "\r\n")) for n, v in fields])


def as_json(fields):
    names = dict.fromkeys(n for n, _ in fields)
    values = {n: [v for m, v in fields if m == n] for n in names}
    return "application/json", json.dumps({n: v[0] if len(v) == 1 else v for n, v in values.items()}).encode()


def post(bridge, kind_and_body, form="order", **headers):
    kind, body = kind_and_body
    return bridge.post(body, form, {"Content-Type": kind, **{k.replace("_", "-"): v for k, v in headers.items()}})


def order(bridge, fields, form="order"):
    """Posts; returns the receipt."""
    status, _, page = post(bridge, urlencoded(fields), form)
    assert status == 200
    return receipt_in(page)


@pytest.fixture(scope="module")
def shop():
    """One bridge for what needs no config of its own."""
    config = {"form order": {"to": "owner@example.com second@example.com", "subject": "Order {ref} from {name}: {item}"}}
    with Bridge(config) as b:
        yield b


@pytest.mark.parametrize("encode", [urlencoded, as_multipart, as_json])
def test_the_mail_has_its_headers_and_all_fields_in_order(shop, encode):
    status, headers, page = post(shop, encode(FIELDS))
    assert status == 200 and headers["Content-Type"] == "text/html; charset=utf-8"
    receipt = receipt_in(page)
    mail = shop.mail(receipt)
    assert mail.keys() == HEADERS
    assert mail["From"] == "website@example.com"
    assert mail["To"] == "owner@example.com, second@example.com"
    assert mail["Subject"] == f"Order {receipt} from Ada:"
    assert mail["Reply-To"] == "ada@example.org"
    assert re.fullmatch(rf"<{receipt}\.\d+@localhost>", mail["Message-ID"])
    assert abs(email.utils.parsedate_to_datetime(mail["Date"]).timestamp() - time.time()) < 60
    assert re.fullmatch(
        r"from \[127\.0\.0\.1\] \(\[127\.0\.0\.1\]\) by localhost \(formbridge\) with HTTPS "
        rf"\(TLS1\.2 TLS_ECDHE_ECDSA_WITH_\w+ X25519\) id {receipt}; .*", mail["Received"])
    assert mail.get_content_type() == "text/plain" and mail.get_content_charset() == "utf-8"
    assert fields_of(mail) == FIELDS


def test_the_receipt_is_the_same_everywhere(shop):
    since = len(shop.log())
    status, _, answer = post(shop, urlencoded(FIELDS), Accept="application/json")
    assert status == 200
    answer = json.loads(answer)
    assert answer == {"ok": True, "id": receipt_in(answer["id"]), "next": ""}
    receipt = answer["id"]
    mail = shop.mail(receipt)
    assert mail["X-Formbridge-Ref"] == receipt and mail["X-Formbridge-Form"] == "order"
    assert f"\nReceipt: {receipt}\nForm: order\n" in mail.get_content()
    assert [p.name.count(receipt) for p in shop.mail_files() if receipt in p.name] == [1]
    shop.wait_for_log(f"accepted {receipt} (form order, ", since=since)
    shop.wait_for_log(f"delivered {receipt} (form order) to maildir:{shop.maildir}", since=since)
    shop.wait_until(lambda: shop.queue() == [], "empty queue")


def test_mail_is_for_its_owner_alone_and_tells_its_size(shop):
    receipt = order(shop, FIELDS)
    shop.mail(receipt)
    (path,) = [p for p in shop.mail_files() if receipt in p.name]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    message = path.read_bytes()
    assert path.parent.name == "new" and path.name.endswith(f",S={len(message)},W={len(message) + message.count(10)}")
    assert list((shop.maildir / "tmp").iterdir()) == []


def test_each_form_delivers_to_its_own_mailboxes():
    form = {"to": "owner@example.com", "from": "website@example.com"}
    with tempfile.TemporaryDirectory() as directory:
        config = {
            "form order": {"required": None},
            "form booking": {**form, "deliver": f"maildir:{directory}/booking"},
            "form question": {**form, "deliver": f"mbox:{directory}/question maildir:{directory}/copy"},
        }
        with Bridge(config) as b:
            receipts = {name: [order(b, [("form", name)], name) for _ in range(3)] for name in ("order", "booking", "question")}
            places = {
                "order": lambda: mailbox.Maildir(b.maildir, create=False),
                "booking": lambda: mailbox.Maildir(f"{directory}/booking", create=False),
                "copy": lambda: mailbox.Maildir(f"{directory}/copy", create=False),
                "question": lambda: mailbox.mbox(f"{directory}/question", create=False),
            }
            for place, opened in places.items():
                b.wait_until(lambda: len(opened()) == 3, f"3 mails in {place}")
                expected = receipts["question" if place == "copy" else place]
                assert sorted(m["X-Formbridge-Ref"] for m in opened()) == sorted(expected)
            b.wait_until(lambda: b.queue() == [], "empty queue")


def test_a_maildir_on_another_file_system_gets_a_copy():
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        with Bridge({"bridge": {"spool": f"{directory}/spool"}}) as b:
            b.spool = pathlib.Path(directory) / "spool"
            assert os.stat(b.dir).st_dev != os.stat(directory).st_dev
            assert fields_of(b.mail(order(b, FIELDS))) == FIELDS
            b.wait_until(lambda: b.queue() == [], "empty queue")


def test_success_is_a_redirect_for_people_and_a_url_for_scripts():
    url = "https://www.example.com/thanks.html?from=form"
    with Bridge({"form order": {"success": url}}) as b:
        status, headers, page = post(b, urlencoded(FIELDS))
        assert status == 303 and headers["Location"] == url
        assert len(page) < 500 and f'<a href="{url}">'.encode() in page, "what follows no redirect is shown the way, in few words"
        b.mail(receipt_in(page))
        status, headers, answer = post(b, urlencoded(FIELDS), Accept="application/json")
        answer = json.loads(answer)
        assert status == 200 and "Location" not in headers and answer["next"] == url
        b.mail(answer["id"])


@pytest.mark.parametrize("field", ["_next", "redirect", "success", "next", "return_url"])
def test_a_visitor_does_not_choose_where_the_redirect_goes(field):
    with Bridge({"form order": {"success": "https://www.example.com/thanks.html"}}) as b:
        status, headers, _ = post(b, urlencoded([("name", "Ada"), (field, "https://example.net/elsewhere")]))
        assert status == 303 and headers["Location"] == "https://www.example.com/thanks.html"


# ---- what a visitor types stays where it belongs ----------------------------------------------------


def test_no_value_of_a_visitor_is_ever_in_the_log():
    marker = "xyzzy-marker"
    with Bridge({"form order": {"max_body": "20k", "success": "https://www.example.com/"}}) as b:
        values = [("name", marker), ("email", f"{marker}@example.org"), (marker, "1"), ("message", f"a\r\n{marker}")]
        extra = {"User_Agent": marker, "Referer": f"https://example.org/{marker}", "Cookie": marker, "X_Forwarded_For": marker}
        upload = [("file", f"{marker}.txt", f"application/{marker}", marker)]
        answers = [
            post(b, urlencoded(values), **extra),
            post(b, multipart([*values, *upload]), **extra),
            post(b, as_json(values), **extra),
            post(b, urlencoded(values[1:]), **extra),
            post(b, ("multipart/form-data; boundary=x", f"--x\r\n{marker}".encode()), **extra),
            post(b, ("application/json", f'{{"{marker}"'.encode()), **extra),
            post(b, urlencoded([("name", marker * 5000)]), **extra),
            post(b, (f"text/{marker}", marker.encode()), **extra),
            post(b, urlencoded(values), form=f"order/{marker}?{marker}", **extra),
        ]
        assert [a[0] for a in answers] == [303, 303, 303, 422, 400, 400, 413, 415, 404]
        with b.connect() as s:
            s.sendall(f"POST /f/order HTTP/1.1\r\nHost: {marker}\r\n{marker} : {marker}\r\n\r\n".encode())
            assert s.recv(100).startswith(b"HTTP/1.1 400 ")
        b.mails(3)
        b.wait_for_log("delivered ", 3)
        b.stop()
        assert marker not in b.log() and "example.org" not in b.log()


BREAKS = ["\r\n", "\n", "\r", "\r\n ", "\0", "\x0b", "\x0c", "\x85", "\u2028", "\u2029"]
INJECTIONS = [
    "Bcc: thief@example.net",
    "To: thief@example.net",
    "Content-Type: multipart/mixed; boundary=x",
    "\r\n\r\n--x\r\nContent-Type: text/html\r\n\r\n<script>",
    "From thief@example.net Sun Nov 22 00:00:00 2026",
]


@pytest.mark.parametrize("encode", [urlencoded, as_multipart, as_json])
def test_no_field_adds_a_header_a_recipient_or_a_part(shop, encode):
    lines = [b + i for b in BREAKS for i in INJECTIONS]
    fields = [("name", "Ada" + "".join(lines)), ("item", lines[0]), ("email", "ada@example.org" + lines[0])]
    fields += [(f"n{number}", value) for number, value in enumerate(lines)]
    fields += [(f"{value} {number}"[:200], "as a name") for number, value in enumerate(lines)]
    fields += [(n, "thief@example.net") for n in ("to", "To", "cc", "bcc", "Bcc", "recipient", "from", "Reply-To", "_cc", "_to")]
    status, _, page = post(shop, encode(fields))
    assert status == 200
    mail = shop.mail(receipt_in(page))
    assert mail.keys() == [h for h in HEADERS if h != "Reply-To"], "an address with a line end is none"
    assert mail["To"] == "owner@example.com, second@example.com" and mail["From"] == "website@example.com"
    assert not mail.is_multipart() and mail.get_content_type() == "text/plain"
    assert not mail.defects
    assert not re.search(rb"(?m)^From ", mail.as_bytes())


def test_every_address_but_one_alone_is_no_reply_address(shop):
    for value in ["ada@example.org, thief@example.net", "Ada <ada@example.org>", "ada@example.org\nthief@example.net",
                  "@example.org", "ada@", "a b@example.org", "ada@example.org;", "ada@example.org\0", "", "x" * 300 + "@example.org"]:
        mail = shop.mail(order(shop, [("name", "Ada"), ("email", value)]))
        assert "Reply-To" not in mail, value
    assert shop.mail(order(shop, [("name", "Ada"), ("email", " ada@example.org ")]))["Reply-To"] == "ada@example.org"


def test_parts_are_those_of_the_uploads_whatever_they_hold(shop):
    first = post(shop, multipart([("name", "Ada"), ("file", "a.txt", "text/plain", "x")]))
    boundary = shop.mail(receipt_in(first[2])).get_boundary()
    inner = f"\r\n--{boundary}\r\nContent-Type: text/html\r\n\r\n<b>\r\n--{boundary}--\r\n"
    parts = [("name", "Ada"), ("message", inner), ("file", "a.txt", "message/rfc822", inner),
             ("file", 'b.txt"; x="y', "multipart/mixed; boundary=x", f"From: thief\r\n\r\n{inner}")]
    mail = shop.mail(receipt_in(post(shop, multipart(parts))[2]))
    assert mail.get_boundary() != boundary
    assert [part.get_content_type() for part in mail.walk()] == ["multipart/mixed", "text/plain"] + ["application/octet-stream"] * 2
    assert [content for _, _, content in uploads_of(mail)] == [p[3].encode() for p in parts[2:]]
    assert not mail.defects


def test_no_line_passes_for_the_next_message_of_an_mbox():
    with tempfile.TemporaryDirectory() as directory:
        with Bridge({"form order": {"deliver": f"mbox:{directory}/mbox"}}) as b:
            line = "From thief@example.net Sun Nov 22 00:00:00 2026"
            for value in (line, f"\r\n{line}\r\nTo: x", f"a\r\n\r\n{line}\r\n>{line}\r\n"):
                order(b, [("name", value), ("email", value), (value[:100], value)])
            b.wait_until(lambda: b.queue() == [] and b.log().count("delivered ") == 3, "3 deliveries")
            assert len(mailbox.mbox(f"{directory}/mbox")) == 3
            with open(f"{directory}/mbox", "rb") as file:
                assert len(re.findall(rb"(?m)^From ", file.read())) == 3


def test_too_many_fields_are_refused_and_nothing_is_stored(shop):
    before = len(shop.mail_files())
    for encode in (urlencoded, as_multipart, as_json):
        assert post(shop, encode([("name", str(n)) for n in range(10000)]))[0] == 413
        assert post(shop, encode([("name", str(n)) for n in range(201)]))[0] == 413
    assert post(shop, multipart([("name", "Ada")] + [("f", "f", "image/png", "")] * 11))[0] == 413
    assert len(shop.mail_files()) == before and shop.queue() == []
    assert len(fields_of(shop.mail(order(shop, [("name", str(n)) for n in range(200)])))) == 200


def test_a_huge_value_arrives_whole_or_is_refused(shop):
    value = "".join(f"line {n} of many\n" for n in range(250000))
    mail = shop.mail(order(shop, [("name", "Ada"), ("message", value)]))
    assert fields_of(mail)[1] == ("message", value)
    before = len(shop.mail_files())
    assert post(shop, urlencoded([("name", "x" * (12 << 20))]))[0] == 413
    assert post(shop, urlencoded([("n" * 257, "x")]))[0] == 413
    assert len(shop.mail_files()) == before


# ---- many at a time --------------------------------------------------------------------------------------


def test_none_of_many_posts_at_the_same_time_is_lost():
    clients, posts = 16, 50
    answers, failures = [], []

    def work(number):
        try:
            client = b.client()
            for n in range(posts):
                status, _, page = b.post([("name", f"{number}/{n}")], client=client)
                assert status == 200
                answers.append((receipt_in(page), f"{number}/{n}"))
            client.close()
        except Exception as error:  # a thread's own would go unseen
            failures.append(error)

    with Bridge() as b:
        threads = [threading.Thread(target=work, args=(n,)) for n in range(clients)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert failures == []
        mails = b.mails(clients * posts, seconds=60)
        assert sorted((m["X-Formbridge-Ref"], dict(fields_of(m))["name"]) for m in mails) == sorted(answers)
        assert len({m["Message-ID"] for m in mails}) == len(mails) == len(set(answers)) == clients * posts
        b.wait_until(lambda: b.queue() == [], "empty queue")
        assert list((b.spool / "tmp").iterdir()) == [] and list((b.spool / "held").iterdir()) == []


def test_a_post_cut_off_before_its_end_stores_nothing(shop):
    before = len(shop.mail_files())
    body = urlencoded(FIELDS)[1]
    for sent in (0, 1, len(body) - 1):
        with shop.connect() as s:
            s.sendall(b"POST /f/order HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
                      + f"Content-Length: {len(body)}\r\n\r\n".encode() + body[:sent])
            s.shutdown(socket.SHUT_WR)
            assert not s.recv(4096).startswith((b"HTTP/1.1 2", b"HTTP/1.1 3"))
    order(shop, FIELDS)
    shop.wait_until(lambda: shop.queue() == [], "empty queue")
    assert len(shop.mail_files()) == before + 1


def test_names_stand_beside_the_addresses():
    """As whoever answers the mail sees them."""
    with Bridge({"form order": {"from_name": "Bäckerei, Website", "reply_to": "{name} <{email}>"}}) as b:
        hostile = 'Ada "<eve@example.net>, Ünal'
        b.post([("name", hostile), ("email", "ada@example.org")])
        (mail,) = b.mails(1)
    (sender,), (answer,) = mail["From"].addresses, mail["Reply-To"].addresses
    assert (sender.display_name, sender.addr_spec) == ("Bäckerei, Website", "website@example.com")
    assert (answer.display_name, answer.addr_spec) == (hostile, "ada@example.org")
