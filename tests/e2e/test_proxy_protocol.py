"""A proxy passes TLS on and says first who the visitor is: the PROXY protocol, from those alone who are trusted with it."""

import socket
import ssl
import struct
import subprocess
import time

import pytest

from bridge import PATIENCE, PROGRAM, Bridge, free_port
from rawhttp import Reader, metrics, post, reset

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V1 = b"PROXY TCP4 203.0.113.7 192.0.2.1 50000 443\r\n"
V1_SIX = b"PROXY TCP6 2001:db8::7 2001:db8::1 50000 443\r\n"


def v2(address="203.0.113.7", tlvs=b"", command=0x21):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    one = socket.inet_pton(family, address)
    block = one + one + struct.pack("!HH", 50000, 443) + tlvs
    return SIGNATURE + bytes([command, 0x21 if ":" in address else 0x11]) + struct.pack("!H", len(block)) + block


V2 = v2(tlvs=b"\x05\x00\x03abc")
LOCAL = SIGNATURE + b"\x20\x00\x00\x00"


def config(bridge_keys=None):
    port = free_port()
    keys = {"listen": f"proxy:127.0.0.1:{port}", "trusted_proxies": "127.0.0.1 192.0.2.0/24",
            "admin_listen": f"127.0.0.1:{free_port()}", "fronts": 1, **(bridge_keys or {})}
    return port, {"bridge": keys}


class Proxied(Bridge):
    """A bridge that is reached as a proxy reaches it."""

    def __init__(self, **keys):
        port, c = config(keys)
        super().__init__(c, start=False)
        self.port = port
        self.start()

    def raw(self, source="127.0.0.1"):
        s = socket.create_connection(("127.0.0.1", self.port), PATIENCE, source_address=(source, 0))
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return s

    def secure(self, header, pieces=None):
        """TLS behind a header, which is written in pieces."""
        s = self.raw()
        for piece in pieces or [header]:
            s.sendall(piece)
            time.sleep(0.002 if pieces else 0)
        return self.context().wrap_socket(s, server_hostname="localhost")

    def ask(self, header, pieces=None):
        """Posts, and returns the Received line of the mail it became."""
        with self.secure(header, pieces) as c:
            c.sendall(post(b"name=Ada", b"Accept: application/json"))
            answer = Reader(c).answer()
            assert answer.status == 200, answer
        receipt = answer.body.split(b'"id":"')[1][:14].decode()
        return " ".join(self.mail(receipt)["Received"].split())

    def count(self, name="connections_no_proxy_total"):
        return metrics(int(self.config["bridge"]["admin_listen"].split(":")[1]))[name]


@pytest.fixture(scope="module")
def bridge():
    with Proxied() as b:
        yield b


def ended(s, seconds=PATIENCE):
    """The server ends the connection without a byte."""
    s.settimeout(seconds)
    try:
        return s.recv(1000) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("header,address", [
    (V1, "203.0.113.7"), (V1_SIX, "IPv6:2001:db8::7"), (V2, "203.0.113.7"), (v2("2001:db8::8"), "IPv6:2001:db8::8"),
    (v2("::ffff:203.0.113.9"), "203.0.113.9")])
def test_the_mail_names_the_visitor_and_the_proxy(bridge, header, address):
    received = bridge.ask(header)
    assert received.startswith(f"from [{address}] ([{address}]) by localhost (formbridge) with HTTPS (TLS1.2 ")
    assert ", passed on by 127.0.0.1) id " in received


@pytest.mark.parametrize("header", [LOCAL, b"PROXY UNKNOWN\r\n", SIGNATURE + b"\x21\x00\x00\x00",
                                    SIGNATURE + b"\x21\x31\x00\xd8" + bytes(216)])
def test_a_header_that_names_nobody_leaves_the_proxy_itself(bridge, header):
    received = bridge.ask(header)
    assert received.startswith("from [127.0.0.1] ")
    assert "passed on" not in received


@pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])
def test_a_header_may_come_in_any_pieces(bridge, header):
    for cut in range(1, len(header)):
        with bridge.secure(header, [header[:cut], header[cut:]]) as c:
            assert c.version() == "TLSv1.2"
    assert bridge.ask(header, [header[i:i + 1] for i in range(len(header))]).startswith("from [203.0.113.7] ")


def test_tls_may_stand_in_the_same_packet(bridge):
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = bridge.context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with bridge.raw() as s:
        sent = V2
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                s.sendall(sent + outgoing.read())
                sent = b""
                incoming.write(s.recv(65536))
        assert tls.version() == "TLSv1.2"


@pytest.mark.parametrize("start", [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET / HTTP/1.1\r\n", b"PROXY TCP4 1.2.3.4\r\n",
    b"PROXY UNKNOWN" + b"x" * 100, b"PROXY TCP4 203.0.113.7 192.0.2.1 50000 443\n", v2(command=0x22),
    SIGNATURE + b"\x21\x11\xff\xff", v2(tlvs=b"\x05\xff\xff"), v2(tlvs=b"\x03\x00\x04\x00\x00\x00\x00"), b"\0" * 5000],
    ids=["tls", "http", "short", "long", "no CR", "command", "oversize", "TLV", "checksum", "zeros"])
def test_anything_else_is_closed_without_a_byte(bridge, start):
    before = bridge.count()
    with bridge.raw() as s:
        s.sendall(start)
        assert ended(s)
    assert bridge.count() == before + 1


def test_others_than_the_trusted_are_closed_at_once():
    with Proxied(trusted_proxies="192.0.2.7 127.0.0.2/31") as b:
        for source in ("127.0.0.1", "127.0.0.4"):
            with b.raw(source) as s:
                assert ended(s)
        assert b.count() == 2
        assert b.log().count("not in trusted_proxies") == 1
        with b.raw("127.0.0.3") as s:
            s.sendall(V1)
            b.context().wrap_socket(s, server_hostname="localhost").close()


def test_many_wrong_headers_are_one_line_in_the_log():
    with Proxied() as b:
        for _ in range(20):
            with b.raw() as s:
                s.sendall(b"nonsense")
                assert ended(s)
        assert b.log().count("PROXY header is wrong") == 1
        assert b.count() == 20


def test_a_proxy_that_only_looks_is_no_complaint():
    with Proxied() as b:
        for header in (b"", LOCAL, V1):
            b.raw().close()
            s = b.raw()
            s.sendall(header)
            s.close()
            s = b.raw()
            s.sendall(header)
            reset(s)
        assert b.ask(V1).startswith("from [203.0.113.7]")
        assert "closed a connection" not in b.log() and b.count() == 0
        b.wait_until(lambda: b.count("connections_open") == 1, "no connection left")  # the one that asks


def test_a_slow_header_meets_the_deadline_of_the_handshake():
    with Proxied(handshake_timeout="1s") as b:
        silent = b.raw()
        slow = b.raw()
        begun = time.monotonic()
        slow.settimeout(0.1)
        for byte in V1[:-2] * 3:  # more than a second's worth
            try:
                slow.sendall(bytes([byte]))
                if slow.recv(1) == b"":
                    break
            except TimeoutError:
                pass
            except OSError:
                break
        assert 0.8 < time.monotonic() - begun < 6
        assert ended(silent)
        assert "did not come in time" in b.log()
        silent.close()
        slow.close()


def test_visitors_are_counted_and_not_their_proxy():
    with Proxied(max_per_address=2) as b:
        held = [b.secure(V1), b.secure(V2)]
        with b.raw() as s:
            s.sendall(V1)
            with pytest.raises((ssl.SSLError, OSError)):
                b.context().wrap_socket(s, server_hostname="localhost")
        assert b.count("connections_capped_total") == 1
        held += [b.secure(v2(f"198.51.100.{n}")) for n in range(4)] + [b.secure(LOCAL) for _ in range(4)]
        held[0].close()
        b.wait_until(lambda: b.count("connections_open") == 10, "a closed connection leaves its place")
        held.append(b.secure(V1))
        for c in held:
            c.close()
        b.wait_until(lambda: b.count("connections_open") == 1, "all leave")
        b.secure(V1).close()


def test_what_the_visitor_writes_in_a_request_is_not_believed(bridge):
    with bridge.secure(V1) as c:
        c.sendall(post(b"name=Ada", b"Accept: application/json", b"X-Forwarded-For: 198.51.100.66",
                       b"X-Forwarded-Proto: http", b"Forwarded: for=198.51.100.66;proto=http"))
        answer = Reader(c).answer()
    assert answer.status == 200
    mail = bridge.mail(answer.body.split(b'"id":"')[1][:14].decode())
    assert mail["Received"].startswith("from [203.0.113.7]") and "198.51.100.66" not in mail.as_string()


def test_an_ordinary_address_takes_no_header():
    """Or a visitor could write one."""
    with Bridge({"bridge": {"trusted_proxies": "127.0.0.1"}}) as b:
        with socket.create_connection(("127.0.0.1", b.port), PATIENCE) as s:
            s.sendall(V1)
            with pytest.raises((ssl.SSLError, OSError)):
                b.context().wrap_socket(s, server_hostname="localhost")
        client = b.client()
        status, _, body = b.post([("name", "Ada")], headers={
            "Accept": "application/json", "X-Forwarded-For": "198.51.100.66", "X-Forwarded-Proto": "http"}, client=client)
        client.close()
        assert status == 200
        assert b.mail(body.split(b'"id":"')[1][:14].decode())["Received"].startswith("from [127.0.0.1]")


def test_the_self_test_says_that_it_needs_another_way(bridge):
    run = subprocess.run([PROGRAM, "-c", bridge.dir / "config.ini", "test", "order"], capture_output=True, text=True)
    assert run.returncode != 0
    assert "every address in listen wants a proxy in front" in run.stderr
