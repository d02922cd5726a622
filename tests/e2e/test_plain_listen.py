"""Plain HTTP, from a web server on this machine alone: who the visitor is, and that the visitor's own way was encrypted, must
stand in each request."""

import grp
import http.client
import os
import signal
import socket
import stat
import subprocess
import tempfile
import time

import pytest

from bridge import PATIENCE, PROGRAM, Bridge, free_port, receipt_in
from rawhttp import NEEDED, Reader, head, metrics, multipart, post, stored

WAY = (b"X-Forwarded-For: 203.0.113.7", b"X-Forwarded-Proto: https")
JSON = b"Accept: application/json"


class Plain(Bridge):
    """A bridge without a certificate, reached over a unix socket and a loopback address."""

    def __init__(self, config=None, start=True, **keys):
        self.home = tempfile.mkdtemp(prefix="formbridge-test-")
        self.socket = f"{self.home}/s"
        self.at, self.admin = free_port(), free_port()
        bridge = {"listen": f"unix:{self.socket} plain:127.0.0.1:{self.at}", "certificate": None, "private_key": None,
                  "admin_listen": f"127.0.0.1:{self.admin}", "fronts": 1, **keys}
        super().__init__({"bridge": bridge, **(config or {})}, directory=self.home, start=start)
        self.made = True

    def reach(self, path=None):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(PATIENCE)
        s.connect(path or self.socket)
        return s

    def ask(self, *requests, over=None):
        """Sends each on one connection once the one before is answered."""
        with over or self.reach() as s:
            reader, answers = Reader(s), []
            for request in requests:
                s.sendall(request)
                answers.append(reader.answer())
            return answers

    def received(self, answer):
        assert answer.status == 200, answer
        return " ".join(self.mail(receipt_in(answer.body))["Received"].split())


@pytest.fixture(scope="module")
def bridge():
    with Plain({"form far": {**Bridge.FORM, "deliver": "maildir:/nowhere", "origins": "https://www.example.com"}}
               | {"form order": {"origins": "https://www.example.com"}}, start=False) as b:
        b.config["form far"]["deliver"] = f"maildir:{b.dir}/far"
        b.write_config()
        b.start()
        yield b


def test_the_mail_names_the_visitor_and_what_is_known_of_the_way(bridge):
    want = "from [203.0.113.7] ([203.0.113.7]) by localhost (formbridge) with HTTP (HTTPS up to the proxy on this machine) id "
    (a,) = bridge.ask(post(b"name=Ada", JSON, *WAY))
    assert bridge.received(a).startswith(want)
    (a,) = bridge.ask(post(b"name=Ada", JSON, *WAY), over=socket.create_connection(("127.0.0.1", bridge.at), PATIENCE))
    assert bridge.received(a).startswith(want)
    (a,) = bridge.ask(post(b"name=Ada", JSON, b'Forwarded: for="[2001:db8::7]:5";proto=https'))
    assert bridge.received(a).startswith("from [IPv6:2001:db8::7] ")
    (a,) = bridge.ask(post(b"name=Ada", JSON, b"Forwarded: for=_hidden;proto=https"))
    assert bridge.received(a).startswith("from unknown by ")


def test_answers_are_the_same_as_over_tls(bridge):
    (a,) = bridge.ask(post(b"name=Ada", *WAY))
    for name, value in NEEDED.items():
        assert a.headers[name] == value
    (a,) = bridge.ask(post(b"name=", *WAY))
    assert a.status == 422


@pytest.mark.parametrize("fields,status,words", [
    ((b"X-Forwarded-For: 203.0.113.7", b"X-Forwarded-Proto: http"), 403, b"came over http, without encryption"),
    ((b"Forwarded: for=203.0.113.7;proto=http",), 403, b"came over http, without encryption"),
    ((*WAY, b"X-Forwarded-Proto: http"), 403, b"came over http, without encryption"),
    ((b"X-Forwarded-For: 203.0.113.7",), 403, b"X-Forwarded-Proto"),
    ((), 403, b"X-Forwarded-Proto"),
    ((b"X-Forwarded-Proto: https",), 403, b"X-Forwarded-For"),
    ((b"X-Forwarded-For: <script>", b"X-Forwarded-Proto: https"), 400, b"cannot be read"),
    ((b'Forwarded: for="203.0.113.7;proto=https',), 400, b"cannot be read"),
    ((*WAY, b"Forwarded: for=198.51.100.1;proto=https"), 400, b"different visitors"),
])
def test_a_form_is_refused_in_words_and_not_stored(bridge, fields, status, words):
    before = stored(bridge)
    (a,) = bridge.ask(post(b"name=Ada", *fields))
    assert a.status == status and words in a.body and b"othing was stored" in a.body
    assert a.headers["connection"] == "close"
    for name, value in NEEDED.items():
        assert a.headers[name] == value
    assert stored(bridge) == before


def test_a_refused_body_may_still_come_to_its_end(bridge):
    with bridge.reach() as s:
        body = b"name=" + b"x" * 3_000_000
        s.sendall(head(b"POST /f/order HTTP/1.1", len(body)) + body)  # as most clients do, before they read
        assert Reader(s).answer().status == 403


EARLY = [(b"POST /f/order HTTP/1.1", (), 403), (b"POST /f/nobody HTTP/1.1", WAY, 404), (b"PUT /f/order HTTP/1.1", WAY, 405),
         (b"POST /f/order HTTP/1.1", (*WAY, b"Origin: https://www.example.org"), 403)]


@pytest.mark.parametrize("line, fields, status", EARLY)
@pytest.mark.parametrize("size", [8, 1_000_000])
def test_a_proxy_hears_nothing_before_it_has_sent_all(bridge, line, fields, status, size):
    """One in Go may cut an answer off that comes earlier: https://github.com/golang/go/issues/40747."""
    with bridge.reach() as s:
        s.sendall(head(line, size, *fields) + b"x" * (size - 1))
        s.settimeout(0.3)
        with pytest.raises(TimeoutError):
            s.recv(1)
        s.settimeout(PATIENCE)
        sent = time.monotonic()
        s.sendall(b"x")
        reader = Reader(s)
        answer = reader.answer()
        assert answer.status == status
        assert time.monotonic() - sent > 0.0015  # nor just after
        assert answer.headers["connection"] == "close" and reader.answer() is None


@pytest.mark.parametrize("line, fields, status", EARLY)
def test_a_proxy_that_waits_for_a_word_hears_it(bridge, line, fields, status):
    with bridge.reach() as s:
        s.sendall(head(line, 8, b"Expect: 100-continue", *fields))
        assert Reader(s).answer().status == status


@pytest.mark.parametrize("line, fields, status", EARLY[:3])  # that of the origin comes after the body in any case
def test_a_proxy_that_does_not_send_all_hears_it_in_the_end(line, fields, status):
    with Plain(body_timeout="1s") as b, b.reach() as s:
        s.sendall(head(line, 8, *fields) + b"x")
        reader = Reader(s)
        assert reader.answer().status == status and reader.answer() is None


def test_a_page_may_be_asked_for_without_a_word_of_the_way(bridge):
    ask = b"GET / HTTP/1.1\r\nHost: localhost\r\n%s\r\n"
    a, b = bridge.ask(ask % b"", ask % b"X-Forwarded-Proto: http\r\n")
    assert a.status == b.status == 200
    (a,) = bridge.ask(ask % b"X-Forwarded-For: nonsense\r\n")
    assert a.status == 400


def test_each_request_of_a_connection_has_its_own_visitor(bridge):
    answers = bridge.ask(*[post(b"name=Ada+%d" % n, JSON, b"X-Forwarded-For: 203.0.113.%d" % n, WAY[1]) for n in range(1, 6)])
    for n, a in enumerate(answers, 1):
        assert bridge.received(a).startswith(f"from [203.0.113.{n}] ")


def test_what_the_visitor_wrote_is_not_believed(bridge):
    (a,) = bridge.ask(post(b"name=Ada", JSON, b"X-Forwarded-For: 198.51.100.66, 203.0.113.7", WAY[1]))
    assert bridge.received(a).startswith("from [203.0.113.7] ")
    (a,) = bridge.ask(post(b"name=Ada", JSON, b"X-Forwarded-For: 198.51.100.66", *WAY))
    assert bridge.received(a).startswith("from [203.0.113.7] ")


def test_proxies_further_out_are_passed_over_if_they_are_ours():
    with Plain(trusted_proxies="198.51.100.0/24") as b:
        (a,) = b.ask(post(b"name=Ada", JSON, b"X-Forwarded-For: 192.0.2.66, 203.0.113.7, 198.51.100.9", WAY[1]))
        assert b.received(a).startswith("from [203.0.113.7] ")


def test_our_own_pages_are_known_by_host_alone(bridge):
    own = (*WAY, JSON, b"Origin: https://localhost")
    good, = bridge.ask(post(b"name=Ada", *own))
    assert good.status == 200
    for fields in ((*WAY, b"Origin: https://evil.example", b"X-Forwarded-Host: evil.example"),
                   (*WAY, b"Origin: https://evil.example", b"X-Forwarded-Host: www.example.com"),
                   (*WAY, b"Origin: http://localhost")):
        (a,) = bridge.ask(post(b"name=Ada", *fields))
        assert a.status == 403


def test_a_large_upload_passes(bridge):
    content = os.urandom(3_000_000)
    kind, body = multipart([(b"name", b"Ada"), (b"plan", b"plan.bin", b"application/octet-stream", content)])
    request = (b"POST /f/order HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\n%s\r\n\r\n"
               % (kind, len(body), b"\r\n".join([JSON, *WAY]))) + body
    answers = bridge.ask(request, request.replace(b'name"\r\n\r\nAda', b'name"\r\n\r\nEva'))
    for a in answers:
        (part,) = bridge.mail(receipt_in(a.body)).iter_attachments()
        assert part.get_payload(decode=True) == content


def test_visitors_are_counted_by_request():
    with Plain(max_per_address=2) as b:
        held = [b.reach() for _ in range(8)]  # idle connections of the web server are nobody's
        begun = head(b"POST /f/order HTTP/1.1", 8, *WAY)
        for s in held[:2]:
            s.sendall(begun)
        b.wait_until(lambda: b.ask(post(b"name=Ada", *WAY))[0].status == 429, "the third is refused")
        (a,) = b.ask(post(b"name=Ada", *WAY))
        assert a.status == 429 and int(a.headers["retry-after"]) > 0
        (a,) = b.ask(post(b"name=Ada", b"X-Forwarded-For: 203.0.113.8", WAY[1]))
        assert a.status == 200
        held[0].sendall(b"name=Ada")
        assert Reader(held[0]).answer().status == 200
        (a,) = b.ask(post(b"name=Eva", *WAY))  # its connection is still open, and counts no more
        assert a.status == 200
        assert metrics(b.admin)["connections_capped_total"] >= 1
        for s in held:
            s.close()


def test_deadlines_hold_on_a_plain_connection_too():
    with Plain(head_timeout="1s", body_timeout="1s", idle_timeout="1s") as b:
        begun = time.monotonic()
        slow_head, slow_body, idle = b.reach(), b.reach(), b.reach()
        slow_head.sendall(b"POST /f/order HTTP/1.1\r\nHost: ")
        slow_body.sendall(head(b"POST /f/order HTTP/1.1", 100, *WAY))
        assert Reader(slow_head).answer().status == 408
        assert Reader(slow_body).answer().status == 408
        assert idle.recv(1) == b""
        assert time.monotonic() - begun < 10
        for s in (slow_head, slow_body, idle):
            s.close()


# -- the socket in the file system

def mode_of(path):
    st = os.stat(path)
    return stat.S_IMODE(st.st_mode), st.st_gid


def test_the_socket_is_for_its_group_alone():
    group = grp.getgrnam("www-data").gr_gid
    with Plain(socket_group="www-data") as b:
        assert mode_of(b.socket) == (0o660, group)
        b.config["bridge"] |= {"socket_mode": "0600", "socket_group": "daemon"}
        b.write_config()
        b.process.send_signal(signal.SIGHUP)
        b.wait_for_log("reloaded: ")
        assert mode_of(b.socket) == (0o600, grp.getgrnam("daemon").gr_gid)
        (a,) = b.ask(post(b"name=Ada", *WAY))
        assert a.status == 200


def test_a_socket_of_the_past_is_replaced_and_nothing_else():
    with Plain(start=False) as b:
        s = socket.socket(socket.AF_UNIX)
        s.bind(b.socket)
        s.close()  # as a killed run leaves it
        b.start()
        assert b.ask(post(b"name=Ada", *WAY))[0].status == 200
        other = Bridge(b.config, directory=b.dir, start=False)  # a second one there
        other.start(wait=False)
        assert other.process.wait(PATIENCE) != 0
        other.process = None
        assert f"cannot listen on unix:{b.socket}: another program listens there" in b.log()
        assert b.ask(post(b"name=Eva", *WAY))[0].status == 200
        b.stop()
        os.unlink(b.socket)
        with open(b.socket, "w") as f:
            f.write("precious")
        b.start(wait=False)
        assert b.process.wait(PATIENCE) != 0
        b.process = None
        assert "which is no socket" in b.log()
        assert open(b.socket).read() == "precious"


def test_commands_work_without_a_certificate(bridge):
    def run(*words):
        return subprocess.run([PROGRAM, "-c", bridge.dir / "config.ini", *words], capture_output=True, text=True, timeout=90)
    check = run("check")
    assert check.returncode == 0, check.stdout + check.stderr
    assert f"unix:{bridge.socket} is for the web server in front, mode 0660" in check.stdout
    assert "no certificate: " in check.stdout
    test = run("test", "order")
    assert test.returncode == 0, test.stdout + test.stderr
    assert "delivered: to maildir:" in test.stdout
    client = http.client.HTTPConnection("127.0.0.1", bridge.admin, timeout=PATIENCE)
    client.request("GET", "/readyz")
    assert client.getresponse().status == 200
    client.close()


def test_what_a_socket_needs_is_checked_before_the_start():
    with Plain(start=False) as b:
        b.config["bridge"] |= {"listen": "unix:/no/such/directory/s", "socket_group": "no-such-group"}
        b.write_config()
        run = subprocess.run([PROGRAM, "-c", b.dir / "config.ini", "check"], capture_output=True, text=True)
        assert run.returncode == 78 and "there is no directory /no/such/directory" in run.stdout
        b.config["bridge"]["listen"] = f"unix:{b.socket}"
        b.write_config()
        run = subprocess.run([PROGRAM, "-c", b.dir / "config.ini", "check"], capture_output=True, text=True)
        assert run.returncode == 78 and "socket_group no-such-group does not exist" in run.stdout
