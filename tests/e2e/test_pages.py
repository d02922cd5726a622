"""The pages as browsers get them: well-formed, harmless, accessible, and good to look at on a phone."""

import base64
import hashlib
import html.parser
import http.server
import re
import subprocess
import threading
import urllib.parse

import pytest
from selenium.webdriver.support.ui import WebDriverWait

from bridge import SANITIZE, build_tool
from chrome import DESKTOP, PHONE, chromium, screen, shot

SOURCES = "page page_json frame template html words words_en words_de words_fr words_es buf form multipart json urlencoded".split()
URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=limit"
VOID = {"meta", "input", "circle", "path"}

# What tries to leave the place it is written to.
HOSTILE = [
    '"><script>alert(1)</script>',
    "' onfocus='alert(1)' autofocus='",
    "</textarea><script>alert(1)</script>",
    "\r\n</textarea><img src=x onerror=alert(1)>",
    "</title></style><h1>taken over</h1>",
    "<!-- &lt; &amp;lt; &#60; -->",
    "]]>{}%s%n",
]


def multipart(*parts):
    body = ""
    for name, value, filename in parts:
        extra = f'; filename="{filename}"\r\nContent-Type: image/jpeg' if filename else ""
        body += f'--limit\r\nContent-Disposition: form-data; name="{name}"{extra}\r\n\r\n{value}\r\n'
    return (body + "--limit--\r\n").encode()


ORDER = multipart(
    ("_language", "en", None),
    ("name", "", None),
    ("email", "ada@example.org", None),
    ("colour", "red", None),
    ("colour", "blue", None),
    ("message", "Hello,\r\n\r\ncan the parcel be left with the neighbours?\r\n\r\nAda", None),
    ("photo", "JFIF", "a-picture-with-quite-a-long-name-from-a-telephone_20261121.jpg"),
)

PAGES = {
    "receipt": (["receipt"], b""),
    "about": (["about"], b""),
    "about-form": (["about-form"], b""),
    "demo": (["demo"], b""),
    "invalid": (["invalid", MULTIPART, "name", "item"], ORDER),
    "spam": (["spam", MULTIPART], ORDER),
    "invalid-hostile": (
        ["invalid", URLENCODED, "name", '"><script>alert(2)</script>'],
        urllib.parse.urlencode([(n, v) for n in ["name", *HOSTILE] for v in HOSTILE]).encode(),
    ),
    "invalid-long-words": (["invalid", URLENCODED, "x" * 250], b"text=" + b"w" * 3000 + b"&" + b"n" * 200 + b"=1"),
    "invalid-too-long": (["invalid", URLENCODED, "name"], b"message=" + b"x" * 70000),
    **{f"error-{s}": (["error", str(s)], b"") for s in (400, 403, 404, 405, 408, 411, 413, 415, 429, 500, 503)},
}


@pytest.fixture(scope="session")
def driver(tmp_path_factory):
    """tests/tools/pages.c as a program: driver(arguments, body) is a page."""
    program = build_tool("pages", tmp_path_factory.mktemp("pages"), SOURCES, SANITIZE)
    return lambda arguments, body=b"", language="en": subprocess.run(
        [program, *arguments], input=body, stdout=subprocess.PIPE, check=True, env={"PAGE_LANGUAGE": language}
    ).stdout.decode()


@pytest.fixture(scope="session")
def pages(driver):
    return {name: driver(*what) for name, what in PAGES.items()}


class Document(html.parser.HTMLParser):
    """Elements in order, and whether every one that opens also closes."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.stack = [], []
        self.feed(text)
        self.close()
        assert self.stack == [], "unclosed elements"

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), f"an attribute twice in {tag}"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.stack and self.stack.pop() == tag, f"</{tag}> closes nothing"

    def all(self, *tags):
        return [attrs for tag, attrs in self.elements if tag in tags]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_well_formed_and_has_what_a_screen_reader_needs(pages, name):
    text = pages[name]
    document = Document(text)
    assert text.startswith("<!DOCTYPE html>")
    assert document.all("html") == [{"lang": "en", "dir": "ltr"}]
    assert len(document.all("title")) == len(document.all("h1")) == len(document.all("main")) == 1
    ids = [attrs["id"] for _, attrs in document.elements if "id" in attrs]
    assert len(ids) == len(set(ids)), "an id twice"
    labelled = {attrs["for"] for attrs in document.all("label")}
    controls = [a for a in document.all("input", "textarea", "select") if a.get("type") != "hidden"]
    assert labelled == {a["id"] for a in controls}, "a control without label or a label without control"
    for attrs in controls:
        for described in attrs.get("aria-describedby", "").split():
            assert described in ids
        if "aria-invalid" in attrs:
            assert attrs["aria-describedby"]
    for attrs in document.all("a"):
        assert attrs["href"][:1] != "#" or attrs["href"][1:] in ids, "a link to nowhere"


@pytest.mark.parametrize("name", PAGES)
def test_a_page_loads_and_runs_nothing(pages, name):
    text = pages[name]
    document = Document(text)
    allowed = {"html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "p", "a", "ul", "li", "div", "bdi", "form",
               "label", "input", "textarea", "select", "option", "button", "small", "strong", "time", "svg", "circle", "path"}
    assert {tag for tag, _ in document.elements} <= allowed
    for tag, attrs in document.elements:
        for attribute in attrs:
            assert attribute not in ("src", "style", "srcdoc", "formaction", "autofocus") and not attribute.startswith("on")
    assert not re.search(r"url\(|@import", text[: text.index("</style>")])
    for form in document.all("form"):
        assert form["action"] == "/f/order" and form["method"] == "post"


def test_the_policy_names_the_style_sheet_and_allows_nothing_else(driver, pages):
    csp = driver(["csp"])
    assert csp.startswith("default-src 'none'; ")
    assert "base-uri 'none'" in csp and "frame-ancestors 'none'" in csp
    assert "unsafe" not in csp and "form-action" not in csp
    for text in pages.values():
        style = re.search(r"<style>(.*?)</style>", text, re.S).group(1)
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        assert f"style-src 'sha256-{digest}'" in csp


def test_a_refusal_says_that_nothing_was_stored(pages):
    for name, text in pages.items():
        if name.startswith("error-"):
            assert "Nothing was stored and nothing was sent." in text


# ---- in a browser --------------------------------------------------------------------------------


class Server(http.server.ThreadingHTTPServer):
    """Serves the pages with the headers they are meant for, and keeps what is posted back."""

    daemon_threads = True

    def __init__(self, pages, csp):
        super().__init__(("127.0.0.1", 0), Handler)
        self.pages, self.csp, self.posts = pages, csp, []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def answer(self, status, text):
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Security-Policy", self.server.csp)
        self.send_header("Referrer-Policy", "no-referrer")
        self.end_headers()
        self.wfile.write(text.encode())

    def do_GET(self):
        page = self.server.pages.get(self.path.lstrip("/"))
        self.answer(404 if page is None else 200, page or "")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posts.append((self.path, self.headers, body))
        self.answer(200, self.server.pages["receipt"])


@pytest.fixture(scope="module")
def site(driver, pages):
    server = Server(dict(pages), driver(["csp"]))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("chromium")) as b:
        yield b


def show(browser, site, name, width=390, height=844, dark=False):
    screen(browser, (width, height), dark)
    browser.get(f"{site.url}/{name}")


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", [320, 390, 1280])
def test_no_page_scrolls_sideways(browser, site, name, width):
    show(browser, site, name, width)
    assert fits(browser, width)


# Each visible text with its colour, the colour behind it, and the edge of each control against its surroundings.
COLOURS = """
const behind = e => { for (; e; e = e.parentElement) {
    const c = getComputedStyle(e).backgroundColor; if (c !== 'rgba(0, 0, 0, 0)') return c; } return 'none'; };
const pairs = [];
for (const e of document.querySelectorAll('body *')) {
    const s = getComputedStyle(e);
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) || e.matches('input,select,textarea');
    if (own && e.getClientRects().length) pairs.push([e.tagName + '.' + e.className, s.color, behind(e), 4.5]);
    if (e.matches('input:not([type=hidden],[type=checkbox]),select,textarea'))
        pairs.push([e.tagName + ' edge', s.borderTopColor, behind(e.parentElement), 3]);
}
return pairs;
"""


def luminance(colour):
    """WCAG 2.2, relative luminance."""
    parts = [float(x) / 255 for x in re.fullmatch(r"rgb\((\d+), (\d+), (\d+)\)", colour).groups()]
    r, g, b = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(one, other):
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("name", ["receipt", "about-form", "demo", "invalid", "error-503"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_text_and_edge_has_enough_contrast(browser, site, name, dark):
    show(browser, site, name, dark=dark)
    pairs = browser.execute_script(COLOURS)
    assert pairs
    assert [p for p in pairs if contrast(p[1], p[2]) < p[3]] == []


def test_the_dark_scheme_is_dark(browser, site):
    shades = []
    for dark in (False, True):
        show(browser, site, "receipt", dark=dark)
        shades.append(luminance(browser.execute_script("return getComputedStyle(document.body).backgroundColor")))
    assert shades[0] > 0.5 > 0.1 > shades[1]


def test_focus_is_visible(browser, site):
    show(browser, site, "invalid")
    for selector in ("a", "input:not([type=hidden])", "textarea", "[type=file]", "button"):
        element = browser.find_element("css selector", selector)
        browser.execute_script("arguments[0].focus({focusVisible: true})", element)
        assert element.value_of_css_property("outline-style") == "solid"


@pytest.mark.parametrize("name", PAGES)
def test_the_browser_has_nothing_to_complain_about(browser, site, name):
    browser.get_log("browser")
    show(browser, site, name)
    assert [e for e in browser.get_log("browser") if "favicon" not in e["message"]] == []


def test_hostile_text_stays_text(browser, site):
    show(browser, site, "invalid-hostile")
    assert browser.execute_script("return document.querySelectorAll('script,img,[onerror],[onfocus],[autofocus]').length") == 0
    assert browser.execute_script("return document.querySelectorAll('h1').length") == 1


def resend(browser, site, driver, content_type, body, *missing):
    """The fields as they come back when the visitor sends the page again without touching it."""
    site.pages["again"] = driver(["invalid", content_type, *missing], body)
    show(browser, site, "again")
    site.posts.clear()
    browser.find_element("css selector", "button").click()
    WebDriverWait(browser, 20).until(lambda b: "7K2M-Q9XD-4TRW" in b.page_source)
    (path, headers, sent), = site.posts
    assert path == "/f/order"
    return headers, sent


AWKWARD = [
    ("name", " spaces  around "),
    ("empty", ""),
    ("again", "one"),
    ("again", "two"),
    ("again", "one"),
    ("text", "\r\nstarts with a line end"),
    ("text", "\r\n\r\nwith two, and ends with one\r\n"),
    ("tab", "a\tb\r\n\tc"),
    ("long", "a line without end " * 10),
    ("email", "ada@example.org"),
    ("_subject", "hidden, \r\ntwo \"lines\" & more"),
    ("letters", "gr\u00fc\u00df Gott \u4f60\u597d \U0001f680 \u05e9\u05dc\u05d5\u05dd \u202e"),
    *(("hostile", v) for v in HOSTILE),
    *((v.replace("\r\n", " "), "as a name") for v in HOSTILE),
    ("-", "-"),
    ("a_b-c", "1"),
]


def test_nothing_that_was_typed_is_lost(browser, site, driver):
    _, sent = resend(browser, site, driver, URLENCODED, urllib.parse.urlencode(AWKWARD).encode())
    assert urllib.parse.parse_qsl(sent.decode(), keep_blank_values=True) == AWKWARD


def test_a_form_with_a_file_comes_back_as_multipart_with_the_file_to_choose_again(browser, site, driver):
    headers, sent = resend(browser, site, driver, MULTIPART, ORDER, "item")
    assert headers["Content-Type"].startswith("multipart/form-data; boundary=")
    names = re.findall(rb'name="(.*?)"', sent.replace(b"filename=", b""))
    assert [n.decode() for n in names if n] == ["_language", "name", "email", "colour", "colour", "message", "photo", "item"]
    assert b"neighbours?\r\n\r\nAda\r\n" in sent
    assert b'filename=""' in sent and b"JFIF" not in sent


def test_our_own_page_posts_with_our_own_origin(browser, site, driver):
    """Under no-referrer alone a browser would say "null", and an origin check would turn the visitor away."""
    headers, _ = resend(browser, site, driver, URLENCODED, b"name=Ada")
    assert headers["Origin"] == site.url


# ---- in every language -----------------------------------------------------------------------------------


SPOKEN = ["receipt", "about", "about-form", "demo", "invalid", "spam", "error-403", "error-413", "error-503"]


@pytest.fixture(scope="module")
def languages(driver, site):
    """The names of pages of the site in German, French and Spanish."""
    names = {}
    for tag in ("de", "fr", "es"):
        for name in SPOKEN:
            names[f"{name}-{tag}"] = site.pages[f"{name}-{tag}"] = driver(*PAGES[name], language=tag)
    return names


def fits(browser, width):
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    return browser.execute_script(OUTSIDE) == []


# A wide child inside a clipped parent would not make the page scroll.
OUTSIDE = """
return [...document.querySelectorAll('body *')].filter(e => {
    const r = e.getBoundingClientRect(); return r.right > innerWidth + 1 || r.left < -1;
}).map(e => e.outerHTML.slice(0, 80));
"""


@pytest.mark.parametrize("tag", ["de", "fr", "es"])
def test_every_language_is_whole_and_fits_a_phone(browser, site, languages, tag):
    for name in SPOKEN:
        text = languages[f"{name}-{tag}"]
        assert Document(text).all("html") == [{"lang": tag, "dir": "ltr"}] and "{}" not in text
        show(browser, site, f"{name}-{tag}", 320, 667)
        assert fits(browser, 320), name


# A language that is not there yet: Arabic runs from right to left, Thai has no spaces, Finnish has long words.
SCRIPTS = {
    "ar": ("rtl", "شكرا لكم على طلبكم وعلى صبركم الطويل"),
    "th": ("ltr", "กรุณาตรวจสอบข้อมูลที่คุณกรอกอีกครั้งก่อนส่งแบบฟอร์มนี้ไปยังเจ้าของเว็บไซต์"),
    "fi": ("ltr", "Epäjärjestelmällistyttämättömyydelläänsäkäänköhän lentokonesuihkuturbiinimoottoriapumekaanikkoaliupseerioppilas"),
}


@pytest.mark.parametrize("tag", SCRIPTS)
@pytest.mark.parametrize("name", ["receipt", "invalid", "demo", "error-413"])
def test_other_scripts_do_not_break_the_layout(browser, site, pages, tag, name):
    direction, words = SCRIPTS[tag]
    text = pages[name].replace('lang="en" dir="ltr"', f'lang="{tag}" dir="{direction}"')
    for english in ("Thank you", "Please check your entries", "Please fill this in.", "Your receipt number", "Choose Photo again",
                    "Too large", "Order form", "Please choose", "Send again", "Send order", "Quantity"):
        text = text.replace(english, words)
    site.pages[f"{name}-{tag}"] = text
    for width in (1280, 320):
        show(browser, site, f"{name}-{tag}", width, 667)
        assert fits(browser, width)
    shot(browser, f"script-{name}-{tag}")
    left, right = browser.execute_script("""
        const range = document.createRange(); range.selectNodeContents(document.querySelector('h1'));
        const r = range.getBoundingClientRect(), m = document.querySelector('main').getBoundingClientRect();
        return [r.left - m.left, m.right - r.right];""")
    assert (left >= right) if direction == "rtl" else (left <= right), "text begins where the script begins"
    if name == "invalid":
        edges = browser.execute_script("""const s = getComputedStyle(document.querySelector('.list'));
            return [parseFloat(s.borderLeftWidth), parseFloat(s.borderRightWidth)]""")
        assert (edges[1] > edges[0]) == (direction == "rtl"), "so does the mark of the list"


@pytest.mark.parametrize("name", [n for n in PAGES if n != "invalid-hostile"])
def test_an_accessibility_checker_finds_nothing_serious_and_a_person_can_look(browser, site, languages, axe, name):
    """Leaves pictures in build/screenshots: on a phone and a desk, light and dark, in English and German."""
    views = [(name, "phone", False)]
    if name in SPOKEN:
        views += [(name, "phone", True), (name, "desktop", False), (f"{name}-de", "phone", False), (f"{name}-de", "phone", True)]
    for page, device, dark in views:
        show(browser, site, page, *(PHONE if device == "phone" else DESKTOP), dark)
        assert shot(browser, f"{page}-{device}{'-dark' if dark else ''}").stat().st_size > 4000, "it shows something"
        if device == "phone" and (page == name or not dark):
            assert axe(browser) == []
