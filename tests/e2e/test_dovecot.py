"""Dovecot serves the Maildir that formbridge delivers to: what was posted comes out over POP3S and IMAPS."""

import contextlib
import email
import email.policy
import imaplib
import os
import poplib
import pwd
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time

import pytest

from bridge import PATIENCE, Bridge, fields_of, free_port, make_certificate, multipart, receipt_in, uploads_of

USER, PASSWORD = "orders", "a password of the tests"
FIELDS = [("name", "Ada Müller"), ("email", "ada@example.org"), ("colour", "red"), ("colour", ""), ("colour", "red"),
          ("message", "Grüß Gott,\n\n.\nFrom here on: 🥐\n")]

CONFIG = """
base_dir = {dir}/run
state_dir = {dir}/state
log_path = {dir}/log
protocols = imap pop3
listen = 127.0.0.1
ssl = required
ssl_cert = <{dir}/cert.pem
ssl_key = <{dir}/key.pem
default_internal_user = {internal}
default_internal_group = {internal_group}
default_login_user = {login}
passdb {{
  driver = passwd-file
  args = scheme=PLAIN {dir}/users
}}
userdb {{
  driver = static
  args = uid={owner} gid={owner_group} home={home}
}}
first_valid_uid = 1
mail_location = maildir:{maildir}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = 0
  }}
  inet_listener imaps {{
    port = {imaps}
  }}
}}
service pop3-login {{
  chroot =
  inet_listener pop3 {{
    port = 0
  }}
  inet_listener pop3s {{
    port = {pop3s}
  }}
}}
service anvil {{
  chroot =
}}
"""


class Dovecot:
    """One of its own, on loopback, for one mailbox; owner may read it, as formbridge writes it."""

    def __init__(self, directory, maildir, owner):
        self.dir = directory
        self.imaps, self.pop3s = free_port(), free_port()
        self.log_path = directory / "log"
        make_certificate(directory)
        (directory / "users").write_text(f"{USER}:{{PLAIN}}{PASSWORD}\n")
        root = os.geteuid() == 0
        group = subprocess.run(["id", "-gn", owner], check=True, capture_output=True, text=True).stdout.strip()
        (directory / "conf").write_text(CONFIG.format(
            dir=directory, home=maildir.parent, maildir=maildir, imaps=self.imaps, pop3s=self.pop3s, owner=owner, owner_group=group,
            internal="dovecot" if root else owner, internal_group="dovecot" if root else group, login="dovenull" if root else owner))
        self.process = subprocess.Popen(["/usr/sbin/dovecot", "-F", "-c", directory / "conf"], stdin=subprocess.DEVNULL)
        self.wait_for_ports()

    def wait_for_ports(self):
        end = time.monotonic() + PATIENCE
        for port in (self.imaps, self.pop3s):
            while True:
                with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
                    break
                assert time.monotonic() < end and self.process.poll() is None, self.log()
                time.sleep(0.05)

    def log(self):
        return self.log_path.read_text() if self.log_path.exists() else "(no log)"

    def complaints(self):
        return [line for line in self.log().splitlines() if re.search(r"\b(Error|Warning|Fatal|Panic):", line)]

    def context(self):
        return ssl.create_default_context(cafile=self.dir / "cert.pem")

    @contextlib.contextmanager
    def imap(self):
        with imaplib.IMAP4_SSL("localhost", self.imaps, ssl_context=self.context(), timeout=PATIENCE) as session:
            session.login(USER, PASSWORD)
            session.select("INBOX")
            yield session

    @contextlib.contextmanager
    def pop3(self):
        session = poplib.POP3_SSL("localhost", self.pop3s, context=self.context(), timeout=PATIENCE)
        session.user(USER)
        session.pass_(PASSWORD)
        yield session
        session.quit()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE)


@pytest.fixture
def house():
    """(formbridge, Dovecot) over one Maildir, both as the same ordinary user where there is a choice."""
    root = os.geteuid() == 0
    owner = "nobody" if root else pwd.getpwuid(os.geteuid()).pw_name
    with Bridge(start=False) as b:
        b.dir.chmod(0o755)
        home, service = b.dir / "home", b.dir / "dovecot"
        home.mkdir()
        service.mkdir()
        service.chmod(0o755)
        if root:
            shutil.chown(home, owner)
            b.config["bridge"]["user"] = owner
        b.maildir = home / "Maildir"
        b.config["form order"]["deliver"] = f"maildir:{b.maildir}"
        b.write_config()
        b.start()
        dovecot = Dovecot(service, b.maildir, owner)
        try:
            yield b, dovecot
        finally:
            dovecot.stop()


def upload():
    return "Käse & Brot.png", "image/png", b"\x89PNG\r\n\x1a\n" + random.Random(1).randbytes(200000) + b"\n.\r\n"


def order(b):
    """Posts one with a file; returns the receipt once the mail is there."""
    kind, body = multipart([*((n, v.replace("\n", "\r\n")) for n, v in FIELDS), ("photo", *upload())])
    status, _, page = b.post(body, headers={"Content-Type": kind})
    assert status == 200
    b.mail(receipt_in(page))
    return receipt_in(page)


def is_what_was_posted(content, receipt):
    mail = email.message_from_bytes(content, policy=email.policy.default)
    assert mail["X-Formbridge-Ref"] == receipt and mail["Reply-To"] == "ada@example.org"
    assert fields_of(mail) == FIELDS
    assert uploads_of(mail) == [upload()]
    assert not mail.defects


def stored(b, receipt):
    (path,) = [p for p in b.mail_files() if receipt in p.name]
    return path.read_bytes()


def test_an_order_comes_out_over_pop3s(house):
    b, dovecot = house
    receipts = {order(b), order(b)}
    with dovecot.pop3() as session:
        count, total = session.stat()
        assert count == 2
        sizes = [int(line.split()[1]) for line in session.list()[1]]
        for number, size in enumerate(sizes, 1):
            content = b"\r\n".join(session.retr(number)[1]) + b"\r\n"
            assert len(content) == size
            (receipt,) = [r for r in receipts if r.encode() in content]
            assert content == stored(b, receipt).replace(b"\n", b"\r\n")
            is_what_was_posted(content, receipt)
            receipts.remove(receipt)
            session.dele(number)
        assert sum(sizes) == total
    b.wait_until(lambda: b.mail_files() == [], "empty mailbox")
    is_what_was_posted(stored(b, receipt := order(b)), receipt)
    with dovecot.pop3() as session:
        assert session.stat()[0] == 1
    assert dovecot.complaints() == []


def test_an_order_comes_out_over_imaps(house):
    b, dovecot = house
    receipt = order(b)
    with dovecot.imap() as session:
        (head, content), *_ = session.fetch("1", "(FLAGS RFC822.SIZE BODY.PEEK[])")[1]
        assert b"\\Seen" not in head
        assert int(re.search(rb"RFC822\.SIZE (\d+)", head)[1]) == len(content)
        assert content == stored(b, receipt).replace(b"\n", b"\r\n")
        is_what_was_posted(content, receipt)
        (structure,) = session.fetch("1", "(BODYSTRUCTURE)")[1]
        assert b'"attachment"' in structure and b'"image" "png"' in structure
        assert session.search(None, "SUBJECT", f'"{receipt}"')[1] == [b"1"]
    assert dovecot.complaints() == []


def test_the_sizes_in_file_names_are_those_that_dovecot_counts(house):
    b, dovecot = house
    receipts = [order(b) for _ in range(3)]
    counted = subprocess.run(["doveadm", "-c", dovecot.dir / "conf", "-o", "stats_writer_socket_path=", "fetch", "-u", USER,
                              "size.physical size.virtual hdr.x-formbridge-ref", "ALL"], check=True, capture_output=True, text=True).stdout
    pairs = re.findall(r"size\.physical: (\d+)\nsize\.virtual: (\d+)\nhdr\.x-formbridge-ref: (\S+)", counted)
    assert sorted(r for _, _, r in pairs) == sorted(receipts)
    for size, octets, receipt in pairs:
        (path,) = [p for p in b.mail_files() if receipt in p.name]
        assert re.search(rf",S={size},W={octets}(:2,|$)", path.name) and path.stat().st_size == int(size)
    assert dovecot.complaints() == []


def test_deliveries_go_on_while_mail_is_read_flagged_moved_and_deleted(house):
    b, dovecot = house
    first, second, third = order(b), order(b), order(b)
    with dovecot.imap() as session:
        def number(receipt):
            return session.search(None, "HEADER", "X-Formbridge-Ref", receipt)[1][0].decode()

        def visible(count):
            session.noop()
            return len(session.search(None, "ALL")[1][0].split()) == count

        session.store(number(first), "+FLAGS", r"(\Seen \Flagged)")
        session.create("Done")
        session.copy(number(second), "Done")
        session.store(number(second), "+FLAGS", r"(\Deleted)")
        session.expunge()
        fourth = order(b)
        b.wait_until(lambda: visible(3), "the new order in the open session")
        is_what_was_posted(session.fetch(number(fourth), "(BODY.PEEK[])")[1][0][1], fourth)
        flags = session.fetch(number(first), "(FLAGS)")[1][0]
        assert b"\\Seen" in flags and b"\\Flagged" in flags
        session.select("Done")
        is_what_was_posted(session.fetch(number(second), "(BODY.PEEK[])")[1][0][1], second)
        session.select("INBOX")
        assert sorted(map(number, (first, third, fourth))) == ["1", "2", "3"] and number(second) == ""
    b.stop()
    b.start()
    fifth = order(b)
    with dovecot.imap() as session:
        refs = b"".join(part[1] for part in session.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (X-Formbridge-Ref)])")[1][::2])
        assert sorted(re.findall(r"\S+-\S+-\S+", refs.decode().replace("X-Formbridge-Ref:", ""))) == sorted([first, third, fourth, fifth])
    assert dovecot.complaints() == []


def test_a_sealed_order_comes_out_sealed_and_opens_for_its_owner(house, tmp_path):
    b, dovecot = house
    cert, key = tmp_path / "owner.pem", tmp_path / "owner.key"
    subprocess.run(["openssl", "req", "-x509", "-nodes", "-newkey", "rsa:2048", "-keyout", key, "-out", cert, "-days",
                    "30", "-subj", "/CN=owner", "-addext", "subjectAltName=email:owner@example.com"], check=True,
                   capture_output=True)
    b.config["form order"]["encrypt_to"] = cert
    b.write_config()
    b.process.send_signal(signal.SIGHUP)
    b.wait_for_log("reloaded: ")
    receipt = order(b)
    with dovecot.pop3() as session:
        content = b"\r\n".join(session.retr(1)[1]) + b"\r\n"
    assert "ada@example.org".encode() not in content
    sealed = tmp_path / "sealed"
    sealed.write_bytes(content)
    inside = subprocess.run(["openssl", "cms", "-decrypt", "-in", sealed, "-inform", "SMIME", "-recip", cert, "-inkey",
                             key], check=True, capture_output=True).stdout
    is_what_was_posted(inside, receipt)
