"""Behind the real nginx, Caddy and HAProxy, configured as examples/ has it: addresses, ports and paths alone are put in."""

import contextlib
import grp
import http.client
import pathlib
import pwd
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import time

import pytest

from bridge import PATIENCE, Bridge, free_port, make_certificate, multipart, receipt_in
from mailhosts import listening

ROOT = pathlib.Path(__file__).resolve().parents[2]
VISITOR = "127.0.0.5"


def put_in(text, *pairs):
    for old, new in pairs:
        assert old in text, f"the example has no {old!r}"
        text = text.replace(old, str(new))
    return text


class Server:
    """A web server or proxy in a directory of its own, in front of a bridge that listens as the example says."""

    LISTEN, GROUP = "unix:/run/formbridge/http.sock", None

    def __init__(self, patience=PATIENCE):
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="formbridge-test-"))
        self.home.chmod(0o755)
        self.port, self.clear = free_port(), free_port()
        self.plain = free_port()  # in the place of port 80
        self.behind = free_port()
        self.socket = self.home / "s"
        self.cert, self.key = make_certificate(self.home)
        self.example = (ROOT / "examples" / self.EXAMPLE).read_text()
        keys = {"listen": f"unix:{self.socket}", "socket_group": self.GROUP, "certificate": None, "private_key": None}
        assert f"listen       = {self.LISTEN}" in self.example or f"listen          = {self.LISTEN}" in self.example
        if self.LISTEN.startswith("proxy:"):
            keys = {"listen": f"proxy:127.0.0.1:{self.behind}", "trusted_proxies": "127.0.0.1", "hostname": "localhost"}
        self.bridge = Bridge({"bridge": keys, "form order": {"origins": "https://www.example.com"}})
        self.config = self.home / "config"
        self.config.write_text(self.configure())
        self.log = open(self.home / "log", "wb")
        self.process = subprocess.Popen(self.command(), stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL, cwd=self.home,
                                        env={"HOME": str(self.home), "XDG_DATA_HOME": str(self.home), "PATH": "/usr/sbin:/usr/bin:/bin"})
        end = time.monotonic() + patience
        while not listening(self.port) and time.monotonic() < end and self.process.poll() is None:
            time.sleep(0.05)
        assert listening(self.port), self.said()

    def said(self):
        self.log.flush()
        return (self.home / "log").read_text(errors="replace")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(PATIENCE)
        self.log.close()
        try:
            self.bridge.close()
        finally:
            shutil.rmtree(self.home, ignore_errors=True)

    def client(self, secure=True):
        source = (VISITOR, 0)
        if not secure:
            return http.client.HTTPConnection("127.0.0.1", self.clear, timeout=PATIENCE, source_address=source)
        trusted = self.cert if not self.LISTEN.startswith("proxy:") else self.bridge.dir / "cert.pem"
        return http.client.HTTPSConnection("localhost", self.port, timeout=PATIENCE, source_address=source,
                                           context=ssl.create_default_context(cafile=trusted))

    def post(self, client, body=b"name=Ada", kind="application/x-www-form-urlencoded", **headers):
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        client.request("POST", "/f/order", body, {"Content-Type": kind, "Accept": "application/json", **names})
        answer = client.getresponse()
        return answer, answer.read()

    def mail_of(self, client, *args, **headers):
        answer, body = self.post(client, *args, **headers)
        assert answer.status == 200, (answer.status, body, self.said(), self.bridge.log())
        return self.bridge.mail(receipt_in(body))


class Nginx(Server):
    EXAMPLE, GROUP = "nginx.conf", "www-data"

    def configure(self):
        site = put_in(self.example, ("/run/formbridge/http.sock", self.socket), ("listen 443 ssl;", f"listen 127.0.0.1:{self.port} ssl;"),
                      ("listen 80;", f"listen 127.0.0.1:{self.plain};"),
                      ("/etc/letsencrypt/live/forms.example.com/fullchain.pem", self.cert),
                      ("/etc/letsencrypt/live/forms.example.com/privkey.pem", self.key))
        server = re.search(r"(?ms)^server \{.*?^\}", site)[0]
        clear = put_in(server, (f":{self.port} ssl;", f":{self.clear};"))  # as one forgets to redirect
        temporary = "".join(f"{name}_temp_path {self.home}/{name};" for name in
                            ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        return f"""user www-data; pid {self.home}/pid; error_log stderr; worker_processes 1;
            events {{}} http {{ access_log off; {temporary} {site} {clear} }}"""

    def command(self):
        return ["nginx", "-p", self.home, "-c", self.config, "-g", "daemon off;"]


class Caddy(Server):
    EXAMPLE, GROUP = "Caddyfile", "caddy"

    def configure(self):
        site = put_in(self.example, ("/run/formbridge/http.sock", self.socket), ("forms.example.com", "localhost"))
        site = put_in(site, ("\nlocalhost {", f"\nlocalhost {{\ntls {self.cert} {self.key}"))
        body = re.search(r"(?ms)^localhost \{.*?^\t(reverse_proxy .*?^\})", site)[1]
        return f"""{{
            admin off
            default_bind 127.0.0.1
            http_port {self.plain}
            https_port {self.port}
        }}
        {site}
        http://127.0.0.1:{self.clear} {{
        {body}
        """  # the last as one forgets to redirect

    def command(self):
        user, group = pwd.getpwnam("caddy"), grp.getgrnam("caddy")
        for path in (self.home, self.cert, self.key):
            shutil.chown(path, user.pw_uid, group.gr_gid)
        return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={group.gr_gid}", "--clear-groups",
                "caddy", "run", "--adapter", "caddyfile", "--config", self.config]


class HaproxyHttp(Server):
    EXAMPLE, GROUP = "haproxy-http.cfg", "haproxy"

    def configure(self):
        both = self.home / "both.pem"
        both.write_bytes(self.cert.read_bytes() + self.key.read_bytes())
        return put_in(self.example, ("/run/formbridge/http.sock", self.socket), ("/etc/haproxy/forms.example.com.pem", both),
                      ("bind :443 ssl", f"bind 127.0.0.1:{self.clear}\n    bind 127.0.0.1:{self.port} ssl"),
                      ("bind :80", f"bind 127.0.0.1:{self.plain}"))

    def command(self):
        return ["haproxy", "-db", "-f", self.config]


class NginxStream(Server):
    EXAMPLE, LISTEN = "nginx-stream.conf", "proxy:127.0.0.1:8443"

    def configure(self):
        text = put_in(self.example, ("listen 443;", f"listen 127.0.0.1:{self.port};"), ("127.0.0.1:8443", f"127.0.0.1:{self.behind}"))
        return f"""load_module /usr/lib/nginx/modules/ngx_stream_module.so;
            user www-data; pid {self.home}/pid; error_log stderr; worker_processes 1; events {{}}\n{text}"""

    command = Nginx.command


class HaproxyTcp(Server):
    EXAMPLE, LISTEN = "haproxy-tcp.cfg", "proxy:10.0.0.11:8443"

    def configure(self):
        text = put_in(self.example, ("bind :443", f"bind 127.0.0.1:{self.port}"), ("10.0.0.11:8443", f"127.0.0.1:{self.behind}"))
        return re.sub(r"(?m)^    server two .*\n", "", text)

    command = HaproxyHttp.command


@pytest.fixture(scope="module", params=[Nginx, Caddy, HaproxyHttp, NginxStream, HaproxyTcp], ids=lambda c: c.EXAMPLE)
def server(request):
    with request.param() as s:
        yield s


def terminates(server):
    return not server.LISTEN.startswith("proxy:")


def test_the_mail_names_the_visitor(server):
    client = server.client()
    received = " ".join(server.mail_of(client)["Received"].split())
    client.close()
    assert received.startswith(f"from [{VISITOR}] ([{VISITOR}]) by localhost (formbridge) with ")
    assert ("with HTTP (HTTPS up to the proxy" if terminates(server) else "passed on by 127.0.0.1)") in received


def test_a_connection_is_kept_and_every_post_arrives(server):
    client = server.client()
    client.connect()
    sock = client.sock
    for n in range(3):
        mail = server.mail_of(client, b"name=Ada+%d" % n)
        assert mail["Received"].startswith(f"from [{VISITOR}]")
    assert client.sock is sock
    client.close()


def test_a_large_upload_passes(server):
    content = bytes(range(256)) * 20_000
    kind, body = multipart([("name", "Ada"), ("plan", "plan.bin", "application/octet-stream", content)])
    client = server.client()
    (part,) = server.mail_of(client, body, kind).iter_attachments()
    client.close()
    assert part.get_payload(decode=True) == content


def test_what_is_too_large_is_said(server):
    kind, body = multipart([("name", "Ada"), ("plan", "plan.bin", "application/octet-stream", b"x" * 13_000_000)])
    client = server.client()
    try:
        answer, _ = server.post(client, body, kind)
        assert answer.status == 413
    except OSError:
        assert server.EXAMPLE == "Caddyfile"  # Go's server cuts off what is still being sent
    client.close()


def test_a_visitor_cannot_write_another_address_over_his_own(server):
    client = server.client()
    mail = server.mail_of(client, X_Forwarded_For="198.51.100.66", X_Forwarded_Proto="http",
                          Forwarded="for=198.51.100.66;proto=http", X_Forwarded_Host="evil.example", X_Real_IP="198.51.100.66")
    assert mail["Received"].startswith(f"from [{VISITOR}]") and "198.51.100" not in mail.as_string()
    client.close()


def test_pages_of_our_own_may_post_and_others_may_not(server):
    client = server.client()
    server.mail_of(client, Origin=f"https://localhost:{server.port}")
    answer, _ = server.post(client, Origin="https://evil.example")
    assert answer.status == 403
    client.close()


def test_a_form_that_came_over_http_is_refused(server):
    if not terminates(server):  # there is no such way in: what is not TLS is not answered
        with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as s:
            s.sendall(b"POST /f/order HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8\r\n\r\nname=Ada")
            try:
                assert not s.recv(1000).startswith(b"HTTP")
            except ConnectionResetError:
                pass
        return
    before = len(server.bridge.log())
    for lie in ({}, {"X_Forwarded_Proto": "https"}):
        client = server.client(secure=False)
        answer, body = server.post(client, **lie)
        assert answer.status == 403 and b"came over http, without encryption" in body
        client.close()
    assert "accepted" not in server.bridge.log()[before:]


def test_a_form_that_came_to_port_80_is_refused_and_never_redirected(server):
    """A browser repeats a post that is redirected with 308: all would seem to work, with each in clear on the network first."""
    if not terminates(server):
        assert not re.search(r"(?m)^\s*(listen|bind) \S*\b80\b", server.example)
        return
    before = len(server.bridge.log())
    for method, body in (("POST", b"name=Ada"), ("POST", b"name=" + b"A" * 3_000_000), ("PUT", b"name=Ada"), ("OPTIONS", None)):
        client = http.client.HTTPConnection("localhost", server.plain, timeout=PATIENCE)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # HAProxy does not wait for the body
            client.request(method, "/f/order", body, {"Content-Type": "application/x-www-form-urlencoded"})
        answer = client.getresponse()
        said = answer.read().decode()
        client.close()
        assert answer.status == 403 and answer.getheader("Location") is None, (method, answer.status, said)
        assert "sent without encryption, and was not taken" in said and "must begin with https://" in said
        assert answer.getheader("Content-Type").startswith("text/plain")
    assert server.bridge.log()[before:] == ""


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_page_at_port_80_is_at_https(server, method):
    if not terminates(server):
        return
    client = http.client.HTTPConnection("localhost", server.plain, timeout=PATIENCE)
    client.request(method, "/f/order?a=b", headers={"Host": "localhost"})  # of port 80 it is without a port
    answer = client.getresponse()
    client.close()
    assert answer.status in (301, 308) and answer.getheader("Location") == "https://localhost/f/order?a=b"
