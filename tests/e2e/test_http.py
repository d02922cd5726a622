"""HTTP as hostile and as slow as it comes, over real TLS, against the real program."""

import json
import os
import signal
import socket
import statistics
import subprocess
import threading
import time

import pytest

from bridge import Bridge, PATIENCE, free_port, text_of
from rawhttp import BODY, NEEDED, Reader, exchange, head, metrics, multipart, one, post, reset, stored, strict

FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"


@pytest.fixture(scope="module")
def served():
    """One bridge for all tests that leave it as they found it."""
    admin, plain = free_port(), free_port()
    config = {"bridge": {"admin_listen": f"127.0.0.1:{admin}", "http_listen": f"127.0.0.1:{plain}", "max_body": "12M"},
              "form order": {"origins": "https://www.example.com"},
              "form small": {**Bridge.FORM, "deliver": "order-box", "max_body": "1k"},
              "form away": {**Bridge.FORM, "deliver": "order-box", "success": "https://www.example.com/thanks.html"}}
    b = Bridge(config, start=False)
    for form in ("small", "away"):
        b.config[f"form {form}"]["deliver"] = f"maildir:{b.maildir}"
    (b.dir / "acme/.well-known/acme-challenge").mkdir(parents=True)
    b.config["bridge"]["acme_webroot"] = b.dir / "acme"
    b.write_config()
    b.admin, b.plain = admin, plain
    with b:
        b.start()
        yield b


# ---- framing: what two parsers could read in two ways is refused ---------------------------------------------------------


def lines(*fields, line=b"POST /f/order HTTP/1.1", host=b"Host: localhost"):
    return b"\r\n".join([line, *([host] if host else []), *fields, b"", b""])


CL = b"Content-Length: 8"
SMUGGLED = post(b"name=smuggled")
REFUSED = {
    "length-and-chunked": (400, lines(CL, b"Transfer-Encoding: chunked") + b"0\r\n\r\n"),
    "chunked-and-length": (400, lines(b"Transfer-Encoding: chunked", CL) + b"8\r\nname=Ada\r\n0\r\n\r\n"),
    "two-lengths": (400, lines(CL, b"Content-Length: 0") + BODY),
    "same-length-twice": (400, lines(CL, CL) + BODY),
    "list-of-lengths": (400, lines(b"Content-Length: 8, 8") + BODY),
    "two-hosts": (400, lines(b"Host: www.example.org", CL) + BODY),
    "no-host": (400, lines(CL, host=None) + BODY),
    "empty-host": (400, lines(CL, host=b"Host:") + BODY),
    "host-with-a-path": (400, lines(CL, host=b"Host: localhost/x") + BODY),
    "space-before-colon": (400, lines(b"Content-Length : 8") + BODY),
    "tab-before-colon": (400, lines(b"Content-Length\t: 8") + BODY),
    "bare-lf": (400, lines(CL).replace(b"\r\n", b"\n") + BODY),
    "one-bare-lf": (400, lines(b"X-A: 1\nX-B: 2", CL) + BODY),
    "bare-cr": (400, lines(b"X-A: 1\rX-B: 2", CL) + BODY),
    "nul-in-a-value": (400, lines(b"X-A: 1\0", CL) + BODY),
    "nul-in-a-name": (400, lines(b"X\0A: 1", CL) + BODY),
    "control-in-a-value": (400, lines(b"X-A: \x07", CL) + BODY),
    "folded-length": (400, lines(b"Content-Length:\r\n 8") + BODY),
    "folded-other": (400, lines(b"X-A: 1\r\n\t2", CL) + BODY),
    "space-before-the-first": (400, lines(CL, line=b"POST /f/order HTTP/1.1\r\n X-A: 1") + BODY),
    "no-colon": (400, lines(b"X-A", CL) + BODY),
    "no-name": (400, lines(b": 1", CL) + BODY),
    "unknown-coding": (501, lines(b"Transfer-Encoding: gzip") + BODY),
    "coding-list": (501, lines(b"Transfer-Encoding: gzip, chunked") + BODY),
    "odd-chunked": (501, lines(b"Transfer-Encoding: xchunked") + BODY),
    "two-codings": (400, lines(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity") + BODY),
    "chunked": (411, lines(b"Transfer-Encoding: chunked") + b"8\r\nname=Ada\r\n0\r\n\r\n"),
    "chunked-in-1.0": (400, lines(b"Transfer-Encoding: chunked", line=b"POST /f/order HTTP/1.0") + b"0\r\n\r\n"),
    "post-without-length": (411, lines()),
    "length-2^63": (413, lines(b"Content-Length: 9223372036854775808") + BODY),
    "length-2^64": (413, lines(b"Content-Length: 18446744073709551616") + BODY),
    "length-2^64+8": (413, lines(b"Content-Length: 18446744073709551624") + BODY),
    "length-of-100-digits": (413, lines(b"Content-Length: " + b"9" * 100) + BODY),
    "negative-length": (400, lines(b"Content-Length: -8") + BODY),
    "signed-length": (400, lines(b"Content-Length: +8") + BODY),
    "hex-length": (400, lines(b"Content-Length: 0x8") + BODY),
    "octal-length": (400, lines(b"Content-Length: 08") + BODY),
    "empty-length": (400, lines(b"Content-Length:") + BODY),
    "length-with-a-space": (400, lines(b"Content-Length: 8 8") + BODY),
    "over-max-body": (413, lines(b"Content-Length: 12582913") + BODY),
    "http2": (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "http-0.9": (400, b"GET /\r\n\r\n"),
    "http-1.2": (505, lines(CL, line=b"POST /f/order HTTP/1.2") + BODY),
    "http-lower-case": (400, lines(CL, line=b"POST /f/order http/1.1") + BODY),
    "absolute-form": (400, lines(CL, line=b"POST https://localhost/f/order HTTP/1.1") + BODY),
    "connect": (501, b"CONNECT www.example.com:443 HTTP/1.1\r\nHost: www.example.com\r\n\r\n"),
    "trace": (501, lines(line=b"TRACE / HTTP/1.1")),
    "star": (400, lines(line=b"GET * HTTP/1.1")),
    "two-spaces": (400, lines(CL, line=b"POST  /f/order HTTP/1.1") + BODY),
    "space-at-the-end": (400, lines(CL, line=b"POST /f/order HTTP/1.1 ") + BODY),
    "tabs": (400, lines(CL, line=b"POST\t/f/order\tHTTP/1.1") + BODY),
    "raw-umlaut-in-target": (400, lines(CL, line=b"POST /f/\xc3\xa4 HTTP/1.1") + BODY),
    "fragment": (400, lines(CL, line=b"POST /f/order#x HTTP/1.1") + BODY),
    "empty-lines": (400, b"\r\n\r\n\r\n" + post()),
    "garbage": (400, b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n"),
    "long-target": (414, lines(line=b"GET /" + b"a" * 3000 + b" HTTP/1.1")),
    "endless-line": (414, b"GET /" + b"a" * 20000),
    "large-head": (431, lines(*[b"X-%d: " % i + b"v" * 400 for i in range(40)])),
    "endless-field": (431, lines()[:-2] + b"X-A: " + b"v" * 20000),
    "many-fields": (431, lines(*[b"X-%d: v" % i for i in range(120)])),
    "many-cookies": (431, lines(b"Cookie: " + b"a=1;" * 200)),
    "many-arguments": (431, lines(line=b"GET /?" + b"a&" * 200 + b" HTTP/1.1")),
    "expectation": (417, lines(CL, b"Expect: miracles") + BODY),
    "two-types": (400, lines(CL, b"Content-Type: text/plain", b"Content-Type: application/json") + BODY),
    "two-origins": (400, lines(CL, b"Origin: https://www.example.com", b"Origin: null") + BODY),
}


def expect_needed(answer):
    for name, value in NEEDED.items():
        assert answer.headers.get(name) == value, (name, answer)
    assert answer.headers["content-security-policy"].startswith("default-src 'none'"), answer
    assert "server" not in answer.headers and "set-cookie" not in answer.headers


@pytest.mark.parametrize("case", REFUSED)
def test_ambiguous_framing_is_refused_and_what_follows_is_not_read(served, case):
    before = stored(served)
    status, request = REFUSED[case]
    answers = exchange(served, request + SMUGGLED)  # returns when the server has closed, with a close_notify
    assert [a.status for a in answers] == [status], answers
    assert answers[0].headers["connection"] == "close"
    expect_needed(answers[0])
    assert stored(served) == before


@pytest.mark.parametrize("case", ["length-and-chunked", "folded-length", "bare-lf"])
def test_the_answer_before_a_refused_request_arrives_whole(served, case):
    status, request = REFUSED[case]
    answers = exchange(served, post() + lines(line=b"GET / HTTP/1.1") + request)
    assert [a.status for a in answers] == [200, 200, status]
    assert all(a.body.endswith(b"</html>\n") for a in answers)


def test_a_head_may_come_byte_by_byte(served):
    request = post(BODY, b"Connection: close")
    with strict(served) as c:
        for i in range(len(request)):
            c.sendall(request[i:i + 1])
        assert [a.status for a in Reader(c).rest()] == [200]


@pytest.mark.parametrize("extra", [b"Cookie: " + b"a=b; " * 60, b"X-A: " + b"v" * 7000, b"Cookie: a=" + b"v" * 7000,
                                   b"\r\n".join(b"X-%d: " % i + b"v" * 60 for i in range(95))])
def test_what_is_within_the_limits_of_a_head_is_answered(served, extra):
    assert one(served, post(BODY, extra)).status == 200


# ---- order and keep-alive ----------------------------------------------------------------------------------------------


def test_pipelined_requests_are_answered_in_order(served):
    before = stored(served)
    requests = [(200, post()), (404, lines(line=b"GET /f/none HTTP/1.1")), (422, post(b"name=")), (200, post()),
                (200, lines(line=b"GET / HTTP/1.1")), (405, lines(line=b"PUT /f/order HTTP/1.1")), (200, post()),
                (200, post(BODY, b"Connection: close"))]
    answers = exchange(served, b"".join(r for _, r in requests) + SMUGGLED)
    assert [a.status for a in answers] == [status for status, _ in requests]
    assert stored(served) == before + 4


def test_one_connection_takes_many_posts(served):
    with strict(served) as c:
        reader = Reader(c)
        refs = set()
        for i in range(200):
            c.sendall(post(b"name=%d" % i, b"Accept: application/json"))
            refs.add(json.loads(reader.answer().body)["id"])
    assert len(refs) == 200


def test_a_connection_that_rested_takes_another_request(served):
    with strict(served) as c:
        reader = Reader(c)
        for _ in range(2):
            c.sendall(post())
            assert reader.answer().status == 200
            time.sleep(1.5)  # the buffers are given back after a second


def test_http_1_0_closes_unless_asked_to_stay(served):
    request = b"POST /f/order HTTP/1.0\r\n" + FORM + b"Content-Length: 8\r\n%s\r\n" + BODY
    assert [a.status for a in exchange(served, request % b"" + request % b"")] == [200]
    stay = request % b"Connection: keep-alive\r\n"
    assert [a.status for a in exchange(served, stay + request % b"")] == [200, 200]


# ---- methods, types, origins ---------------------------------------------------------------------------------------------


def test_unknown_things_and_wrong_methods_have_their_status(served):
    for path in (b"/f/none", b"/f/", b"/x", b"/f/order//", b"/f/order.php", b"/f/order/x", b"/f/Order", b"/f/order.js/",
                 b"/f/order/token/", b"/f//order", b"/f/../f/order", b"/favicon.ico"):
        assert one(served, head(b"POST " + path + b" HTTP/1.1") + BODY).status == 404, path
        assert one(served, lines(line=b"GET " + path + b" HTTP/1.1")).status == 404, path
    answer = one(served, lines(line=b"DELETE /f/order HTTP/1.1"))
    assert answer.status == 405 and answer.headers["allow"] == "GET, HEAD, POST, OPTIONS"
    answer = one(served, head(b"POST / HTTP/1.1") + BODY)
    assert answer.status == 405 and answer.headers["allow"] == "GET, HEAD"


def test_what_robots_post_to_does_not_hide_a_page_with_a_wrong_address():
    with Bridge({"bridge": {"fronts": 1}}) as b:
        for path in (b"/xmlrpc.php", b"/wp-login.php", b"/f/Order"):
            one(b, head(b"POST " + path + b" HTTP/1.1") + BODY)
        b.wait_for_log("the address of the form is /f/order, in these letters and with nothing behind\n")
        assert b.log().count("the address of a form is /f/NAME, and it came to another") == 1


def test_a_slash_behind_the_name_of_a_form_makes_no_difference(served):
    """Makers of static sites put one behind every address."""
    before = stored(served)
    assert one(served, head(b"POST /f/order/ HTTP/1.1") + BODY).status == 200 and stored(served) == before + 1
    assert one(served, lines(b"Origin: https://www.example.com", line=b"OPTIONS /f/order/ HTTP/1.1")).status == 204
    assert one(served, lines(line=b"GET /f/order/ HTTP/1.1")).body == one(served, lines(line=b"GET /f/order HTTP/1.1")).body
    assert one(served, lines(line=b"GET /f/order/?name=Ada HTTP/1.1")).status == 405
    again = one(served, head(b"POST /f/order/ HTTP/1.1", 5) + b"name=")
    assert again.status == 422 and b'action="/f/order"' in again.body


QUERY = b"/f/order?name=Ada&email=ada%40example.org"
UNSENT = {"en": "Nothing was stored and nothing was sent.", "de": "Es wurde nichts gespeichert und nichts gesendet.",
          "fr": "Rien n’a été enregistré et rien n’a été envoyé.", "es": "No se ha guardado ni enviado nada."}


@pytest.mark.parametrize("language", UNSENT)
def test_a_form_without_its_method_is_told_that_nothing_was_sent(served, language):
    """HTML's own method is get, and whoever forgot the attribute is told by nobody else."""
    before = stored(served)
    answer = one(served, lines(b"Accept-Language: " + language.encode(), b"Accept: text/html", line=b"GET " + QUERY + b" HTTP/1.1"))
    page = answer.body.decode()
    assert answer.status == 405 and answer.headers["allow"] == "GET, HEAD, POST, OPTIONS"
    assert UNSENT[language] in page and "it needs method=&#34;post&#34;" in page
    assert "Ada" not in page and "example.org" not in page and stored(served) == before
    answer = one(served, lines(b"Accept: application/json", line=b"GET " + QUERY + b" HTTP/1.1"))
    assert answer.status == 405 and answer.headers["access-control-allow-origin"] == "*"
    assert [e["code"] for e in json.loads(answer.body)["errors"]] == ["METHOD_NOT_ALLOWED"]


def test_the_page_of_an_address_is_no_receipt(served):
    for path in (b"/f/order", b"/f/order?"):
        answer = one(served, lines(line=b"GET " + path + b" HTTP/1.1"))
        assert answer.status == 200 and b"nothing was sent" in answer.body and b"is sent" not in answer.body
    assert one(served, lines(line=b"GET /f/order.js?v=2 HTTP/1.1")).status == 200


def test_head_is_get_without_its_body(served):
    for path in (b"/", b"/f/order"):
        with strict(served) as c:
            reader = Reader(c)
            c.sendall(lines(line=b"GET " + path + b" HTTP/1.1") + lines(line=b"HEAD " + path + b" HTTP/1.1"))
            get, head_only = reader.answer(), reader.answer(head_only=True)
            assert (get.status, head_only.status) == (200, 200)
            assert get.headers["content-length"] == head_only.headers["content-length"] == str(len(get.body))


@pytest.mark.parametrize("type", [b"text/plain", b"application/xml", b"multipart/form-data", b"multipart/mixed; boundary=x",
                                  b"application/json-patch+json", b"nonsense"])
def test_other_types_are_refused(served, type):
    before = stored(served)
    request = lines(b"Content-Type: " + type, CL) + BODY
    assert one(served, request).status == 415
    assert one(served, lines(CL) + BODY).status == 415
    assert stored(served) == before


BROKEN = {
    "percent": post(b"name=%zz&x"),
    "multipart-unfinished": None,
    "json-unfinished": None,
    "json-list": None,
}
BOUNDARY = b"Content-Type: multipart/form-data; boundary=x"
JSON = b"Content-Type: application/json"
for key, (field, body) in {"multipart-unfinished": (BOUNDARY, b'--x\r\nContent-Disposition: form-data; name="name"\r\n\r\nA'),
                           "json-unfinished": (JSON, b'{"name": "Ada"'), "json-list": (JSON, b'["name"]')}.items():
    BROKEN[key] = lines(field, b"Content-Length: %d" % len(body)) + body


@pytest.mark.parametrize("case", BROKEN)
def test_a_body_that_is_not_exact_stores_nothing(served, case):
    before = stored(served)
    answer = one(served, BROKEN[case])
    assert answer.status == 400
    expect_needed(answer)
    assert stored(served) == before


def test_a_missing_field_is_named(served):
    answer = one(served, post(b"name=+&email=ada%40example.org", b"Accept: application/json"))
    assert answer.status == 422
    assert [(e["field"], e["code"]) for e in json.loads(answer.body)["errors"]] == [("name", "REQUIRED_FIELD_MISSING")]
    page = one(served, post(b"item=%3Cb%3E")).body
    assert b"&lt;b&gt;" in page and b"<b>" not in page


def test_the_way_of_the_answer_follows_accept(served):
    answer = one(served, post(BODY, b"Accept: application/json"))
    assert answer.headers["content-type"] == "application/json" and json.loads(answer.body)["ok"] is True
    answer = one(served, post(BODY, b"Accept: text/html,application/xhtml+xml,application/json;q=0.9,*/*;q=0.8"))
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    answer = one(served, head(b"POST /f/away HTTP/1.1") + BODY)
    assert (answer.status, answer.headers["location"]) == (303, "https://www.example.com/thanks.html")
    answer = one(served, head(b"POST /f/away HTTP/1.1", 8, b"Accept: application/json") + BODY)
    assert json.loads(answer.body)["next"] == "https://www.example.com/thanks.html"
    for request in (head(b"POST /f/none HTTP/1.1", 8, b"Accept: application/json") + BODY,
                    post(b"%", b"Accept: application/json")):
        assert "error" in json.loads(one(served, request).body)


@pytest.mark.parametrize("origin, status, allowed", [
    (b"https://www.example.com", 200, "https://www.example.com"),
    (b"https://localhost", 200, "https://localhost"),
    (b"null", 200, None),
    (b"https://www.example.com.example.org", 403, None),
    (b"http://www.example.com", 403, None),
    (b"https://www.example.com:444", 403, None),
])
def test_only_the_origins_of_the_config_may_post(served, origin, status, allowed):
    before = stored(served)
    answer = one(served, post(BODY, b"Origin: " + origin))
    assert (answer.status, answer.headers.get("access-control-allow-origin")) == (status, allowed)
    preflight = one(served, lines(b"Origin: " + origin, b"Access-Control-Request-Method: POST",
                                  line=b"OPTIONS /f/order HTTP/1.1"))
    assert preflight.status == (204 if status == 200 else 403)
    assert preflight.headers.get("access-control-allow-origin") == allowed
    assert stored(served) == before + (status == 200)


def test_a_preflight_says_what_is_allowed(served):
    with strict(served) as c:
        c.sendall(lines(b"Origin: https://www.example.com", line=b"OPTIONS /f/order HTTP/1.1") + post())
        reader = Reader(c)
        answer = reader.answer()
        assert reader.answer().status == 200  # browsers post on the same connection
    assert answer.headers["access-control-allow-methods"] == "POST"
    assert "Content-Type" in answer.headers["access-control-allow-headers"]
    assert "Origin" in answer.headers["vary"]
    expect_needed(answer)


def test_every_answer_has_the_security_headers(served):
    for request in (lines(line=b"GET / HTTP/1.1"), lines(line=b"GET /f/order HTTP/1.1"), post(), post(b"name="),
                    post(b"%"), lines(line=b"GET /x HTTP/1.1"), lines(line=b"PUT / HTTP/1.1"),
                    post(BODY, b"Origin: https://www.example.org"), lines(CL) + BODY, lines(),
                    head(b"POST /f/small HTTP/1.1", 2000), head(b"POST /f/away HTTP/1.1") + BODY):
        expect_needed(one(served, request))


# ---- bodies ------------------------------------------------------------------------------------------------------------------


def test_a_body_that_is_cut_off_stores_nothing(served):
    before, request = stored(served), post(b"name=" + b"x" * 3000)
    for length in (1, 20, len(request) - 3000, len(request) - 1500, len(request) - 1):
        for ending in ("notify", "fin", "rst"):
            c = strict(served)
            c.sendall(request[:length])
            if ending == "notify":
                c.settimeout(5)
                try:
                    c.unwrap()
                except OSError:
                    pass
                c.close()
            elif ending == "fin":
                c.close()
            else:
                reset(c)
    assert one(served, post()).status == 200
    assert stored(served) == before + 1


def test_a_body_up_to_the_limit_arrives_intact(bridge):
    upload = os.urandom(1 << 16) * 150
    type, body = multipart([(b"name", b"Ada"), (b"file", b"photo.bin", b"application/octet-stream", upload)])
    padding = 12 * 1024 * 1024 - len(body) - len(b"--xYzZy\r\n" b'Content-Disposition: form-data; name="z"\r\n\r\n\r\n')
    type, body = multipart([(b"name", b"Ada"), (b"z", b"z" * padding),
                            (b"file", b"photo.bin", b"application/octet-stream", upload)])
    assert len(body) == 12 * 1024 * 1024
    request = b"POST /f/order HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n" % (
        type, len(body))
    assert one(bridge, request + body).status == 200
    mail = bridge.mails(1, 30)[0]
    assert [p.get_content() for p in mail.iter_attachments()] == [upload]
    assert "z" * 60 in text_of(mail)
    assert one(bridge, request.replace(b"%d" % len(body), b"%d" % (len(body) + 1))).status == 413


@pytest.mark.parametrize("path, size", [(b"/f/order", 13 << 20), (b"/f/small", 8 << 20), (b"/f/none", 8 << 20)])
def test_a_refusal_can_be_read_by_a_client_that_first_sends_all(served, path, size):
    """Browsers do: a reset while they send would leave the visitor without a word."""
    piece = b"x" * 65536
    with strict(served) as c:
        c.sendall(head(b"POST " + path + b" HTTP/1.1", size))
        for _ in range(size // len(piece)):
            c.sendall(piece)
        answers = Reader(c).rest()
    assert [a.status for a in answers] == [404 if path == b"/f/none" else 413]
    assert answers[0].headers["connection"] == "close"


def test_a_script_can_read_that_its_form_is_too_large():
    """Of the limit of [bridge], as of one of the form's own."""
    site = b"https://www.example.com"
    with Bridge({"form order": {"origins": site.decode()}}) as b, strict(b) as c:
        c.sendall(head(b"POST /f/order HTTP/1.1", 1 << 40, b"Accept: application/json", b"Origin: " + site))
        answer = Reader(c).answer()
    assert answer.status == 413 and answer.headers["content-type"] == "application/json"
    assert answer.headers["access-control-allow-origin"] == site.decode()


SITE = b"https://www.example.com"
SCRIPT = (b"Accept: application/json", b"Accept-Language: de", b"Origin: " + SITE)
FILES = multipart([(b"a", b"x.txt", b"text/plain", b"x")] * 11)


@pytest.mark.parametrize("request_, status, code", [
    (lines(*SCRIPT, b"Transfer-Encoding: chunked") + b"0\r\n\r\n", 411, "LENGTH_REQUIRED"),
    (lines(*SCRIPT, *[b"X-%d: v" % i for i in range(120)]), 431, "HEAD_TOO_LARGE"),
    (lines(*SCRIPT, CL, CL) + BODY, 400, "MALFORMED"),
    (lines(*SCRIPT, line=b"PUT /f/order HTTP/1.1"), 405, "METHOD_NOT_ALLOWED"),
    (head(b"POST /f/none HTTP/1.1", len(BODY), *SCRIPT) + BODY, 404, "FORM_NOT_FOUND"),
    (post(b"&".join(b"f%d=" % i for i in range(300)), *SCRIPT), 413, "TOO_MANY_FIELDS"),
    (lines(*SCRIPT, b"Content-Type: " + FILES[0], b"Content-Length: %d" % len(FILES[1])) + FILES[1], 413, "TOO_MANY_FILES"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_a_script_can_read_every_refusal(served, request_, status, code):
    """Also one of the gate, which knows of no form."""
    answer = one(served, request_)
    assert (answer.status, answer.headers["content-type"]) == (status, "application/json")
    assert answer.headers["access-control-allow-origin"] in ("*", SITE.decode())
    assert [e["code"] for e in json.loads(answer.body)["errors"]] == [code]
    assert answer.headers["content-language"] == "de"


def test_a_page_of_the_gate_is_in_the_language_of_its_reader(served):
    answer = one(served, lines(b"Accept-Language: fr", b"Accept: text/html", b"Transfer-Encoding: chunked") + b"0\r\n\r\n")
    assert answer.status == 411 and answer.headers["content-language"] == "fr" and b'lang="fr"' in answer.body
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("request_, said", [
    (post(BODY, b"Origin: https://example.com"), "refused a request from https://example.com, which is not among its origins"),
    (lines(b"Origin: https://example.net", line=b"OPTIONS /f/order HTTP/1.1"), "refused a request from https://example.net, "),
    (post(BODY, b"Origin: https://x.com/ada"), "refused a request from another site, which is not among its origins"),
    (post(BODY, b"Origin: https://x.com/ Ada %41"), "refused a request from another site, which is not among its origins"),
    (post(BODY, b"Origin: null"), "refused a request that does not say which site it is from: see missing_origin"),
    (lines(b"Content-Type: text/plain;charset=UTF-8", CL) + BODY, "refused a post with 415: it is text/plain: take enctype out of the form"),
    (lines(b"Content-Type: text/xml", CL) + BODY, "refused a post with 415: its Content-Type is none that forms have: multipart/form-data"),
    (post(BODY, b"Content-Encoding: gzip"), "refused a post with 415: its body is compressed"),
    (post(b"name=" + b"x" * 1025), "refused a post with 413: it is larger than max_body"),
    (post(b"%"), "refused a post with 400: "),
    (post(b"&".join([b"f="] * 300)), "refused a post with 413: The form has more fields"),
    (head(b"POST /f/ordre HTTP/1.1") + BODY, "refused a post with 404: the config has no [form ordre]"),
    (head(b"POST /f/%c3%a4da HTTP/1.1") + BODY, "refused a post with 404: the config has no [form ]"),
    (head(b"POST /f/order.php HTTP/1.1") + BODY, "refused a post with 404: the address of the form is /f/order, in these letters and with nothing behind\n"),
    (head(b"POST /f/order.html/%0aAda HTTP/1.1") + BODY, "refused a post with 404: the address of the form is /f/order, in these letters and with nothing behind\n"),
    (head(b"POST /f/Order HTTP/1.1") + BODY, "refused a post with 404: the address of the form is /f/order, in these letters and with nothing behind\n"),
    (head(b"POST /f/" + b"x" * 90 + b" HTTP/1.1") + BODY, f"refused a post with 404: the config has no [form {'x' * 32}]\n"),
    (head(b"POST /order HTTP/1.1") + BODY, "refused a post with 404: the address of a form is /f/NAME, and it came to another\n"),
    (head(b"POST / HTTP/1.1") + BODY, "refused a post with 405: the address of a form is /f/NAME, and it came to another\n"),
    (head(b"POST /F/order?Ada HTTP/1.1") + BODY, "refused a post with 404: the address of a form is /f/NAME, and it came to another\n"),
    (head(b"POST /" + b"y" * 90 + b"/Ada HTTP/1.1") + BODY, "refused a post with 404: the address of a form is /f/NAME, and it came to another\n"),
    (lines(line=b"GET /f/order?name=Ada HTTP/1.1"), "a page sends it with method=get, so nothing comes: it needs method=\"post\""),
    (lines(b"Transfer-Encoding: chunked") + b"0\r\n\r\n", "refused a post with 411: Send the body with a Content-Length"),
    (lines(CL, b"Cookie: " + b"a=1;" * 200) + BODY, "refused a post with 431: The request head has more than 100 fields"),
], ids=lambda value: value[:30] if isinstance(value, str) else "")
def test_the_log_says_why_a_visitor_could_not_send(request_, said):
    """Who has forgotten the www. of origins has no other sign of why no order comes."""
    with Bridge({"bridge": {"fronts": 1},
                 "form order": {"origins": SITE.decode(), "missing_origin": "refuse", "max_body": "1k"}}) as b:
        if b"Origin" not in request_:
            request_ = request_.replace(b"\r\n\r\n", b"\r\nOrigin: " + SITE + b"\r\n\r\n", 1)
        assert one(b, request_).status >= 400
        b.wait_for_log(f"warning: {said}" if "404" in said or "405" in said or "411" in said or "431" in said else f"warning: form order: {said}")
        one(b, request_)
        assert b.log().count("front: warning:") == 1  # nobody fills the log by it
        assert "Ada" not in b.log()


@pytest.mark.parametrize("coding, status", [(b"gzip", 415), (b"Identity", 200)])
def test_a_compressed_form_is_refused_and_not_taken_as_it_is(served, coding, status):
    assert one(served, post(BODY, b"Content-Encoding: " + coding)).status == status


def test_a_refusal_comes_before_the_body(served):
    with strict(served) as c:
        c.sendall(head(b"POST /f/small HTTP/1.1", 4 << 20) + b"name=")
        assert Reader(c).answer().status == 413


def curl(bridge, *args):
    command = ["curl", "-sS", "--cacert", bridge.dir / "cert.pem", "-o", bridge.dir / "answer", "-w",
               "%{http_code} %{num_connects}", *args]
    done = subprocess.run([*map(str, command), f"https://localhost:{bridge.port}/f/order"], capture_output=True, text=True,
                          timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[0]


def test_a_client_that_asks_whether_to_go_on_is_told(served):
    (served.dir / "big").write_bytes(b"name=" + b"x" * (2 << 20))
    assert curl(served, "-H", "Expect: 100-continue", "--expect100-timeout", "20", "--data-binary",
                f"@{served.dir}/big") == "200"
    with strict(served) as c:
        reader = Reader(c)
        c.sendall(head(b"POST /f/order HTTP/1.1", 8, b"Expect: 100-continue"))
        assert reader.more() and reader.pending.startswith(b"HTTP/1.1 100 ")
        c.sendall(BODY)
        answer = reader.answer()
        assert (answer.status, answer.interim) == (200, [100])


def test_curl_posts_a_form_with_a_file(served):
    (served.dir / "big").write_bytes(os.urandom(3 << 20))
    assert curl(served, "-F", "name=Ada", "-F", f"photo=@{served.dir}/big;type=image/jpeg") == "200"


# ---- slow clients and many ------------------------------------------------------------------------------------------------------


class Meter(threading.Thread):
    """A good client that posts again and again; afterwards it has the time that each took."""

    def __init__(self, bridge):
        super().__init__()
        self.bridge, self.times, self.failure, self.end = bridge, [], None, threading.Event()

    def run(self):
        try:
            while not self.end.is_set():
                begun = time.monotonic()
                assert one(self.bridge, post()).status == 200
                self.times.append(time.monotonic() - begun)
                self.end.wait(0.05)
        except Exception as e:  # noqa: BLE001: told to the test
            self.failure = e

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.end.set()
        self.join(PATIENCE)
        assert self.failure is None, self.failure
        assert len(self.times) > 5 and max(self.times) < PATIENCE / 5, self.times
        assert statistics.median(self.times) < PATIENCE / 20, self.times


def until_closed(sock, drip=None, seconds=8.0, every=0.1):
    """How long the server lets this go on; drip: what is sent all the while. Returns what it said, too."""
    begun, said = time.monotonic(), b""
    sock.settimeout(every)
    while time.monotonic() - begun < seconds:
        try:
            if drip is not None:
                sock.sendall(drip)
            got = sock.recv(4096)
            if got == b"":
                return time.monotonic() - begun, said
            said += got
            time.sleep(every)
        except TimeoutError:
            pass
        except OSError:
            return time.monotonic() - begun, said
    raise AssertionError(f"still open after {seconds} s")


def test_slow_clients_are_cut_off_on_time_and_disturb_nobody():
    keys = {f"{phase}_timeout": "2s" for phase in ("handshake", "head", "body", "answer", "idle")}
    admin = free_port()
    with Bridge({"bridge": {**keys, "admin_listen": f"127.0.0.1:{admin}", "fronts": "1"}}) as b:
        def silent():
            return socket.create_connection(("127.0.0.1", b.port)), None

        def half_hello():
            s = silent()[0]
            s.sendall(b"\x16\x03\x01\x00\xff")
            return s, b"\x01"

        def secured(sent, drip):
            s = strict(b)
            s.sendall(sent)
            return s, drip

        makers = {
            "silent": silent, "half-hello": half_hello,
            "idle": lambda: secured(b"", None),
            "head": lambda: secured(b"POST /f/order HTTP/1.1\r\nX-A: ", b"a"),
            "body": lambda: secured(head(length=5000) + b"name=", b"a"),
            "after-an-answer": lambda: secured(post(), None),
        }
        found = {}

        def measure(name, make):
            try:
                found[name] = until_closed(*make())
            except Exception as e:  # noqa: BLE001: told below
                found[name] = e

        with Meter(b):
            threads = [threading.Thread(target=measure, args=(f"{name}-{i}", make))
                       for name, make in makers.items() for i in range(3)]
            for t in threads:
                t.start()
            for t in threads:
                t.join(30)
        for name, result in found.items():
            assert isinstance(result, tuple), (name, result)
            assert 1.5 < result[0] < 3.5, (name, result[0])
            if name.startswith(("head", "body")):
                assert result[1].startswith(b"HTTP/1.1 408 "), (name, result[1])
        assert len(found) == 18
        b.wait_until(lambda: metrics(admin)["connections_open"] == 1, "the end of all connections")
        assert metrics(admin)["timeouts_total"] >= 12


def test_a_client_that_never_reads_is_cut_off():
    admin = free_port()
    with Bridge({"bridge": {"answer_timeout": "1s", "admin_listen": f"127.0.0.1:{admin}", "fronts": "1"}}) as b:
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        raw.connect(("127.0.0.1", b.port))
        c = b.context().wrap_socket(raw, server_hostname="localhost")
        c.settimeout(0.5)
        try:  # far more answers than the buffers on the way can hold
            for _ in range(3000):
                c.sendall(lines(line=b"GET / HTTP/1.1") * 10)
        except OSError:
            pass
        with Meter(b):
            b.wait_until(lambda: metrics(admin)["timeouts_total"] == 1, "the answer deadline")
            time.sleep(0.5)
        b.wait_until(lambda: metrics(admin)["connections_open"] == 1, "the end of the connection")
        c.close()


def test_a_reset_at_any_point_leaves_nothing_open():
    admin = free_port()
    with Bridge({"bridge": {"admin_listen": f"127.0.0.1:{admin}", "fronts": "1"}}) as b:
        request = post(b"name=Ada&x=" + b"y" * 100, b"Expect: 100-continue")
        files = len(os.listdir(f"/proc/{b.front()}/fd"))
        for length in [*range(0, len(request), 7), len(request)]:
            c = strict(b)
            c.sendall(request[:length])
            reset(c)
        context = b.context()
        hello = hello_bytes(context)
        for length in range(0, len(hello), 11):
            s = socket.create_connection(("127.0.0.1", b.port))
            s.sendall(hello[:length])
            reset(s)
        for i in range(20):  # while the commit is under way, or the answer
            c = strict(b)
            c.sendall(post())
            time.sleep(0.0005 * i)
            reset(c)
        b.wait_until(lambda: metrics(admin)["connections_open"] == 1, "the end of all connections")
        b.wait_until(lambda: len(os.listdir(f"/proc/{b.front()}/fd")) <= files + 1, "the descriptors back")
        assert b.post([("name", "Ada")])[0] == 200
        assert metrics(admin)["role_deaths_total"] == 0


def hello_bytes(context):
    """A ClientHello, as a client of this context writes it."""
    import ssl
    out = ssl.MemoryBIO()
    try:
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost").do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()


def is_let_in(bridge):
    try:
        with strict(bridge, timeout=5) as c:
            c.sendall(lines(line=b"GET / HTTP/1.1"))
            return Reader(c).answer().status == 200
    except OSError:
        return False


@pytest.mark.parametrize("key", ["max_connections", "max_per_address"])
def test_the_cap_on_connections_holds_and_is_lifted(key):
    admin = free_port()
    with Bridge({"bridge": {key: "5", "admin_listen": f"127.0.0.1:{admin}", "fronts": "2"}}) as b:
        held = [strict(b) for _ in range(5)]
        assert not is_let_in(b)
        assert metrics(admin)["connections_capped_total"] == 1  # admin_listen knows no cap
        held.pop().close()
        b.wait_until(lambda: is_let_in(b), "place for another connection")
        for c in held:
            c.sendall(post())
            assert Reader(c).answer().status == 200
            c.close()


def test_running_out_of_descriptors_is_survived(monkeypatch):
    import bridge as harness
    monkeypatch.setattr(harness, "WRAPPER", [*harness.WRAPPER, "prlimit", "--nofile=40:40"])
    with Bridge({"bridge": {"fronts": "1"}}) as b:
        assert "LimitNOFILE" in b.log()
        held = []
        try:
            for _ in range(40):
                held.append(strict(b, timeout=0.5))
        except OSError:
            pass
        b.wait_for_log("descriptors or memory ran out")
        assert len(held) > 5
        for c in held[3:]:
            c.close()
        b.wait_until(lambda: is_let_in(b), "service again")
        assert b.post([("name", "Ada")])[0] == 200
        assert "died" not in b.log() and "ended before its time" not in b.log()


def test_bodies_beyond_max_memory_are_put_off():
    with Bridge({"bridge": {"max_memory": "2M", "max_body": "2M", "fronts": "1"}}) as b:
        hold = []
        for _ in range(2):
            c = strict(b)
            c.sendall(head(length=1200001) + b"name=" + b"x" * 1000000)
            hold.append(c)
        time.sleep(0.5)
        answer = one(b, post(b"name=" + b"x" * 1500000))
        assert answer.status == 503 and int(answer.headers["retry-after"]) > 0
        for c in hold:
            c.sendall(b"x" * (1200001 - 1000005))
        statuses = sorted(Reader(c).answer().status for c in hold)
        assert 200 in statuses
        assert one(b, post(b"name=" + b"x" * 900000)).status == 200
        assert len(b.mails(statuses.count(200) + 1)) == statuses.count(200) + 1


def test_who_holds_most_of_max_memory_gives_way():
    """One visitor who holds large posts open keeps nobody else from sending one, large or small; all that were told "received"
    are there."""
    port = free_port()
    with Bridge({"bridge": {"listen": f"proxy:127.0.0.1:{port}", "trusted_proxies": "127.0.0.1", "max_memory": "4M", "max_body": "2M",
                            "fronts": "1"}}) as b:
        b.port = port

        def begin(address, size, sent):
            c = socket.create_connection(("127.0.0.1", port), 10)
            c.sendall(b"PROXY TCP4 %s 192.0.2.1 4000 443\r\n" % address)
            c = b.context().wrap_socket(c, server_hostname="localhost")
            c.sendall(head(length=size) + b"name=" + b"x" * (sent - 5))
            return c

        held = [begin(b"198.51.100.7", 1900000, size) for size in (1100000, 1100000, 500000, 250000, 120000, 60000, 30000) for _ in (1, 2)]
        b.wait_for_log("a submission found no memory")
        for i in range(20):
            with begin(b"203.0.113.%d" % i, 600, 600) as c:
                assert Reader(c).answer().status == 200, i
        with begin(b"203.0.113.99", 1500000, 1500000) as c:
            assert Reader(c).answer().status == 200
        smallest = held[-1]
        smallest.sendall(b"x" * 1000) # it is one of few by now, and still read
        for c in held[:-1]:
            c.close()
        smallest.sendall(b"x" * (1900000 - 31000))
        assert Reader(smallest).answer().status == 200
        assert len(b.mails(22)) == 22


# ---- the plain-text listeners ---------------------------------------------------------------------------------------------------


def plain(port, request, timeout=10):
    with socket.create_connection(("127.0.0.1", port), timeout) as s:
        s.sendall(request)
        return Reader(s).rest()


def test_plain_http_is_sent_on_to_https(served):
    for path in (b"/", b"/f/order", b"/f/order?a=1&b=%20x", b"//www.example.org/", b"/.well-known/acme-challenge/"):
        answers = plain(served.plain, b"GET " + path + b" HTTP/1.1\r\nHost: www.example.org\r\n\r\n")
        assert [a.status for a in answers] == [308]
        assert answers[0].headers["location"] == f"https://localhost:{served.port}{path.decode()}"
    assert "location" in plain(served.plain, b"GET /x HTTP/1.0\r\n\r\n")[0].headers


def test_a_post_in_clear_is_refused_unread(served):
    before = stored(served)
    answers = plain(served.plain, post() + post())
    assert [a.status for a in answers] == [403] and b"https://" in answers[0].body
    answers = plain(served.plain, head(length=5 << 20))  # answered although no byte of the body has come
    assert [a.status for a in answers] == [403]
    assert plain(served.plain, REFUSED["length-and-chunked"][1])[0].status == 400
    assert stored(served) == before and b"Ada" not in served.log().encode()


def test_acme_challenges_are_served_and_nothing_else(served):
    webroot = served.dir / "acme"
    folder = webroot / ".well-known/acme-challenge"
    (folder / "to-ken_1").write_text("to-ken_1.thumbprint")
    (folder / "link").symlink_to(served.dir / "config.ini")
    (folder / "directory").mkdir(exist_ok=True)
    (webroot / "secret").write_text("secret")
    os.mkfifo(folder / "fifo")

    def get(path):
        return plain(served.plain, b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")[0]

    base = b"/.well-known/acme-challenge/"
    assert (get(base + b"to-ken_1").status, get(base + b"to-ken_1").body) == (200, b"to-ken_1.thumbprint")
    for name in (b"../../secret", b"..%2f..%2fsecret", b"/etc/passwd", b"link", b"directory", b"fifo", b"missing", b".",
                 b"to-ken_1/", b"to-ken_1?x", b"x" * 200, b"to-ken_1%00"):
        answer = get(base + name)
        assert answer.status == 404 and b"secret" not in answer.body, name


def test_admin_listen_shows_health_and_metrics_and_nothing_else(served):
    def get(path, method=b"GET"):
        return plain(served.admin, method + b" " + path + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")[0]

    assert (get(b"/healthz").status, get(b"/readyz").status) == (200, 200)
    assert get(b"/healthz", b"POST").status == 411 and get(b"/healthz", b"DELETE").status == 405
    for path in (b"/", b"/f/order", b"/metrics/", b"/healthz?x", b"/../etc/passwd"):
        assert get(path).status == 404, path
    page = get(b"/metrics")
    assert page.headers["content-type"].startswith("text/plain; version=0.0.4")
    seen = {}
    for line in page.body.decode("ascii").splitlines():
        words = line.split(" ")
        if line.startswith("# "):
            seen.setdefault(words[2], []).append(words[1])
        else:
            assert len(words) == 2 and int(words[1]) >= 0, line
            seen[words[0].split("{")[0]].append("value")
    assert all(kinds[:3] == ["HELP", "TYPE", "value"] for kinds in seen.values()) and len(seen) > 10
    assert all(len(kinds) == 3 for name, kinds in seen.items() if not name.startswith("formbridge_form_"))


def test_metrics_count_for_each_form():
    """A form that went silent is seen; the counts go on over a reload, for a form that came with it, too."""
    admin = free_port()
    with Bridge({"bridge": {"admin_listen": f"127.0.0.1:{admin}"}, "form order": {"required": "name", "once_window": "10m"}}) as b:
        def counted():
            m = metrics(admin)
            return {k: v for k, v in m.items() if k.startswith("form_")}, m["submissions_committed_total"], m["refused_total"]

        taken, refused = 'form_submissions_total{form="%s"}', 'form_refused_total{form="%s"}'
        assert counted() == ({taken % "order": 0, refused % "order": 0}, 0, 0)
        assert b.post([("name", "Ada")])[0] == 200
        assert b.post([("name", "Ada")])[0] == 200 # a repeat
        assert b.post([("name", "")])[0] == 422
        assert b.post([("name", "Ada")], "gone")[0] == 404
        assert counted() == ({taken % "order": 1, refused % "order": 1}, 1, 2)
        b.config["form booking"] = {**Bridge.FORM, "deliver": f"maildir:{b.maildir}"}
        b.write_config()
        b.process.send_signal(signal.SIGHUP)
        b.wait_for_log("reloaded:")
        assert b.post([("name", "Bea")], "booking")[0] == 200
        assert b.post([("name", "Bea")])[0] == 200
        assert counted() == ({taken % "order": 2, refused % "order": 1, taken % "booking": 1, refused % "booking": 0}, 3, 2)


def test_metrics_count_what_happened():
    admin = free_port()
    with Bridge({"bridge": {"admin_listen": f"127.0.0.1:{admin}"}}) as b:
        for _ in range(3):
            one(b, post())
        one(b, post(b"name="))
        one(b, lines())
        b.mails(3)
        m = metrics(admin)
        assert (m["submissions_committed_total"], m["submissions_failed_total"], m["refused_total"]) == (3, 0, 2)
        assert m["connections_total"] == 6 and m["handshakes_total"] + m["handshakes_resumed_total"] == 5
        b.wait_until(lambda: metrics(admin)["messages_delivered_total"] == 3, "deliveries counted")
