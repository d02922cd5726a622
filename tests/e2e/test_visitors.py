"""Visitors with a phone and a keyboard: every kind of form, with and without JavaScript, and what happens when it goes wrong."""

import re
import socket
import threading

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from bridge import Bridge, fields_of, receipt_in, uploads_of
from chrome import Site, appears, chromium, find, heading, press, serving, tab_to, wait_for, without_javascript

PHOTO = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 40
CONTROLS = """
<p><label>Name <input name="name" autocomplete="name"></label></p>
<p><label>Email <input name="email" type="email"></label></p>
<p><label>Telephone <input name="tel" type="tel"></label></p>
<p><label>Guests <input name="guests" type="number" value="2"></label></p>
<p><label>Day <input name="day" type="date"></label></p>
<fieldset><legend>Size</legend><label><input type="radio" name="size" value="S"> S</label>
<label><input type="radio" name="size" value="L"> L</label></fieldset>
<p><label>Item <select name="item"><option>tea</option><option>coffee</option></select></label></p>
<p><label>Extras <select name="extras" multiple size="2"><option>milk</option><option>sugar</option></select></label></p>
<p><label>Message <textarea name="message"></textarea></label></p>
<p><label><input type="checkbox" name="consent" value="yes"> I agree</label></p><input type="hidden" name="shop" value="north">
"""
UPLOAD = '<p><label>Photos <input type="file" name="photos" multiple></label></p>'
MULTIPART = 'enctype="multipart/form-data"'
TYPED = [("name", "Ada Müller"), ("email", "ada@example.org"), ("tel", "+49 30 123"), ("guests", "3"), ("day", "2026-12-24"),
         ("size", "L"), ("item", "coffee"), ("extras", "milk"), ("extras", "sugar"), ("message", "Grüße,\nbitte 🥐"),
         ("consent", "yes"), ("shop", "north")]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("chromium")) as b:
        yield b


@pytest.fixture(scope="module")
def open_shop():
    with serving(Site()) as site:
        form = dict(Bridge.FORM, origins=site.origin)
        forms = {"order": {}, "once": {"once_window": "10m"}, "small": {"max_body": "1k"}, "strange": {"origins": "https://www.example.com"},
                 "opaque": {"origins": "https://www.example.com", "missing_origin": "refuse"}}
        with Bridge({f"form {name}": {**form, **more} for name, more in forms.items()}, start=False) as b:
            for name in forms:
                b.config[f"form {name}"]["deliver"] = f"maildir:{b.maildir}"
            b.write_config()
            b.start()
            b.site = site
            yield b


@pytest.fixture
def shop(open_shop):
    for path in open_shop.mail_files():
        path.unlink()
    return open_shop


def action(bridge, form="order"):
    return f"https://localhost:{bridge.port}/f/{form}"


def send(browser):
    tab_to(browser, "button")
    press(browser, Keys.ENTER)


def fill_in_everything(browser, files=()):
    for name, *keys in (("name", "Ada Müller"), ("email", "ada@example.org"), ("tel", "+49 30 123"), ("guests", Keys.ARROW_UP),
                        ("day", "12242026"), ("size", Keys.SPACE, Keys.ARROW_DOWN), ("item", Keys.ARROW_DOWN),
                        ("extras", Keys.HOME),
                        ("message", "Grüße,", Keys.ENTER, "bitte 🥐"), ("consent", Keys.SPACE)):
        tab_to(browser, name)
        press(browser, *keys)
        if name == "extras":
            ActionChains(browser).key_down(Keys.SHIFT).send_keys(Keys.ARROW_DOWN).key_up(Keys.SHIFT).perform()
    if files:  # a native dialogue, which the driver fills in
        tab_to(browser, "photos").send_keys("\n".join(str(f) for f in files))


def does_not_scroll_sideways(browser):
    return browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("script", ["none", "off", "ours"])
@pytest.mark.parametrize("enctype", ["urlencoded", "multipart"])
def test_a_form_of_every_control_is_filled_in_by_keyboard_on_a_phone(browser, shop, tmp_path, enctype, script):
    files = [tmp_path / "Käse.jpg", tmp_path / "two.jpg"] if enctype == "multipart" else []
    for f in files:
        f.write_bytes(PHOTO + f.name.encode())
    url = shop.site.form(action(shop), CONTROLS + (UPLOAD if files else ""), MULTIPART if files else "", script=script != "none")

    def whole_visit():
        browser.get(url)
        fill_in_everything(browser, files)
        send(browser)
        wait_for(browser, lambda b: b.find_elements("css selector", ".receipt, .formbridge-receipt"))
        return browser.find_element("css selector", "body").text
    if script == "off":
        with without_javascript(browser):
            text = whole_visit()
    else:
        text = whole_visit()
    assert does_not_scroll_sideways(browser)
    mail = shop.mail(receipt_in(text))
    assert fields_of(mail) == TYPED
    assert [(name, content) for name, _, content in uploads_of(mail)] == [(f.name, f.read_bytes()) for f in files]


# ---- going back ----------------------------------------------------------------------------------------------


LONG = "typed with care " * 100


@pytest.mark.parametrize("form, attributes, title", [
    ("order", "", "Please check your entries"),
    ("strange", "", "Not accepted from there"),
    ("small", "", "Too large"),
    ("order", 'enctype="text/plain"', "That could not be read"),
    ("nothing", "", "Nothing here"),
])
def test_the_back_button_after_an_error_keeps_what_was_typed(browser, shop, form, attributes, title):
    url = shop.site.form(action(shop, form), '<p><input name="name"></p><textarea name="message"></textarea>', attributes, script=False)
    browser.get(url)
    browser.execute_script("document.querySelector('textarea').value = arguments[0]", LONG)
    if form != "order" or attributes:
        tab_to(browser, "name")
        press(browser, "Ada")
    send(browser)
    wait_for(browser, lambda b: b.current_url != url and heading(b) == title)
    assert does_not_scroll_sideways(browser)
    assert shop.mail_files() == []
    browser.back()
    wait_for(browser, lambda b: b.current_url == url)
    assert find(browser, "textarea").get_attribute("value") == LONG


# ---- an attack page ------------------------------------------------------------------------------------------


ATTACK = """
const [url, done] = arguments, data = new URLSearchParams({name: 'Mallory'});
const tries = [
    fetch(url, {method: 'POST', body: data}),
    fetch(url, {method: 'POST', body: data, mode: 'no-cors', credentials: 'include', referrerPolicy: 'no-referrer'}),
    fetch(url, {method: 'POST', body: JSON.stringify({name: 'Mallory'}), headers: {'Content-Type': 'application/json'}}),
    fetch(url, {method: 'POST', body: data, headers: {'Idempotency-Key': '1', 'Accept': 'application/json'}}),
    new Promise((ok, no) => { const x = new XMLHttpRequest(); x.open('POST', url); x.onload = ok; x.onerror = no; x.send(data); }),
];
navigator.sendBeacon(url, data);
const frame = document.createElement('iframe');
frame.name = 'hidden';
document.body.append(frame);
const form = Object.assign(document.createElement('form'), {method: 'post', action: url, target: 'hidden'});
form.innerHTML = '<input name="name" value="Mallory">';
document.body.append(form);
form.submit();
const sandbox = document.createElement('iframe');
sandbox.sandbox = 'allow-scripts allow-forms';
sandbox.srcdoc = `<form method="post" action="${url}"><input name="name" value="Mallory"></form><script>document.forms[0].submit()</` + 'script>';
document.body.append(sandbox);
Promise.allSettled(tries).then(r => setTimeout(() => done(r.map(x => x.status === 'fulfilled' ? x.value.type || 'read' : 'failed')), 500));
"""


def test_a_page_of_another_origin_gets_nothing_in_and_reads_nothing(browser, shop):
    """By fetch, XHR, beacon, form in a frame; and, where an origin is asked for, from a sandbox that has none."""
    browser.get(shop.site.page("<h1>You have won</h1>", "/attack.html"))
    before = shop.log().count("accepted ")
    results = browser.execute_async_script(ATTACK, action(shop, "opaque"))
    assert results == ["failed", "opaque", "failed", "failed", "failed"], "an opaque answer cannot be read"
    assert shop.log().count("accepted ") == before and shop.mail_files() == [] and shop.queue() == []


# ---- a line that breaks at the worst moment ------------------------------------------------------------------


LARGE = 100_000


class Line:
    """Between browser and bridge. When it is bad, the answer to a large request is lost; when it is dead, all is."""

    def __init__(self, port):
        self.target, self.bad, self.dead, self.open, self.sent = port, False, False, [], {}
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.threads = [threading.Thread(target=self.accept)]
        self.threads[0].start()

    def accept(self):
        while True:
            try:
                visitor, _ = self.listener.accept()
            except OSError:
                return
            if self.dead:
                visitor.close()
                continue
            bridge = socket.create_connection(("127.0.0.1", self.target))
            self.open += [visitor, bridge]
            for pair in ((visitor, bridge, False), (bridge, visitor, True)):
                thread = threading.Thread(target=self.carry, args=pair)
                thread.start()
                self.threads.append(thread)

    def carry(self, source, sink, answers):
        try:
            while data := source.recv(65536):
                if not answers:
                    self.sent[source] = self.sent.get(source, 0) + len(data)
                if not (answers and self.bad and self.sent.get(sink, 0) > LARGE / 2):
                    sink.sendall(data)
        except OSError:
            pass
        for s in (source, sink):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self):
        for s in self.open:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.cut()
        for thread in self.threads:
            thread.join()
        for s in self.open:
            s.close()


@pytest.fixture
def line(shop):
    made = Line(shop.port)
    yield made
    made.close()


def test_an_answer_that_is_lost_costs_no_second_mail(browser, shop, line):
    """The order was taken, the visitor does not know, presses the button again and gets the receipt of the first."""
    browser.get(shop.site.form(f"https://localhost:{line.port}/f/once", '<input name="name"><textarea name="message"></textarea>'))
    browser.execute_script("document.querySelector('textarea').value = 'm'.repeat(arguments[0])", LARGE)
    tab_to(browser, "name")
    press(browser, "Ada")
    seen = len(shop.log())
    line.bad = True
    send(browser)
    shop.wait_for_log("accepted ", since=seen)
    (receipt,) = re.findall(r"accepted (\S+)", shop.log()[seen:])
    line.dead = True
    line.cut()
    assert "will not arrive twice" in appears(browser, "[role=alert]").text
    line.bad = line.dead = False
    send(browser)
    wait_for(browser, lambda b: heading(b) == "Thank you")
    assert receipt_in(find(browser, "main").text) == receipt
    assert shop.log()[seen:].count("accepted ") == 1 and f"repeat of {receipt}" in shop.log()
    assert len(shop.mails(1)) == 1
