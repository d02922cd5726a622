"""What formbridge seals, other programs' S/MIME opens, byte by byte, and only with the right key."""

import base64
import datetime
import email
import email.policy
import os
import pty
import random
import re
import select
import shutil
import struct
import subprocess
import tempfile
import termios
import time
from fcntl import ioctl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from bridge import SANITIZE, build_tool

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ["buf", "utf8", "charset", "date", "encode", "upload", "letter", "table", "record", "mime", "form", "urlencoded",
           "multipart", "json", "der", "pem", "x509", "algid", "cmskey", "cms", "mailcert", "smime", "pkcs12",
           "x509_self", "mailself"]
NOW = datetime.datetime.utcnow().replace(microsecond=0)
DAY = datetime.timedelta(days=1)
PASSWORD = "correct-horse-7"
CHUNK = 8192
HEAD = ("Received: from [192.0.2.7] ([192.0.2.7]) by forms.example.com (formbridge)\n"
        " with HTTPS id 7K2M-Q9XD-4TRW; Sun, 22 Nov 2026 00:00:00 +0000\n"
        "Date: Sun, 22 Nov 2026 00:00:00 +0000\n"
        "From: website@example.com\n"
        "To: orders@example.com,\n"
        " shop@example.com\n"
        "Subject: =?UTF-8?Q?Order_MARKER_f=C3=BCr_Ada?=\n"
        "Reply-To: ada-marker@example.org\n"
        "Message-ID: <7K2M-Q9XD-4TRW.1795305136@forms.example.com>\n"
        "X-Formbridge-Form: order\n"
        "X-Formbridge-Ref: 7K2M-Q9XD-4TRW\n"
        "MIME-Version: 1.0\n"
        "Content-Type: text/plain; charset=UTF-8\n"
        "Content-Transfer-Encoding: 8bit\n"
        "\n")
OUTSIDE = ["Date", "From", "To", "Message-ID", "X-Formbridge-Form", "X-Formbridge-Ref", "Subject",
           "MIME-Version", "Content-Type", "Content-Transfer-Encoding", "Content-Disposition"]


def run(*args, **more):
    more = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "timeout": 120, "check": True, **more}
    return subprocess.run([str(a) for a in args], **more)


# ---- keys and certificates

USES = ["digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"]


class Issuer:
    """A certificate authority in a directory; its certificates are ours to spoil."""

    def __init__(self, directory):
        self.directory = directory
        self.key = rsa.generate_private_key(65537, 2048)
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test CA")])
        cert = (x509.CertificateBuilder().subject_name(self.name).issuer_name(self.name)
                .public_key(self.key.public_key()).serial_number(1)
                .not_valid_before(NOW - DAY).not_valid_after(NOW + 100 * DAY)
                .add_extension(x509.BasicConstraints(True, None), True)
                .add_extension(self.usage(["key_cert_sign", "crl_sign"]), True)
                .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), False)
                .sign(self.key, hashes.SHA256()))
        self.cert = directory / "ca.pem"
        self.cert.write_bytes(cert.public_bytes(serialization.Encoding.PEM))

    @staticmethod
    def usage(names):
        return x509.KeyUsage(**{use: use in names for use in USES})

    def issue(self, name, key, address="orders@example.com", begins=NOW - DAY, ends=NOW + 90 * DAY,
              usage=("digital_signature", "key_encipherment", "key_agreement"),
              purpose=ExtendedKeyUsageOID.EMAIL_PROTECTION, in_subject=False):
        subject = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
        if in_subject:
            subject.append(x509.NameAttribute(NameOID.EMAIL_ADDRESS, address))
        builder = (x509.CertificateBuilder().subject_name(x509.Name(subject)).issuer_name(self.name)
                   .public_key(key.public_key()).serial_number(x509.random_serial_number())
                   .not_valid_before(begins).not_valid_after(ends)
                   .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
                   .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), False))
        if not in_subject:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.RFC822Name(address)]), False)
        if usage is not None:
            builder = builder.add_extension(self.usage(usage), True)
        if purpose is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), False)
        cert = builder.sign(self.key, hashes.SHA256())
        pem = self.directory / f"{name}.pem"
        pem.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
        secret = self.directory / f"{name}.key"
        secret.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                             serialization.NoEncryption()))
        secret.chmod(0o600)
        return pem


class World:
    RECIPIENTS = ["rsa2048", "rsa4096", "p256", "p384"]
    SIGNERS = ["sign-rsa", "sign-ec"]

    def __init__(self, directory):
        self.directory = directory
        self.ca = Issuer(directory)
        keys = {"rsa2048": rsa.generate_private_key(65537, 2048), "rsa4096": rsa.generate_private_key(65537, 4096),
                "p256": ec.generate_private_key(ec.SECP256R1()), "p384": ec.generate_private_key(ec.SECP384R1()),
                "other": rsa.generate_private_key(65537, 2048)}
        for name, key in keys.items():
            self.ca.issue(name, key)
        self.ca.issue("sign-rsa", rsa.generate_private_key(65537, 2048), "website@example.com")
        self.ca.issue("sign-ec", ec.generate_private_key(ec.SECP256R1()), "website@example.com")

    def pem(self, name):
        return self.directory / f"{name}.pem"

    def key(self, name):
        return self.directory / f"{name}.key"

    def pkcs12(self, name):
        """For readers that know only the old ciphers in it."""
        path = self.directory / f"{name}.p12"
        run("openssl", "pkcs12", "-export", "-in", self.pem(name), "-inkey", self.key(name), "-out", path, "-passout",
            "pass:x", "-name", name, "-certpbe", "PBE-SHA1-3DES", "-keypbe", "PBE-SHA1-3DES", "-macalg", "sha1")
        return path


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("smime"))


@pytest.fixture(scope="session")
def envelope(tmp_path_factory):
    return build_tool("envelope", tmp_path_factory.mktemp("envelope"), SOURCES, SANITIZE)


# ---- readers

class OpenSSL:
    def __init__(self, world):
        self.world = world

    def open(self, name, der):
        args = ["openssl", "cms", "-decrypt", "-inform", "DER", "-recip", self.world.pem(name), "-inkey",
                self.world.key(name)]
        done = run(*args, input=der, check=False)
        return done.stdout if done.returncode == 0 else None

    def verify(self, content, signature):
        path = self.world.directory / "signature.der"
        path.write_bytes(signature)
        body = self.world.directory / "content"
        body.write_bytes(content)
        return run("openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", path, "-content", body, "-CAfile",
                   self.world.ca.cert, check=False).returncode == 0


class NSS:
    """What Thunderbird is made of."""

    def __init__(self, world):
        self.database = f"sql:{world.directory / 'nss'}"
        self.directory = world.directory
        (world.directory / "nss").mkdir()
        run("certutil", "-N", "-d", self.database, "--empty-password")
        run("certutil", "-A", "-d", self.database, "-n", "ca", "-t", "C,C,C", "-i", world.ca.cert)
        for name in world.RECIPIENTS:
            run("pk12util", "-i", world.pkcs12(name), "-W", "x", "-d", self.database)

    def open(self, _, der):
        path = self.directory / "nss.der"
        path.write_bytes(der)
        out = self.directory / "nss.out"
        out.unlink(missing_ok=True)
        done = run("cmsutil", "-D", "-d", self.database, "-i", path, "-o", out, check=False)
        return out.read_bytes() if done.returncode == 0 else None

    def verify(self, content, signature):
        path = self.directory / "nss.p7s"
        path.write_bytes(signature)
        body = self.directory / "nss.content"
        body.write_bytes(content)
        return run("cmsutil", "-D", "-d", self.database, "-i", path, "-c", body, "-u", "4", "-o",
                   self.directory / "nss.out", check=False).returncode == 0


class GpgSM:
    """Its home has a short path, as the name of a socket must be."""

    def __init__(self, world):
        self.home = Path(tempfile.mkdtemp(prefix="gpg-"))
        self.environment = {**os.environ, "GNUPGHOME": str(self.home), "LC_ALL": "C"}
        (self.home / "gpgsm.conf").write_text("disable-dirmngr\ndisable-crl-checks\ndisable-policy-checks\nbatch\n"
                                              "pinentry-mode loopback\npassphrase-fd 0\n")
        (self.home / "gpg-agent.conf").write_text("allow-loopback-pinentry\n")
        cert = x509.load_pem_x509_certificate(world.ca.cert.read_bytes())
        (self.home / "trustlist.txt").write_text(cert.fingerprint(hashes.SHA1()).hex() + " S relax\n")
        self.gpgsm("--import", world.ca.cert)
        for name in ["rsa2048", "rsa4096"]:  # 2.2 cannot import keys on curves
            self.gpgsm("--import", world.pkcs12(name))

    def gpgsm(self, *args, **more):
        return run("gpgsm", *args, env=self.environment, **{"input": b"x\n", **more})

    def open(self, _, der):
        path = self.home / "message.der"
        path.write_bytes(der)
        done = self.gpgsm("--decrypt", "-o", "-", path, check=False)
        return done.stdout if done.returncode == 0 else None

    def verify(self, content, signature):
        path = self.home / "message.p7s"
        path.write_bytes(signature)
        body = self.home / "content"
        body.write_bytes(content)
        return self.gpgsm("--verify", path, body, check=False).returncode == 0

    def close(self):
        run("gpgconf", "--kill", "all", env=self.environment, check=False)
        shutil.rmtree(self.home, ignore_errors=True)


@pytest.fixture(scope="session")
def readers(world):
    for tool in ["openssl", "cmsutil", "certutil", "pk12util", "gpgsm", "gpg-agent"]:
        if shutil.which(tool) is None and not Path("/usr/bin", tool).exists():
            pytest.fail(f"{tool} is not installed; the mail cannot be read with it")
    gpgsm = GpgSM(world)
    yield {"openssl": OpenSSL(world), "nss": NSS(world), "gpgsm": gpgsm}
    gpgsm.close()


# ---- sealing

def seal(envelope, world, body, to="rsa2048", modern=False, signer=None, head=HEAD):
    """The whole outer message for these recipients, who share an address."""
    args = [envelope, "seal", *(["-m"] if modern else []), "-t", "orders@example.com"]
    if signer:
        args += ["-s", world.pem(signer), "-k", world.key(signer)]
    return run(*args, *[world.pem(name) for name in to.split()], input=head.encode() + body).stdout


def cms_of(mail):
    return email.message_from_bytes(mail).get_payload(decode=True)


def inner_head(head=HEAD):
    """The header block as it must arrive inside."""
    head = head.replace("charset=UTF-8\n", "charset=UTF-8;\n hp=\"cipher\"; protected-headers=\"v1\"\n")
    outer = ["Date: Sun, 22 Nov 2026 00:00:00 +0000", "From: website@example.com",
             "To: orders@example.com, shop@example.com",
             "Message-ID: <7K2M-Q9XD-4TRW.1795305136@forms.example.com>",
             "X-Formbridge-Form: order", "X-Formbridge-Ref: 7K2M-Q9XD-4TRW", "Subject: order 7K2M-Q9XD-4TRW"]
    return head[:-1] + "".join(f"HP-Outer: {field}\n" for field in outer) + "\n"


def crlf(text):
    return text.replace(b"\n", b"\r\n")


def expected(body):
    return crlf(unfold_hp(inner_head()).encode() + body)


def unfold_hp(head):
    """A field that grows beyond 78 bytes by its new name is folded where it has a space."""
    lines = []
    for line in head.split("\n"):
        if line.startswith("HP-Outer:") and len(line) > 78:
            cut = line.rfind(" ", 0, 79)
            lines += [line[:cut], line[cut:]]
        else:
            lines.append(line)
    return "\n".join(lines)


def parts_of_signed(content):
    """What is signed, byte by byte, and the signature."""
    boundary = re.match(rb'Content-Type: multipart/signed; protocol="application/pkcs7-signature";\r\n'
                        rb' micalg=sha-256; boundary="(=_[0-9a-f]{32})"\r\n\r\n', content)
    assert boundary
    mark = b"--" + boundary.group(1)
    before, signed, signature, end = content[boundary.end() - 2:].split(b"\r\n" + mark)
    assert before == b"" and end == b"--\r\n" and signed.startswith(b"\r\n") and signature.startswith(b"\r\n")
    part = email.message_from_bytes(signature[2:])
    assert part.get_content_type() == "application/pkcs7-signature"
    return signed[2:], part.get_payload(decode=True)


BODY = ("Name: Zoë Ångström\nОтзыв: всё хорошо\n注文: 三個\nMARKER\n" * 200).encode()

# What must open. What a reader does not know it must refuse, and not open wrongly.
MUST_OPEN = {
    "openssl": {(profile, name) for profile in ("compatible", "modern") for name in World.RECIPIENTS},
    "nss": {("compatible", "rsa2048"), ("compatible", "rsa4096")},
    "gpgsm": {("compatible", "rsa2048"), ("compatible", "rsa4096")},
}


def test_every_reader_opens_what_it_knows_byte_by_byte(envelope, world, readers, capsys):
    table = []
    for profile in ("compatible", "modern"):
        for name in World.RECIPIENTS:
            der = cms_of(seal(envelope, world, BODY, name, profile == "modern"))
            row = []
            for reader, program in readers.items():
                content = program.open(name, der)
                assert content in (None, expected(BODY)), (profile, name, reader)
                if (profile, name) in MUST_OPEN[reader]:
                    assert content is not None, (profile, name, reader)
                row.append("no" if content is None else "yes")
            table.append((profile, name, *row))
    with capsys.disabled():
        print("\n" + "".join("%-12s%-10s%-9s%-6s%s\n" % row for row in [("profile", "key", *readers), *table]))


def test_every_reader_verifies_the_signature_inside(envelope, world, readers):
    for signer in World.SIGNERS:
        content = readers["openssl"].open("rsa2048", cms_of(seal(envelope, world, BODY, signer=signer)))
        signed, signature = parts_of_signed(content)
        assert signed == expected(BODY)
        for reader, program in readers.items():
            assert program.verify(signed, signature), (signer, reader)
            assert not program.verify(signed.replace(b"MARKER", b"BARKER", 1), signature), (signer, reader)


def test_several_recipients_each_open_it_alone(envelope, world, readers):
    der = cms_of(seal(envelope, world, BODY, "rsa2048 rsa4096 p256 p384"))
    for name in World.RECIPIENTS:
        assert readers["openssl"].open(name, der) == expected(BODY), name
    assert readers["gpgsm"].open("rsa2048", cms_of(seal(envelope, world, BODY, "rsa2048 rsa4096"))) == expected(BODY)


def test_every_length_around_blocks_and_chunks_is_read_back(envelope, world, readers):
    before = len(expected(b""))
    chosen = random.Random(4)
    sizes = {0, 1, 2}
    for border in (256, CHUNK, 2 * CHUNK, 3 * CHUNK):
        sizes |= {border * (1 + before // border) - before + n for n in range(-2, 18)}
    sizes |= {chosen.randrange(300000) for _ in range(10)}
    for size in sorted(n for n in sizes if n >= 0):
        body = bytes(chosen.choice(b"abcdefgh\xc3\xa9") for _ in range(size))
        modern = size % 2 == 1
        der = cms_of(seal(envelope, world, body, "p256" if size % 3 == 0 else "rsa2048", modern))
        name = "p256" if size % 3 == 0 else "rsa2048"
        assert readers["openssl"].open(name, der) == expected(body), size
        if not modern and name == "rsa2048":
            assert readers["nss"].open(name, der) == expected(body), size


def test_25_megabytes_are_read_back_by_all(envelope, world, readers):
    upload = base64.encodebytes(random.Random(5).randbytes(18 << 20))
    mail = seal(envelope, world, upload, signer="sign-rsa")
    assert max(len(line) for line in mail.split(b"\n")) <= 76
    der = cms_of(mail)
    content = readers["openssl"].open("rsa2048", der)
    signed, signature = parts_of_signed(content)
    assert signed == expected(upload)
    assert readers["openssl"].verify(signed, signature)
    assert readers["nss"].open("rsa2048", der) == content
    assert readers["gpgsm"].open("rsa2048", der) == content


# ---- a mail program

MUTT = """
set crypt_use_gpgme=no smime_is_default=yes smime_decrypt_use_default_key=yes crypt_verify_sig=yes
set smime_default_key="11111111.0" smime_timeout=300 crypt_protected_headers_read=yes
set smime_keys="{home}/keys" smime_certificates="{home}/certificates" smime_ca_location="{home}/ca.pem"
set smime_decrypt_command="openssl cms -decrypt -passin stdin -inform DER -in %f -inkey %k -recip %c"
set smime_verify_command="openssl cms -verify -inform DER -in %s %C -content %f -out /dev/null"
set smime_get_signer_cert_command="openssl cms -verify -in %f -noverify -signer %c -out /dev/null"
set smime_get_cert_email_command="openssl x509 -in %f -noout -email"
set smime_pk7out_command="openssl cms -verify -in %f -noverify -cmsout"
set wait_key=no pipe_decode=yes mail_check=0 quit=yes mbox_type=Maildir
set folder="{home}" spoolfile="{home}/Maildir"
push "<display-message>"
"""


def converse(args, steps, home):
    """Runs a program in a terminal, types each answer when its prompt is there, and returns the screen."""
    master, slave = pty.openpty()
    ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
    program = subprocess.Popen(args, stdin=slave, stdout=slave, stderr=slave, cwd=home, start_new_session=True,
                               env={**os.environ, "HOME": str(home), "LC_ALL": "C.UTF-8", "TERM": "xterm"})
    os.close(slave)
    deadline = time.monotonic() + 60
    screen, seen = b"", 0
    try:
        while program.poll() is None and time.monotonic() < deadline:
            if select.select([master], [], [], 0.1)[0]:
                try:
                    screen += os.read(master, 1 << 16)
                except OSError:  # the terminal's other end is closed: the program is about to end
                    program.wait(10)
            elif steps and steps[0][0] in screen[seen:]:
                seen = len(screen)
                os.write(master, steps.pop(0)[1])
    finally:
        if program.poll() is None:
            program.kill()
            program.wait()
        os.close(master)
    assert program.returncode == 0 and not steps, (steps, screen[-2000:])
    return screen


def test_mutt_shows_the_mail_its_subject_and_that_the_signature_holds(envelope, world, tmp_path):
    for directory in ("keys", "certificates", "Maildir/cur", "Maildir/new", "Maildir/tmp"):
        (tmp_path / directory).mkdir(parents=True)
    run("openssl", "pkey", "-in", world.key("rsa2048"), "-aes256", "-passout", f"pass:{PASSWORD}", "-out",
        tmp_path / "keys" / "11111111.0")
    shutil.copy(world.pem("rsa2048"), tmp_path / "certificates" / "11111111.0")
    shutil.copy(world.ca.cert, tmp_path / "ca.pem")
    for directory in ("keys", "certificates"):
        (tmp_path / directory / ".index").write_text("orders@example.com 11111111.0 orders 11111111.0 t\n")
    body = "Name: Zoë Ångström\nОтзыв: всё хорошо\nthe last line\n"
    (tmp_path / "Maildir" / "cur" / "1:2,S").write_bytes(seal(envelope, world, body.encode(), signer="sign-rsa"))
    (tmp_path / "muttrc").write_text(MUTT.format(home=tmp_path))
    screen = converse(["mutt", "-n", "-F", tmp_path / "muttrc"], [
        (b"passphrase:", PASSWORD.encode() + b"\r"), (b"the last line", b"|"),
        (b"Pipe to command:", b"cat >shown\r"), (b"", b"qq")], tmp_path)
    assert b"CMS Verification successful" in screen
    assert "Order MARKER für Ada".encode() in screen
    assert body.encode() in (tmp_path / "shown").read_bytes()


# ---- what must not be possible

def test_nothing_of_the_message_is_outside(envelope, world):
    for signer in (None, "sign-ec"):
        for modern in (False, True):
            mail = seal(envelope, world, BODY, "rsa2048 p256", modern, signer)
            outer = email.message_from_bytes(mail, policy=email.policy.SMTP)
            assert outer.keys() == OUTSIDE
            assert outer["Subject"] == "order 7K2M-Q9XD-4TRW"
            assert outer.get_content_type() == "application/pkcs7-mime"
            assert outer.get_param("smime-type") == ("authEnveloped-data" if modern else "enveloped-data")
            for text in (b"MARKER", b"marker", "Ångström".encode(), b"192.0.2.7", b"website-sign", b"multipart"):
                assert text not in mail and text not in cms_of(mail)


def test_the_fields_inside_are_those_that_were_protected(envelope, world, readers):
    mail = seal(envelope, world, BODY, "p256")
    outer = email.message_from_bytes(mail, policy=email.policy.default)
    inner = email.message_from_bytes(readers["openssl"].open("p256", cms_of(mail)), policy=email.policy.default)
    assert inner["Subject"] == "Order MARKER für Ada"
    assert inner["Reply-To"] == "ada-marker@example.org"
    assert inner.get_param("hp") == "cipher"
    copies = [re.sub(r"\s+", " ", value).split(": ", 1) for value in inner.get_all("HP-Outer")]
    structural = ("MIME-Version", "Content-Type", "Content-Transfer-Encoding", "Content-Disposition")
    assert sorted(map(tuple, copies)) == sorted((k, v) for k, v in outer.items() if k not in structural)


def test_another_key_opens_nothing(envelope, world):
    der = cms_of(seal(envelope, world, BODY, "rsa2048"))
    done = run("openssl", "cms", "-decrypt", "-inform", "DER", "-recip", world.pem("other"), "-inkey",
               world.key("other"), input=der, check=False)
    assert done.returncode != 0
    blind = run("openssl", "cms", "-decrypt", "-inform", "DER", "-inkey", world.key("other"), input=der, check=False)
    assert b"MARKER" not in done.stdout + blind.stdout


def test_a_change_on_the_way_is_seen(envelope, world, readers):
    der = bytearray(cms_of(seal(envelope, world, BODY, signer="sign-rsa")))
    for at in (len(der) // 2, len(der) - 100):
        changed = bytearray(der)
        changed[at] ^= 1
        content = readers["openssl"].open("rsa2048", bytes(changed))
        if content is not None:
            try:
                signed, signature = parts_of_signed(content)
            except (AssertionError, ValueError):
                continue  # no mail any more
            assert not readers["openssl"].verify(signed, signature), at
    der = bytearray(cms_of(seal(envelope, world, BODY, modern=True)))
    der[len(der) // 2] ^= 1
    assert readers["openssl"].open("rsa2048", bytes(der)) is None


def test_two_envelopes_of_the_same_mail_have_nothing_in_common(envelope, world):
    one, two = (cms_of(seal(envelope, world, BODY)) for _ in range(2))
    start = one.index(bytes.fromhex("06092a864886f70d010701"))  # what follows is the content
    same = sum(a == b for a, b in zip(one[start + 50:], two[start + 50:]))
    assert same < len(one) // 100


# ---- the structure

def outline(der):
    """One line an element: depth, type, and the value where it is an OID or a small number."""
    text = run("openssl", "asn1parse", "-inform", "DER", input=der).stdout.decode()
    lines = []
    for line in text.splitlines():
        depth, kind, value = re.match(r" *\d+:d= *(\d+) .* (?:cons|prim): ([^:]*?) *(?:\[HEX DUMP\])?(?::(.*))?$",
                                      line).groups()
        shown = value if kind == "OBJECT" or (kind == "INTEGER" and value and len(value) < 4) else ""
        lines.append((int(depth), kind, shown))
    return lines


def merged(lines):
    """Chunks differ in size and number from one writer to another: one stands for all."""
    return [line for i, line in enumerate(lines) if i == 0 or line != lines[i - 1] or line[1] != "OCTET STRING"]


@pytest.mark.parametrize("name,modern,options", [
    ("rsa2048", False, ["-aes256"]),
    ("rsa2048", True, ["-aes-256-gcm", "-keyopt", "rsa_padding_mode:oaep", "-keyopt", "rsa_oaep_md:sha256",
                       "-keyopt", "rsa_mgf1_md:sha256"]),
    ("p256", False, ["-aes256", "-keyopt", "ecdh_kdf_md:sha256"]),
    ("p384", True, ["-aes-256-gcm", "-keyopt", "ecdh_kdf_md:sha256"]),
])
def test_the_envelope_is_built_as_openssl_builds_it(envelope, world, name, modern, options):
    ours = outline(cms_of(seal(envelope, world, BODY, name, modern)))
    cipher, *key = options
    theirs = outline(run("openssl", "cms", "-encrypt", "-stream", "-binary", "-outform", "DER", cipher, "-recip",
                         world.pem(name), *key, input=BODY).stdout)
    curve = {"p256": "prime256v1", "p384": "secp384r1"}.get(name)
    ours = [line for line in merged(ours) if line[2] != curve or curve is None]  # RFC 5753 §7.1.2 has it, they do not
    if name == "rsa2048" and modern:  # likewise the NULL of OAEP's hashes, RFC 4055 §2.1
        ours = [line for line in ours if line[1] != "NULL"]
    assert ours == merged(theirs)


@pytest.mark.parametrize("signer", World.SIGNERS)
def test_the_signature_is_built_as_openssl_builds_it(envelope, world, readers, signer):
    content = readers["openssl"].open("rsa2048", cms_of(seal(envelope, world, BODY, signer=signer)))
    _, signature = parts_of_signed(content)
    theirs = run("openssl", "cms", "-sign", "-binary", "-outform", "DER", "-nosmimecap", "-md", "sha256", "-signer",
                 world.pem(signer), "-inkey", world.key(signer), input=BODY).stdout
    assert outline(signature) == outline(theirs)


# ---- certificates that will not do

UNFIT = [
    ("rsa1024", lambda: rsa.generate_private_key(65537, 1024), {}, "has an RSA key of 1024 bits, and 2048 to 4096"),
    ("p521", lambda: ec.generate_private_key(ec.SECP521R1()), {}, "has a key that is neither RSA nor on the curve P-256 or P-384"),
    ("signing", None, {"usage": ["digital_signature"]}, "does not allow its key to receive encrypted mail (keyUsage)"),
    ("server", None, {"purpose": ExtendedKeyUsageOID.SERVER_AUTH}, "is not for mail (extendedKeyUsage"),
    ("stranger", None, {"address": "orders@example.org"}, "is for none of the form's addresses"),
    ("old", None, {"begins": NOW - 9 * DAY, "ends": NOW - 2 * DAY}, "expired on"),
    ("new", None, {"begins": NOW + 2 * DAY}, "is not valid before"),
]


@pytest.mark.parametrize("name,make,spoilt,why", UNFIT, ids=[case[0] for case in UNFIT])
def test_an_unfit_certificate_means_no_mail_at_all(envelope, world, name, make, spoilt, why):
    key = make() if make else ec.generate_private_key(ec.SECP256R1())
    pem = world.ca.issue(name, key, **spoilt)
    args = [envelope, "seal", "-t", "orders@example.com", pem]
    done = run(*args, input=HEAD.encode() + BODY, check=False)
    assert done.returncode == 1 and done.stdout == b""
    assert f"{pem}: certificate 1 {why}" in done.stderr.decode()
    shown = run(envelope, "show", pem, check=False)
    if name != "stranger":  # it is good, but for somebody else
        assert shown.returncode == 1 and "to encrypt   no: " in shown.stdout.decode()
    if name not in ("old", "new"):  # one that is out of date may wait beside a good one; others spoil it
        assert run(*args, world.pem("p256"), input=HEAD.encode() + BODY, check=False).returncode == 1
    else:
        assert run(*args, world.pem("p256"), input=HEAD.encode() + BODY).stdout != b""


FILES = [
    ("missing", None, "cannot be opened"),
    ("empty", b"", "has no certificate in it"),
    ("garbage", bytes(range(256)) * 8, "has no certificate in it"),
    ("cut", b"-----BEGIN CERTIFICATE-----\nMIIB", "ends inside a PEM block"),
    ("wrong", b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n", "certificate 1 is damaged"),
    ("key", None, "holds a private key, which must stay with the person who reads the mail"),
]


@pytest.mark.parametrize("name,content,why", FILES, ids=[case[0] for case in FILES])
def test_a_broken_file_means_no_mail_at_all(envelope, world, tmp_path, name, content, why):
    path = world.key("p256") if name == "key" else tmp_path / "orders.pem"
    if content is not None:
        path.write_bytes(content)
    done = run(envelope, "seal", "-t", "orders@example.com", path, world.pem("p256"), input=HEAD.encode(), check=False)
    assert done.returncode == 1 and done.stdout == b""
    assert f"{path}: {why}" in done.stderr.decode()


def test_the_address_may_stand_in_the_subject_alone(envelope, world, readers):
    world.ca.issue("subject", rsa.generate_private_key(65537, 2048), in_subject=True, usage=None, purpose=None)
    der = cms_of(seal(envelope, world, BODY, "subject"))
    assert readers["openssl"].open("subject", der) == expected(BODY)


def test_a_curve_that_nobody_asked_for_is_not_mistaken_for_one(envelope, world):
    key = ed25519.Ed25519PrivateKey.generate()
    pem = world.ca.issue("ed25519", key)
    assert "neither RSA nor on the curve" in run(envelope, "show", pem, check=False).stdout.decode()


# ---- certificates of our own

@pytest.mark.parametrize("curve", [False, True], ids=["rsa", "p256"])
def test_a_certificate_of_our_own_is_imported_and_used(envelope, world, tmp_path, curve):
    cert, p12 = tmp_path / "self.pem", tmp_path / "self.p12"
    run(envelope, "self", *(["-e"] if curve else []), "-p", PASSWORD, "-c", cert, "-o", p12, "-t", "orders@example.com")
    run("openssl", "verify", "-x509_strict", "-purpose", "smimesign", "-CAfile", cert, cert)
    if not curve:  # this check of OpenSSL's knows no key agreement
        run("openssl", "verify", "-x509_strict", "-purpose", "smimeencrypt", "-CAfile", cert, cert)
    unpacked = run("openssl", "pkcs12", "-in", p12, "-passin", f"pass:{PASSWORD}", "-nodes").stdout
    (tmp_path / "self.key").write_bytes(unpacked)
    assert run("openssl", "pkcs12", "-in", p12, "-passin", "pass:wrong", "-nodes", check=False).returncode != 0
    assert b"PRIVATE KEY" not in cert.read_bytes() and b"PRIVATE KEY" not in p12.read_bytes()

    sealed = run(envelope, "seal", "-t", "orders@example.com", cert, input=HEAD.encode() + BODY).stdout
    opened = run("openssl", "cms", "-decrypt", "-inform", "DER", "-recip", cert, "-inkey", tmp_path / "self.key",
                 input=cms_of(sealed)).stdout
    assert opened == expected(BODY)

    database = f"sql:{tmp_path}"
    run("certutil", "-N", "-d", database, "--empty-password")
    assert run("pk12util", "-i", p12, "-W", "wrong", "-d", database, check=False).returncode != 0
    run("pk12util", "-i", p12, "-W", PASSWORD, "-d", database)
    if not curve:
        (tmp_path / "mail.der").write_bytes(cms_of(sealed))
        run("cmsutil", "-D", "-d", database, "-i", tmp_path / "mail.der", "-o", tmp_path / "mail")
        assert (tmp_path / "mail").read_bytes() == expected(BODY)
    shown = run(envelope, "show", cert).stdout.decode()
    assert "  for          orders@example.com\n" in shown and "  to encrypt   yes\n  to sign      yes\n" in shown
