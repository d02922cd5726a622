"""Rules for fields: all that is wrong at once, as page and as JSON; and what the mail then shows, in every form it has."""

import csv
import html
import io
import json
import re
import subprocess

import pytest

from bridge import PROGRAM, Bridge, fields_of, multipart, text_of, uploads_of
from test_seal import keys, opened  # noqa: F401: keys is a fixture

RULES = {
    "form order": {"required": "name | your town", "order": "email | name", "leave_out": "token", "blank_fields": "no"},
    "field order name": {"label": "Ihr Name", "max_length": "20"},
    "field order email": {"type": "email", "required": "yes", "label": "E-Mail"},
    "field order size": {"choices": "small | medium | extra large"},
    "field order postcode": {"pattern": "[0-9]{5}", "pattern_hint": "A postcode has five digits."},
    "field order quantity": {"type": "integer", "min": "1", "max": "99"},
    "field order day": {"type": "date", "min": "today"},
    "field order photos": {"name": "photos[]", "accept": ".jpg image/png", "max_files": "2", "required": "yes",
                           "label": "Fotos"},
}
WRONG = [("name", "A" * 21), ("email", "ada@"), ("size", "huge"), ("postcode", "123"), ("quantity", "100"),
         ("day", "2020-01-01"), ("note", "<b>kept</b>")]
CODES = [("name", "TYPE_TEXT_TOO_LONG"), ("email", "TYPE_EMAIL"), ("size", "TYPE_CHOICE"), ("postcode", "TYPE_PATTERN"),
         ("quantity", "RANGE_TOO_HIGH"), ("day", "RANGE_TOO_LOW"), ("photos[]", "REQUIRED_FIELD_MISSING"),
         ("your town", "REQUIRED_FIELD_MISSING")]
RIGHT = [("note", 'Dear "shop",\r\n=1+1'), ("name", "Ada"), ("empty", " "), ("token", "secret-token"), ("color", "red"),
         ("email", "ada@example.org"), ("size", "extra large"), ("your town", "London"), ("color", "blue"),
         ("postcode", "12345"), ("quantity", "3"), ("sum", "=1+1"),
         ("photos[]", "me.jpg", "image/jpeg", b"\xff\xd8\xff")]


@pytest.fixture(scope="module")
def bridge():
    with Bridge(RULES) as b:
        yield b


def post(b, fields, **headers):
    kind, body = multipart(fields)
    return b.post(body, headers={"Content-Type": kind, **headers})


def test_all_that_is_wrong_is_in_one_json_answer(bridge):
    status, _, body = bridge.post(WRONG, headers={"Accept": "application/json"})
    assert status == 422
    errors = json.loads(body)["errors"]
    assert [(e["field"], e["code"]) for e in errors] == CODES
    messages = {e["field"]: e["message"] for e in errors}
    assert messages["postcode"] == "A postcode has five digits."
    assert "20" in messages["name"] and "99" in messages["quantity"]
    assert not any(value in e["message"] for e in errors for _, value in WRONG)


def test_the_page_names_every_field_by_its_label_and_keeps_what_was_typed(bridge):
    status, _, body = bridge.post(WRONG, headers={"Accept-Language": "de"})
    page = body.decode()
    assert status == 422
    listed = [html.unescape(item) for item in re.findall(r'<li><a href="#f\d+">(.*?)</a></li>', page)]
    assert [item.split(": ")[0] for item in listed] == \
        ["Ihr Name", "E-Mail", "Size", "Postcode", "Quantity", "Day", "Fotos", "Your town"]
    for target in re.findall(r'<a href="#(f\d+)"', page):
        assert page.count(f' id="{target}"') == 1
    for name, value in WRONG:
        if name != "size":  # what cannot be chosen is not offered
            assert html.escape(value) in page, name
    assert re.search(r'<select[^>]* name="size"', page)
    assert re.search(r'<input[^>]* name="photos\[\]"[^>]* type="file" accept=".jpg,image/png"', page)
    assert 'enctype="multipart/form-data"' in page


def test_a_wrong_file_is_told_and_nothing_is_stored(bridge):
    before = len(bridge.mail_files()) + len(bridge.queue())
    wrong = [f if f[0] != "photos[]" else ("photos[]", "me.exe", "application/x-msdownload", b"MZ") for f in RIGHT]
    status, _, body = post(bridge, wrong, Accept="application/json")
    assert status == 422
    assert [(e["field"], e["code"]) for e in json.loads(body)["errors"]] == [("photos[]", "TYPE_FILE")]
    assert ".jpg, image/png" in json.loads(body)["errors"][0]["message"]
    status, _, body = post(bridge, RIGHT + [("photos[]", "b.jpg", "image/jpeg", b"x")] * 2, Accept="application/json")
    assert [(e["field"], e["code"]) for e in json.loads(body)["errors"]] == [("photos[]", "TOO_MANY_FILES")]
    assert len(bridge.mail_files()) + len(bridge.queue()) == before


def test_a_form_without_enctype_is_told_that_the_file_is_missing(bridge):
    fields = [f[:2] for f in RIGHT]  # a browser then sends the name of the file in its place
    status, _, body = bridge.post(fields, headers={"Accept": "application/json"})
    assert status == 422
    assert [(e["field"], e["code"]) for e in json.loads(body)["errors"]] == [("photos[]", "TYPE_FILE")]


def test_the_mail_has_labels_and_order_and_leaves_out_what_it_should(bridge):
    status, _, body = post(bridge, RIGHT, Accept="application/json")
    assert status == 200, body
    mail = bridge.mail(json.loads(body)["id"])
    assert fields_of(mail) == [("E-Mail", "ada@example.org"), ("Ihr Name", "Ada"), ("note", 'Dear "shop",\n=1+1'),
                               ("color", "red"), ("size", "extra large"), ("your town", "London"), ("color", "blue"),
                               ("postcode", "12345"), ("quantity", "3"), ("sum", "=1+1")]
    assert "(Fotos: attached, 3 bytes, me.jpg)" in text_of(mail)
    assert "secret-token" not in mail.as_string()
    assert mail.get_content_type() == "multipart/mixed"  # no HTML, JSON or CSV that nobody asked for
    assert [name for name, _, _ in uploads_of(mail)] == ["me.jpg"]
    assert mail["Reply-To"] == "ada@example.org"


def test_no_value_reaches_the_log(bridge):
    bridge.post(WRONG)
    for _, value in WRONG[:2] + WRONG[-1:]:
        assert value not in bridge.log()


def check_every_part(mail):
    """Text, HTML, JSON and CSV agree."""
    files = {name: (kind, content) for name, kind, content in uploads_of(mail)}
    assert list(files) == ["me.jpg", "fields.json", "fields.csv"]
    data = json.loads(files["fields.json"][1])
    assert [(f["name"], f.get("value", f.get("file"))) for f in data["fields"]] == \
        [("email", "ada@example.org"), ("name", "Ada"), ("note", 'Dear "shop",\r\n=1+1'), ("color", "red"),
         ("size", "extra large"), ("your town", "London"), ("color", "blue"), ("postcode", "12345"), ("quantity", "3"),
         ("sum", "=1+1"), ("photos[]", "me.jpg")]
    assert data["fields"][0]["label"] == "E-Mail" and data["fields"][-1]["size"] == 3
    assert data["receipt"] == mail["X-Formbridge-Ref"]
    rows = list(csv.reader(io.StringIO(files["fields.csv"][1].decode("utf-8-sig"), newline=""), strict=True))
    assert dict(zip(*rows, strict=True)) == {
        "Receipt": data["receipt"], "Received (UTC)": data["received"].replace("T", " ").rstrip("Z"),
        "E-Mail": "ada@example.org", "Ihr Name": "Ada", "note": 'Dear "shop",\r\n=1+1', "color": "red\r\nblue",
        "size": "extra large", "your town": "London", "postcode": "12345", "quantity": "3", "sum": "'=1+1",
        "Fotos": "me.jpg"}
    page = mail.get_body(("html",)).get_content()
    assert re.search(r">E-Mail</th>\s*<td[^>]*>ada@example.org</td>", page)
    assert fields_of(mail)[0] == ("E-Mail", "ada@example.org")


def test_html_json_and_csv_agree_with_the_text():
    config = {**RULES, "form order": {**RULES["form order"], "html": "yes", "attach": "json csv",
                                      "subject": "{form}: {name:2|nobody}, {company|no company}"}}
    with Bridge(config) as b:
        status, _, body = post(b, RIGHT, Accept="application/json")
        assert status == 200, body
        mail = b.mail(json.loads(body)["id"])
        assert mail["Subject"] == "order: Ad…, no company"
        check_every_part(mail)


def test_all_of_it_is_inside_of_the_encryption(keys):  # noqa: F811
    config = {**RULES, "form order": {**RULES["form order"], "html": "yes", "attach": "json csv",
                                      "encrypt_to": keys["owner"][0]}}
    with Bridge(config) as b:
        assert post(b, RIGHT)[0] == 200
        b.mails(1)
        (path,) = b.mail_files()
        assert b"fields.json" not in path.read_bytes() and b"London" not in path.read_bytes()
        inside = opened(path, *keys["owner"])
        check_every_part(inside)


def test_every_mistake_is_told_by_its_line(tmp_path):
    with Bridge(start=False) as b:
        path = b.dir / "config.ini"
        lines = path.read_text().splitlines()
        start = len(lines)
        lines += ["attach = xml", "[field order a]", "type = phone", "pattern = (", "[field order b]", "type = integer",
                  "min = 9", "max = 1", "[field shop c]", "[field order a]", "label = A"]
        path.write_text("\n".join(lines) + "\n")
        run = subprocess.run([PROGRAM, "-c", path, "check"], capture_output=True, text=True)
        told = run.stdout + run.stderr
        assert run.returncode != 0
        for line, words in [(1, '"xml" is neither json nor csv'), (3, '"phone" is not a type'),
                            (4, 'pattern: "(" cannot be used'), (7, "min is more than max"),
                            (9, "there is no [form shop]"), (10, "was begun on line")]:
            assert re.search(rf"config.ini:{start + line}: .*{re.escape(words)}", told), (line, words, told)


def test_formbridge_test_fills_in_what_is_right_by_the_rules():
    with Bridge({**RULES, "field order postcode": {"pattern": "[0-9]{5}", "required": "yes", "example": "12345"},
                 'field order day of the visit': {"type": "date", "required": "yes", "min": "today+2"}}) as b:
        run = subprocess.run([PROGRAM, "-c", b.dir / "config.ini", "test", "order"], capture_output=True, text=True)
        assert run.returncode == 0, run
        (mail,) = b.mails(1)
        sent = dict(fields_of(mail))
        assert sent["postcode"] == "12345" and sent["E-Mail"] == "website@example.com"
        assert [name for name, _, _ in uploads_of(mail)] == ["formbridge-test.jpg"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", sent["day of the visit"])


@pytest.mark.parametrize("unit", ["a", "ä", "ab", "aä"])
def test_a_hard_pattern_costs_little(unit):
    """The worst that the config takes, with the longest values: the front stays with other visitors."""
    with Bridge({"field order x": {"pattern": "[[:alpha:]ä]{1,190}!"}, "bridge": {"fronts": "1"}}) as b:
        def ticks():
            fields = open(f"/proc/{b.front()}/stat").read().rsplit(")", 1)[1].split()
            return int(fields[11]) + int(fields[12])
        before = ticks()
        for _ in range(3):
            status, _, _ = b.post([("name", "Ada")] + [("x", (unit * 500)[:500 - i]) for i in range(100)])
            assert status == 422
        assert ticks() - before < 300  # 3 s in hundredths; 0.1 s a post here


def test_consent_is_given_by_ticking_and_by_nothing_that_can_be_typed():
    """The page that comes back has the box again, and does not show what the owner leaves out."""
    with Bridge({"form order": {"required": "name", "leave_out": "csrf"},
                 "field order consent": {"choices": "I agree & more", "required": "yes"}}) as b:
        def inputs(fields):
            status, _, body = post(b, fields, Accept="text/html")
            assert status == 422
            return {html.unescape(re.search(r' name="(.*?)"', tag)[1]): html.unescape(tag) for tag in re.findall(r"<input[^>]*>", body.decode())}

        shown = inputs([("name", "Ada"), ("csrf", "123")])
        assert ' type="checkbox" value="I agree & more">' in shown["consent"] and ' type="hidden"' in shown["csrf"]
        shown = inputs([("name", ""), ("consent", "I agree & more")])
        assert ' type="checkbox" value="I agree & more" checked>' in shown["consent"]
        assert " checked" not in inputs([("name", "Ada"), ("consent", "no")])["consent"]
        assert post(b, [("name", "Ada"), ("consent", "I agree & more")])[0] == 200
