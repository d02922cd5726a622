"""Independent mail readers see in a message what was posted: field by field, and attachments byte by byte."""

import csv
import email
import email.policy
import html.parser
import io
import json
import mailbox
import os
import pty
import random
import re
import select
import shutil
import struct
import subprocess
import termios
import time
from fcntl import ioctl
from pathlib import Path

import pytest

from bridge import SANITIZE, build_tool

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ["buf", "utf8", "charset", "date", "encode", "upload", "letter", "table", "record", "mime",
           "form", "urlencoded", "multipart", "json"]
MESSAGE_ID = "7K2M-Q9XD-4TRW.1795305136@forms.example.com"
HEADERS = ["Received", "Date", "From", "To", "Subject", "Reply-To", "Message-ID",
           "X-Formbridge-Form", "X-Formbridge-Ref", "MIME-Version", "Content-Type", "Content-Transfer-Encoding"]
FOOTER = ["-- ", "Receipt: 7K2M-Q9XD-4TRW", "Form: order", "Received: 2026-11-21 23:52:16 UTC"]
UTF8 = {**os.environ, "LC_ALL": "C.UTF-8", "TERM": "xterm"}


def tool(name):
    """A reader that is not there is a failure: a test that quietly tests nothing protects nothing."""
    path = shutil.which(name)
    if path is None:
        pytest.fail(f"{name} is not installed; the mail cannot be read with it")
    return path


def run(*args, **more):
    return subprocess.run(args, check=True, stdout=subprocess.PIPE, timeout=60, env=UTF8, **more).stdout


@pytest.fixture(scope="session")
def composer(tmp_path_factory):
    return build_tool("compose", tmp_path_factory.mktemp("compose"), SOURCES, SANITIZE)


class Form:
    """What was posted, and the words for tests/tools/compose.c."""

    def __init__(self, subject="Order {ref} from {name}", reply_to="{email}"):
        self.fields = []  # (label, value) or (label, None) for an upload
        self.files = []  # (name as it must arrive, content)
        self.words = []
        self.say("to", "orders@example.com", "set", "subject", subject, "set", "reply_to", reply_to,
                 "set", "tls", "TLS1.2 TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 X25519")

    def say(self, *words):
        for word in words:
            word = word.encode("utf-8", "surrogatepass") if isinstance(word, str) else word
            self.words.append(b"%d:%s," % (len(word), word))

    def field(self, label, value):
        self.fields.append((label, value))
        self.say("field", label, value)
        return self

    def labelled(self, name, label, value):
        self.fields.append((label, value))
        self.say("field", name, value, "label", label)
        return self

    def body(self, bits):
        self.say("body", str(bits))
        return self

    def file(self, label, sent, arrives, content, type="application/octet-stream"):
        self.fields.append((label, None))
        self.files.append((arrives, content))
        self.say("file", label, sent, type, content)
        return self

    def compose(self, composer):
        return run(composer, input=b"".join(self.words))


# ---- the text, taken apart as the head of letter.c says ----

def picture(c):
    if ord(c) < 0x20:
        return chr(0x2400 + ord(c))
    if c == "\x7f":
        return "\u2421"
    return "\ufffd" if "\x80" <= c <= "\x9f" else c


def shown_label(label):
    return "".join(picture(c) for c in re.sub("[\x85\u2028\u2029]", "\u2424", label))


def shown_value(value):
    lines = re.split("\r\n|[\r\n\x85\u2028\u2029]", value)
    return "\n".join("".join(c if c == "\t" else picture(c) for c in line) for line in lines)


def parse_label(line):
    if not line.startswith('"'):
        label, rest = line.split(":", 1)
        return label, rest
    quoted = re.match(r'"((?:[^"\\]|\\.)*)":(.*)$', line, re.S)
    return re.sub(r"\\(.)", r"\1", quoted[1]), quoted[2]


def parse_letter(text):
    lines = text.rstrip("\n").split("\n")
    foot = lines.index("-- ")
    assert lines[foot:] == FOOTER
    assert lines[foot - 1] == ""
    fields = []
    for line in lines[:foot - 1]:
        if line.startswith("  "):
            label, value = fields[-1]
            fields[-1] = (label, line[2:] if value is NOTHING else value + "\n" + line[2:])
        elif line.startswith("("):
            label, _ = parse_label(line[1:])
            fields.append((label, None))
        else:
            label, rest = parse_label(line)
            assert rest == "" or rest[0] == " "
            fields.append((label, rest[1:] if rest else NOTHING))
    return [(label, "" if value is NOTHING else value) for label, value in fields]


NOTHING = object()


# ---- readers: each gives (subject, text, [(file name, content)]) ----

class Python:
    def read(self, path):
        message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
        parts = [part for part in message.walk() if not part.is_multipart() and part.get_content_type() != "text/html"]
        for part in message.walk():
            assert part.defects == []
            for value in part.values():
                assert value.defects == ()
        assert [name for name in message.keys() if name not in HEADERS] == []
        assert len(set(message.keys())) == len(message.keys())
        assert parts[0].get_content_type() == "text/plain"
        for part in parts[1:]:
            assert part.get_content_disposition() == "attachment"
        files = [(part.get_filename(), part.get_payload(decode=True)) for part in parts[1:]]
        return message["Subject"], parts[0].get_content(), files


class Mblaze:
    def read(self, path):
        home = path.parent / "mblaze"
        home.mkdir()
        (home / "seq").touch()
        env = {**UTF8, "MBLAZE": str(home)}

        def mblaze(*args):
            return subprocess.run(args, check=True, stdout=subprocess.PIPE, timeout=60, env=env).stdout

        subject = mblaze(tool("mhdr"), "-d", "-h", "subject", path).decode().rstrip("\n")
        parts = re.findall(r'^ +(\d+): (\S+) size=(\d+)(?: name="(.*)")?$',
                           mblaze(tool("mshow"), "-t", path).decode(), re.M)
        parts = [part for part in parts if not part[1].startswith(("multipart/", "text/html"))]
        content = [mblaze(tool("mshow"), "-O", path, part[0]) for part in parts]
        return subject, content[0].decode(), [(part[3], c) for part, c in zip(parts[1:], content[1:])]


class Reformime:
    def read(self, path):
        raw = path.read_bytes()
        header = re.search(rb"^Subject:((?:.*)(?:\n .*)*)", raw, re.M)[1]
        unfolded = re.sub(rb"\n(?= )", b"", header).strip()
        subject = run(tool("reformime"), "-c", "utf-8", "-h", unfolded).decode().rstrip("\n")
        sections = re.split(r"^section: ", run(tool("reformime"), "-i", input=raw).decode(), flags=re.M)[1:]
        parts = [s for s in sections if not re.search("^content-type: (multipart/|text/html)", s, re.M)]
        content = [run(tool("reformime"), "-e", "-s", s.split("\n", 1)[0], input=raw) for s in parts]
        names = [re.search(r"^content-disposition-filename: (.*)$", s, re.M)[1] for s in parts[1:]]
        return subject, content[0].decode(), list(zip(names, content[1:]))


class Notmuch:
    def read(self, path):
        tool("notmuch")
        base = path.parent / "notmuch"
        for name in ("cur", "new", "tmp"):
            (base / "mail" / name).mkdir(parents=True)
        shutil.copy(path, base / "mail" / "new" / "1")
        config = base / "config"
        config.write_text(f"[database]\npath={base}/mail\n[user]\nname=x\nprimary_email=x@example.com\n")
        env = {**UTF8, "NOTMUCH_CONFIG": str(config)}

        def notmuch(*args):
            return subprocess.run(["notmuch", *args], check=True, stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL, timeout=60, env=env).stdout

        notmuch("new")
        query = f"id:{MESSAGE_ID}"
        message = json.loads(notmuch("show", "--format=json", query))[0][0][0]
        body = message["body"][0]

        def leaves(part):
            whole = part["content-type"].startswith("multipart/")
            return [leaf for inner in part["content"] for leaf in leaves(inner)] if whole else [part]
        parts = [part for part in leaves(body) if part["content-type"] != "text/html"]
        content = [notmuch("show", "--format=raw", f"--part={part['id']}", query) for part in parts]
        files = [(part["filename"], c) for part, c in zip(parts[1:], content[1:])]
        return message["headers"]["Subject"], content[0].decode(), files


class Mutt:
    def read(self, path):
        base = path.parent / "mutt"
        for name in ("mail/cur", "mail/new", "mail/tmp", "saved", "Mail"):  # without the last it asks
            (base / name).mkdir(parents=True)
        shutil.copy(path, base / "mail" / "new" / "1")
        raw = path.read_bytes()
        files = raw.count(b"\nContent-Disposition: attachment")
        html = b"\nContent-Type: text/html" in raw
        keys = ("<pipe-message>cat >../decoded<enter><view-attachments>" + "<next-entry>" * html  # the alternative as a whole
                + "<save-entry>../text<enter>" + "<next-entry>" * html
                + "<next-entry><save-entry><enter>" * files + "<exit><quit>")
        self.run_on_terminal(base, keys)
        decoded = (base / "decoded").read_bytes().decode()
        subject = re.search(r"^Subject:((?:.*)(?:\n[ \t].*)*)", decoded, re.M)[1]
        subject = re.sub(r"\n[ \t]", " ", subject).strip()
        saved = {p.name: p.read_bytes() for p in (base / "saved").iterdir()}
        assert len(saved) == files
        return subject, (base / "text").read_bytes().decode(), saved

    def run_on_terminal(self, base, keys):
        settings = ["set charset=utf-8 quit=yes confirmappend=no wait_key=no resolve=no pipe_decode=yes",
                    f'push "{keys}"']
        args = [tool("mutt"), "-n", "-F", "/dev/null", "-f", "../mail"]
        for setting in settings:
            args += ["-e", setting]
        master, slave = pty.openpty()
        ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
        mutt = subprocess.Popen(args, cwd=base / "saved", stdin=slave, stdout=slave, stderr=slave,
                                env={**UTF8, "HOME": str(base)},
                                start_new_session=True)
        os.close(slave)
        deadline = time.monotonic() + 60
        screen = b""
        try:
            while mutt.poll() is None and time.monotonic() < deadline:
                if select.select([master], [], [], 0.05)[0]:
                    try:
                        screen += os.read(master, 1 << 16)
                    except OSError:  # the terminal's other end is closed: mutt is about to end
                        mutt.wait(10)
        finally:
            if mutt.poll() is None:
                mutt.kill()
                mutt.wait()
            os.close(master)
        assert mutt.returncode == 0, screen[-2000:]


READERS = [Python(), Mblaze(), Reformime(), Notmuch(), Mutt()]
READER_NAMES = [type(reader).__name__ for reader in READERS]


@pytest.fixture(params=READERS, ids=READER_NAMES)
def reader(request):
    return request.param


def check(form, subject, reader, composer, tmp_path):
    path = tmp_path / "message"
    path.write_bytes(form.compose(composer))
    seen_subject, text, files = reader.read(path)
    assert seen_subject == subject
    expected = [(shown_label(label), None if value is None else shown_value(value)) for label, value in form.fields]
    assert parse_letter(text.replace("\r\n", "\n")) == expected
    assert files == (dict(form.files) if isinstance(files, dict) else form.files)


SCRIPTS = {
    "latin": "Jürgen Größe, naïve façade — “quoted” €5",
    "greek": "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία",
    "cyrillic": "Съешь же ещё этих мягких французских булок",
    "hebrew": "דג סקרן שט בים מאוכזב ולפתע מצא חברה",
    "arabic": "نص حكيم له سر قاطع وذو شأن عظيم",
    "devanagari": "ऋषियों को सताने वाले दुष्ट राक्षसों",
    "thai": "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า",
    "chinese": "我能吞下玻璃而不伤身体",
    "japanese": "いろはにほへと ちりぬるを",
    "korean": "키스의 고유조건은 입술끼리",
    "emoji": "👩‍👩‍👧‍👦 🇪🇺 ☕️ 𝔘𝔫𝔦𝔠𝔬𝔡𝔢",
    "combining": "Å á ñ ë " + "o" + "\u0301" * 20,
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_in_value_label_subject_and_file_name(script, reader, composer, tmp_path):
    text = SCRIPTS[script]
    name = text.replace(" ", "_")[:40] + ".pdf"
    form = Form().field("name", text).field(text, text * 5).file("document", name, name, text.encode())
    check(form, f"Order 7K2M-Q9XD-4TRW from {text}", reader, composer, tmp_path)


def test_plain_form_without_uploads(reader, composer, tmp_path):
    form = (Form().field("name", "Ada").field("email", "ada@example.org").field("color", "red")
            .field("color", "blue").field("comment", "").field("message", "Dear shop,\r\n\r\nhello.\r\n"))
    check(form, "Order 7K2M-Q9XD-4TRW from Ada", reader, composer, tmp_path)


def records_of(files):
    """The last two attachments, which are data about the others: what JSON and CSV say."""
    files = list(files.items()) if isinstance(files, dict) else files
    found = {name: content for name, content in files if name in ("fields.json", "fields.csv")}
    rows = list(csv.reader(io.StringIO(found["fields.csv"].decode("utf-8-sig"), newline="")))
    return json.loads(found["fields.json"]), rows, [f for f in files if f[0] not in found]


@pytest.mark.parametrize("bits", [1, 7])
def test_html_json_and_csv_beside_the_text(bits, reader, composer, tmp_path):
    form = (Form().body(bits).labelled("name", "Ihr Name: ä", "Ada <b>Lovelace</b>").field("color", "red")
            .field("color", "blue").field("sum", "=1+1").field("message", 'Dear "shop",\r\n\r\nhello, there;\r\n'))
    if bits == 7:
        form.file("photo", "me.jpg", "me.jpg", b"\xff\xd8\r\n", "image/jpeg")
    path = tmp_path / "message"
    path.write_bytes(form.compose(composer))
    subject, text, files = reader.read(path)
    assert subject == "Order 7K2M-Q9XD-4TRW from Ada <b>Lovelace</b>"
    assert parse_letter(text.replace("\r\n", "\n")) == \
        [(label, None if value is None else shown_value(value)) for label, value in form.fields]
    if bits == 1:
        assert not files
        return
    data, rows, rest = records_of(files)
    assert rest == form.files
    assert [f.get("value") for f in data["fields"]] == [value for _, value in form.fields]
    assert data["fields"][0] == {"name": "name", "label": "Ihr Name: ä", "value": "Ada <b>Lovelace</b>"}
    assert data["fields"][-1] == {"name": "photo", "file": "me.jpg", "type": "image/jpeg", "size": 4}
    assert (data["form"], data["receipt"], data["received"]) == ("order", "7K2M-Q9XD-4TRW", "2026-11-21T23:52:16Z")
    cells = [[cell.replace("\r\n", "\n") for cell in row] for row in rows]
    assert cells == [["Receipt", "Received (UTC)", "Ihr Name: ä", "color", "sum", "message", "photo"],
                     ["7K2M-Q9XD-4TRW", "2026-11-21 23:52:16", "Ada <b>Lovelace</b>", "red\nblue", "'=1+1",
                      'Dear "shop",\n\nhello, there;\n', "me.jpg"]]


class Cells(html.parser.HTMLParser):
    """The table as rows of two cells, and every tag there is."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.tags, self.open = [], set(), None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append(["", ""])
        if tag in ("th", "td"):
            self.open = tag == "td"
        if tag == "br" and self.open is not None:
            self.rows[-1][self.open] += "\n"

    def handle_endtag(self, tag):
        if tag in ("th", "td"):
            self.open = None

    def handle_data(self, data):
        if self.open is not None:
            self.rows[-1][self.open] += data


def test_the_html_part_shows_the_fields_and_has_no_markup_of_the_visitors(composer):
    hostile = '</td></table><script>alert(1)</script><img src=x onerror="x"><!-- & &amp; \r\n\'"'
    form = Form().body(1).field("name", "Ada").field(hostile[:60], hostile)
    message = email.message_from_bytes(form.compose(composer), policy=email.policy.default)
    assert message.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]
    cells = Cells(message.get_body(("html",)).get_content())
    assert cells.rows == [["name", "Ada"], [hostile[:60], shown_value(hostile)]]
    assert cells.tags <= {"html", "head", "meta", "title", "body", "table", "tr", "th", "td", "br", "p"}


def test_upload_sizes_around_the_lines_of_base64(reader, composer, tmp_path):
    rng = random.Random(2045)
    form = Form().field("name", "Ada")
    for size in (0, 1, 2, 3, 56, 57, 58, 2849, 2850, 2851, 1_000_000):
        form.file("upload", f"{size}.bin", f"{size}.bin", rng.randbytes(size))
    check(form, "Order 7K2M-Q9XD-4TRW from Ada", reader, composer, tmp_path)


def test_uploads_that_look_like_mail_or_text(reader, composer, tmp_path):
    form = Form().field("name", "Ada")
    docx = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
    form.file("a", "a.eml", "a.eml", b"From: x@example.org\r\nSubject: x\r\n\r\nbody\r\n", "message/rfc822")
    form.file("b", "b.txt", "b.txt", b"From x\n.\n\n--=_30313233343536373839616263646566--\r\n\x00", "text/plain")
    form.file("c", "c.html", "c.html", b"<script>alert(1)</script>", "text/html")
    form.file("d", "d.docx", "d.docx", b"PK\x03\x04", docx)
    form.file("e", "e.txt", "e.txt", "ä".encode("latin-1"), "text/plain")
    check(form, "Order 7K2M-Q9XD-4TRW from Ada", reader, composer, tmp_path)


def test_file_names_that_need_care(reader, composer, tmp_path):
    form = Form().field("name", "Ada")
    for sent, arrives in [
            ("C:\\Users\\ada\\report.pdf", "report.pdf"), ("../../etc/passwd", "passwd"),
            ('a "quoted" name.txt', 'a "quoted" name.txt'), ("100%25 & more; x=y, (z).txt",) * 2,
            ("it's *one*.txt", "it's *one*.txt"), ("=?utf-8?q?x?=.txt",) * 2, ("a\r\nBcc: x.txt", "a__Bcc: x.txt"),
            ("exe.\u202egpj", "exe.gpj"), ("Ж" * 300 + ".docx", "Ж" * 125 + ".docx"), ("x" * 300 + ".odt",
            "x" * 251 + ".odt"), ("", "upload"), ("two  spaces.txt",) * 2, ("UTF-8''x.txt",) * 2]:
        if isinstance(reader, Mutt) and arrives[0] == "=":
            continue  # where it asks for a file name, mutt takes "=" for its mail folder
        form.file("upload", sent, arrives, arrives.encode())
    check(form, "Order 7K2M-Q9XD-4TRW from Ada", reader, composer, tmp_path)


def test_nothing_typed_becomes_structure(reader, composer, tmp_path):
    hostile = ["x\r\nBcc: x@example.org", "From x@example.org Sat Nov 21 23:52:16 2026", ".", "\n.\n", "-- ",
               "\n-- \nReceipt: none", "--=_30313233343536373839616263646566--", "(photo: attached, 1 byte, x)",
               "\n\n--=_30313233343536373839616263646566\nContent-Type: text/html\n\n<b>", "a: b", "  indented",
               "trailing \t", "\x1b[2J\x07\x00\x7f\x9b", "a\x85b\u2028c\u2029d\x0be\x0cf", "=?utf-8?q?x?=", "=41=0A",
               "x" * 3000, " ", "\n", "\r", "\r\n", "\t", '"', "\\", ":"]
    form = Form().field("name", "=?utf-8?q?Ada?= =?utf-8?b?QWRh?=")
    for text in hostile:
        form.field("note", text).field(text[:80], "v")
    for i, text in enumerate(hostile[:5]):
        form.file(text, f"{i}.txt", f"{i}.txt", text.encode())
    check(form, "Order 7K2M-Q9XD-4TRW from =?utf-8?q?Ada?= =?utf-8?b?QWRh?=", reader, composer, tmp_path)


def test_long_subjects_arrive_whole_or_cut(reader, composer, tmp_path):
    form = Form(subject="{name}").field("name", "ж" * 250)
    check(form, "ж" * 200 + "…", reader, composer, tmp_path)


def random_text(rng):
    alphabet = rng.choice(["ab \n", "a .\r\n", "äß€😀 \t", "Fromx. \n", "=_-?:\"\\(", "\x00\x07\x1b\u2028z"])
    return "".join(rng.choice(alphabet) for _ in range(rng.choice([0, 1, 3, 75, 76, 77, 78, 79, 400])))


@pytest.mark.parametrize("seed", range(20))
def test_random_forms(seed, composer, tmp_path):
    rng = random.Random(seed)
    form = Form(subject="x")
    for i in range(rng.randrange(1, 40)):
        if rng.randrange(5) == 0:
            form.file(random_text(rng)[:60], f"{i}.bin", f"{i}.bin", rng.randbytes(rng.randrange(300)))
        else:
            form.field(random_text(rng)[:60], random_text(rng))
    for reader in READERS:
        place = tmp_path / type(reader).__name__
        place.mkdir()
        check(form, "x", reader, composer, place)


def test_an_mbox_of_hostile_messages_has_as_many_as_were_put_in(composer, tmp_path):
    path = tmp_path / "mbox"
    box = b""
    for i in range(5):
        form = Form(subject="{x}").field("x", "\n\nFrom x@example.org Sat Nov 21 23:52:16 2026\nFrom \n" * (i + 1))
        form.field("From x@example.org Sat Nov 21 23:52:16 2026", "\nFrom ")
        form.file("From x", "\nFrom x", "_From x", b"\n\nFrom x@example.org Sat Nov 21 23:52:16 2026\n")
        box += b"From website@example.com Sat Nov 21 23:52:16 2026\n" + form.compose(composer) + b"\n"
    path.write_bytes(box)
    messages = mailbox.mbox(path)
    assert len(messages) == 5
    assert all(message["X-Formbridge-Form"] == "order" for message in messages)
    assert len(re.findall(rb"^From ", box, re.M)) == 5


def test_reply_address_and_recipients_are_as_configured(composer):
    form = Form().field("email", "ada@example.org\r\nTo: x@example.org").field("name", "x\nCc: x@example.org")
    message = email.message_from_bytes(form.compose(composer), policy=email.policy.default)
    assert message["Reply-To"] is None
    assert [message[name] for name in ("To", "Cc", "Bcc")] == ["orders@example.com", None, None]
    form = Form().field("email", "ada@example.org")
    message = email.message_from_bytes(form.compose(composer), policy=email.policy.default)
    assert message["Reply-To"] == "ada@example.org"
    assert message["From"] == "website@example.com"
    assert message["Message-ID"] == f"<{MESSAGE_ID}>"
    assert message["Date"].datetime.timestamp() == 1795305136
