"""The README's "Encrypted for the owner alone", once as an owner does it: the key goes into the real Thunderbird, the orders
are collected from formbridge itself over POP3S, or over IMAPS from Dovecot, and opened."""

import json
import os
import pathlib
import pwd
import re
import shutil
import subprocess
import tempfile

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from bridge import PROGRAM, Bridge, free_port, multipart, receipt_in
from mailhosts import Certificate
from test_dovecot import PASSWORD as IMAP_PASSWORD, USER, Dovecot
from test_seal import EC, mail_certificate, openssl
from thunderbird import Thunderbird

OWNER, PASSWORD = "owner@example.com", "seven silver spoons"
MESSAGE = "Grüße, zwei\r\n  Zeilen 🥐"
PHOTO = b"\xff\xd8\xff" + bytes(range(256)) * 300 + b"\r\n--\r\n"
OPENS, GOOD, BAD = "Decryption successful", "Good signature", "Bad signature"


def files(directory, name, certificate):
    """Of a certificate of mailhosts: the paths of it and of its key."""
    cert, key = directory / f"{name}.pem", directory / f"{name}.key"
    cert.write_bytes(certificate.pem())
    key.touch(mode=0o600)
    key.write_bytes(certificate.key_pem())
    return cert, key


class World:
    """An authority that vouches for the server and for a sender; the owner's keys, one of them made by formbridge."""

    def __init__(self, directory):
        self.dir, self.ca = directory, Certificate("Test CA", ca=True)
        cert, key = files(directory, "server", Certificate("localhost", issuer=self.ca, names=["localhost"]))
        (directory / "cert.pem").write_bytes(cert.read_bytes() + self.ca.pem())
        key.rename(directory / "key.pem")
        name = x509.SubjectAlternativeName([x509.RFC822Name("website@example.com")])
        self.sender = files(directory, "sender", Certificate("The web site", issuer=self.ca, extensions=[name],
                                                             purposes=[ExtendedKeyUsageOID.EMAIL_PROTECTION]))
        self.unknown = mail_certificate(directory, "unknown", "website@example.com")
        self.other = mail_certificate(directory, "other", OWNER)
        said = subprocess.run([PROGRAM, "smime", "self", OWNER], cwd=directory, check=True, capture_output=True, text=True).stdout
        self.owner, self.p12 = directory / f"{OWNER}.pem", directory / f"{OWNER}.p12"
        self.password = re.search(r"Its password is +(\S+)", said).group(1)
        self.curve, key = mail_certificate(directory, "curve", OWNER, EC)
        self.curve_p12 = directory / "curve.p12"
        openssl("pkcs12", "-export", "-in", self.curve, "-inkey", key, "-out", self.curve_p12, "-passout", "pass:x")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("owner"))


def sign(pair):
    return {"sign_cert": pair[0], "sign_key": pair[1]}


@pytest.fixture(scope="module")
def shop(world):
    forms = {"order": {**sign(world.sender), "attach": "json"}, "unsigned": {}, "html": {"html": "yes"},
             "altered": sign(world.sender), "unknown": sign(world.unknown), "other": {"encrypt_to": world.other[0]}, "curve": {"encrypt_to": world.curve}}
    b = Bridge(directory=world.dir, start=False)
    hashed = subprocess.run([PROGRAM, "passwd"], input=PASSWORD + "\n", capture_output=True, text=True, check=True).stdout.strip()
    b.pop_port = free_port()
    b.config["pickup orders"] = {"listen": f"127.0.0.1:{b.pop_port}", "maildir": b.maildir, "password": hashed}
    for name, keys in forms.items():
        b.config[f"form {name}"] = {**Bridge.FORM, "subject": "Order {ref} from {name}", "encrypt_to": world.owner,
                                    "deliver": f"maildir:{b.maildir}", "once_window": "0", **keys}
    b.write_config()
    with b:
        b.start()
        yield b


def order(b, form):
    """Posts one with a file; returns the receipt once the mail is there."""
    kind, body = multipart([("name", "Ada Müller"), ("email", "ada@example.org"), ("message", MESSAGE), ("photo", "Käse.jpg", "image/jpeg", PHOTO)])
    status, _, page = b.post(body, form, headers={"Content-Type": kind})
    assert status == 200
    b.mail(receipt_in(page))
    return receipt_in(page)


def alter(b, receipt):
    """Changes one character of the sealed mail where it waits to be collected."""
    (path,) = [p for p in b.mail_files() if receipt in p.name]
    content = bytearray(path.read_bytes())
    at = len(content) // 2
    at += content[at] == ord("\n")
    content[at] = ord("A" if content[at] != ord("A") else "B")
    path.write_bytes(content)


@pytest.fixture(scope="module")
def thunderbird(world, tmp_path_factory):
    with Thunderbird(tmp_path_factory.mktemp("thunderbird")) as t:
        t.trust(world.ca.pem())
        t.import_key(world.p12, world.password)
        t.import_key(world.curve_p12, "x")
        yield t


@pytest.fixture(scope="module")
def orders(shop, thunderbird):
    """{form: (receipt, what Thunderbird shows)} of one order of each form, collected over POP3S."""
    receipts = {section[5:]: order(shop, section[5:]) for section in shop.config if section.startswith("form ")}
    alter(shop, receipts["altered"])
    thunderbird.account("pop3", "orders", PASSWORD, OWNER, shop.pop_port)
    mails = thunderbird.fetch("orders", "pop3", len(receipts))
    assert len(mails) == len(receipts)
    return {form: (receipt, *((subject, thunderbird.open(uri)) for subject, uri in mails if receipt in subject))
            for form, receipt in receipts.items()}


def lines(shown, receipt):
    """Of the text above the footer, with REF for the receipt."""
    return shown["text"].replace(receipt, "REF").split("\n-- \n")[0].strip("\n").split("\n")


LETTER = ["Subject: Order REF from Ada Müller", "Reply-To: ada@example.org", "",
          "name: Ada Müller", "email: ada@example.org", "message:", "  Grüße, zwei", "    Zeilen 🥐",
          f"(photo: attached, {len(PHOTO):,} bytes, Käse.jpg)"]


def test_an_order_opens_with_the_key_that_formbridge_made_and_its_signature_is_good(orders):
    receipt, (_, shown) = orders["order"]
    assert (shown["encrypted"], shown["signed"], shown["signer"]) == (OPENS, GOOD, "The web site")
    assert lines(shown, receipt) == LETTER
    photo, record = shown["files"]
    assert photo == ("Käse.jpg", "image/jpeg", PHOTO)
    assert record[:2] == ("fields.json", "application/json") and json.loads(record[2])["receipt"] == receipt


def test_the_list_of_mails_tells_the_form_and_the_receipt_alone(orders):
    """And the mail itself says on top what its subject is: Thunderbird shows the outer one of S/MIME."""
    for form, (receipt, (subject, shown)) in orders.items():
        assert subject == f"{form}: {receipt}"
        if form != "other":
            assert shown["text"].lstrip().startswith(f"Subject: Order {receipt} from Ada Müller\nReply-To: ada@example.org\n"), form


@pytest.mark.parametrize("form", ["unsigned", "html", "curve"])
def test_without_a_signature_none_is_claimed(orders, form):
    _, (_, shown) = orders[form]
    assert (shown["encrypted"], shown["signed"]) == (OPENS, None)
    assert "Grüße, zwei\n" in shown["text"] and "Zeilen 🥐" in shown["text"]
    assert shown["files"] == [("Käse.jpg", "image/jpeg", PHOTO)]


def test_the_table_is_what_is_shown_where_there_is_one(orders):
    _, (_, shown) = orders["html"]
    assert "name\tAda Müller\nemail\tada@example.org\n" in shown["text"]


@pytest.mark.parametrize("form", ["altered", "unknown"])
def test_an_altered_mail_and_a_signer_that_nobody_vouches_for_show_a_bad_signature(orders, form):
    _, (_, shown) = orders[form]
    assert (shown["encrypted"], shown["signed"]) == (OPENS, BAD)
    assert (shown["files"] == [("Käse.jpg", "image/jpeg", PHOTO)]) == (form == "unknown")


def test_without_the_key_nothing_is_shown(orders):
    _, (_, shown) = orders["other"]
    assert (shown["encrypted"], shown["text"]) == ("Decryption failed", "Thunderbird cannot decrypt this message")


@pytest.fixture
def dovecot(tmp_path_factory):
    """Over an empty Maildir that an ordinary user owns where there is a choice."""
    owner = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    with tempfile.TemporaryDirectory(prefix="formbridge-imap-") as path:
        home = pathlib.Path(path)
        home.chmod(0o755)
        (home / "service").mkdir()
        for part in ("new", "cur", "tmp"):
            (home / "Maildir" / part).mkdir(parents=True)
        for made in (home / "Maildir", *(home / "Maildir").iterdir()):
            shutil.chown(made, owner)
        server = Dovecot(home / "service", home / "Maildir", owner)
        server.maildir, server.owner = home / "Maildir", owner
        try:
            yield server
        finally:
            server.stop()


def test_over_imap_it_is_the_same(shop, thunderbird, dovecot):
    """A mail that formbridge delivered, in a Maildir that Dovecot serves."""
    receipt = order(shop, "order")
    (path,) = [p for p in shop.mail_files() if receipt in p.name]
    shutil.chown(shutil.move(path, dovecot.maildir / "new"), dovecot.owner)
    thunderbird.accept(dovecot.imaps, (dovecot.dir / "cert.pem").read_bytes())
    thunderbird.account("imap", USER, IMAP_PASSWORD, OWNER, dovecot.imaps)
    ((subject, uri),) = thunderbird.fetch(USER, "imap", 1)
    shown = thunderbird.open(uri)
    assert subject == f"order: {receipt}" and (shown["encrypted"], shown["signed"]) == (OPENS, GOOD)
    assert lines(shown, receipt) == LETTER
    assert shown["files"][0] == ("Käse.jpg", "image/jpeg", PHOTO)
    assert dovecot.complaints() == []
