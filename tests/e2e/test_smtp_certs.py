"""A host that cannot prove itself gets nothing: the certificate matrix over live handshakes."""

import ssl
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID
from mailhosts import (  # noqa: F401 (fixtures)
    NAME,
    SERVER,
    Certificate,
    Files,
    Server,
    assert_nothing_sent,
    good,
    sendone,
    tls_context,
    workdir,
)

CONSTRAINTS = [x509.NameConstraints([x509.DNSName("example.org")], None)]


class World:
    """A root, an intermediate, and hosts under them."""

    def __init__(self, directory):
        self.directory = directory
        self.root = Certificate("Example Root", ca=True)
        self.middle = Certificate("Example Intermediate", self.root, ca=True)
        self.other = Certificate("Another Root", ca=True)

    def host(self, trusted=None, above=None, cn=NAME, issuer=None, **more):
        more = {"names": [NAME], "purposes": SERVER} | more
        leaf = Certificate(cn, issuer or self.middle, **more)
        return Files(self.directory, leaf, [self.middle] if above is None else above, trusted or [self.root])

    def cross(self, **more):
        """The root, certified by somebody else: what hosts send for clients that know only him."""
        return Certificate("Example Root", self.other, ca=True, **more)

    def self_signed(self, **more):
        leaf = Certificate(NAME, names=[NAME], purposes=SERVER, **more)
        return Files(self.directory, leaf, [], [self.root])

    def under(self, root=None, **more):
        """A host right below an intermediate of its own."""
        middle = Certificate("Example Intermediate", root or self.root, ca=True, **more)
        return self.host(issuer=middle, above=[middle], trusted=[root or self.root])


@pytest.fixture(scope="session")
def world(workdir):  # noqa: F811
    return World(workdir)


SHA1 = {"hash": hashes.SHA1()}
CLIENT = [ExtendedKeyUsageOID.CLIENT_AUTH]

REFUSED = {
    "expired": (lambda w: w.host(start=-60, end=-1), "certificate expired on"),
    "not-yet-valid": (lambda w: w.host(start=1), "not valid before"),
    "wrong-name": (lambda w: w.host(names=["www.example.com"]), "is not for mail.example.com (it names www.example.com"),
    "common-name-alone": (lambda w: w.host(names=[]), "the common name does not count"),
    "address-alone": (lambda w: w.host(names=[], addresses=["127.0.0.1"]), "it names no host"),
    "wildcard-of-a-top-level": (lambda w: w.host(names=["*.com"]), "is not for mail.example.com"),
    "wildcard-two-labels-up": (lambda w: w.host(names=["*.com", "*.org"]), "it names *.com, *.org"),
    "wildcard-within-a-label": (lambda w: w.host(names=["m*.example.com"]), "is not for mail.example.com"),
    "wildcard-of-the-name-itself": (lambda w: w.host(names=["*.mail.example.com"]), "is not for mail.example.com"),
    "newline-in-a-name": (lambda w: w.host(names=["x\nmail.example.com\n"]), "is not for mail.example.com"),
    "nul-in-a-name": (lambda w: w.host(names=["mail.example.com\0.example.org"]), "is not for mail.example.com"),
    "self-signed": (lambda w: w.self_signed(), "self-signed and not among the trust anchors"),
    "self-signed-ca": (lambda w: w.self_signed(ca=True), "self-signed and not among the trust anchors"),
    "self-signed-with-its-pin": (lambda w: w.self_signed(), "set pin_only = yes and pin = sha256:{pin}"),
    "self-signed-ca-with-its-pin": (lambda w: w.self_signed(ca=True), "set pin_only = yes and pin = sha256:{pin}"),
    "unknown-ca": (lambda w: w.host(issuer=w.other, above=[]), "no trust anchor was found"),
    "missing-intermediate": (lambda w: w.host(above=[]), "have the host send its intermediate"),
    "misordered": (lambda w: w.host(above=[w.root, w.middle]), "do not follow one another"),
    "client-certificate": (lambda w: w.host(purposes=CLIENT), "for another purpose than being a server"),
    "code-signing": (lambda w: w.host(purposes=[ExtendedKeyUsageOID.CODE_SIGNING]), "for another purpose"),
    "ca-as-host": (lambda w: w.host(ca=True), "shows the certificate of a CA as its own"),
    "sha1": (lambda w: w.host(**SHA1), "is signed with SHA-1"),
    "sha1-intermediate": (lambda w: w.under(**SHA1), "number 1 of the chain is signed with SHA-1"),
    "rsa-1024": (lambda w: w.host(key="1024"), "RSA key has only 1024 bits"),
    "rsa-1024-intermediate": (lambda w: w.under(key="1024"), "has an RSA key of only 1024 bits"),
    "expired-intermediate": (lambda w: w.under(start=-60, end=-2), "number 1 of the chain is expired, since"),
    "constrained-intermediate": (lambda w: w.under(extensions=CONSTRAINTS), "carries name constraints"),
    "issuer-is-no-ca": (lambda w: w.host(issuer=(i := Certificate("No CA", w.root)), above=[i]), "may not issue"),
}


@pytest.mark.parametrize("starttls", [False, True], ids=["implicit", "starttls"])
@pytest.mark.parametrize("case", REFUSED)
def test_nothing_reaches_a_host_that_is_not_proven(world, sendone, case, starttls):  # noqa: F811
    make, words = REFUSED[case]
    files = make(world)
    with Server(files, implicit=not starttls) as server:
        mode = {"tls": "starttls"} if starttls else {}
        lines = sendone(server="127.0.0.1", port=server.port, tls_name=NAME, trust=files.trust, **mode)
    what, outcome, reason = lines[0]
    assert (what, outcome) == ("open", "temporary")
    assert reason.startswith(f"127.0.0.1:{server.port}: ") and words.format(pin=files.leaf.pin()) in reason
    assert len(server.connections) == 1 and len(server.connections[0].wire) > 100
    assert_nothing_sent(server)


ACCEPTED = {
    "chain": lambda w: w.host(),
    "below-the-root": lambda w: w.host(issuer=w.root, above=[]),
    "root-sent-too": lambda w: w.host(above=[w.middle, w.root]),
    "expired-certificate-beyond-the-anchor": lambda w: w.host(above=[w.middle, w.cross(start=-60, end=-30)]),
    "constrained-certificate-beyond-the-anchor": lambda w: w.host(above=[w.middle, w.cross(extensions=CONSTRAINTS)]),
    "rsa-2048": lambda w: w.host(key="2048"),
    "p-384": lambda w: w.host(key="p384"),
    "sha-384": lambda w: w.host(hash=hashes.SHA384()),
    "sha-512": lambda w: w.host(hash=hashes.SHA512()),
    "wildcard": lambda w: w.host(names=["*.example.com"]),
    "other-case": lambda w: w.host(names=["MAIL.Example.COM"]),
    "one-of-several": lambda w: w.host(names=["a.example.org", NAME, "b.example.org"]),
    "any-purpose": lambda w: w.host(purposes=[ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]),
    "no-purpose": lambda w: w.host(purposes=None),
    "self-signed-and-trusted": lambda w: Files(w.directory, (c := w.self_signed().leaf), [], [c]),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_a_host_that_proves_itself_gets_the_message(world, sendone, case):  # noqa: F811
    files = ACCEPTED[case](world)
    with Server(files) as server:
        lines = sendone(server="127.0.0.1", port=server.port, tls_name=NAME, trust=files.trust)
    assert lines[0][:2] == ("open", "done"), lines
    assert "TLS 1.2, TLS_ECDHE_" in lines[1][2] and f"pin sha256:{files.leaf.pin()}" in lines[1][2]
    assert lines[2][1] == "done" and len(server.bodies) == 1


PINS = {
    # name: (keys for the client, outcome, words)
    "right": (lambda f, o: {"pin": f.leaf.pin(), "trust": f.trust}, "done", ""),
    "one-of-two": (lambda f, o: {"pin": ["0" * 64, f.leaf.pin()], "trust": f.trust}, "done", ""),
    "wrong": (lambda f, o: {"pin": "0" * 64, "trust": f.trust}, "temporary", "not one of the pinned ones, it is sha256:"),
    "right-but-chain-unknown": (lambda f, o: {"pin": f.leaf.pin(), "trust": o.trust}, "temporary", "no trust anchor"),
    "instead-of-the-chain": (lambda f, o: {"pin": f.leaf.pin(), "pin_only": "yes"}, "done", ""),
    "instead-and-wrong": (lambda f, o: {"pin": "f" * 64, "pin_only": "yes"}, "temporary", "not one of the pinned ones"),
}


@pytest.mark.parametrize("case", PINS)
def test_pins(world, sendone, case):  # noqa: F811
    keys, outcome, words = PINS[case]
    files, others = world.host(), Files(world.directory, world.other, [], [world.other])
    with Server(files) as server:
        lines = sendone(server="127.0.0.1", port=server.port, tls_name=NAME, **keys(files, others))
    assert lines[0][1] == outcome and words in lines[0][2]
    if outcome != "done":
        assert_nothing_sent(server)


def test_a_pinned_key_needs_neither_name_nor_date_nor_issuer(world, sendone):  # noqa: F811
    files = Files(world.directory, Certificate("anything", start=-60, end=-30, ca=True))
    with Server(files) as server:
        lines = sendone(server="127.0.0.1", port=server.port, pin=files.leaf.pin(), pin_only="yes")
    assert lines[0][1] == "done" and lines[2][1] == "done"


def test_an_address_is_no_name(world, sendone):  # noqa: F811
    files = world.host(addresses=["127.0.0.1"])
    with Server(files) as server:
        lines = sendone(server="127.0.0.1", port=server.port, trust=files.trust)
    assert lines[0][1] == "temporary" and "set tls_name" in lines[0][2]
    assert server.connections == []


@pytest.mark.parametrize("name", ["", "mail.example.com..", "m\u00e4il.example.com", "x" * 254])
def test_no_name_never_means_no_check(world, sendone, name):  # noqa: F811
    files = world.host()
    with Server(files) as server:
        lines = sendone(server="127.0.0.1", port=server.port, tls_name=name, trust=files.trust)
    assert lines[0][1] == "temporary", lines
    assert_nothing_sent(server)


def test_expired_roots_are_no_anchors(world, sendone):  # noqa: F811
    root = Certificate("Old Root", ca=True, start=-60, end=-1)
    files = world.host(trusted=[root])
    lines = sendone(server="127.0.0.1", port=1, tls_name=NAME, trust=files.trust)
    assert lines[0][:2] == ("load", "failed") and "expired" in lines[0][2]
    both = world.under(root=Certificate("Example Root", ca=True, start=-60, end=-1))
    both.trust.write_bytes(both.trust.read_bytes() + world.other.pem())
    with Server(both) as server:
        lines = sendone(server="127.0.0.1", port=server.port, tls_name=NAME, trust=both.trust)
    assert lines[0][1] == "temporary" and "no trust anchor" in lines[0][2]
    assert_nothing_sent(server)


@pytest.mark.parametrize("content", [b"", b"junk\n", b"-----BEGIN CERTIFICATE-----\n!!!!\n", None])
def test_a_trust_file_without_certificates_is_an_error(workdir, sendone, content):  # noqa: F811
    path = workdir / "bad.pem"
    path.unlink(missing_ok=True)
    if content is not None:
        path.write_bytes(content)
    lines = sendone(server="127.0.0.1", port=1, tls_name=NAME, trust=path)
    assert lines[0][:2] == ("load", "failed") and str(path) in lines[0][2]


def test_a_trust_file_may_have_dos_line_ends_and_comments(world, sendone):  # noqa: F811
    files = world.host()
    files.trust.write_bytes(b"The root\r\n" + files.trust.read_bytes().replace(b"\n", b"\r\n").rstrip())
    with Server(files) as server:
        lines = sendone(server="127.0.0.1", port=server.port, tls_name=NAME, trust=files.trust)
    assert lines[0][1] == "done", lines


def test_the_system_anchors_do_not_vouch_for_a_private_ca(world, sendone):  # noqa: F811
    with Server(world.host()) as server:
        lines = sendone(server="127.0.0.1", port=server.port, tls_name=NAME)
    assert lines[0][1] == "temporary" and "no trust anchor" in lines[0][2]
    assert_nothing_sent(server)


def test_a_host_of_tls_1_3_alone_is_named_as_such(good, sendone):  # noqa: F811
    context = tls_context(good, ssl.TLSVersion.TLSv1_3)
    with Server(good, context=context) as server:
        lines = sendone(server="127.0.0.1", port=server.port, tls_name=NAME, trust=good.trust)
    assert lines[0][1] == "temporary" and "TLS 1.3 alone" in lines[0][2]
    assert_nothing_sent(server)


def test_a_host_of_tls_1_1_alone_is_refused(good, sendone):  # noqa: F811
    context = tls_context(good)
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with Server(good, context=context) as server:
        lines = sendone(server="127.0.0.1", port=server.port, tls_name=NAME, trust=good.trust)
    assert lines[0][1] == "temporary"
    assert_nothing_sent(server)


def test_our_pin_is_the_one_that_openssl_computes(world):
    files = world.host()
    spki = subprocess.run(
        ["openssl", "x509", "-in", files.chain, "-pubkey", "-noout"], capture_output=True, check=True
    ).stdout
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=spki, capture_output=True).stdout
    digest = subprocess.run(["openssl", "dgst", "-sha256", "-r"], input=der, capture_output=True).stdout
    assert digest.split()[0].decode() == files.leaf.pin()
