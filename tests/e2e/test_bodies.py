"""Form bodies in the ways browsers send them, and what is left of each in the mailbox: all of it, or nothing."""

import hashlib
import json
import random
import re
import urllib.parse

import pytest

from bridge import Bridge, fields_of, multipart, receipt_in, text_of, uploads_of

URLENCODED = "application/x-www-form-urlencoded"
BOUNDARIES = {
    "chromium": "----WebKitFormBoundaryABCDEFGHIJKLMNOP",
    "firefox": "----geckoformboundary1f3a5c7e9b2d4f60718293a4b5c6d7e8",
    "old-firefox": "---------------------------735323031399963166993862150",
}


@pytest.fixture(scope="module")
def bridge():
    with Bridge({"form order": {"required": None, "subject": "{name}"}}) as b:
        yield b


def post(bridge, kind, body):
    return bridge.post(body, headers={"Content-Type": kind})


def delivered(bridge, kind, body):
    status, _, page = post(bridge, kind, body)
    assert status == 200, page
    return bridge.mail(receipt_in(page))


def nothing_is_stored(bridge, kind, body, status=400):
    bridge.wait_until(lambda: bridge.queue() == [], "delivery of what came before")
    before = len(bridge.mail_files())
    answer = post(bridge, kind, body)
    assert answer[0] == status and b"Nothing was stored and nothing was sent." in answer[2]
    bridge.wait_until(lambda: bridge.queue() == [] and list((bridge.spool / "tmp").iterdir()) == [], "empty spool")
    assert len(bridge.mail_files()) == before


def in_encoding(text, encoding):
    """Bytes as a browser makes them; what the encoding lacks becomes a decimal reference."""
    return text.encode(encoding, "xmlcharrefreplace")


# ---- encodings -----------------------------------------------------------------------------------------

TEXTS = {  # label that the browser puts into _charset_: (Python's codec, text of that language)
    "UTF-8": ("utf-8", "Grüße 日本語 Привет שלום 🥐"),
    "windows-1252": ("cp1252", "Grüße – „fünf“ € žluťoučký 🥐"),
    "ISO-8859-2": ("iso8859-2", "žluťoučký kůň 🥐"),
    "Shift_JIS": ("cp932", "日本語のテスト、表示 🥐"),
    "ISO-2022-JP": ("iso2022_jp", "日本語のテスト 🥐"),
    "EUC-JP": ("euc_jp", "日本語のテスト 🥐"),
    "gb18030": ("gb18030", "简体中文 🥐 Grüße"),
    "Big5": ("big5", "繁體中文 🥐"),
    "EUC-KR": ("cp949", "한국어 🥐"),
    "KOI8-R": ("koi8-r", "Привет, мир 🥐"),
    "windows-1251": ("cp1251", "Привет, мир 🥐"),
    "windows-1255": ("cp1255", "שלום 🥐"),
}


@pytest.mark.parametrize("label", TEXTS)
@pytest.mark.parametrize("kind", ["urlencoded", "multipart"])
def test_text_in_the_encoding_of_the_page_arrives_as_unicode(bridge, label, kind):
    codec, text = TEXTS[label]
    fields = [("_charset_", label), ("name", text), (text, "as a name"), ("two", f"{text}\r\n{text}")]
    encoded = [(in_encoding(n, codec), in_encoding(v, codec)) for n, v in fields]
    if kind == "urlencoded":
        mail = delivered(bridge, URLENCODED, urllib.parse.urlencode(encoded).encode())
    else:
        mail = delivered(bridge, *multipart([*encoded, (b"file", in_encoding(f"{text}.pdf", codec), "application/pdf", "x")]))
        assert [name for name, _, _ in uploads_of(mail)] == [f"{text}.pdf"]
    assert fields_of(mail) == [("name", text), (text, "as a name"), ("two", f"{text}\n{text}")]
    assert mail["Subject"] == text
    assert "may be wrong" not in text_of(mail)


def test_a_charset_in_the_content_type_counts(bridge):
    body = urllib.parse.urlencode([("name", "Grüße".encode("cp1252"))]).encode()
    assert fields_of(delivered(bridge, f"{URLENCODED}; charset=windows-1252", body)) == [("name", "Grüße")]
    body = urllib.parse.urlencode([("name", "Grüße")]).encode()
    for kind in (f"{URLENCODED};charset=UTF-8", f'{URLENCODED}; charset="utf-8"', f"{URLENCODED.title()} ; Charset=utf8"):
        assert fields_of(delivered(bridge, kind, body)) == [("name", "Grüße")]


@pytest.mark.parametrize("label", ["UTF-8", "", "no-such-encoding", "utf-7", "x" * 500],
                         ids=["wrong", "empty", "unknown", "forbidden", "long"])
def test_bytes_that_are_not_what_they_claim_are_shown_and_marked(bridge, label):
    fields = [(b"_charset_", label.encode()), (b"name", b"Gr\xfc\xdfe"), (b"plain", b"Ada")]
    mail = delivered(bridge, URLENCODED, urllib.parse.urlencode(fields).encode())
    assert ("name", "Grüße") in fields_of(mail) and ("plain", "Ada") in fields_of(mail)
    assert "(name: was not in the encoding that the form claimed; letters may be wrong)" in text_of(mail)
    assert "(plain:" not in text_of(mail)


def test_what_a_visitor_typed_as_a_reference_stays_as_typed(bridge):
    typed = "&#129360; &amp; &#60;b&#62; &#0; &#x41; %41 + \\u0041"
    mail = delivered(bridge, URLENCODED, urllib.parse.urlencode([("name", typed)]).encode())
    assert fields_of(mail) == [("name", typed)]
    mail = delivered(bridge, *multipart([("name", typed)]))
    assert fields_of(mail) == [("name", typed)]


# ---- names and values ------------------------------------------------------------------------------------


@pytest.mark.parametrize("boundary", BOUNDARIES.values(), ids=BOUNDARIES)
def test_names_and_file_names_with_anything_in_them(bridge, boundary):
    parts = [
        ("name", "Ada"),
        ('a "quoted" name', "1"),
        ("50% off\\", "2"),
        ("semi;colon=x; filename=y", "3"),
        ("🥐 ключ", "4"),
        ("", "5"),
        ("file", 'say "cheese".jpg', "image/jpeg", b"\xff\xd8"),
        ("file", "100% sure; x=y.png", "image/png", b"\x89PNG"),
        ("file", "C:\\Users\\ada\\photo.gif", "image/gif", b"GIF89a"),
        ("file", "../../etc/passwd", "application/octet-stream", b"root"),
        ("file", "🥐 日本語.heic", "image/heic", b"\x00"),
        ("file", "line\nbreak.bin", "", b"-"),
        ("file", ".htaccess", "text/html", b"<script>"),
        ("file", "x" * 300 + ".tiff", "image/tiff", b"II"),
    ]
    mail = delivered(bridge, *multipart(parts, boundary))
    assert fields_of(mail) == [
        ("name", "Ada"), ("a %22quoted%22 name", "1"), ("50% off\\", "2"), ("semi;colon=x; filename=y", "3"),
        ("🥐 ключ", "4"), ("", "5")]
    assert uploads_of(mail) == [
        ("say %22cheese%22.jpg", "image/jpeg", b"\xff\xd8"),
        ("100% sure; x=y.png", "image/png", b"\x89PNG"),
        ("photo.gif", "image/gif", b"GIF89a"),
        ("passwd", "application/octet-stream", b"root"),
        ("🥐 日本語.heic", "image/heic", b"\x00"),
        ("line%0Abreak.bin", "application/octet-stream", b"-"),
        ("htaccess", "application/octet-stream", b"<script>"),
        ("x" * 250 + ".tiff", "image/tiff", b"II"),
    ]


@pytest.mark.parametrize("kind", ["urlencoded", "multipart"])
def test_a_nul_is_shown_and_hides_nothing(bridge, kind):
    fields = [("name", "Ada\0Bcc: x"), ("na\0me", "1"), ("end", "\0"), ("after", "all")]
    mail = delivered(bridge, *multipart(fields)) if kind == "multipart" else delivered(
        bridge, URLENCODED, urllib.parse.urlencode(fields).encode())
    assert fields_of(mail) == [("name", "Ada␀Bcc: x"), ("na␀me", "1"), ("end", "␀"), ("after", "all")]
    assert "(name: held bytes of value zero, shown as ␀)" in text_of(mail)
    assert b"\0" not in mail.as_bytes()


def test_spaces_tabs_and_line_ends_of_a_value_are_kept(bridge):
    fields = [("name", "  Ada  "), ("tab", "a\tb\t"), ("lines", "\n\n a\n\n\nb \n\n"), ("dots", ".\n..\n.\n"), ("footer", "-- \nx"),
              ("long", "wörd " * 300), ("longer", "x" * 5000), ("equals", "=3D=\n=41")]
    mail = delivered(bridge, *multipart([(n, v.replace("\n", "\r\n")) for n, v in fields]))
    assert fields_of(mail) == fields


def test_a_file_input_that_nobody_filled_leaves_no_attachment(bridge):
    mail = delivered(bridge, *multipart([("name", "Ada"), ("photo", "", "application/octet-stream", "")]))
    assert uploads_of(mail) == [] and not mail.is_multipart()
    mail = delivered(bridge, *multipart([("name", "Ada"), ("photo", "empty.txt", "application/octet-stream", "")]))
    assert uploads_of(mail) == [("empty.txt", "application/octet-stream", b"")]


EMPTY_FILE = multipart([("name", ""), ("photo", "", "application/octet-stream", b"")])


@pytest.mark.parametrize("kind, body", [
    (URLENCODED, b""), (URLENCODED, b"&&=&"), ("application/json", b"{}"), ("application/json", b'{"a": " \\t", "b": [""]}'),
    (URLENCODED, b"name=+%0D%0A&email=&_next=%2F&_subject=Hello"), EMPTY_FILE,
], ids=lambda v: "")
def test_a_form_with_nothing_filled_in_is_no_mail(bridge, kind, body):
    """A click by mistake, or a page whose fields have no names: the visitor and the owner are told."""
    before = len(bridge.mail_files())
    status, headers, said = bridge.post(body, headers={"Content-Type": kind, "Accept": "application/json"})
    assert status == 422 and [e["code"] for e in json.loads(said)["errors"]] == ["EMPTY"]
    status, headers, said = bridge.post(body, headers={"Content-Type": kind, "Accept": "text/html", "Accept-Language": "en"})
    assert status == 422 and b"Nothing was sent" in said and b"a field is sent only if it has a name" in said
    bridge.wait_for_log("form order: refused a post with 422: nothing is filled in")
    assert len(bridge.mail_files()) == before and not bridge.queue()


def test_json_of_scripts_becomes_fields(bridge):
    body = ('{"name": "Ada \\"L\\" \\ud83e\\udd50 \\u0000", "n": -1.50e3, "yes": true, "no": false, "none": null,'
            ' "many": ["a", 2, ""], "empty": [], "name": "again"}').encode()
    mail = delivered(bridge, "application/json; charset=utf-8", body)
    assert fields_of(mail)[0] == ("name", 'Ada "L" 🥐 ␀')
    assert [f for f in fields_of(mail) if f[0] == "many"] == [("many", "a"), ("many", "2"), ("many", "")]
    assert ("n", "-1.50e3") in fields_of(mail) and ("yes", "true") in fields_of(mail)
    assert fields_of(mail)[-1] == ("name", "again")


# ---- uploads -----------------------------------------------------------------------------------------------


def test_attachments_are_the_same_byte_for_byte(bridge):
    noise = random.Random(1)
    boundary = BOUNDARIES["chromium"].encode()
    contents = [
        bytes(range(256)) * 3,
        b"\r\n", b"\n", b"\r", b"\r\n--", b"--" + boundary[:-1], b"\r\n--" + boundary[:-1] + b"\r\n",
        b"\r\r\n\n--\r\n-", b"From me\n.\n..\r\n", b"=3D=\r\n", b" \t ", b"\0" * 1000,
        noise.randbytes(57), noise.randbytes(58), noise.randbytes(1), noise.randbytes(2), noise.randbytes(4 << 20),
    ]
    for batch in (contents[:9], contents[9:]):
        parts = [("f", f"{n}.bin", "application/octet-stream", c) for n, c in enumerate(batch)]
        mail = delivered(bridge, *multipart(parts, boundary.decode()))
        assert [hashlib.sha256(c).digest() for _, _, c in uploads_of(mail)] == [hashlib.sha256(c).digest() for c in batch]
        assert re.findall(r"attached, ([\d,]+) byte", text_of(mail)) == [f"{len(c):,}" for c in batch]


# ---- not whole, not exact: refused -----------------------------------------------------------------------------


def test_a_multipart_body_cut_off_anywhere_is_refused(bridge):
    kind, body = multipart([("name", "Ada"), ("file", "a.bin", "image/png", b"\r\n--x")], "limit")
    for cut in range(len(body) - 2):  # the last CRLF may be missing (RFC 2046 §5.1.1)
        nothing_is_stored(bridge, kind, body[:cut])
    assert post(bridge, kind, body[:-2])[0] == 200


MALFORMED = {
    "escape-cut-off": (URLENCODED, b"name=Ada%4"),
    "escape-no-hex": (URLENCODED, b"name=Ada%zz"),
    "other-boundary": ("multipart/form-data; boundary=other", multipart([("name", "Ada")])[1]),
    "line-feeds-alone": ("multipart/form-data; boundary=x", b'--x\nContent-Disposition: form-data; name="a"\n\n1\n--x--\n'),
    "part-without-a-name": ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--\r\n"),
    "part-without-a-head": ("multipart/form-data; boundary=x", b"--x\r\n\r\n1\r\n--x--\r\n"),
    "nothing-but-a-start": ("multipart/form-data; boundary=x", b"--x"),
    "json-cut-off": ("application/json", b'{"name": "Ada"'),
    "json-and-more": ("application/json", b'{"name": "Ada"} {}'),
    "json-nested": ("application/json", b'{"name": {"first": "Ada"}}'),
    "json-list": ("application/json", b'["Ada"]'),
    "json-empty": ("application/json", b""),
    "json-not-utf-8": ("application/json", b'{"name": "\xfc"}'),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_body_that_is_not_exact_is_refused(bridge, name):
    nothing_is_stored(bridge, *MALFORMED[name])


NO_FORM = [
    "text/plain", "text/plain;charset=UTF-8", "multipart/form-data", "multipart/mixed; boundary=x", "application/xml", "x",
    "multipart/form-data; boundary=", "multipart/form-data; boundary=x; boundary=y", f"multipart/form-data; boundary={'x' * 71}",
]


@pytest.mark.parametrize("kind", NO_FORM, ids=lambda kind: kind[:50])
def test_what_is_no_form_is_refused(bridge, kind):
    nothing_is_stored(bridge, kind, b"name=Ada", 415)


def test_a_json_false_is_a_box_that_is_not_ticked():
    """As scripts send it; what is required is not given by that."""
    with Bridge({"form order": {"required": "name consent"}}) as b:
        def post_json(body):
            return b.post(json.dumps(body).encode(), headers={"Content-Type": "application/json", "Accept": "application/json"})

        status, _, said = post_json({"name": "Ada", "consent": False})
        assert status == 422 and [(e["field"], e["code"]) for e in json.loads(said)["errors"]] == [("consent", "REQUIRED_FIELD_MISSING")]
        assert post_json({"name": "Ada", "consent": True, "newsletter": False})[0] == 200
        mail, = b.mails(1)
        assert fields_of(mail) == [("name", "Ada"), ("consent", "true"), ("newsletter", "false")]


@pytest.mark.parametrize("email, answered", [
    ("ada@example.com", True), ("", True), ("ada@example", True), ("Ada <ada@example.com>", False), ("ada at example.com", False),
    ("a@example.com, b@example.com", False),
])
def test_an_address_that_no_answer_can_go_to_is_remarked_on(email, answered):
    """Else the answer goes to the web site's own address, and nobody knows why."""
    with Bridge({"form order": {"reply_to": "{email}", "html": "yes"}}) as b:
        assert b.post([("name", "Ada"), ("email", email)])[0] == 200
        mail, = b.mails(1)
        remark = "is not one address, so an answer to this mail does not go there"
        parts = [p.get_content() for p in mail.walk() if p.get_content_maintype() == "text"]
        assert len(parts) == 2 and all((remark in p) != answered for p in parts), parts
        assert (mail["Reply-To"] is not None) == (answered and email != "")
