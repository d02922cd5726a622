"""What the HTML standard has a browser make of any name, value and file name (HTML, "form submission algorithm"): a real
browser sends it in every encoding and enctype, and it stands in the mailbox, byte for byte."""

import base64
import json
import re

import pytest

from bridge import Bridge, receipt_in, uploads_of
from chrome import Site, chromium, serving, wait_for

URLENCODED, MULTIPART = "application/x-www-form-urlencoded", "multipart/form-data"
TEXTS = [
    "", " ", "basic", "a b", "a+b&c=d;e%20f", "%", "%22", "%0D%0A", "a\"b", "a'b", "a\\b", "a\\\"b", "<b>&amp;</b>", "&#8364", "--x", "a\nb", "a\rb",
    "a\r\nb", "a\n\rb", "\n", "\r\n\r\n", "a\0b", "\0", "a\tb", "\x01\x02\x1f\x7f", "\u00e4\u00f6\u00fc\u00df", "\u20ac", "\u65e5\u672c\u8a9e", "\u9ad9\u6a4b \u5c71\ufa11 \u2460\u3231", "\u043f\u0440\u0438\u0432\u0435\u0442",
    "\U0001f950", "\U00020000\U0010fffd", "e\u0301", "\u200d\u2060", "\u202e\u2066x", "\u0085\u2028\u2029", "\ufeffx\ufeff", "\u05d0\u0627", "=?utf-8?q?x?=", ".", "..\r\n.",
    "\nFrom x", "a" * 3000,
]
LONE = ["\ud83e", "a\udd50b", "\udd50\ud83e"]  # halves of a pair, which become U+FFFD
# A name as the page gives it, and as the mail has it: no path, nothing invisible, nothing that hides an extension.
FILES = {
    "plain.bin": "plain.bin", "a b.txt": "a b.txt", 'a"b.txt': "a%22b.txt", "a'b.txt": "a'b.txt", "a\nb.txt": "a%0Ab.txt", "a\rb.txt": "a%0Db.txt",
    "a\r\nb.txt": "a%0D%0Ab.txt", "a%22b.txt": "a%22b.txt", "a;b=c.txt": "a;b=c.txt", "\u00e4\u20ac.txt": "\u00e4\u20ac.txt", "\u65e5\u672c.txt": "\u65e5\u672c.txt",
    "\U0001f950.txt": "\U0001f950.txt", "a\0b.txt": "a\u2400b.txt", "C:\\x\\b.txt": "b.txt", "../../b.txt": "b.txt", ".htaccess": "htaccess", "a\x01b.txt": "a_b.txt",
    "\u202egpj.exe": "gpj.exe", "a.txt. ": "a.txt", "\ud83ex.txt": "\ufffdx.txt", "%s%n.txt": "%s%n.txt", "=?utf-8?q?x?=.txt": "=?utf-8?q?x?=.txt",
}
CONTENT = bytes(range(256)) + b"\r\n\r\n--x--\r\n\n\r.\r\n" + b"\0" * 50

SUBMIT = """
const [action, enctype, charset, names, values, files, content] = arguments;
const form = document.body.appendChild(document.createElement('form'));
Object.assign(form, {action, enctype, method: 'post', acceptCharset: charset});
form.innerHTML = '<input type="hidden" name="_charset_">';
form.addEventListener('formdata', e => {
    names.forEach((name, i) => e.formData.append(name, values[i]));
    const bytes = Uint8Array.from(atob(content), c => c.charCodeAt(0));
    files.forEach(name => e.formData.append('file', new File([bytes], name, {type: 'application/x-test'})));
});
form.submit();
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("chromium")) as b:
        yield b


@pytest.fixture(scope="module")
def shop():
    with serving(Site()) as site:
        keys = {"origins": site.origin, "required": None, "dialect": "none", "attach": "json", "reply_to": None, "spam": "off"}
        with Bridge({"bridge": {"max_files": 100, "max_fields": 1000}, "form order": keys}) as b:
            b.site = site
            yield b


def submit(browser, shop, enctype, charset, pairs, files=()):
    """The mail that comes of it."""
    browser.get(shop.site.page("<h1>shop</h1>"))
    # As \\u escapes, so that no half of a pair is lost on the way to the browser.
    arguments = json.dumps([f"https://localhost:{shop.port}/f/order", enctype, charset, [n for n, _ in pairs], [v for _, v in pairs],
                            list(files), base64.b64encode(CONTENT).decode()])
    browser.execute_script(f"(function() {{{SUBMIT}}}).apply(null, JSON.parse(arguments[0]))", arguments)
    wait_for(browser, lambda b: b.title.startswith("Thank you"))
    return shop.mail(receipt_in(browser.find_element("css selector", "main").text))


def recorded(mail):
    (record,) = [content for name, _, content in uploads_of(mail) if name == "fields.json"]
    return [(f["name"], f.get("value", f.get("file"))) for f in json.loads(record)["fields"]]


def crlf(text):
    return re.sub("\r\n|\r|\n", "\r\n", text)


def stored(text):
    """A half of a pair and U+0000 cannot be in a mail; both are shown."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text).replace("\0", "\u2400")


def quoted(name):
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


CHARSETS = ["utf-8", "windows-1252", "iso-8859-2", "koi8-r", "shift_jis", "iso-2022-jp", "gb18030", "big5", "euc-jp", "euc-kr", "utf-16"]


@pytest.mark.parametrize("charset", CHARSETS)
@pytest.mark.parametrize("enctype", [URLENCODED, MULTIPART])
def test_names_and_values_come_through(browser, shop, enctype, charset):
    texts = TEXTS + (LONE if charset in ("utf-8", "utf-16") else [])
    pairs = [("v", text) for text in texts] + [(text[:50], "n") for text in texts]
    mail = submit(browser, shop, enctype, charset, pairs)
    as_name = (lambda n: quoted(crlf(n))) if enctype == MULTIPART else crlf
    assert recorded(mail) == [(stored(as_name(n)), stored(crlf(v))) for n, v in pairs]


@pytest.mark.parametrize("charset", ["utf-8", "windows-1252", "shift_jis"])
def test_files_and_their_names_come_through(browser, shop, charset):
    names = [n for n in FILES if charset == "utf-8" or "\ud83e" not in n]
    uploads = [u for u in uploads_of(submit(browser, shop, MULTIPART, charset, [("v", "x")], names)) if u[0] != "fields.json"]
    assert uploads == [(FILES[n], "application/x-test", CONTENT) for n in names]


def test_without_multipart_a_file_is_its_name(browser, shop):
    names = list(FILES)
    mail = submit(browser, shop, URLENCODED, "utf-8", [], names)
    assert recorded(mail) == [("file", stored(crlf(n))) for n in names]
