"""What is shown in Chromium holds in Firefox, too: another engine, another idea of keys, of going back and of policies."""

import base64
import contextlib
import json

import pytest

from bridge import Bridge, fields_of, receipt_in, uploads_of
from chrome import Site, serving
from marionette import Keys, Marionette
from test_vectors import CHARSETS, CONTENT, FILES, LONE, MULTIPART, SUBMIT, TEXTS, URLENCODED, crlf, quoted, recorded, stored
from test_visitors import ATTACK, CONTROLS, LONG, PHOTO, TYPED, UPLOAD


@pytest.fixture(scope="module")
def firefox(tmp_path_factory):
    with Marionette("firefox-esr", tmp_path_factory.mktemp("firefox")) as f:
        yield f


@pytest.fixture(scope="module")
def open_shop():
    with serving(Site()) as site:
        form = dict(Bridge.FORM, origins=site.origin)
        forms = {"order": {"min_time": 1}, "small": {"max_body": "1k"}, "once": {"once_window": "10m"},
                 "next": {"success": f"{site.origin}/thanks.html"}, "opaque": {"origins": "https://www.example.com", "missing_origin": "refuse"},
                 "vectors": {"required": None, "dialect": "none", "attach": "json", "reply_to": None}}
        with Bridge({"bridge": {"max_files": 100, "max_fields": 1000}, **{f"form {name}": {**form, **more} for name, more in forms.items()}},
                    start=False) as b:
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
    open_shop.site.csp = None
    return open_shop


def action(bridge, form="order"):
    return f"https://localhost:{bridge.port}/f/{form}"


@contextlib.contextmanager
def javascript(firefox, on):
    def switch(value):
        with firefox.chrome():
            firefox.script("Services.prefs.setBoolPref('javascript.enabled', arguments[0])", value)
    switch(on)
    try:
        yield
    finally:
        switch(True)


def send(firefox):
    firefox.tab_to("button")
    firefox.press(Keys.ENTER)


def text(firefox, selector):
    """None while there is no such element, as between two pages."""
    found = firefox.find(selector)
    return found and found.text


def has(firefox, selector, value):
    found = firefox.find(selector)
    return found and found.property("value") == value


def heading(firefox):
    return text(firefox, "h1")


def receipt_page(firefox):
    return receipt_in(firefox.wait_for(lambda f: heading(f) == "Thank you" and text(f, "main"), "receipt"))


def fill_in_everything(firefox, files=()):
    for name, keys in (("name", "Ada Müller"), ("email", "ada@example.org"), ("tel", "+49 30 123"), ("guests", Keys.ARROW_UP),
                       ("day", "12242026"), ("size", Keys.SPACE + Keys.ARROW_DOWN), ("item", Keys.ARROW_DOWN), ("extras", Keys.HOME),
                       ("message", f"Grüße,{Keys.ENTER}bitte 🥐"), ("consent", Keys.SPACE)):
        firefox.tab_to(name)
        firefox.press(keys)
        if name == "extras":
            firefox.press(Keys.ARROW_DOWN, held=Keys.SHIFT)
    if files:  # a native dialogue, which the driver fills in
        firefox.tab_to("photos").send_keys("\n".join(str(f) for f in files))


@pytest.mark.parametrize("script", ["none", "off", "ours"])
@pytest.mark.parametrize("enctype", ["urlencoded", "multipart"])
def test_a_form_of_every_control_is_filled_in_by_keyboard(firefox, shop, tmp_path, enctype, script):
    files = [tmp_path / "Käse.jpg", tmp_path / "two.jpg"] if enctype == "multipart" else []
    for f in files:
        f.write_bytes(PHOTO + f.name.encode())
    url = shop.site.form(action(shop), CONTROLS + (UPLOAD if files else ""), f'enctype="{MULTIPART}"' if files else "", script=script != "none")
    with javascript(firefox, script != "off"):
        firefox.get(url)
        fill_in_everything(firefox, files)
        send(firefox)
        firefox.wait_for(lambda f: f.all(".receipt, .formbridge-receipt"), "receipt")
        page = firefox.find("body").text
    assert (firefox.url == url) == (script == "ours"), "the script alone shows it in place"
    mail = shop.mail(receipt_in(page))
    assert fields_of(mail) == TYPED
    assert [(name, content) for name, _, content in uploads_of(mail)] == [(f.name, f.read_bytes()) for f in files]


@pytest.mark.parametrize("form, title", [("order", "Please check your entries"), ("small", "Too large")])
@pytest.mark.parametrize("scripts", [True, False])
def test_the_back_button_after_an_error_keeps_what_was_typed(firefox, shop, form, title, scripts):
    url = shop.site.form(action(shop, form), '<p><input name="name"></p><textarea name="message"></textarea>', script=False)
    with javascript(firefox, scripts):
        firefox.get(url)
        firefox.find("textarea").send_keys(LONG)
        if form != "order":
            firefox.find("[name=name]").send_keys("Ada")
        send(firefox)
        firefox.wait_for(lambda f: f.url != url and heading(f) == title, title)
        assert shop.mail_files() == []
        if form == "order":
            firefox.wait_for(lambda f: has(f, "[name=message]", LONG), "question with everything in it")
        firefox.back()
        firefox.wait_for(lambda f: f.url == url and has(f, "textarea", LONG), "form with what was typed")


def test_what_the_page_asks_again_is_sent_by_keyboard(firefox, shop):
    firefox.get(shop.site.form(action(shop, "next"), '<input name="name"><textarea name="message"></textarea>', script=False))
    firefox.tab_to("message")
    firefox.press("  <b>\"two\"</b>\n\n &#8364; 🥐 ".replace("\n", Keys.ENTER))
    send(firefox)
    firefox.wait_for(lambda f: heading(f) == "Please check your entries", "the form again")
    firefox.tab_to("a")
    firefox.press(Keys.ENTER)  # the link in the summary leads to the field
    firefox.wait_for(lambda f: f.focused().attribute("name") == "name", "jump")
    firefox.press("Ada")
    send(firefox)
    firefox.wait_for(lambda f: f.url == f"{shop.site.origin}/thanks.html", "the page of the site")
    (mail,) = shop.mails(1)
    assert fields_of(mail) == [("name", "Ada"), ("message", "  <b>\"two\"</b>\n\n &#8364; 🥐 ")]


def test_a_reload_of_the_receipt_is_no_second_mail(firefox, shop):
    firefox.get(shop.site.form(action(shop, "once"), '<input name="name" value="Ada">', script=False))
    send(firefox)
    receipt = receipt_page(firefox)
    with firefox.chrome():
        firefox.script("BrowserCommands.reload()")
    firefox.wait_for(lambda f: f.command("WebDriver:GetAlertText"), "question whether to send it again")
    firefox.command("WebDriver:AcceptAlert")
    shop.wait_for_log(f"repeat of {receipt}")
    assert receipt_page(firefox) == receipt and len(shop.mails(1)) == 1


# ---- the script ----------------------------------------------------------------------------------------------


@pytest.fixture
def strict(firefox, shop):
    """The shop on a site with a policy, which the script must not offend."""
    here = f"https://localhost:{shop.port}"
    shop.site.csp = (f"default-src 'none'; script-src {here}; connect-src {here}; form-action {here}; base-uri 'none'; "
                     "require-trusted-types-for 'script'")
    with firefox.chrome():
        firefox.script("Services.console.reset()")
    yield shop
    with firefox.chrome():
        said = firefox.script("return Services.console.getMessageArray().map(m => m.message)")
    assert [m for m in said if "Content-Security-Policy" in m or "Content Security Policy" in m] == []


def test_the_script_says_beside_the_field_what_is_missing_and_shows_the_receipt_in_place(firefox, strict):
    url = strict.site.form(action(strict), '<p><label>Name <input name="name"></label></p><p><label>Email <input name="email"></label></p>')
    firefox.get(url)
    firefox.tab_to("email")
    firefox.press("ada@example.org")
    send(firefox)
    note = firefox.wait_for(lambda f: f.find(".formbridge-error"), "message beside the field")
    name = firefox.find("[name=name]")
    assert note.text == "Please fill this in." and name.attribute("aria-invalid") == "true" and firefox.focused() == name
    firefox.press("Ada", Keys.ENTER)  # a form is also sent by the Enter key
    box = firefox.wait_for(lambda f: f.find(".formbridge-receipt"), "receipt")
    assert firefox.focused() == box and firefox.url == url and firefox.find("form") is None
    assert fields_of(strict.mail(receipt_in(box.text))) == [("name", "Ada"), ("email", "ada@example.org")]


def test_a_page_of_another_origin_gets_nothing_in_and_reads_nothing(firefox, shop):
    firefox.get(shop.site.page("<h1>You have won</h1>", "/attack.html"))
    before = shop.log().count("accepted ")
    results = firefox.script(ATTACK, action(shop, "opaque"), wait=True)
    assert results == ["failed", "opaque", "failed", "failed", "failed"], "an opaque answer cannot be read"
    assert shop.log().count("accepted ") == before and shop.mail_files() == [] and shop.queue() == []


# ---- any name, value and file name ----------------------------------------------------------------------------


def submit(firefox, shop, enctype, charset, pairs, files=()):
    """The mail that comes of it."""
    firefox.get(shop.site.page("<h1>shop</h1>"))
    # As \\u escapes, so that no half of a pair is lost on the way to the browser.
    arguments = json.dumps([action(shop, "vectors"), enctype, charset, [n for n, _ in pairs], [v for _, v in pairs],
                            list(files), base64.b64encode(CONTENT).decode()])
    firefox.script(f"(function() {{{SUBMIT}}}).apply(window, JSON.parse(arguments[0]))", arguments)
    return shop.mail(receipt_page(firefox))


@pytest.mark.parametrize("charset", CHARSETS)
@pytest.mark.parametrize("enctype", [URLENCODED, MULTIPART])
def test_names_and_values_come_through(firefox, shop, enctype, charset):
    texts = TEXTS + (LONE if charset in ("utf-8", "utf-16") else [])
    pairs = [("v", text) for text in texts] + [(text[:50], "n") for text in texts]
    mail = submit(firefox, shop, enctype, charset, pairs)
    as_name = (lambda n: quoted(crlf(n))) if enctype == MULTIPART else crlf
    assert recorded(mail) == [(stored(as_name(n)), stored(crlf(v))) for n, v in pairs]


@pytest.mark.parametrize("charset", ["utf-8", "windows-1252", "shift_jis"])
def test_files_and_their_names_come_through(firefox, shop, charset):
    names = [n for n in FILES if charset == "utf-8" or "\ud83e" not in n]
    uploads = [u for u in uploads_of(submit(firefox, shop, MULTIPART, charset, [("v", "x")], names)) if u[0] != "fields.json"]
    assert uploads == [(FILES[n], "application/x-test", CONTENT) for n in names]


def test_without_multipart_a_file_is_its_name(firefox, shop):
    names = list(FILES)
    mail = submit(firefox, shop, URLENCODED, "utf-8", [], names)
    assert recorded(mail) == [("file", stored(crlf(n))) for n in names]
