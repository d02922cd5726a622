"""Pages written for other form services: their control fields do what the config allows, and no more."""

import json
import re

import pytest

from bridge import ROOT, Bridge, fields_of, multipart, receipt_in

SITE, SHOP = "https://www.example.com", "https://shop.example.com"


@pytest.fixture(scope="module")
def bridge():
    common = {"to": "owner@example.com", "from": "website@example.com"}
    with Bridge({"form order": {"origins": f"{SITE} {SHOP}", "required": None, "success": f"{SITE}/done.html", "reply_to": None},
                 "form open": dict(common, subject="Open {ref}"),
                 "form mail": dict(common, origins=SITE, dialect="formmail", reply_to="{email}"),
                 "form off": dict(common, origins=SITE, dialect="formspree formmail", controls="none", subject="Ours {ref}"),
                 "form plain": dict(common, origins=SITE, dialect="none"),
                 "form narrow": dict(common, origins=SITE, redirects=f"{SITE}/thanks/ https://pay.example.net",
                                     reply_to="desk@example.com"),
                 "form strict": dict(common, origins=SITE, missing_origin="refuse"),
                 }, start=False) as b:
        for keys in b.config.values():
            if "to" in keys:
                keys.setdefault("deliver", f"maildir:{b.maildir}")
        b.write_config()
        b.start()
        yield b


def sent(bridge, fields, form="order", **headers):
    """The answer, and the mail that came of it."""
    status, got, page = bridge.post(fields, form=form, headers=headers)
    assert status in (200, 303), page
    return status, got, bridge.mail(receipt_in(page))


def location(bridge, target, form="order", name="_next", **headers):
    return sent(bridge, [("name", "Ada"), (name, target)], form, **headers)[1].get("Location")


# ---- Formspree and those who speak as it does --------------------------------------------------------------------


def test_a_formspree_page_works_as_it_is(bridge):
    fields = [("name", "Ada"), ("_subject", "New order from the shop"), ("_next", "/thanks.html"), ("_gotcha", ""),
              ("_replyto", "ada@example.org"), ("_language", "de"), ("_cc", "x@example.net"), ("_format", "plain")]
    status, headers, mail = sent(bridge, fields, Origin=SHOP)
    assert status == 303 and headers["Location"] == f"{SHOP}/thanks.html"
    assert mail["Subject"] == "New order from the shop" and mail["Reply-To"] == "ada@example.org"
    assert mail["To"] == "owner@example.com" and mail["From"] == "website@example.com" and mail["Cc"] is None
    assert fields_of(mail) == [("name", "Ada"), ("_replyto", "ada@example.org")]


def test_the_field_email_is_where_an_answer_goes(bridge):
    assert sent(bridge, [("email", "ada@example.org")])[2]["Reply-To"] == "ada@example.org"
    assert sent(bridge, [("email", "ada@example.org"), ("_replyto", "b@example.org")])[2]["Reply-To"] == "b@example.org"
    assert sent(bridge, [("email", "a@example.org, b@example.org")])[2]["Reply-To"] is None
    assert sent(bridge, [("_replyto", "b@example.org"), ("email", "a@example.org")], "narrow")[2]["Reply-To"] == "desk@example.com"
    assert sent(bridge, [("email", "a@example.org")], "plain")[2]["Reply-To"] is None


def test_a_subject_stays_within_its_line(bridge):
    assert sent(bridge, [("_subject", "Grüße {ref} {name}"), ("note", "x")])[2]["Subject"] == "Grüße {ref} {name}"
    for subject in ("x" * 201, "Hello\r\nBcc: evil@example.net"):
        mail = sent(bridge, [("_subject", subject)])[2]
        assert mail["Subject"].startswith("Order ") and mail["Bcc"] is None
        assert fields_of(mail) == [("_subject", subject.replace("\r\n", "\n"))]


def test_an_uploaded_control_is_an_upload(bridge):
    kind, body = multipart([("_next", "/x.html", "text/plain", "/thanks.html"), ("name", "Ada")])
    status, headers, page = bridge.post(body, headers={"Content-Type": kind})
    assert headers["Location"] == f"{SITE}/done.html"


# ---- where the visitor is sent -----------------------------------------------------------------------------------


def test_a_path_is_on_the_site_that_the_form_was_sent_from(bridge):
    assert location(bridge, "/t.html") == f"{SITE}/t.html"
    assert location(bridge, "/t.html", Origin=SHOP) == f"{SHOP}/t.html"
    assert location(bridge, "/t.html", Referer=f"{SHOP}/order.html") == f"{SHOP}/t.html"
    assert location(bridge, "/t.html", Origin="null", Referer="https://evil.example/") == f"{SITE}/t.html"
    assert location(bridge, "/t.html", Referer=f"{SHOP}.evil.example/") == f"{SITE}/t.html"
    assert location(bridge, f"{SHOP}/t.html", Origin=SITE) == f"{SHOP}/t.html"


@pytest.mark.parametrize("name", ["email", "Email", "EMAIL", "e-mail", "E-mail", "E-Mail", "mail", "Mail", "your-email"])
def test_an_answer_goes_to_what_a_page_calls_an_email(bridge, name):
    status, _, mail = sent(bridge, [("name", "Ada"), (name, "ada@example.org")], "open")
    assert status in (200, 303) and mail["Reply-To"] == "ada@example.org"
    assert fields_of(mail) == [("name", "Ada"), (name, "ada@example.org")]


def test_the_first_of_two_such_fields_counts(bridge):
    assert sent(bridge, [("Mail", "bea@example.org"), ("email", "ada@example.org")], "open")[2]["Reply-To"] == "ada@example.org"
    assert sent(bridge, [("Mail", "bea@example.org"), ("email", "nobody")], "open")[2]["Reply-To"] == "bea@example.org"


BEGINNING, ODD, HOST = ("a path must begin with /, an address with https://", "it holds what a browser could read in another way",
                        "its host is no name such as www.example.com")


@pytest.mark.parametrize("target, why", [
    ("https://evil.example/Ada", "its site is not among origins"), ("//evil.example/", ODD), ("/\\evil.example", ODD),
    ("javascript:alert(1)", BEGINNING), ("data:text/html,x", BEGINNING), (f"{SITE}@evil.example/", HOST),
    (f"{SITE}.evil.example/", "its site is not among origins"), ("http://www.example.com/", "http must be https"),
    ("http://evil.example/", "http must be https"), ("/x%0d%0aSet-Cookie:a=b", ODD), ("/x\r\nSet-Cookie: a=b", ODD), ("t.html", BEGINNING),
    (f"{SITE}\\@evil.example", HOST)])
def test_a_page_that_is_not_allowed_costs_nobody_the_mail(bridge, target, why):
    """The log says why it is not, and nothing of what was named."""
    since = len(bridge.log())
    status, headers, mail = sent(bridge, [("name", "Ada"), ("_next", target)])
    assert status == 303 and headers["Location"] == f"{SITE}/done.html" and "Set-Cookie" not in headers
    assert fields_of(mail) == [("name", "Ada")]
    said = f"form order: a page that the form named as the next one is not allowed: {why}\n"
    log = bridge.log()[since:]
    assert said in log and "evil" not in log and "Ada" not in log


def test_the_log_names_the_key_that_does_not_allow_a_page(bridge):
    for form, target, why in (("narrow", "/other.html", "it is not among redirects"), ("open", "/t.html", "the form has no origins that "),
                              ("open", f"{SITE}/t.html", "its site is not among origins")):
        since = len(bridge.log())
        assert location(bridge, target, form) is None
        assert f"form {form}: a page that the form named as the next one is not allowed: {why}" in bridge.log()[since:]


def test_redirects_limit_what_the_page_may_name(bridge):
    assert location(bridge, "/thanks/a.html", "narrow") == f"{SITE}/thanks/a.html"
    assert location(bridge, "https://pay.example.net/x?y", "narrow") == "https://pay.example.net/x?y"
    for target in ("/other.html", "/thanks/../x", "/thanksgiving", f"{SITE}/", "https://pay.example.net.evil.example/"):
        assert location(bridge, target, "narrow") is None


def test_without_origins_no_page_may_be_named(bridge):
    for target in ("/t.html", f"{SITE}/t.html", "https://localhost/t.html"):
        assert location(bridge, target, "open", Origin=SITE, Referer=f"{SITE}/") is None


# ---- FormMail -----------------------------------------------------------------------------------------------------

FORMMAIL = [("recipient", "evil@example.net"), ("recipients", "evil@example.net"), ("cc", "evil@example.net"),
            ("bcc", "evil@example.net"), ("subject", "Feedback"), ("email", "ada@example.org"), ("realname", "Ada"),
            ("redirect", f"{SITE}/thanks.html"), ("required", "realname,email,phone"), ("env_report", "REMOTE_ADDR"),
            ("print_config", "email,subject"), ("sort", "order:phone,realname"), ("title", "Sent"), ("bgcolor", "#fff"),
            ("return_link_url", "https://evil.example/"), ("return_link_title", "Back"), ("mail_options", "HTMLTemplate=x"),
            ("missing_fields_redirect", "/oops.html")]


def test_a_formmail_page_works_as_it_is(bridge):
    status, headers, mail = sent(bridge, FORMMAIL + [("phone", "1"), ("message", "Hi")], "mail")
    assert status == 303 and headers["Location"] == f"{SITE}/thanks.html"
    assert mail["Subject"] == "Feedback" and mail["Reply-To"] == "ada@example.org" and mail["To"] == "owner@example.com"
    assert fields_of(mail) == [("phone", "1"), ("realname", "Ada"), ("email", "ada@example.org"), ("message", "Hi")]
    assert "evil" not in mail.as_string()


def test_what_formmail_pages_require_is_asked_for(bridge):
    status, headers, page = bridge.post(FORMMAIL, form="mail")
    assert status == 303 and headers["Location"] == f"{SITE}/oops.html"
    status, _, page = bridge.post([f for f in FORMMAIL if f[0] != "missing_fields_redirect"], form="mail")
    assert status == 422 and b'name="required"' in page and b'type="hidden" name="redirect"' in page
    status, _, answer = bridge.post(FORMMAIL, form="mail", headers={"Accept": "application/json"})
    assert status == 422 and [(e["field"], e["code"]) for e in json.loads(answer)["errors"]] == [("phone", "REQUIRED_FIELD_MISSING")]
    status, headers, page = bridge.post([("missing_fields_redirect", "https://evil.example/"), ("required", "a")], form="mail")
    assert status == 422 and "Location" not in headers


def test_fields_are_sorted_by_name_if_the_page_says_so(bridge):
    mail = sent(bridge, [("b", "1"), ("a", "2"), ("sort", "alphabetic"), ("a", "3")], "mail")[2]
    assert fields_of(mail) == [("a", "2"), ("a", "3"), ("b", "1")]


# ---- what the config switches off ---------------------------------------------------------------------------------


def test_controls_that_are_off_do_nothing(bridge):
    status, headers, mail = sent(bridge, FORMMAIL + [("_next", "/t.html"), ("_subject", "s")], "off")
    assert status == 200 and "Location" not in headers
    assert mail["Subject"].startswith("Ours ") and mail["Reply-To"] is None
    assert [name for name, _ in fields_of(mail)] == ["subject", "email", "realname", "_subject"]


def test_without_a_dialect_every_field_is_the_owners(bridge):
    fields = [("_next", "/t.html"), ("_subject", "s"), ("redirect", "/t.html"), ("recipient", "x@example.net")]
    status, headers, mail = sent(bridge, fields, "plain")
    assert status == 200 and fields_of(mail) == fields and mail["Subject"].startswith("plain: ")


# ---- scripts ------------------------------------------------------------------------------------------------------


def test_scripts_get_json_whichever_way_they_ask(bridge):
    for headers in ({"Accept": "application/json"}, {"X-Requested-With": "XMLHttpRequest", "Accept": "*/*"}):
        status, _, answer = bridge.post([("name", "Ada"), ("_next", "/t.html")], headers=headers)
        answer = json.loads(answer)
        assert status == 200 and answer["ok"] is True and answer["next"] == f"{SITE}/t.html"
        assert bridge.mail(answer["id"])
    assert bridge.post([("name", "Ada")], headers={"Accept": "text/html,*/*"})[0] == 303


@pytest.mark.parametrize("mode, status", [("cors", 200), ("same-origin", 200), ("no-cors", 200), ("navigate", 303)])
def test_a_script_is_not_sent_to_a_page_that_it_cannot_read(bridge, mode, status):
    """It would take the redirect for a failure, and tell the visitor so."""
    asks = {"Sec-Fetch-Mode": mode, "Accept": "*/*", "Origin": SITE}
    for form, fields, page in (("order", [], f"{SITE}/done.html"), ("open", [], None),
                               ("order", [("_next", "/t.html")], f"{SITE}/t.html")):
        got, headers, answer = bridge.post([("name", "Ada"), *fields], form=form, headers=asks)
        assert got == (status if page else 200) and headers.get("Location") == (page if status == 303 else None)
        assert headers["Content-Type"] == "text/html; charset=utf-8" and bridge.mail(receipt_in(answer))
        assert headers["Access-Control-Allow-Origin"] == (SITE if form == "order" else "*")
        assert page is None or f'<a href="{page}">' in answer.decode()
    missing = [("required", "phone"), ("missing_fields_redirect", "/missing.html")]
    assert bridge.post(missing, form="mail", headers=asks)[0] == (422 if status == 200 else 303)
    answer = bridge.post([("name", "Ada")], headers={**asks, "Accept": "application/json"})[2]
    assert json.loads(answer)["next"] == f"{SITE}/done.html"


def test_every_refusal_names_itself_to_a_script(bridge):
    for form, headers, status, code in (("none", {}, 404, "FORM_NOT_FOUND"), ("order", {"Origin": "https://evil.example"}, 403, "BLOCKED"),
                                        ("order", {"Content-Type": "text/plain"}, 415, "UNSUPPORTED_TYPE")):
        got, _, answer = bridge.post([("a", "b")], form=form, headers={"Accept": "application/json", **headers})
        answer = json.loads(answer)
        assert got == status and [(e["code"], e["message"]) for e in answer["errors"]] == [(code, answer["error"])]


def preflight(bridge, form, origin):
    client = bridge.client()
    client.request("OPTIONS", f"/f/{form}", headers={
        "Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "formspree-session-data"})
    answer = client.getresponse()
    answer.read()
    client.close()
    return answer.status, {k.lower(): v for k, v in answer.getheaders()}


def test_a_preflight_allows_what_clients_send_and_the_forms_origins_alone(bridge):
    status, headers = preflight(bridge, "order", SHOP)
    assert status == 204 and headers["access-control-allow-origin"] == SHOP and "POST" in headers["access-control-allow-methods"]
    allowed = {h.strip().lower() for h in headers["access-control-allow-headers"].split(",")}
    assert {"accept", "content-type", "formspree-client", "formspree-session-data", "idempotency-key", "x-requested-with"} <= allowed
    assert {"origin", "accept"} <= {h.strip().lower() for h in headers["vary"].split(",")}
    status, headers = preflight(bridge, "order", "https://evil.example")
    assert status == 403 and "access-control-allow-origin" not in headers
    assert preflight(bridge, "open", "https://any.example")[1]["access-control-allow-origin"] == "*"


def test_a_script_may_read_the_headers_that_it_needs(bridge):
    _, headers, _ = bridge.post([("name", "Ada")], headers={"Origin": SITE, "Accept": "application/json"})
    assert headers["Access-Control-Allow-Origin"] == SITE
    assert {h.strip() for h in headers["Access-Control-Expose-Headers"].split(",")} >= {"Retry-After", "Idempotent-Replayed"}
    assert "Access-Control-Allow-Credentials" not in headers


def test_a_post_of_unknown_origin_is_taken_unless_the_config_says_no(bridge):
    for headers in ({}, {"Origin": "null"}):
        assert bridge.post([("name", "Ada")], headers=headers)[0] == 303
        assert bridge.post([("name", "Ada")], form="strict", headers=headers)[0] == 403
    assert bridge.post([("name", "Ada")], form="strict", headers={"Origin": SITE})[0] == 200
    assert preflight(bridge, "strict", "null")[0] == 403


def test_the_page_may_say_which_language_it_speaks(bridge):
    fields = [("name", "Ada"), ("_language", "de-AT")]
    for form, language in (("mail", "en"), ("strict", "de"), ("off", "en")):
        _, headers, _ = bridge.post(fields, form=form, headers={"Accept-Language": "en", "Origin": SITE})
        assert headers["Content-Language"] == language


def test_the_migration_page_names_every_control():
    source = (ROOT / "control.c").read_text()
    names = re.findall(r'^    \{"([\w-]+)", \w', source[source.index("struct name names[]"):], re.M)
    words = set(re.findall(r"[\w-]+", (ROOT / "doc" / "MIGRATING").read_text()))
    assert len(names) > 60 and set(names) <= words, set(names) - words
