"""Formspree's own client library, unmodified, posts to a form of ours: in Node and in a browser, on another origin."""

import json
import pathlib
import subprocess

import pytest

from bridge import PATIENCE, Bridge, fields_of, uploads_of
from chrome import Page, Site, chromium, serving

HERE = pathlib.Path(__file__).parent


class WithScripts(Page):
    def answer(self, status, text, kind="text/html; charset=utf-8"):
        super().answer(status, text, "text/javascript" if self.path.endswith(".mjs") else kind)


@pytest.fixture(scope="module")
def shop():
    with serving(Site(WithScripts)) as site:
        keys = dict(Bridge.FORM, origins=site.origin, required="name email", reply_to=None, max_body="20k")
        with Bridge({"form order": keys, "form next": {**keys, "success": f"{site.origin}/thanks.html"}}, start=False) as b:
            b.config["form next"]["deliver"] = b.config["form order"]["deliver"]
            b.write_config()
            b.start()
            b.site = site
            yield b


def submit(shop, modules, data, form="order", files=None, session=True, client=None):
    job = {"modules": str(modules), "endpoint": f"https://127.0.0.1:{shop.port}", "form": form, "data": data, "files": files,
           "session": session, "client": client or {}}
    run = subprocess.run(["node", HERE / "formspree_client.cjs", json.dumps(job)], capture_output=True, text=True, timeout=4 * PATIENCE,
                         env={**shop.environment(), "NODE_EXTRA_CA_CERTS": str(shop.dir / "cert.pem")})
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def only_mail(shop):
    (mail,) = shop.mails(1)
    for path in shop.mail_files():
        path.unlink()
    return mail


ORDER = {"name": "Ada 🥐", "email": "ada@example.org", "_subject": "By the client"}


@pytest.mark.parametrize("session", [True, False])
def test_a_success_is_a_success(shop, modules, session):
    assert submit(shop, modules, ORDER, session=session) == {"kind": "success", "next": ""}
    mail = only_mail(shop)
    assert mail["Subject"] == "By the client" and mail["Reply-To"] == "ada@example.org"
    assert fields_of(mail) == [("name", "Ada 🥐"), ("email", "ada@example.org")]


def test_the_next_page_is_told(shop, modules):
    assert submit(shop, modules, ORDER, "next") == {"kind": "success", "next": f"{shop.site.origin}/thanks.html"}
    only_mail(shop)
    assert submit(shop, modules, {**ORDER, "_next": "/own.html"}, "next")["next"] == f"{shop.site.origin}/own.html"
    only_mail(shop)


def test_files_are_sent(shop, modules, tmp_path):
    picture = tmp_path / "Käse.png"
    picture.write_bytes(bytes(range(256)) * 8)
    assert submit(shop, modules, ORDER, files={"photo": str(picture)})["kind"] == "success"
    assert uploads_of(only_mail(shop)) == [("Käse.png", "image/png", picture.read_bytes())]


def test_errors_of_fields_reach_their_fields(shop, modules):
    result = submit(shop, modules, {"name": " ", "message": "x"})
    assert result["kind"] == "error" and result["form"] == []
    assert [(name, [e["code"] for e in errors]) for name, errors in result["fields"]] == [
        ("name", ["REQUIRED_FIELD_MISSING"]), ("email", ["REQUIRED_FIELD_MISSING"])]
    assert all(e["message"] for _, errors in result["fields"] for e in errors)


def test_errors_of_the_form_are_shown_as_such(shop, modules):
    for form, data, code in (("nothing", ORDER, "FORM_NOT_FOUND"), ("order", {**ORDER, "message": "x" * 30000}, "FILES_TOO_BIG"),
                             ("order", {**ORDER, "nested": {"a": 1}}, "UNSPECIFIED")):
        result = submit(shop, modules, data, form)
        assert result["kind"] == "error" and result["fields"] == []
        ((got, message),) = [(e["code"], e["message"]) for e in result["form"]]
        assert got == code and message and message != "Unexpected response format"
    assert shop.mail_files() == [] and shop.queue() == []


IN_PAGE = """
const [endpoint, form, data, done] = arguments;
import('/core/index.mjs').then(core => core.createClient().submitForm(form, data, {endpoint}))
    .then(r => done([r.kind, r.next ?? null, r.getFormErrors?.() ?? [], r.getAllFieldErrors?.() ?? []]), e => done([String(e)]));
"""


def test_in_a_browser_the_clients_headers_pass_the_preflight(shop, modules, tmp_path):
    shop.site.pages["/core/index.mjs"] = (modules / "@formspree" / "core" / "dist" / "index.mjs").read_text()
    with chromium(tmp_path / "chromium") as browser:
        browser.get(shop.site.page("<h1>shop</h1>"))
        here = f"https://localhost:{shop.port}"
        assert browser.execute_async_script(IN_PAGE, here, "order", ORDER) == ["success", "", [], []]
        assert dict(fields_of(only_mail(shop))) == {"name": "Ada 🥐", "email": "ada@example.org"}
        kind, _, form, fields = browser.execute_async_script(IN_PAGE, here, "order", {"name": "Ada"})
        assert kind == "error" and form == [] and [name for name, _ in fields] == ["email"]
