"""What TLS is here, seen by OpenSSL: versions, suites, keys, chains, resumption, and handshakes that go wrong."""

import datetime
import os
import re
import socket
import ssl
import subprocess
import time

import pytest

from bridge import Bridge, free_port, make_certificate
from rawhttp import Reader, metrics, one, post, reset, stored, strict

SUITES = {
    "ec": ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"],
    "rsa": ["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-CHACHA20-POLY1305"],
}
REFUSED_SUITES = [
    "AES128-GCM-SHA256", "AES256-SHA", "DHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-SHA256", "ECDHE-ECDSA-AES256-SHA384",
    "ECDHE-ECDSA-AES128-CCM", "ECDHE-RSA-CAMELLIA128-SHA256", "aNULL", "eNULL", "DHE-RSA-CHACHA20-POLY1305",
]


def start(kind):
    admin = free_port()
    b = Bridge({"bridge": {"admin_listen": f"127.0.0.1:{admin}", "fronts": "3"}}, kind=kind)
    b.admin = admin
    return b


@pytest.fixture(scope="module")
def ec():
    with start("ec") as b:
        yield b


@pytest.fixture(scope="module")
def rsa():
    with start("rsa") as b:
        yield b


@pytest.fixture(params=["ec", "rsa"])
def any_key(request):
    bridge = request.getfixturevalue(request.param)
    bridge.kind = request.param
    return bridge


def s_client(bridge, *args, text=b"", ca=None):
    """openssl s_client; returns its exit code and all that it says."""
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{bridge.port}", "-servername", "localhost", "-verify_return_error",
         "-CAfile", ca or bridge.dir / "cert.pem", *args], input=text, capture_output=True, timeout=20)
    return done.returncode, (done.stdout + done.stderr).decode(errors="replace")


def serves(bridge):
    return one(bridge, post()).status == 200


# ---- versions, suites, curves, keys -------------------------------------------------------------------------------------


def test_tls_1_2_and_nothing_else(any_key):
    code, said = s_client(any_key, "-tls1_2")
    assert code == 0 and re.search(r"^ *Protocol *: TLSv1.2$", said, re.M)
    for old in ("-tls1", "-tls1_1"):
        code, said = s_client(any_key, old, "-cipher", "ALL:@SECLEVEL=0")
        assert code != 0 and "Cipher is (NONE)" in said  # an alert, which OpenSSL here finds to be of the wrong version
        assert re.search(r"alert|wrong version number", said), said
    code, said = s_client(any_key, "-tls1_3")
    assert code != 0 and re.search(r"alert (handshake failure|protocol version)", said), said
    assert serves(any_key)


def test_the_suites_are_six(any_key):
    for suite in SUITES[any_key.kind]:
        code, said = s_client(any_key, "-tls1_2", "-cipher", suite)
        assert code == 0 and f"Cipher is {suite}" in said, said
    other = SUITES["rsa" if any_key.kind == "ec" else "ec"]
    for suite in [*REFUSED_SUITES, *other]:
        code, said = s_client(any_key, "-tls1_2", "-cipher", f"{suite}:@SECLEVEL=0")
        assert code != 0 and "handshake failure" in said, (suite, said)


def test_the_server_chooses_the_suite(any_key):
    code, said = s_client(any_key, "-tls1_2", "-cipher", ":".join(reversed(SUITES[any_key.kind])))
    assert code == 0 and f"Cipher is {SUITES[any_key.kind][0]}" in said


def test_the_exchange_is_x25519_or_p256(any_key):
    for curves, name in (("P-521:X25519:P-256", "X25519"), ("P-521:P-256", "ECDH, prime256v1")):
        code, said = s_client(any_key, "-tls1_2", "-curves", curves)
        assert code == 0 and f"Server Temp Key: {name}" in said, said
    for curve in ("P-521", "X448"):
        code, said = s_client(any_key, "-tls1_2", "-curves", curve)
        assert code != 0 and "handshake failure" in said, said


def test_a_signature_is_never_over_sha1(any_key):
    code, said = s_client(any_key, "-tls1_2", "-cipher", "ALL:@SECLEVEL=0", "-sigalgs", "ECDSA+SHA1:RSA+SHA1")
    assert code != 0 and "handshake failure" in said, said
    for algorithm in ("SHA256", "SHA384", "SHA512"):
        code, said = s_client(any_key, "-tls1_2", "-sigalgs", f"ECDSA+{algorithm}:RSA+{algorithm}")
        assert code == 0 and f"Peer signing digest: {algorithm}" in said, said


def test_a_p384_key_works():
    with start("p384") as b:
        assert serves(b)
        code, said = s_client(b, "-tls1_2", "-curves", "X25519:P-384")
        assert code == 0 and "Server public key is 384 bit" in said


def test_no_compression_and_safe_renegotiation_info(any_key):
    _, said = s_client(any_key, "-tls1_2")
    assert "Compression: NONE" in said and "Secure Renegotiation IS supported" in said


# ---- the chain ----------------------------------------------------------------------------------------------------------


def run(*args, **more):
    subprocess.run([str(a) for a in args], check=True, capture_output=True, **more)


def issue(directory, name, issuer=None, ca=False, san="DNS:localhost", rsa=False, days=30):
    key, cert, csr = (directory / f"{name}.{e}" for e in ("key", "pem", "csr"))
    extensions = directory / f"{name}.ext"
    extensions.write_text("basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n" if ca else
                          f"basicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\nsubjectAltName={san}\n")
    new = ["rsa:2048"] if rsa else ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    run("openssl", "req", "-new", "-nodes", "-newkey", *new, "-keyout", key, "-out", csr, "-subj", f"/CN={name}")
    sign = ["-CA", directory / f"{issuer}.pem", "-CAkey", directory / f"{issuer}.key", "-CAcreateserial"] if issuer else [
        "-signkey", key]
    run("openssl", "x509", "-req", "-in", csr, "-out", cert, "-days", str(days), "-extfile", extensions, *sign)
    key.chmod(0o600)
    return key, cert


@pytest.mark.parametrize("rsa_issuer", [False, True])
def test_the_whole_chain_is_sent(tmp_path, rsa_issuer):
    issue(tmp_path, "root", ca=True, rsa=rsa_issuer)
    issue(tmp_path, "middle", "root", ca=True, rsa=rsa_issuer)
    key, leaf = issue(tmp_path, "leaf", "middle")
    chain = tmp_path / "fullchain.pem"
    chain.write_text(leaf.read_text() + (tmp_path / "middle.pem").read_text())
    with Bridge({"bridge": {"certificate": chain, "private_key": key}}) as b:
        context = ssl.create_default_context(cafile=tmp_path / "root.pem")
        with socket.create_connection(("127.0.0.1", b.port)) as raw, \
                context.wrap_socket(raw, server_hostname="localhost") as c:
            c.sendall(post())
            assert Reader(c).answer().status == 200
        code, said = s_client(b, "-showcerts", ca=tmp_path / "root.pem")
        assert code == 0 and said.count("BEGIN CERTIFICATE") == 2 and "Verify return code: 0" in said


# ---- resumption -----------------------------------------------------------------------------------------------------------


def test_a_session_is_resumed_by_whichever_front_takes_the_connection(any_key):
    context, session = any_key.context(), None
    before, fronts = metrics(any_key.admin), set()
    for i in range(300):
        if i >= 30 and len(fronts) > 1:
            break
        count = i
        with socket.create_connection(("127.0.0.1", any_key.port)) as raw, \
                context.wrap_socket(raw, server_hostname="localhost", session=session) as c:
            assert c.session_reused == (i > 0)
            fronts |= holders(any_key, c.getsockname()[1])
            c.sendall(post())
            assert Reader(c).answer().status == 200
            session = session or c.session
    after = metrics(any_key.admin)
    assert after["handshakes_resumed_total"] - before["handshakes_resumed_total"] == count
    assert after["handshakes_total"] - before["handshakes_total"] == 1
    assert len(fronts) > 1, "one front took all: nothing was shown"


def holders(bridge, port):
    """The fronts that hold the other end of this connection."""
    inodes = set()
    for line in open("/proc/net/tcp"):
        words = line.split()
        if words[1].endswith(f":{bridge.port:04X}") and words[2].endswith(f":{port:04X}"):
            inodes.add(f"socket:[{words[9]}]")
    return {pid for pid in bridge.named("front") for fd in os.listdir(f"/proc/{pid}/fd")
            if readlink(f"/proc/{pid}/fd/{fd}") in inodes}


def readlink(path):
    try:
        return os.readlink(path)
    except OSError:
        return None


def test_a_resumed_session_says_so_in_the_mail(ec):
    context = ec.context()
    with socket.create_connection(("127.0.0.1", ec.port)) as raw, \
            context.wrap_socket(raw, server_hostname="localhost") as c:
        session = c.session
    with socket.create_connection(("127.0.0.1", ec.port)) as raw, \
            context.wrap_socket(raw, server_hostname="localhost", session=session) as c:
        assert c.session_reused
        c.sendall(post(b"name=resumed"))
        assert Reader(c).answer().status == 200
    ec.wait_until(lambda: any("TLS1.2" in str(m["Received"]) and "resumed" in str(m["Received"]) for m in ec.mails()),
                  "a mail with the resumed session in its Received line")


def test_a_session_that_is_unknown_means_a_full_handshake(ec):
    context = ec.context()
    with strict(ec) as c:
        old = c.session
    with start("ec") as other:
        other_context = other.context()
        with socket.create_connection(("127.0.0.1", other.port)) as raw, \
                other_context.wrap_socket(raw, server_hostname="localhost") as c:
            assert not c.session_reused
    assert old is not None and context is not None and serves(ec)


def test_renegotiation_is_refused(any_key):
    begun = time.monotonic()
    p = subprocess.Popen(["openssl", "s_client", "-connect", f"127.0.0.1:{any_key.port}", "-servername", "localhost",
                          "-CAfile", any_key.dir / "cert.pem", "-tls1_2"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT)
    time.sleep(0.3)
    try:
        said, _ = p.communicate(b"R\n", timeout=10)
    except subprocess.TimeoutExpired:
        p.kill()
        said, _ = p.communicate()
    assert b"RENEGOTIATING" in said and b"no renegotiation" in said, said[-500:]
    assert time.monotonic() - begun < 10 and serves(any_key)


# ---- the end ------------------------------------------------------------------------------------------------------------------


def test_the_end_is_announced(any_key):
    with strict(any_key) as c:  # without close_notify recv() would raise
        c.sendall(post(b"name=Ada", b"Connection: close"))
        assert [a.status for a in Reader(c).rest()] == [200]
        assert c.recv(1) == b""


def test_a_client_that_says_goodbye_is_answered_with_goodbye(any_key):
    c = strict(any_key)
    raw = c.unwrap()  # waits for the other close_notify
    assert raw.recv(1) == b""
    raw.close()


# ---- what is no TLS, or not quite ------------------------------------------------------------------------------------------------


def outcome(bridge, sent, half_close=False):
    """All that comes back until the server closes."""
    with socket.create_connection(("127.0.0.1", bridge.port), 15) as s:
        back = b""
        try:
            s.sendall(sent)
            if half_close:
                s.shutdown(socket.SHUT_WR)
            while got := s.recv(4096):
                back += got
        except ConnectionError:
            pass
        return back


def client_hello(bridge):
    out = ssl.MemoryBIO()
    try:
        bridge.context().wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost").do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()


def test_garbage_is_answered_with_the_end(ec):
    hello = client_hello(ec)
    cases = {
        "plain http": post(),
        "random": os.urandom(2000),
        "zeros": bytes(500),
        "ssl2": b"\x80\x2e\x01\x00\x02" + bytes(41),
        "application data first": b"\x17\x03\x03\x00\x10" + bytes(16),
        "alert first": b"\x15\x03\x03\x00\x02\x02\x28",
        "finished first": b"\x16\x03\x03\x00\x10\x14\x00\x00\x0c" + bytes(12),
        "an oversized record": b"\x16\x03\x01\xff\xff" + bytes(65535),
        "a record too long by one": b"\x16\x03\x03\x48\x01" + bytes(0x4801),
        "an empty handshake record": b"\x16\x03\x01\x00\x00" * 3 + bytes(50),
        "hello with a long length": hello[:6] + b"\xff\xff\xff" + hello[9:] + bytes(20000),
        "hello twice": hello + hello,
        "hello cut in its middle and ended": hello[:len(hello) // 2] + b"\x15\x03\x01\x00\x02\x01\x00",
    }
    for name, sent in cases.items():
        outcome(ec, sent, half_close=True)
        assert serves(ec), name
    assert metrics(ec.admin)["role_deaths_total"] == 0


def test_a_broken_hello_byte_breaks_only_its_connection(ec):
    hello = client_hello(ec)
    for at in range(0, len(hello), 3):
        outcome(ec, hello[:at] + bytes([hello[at] ^ 0xFF]) + hello[at + 1:], half_close=True)
    assert serves(ec) and metrics(ec.admin)["role_deaths_total"] == 0


def flights(bridge):
    """The client's bytes of one handshake, in their two flights, and a finished engine on the other side."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    engine = bridge.context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    return engine, incoming, outgoing


def step(engine, outgoing):
    try:
        engine.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def test_a_handshake_that_ends_at_any_byte_leaves_nothing_open(ec):
    length = len(client_hello(ec))
    for at in list(range(0, length, 5)) + list(range(length, length + 140, 5)):
        engine, incoming, outgoing = flights(ec)
        s = socket.create_connection(("127.0.0.1", ec.port), 10)
        first = step(engine, outgoing)
        s.sendall(first[:at])
        if at > length:
            while not (second := step(engine, outgoing)):
                incoming.write(s.recv(65536))
            s.sendall(second[:at - length])
        if at % 2:
            reset(s)
        else:
            s.close()
    ec.wait_until(lambda: metrics(ec.admin)["connections_open"] == 1, "the end of all connections")
    assert serves(ec) and metrics(ec.admin)["role_deaths_total"] == 0


def test_a_handshake_may_come_byte_by_byte(ec):
    engine, incoming, outgoing = flights(ec)
    with socket.create_connection(("127.0.0.1", ec.port), 10) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            out = step(engine, outgoing)
            for i in range(len(out)):
                s.sendall(out[i:i + 1])
            try:
                engine.do_handshake()
                break
            except ssl.SSLWantReadError:
                incoming.write(s.recv(1))
        engine.write(post())
        for byte in outgoing.read():
            s.sendall(bytes([byte]))
        plain = b""
        while b"</html>" not in plain:
            incoming.write(s.recv(4096))
            try:
                while piece := engine.read(65536):
                    plain += piece
            except ssl.SSLWantReadError:
                pass
        assert plain.startswith(b"HTTP/1.1 200 ")


def test_a_tampered_record_ends_the_connection_and_stores_nothing(ec):
    before = stored(ec)
    engine, incoming, outgoing = flights(ec)
    with socket.create_connection(("127.0.0.1", ec.port), 10) as s:
        while True:
            s.sendall(step(engine, outgoing))
            try:
                engine.do_handshake()
                break
            except ssl.SSLWantReadError:
                incoming.write(s.recv(65536))
        engine.write(post())
        record = bytearray(outgoing.read())
        record[-1] ^= 1
        s.sendall(record)
        back = b""
        try:
            while got := s.recv(4096):
                back += got
        except ConnectionError:
            pass
        assert len(back) < 100  # an alert at most
    assert serves(ec) and stored(ec) == before + 1


def test_the_mail_says_how_it_came(any_key):
    with strict(any_key) as c:
        suite = c.cipher()[0]
        c.sendall(post(b"name=how"))
        assert Reader(c).answer().status == 200
    name = {"ECDHE-ECDSA-AES128-GCM-SHA256": "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
            "ECDHE-RSA-AES128-GCM-SHA256": "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"}[suite]
    any_key.wait_until(lambda: any(f"TLS1.2 {name} X25519" in " ".join(str(m["Received"]).split())
                                   for m in any_key.mails()), "the suite in a Received line")


def test_certificates_are_made_for_today():
    """The helper that the other tests rely on makes what it says."""
    with Bridge(start=False) as b:
        make_certificate(b.dir, days=3)
        said = subprocess.run(["openssl", "x509", "-in", b.dir / "cert.pem", "-noout", "-enddate"], capture_output=True,
                              text=True, check=True).stdout.strip()
        end = datetime.datetime.strptime(said.removeprefix("notAfter="), "%b %d %H:%M:%S %Y %Z")
        assert 2 <= (end - datetime.datetime.utcnow()).days <= 3


def test_connections_that_have_the_same_memory_one_after_the_other_know_nothing_of_each_other():
    with Bridge({"bridge": {"fronts": "1", "max_body": "1M"}}) as b:
        for i in range(12):  # full records, then a request cut short, then a handshake alone
            assert b.post([("name", f"Ada{i}"), ("text", "x" * 200000)])[0] == 200
            with b.connect() as c:
                c.sendall(b"POST /f/order HTTP/1.1\r\nHost: local")
            b.connect().close()
            with b.connect() as c:
                c.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                assert c.recv(12) == b"HTTP/1.1 200"
        b.mails(12)
