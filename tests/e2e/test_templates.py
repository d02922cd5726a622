"""The owner's own pages: what is in them is shown and nothing else runs, and a mistake in them is found before a visitor."""

import re
import shutil
import signal
import subprocess

import pytest
from selenium.webdriver.common.keys import Keys

from bridge import PROGRAM, ROOT, Bridge, fields_of, receipt_in
from chrome import Site, chromium, find, heading, press, serving, shot, tab_to, wait_for

EXAMPLES = ROOT / "examples" / "templates"
HOSTILE = '"><script>document.title = 1</script></textarea>\'{{receipt}}'


@pytest.fixture
def pages(tmp_path):
    return shutil.copytree(EXAMPLES, tmp_path / "pages")


@pytest.fixture
def owner(pages):
    with serving(Site()) as site, Bridge({"form order": {"templates": pages, "origins": site.origin, "title": "Tea & Co"}}) as b:
        b.site, b.pages = site, pages
        yield b


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("chromium")) as b:
        yield b


def action(b):
    return f"https://localhost:{b.port}/f/order"


def test_each_page_is_the_owners(owner):
    status, headers, body = owner.post([("name", "Ada")])
    text = body.decode()
    assert status == 200 and receipt_in(text) and "<title>Thank you – Tea &amp; Co</title>" in text and "Georgia" in text
    assert f'<a href="{owner.site.origin}/">Back to 127.0.0.1:' in text and '<html lang="en" dir="ltr">' in text
    assert re.search(r"<small>\d{4}-\d\d-\d\d \d\d:\d\d UTC\. Keep this number", text)
    status, headers, body = owner.post([("name", "")])
    assert status == 422 and b"Georgia" in body and b'<div class="list" role="alert">' in body and b'action="/f/order"' in body
    status, headers, body = owner.post([("name", "Ada")], headers={"Origin": "https://evil.example"})
    assert status == 403 and b"Georgia" in body and b"Nothing was stored and nothing was sent." in body
    assert all("{{" not in t for t in (text, body.decode()))


def test_its_policy_has_the_hash_of_its_style_and_the_sites_pictures(owner):
    _, headers, _ = owner.post([("name", "Ada")])
    site = owner.site.origin
    assert re.fullmatch(rf"default-src 'none'; style-src 'sha256-[A-Za-z0-9+/]{{43}}=' {site}; img-src {site}; font-src {site}; "
                        r"base-uri 'none'; frame-ancestors 'none'", headers["Content-Security-Policy"])
    assert headers["Referrer-Policy"] == "same-origin" and headers["Content-Language"] == "en"
    assert owner.post([("name", "Ada")], form="nothing")[1]["Content-Security-Policy"].count("sha256") == 1


def test_what_a_visitor_typed_stays_text(owner):
    _, _, body = owner.post([("name", ""), ("text", HOSTILE), (HOSTILE, "x")])
    text = body.decode()
    assert "<script" not in text and text.count("<textarea") == text.count("</textarea>")
    assert "{{receipt}}" in text, "it is no placeholder"


def test_in_a_browser_it_is_styled_and_can_be_sent_again(browser, owner):
    browser.get_log("browser")
    browser.get(owner.site.form(action(owner), '<input name="name"><textarea name="text">Two\nlines</textarea>', script=False))
    tab_to(browser, "button")
    press(browser, Keys.ENTER)
    wait_for(browser, lambda b: heading(b) == "Please check your entries")
    assert "Georgia" in find(browser, "body").value_of_css_property("font-family")
    assert "138, 59, 18" in find(browser, "button").value_of_css_property("background-color"), "built-in and own style"
    shot(browser, "template-invalid")
    tab_to(browser, "name")
    press(browser, "Ada")
    tab_to(browser, "button")
    press(browser, Keys.ENTER)
    wait_for(browser, lambda b: heading(b) == "Thank you")
    shot(browser, "template-receipt")
    assert fields_of(owner.mail(receipt_in(find(browser, "main").text))) == [("name", "Ada"), ("text", "Two\nlines")]
    assert [e for e in browser.get_log("browser") if "Content Security Policy" in e["message"]] == []


def test_pictures_come_from_the_owners_site_and_from_nowhere_else(browser, owner):
    other = Site()
    with serving(other):
        svg = '<svg xmlns="http://www.w3.org/2000/svg" width="7" height="7"/>'
        (owner.pages / "receipt.html").write_text(
            f'<title>{{{{title}}}}</title>{{{{receipt}}}}<img id="own" src="{owner.site.origin}/i.svg"><img id="other" src="{other.origin}/i.svg">')
        for site in (owner.site, other):
            site.pages["/i.svg"] = svg
            site.kinds["/i.svg"] = "image/svg+xml"
        reload(owner)
        browser.get(owner.site.form(action(owner), '<input name="name" value="Ada">', script=False))
        tab_to(browser, "button")
        press(browser, Keys.ENTER)
        wait_for(browser, lambda b: b.title == "Thank you")
        widths = browser.execute_script("return ['own', 'other'].map(i => document.getElementById(i).naturalWidth)")
        assert widths == [7, 0]


def reload(b):
    before = b.log().count("reloaded:")
    b.process.send_signal(signal.SIGHUP)
    b.wait_for_log("reloaded:", count=before + 1)


def test_a_reload_takes_new_pages_and_refuses_broken_ones(owner):
    page = owner.pages / "receipt.html"
    page.write_text("<title>x</title>new {{receipt}}")
    reload(owner)
    assert owner.post([("name", "Ada")])[2].startswith(b"<title>x</title>new ")
    page.write_text("<title>x</title>\n{{recipt}}")
    owner.process.send_signal(signal.SIGHUP)
    owner.wait_for_log(f'{page}:2: "recipt" is no placeholder of receipt.html: there are lang, ')
    assert owner.post([("name", "Ada")])[2].startswith(b"<title>x</title>new "), "the old pages stay"


def test_a_page_that_the_owner_has_not_made_is_ours(pages):
    (pages / "invalid.html").unlink()
    (pages / "error.html").unlink()
    for text in ("receipt", "site", "back"):
        (pages / "receipt.html").write_text("{{receipt}} and nothing else")
    with Bridge({"form order": {"templates": pages}}) as b:
        assert b.post([("name", "")])[2].startswith(b"<!DOCTYPE html>\n<html lang=")
        assert b.post([("name", "Ada")])[2].endswith(b" and nothing else")


def mistakes(directory, origins="https://www.example.com"):
    b = Bridge({"form order": {"templates": directory, "origins": origins}}, start=False)
    try:
        run = subprocess.run([PROGRAM, "-c", b.dir / "config.ini"], capture_output=True, text=True)
        assert run.returncode == 2
        return run.stderr
    finally:
        b.close()


def test_every_mistake_of_every_page_is_said_with_its_line(pages):
    (pages / "receipt.html").write_text("<p>\n<script>x()</script>\n<p style='x'>{{reciept}}")
    (pages / "error.html").write_text("<a href={{site}}>\n{{message}}")
    (pages / "invalid.html").write_bytes(b"{{errors}}{{fields}}\xff")
    said = mistakes(pages)
    for line in ('receipt.html:2: no script runs', 'receipt.html:3: a style attribute', 'receipt.html:3: "reciept" is no placeholder',
                 "receipt.html:1: there is no {{receipt}}", "error.html:1: {{site}} can only stand",
                 "error.html:1: there is no {{stored}}", "invalid.html:1: this is not text in UTF-8"):
        assert f"{pages}/{line}" in said


def test_a_directory_without_pages_is_a_mistake(tmp_path):
    assert re.search(r"config\.ini:\d+: \[form order\]: templates: .* has none of receipt.html, error.html and invalid.html",
                     mistakes(tmp_path))


def test_a_page_that_cannot_be_read_is_a_mistake(pages):
    (pages / "error.html").write_bytes(b"x" * 65537)
    (pages / "receipt.html").unlink()
    (pages / "receipt.html").mkdir()
    said = mistakes(pages)
    assert f"{pages}/error.html: cannot be read: a template has 64 kB at most" in said
    assert f"{pages}/receipt.html: cannot be read: " in said


def test_the_site_must_be_known_for_a_way_back(pages):
    assert "receipt.html:20: {{site}} needs to know the site: set origins" in mistakes(pages, origins=None)


def test_what_looks_like_spam_is_refused_on_the_owners_page(pages):
    with Bridge({"form order": {"templates": pages, "spam": "refuse", "spam_score": "1", "origins": "https://www.example.com"}}) as b:
        status, headers, body = b.post([("name", "Ada"), ("_gotcha", "filled in")])
        assert status == 403 and b"Georgia" in body and b'action="/f/order"' in body
        assert headers["Content-Security-Policy"].count("sha256") == 2 and b.mail_files() == []
