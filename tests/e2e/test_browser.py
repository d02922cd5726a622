"""A real browser, used by keyboard, at the real program."""

import email
import email.policy
import http.server
import json
import os
import re
import threading

import pytest
from selenium.webdriver.common.keys import Keys

from bridge import Bridge, fields_of, receipt_in, uploads_of
from chrome import chromium, heading, press, shot, tab_to, wait_for
from demo import Demo

PHOTO = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 40 + b"\r\n--\r\n"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("chromium")) as b:
        yield b


class Site(http.server.ThreadingHTTPServer):
    """Somebody's static site on another origin. pages: {path: (bytes, charset)}."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Page)
        self.pages = {"/thanks.html": (b"<title>thanks</title><h1>We thank you</h1>", "utf-8")}
        self.origin = f"http://127.0.0.1:{self.server_address[1]}"

    def form(self, action, inside, charset="utf-8", attributes=""):
        text = (f'<!doctype html><title>our site</title><form id="f" action="{action}" method="post" {attributes}>'
                f'{inside}<button>Send</button></form>')
        self.pages["/form.html"] = text.encode(charset, "xmlcharrefreplace"), charset
        return f"{self.origin}/form.html"


class Page(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        content, charset = self.server.pages.get(self.path, (None, None))
        self.send_response(200 if content else 404)
        self.send_header("Content-Type", f"text/html; charset={charset}")
        self.end_headers()
        self.wfile.write(content or b"")


@pytest.fixture(scope="module")
def site():
    server = Site()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "Käse 🥐.jpg"
    path.write_bytes(PHOTO)
    return path


@pytest.fixture(scope="module")
def open_shop(site):
    with Bridge({"form order": {"origins": site.origin, "success": f"{site.origin}/thanks.html", "required": "name email"}}) as b:
        yield b


@pytest.fixture
def shop(open_shop):
    """Takes posts of the site; its mailbox is empty."""
    for path in open_shop.mail_files():
        path.unlink()
    return open_shop


@pytest.fixture
def stranger():
    """Takes posts of another site alone."""
    with Bridge({"form order": {"origins": "https://www.example.com"}}) as b:
        yield b


def action(bridge):
    return f"https://localhost:{bridge.port}/f/order"


def receipt_page(browser):
    wait_for(browser, lambda b: b.title.startswith("Thank you") or heading(b) == "Thank you")
    return receipt_in(browser.find_element("css selector", "main").text)


# ---- the demonstration's form -----------------------------------------------------------------------------


@pytest.fixture
def demo(tmp_path):
    run = Demo(tmp_path / "demo")
    yield run
    run.kill()


def demo_mail(demo, receipt):
    found = []

    def there():
        found[:] = [p for p in (demo.dir / "Maildir" / "new").iterdir() if receipt in p.name]
        return found
    demo.wait(there, "mail")
    return email.message_from_bytes(found[0].read_bytes(), policy=email.policy.default)


def test_an_order_with_a_file_is_made_by_keyboard_alone(browser, demo, photo):
    browser.get(demo.url)
    shot(browser, "order-form")
    tab_to(browser, "name")
    press(browser, "Ada Müller")
    tab_to(browser, "email")
    press(browser, "ada@example.org")
    item = tab_to(browser, "item")
    press(browser, Keys.ARROW_DOWN)
    chosen = item.get_attribute("value")
    tab_to(browser, "quantity")
    press(browser, Keys.ARROW_UP)
    tab_to(browser, "message")
    press(browser, "two lines,", Keys.ENTER, "please 🥐")
    tab_to(browser, "photo").send_keys(str(photo))  # a native dialogue, which the driver fills in
    tab_to(browser, "consent")
    press(browser, Keys.SPACE)
    shot(browser, "order-filled-in")
    tab_to(browser, "button")
    press(browser, Keys.ENTER)
    receipt = receipt_page(browser)
    shot(browser, "order-received")
    mail = demo_mail(demo, receipt)
    assert chosen and fields_of(mail) == [
        ("name", "Ada Müller"), ("email", "ada@example.org"), ("item", chosen), ("quantity", "2"),
        ("message", "two lines,\nplease 🥐"), ("consent", "yes")]
    assert uploads_of(mail) == [("Käse 🥐.jpg", "image/jpeg", PHOTO)]
    assert mail["Subject"] == f"Order {receipt} from Ada Müller" and mail["Reply-To"] == "ada@example.org"


def test_the_browser_itself_asks_for_what_is_required(browser, demo):
    browser.get(demo.url)
    tab_to(browser, "name")
    press(browser, "Ada", Keys.ENTER)
    assert browser.switch_to.active_element.get_attribute("name") == "email"
    assert browser.current_url == demo.url and list((demo.dir / "Maildir" / "new").iterdir()) == []


# ---- a form on a site of its own ----------------------------------------------------------------------------

INPUTS = """
<input name="name"><input name="email"><input name="colour" value="red"><input name="colour" value="blue">
<textarea name="message"></textarea><input type="file" name="photo">
"""
TYPED = "  <b>\"two\"</b> lines & 'more',\n\n &#8364; \\ 🥐  "


def fill_in(browser, photo, address="ada@example.org"):
    tab_to(browser, "name")
    press(browser, "Ada")
    tab_to(browser, "email")
    press(browser, address)
    tab_to(browser, "message")
    press(browser, *TYPED.replace("\n", Keys.ENTER))
    tab_to(browser, "photo").send_keys(str(photo))
    tab_to(browser, "button")
    press(browser, Keys.ENTER)


def expect_order(mail, address="ada@example.org"):
    assert fields_of(mail) == [("name", "Ada"), ("email", address), ("colour", "red"), ("colour", "blue"), ("message", TYPED)]
    assert uploads_of(mail) == [("Käse 🥐.jpg", "image/jpeg", PHOTO)]


def test_a_form_of_an_allowed_site_ends_on_its_own_page(browser, site, shop, photo):
    browser.get(site.form(action(shop), INPUTS, attributes='enctype="multipart/form-data"'))
    fill_in(browser, photo)
    wait_for(browser, lambda b: b.current_url == f"{site.origin}/thanks.html")
    (mail,) = shop.mails(1)
    expect_order(mail)


def test_a_form_of_another_site_is_refused(browser, site, stranger, photo):
    browser.get(site.form(action(stranger), INPUTS))
    fill_in(browser, photo)
    wait_for(browser, lambda b: "Nothing was stored and nothing was sent." in b.page_source)
    assert heading(browser) == "Not accepted from there"
    shot(browser, "refused-403")
    assert "accepted " not in stranger.log() and stranger.mail_files() == []


def test_who_forgot_the_method_sees_no_receipt(browser, site, shop):
    url = site.form(action(shop), INPUTS)
    page, charset = site.pages["/form.html"]
    site.pages["/form.html"] = page.replace(b'method="post"', b""), charset
    browser.get(url)
    tab_to(browser, "name")
    press(browser, "Ada", Keys.ENTER)
    wait_for(browser, lambda b: heading(b) == "That does not work here")
    shot(browser, "method-missing-405")
    assert "Nothing was stored and nothing was sent." in browser.find_element("css selector", "main").text
    assert shop.mail_files() == [] and shop.queue() == []
    shop.wait_for_log('form order: a page sends it with method=get, so nothing comes: it needs method="post"')


def test_what_is_missing_is_asked_for_and_what_was_typed_is_still_there(browser, site, shop, photo):
    browser.get(site.form(action(shop), INPUTS, attributes='enctype="multipart/form-data"'))
    fill_in(browser, photo, address="")
    wait_for(browser, lambda b: heading(b) == "Please check your entries")
    shot(browser, "missing-422")
    assert shop.mail_files() == [] and shop.queue() == []
    typed = {e.get_attribute("name"): e.get_attribute("value") for e in browser.find_elements("css selector", "form [name]")}
    assert typed["name"] == "Ada" and typed["message"] == TYPED
    assert "Käse 🥐.jpg" in browser.find_element("css selector", "form").text
    link = tab_to(browser, "a")
    assert link.text.startswith("Email: ")
    press(browser, Keys.ENTER)  # the link in the summary leads to the field
    tab_to(browser, "email")
    press(browser, "ada@example.org")
    tab_to(browser, "photo").send_keys(str(photo))
    tab_to(browser, "button")
    press(browser, Keys.ENTER)
    wait_for(browser, lambda b: b.current_url == f"{site.origin}/thanks.html")
    (mail,) = shop.mails(1)
    expect_order(mail)


def test_what_is_too_large_is_said_and_going_back_loses_nothing(browser, site, shop, photo):
    photo.write_bytes(os.urandom(16 << 20))
    url = site.form(action(shop), INPUTS, attributes='enctype="multipart/form-data"')
    browser.get(url)
    fill_in(browser, photo)
    wait_for(browser, lambda b: heading(b) == "Too large")
    shot(browser, "too-large-413")
    assert shop.mail_files() == [] and shop.queue() == []
    browser.back()
    wait_for(browser, lambda b: b.current_url == url)
    value = browser.find_element("name", "message").get_attribute("value")
    assert value == TYPED and browser.find_element("name", "name").get_attribute("value") == "Ada"


SCRIPT = """
const [url, headers, body, done] = arguments;
fetch(url, {method: 'POST', headers, body}).then(async r => done([r.status, await r.text()]), e => done([0, e.name]));
"""


HEADERS = {"Accept": "application/json", "Content-Type": "application/json"}


def test_a_script_of_an_allowed_site_can_read_the_answer(browser, site, shop):
    browser.get(site.form(action(shop), INPUTS))
    body = json.dumps({"name": "Ada 🥐", "email": "ada@example.org"})
    status, answer = browser.execute_async_script(SCRIPT, action(shop), HEADERS, body)
    answer = json.loads(answer)
    assert status == 200 and answer["ok"] is True and answer["next"] == f"{site.origin}/thanks.html"
    assert fields_of(shop.mail(answer["id"])) == [("name", "Ada 🥐"), ("email", "ada@example.org")]
    status, answer = browser.execute_async_script(SCRIPT, action(shop), HEADERS, '{"name": "Ada"}')
    assert status == 422 and [e["field"] for e in json.loads(answer)["errors"]] == ["email"]


FETCH = """
const [done] = arguments, f = document.getElementById('f');
fetch(f.action, {method: 'POST', body: new FormData(f)}).then(async r => done([r.status, await r.text()]), e => done([0, e.name]));
"""
XHR = """
const [done] = arguments, f = document.getElementById('f'), x = new XMLHttpRequest();
x.open('POST', f.action);
x.onload = () => done([x.status, x.responseText]);
x.onerror = () => done([0, 'error']);
x.send(new FormData(f));
"""


@pytest.mark.parametrize("script", [FETCH, XHR], ids=["fetch", "xhr"])
@pytest.mark.parametrize("named", ["", "<input type='hidden' name='_next' value='/thanks.html'>"], ids=["success", "next"])
def test_a_script_that_asks_for_nothing_is_not_told_that_it_failed(browser, site, shop, script, named):
    """The page afterwards is on a site without CORS, as most are: a script that is sent there fails, though all is stored."""
    name = f"Ada {script is FETCH} {named != ''}"
    browser.get(site.form(action(shop), f"{named}<input name='name' value='{name}'><input name='email' value='ada@example.org'>"))
    status, answer = browser.execute_async_script(script)
    assert status == 200 and f'<a href="{site.origin}/thanks.html">' in answer
    assert fields_of(shop.mail(receipt_in(answer))) == [("name", name), ("email", "ada@example.org")]


def test_a_script_of_another_site_is_refused(browser, site, stranger):
    browser.get(site.form(action(stranger), INPUTS))
    assert browser.execute_async_script(SCRIPT, action(stranger), HEADERS, '{"name": "Ada"}') == [0, "TypeError"]
    simple = {"Content-Type": "application/x-www-form-urlencoded"}  # sent without asking first
    assert browser.execute_async_script(SCRIPT, action(stranger), simple, "name=Ada") == [0, "TypeError"]
    assert "accepted " not in stranger.log() and stranger.mail_files() == []


# What the page's encoding lacks, too: the browser sends it as a reference.
LANGUAGES = {
    "utf-8": "Grüße 日本語 🥐",
    "windows-1252": "Grüße „fünf“ € 🥐 ж",
    "iso-2022-jp": "日本語のテスト 🥐 ü",
    "shift_jis": "日本語、表示 🥐 ü",
    "gb18030": "简体中文 🥐 ü",
    "koi8-r": "Привет, мир 🥐 ü",
}


@pytest.mark.parametrize("charset", LANGUAGES)
@pytest.mark.parametrize("enctype", ["application/x-www-form-urlencoded", "multipart/form-data"])
def test_a_page_in_any_encoding_is_understood(browser, site, shop, charset, enctype):
    text = LANGUAGES[charset]
    values = {"name": text, "email": "ada@example.org", text: f'{text} "quoted" %22', 'a "b"': "c"}
    inputs = "".join(f"<input name='{n}' value='{v}'>" for n, v in values.items())
    browser.get(site.form(action(shop), f"<input type=hidden name=_charset_>{inputs}", charset, f'enctype="{enctype}"'))
    browser.find_element("css selector", "button").send_keys(Keys.ENTER)
    wait_for(browser, lambda b: b.current_url == f"{site.origin}/thanks.html")
    (mail,) = shop.mails(1)
    quoted = "a %22b%22" if enctype.startswith("multipart") else 'a "b"'
    assert fields_of(mail) == [("name", text), ("email", "ada@example.org"), (text, f'{text} "quoted" %22'), (quoted, "c")]
    assert not re.search("may be wrong", mail.get_content())


def test_a_plain_text_form_is_refused(browser, site, shop):
    browser.get(site.form(action(shop), INPUTS, attributes='enctype="text/plain"'))
    browser.find_element("css selector", "button").send_keys(Keys.ENTER)
    wait_for(browser, lambda b: heading(b) == "That could not be read")
    assert shop.mail_files() == [] and shop.queue() == []
