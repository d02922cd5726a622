"""A form with encrypt_to: its mail is sealed before it is written anywhere, and there is no other way."""

import email
import email.policy
import os
import pathlib
import re
import signal
import subprocess
import time
import urllib.request

import pytest

from bridge import PROGRAM, Bridge, free_port, multipart, text_of
from rawhttp import metrics

MARKER = "Zwetschgenkuchen-47110815"
OWNER = "owner@example.com"


def openssl(*arguments, **more):
    return subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, **more).stdout


def mail_certificate(directory, name, address=OWNER, key=("rsa:2048",), days=90):
    directory = pathlib.Path(directory)
    directory.mkdir(exist_ok=True)
    cert, private = directory / f"{name}.pem", directory / f"{name}.key"
    openssl("req", "-x509", "-nodes", "-newkey", *key, "-keyout", private, "-out", cert, "-days", str(days),
            "-subj", f"/CN={name}", "-addext", f"subjectAltName=email:{address}")
    private.chmod(0o600)
    return cert, private


EC = ("ec", "-pkeyopt", "ec_paramgen_curve:P-256")


@pytest.fixture
def keys(tmp_path):
    return {"owner": mail_certificate(tmp_path, "owner"), "ec": mail_certificate(tmp_path, "ec", key=EC),
            "sender": mail_certificate(tmp_path, "sender", "website@example.com")}


def opened(path, cert, key):
    """The message inside, as openssl decrypts it."""
    inside = openssl("cms", "-decrypt", "-in", path, "-inform", "SMIME", "-recip", cert, "-inkey", key)
    return email.message_from_bytes(inside, policy=email.policy.default)


def seal(keys, who="owner", **more):
    return {"form order": {"encrypt_to": keys[who][0], **more}}


def test_a_certificate_of_ones_own_is_whole_or_not_there(tmp_path):
    (tmp_path / "a@example.com.pem").write_text("an old one")
    done = subprocess.run([PROGRAM, "smime", "self", "a@example.com"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 73 and "a@example.com.pem" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["a@example.com.pem"]  # no key whose password nobody was told


@pytest.mark.parametrize("who,profile", [("owner", "compatible"), ("owner", "modern"), ("ec", "compatible")])
def test_only_the_owner_can_read_the_mail(keys, who, profile):
    upload = os.urandom(100_001)
    with Bridge(seal(keys, who, smime_profile=profile)) as b:
        kind, body = multipart([("name", MARKER), ("email", "ada@example.com"), ("photo", "ä.bin", "image/png", upload)])
        status, _, _ = b.post(body, headers={"Content-Type": kind})
        assert status == 200
        b.mails(1)
        path = b.mail_files()[0]
        outside = path.read_bytes()
        assert MARKER.encode() not in outside and b"ada@example.com" not in outside
        assert email.message_from_bytes(outside, policy=email.policy.default)["Subject"].startswith("order: ")
        inside = opened(path, *keys[who])
        assert inside["Subject"].startswith("Order ") and inside["Reply-To"] == "ada@example.com"
        assert text_of(inside).startswith(f"Subject: {inside['Subject']}\nReply-To: ada@example.com\n\nname: {MARKER}\n")
        assert inside.get_body(("plain",)).get_param("hp-legacy-display") == "1"
        assert [a.get_content() for a in inside.iter_attachments()] == [upload]


def test_a_signed_mail_verifies_and_the_front_has_no_key(keys, tmp_path):
    cert, key = keys["sender"]
    with Bridge(seal(keys, sign_cert=cert, sign_key=key)) as b:
        for pid in b.roles():
            held = [os.readlink(p) for p in pathlib.Path(f"/proc/{pid}/fd").iterdir()]
            assert not any(str(key) in h for h in held)
        assert b.post([("name", MARKER)])[0] == 200
        b.mails(1)
        signed = tmp_path / "signed"
        signed.write_bytes(openssl("cms", "-decrypt", "-in", b.mail_files()[0], "-inform", "SMIME", "-recip",
                                   keys["owner"][0], "-inkey", keys["owner"][1]))
        content = openssl("cms", "-verify", "-in", signed, "-inform", "SMIME", "-CAfile", cert)
        assert MARKER in text_of(email.message_from_bytes(content, policy=email.policy.default))
        assert openssl("cms", "-verify", "-in", signed, "-inform", "SMIME", "-CAfile", cert, "-signer",
                       tmp_path / "by") and "website@example.com" in openssl(
                           "x509", "-in", tmp_path / "by", "-noout", "-ext", "subjectAltName").decode()


def test_nothing_of_the_clear_text_reaches_the_disk(keys):
    """Every write of every process, while a submission is read, stored and delivered."""
    with Bridge(seal(keys)) as b:
        trace = b.dir / "trace"
        tracers = [subprocess.Popen(["strace", "-f", "-qq", "-xx", "-s", "200000", "-e",
                                     "trace=openat,write,pwrite64,writev,copy_file_range,sendfile", "-o",
                                     f"{trace}.{pid}", "-p", str(pid)], stderr=subprocess.DEVNULL)
                   for pid in b.roles()]
        time.sleep(1)
        kind, body = multipart([("name", MARKER), ("f", "f.txt", "text/plain", MARKER.encode() * 5000)])
        assert b.post(body, headers={"Content-Type": kind})[0] == 200
        b.mails(1)
        for t in tracers:
            t.send_signal(signal.SIGINT)
            t.wait(10)
        written = "".join(p.read_text() for p in b.dir.glob("trace.*"))
        assert "write(" in written, "the control: writes were seen"
        assert "".join(f"\\x{c:02x}" for c in MARKER.encode()) not in written
        for p in b.dir.rglob("*"):
            if p.is_file() and not p.name.startswith("trace"):
                assert MARKER.encode() not in p.read_bytes(), p


def broken(tmp_path, keys):
    """name → (encrypt_to, to): none of these may ever lead to a mail in clear."""
    garbage, empty = tmp_path / "garbage.pem", tmp_path / "empty.pem"
    garbage.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    empty.write_text("")
    weak = mail_certificate(tmp_path, "weak", key=("rsa:1024",))[0]
    expired = tmp_path / "expired.pem"
    subprocess.run(["openssl", "x509", "-in", keys["owner"][0], "-signkey", keys["owner"][1], "-days", "-1", "-out",
                    expired], check=True, capture_output=True)
    both = tmp_path / "key-in-it.pem"
    both.write_bytes(keys["owner"][0].read_bytes() + keys["owner"][1].read_bytes())
    return {"missing": (tmp_path / "no.pem", OWNER), "garbage": (garbage, OWNER), "empty": (empty, OWNER),
            "weak": (weak, OWNER), "expired": (expired, OWNER), "holds the key": (both, OWNER),
            "another address": (keys["owner"][0], "else@example.com"),
            "one recipient lacks one": (keys["owner"][0], f"{OWNER} second@example.com")}


@pytest.mark.parametrize("case", ["missing", "garbage", "empty", "weak", "holds the key", "another address",
                                  "one recipient lacks one"])
def test_a_certificate_that_fails_is_found_before_anything_is_served(tmp_path, keys, case):
    encrypt_to, to = broken(tmp_path, keys)[case]
    b = Bridge({"form order": {"encrypt_to": encrypt_to, "to": to}}, start=False)
    try:
        b.start(wait=False)
        assert b.process.wait(20) == 78
        assert "form order: " in b.log()
        assert not b.mail_files()
    finally:
        b.close()


def test_a_start_with_a_certificate_that_has_expired_is_one_without_that_form(tmp_path, keys):
    """After a restart of the machine at night the other forms serve."""
    encrypt_to, to = broken(tmp_path, keys)["expired"]
    with Bridge({"form order": {"encrypt_to": encrypt_to, "to": to}}, start=False) as b:
        admin = free_port()
        b.config["bridge"]["admin_listen"] = f"127.0.0.1:{admin}"
        b.config["form other"] = {**Bridge.FORM, "deliver": f"maildir:{b.maildir}"}
        b.write_config()
        b.start()
        assert re.search("error: form order: .*expired on", b.log())
        assert 0 < metrics(admin)["smime_expires_seconds"] < time.time()
        status, headers, body = b.post([("name", MARKER)])
        assert status == 503 and "Retry-After" in headers and b"stored" in body
        assert not b.mail_files() and not b.queue() and not list((b.spool / "tmp").iterdir())
        assert "could not be stored" not in b.log() and metrics(admin)["submissions_failing_since_seconds"] == 0
        with urllib.request.urlopen(f"http://127.0.0.1:{admin}/readyz", timeout=10) as ready:
            assert ready.status == 200, "the spool is well, and other forms take posts"
        assert b.post([("name", "Ada")], "other")[0] == 200
        b.mails(1)
        assert subprocess.run([PROGRAM, "-c", b.dir / "config.ini", "check"], capture_output=True).returncode == 78
        b.process.send_signal(signal.SIGHUP)
        b.wait_for_log("the old set of roles stays")


def test_a_reload_with_a_broken_certificate_leaves_the_old_set_sealing(keys, tmp_path):
    cert = tmp_path / "in-use.pem"
    cert.write_bytes(keys["owner"][0].read_bytes())
    with Bridge({"form order": {"encrypt_to": cert}}) as b:
        cert.write_text("gone wrong\n")
        b.process.send_signal(signal.SIGHUP)
        b.wait_for_log("the old set of roles stays")
        assert b.post([("name", MARKER)])[0] == 200
        b.mails(1)
        assert MARKER in text_of(opened(b.mail_files()[0], *keys["owner"]))


def test_a_certificate_that_expires_while_running_stops_the_form_not_the_encryption(keys, tmp_path):
    """A certificate with seconds to live."""
    ca = tmp_path / "short.cnf"
    ca.write_text("[ca]\ndefault_ca=d\n[d]\ndatabase=%s\nserial=%s\nnew_certs_dir=%s\ndefault_md=sha256\npolicy=p\n"
                  "x509_extensions=e\n[p]\ncommonName=supplied\n[e]\nsubjectAltName=email:%s\n"
                  % (tmp_path / "db", tmp_path / "serial", tmp_path, OWNER))
    (tmp_path / "db").write_text("")
    (tmp_path / "serial").write_text("01\n")
    request, cert = tmp_path / "short.csr", tmp_path / "short.pem"
    openssl("req", "-new", "-key", keys["owner"][1], "-subj", "/CN=short", "-out", request)
    end = time.time() + 8
    stamp = time.strftime("%y%m%d%H%M%SZ", time.gmtime(end))
    openssl("ca", "-config", ca, "-batch", "-selfsign", "-keyfile", keys["owner"][1], "-in", request, "-out", cert,
            "-enddate", stamp, "-notext")
    with Bridge({"form order": {"encrypt_to": cert}}) as b:
        while time.time() < end + 1.5:
            time.sleep(0.1)
        status, headers, body = b.post([("name", MARKER)])
        assert status == 503 and "Retry-After" in headers and b"stored" in body
        b.wait_for_log("its mail cannot be encrypted")
        assert not b.mail_files() and not b.queue() and not list((b.spool / "tmp").iterdir())


def test_the_command_says_what_a_certificate_is_good_for(keys, tmp_path):
    good = subprocess.run([PROGRAM, "smime", keys["owner"][0]], capture_output=True, text=True)
    assert good.returncode == 0 and OWNER in good.stdout
    bad = subprocess.run([PROGRAM, "smime", broken(tmp_path, keys)["expired"][0]], capture_output=True, text=True)
    assert bad.returncode == 65


def test_an_owner_without_a_certificate_gets_one_that_works(tmp_path):
    made = subprocess.run([PROGRAM, "smime", "self", OWNER], cwd=tmp_path, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    password = made.stdout.split()[-1]
    cert, key = tmp_path / f"{OWNER}.pem", tmp_path / "key.pem"
    key.write_bytes(openssl("pkcs12", "-in", tmp_path / f"{OWNER}.p12", "-nodes", "-nocerts", "-passin",
                            f"pass:{password}"))
    assert (tmp_path / f"{OWNER}.p12").stat().st_mode & 0o077 == 0
    again = subprocess.run([PROGRAM, "smime", "self", OWNER], cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode != 0, "never over what is there"
    with Bridge({"form order": {"encrypt_to": cert}}) as b:
        assert b.post([("name", MARKER)])[0] == 200
        b.mails(1)
        assert MARKER in text_of(opened(b.mail_files()[0], cert, key))
