"""Spam is marked or refused, and said; nothing is ever dropped behind a success page."""

import email
import email.policy
import hashlib
import html.parser
import json
import os
import pathlib
import re
import shutil
import signal
import stat
import subprocess
import sys
import time

import pytest
from selenium.webdriver.common.keys import Keys

sys.path.append(str(pathlib.Path(__file__).parents[1] / "tools"))

from bridge import PROGRAM, Bridge, fields_of, free_port, receipt_in
from chrome import Site, appears, chromium, find, press, serving, shot, tab_to, wait_for
from rawhttp import metrics
from test_dovecot import house  # noqa: F401
from tracing import Strace

ORIGIN = "https://www.example.com"
LIST = "casino\nbuy now\n# a remark\nрулетка\n"


@pytest.fixture(scope="module")
def forms(tmp_path_factory):
    """One bridge with a form for each way to be set; forms that wait no time, so that one sign stands alone."""
    words = tmp_path_factory.mktemp("words") / "spam.txt"
    words.write_text(LIST)
    admin = free_port()
    forms = {
        "order": {"origins": ORIGIN, "spam_words_file": words, "spam_words": "viagra", "honeypot": "_gotcha website"},
        "refuse": {"spam": "refuse", "origins": ORIGIN, "honeypot": "website"},
        "required": {"token": "required"},
        "proof": {"proof_bits": "8", "min_time": "0"},
        "hard": {"proof_bits": "4", "min_time": "0", "token": "required", "spam": "refuse"},
        "off": {"spam": "off", "token": "off"},
        "strict": {"spam_score": "2", "max_links": "0", "min_time": "0", "token": "off"},
        "same": {"missing_origin": "refuse", "origins": ORIGIN},
        "inbox": {"junk": "none"},
        "folder": {"junk": ".Mail.Spam"},
    }
    with Bridge({"bridge": {"admin_listen": f"127.0.0.1:{admin}", "max_body": "2M"}}, start=False) as b:
        b.admin = admin
        for name, keys in forms.items():
            b.config.setdefault(f"form {name}", dict(b.config["form order"])).update(keys)
        b.write_config()
        b.start()
        yield b


def get(bridge, path, headers=None, method="GET"):
    client = bridge.client()
    client.request(method, path, headers=headers or {})
    response = client.getresponse()
    answer = response.status, dict(response.getheaders()), response.read()
    client.close()
    return answer


def token(bridge, form="order", origin=ORIGIN):
    status, _, body = get(bridge, f"/f/{form}/token", {"Origin": origin})
    assert status == 200, body
    return json.loads(body)["token"]


def prove(token, bits):
    for n in range(1 << 20):
        digest = hashlib.sha256(f"{token}:{n}".encode()).digest()
        if int.from_bytes(digest, "big") >> (256 - bits) == 0:
            return str(n)
    raise AssertionError("no proof")


def stored(bridge):
    """The receipts of all that was ever taken."""
    return set(re.findall(r"accepted (\S+) ", bridge.log()))


def junk(bridge, receipt, folder=".Junk"):
    """The file of this mail, once it is in the folder; and it is nowhere else."""
    def found():
        return [p for p in (bridge.maildir / folder / "new").glob("*") if receipt in p.name]
    bridge.wait_until(found, f"{receipt} in {folder}")
    assert [p for p in bridge.mail_files() if receipt in p.name] == []
    (path,) = found()
    return path


def junk_mail(bridge, receipt, folder=".Junk"):
    return email.message_from_bytes(junk(bridge, receipt, folder).read_bytes(), policy=email.policy.default)


def send(bridge, fields, form="order", headers=None):
    """Sends it and returns the receipt; it was taken."""
    status, _, body = bridge.post(fields, form, headers)
    assert status == 200, body
    return receipt_in(body)


def signs(mail):
    """{sign: points} of X-Spam-Reason."""
    text = re.sub(r"\s+", " ", mail["X-Spam-Reason"] or "")
    return {what: int(points) for what, points in re.findall(r"([^,(]+) \((\d+)\)(?:, |$)", text)}


NO_TOKEN = {"no token": 1}
TRAP = {"a field that people do not see was filled in": 5}


# ---- signs, one by one

def test_a_plain_post_without_script_is_no_spam_and_says_that_it_had_no_token(forms):
    mail = forms.mail(send(forms, [("name", "Ada"), ("message", "Two apples, please.")]))
    assert mail["X-Spam-Flag"] is None and mail["X-Spam-Score"] == "1" and signs(mail) == NO_TOKEN


@pytest.mark.parametrize("fields, sign", [
    ([("_gotcha", "x")], TRAP),
    ([("website", "https://ada.example.org")], TRAP),
    ([("_token", "x" * 48)], {"the token is not ours": 3}),
    ([("m", "http://a.example https://b.example www.c.example HTTP://d.example")], {"many links": 2}),
    ([("m", "www.x.example " * 9)], {"many links": 5}),
    ([("m", "Play in our CASINO!")], {"words of the list": 3}),
    ([("m", "Buy,\r\nnow"), ("n", "via\u00adgra casino")], {"words of the list": 6}),
    ([("m", "РУЛЕТКА")], {"words of the list": 3}),
    ([("m", "<A\nHREF='x'>here</a>")], {"links written in HTML or BBCode": 4}),
    ([("m", "[url=x]here[/url]")], {"links written in HTML or BBCode": 4}),
    ([("a", "The same long text, " * 4), ("b", "The same long text, " * 4)], {"the same text in several fields": 2}),
    ([("Your-Name", "see www.example.org")], {"a link as a name": 4}),
])
def test_each_sign_has_its_points(forms, fields, sign):
    receipt = send(forms, [("name", "Ada"), *fields])
    expected = sign if "the token is not ours" in sign else {**NO_TOKEN, **sign}
    spam = sum(expected.values()) >= 5
    mail = junk_mail(forms, receipt) if spam else forms.mail(receipt)
    assert signs(mail) == expected and mail["X-Spam-Score"] == str(sum(expected.values()))
    assert mail["X-Spam-Flag"] == ("YES" if spam else None)


@pytest.mark.parametrize("text", [
    "occasion casinos buynow",  # no whole words
    "http and https, see example.org or WWW", "a < b, [1] and <abbr>x</abbr>", "https://a.example https://b.example",
])
def test_what_people_write_is_no_sign(forms, text):
    mail = forms.mail(send(forms, [("name", "Ada Casinova"), ("message", text), ("_gotcha", " "), ("website", "")]))
    assert signs(mail) == NO_TOKEN


def test_signs_add_up_and_the_header_has_nothing_of_what_was_typed(forms):
    receipt = send(forms, [("name", "http://evil.example"), ("m", "casino [url=http://evil.example]"), ("_gotcha", "SECRET")])
    mail = junk_mail(forms, receipt)
    assert signs(mail) == {**TRAP, **NO_TOKEN, "words of the list": 3, "links written in HTML or BBCode": 4, "a link as a name": 4}
    head = junk(forms, receipt).read_bytes().split(b"\n\n")[0]
    assert b"evil" not in head and b"casino" not in head and b"SECRET" not in head
    assert f"marked {receipt} (form order) as spam (score 17: " in forms.log()
    assert "evil" not in forms.log() and "SECRET" not in forms.log()


def test_an_autofilled_honeypot_ends_in_junk_with_all_that_was_typed(forms):
    fields = [("name", "Ada"), ("email", "ada@example.org"), ("website", "https://ada.example.org"), ("message", "Ja,\nbitte 🥐")]
    status, _, body = forms.post(fields)
    assert status == 200  # it is stored, so that is no lie
    mail = junk_mail(forms, receipt_in(body))
    assert fields_of(mail) == [f for f in fields if f[0] != "website"]
    assert mail["X-Spam-Flag"] == "YES" and mail["Reply-To"] == "ada@example.org"
    folder = forms.maildir / ".Junk"
    assert sorted(p.name for p in folder.iterdir()) == ["cur", "maildirfolder", "new", "tmp"]
    assert all(stat.S_IMODE((folder / d).stat().st_mode) == 0o700 for d in ("cur", "new", "tmp"))


# ---- tokens

def test_a_script_gets_a_token_where_the_form_may_be_sent_from(forms):
    status, headers, body = get(forms, "/f/proof/token", {"Origin": ORIGIN})
    answer = json.loads(body)
    assert status == 200 and re.fullmatch(r"[A-Za-z0-9_-]{48}", answer.pop("token")) and answer == {"bits": 8, "min_time": 0}
    assert headers["Content-Type"] == "application/json" and headers["Cache-Control"] == "no-store"
    status, headers, _ = get(forms, "/f/order/token", {"Origin": ORIGIN})
    assert status == 200 and headers["Access-Control-Allow-Origin"] == ORIGIN and "Origin" in headers["Vary"]
    status, headers, body = get(forms, "/f/order/token", {"Origin": "https://evil.example"})
    assert status == 403 and "Access-Control-Allow-Origin" not in headers and b"token" not in body
    assert get(forms, "/f/order/token", {"Origin": ORIGIN}, "OPTIONS")[1]["Access-Control-Allow-Methods"] == "GET, HEAD"
    assert get(forms, "/f/order/token", {"Origin": "https://evil.example"}, "OPTIONS")[0] == 403
    assert token(forms) != token(forms)


def test_a_page_of_the_same_origin_gets_a_token_though_a_get_of_its_has_no_origin(forms):
    assert forms.post([("name", "Ada")], form="same")[0] == 403
    assert token(forms, "same") and get(forms, "/f/same/token")[0] == 200
    assert get(forms, "/f/same/token", {"Origin": "null"})[0] == 403


def test_where_there_is_no_token_to_be_had(forms):
    assert get(forms, "/f/off/token")[0] == 404
    status, headers, _ = get(forms, "/f/off/token", {"Origin": ORIGIN})
    assert status == 404 and headers["Access-Control-Allow-Origin"] == ORIGIN, "a script can read it and asks no more"
    assert get(forms, "/f/nobody/token")[0] == 404
    assert get(forms, "/f/order/tokens")[0] == 404
    status, headers, _ = get(forms, "/f/order/token", method="POST")
    assert status == 405 and headers["Allow"] == "GET, HEAD, OPTIONS"


def test_a_token_has_a_minimum_age_and_belongs_to_its_form(forms):
    fresh, other = token(forms), token(forms, "folder")
    asked = time.monotonic()
    receipt = send(forms, [("name", "Ada"), ("_token", fresh)])
    if time.monotonic() - asked < 2:
        assert signs(junk_mail(forms, receipt)) == {"sent faster than a person types": 5}
    assert signs(forms.mail(send(forms, [("name", "Ada"), ("_token", other)]))) == {"the token is not ours": 3}
    time.sleep(max(0, asked + 3.05 - time.monotonic()))
    mail = forms.mail(send(forms, [("name", "Ada"), ("_token", fresh)]))
    assert mail["X-Spam-Score"] is None and mail["X-Spam-Reason"] is None  # no sign at all
    assert fields_of(mail) == [("name", "Ada")]


def test_a_required_token_decides_alone(forms):
    assert signs(junk_mail(forms, send(forms, [("name", "Ada")], "required"))) == {"no token": 5}
    before = stored(forms)
    status, _, body = forms.post([("name", "Ada")], "hard", {"Accept": "application/json"})
    assert status == 403 and json.loads(body)["errors"][0]["code"] == "SPAM_REFUSED" and stored(forms) == before
    good = token(forms, "hard")
    assert forms.post([("name", "Ada"), ("_token", good)], "hard")[0] == 403  # no proof
    assert forms.post([("name", "Ada"), ("_token", good), ("_proof", prove(good, 4))], "hard")[0] == 200


def test_a_proof_of_work_is_checked_against_its_token(forms):
    one, two = token(forms, "proof"), token(forms, "proof")
    proof = prove(one, 8)
    while hashlib.sha256(f"{two}:{proof}".encode()).digest()[0] == 0:
        two = token(forms, "proof")
    mail = forms.mail(send(forms, [("name", "Ada"), ("_token", one), ("_proof", proof)], "proof"))
    assert mail["X-Spam-Score"] is None and fields_of(mail) == [("name", "Ada")]
    assert signs(forms.mail(send(forms, [("name", "Ada"), ("_token", one)], "proof"))) == {"no proof of work": 2}
    assert signs(forms.mail(send(forms, [("name", "Ada"), ("_token", two), ("_proof", proof)], "proof"))) == {
        "the proof of work is wrong": 4}
    assert signs(forms.mail(send(forms, [("name", "Ada")], "proof"))) == {"no token": 1, "no proof of work": 2}


def test_a_page_that_was_open_during_a_restart_still_works():
    with Bridge({"form order": {"min_time": "0"}}) as b:
        secret = b.spool / "token.secret"
        before = token(b)
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600 and secret.stat().st_size == 32
        kept = secret.read_bytes()
        b.stop()
        b.start()
        assert secret.read_bytes() == kept
        assert b.mail(send(b, [("name", "Ada"), ("_token", before)]))["X-Spam-Score"] is None
        b.process.send_signal(signal.SIGHUP)
        b.wait_for_log("reloaded: ")
        assert b.mail(send(b, [("name", "Ada"), ("_token", before)]))["X-Spam-Score"] is None
        b.stop()
        secret.write_bytes(b"short")  # damaged: a new one, and the old token is nobody's
        b.start()
        assert signs(b.mail(send(b, [("name", "Ada"), ("_token", before)]))) == {"the token is not ours": 3}
        assert secret.stat().st_size == 32


# ---- refusing

class Form(html.parser.HTMLParser):
    """The inputs of a page, as a browser would send them."""

    def __init__(self, page):
        super().__init__()
        self.fields, self.area = [], None
        self.feed(page.decode())

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == "input" and "name" in attrs:
            self.fields.append((attrs["name"], attrs.get("value", "")))
        if tag == "textarea":
            self.area = attrs["name"]
            self.fields.append((self.area, ""))

    def handle_endtag(self, tag):
        if tag == "textarea":
            self.area = None

    def handle_data(self, data):
        if self.area is not None:
            self.fields[-1] = (self.area, self.fields[-1][1] + data.removeprefix("\n"))


def test_a_refusal_stores_nothing_says_so_and_lets_a_person_send_again(forms):
    before, typed = stored(forms), [("name", "Ada"), ("website", "https://ada.example.org"), ("message", "Two <b>apples</b>\nplease")]
    status, headers, page = forms.post(typed, "refuse")
    text = re.sub(r"<[^>]*>", " ", page.decode())
    assert status == 403 and stored(forms) == before
    assert "Nothing was stored and nothing was sent." in text and "as if a program had sent the form" in text
    again = dict(Form(page).fields)
    assert "website" not in again and again["message"] == "Two <b>apples</b>\nplease" and len(again["_token"]) == 48
    mail = forms.mail(send(forms, Form(page).fields, "refuse"))
    assert fields_of(mail) == [("name", "Ada"), ("message", "Two <b>apples</b>\nplease")] and mail["X-Spam-Score"] is None
    assert "refused as spam (form refuse, score 6: a field that people do not see was filled in (5), no token (1))" in forms.log()


def test_a_refusal_speaks_the_language_of_the_visitor_and_of_scripts(forms):
    links = [("name", "Ada"), ("message", "https://x.example " * 9)]
    for language, words in (("de", "Es wurde nichts gespeichert"), ("fr", "Rien n’a été enregistré"), ("es", "No se ha guardado")):
        status, headers, page = forms.post(links, "refuse", {"Accept-Language": language})
        assert status == 403 and words in page.decode() and headers["Content-Language"] == language
    status, headers, body = forms.post(links, "refuse", {"Accept": "application/json", "Origin": ORIGIN})
    answer = json.loads(body)
    assert status == 403 and headers["Access-Control-Allow-Origin"] == ORIGIN and "ok" not in answer
    assert [e["code"] for e in answer["errors"]] == ["SPAM_REFUSED"] * 2 and "links" in answer["errors"][1]["message"]


def test_a_form_to_be_mended_keeps_its_token_or_gets_one(forms):
    status, _, page = forms.post([("message", "no name"), ("website", "filled in")], "refuse")
    again = dict(Form(page).fields)
    assert status == 422 and len(again["_token"]) == 48 and "website" not in again
    good = token(forms, "refuse")
    _, _, page = forms.post([("message", "no name"), ("_token", good), ("_proof", "7")], "refuse")
    again = dict(Form(page).fields)
    assert again["_token"] == good and again["_proof"] == "7"
    _, _, page = forms.post([("message", "no name"), ("_token", "forged"), ("_proof", "7")], "refuse")
    again = dict(Form(page).fields)
    assert len(again["_token"]) == 48 and "_proof" not in again


def test_the_metrics_tell_what_was_marked_and_refused_and_why(forms):
    before = metrics(forms.admin)
    send(forms, [("name", "Ada"), ("_gotcha", "x")])
    send(forms, [("name", "Ada")], "required")
    send(forms, [("name", "www.x.example")])
    forms.post([("name", "Ada"), ("website", "x")], "refuse")
    forms.post([("name", "Ada")], "hard")
    forms.post([("name", "www.x.example")], "refuse")
    after = metrics(forms.admin)
    for what in ("marked", "refused"):
        for why in ("trap", "token", "content"):
            name = f"spam_{what}_{why}_total"
            assert after[name] == before[name] + 1, name


# ---- what the config says

def test_spam_off_looks_at_nothing_and_hides_nothing_that_was_filled_in(forms):
    mail = forms.mail(send(forms, [("name", "www.x.example"), ("website", "typed"), ("_gotcha", "")], "off"))
    assert mail["X-Spam-Score"] is None and fields_of(mail) == [("name", "www.x.example"), ("website", "typed")]


def test_the_score_and_the_links_are_the_owners_to_set(forms):
    assert signs(junk_mail(forms, send(forms, [("name", "Ada"), ("m", "http://a.example")], "strict"))) == {"many links": 2}


def test_the_folder_is_the_owners_to_choose(forms):
    mail = forms.mail(send(forms, [("name", "Ada"), ("_gotcha", "x")], "inbox"))
    assert mail["X-Spam-Flag"] == "YES"
    receipt = send(forms, [("name", "Ada"), ("_gotcha", "x")], "folder")
    assert junk_mail(forms, receipt, ".Mail.Spam")["X-Spam-Flag"] == "YES"


def test_a_post_of_any_size_is_judged_in_bounded_time(forms):
    front = sum(float(x) for p in forms.named("front") for x in open(f"/proc/{p}/stat").read().split(")")[1].split()[11:13])
    send(forms, [("name", "Ada"), ("m", "w" * 1_900_000)])
    send(forms, [("name", "Ada"), ("m", "<a " * 400_000)])
    send(forms, [("name", "Ada"), *((f"f{i}", "the same but for its number " * 3 + str(i)) for i in range(190))])
    used = sum(float(x) for p in forms.named("front") for x in open(f"/proc/{p}/stat").read().split(")")[1].split()[11:13]) - front
    assert used / os.sysconf("SC_CLK_TCK") < (1 if "valgrind" not in os.environ.get("FORMBRIDGE_WRAPPER", "") else 60)


def test_a_maildir_that_is_collected_over_pop3_has_no_folder_that_nobody_sees():
    with Bridge(start=False) as b:
        hashed = subprocess.run([PROGRAM, "passwd"], input="a password\n", capture_output=True, text=True, check=True).stdout.strip()
        b.config["pickup orders"] = {"listen": f"127.0.0.1:{free_port()}", "maildir": f"{b.maildir}/", "password": hashed}
        b.write_config()
        b.start()
        assert b.mail(send(b, [("name", "Ada"), ("_gotcha", "x")]))["X-Spam-Flag"] == "YES"
        assert not (b.maildir / ".Junk").exists()


@pytest.mark.parametrize("keys, said", [
    ({"spam": "maybe"}, 'spam: "maybe" is none of these: mark refuse off'),
    ({"token": "no"}, 'token: "no" is none of these: optional required off'),
    ({"proof_bits": "25"}, 'proof_bits: "25" is not a number from 0 to 24'),
    ({"proof_bits": "8", "token": "off"}, "proof_bits is work on a token"),
    ({"token": "required", "spam": "off"}, "token is required and spam is off"),
    ({"junk": "Junk"}, 'junk: "Junk" is not the name of a folder in a Maildir'),
    ({"junk": "./../x"}, "is not the name of a folder in a Maildir"),
    ({"junk": ".Junk", "deliver": "mbox:/tmp/x"}, "junk is a folder of a Maildir, and deliver names none"),
    ({"honeypot": "name"}, "honeypot: name is a required field"),
    ({"spam_words": "!!!"}, "spam_words: !!! holds no letter"),
    ({"spam_words_file": "words"}, 'spam_words_file: "words" is not a whole path'),
])
def test_each_mistake_is_named_with_its_line(keys, said):
    with Bridge({"form order": keys}, start=False) as b:
        run = subprocess.run([PROGRAM, "-c", b.dir / "config.ini", "check"], capture_output=True, text=True)
        assert run.returncode == 2 and said in run.stdout + run.stderr
        line = next(x for x in (run.stdout + run.stderr).splitlines() if said in x)
        assert re.search(r"config\.ini:\d+: ", line)


@pytest.mark.parametrize("content, said", [
    (b"good\n...\n", "words:2: this word or phrase holds no letter and no digit: remove it"),
    (b"\xff\xfe\n", "words:1: this word or phrase is not UTF-8"),
    (b"x" * 201, "words:1: this word or phrase is longer than 200 bytes"),
    (None, "words: cannot be read: No such file"),
])
def test_a_list_that_cannot_be_used_stops_the_start(content, said):
    with Bridge(start=False) as b:
        if content is not None:
            (b.dir / "words").write_bytes(content)
        b.config["form order"]["spam_words_file"] = b.dir / "words"
        b.write_config()
        run = subprocess.run([PROGRAM, "-c", b.dir / "config.ini", "check"], capture_output=True, text=True)
        assert run.returncode != 0 and f"problem: form order: {b.dir}/{said}" in run.stdout


def test_the_test_submission_is_no_spam_even_where_token_and_proof_are_required():
    with Bridge({"form order": {"token": "required", "proof_bits": "6", "spam": "refuse", "min_time": "10s"}}) as b:
        run = subprocess.run([PROGRAM, "-c", b.dir / "config.ini", "test", "order"], capture_output=True, text=True)
        assert run.returncode == 0 and b.mail(receipt_in(run.stdout))["X-Spam-Score"] is None, run.stderr


# ---- on its way to the folder

def test_the_queue_shows_the_mark_and_keeps_it_across_a_restart():
    with Bridge({"bridge": {"retry_min": "1s", "retry_max": "1s"}}) as b:
        shutil.rmtree(b.maildir)
        receipt = send(b, [("name", "Ada"), ("_gotcha", "x")])
        b.wait_for_log(f"deferred {receipt}")
        (name,) = [n for n in b.queue() if n.endswith(f"{receipt}.order.spam")]
        queue = [PROGRAM, "-c", b.dir / "config.ini", "queue"]
        (entry,) = json.loads(subprocess.run([*queue, "list", "--json"], capture_output=True, text=True).stdout)
        assert entry["spam"] is True and entry["form"] == "order" and entry["id"] == receipt
        assert "(spam) " in subprocess.run(queue, capture_output=True, text=True).stdout
        assert "\nspam: marked" in subprocess.run([*queue, "show", receipt], capture_output=True, text=True).stdout
        assert subprocess.run([*queue, "hold", receipt]).returncode == 0
        b.stop()
        b.start()
        assert subprocess.run([*queue, "release", receipt]).returncode == 0
        assert junk_mail(b, receipt)["X-Spam-Flag"] == "YES"


def test_a_folder_that_its_owner_deletes_is_made_again():
    with Bridge() as b:
        junk(b, send(b, [("name", "Ada"), ("_gotcha", "x")]))
        shutil.rmtree(b.maildir / ".Junk")
        first, second, third = (send(b, [("name", str(i)), ("_gotcha", "x" if i != 1 else "")]) for i in range(3))
        junk(b, first), junk(b, third), b.mail(second)
        assert (b.maildir / ".Junk" / "maildirfolder").exists()


def test_a_folder_is_delivered_to_by_link_as_the_inbox_is():
    """Landlock lets the courier make the folder, and still does not see more rights there than in the spool."""
    with Bridge() as b:
        (courier,) = b.named("courier")
        os.kill(courier, signal.SIGSTOP)
        receipts = [send(b, [("name", "Ada"), ("_gotcha", trap)]) for trap in ("", "x")]
        inodes = {r: next(p.stat().st_ino for p in (b.spool / "queue").iterdir() if r in p.name) for r in receipts}
        os.kill(courier, signal.SIGCONT)
        b.mail(receipts[0])
        assert junk(b, receipts[1]).stat().st_ino == inodes[receipts[1]]
        assert b.mail_files()[0].stat().st_ino == inodes[receipts[0]]


def test_a_folder_that_cannot_be_written_stops_the_start_or_puts_off():
    with Bridge({"bridge": {"retry_min": "1s", "retry_max": "1s"}}) as b:
        (b.maildir / ".Junk").write_text("a file")
        receipt = send(b, [("name", "Ada"), ("_gotcha", "x")])
        b.wait_for_log(f"deferred {receipt}")
        assert b.mail(send(b, [("name", "Ada")]))  # the inbox is not the folder
        run = subprocess.run([PROGRAM, "-c", b.dir / "config.ini", "check"], capture_output=True, text=True)
        assert run.returncode != 0 and f"{b.maildir}/.Junk/tmp: Not a directory" in run.stdout
        (b.maildir / ".Junk").unlink()
        junk(b, receipt)


def test_other_mailboxes_have_the_mark_in_the_header_alone():
    with Bridge() as b:
        b.config["form order"]["deliver"] = f"mbox:{b.dir}/mbox"
        b.write_config()
        b.stop()
        b.start()
        receipt = send(b, [("name", "Ada"), ("_gotcha", "x")])
        b.wait_for_log(f"delivered {receipt}")
        text = (b.dir / "mbox").read_text()
        assert "X-Spam-Flag: YES" in text and "To: owner@example.com\n" in text


def test_what_a_crash_interrupted_is_in_the_folder_once():
    """Killed after the link into the folder and before the message left the queue."""
    with Bridge() as b:
        receipt = send(b, [("name", "Ada"), ("_gotcha", "x")])
        path = junk(b, receipt)
        b.wait_until(lambda: b.queue() == [], "empty queue")
        b.stop()
        text = path.read_bytes()
        name = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(int(path.name.split(".")[0])))
        (b.spool / "queue" / f"{name}.{receipt}.order.spam").write_bytes(text)
        b.start()
        b.wait_until(lambda: b.queue() == [], "empty queue")
        assert [p.name for p in (b.maildir / ".Junk" / "new").iterdir()] == [path.name] and b.mail_files() == []


@pytest.mark.parametrize("call, k", [("mkdirat", 1), ("mkdirat", 4), ("linkat", 1), ("fsync", 1), ("fsync", 3), ("unlinkat", 1)])
def test_a_courier_that_is_killed_while_it_makes_the_folder_loses_nothing(call, k):
    with Bridge({"bridge": {"fronts": "1"}}) as b:
        (courier,) = b.named("courier")
        with Strace(courier, "-e", f"trace={call}", "-e", f"inject={call}:signal=SIGKILL:when={k}"):
            receipt = send(b, [("name", "Ada"), ("_gotcha", "x")])
            b.wait_for_log("a courier died of signal 9")
        junk(b, receipt)
        b.wait_until(lambda: b.queue() == [], "empty queue")
        assert junk_mail(b, receipt)["X-Spam-Flag"] == "YES"
        assert sorted(p.name for p in (b.maildir / ".Junk").iterdir()) == ["cur", "maildirfolder", "new", "tmp"]


# ---- other programs

def test_smime_has_the_flag_outside_and_the_content_inside(tmp_path):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-keyout", key, "-out",
                    cert, "-days", "9", "-subj", "/CN=Owner", "-addext", "subjectAltName=email:owner@example.com"],
                   check=True, capture_output=True)
    with Bridge({"form order": {"encrypt_to": cert}}) as b:
        receipt = send(b, [("name", "Ada MARKER"), ("_gotcha", "SECRET")])
        mail = junk_mail(b, receipt)
        assert mail["X-Spam-Flag"] == "YES" and mail["X-Spam-Score"] == "6" and signs(mail) == {**TRAP, **NO_TOKEN}
        assert mail.get_content_type() == "application/pkcs7-mime" and "MARKER" not in mail.as_string()
        inside = subprocess.run(["openssl", "cms", "-decrypt", "-in", junk(b, receipt), "-recip", cert, "-inkey", key],
                                check=True, capture_output=True).stdout
        inner = email.message_from_bytes(inside, policy=email.policy.default)
        assert fields_of(inner) == [("name", "Ada MARKER")] and inner["X-Spam-Flag"] == "YES" and b"SECRET" not in inside


def test_the_script_of_the_form_brings_token_and_proof(tmp_path):
    """A page of another origin in a real browser: what a person sends there shows no sign at all."""
    with serving(Site()) as site, chromium(tmp_path / "profile") as browser:
        with Bridge({"form order": {"origins": site.origin, "token": "required", "spam": "refuse", "proof_bits": "10", "min_time": "1s"}}) as b:
            action = f"https://localhost:{b.port}/f/order"
            browser.get(site.form(action, '<input name="name"><p hidden><input name="_gotcha"></p>'))
            tab_to(browser, "name")
            press(browser, "Ada", Keys.ENTER)
            mail = b.mail(receipt_in(appears(browser, ".formbridge-receipt").text))
            assert mail["X-Spam-Score"] is None and fields_of(mail) == [("name", "Ada")]

            # Who types for longer than min_time does not wait: the token of the first key is the one that is sent, but
            # for one that is too old.
            for days in (0, 1):
                browser.get(site.form(action, '<input name="name">'))
                tab_to(browser, "name")
                press(browser, "Bob")
                wait_for(browser, lambda _: browser.find_elements("css selector", "[name=_proof]"))
                first = find(browser, "[name=_token]").get_attribute("value")
                time.sleep(1.1)
                browser.execute_script(f"const now = Date.now() + {days} * 864e5; Date.now = () => now;"
                                       "const send = XMLHttpRequest.prototype.send; XMLHttpRequest.prototype.send = "
                                       "function (body) { window.sent = String(body); send.call(this, body) }")
                press(browser, Keys.ENTER)
                appears(browser, ".formbridge-receipt")
                assert (f"_token={first}&" in browser.execute_script("return window.sent")) == (days == 0)

            # Without the script the page says that it was refused, and nothing is stored.
            browser.get(site.form(action, '<input name="name">', script=False))
            tab_to(browser, "name")
            press(browser, "Grace", Keys.ENTER)
            wait_for(browser, lambda _: "Not sent" in browser.title)
            assert find(browser, "[name=name]").get_attribute("value") == "Grace" and len(stored(b)) == 3
            shot(browser, "refused-as-spam")


def test_dovecot_shows_the_folder_as_the_mailbox_junk(house):  # noqa: F811
    b, dovecot = house
    receipt = send(b, [("name", "Ada"), ("_gotcha", "x")])
    junk(b, receipt)
    with dovecot.imap() as session:
        assert any(re.search(rb'"\." "?Junk"?$', line) for line in session.list()[1])
        assert session.select("Junk")[1] == [b"1"]
        head = session.fetch("1", "(BODY.PEEK[HEADER])")[1][0][1]
        assert b"X-Spam-Flag: YES" in head and receipt.encode() in head
        session.select("INBOX")
        session.delete("Junk")
    junk(b, send(b, [("name", "Ada"), ("_gotcha", "y")]))
    with dovecot.imap() as session:
        assert session.select("Junk")[1] == [b"1"]
    assert dovecot.complaints() == []
