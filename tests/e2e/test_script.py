"""The script that a site may add to its form, in a real browser under a strict policy."""

import hashlib
import json
import re
import time
import urllib.parse

import pytest
from selenium.webdriver.common.keys import Keys

from bridge import Bridge, fields_of, receipt_in, uploads_of
from chrome import Page, Site, appears, chromium, find, heading, press, serving, shot, slow_upload, tab_to, wait_for, \
    without_javascript

INPUTS = """
<p><label>Name <input name="name"></label></p><p><label for="m">Email</label> <input id="m" name="email" aria-describedby="hint"></p>
<p id="hint">We answer there.</p><fieldset><legend>Size</legend><label><input type="radio" name="size" value="S"> S</label>
<label><input type="radio" name="size" value="L"> L</label></fieldset>
"""
UPLOAD = '<p><label>Photo <input type="file" name="photo"></label></p>'
MULTIPART = 'enctype="multipart/form-data"'


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("chromium")) as b:
        yield b


@pytest.fixture(scope="module")
def open_shop():
    with serving(Site()) as site:
        form = dict(Bridge.FORM, origins=site.origin)
        forms = {"order": {"required": "name email size"}, "german": {"language": "de"}, "small": {"max_body": "1k"},
                 "guarded": {"token": "required", "min_time": "1s", "proof_bits": "12", "spam": "refuse", "spam_score": "1"},
                 "next": {"success": f"{site.origin}/thanks.html"}, "stranger": {"origins": "https://www.example.com"}}
        with Bridge({f"form {name}": {**form, **more} for name, more in forms.items()}, start=False) as b:
            for name in forms:
                b.config[f"form {name}"]["deliver"] = f"maildir:{b.maildir}"
            b.write_config()
            b.start()
            b.site = site
            # What a strict site says: no inline script or style, no eval, and only what the script needs.
            here = f"https://localhost:{b.port}"
            site.csp = (f"default-src 'none'; script-src {here}; connect-src {here}; form-action {here}; base-uri 'none'; "
                        "require-trusted-types-for 'script'")
            yield b


@pytest.fixture
def shop(open_shop, browser):
    for path in open_shop.mail_files():
        path.unlink()
    browser.get_log("browser")
    yield open_shop
    assert [e["message"] for e in browser.get_log("browser") if "Content Security Policy" in e["message"]] == []


def action(bridge, form="order"):
    return f"https://localhost:{bridge.port}/f/{form}"


def fill_in(browser, name="Ada", email="ada@example.org", size=True):
    tab_to(browser, "name")
    press(browser, name)
    tab_to(browser, "email")
    press(browser, email)
    if size:
        tab_to(browser, "size")
        press(browser, Keys.SPACE, Keys.ARROW_DOWN)


def send(browser):
    tab_to(browser, "button")
    press(browser, Keys.ENTER)


# ---- as a file ---------------------------------------------------------------------------------------------


def get(bridge, headers, form="order", method="GET"):
    client = bridge.client()
    client.request(method, f"/f/{form}.js", headers=headers)
    response = client.getresponse()
    answer = response.status, dict(response.getheaders()), response.read()
    client.close()
    return answer


@pytest.mark.parametrize("language", ["en", "de", "fr", "es"])
def test_it_is_small_and_needs_nothing_else(open_shop, language):
    status, headers, body = get(open_shop, {"Accept-Language": language})
    assert status == 200 and headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert len(body) < 6000
    text = body.decode()
    assert f'"lang":"{language}"' in text and headers["Content-Language"] == language
    assert not re.search(r"\beval\b|Function\(|innerHTML|outerHTML|\.style\b|import\b|SETTINGS|^\s*//|^ ", text, re.M)


def test_it_may_be_kept_for_a_while_and_used_by_any_page(open_shop):
    _, headers, body = get(open_shop, {})
    assert headers["Cache-Control"] == "public, max-age=3600" and "Accept-Language" in headers["Vary"]
    assert headers["Cross-Origin-Resource-Policy"] == "cross-origin" and headers["Access-Control-Allow-Origin"] == "*"
    status, again, nothing = get(open_shop, {"If-None-Match": headers["ETag"]})
    assert status == 304 and nothing == b"" and again["ETag"] == headers["ETag"]
    assert get(open_shop, {"If-None-Match": headers["ETag"], "Accept-Language": "de"})[2] != body
    assert get(open_shop, {"If-None-Match": '"other"'})[0] == 200
    assert get(open_shop, {}, "german")[1]["Content-Language"] == "de"


def test_only_a_form_that_there_is_has_one(open_shop):
    assert get(open_shop, {}, "nothing")[0] == 404
    assert get(open_shop, {}, "")[0] == 404
    status, headers, _ = get(open_shop, {}, method="DELETE")
    assert status == 405 and headers["Allow"] == "GET, HEAD"
    assert get(open_shop, {}, method="HEAD")[0] == 200


# ---- with the bridge ---------------------------------------------------------------------------------------


def test_the_receipt_is_shown_in_place(browser, shop, axe):
    url = shop.site.form(action(shop), INPUTS)
    browser.get(url)
    fill_in(browser)
    send(browser)
    box = appears(browser, ".formbridge-receipt")
    assert box.get_attribute("role") == "status" and browser.switch_to.active_element == box
    assert "Thank you" in box.text and browser.current_url == url and find(browser, "form") is None
    shot(browser, "script-receipt")
    assert axe(browser) == []
    (mail,) = shop.mails(1)
    assert fields_of(shop.mail(receipt_in(box.text)))[:3] == [("name", "Ada"), ("email", "ada@example.org"), ("size", "L")]
    assert receipt_in(box.text) in mail["Subject"]


def test_what_is_missing_is_said_beside_the_field(browser, shop, axe):
    browser.get(shop.site.form(action(shop), INPUTS))
    fill_in(browser, email="", size=False)
    send(browser)
    wait_for(browser, lambda b: len(b.find_elements("css selector", ".formbridge-error")) == 2)
    shot(browser, "script-errors")
    assert axe(browser) == []
    email, size = find(browser, "#m"), find(browser, "[name=size][value=S]")
    for control in (email, size):
        assert control.get_attribute("aria-invalid") == "true"
        note = find(browser, "#" + control.get_attribute("aria-describedby").split()[-1])
        assert note.text == "Please fill this in." and note.get_attribute("lang") == "en"
    assert email.get_attribute("aria-describedby").startswith("hint ")
    assert browser.switch_to.active_element == email, "the first of them has the focus"
    assert find(browser, "[role=alert]") is None and find(browser, "button").is_enabled()
    press(browser, "ada@example.org")
    assert email.get_attribute("aria-invalid") is None, "typing takes the complaint away"
    assert email.get_attribute("aria-describedby") == "hint"
    tab_to(browser, "size")
    press(browser, Keys.SPACE)
    send(browser)
    appears(browser, ".formbridge-receipt")
    assert fields_of(shop.mails(1)[0])[:2] == [("name", "Ada"), ("email", "ada@example.org")]


def test_what_is_wrong_with_the_whole_form_is_said_above_it(browser, shop):
    browser.get(shop.site.form(action(shop, "small"), '<textarea name="name"></textarea>'))
    browser.execute_script("document.querySelector('textarea').value = 'x'.repeat(2000)")
    send(browser)
    box = appears(browser, "[role=alert]")
    assert "larger than is accepted here" in box.text
    assert find(browser, "form").find_element("css selector", "*") == box, "it stands first"
    assert len(find(browser, "textarea").get_attribute("value")) == 2000
    assert shop.mail_files() == []


def test_an_upload_shows_how_far_it_is_and_cannot_be_sent_twice(browser, shop, tmp_path):
    photo = tmp_path / "Käse.jpg"
    photo.write_bytes(b"\xff\xd8\xff" + bytes(range(256)) * 2400)
    browser.get(shop.site.form(action(shop), INPUTS + UPLOAD, MULTIPART))
    fill_in(browser)
    tab_to(browser, "photo").send_keys(str(photo))
    with slow_upload(browser, 400_000):
        send(browser)
        seen = set()

        def moved(b):
            bar = find(b, ".formbridge-progress")
            if bar is not None:
                seen.add(float(bar.get_attribute("value") or 0))
            return len([v for v in seen if 0 < v < 1]) >= 2
        wait_for(browser, moved)
        assert not find(browser, "button").is_enabled()
        assert find(browser, "form").get_attribute("aria-busy") == "true"
        assert "Sending" in find(browser, "[role=status]").text
        shot(browser, "script-upload")
        tab_to(browser, "name")
        press(browser, Keys.ENTER)  # a form is also sent by the Enter key
        appears(browser, ".formbridge-receipt")
    (mail,) = shop.mails(1)
    assert uploads_of(mail) == [("Käse.jpg", "image/jpeg", photo.read_bytes())]
    assert shop.log().count("accepted ") == len(set(re.findall(r"accepted (\S+)", shop.log())))


def test_success_leads_to_the_page_of_the_site(browser, shop):
    browser.get(shop.site.form(action(shop, "next"), '<input name="name">'))
    tab_to(browser, "name")
    press(browser, "Ada", Keys.ENTER)
    wait_for(browser, lambda b: b.current_url == f"{shop.site.origin}/thanks.html")
    assert len(shop.mails(1)) == 1


def test_it_speaks_the_language_of_the_form(browser, shop):
    browser.get(shop.site.form(action(shop, "german"), '<input name="name">'))
    send(browser)
    note = appears(browser, ".formbridge-error")
    assert note.text == "Bitte füllen Sie dieses Feld aus." and note.get_attribute("lang") == "de"
    tab_to(browser, "name")


def test_a_form_of_another_site_is_refused_and_told_so(browser, shop):
    """The answer is not for a script of that origin: the visitor's second try is the browser's, which shows it."""
    browser.get(shop.site.form(action(shop, "stranger"), '<input name="name" value="Ada">'))
    send(browser)
    assert "No answer came" in appears(browser, "[role=alert]").text
    send(browser)
    wait_for(browser, lambda b: heading(b) == "Not accepted from there")
    assert shop.mail_files() == []


def test_a_form_that_asks_for_token_and_proof_takes_it_at_once(browser, shop):
    """However fast a visitor's password manager fills it in: the script keeps the time and does the work."""
    browser.get(shop.site.form(action(shop, "guarded"), '<input name="name">'))
    tab_to(browser, "name")
    press(browser, "Ada", Keys.ENTER)
    box = appears(browser, ".formbridge-receipt")
    mail = shop.mail(receipt_in(box.text))
    assert fields_of(mail) == [("name", "Ada")] and mail["X-Spam-Flag"] is None


def test_without_javascript_the_same_page_works(browser, shop):
    with without_javascript(browser):
        browser.get(shop.site.form(action(shop), INPUTS))
        fill_in(browser)
        send(browser)
        wait_for(browser, lambda b: heading(b) == "Thank you")
        receipt = receipt_in(find(browser, "main").text)
    assert fields_of(shop.mail(receipt)) == [("name", "Ada"), ("email", "ada@example.org"), ("size", "L")]


def test_other_forms_of_the_page_are_left_alone(browser, shop):
    url = shop.site.page(f'<script src="{action(shop)}.js" defer></script><form action="/thanks.html"><input name="name">'
                         "<button>Search</button></form>")
    shop.site.csp, csp = None, shop.site.csp
    browser.get(url)
    shop.site.csp = csp
    tab_to(browser, "name")
    press(browser, "Ada", Keys.ENTER)
    wait_for(browser, lambda b: "/thanks.html?name=Ada" in b.current_url)


# ---- with a server that answers as it is told --------------------------------------------------------------


class Told(Page):
    """Answers a post with the next of server.answers: JSON, or None to hang up. GET is that of a site."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posts.append((self.headers, dict(urllib.parse.parse_qsl(body.decode(), keep_blank_values=True))))
        answer = self.server.answers.pop(0)
        if answer is None:
            self.close_connection = True
        else:
            self.answer(200 if "ok" in answer else 422, json.dumps(answer), "application/json")


OK = {"ok": True, "id": "7K2M-Q9XD-4TRW", "next": ""}


@pytest.fixture
def told(open_shop):
    with serving(Site(Told)) as server:
        server.pages["/f/order.js"] = get(open_shop, {})[2].decode()
        server.posts, server.answers = [], []
        server.action = f"{server.origin}/f/order"
        yield server


def test_a_retry_is_the_same_submission(browser, told):
    browser.get(told.form(told.action, '<input name="name" value="Ada">'))
    told.answers[:] = [None, None, OK]  # the browser itself tries once more on a new connection
    send(browser)
    assert "press the button once more" in appears(browser, "[role=alert]").text
    told.answers[:] = [OK]
    send(browser)
    wait_for(browser, lambda b: OK["id"] in b.page_source)  # the browser's ordinary way
    nonces = {fields["_nonce"] for _, fields in told.posts}
    assert len(told.posts) >= 2 and len(nonces) == 1 and len(nonces.pop()) > 16
    assert "text/html" in told.posts[-1][0]["Accept"]


@pytest.mark.parametrize("inside,attributes", [
    ('<textarea name="text">two\nlines</textarea>', ""),
    ('<textarea name="text">two\nlines</textarea><input type="file" name="photo">', MULTIPART),
    ('<button name="do" value="order">Order</button><input name="name" value="Ada">', ""),
    ('<input type="image" name="do" alt="Order"><input name="name" value="Ada">', ""),
], ids=["lines", "multipart", "button", "image"])
def test_what_the_browser_sends_again_by_itself_is_no_second_mail(browser, inside, attributes):
    """The answer to the script was lost, so the visitor presses the button again, and the browser sends the form."""
    with serving(Site()) as site, Bridge({"form order": {"origins": site.origin, "once_window": "10m", "required": None}}) as b:
        browser.get(site.form(action(b), inside, attributes))
        browser.execute_script("Object.defineProperty(XMLHttpRequest.prototype, 'responseText', {get() { return '' }})")
        browser.find_element("css selector", "form button, form [type=image]").click()  # the first
        appears(browser, "[role=alert]")
        (mail,) = b.mails(1)
        browser.find_element("css selector", "form button, form [type=image]").click()  # the first
        wait_for(browser, lambda _: mail["X-Formbridge-Ref"] in browser.page_source)
        assert "repeat of" in b.log() and len(b.mails()) == 1


def test_a_correction_keeps_the_nonce_and_another_visit_has_another(browser, told):
    nonces = []
    for _ in range(2):
        browser.get(told.form(told.action, '<input name="name" value="Ada">'))
        told.answers[:] = [{"error": "no", "errors": [{"field": "name", "code": "X", "message": "Another."}]}, OK]
        send(browser)
        appears(browser, ".formbridge-error")
        send(browser)
        appears(browser, ".formbridge-receipt")
        assert told.posts[-1][1]["_nonce"] == told.posts[-2][1]["_nonce"]
        nonces.append(told.posts[-1][1]["_nonce"])
    assert nonces[0] != nonces[1]


def test_a_token_is_fetched_and_proved_and_not_used_too_soon(browser, told):
    told.pages["/f/order/token"] = json.dumps({"token": "abc.def", "bits": 10, "min_time": 1})
    browser.get(told.form(told.action, '<input name="name">'))
    told.answers[:] = [OK]
    begun = time.monotonic()
    tab_to(browser, "name")
    press(browser, "Ada", Keys.ENTER)
    appears(browser, ".formbridge-receipt")
    assert time.monotonic() - begun >= 1
    (_, fields), = told.posts
    assert fields["_token"] == "abc.def" and fields["name"] == "Ada"
    digest = hashlib.sha256(f"abc.def:{fields['_proof']}".encode()).digest()
    assert int.from_bytes(digest[:4], "big") >> 22 == 0


def test_a_refused_token_is_replaced_for_the_next_try(browser, told):
    told.pages["/f/order/token"] = json.dumps({"token": "old", "bits": 0, "min_time": 0})
    browser.get(told.form(told.action, '<input name="name" value="Ada">'))
    told.answers[:] = [{"error": "Too late.", "errors": [{"code": "SPAM_REFUSED", "message": "Too late."}]}, OK]
    send(browser)
    appears(browser, "[role=alert]")
    told.pages["/f/order/token"] = json.dumps({"token": "new", "bits": 0, "min_time": 0})
    send(browser)
    appears(browser, ".formbridge-receipt")
    assert [fields["_token"] for _, fields in told.posts] == ["old", "new"]


def test_what_the_page_itself_stops_is_not_sent(browser, told):
    browser.get(told.form(told.action, '<input name="name">'))
    browser.execute_script("document.querySelector('form').onsubmit = e => e.preventDefault()")
    send(browser)
    time.sleep(0.3)
    assert told.posts == [] and find(browser, "[role]") is None


def test_fields_may_have_the_names_of_what_a_form_has(browser, told):
    names = ["elements", "action", "enctype", "submit", "reset", "method", "name", "id"]
    browser.get(told.form(told.action, "".join(f'<input name="{n}" value="{n}">' for n in names)))
    told.answers[:] = [OK]
    send(browser)
    appears(browser, ".formbridge-receipt")
    sent = told.posts[0][1]
    del sent["_nonce"]
    assert sent == {n: n for n in names}


def test_the_button_that_was_pressed_is_sent_along(browser, told):
    browser.get(told.page(f'<script src={told.action}.js defer></script><form action="{told.action}" method="post">'
                          '<button name="do" value="order">Order</button><button name="do" value="ask">Ask</button></form>'))
    told.answers[:] = [OK]
    browser.find_element("css selector", "[value=ask]").send_keys(Keys.ENTER)
    appears(browser, ".formbridge-receipt")
    assert told.posts[0][1]["do"] == "ask"
