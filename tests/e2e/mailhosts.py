"""Mail hosts to talk to: certificates made at run time, a scripted SMTP server that records what reaches it, real Postfix
and Dovecot on loopback, and the driver that sends one message through smtp.c."""

import datetime
import ipaddress
import os
import pathlib
import pwd
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from bridge import SANITIZE, build_tool, free_port  # noqa: F401

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCES = "buf log date curve hello tls der pem x509 algid x509_self value wire auth anchors trust lookup dial talk smtp".split()
NAME = "mail.example.com"
NOW = datetime.datetime.utcnow().replace(microsecond=0)
DAY = datetime.timedelta(days=1)
HEADER = (
    b"Date: Sat, 21 Nov 2026 23:52:16 +0000\nFrom: website@example.com\nTo: orders@example.com\nSubject: Order\n"
    b"Message-ID: <7K2M@forms.example.com>\n\n"
)
MESSAGE = (
    HEADER + b"Name: Ada\n.\n..two dots\n.one dot\n\nThe end\n"
)


@pytest.fixture(scope="session")
def workdir():
    """A directory that unprivileged daemons can enter."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="fb"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def sendone(workdir):
    """send(**keys) -> [(what, outcome, reason), ...]"""
    tool = build_tool("sendone", workdir, SOURCES, SANITIZE)
    message = workdir / "message"
    message.write_bytes(MESSAGE)

    def send(to=("orders@example.com",), **keys):
        keys = {"from": "website@example.com", "file": message, "timeout": 10} | keys
        words = [tool]
        for key, value in keys.items():
            values = value if isinstance(value, (list, tuple)) else [value]
            words += [f"{key}={v}" for v in values]
        words += [f"to={address}" for address in to]
        done = subprocess.run(words, capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr.decode()
        return [tuple(line.split("\t")) for line in done.stdout.decode().splitlines()]

    return send


# ---- certificates ----------------------------------------------------------------------------------------------


def new_key(kind="ec"):
    if kind == "ec":
        return ec.generate_private_key(ec.SECP256R1())
    if kind == "p384":
        return ec.generate_private_key(ec.SECP384R1())
    return rsa.generate_private_key(65537, int(kind))


def subject(common_name):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


class Certificate:
    """A certificate and its key; signs others."""

    def __init__(
        self,
        cn,
        issuer=None,
        names=(),
        addresses=(),
        ca=False,
        start=-1,
        end=30,
        key="ec",
        purposes=None,
        hash=hashes.SHA256(),
        extensions=(),
    ):
        self.name = subject(cn)
        self.key = new_key(key)
        self.issuer = issuer or self
        builder = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(self.issuer.name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW + start * DAY)
            .not_valid_after(NOW + end * DAY)
            .add_extension(x509.BasicConstraints(ca, None), critical=True)
        )
        san = [x509.DNSName(n) for n in names] + [x509.IPAddress(ipaddress.ip_address(a)) for a in addresses]
        if san:
            builder = builder.add_extension(x509.SubjectAlternativeName(san), critical=False)
        if purposes is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        self.certificate = builder.sign(self.issuer.key, hash)

    def pem(self):
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def key_pem(self):
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def pin(self):
        digest = hashes.Hash(hashes.SHA256())
        digest.update(
            self.key.public_key().public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )
        return digest.finalize().hex()


class Files:
    """The PEM files of a host: its chain with its key, and what clients trust."""

    def __init__(self, directory, leaf, above=(), trusted=()):
        directory = pathlib.Path(tempfile.mkdtemp(dir=directory))
        directory.chmod(0o755)
        self.chain = directory / "chain.pem"
        self.trust = directory / "trust.pem"
        self.chain.write_bytes(leaf.key_pem() + leaf.pem() + b"".join(c.pem() for c in above))  # Postfix wants the key first
        self.trust.write_bytes(b"".join(c.pem() for c in trusted))
        self.leaf = leaf


SERVER = [ExtendedKeyUsageOID.SERVER_AUTH]


@pytest.fixture(scope="session")
def good(workdir):
    root = Certificate("Example Root", ca=True)
    leaf = Certificate(NAME, root, names=[NAME], purposes=SERVER)
    return Files(workdir, leaf, [], [root])


# ---- a scripted server ---------------------------------------------------------------------------------------------

EOF, SILENCE, PLAINTEXT = "EOF", "SILENCE", "PLAINTEXT"  # instead of an answer

ANSWERS = {
    "GREETING": b"220 mail.example.com ESMTP\r\n",
    "EHLO": b"250-mail.example.com\r\n250-SIZE 1000000\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250 STARTTLS\r\n",
    "STARTTLS": b"220 go ahead\r\n",
    "EHLO-TLS": b"250-mail.example.com\r\n250-SIZE 1000000\r\n250-8BITMIME\r\n250 AUTH PLAIN\r\n",
    "HELO": b"250 mail.example.com\r\n",
    "LHLO": b"250-mail.example.com\r\n250 PIPELINING\r\n",
    "AUTH": b"334 \r\n",
    "CHALLENGE": b"235 2.7.0 welcome\r\n",
    "MAIL": b"250 2.1.0 ok\r\n",
    "RCPT": b"250 2.1.5 ok\r\n",
    "DATA": b"354 go ahead\r\n",
    "BODY": b"250 2.0.0 queued as 1\r\n",
    "RSET": b"250 2.0.0 ok\r\n",
    "QUIT": b"221 2.0.0 bye\r\n",
}


class Connection:
    """Bytes to and from a client, in clear or under TLS; keeps all that came, as it was on the wire too."""

    def __init__(self, sock):
        self.sock, self.tls = sock, None
        self.wire, self.clear, self.secret, self.unread = b"", b"", b"", b""

    def start_tls(self, context):
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.incoming.write(self.unread)
        self.unread = b""
        tls = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        self.run(tls.do_handshake)
        self.tls = tls

    def run(self, step, *args):
        while True:
            try:
                result = step(*args)
                self.sock.sendall(self.outgoing.read())
                return result
            except ssl.SSLWantReadError:
                self.sock.sendall(self.outgoing.read())
                data = self.sock.recv(65536)
                self.wire += data
                self.incoming.write(data) if data else self.incoming.write_eof()
            except ssl.SSLError:
                self.sock.sendall(self.outgoing.read())  # the alert
                raise

    def receive(self):
        if self.tls:
            data = self.run(self.tls.read, 65536)
            self.secret += data
        else:
            data = self.sock.recv(65536)
            self.wire += data
            self.clear += data
        return data

    def send(self, data):
        self.run(self.tls.write, data) if self.tls else self.sock.sendall(data)

    def line(self):
        while b"\r\n" not in self.unread:
            data = self.receive()
            if not data:
                return None
            self.unread += data
        line, self.unread = self.unread.split(b"\r\n", 1)
        return line

    def body(self):
        while not ("\r\n" + self.unread.decode("latin-1")).endswith("\r\n.\r\n"):
            data = self.receive()
            if not data:
                return None
            self.unread += data
        body, self.unread = self.unread, b""
        return body


class Server:
    """Answers as ANSWERS says, except where the script overrides it: a state's bytes, EOF, SILENCE, a function of the
    connection that returns whether to go on, or a list of these for one time each."""

    def __init__(self, files, implicit=True, context=None, **script):
        self.implicit = implicit
        self.script = {key.replace("_", "-"): value for key, value in script.items()}
        self.context = context
        if files is not None and context is None:
            self.context = tls_context(files)
        self.connections, self.bodies, self.errors = [], [], []
        self.lines = []
        self.stopping = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.accept, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(10)

    def accept(self):
        while not self.stopping.is_set():
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            with sock:
                sock.settimeout(20)
                connection = Connection(sock)
                self.connections.append(connection)
                try:
                    self.serve(connection)
                except (ssl.SSLError, OSError) as error:
                    self.errors.append(error)

    def answer(self, c, state):
        """False: the conversation is over."""
        action = self.script.get(state, ANSWERS[state])
        if isinstance(action, list):
            action = action.pop(0) if action else ANSWERS[state]
        self.last = action if isinstance(action, bytes) else ANSWERS[state]
        if action == EOF:
            return False
        if callable(action):
            return action(c)
        if action == SILENCE:
            while c.receive():
                pass
            return False
        c.send(action)
        return True

    def serve(self, c):
        if self.implicit and self.context:
            c.start_tls(self.context)
        going = self.answer(c, "GREETING")
        while going:
            line = c.line()
            if line is None:
                return
            self.lines.append(line.decode())
            going = self.obey(c, line.split(b" ")[0].decode().upper())

    def obey(self, c, verb):
        if verb == "EHLO" and c.tls:
            return self.answer(c, "EHLO-TLS")
        if verb == "STARTTLS":
            if not self.answer(c, verb):
                return False
            if self.script.get("AFTER-STARTTLS") == PLAINTEXT:
                c.send(b"250 go on in clear\r\n")
                c.receive()
                return False
            if self.last.startswith(b"220"):
                c.start_tls(self.context)
            return True
        if verb == "AUTH":
            if not self.answer(c, verb):
                return False
            if self.last.startswith(b"334"):
                line = c.line()
                self.lines.append((line or b"").decode())
                return line is not None and self.answer(c, "CHALLENGE")
            return True
        if verb == "DATA":
            if not self.answer(c, verb):
                return False
            if self.last.startswith(b"354"):
                body = c.body()
                if body is None:
                    return False
                self.bodies.append(body)
                return self.answer(c, "BODY")
            return True
        return self.answer(c, verb)

    def said(self, verb):
        return [line for line in self.lines if line.upper().startswith(verb)]


def tls_context(files, version=ssl.TLSVersion.TLSv1_2):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = context.maximum_version = version
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20:@SECLEVEL=0")
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    context.load_cert_chain(files.chain)
    return context


def application_records(wire):
    """How many TLS records of application data (RFC 5246 §6.2.1, type 23) a client sent."""
    count = 0
    while len(wire) >= 5:
        count += wire[0] == 23
        wire = wire[5 + int.from_bytes(wire[3:5], "big") :]
    return count


def assert_nothing_sent(server):
    """Not one byte of AUTH, the envelope or the message: neither in clear nor under TLS."""
    for c in server.connections:
        clear = [line.split(b" ")[0] for line in c.clear.split(b"\r\n") if line]
        assert set(clear[:2]) <= {b"EHLO", b"STARTTLS"}, clear
        assert b"MAIL" not in c.wire and b"AUTH" not in c.wire and b"Ada" not in c.wire
        assert c.secret == b""
        start = c.wire.find(b"STARTTLS\r\n")
        assert application_records(c.wire[start + 10 if start >= 0 else 0 :]) == 0


# ---- real daemons -----------------------------------------------------------------------------------------------------


def wait_until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        result = condition()
        if result:
            return result
        time.sleep(0.05)
    raise TimeoutError("waited in vain")


def listening(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


class Dovecot:
    """SASL for Postfix, and LMTP over a unix socket into Maildirs."""

    USER, PASSWORD = "website", "correct horse,battery=staple"

    def __init__(self, home):
        self.home = home
        self.lmtp = home / "lmtp"
        self.auth = home / "auth"
        self.mail = home / "mail"
        self.mail.mkdir()
        os.chown(self.mail, 65534, 65534)
        (home / "users").write_text(f"{self.USER}:{{PLAIN}}{self.PASSWORD}\n")
        (home / "users").chmod(0o644)
        (home / "dovecot.conf").write_text(
            f"""
protocols = lmtp
base_dir = {home}/run
log_path = {home}/log
ssl = no
first_valid_uid = 1
mail_location = maildir:{self.mail}/%n
auth_mechanisms = plain login scram-sha-256
auth_username_format = %n
passdb {{
  driver = passwd-file
  args = {home}/users
}}
userdb {{
  driver = static
  args = uid=65534 gid=65534 home={self.mail}/%n allow_all_users=yes
}}
service auth {{
  unix_listener {self.auth} {{
    mode = 0666
  }}
}}
service lmtp {{
  unix_listener {self.lmtp} {{
    mode = 0666
  }}
}}
"""
        )

    def __enter__(self):
        self.process = subprocess.Popen(["dovecot", "-c", self.home / "dovecot.conf", "-F"])
        wait_until(lambda: self.lmtp.exists() and self.auth.exists())
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(20)


class Postfix:
    """Submission over TLS from the first byte and over STARTTLS, with a login or without; delivers into Maildirs."""

    def __init__(self, home, files, sasl_socket):
        self.home, self.mail = home, home / "mail"
        self.implicit, self.starttls, self.open = free_port(), free_port(), free_port()
        self.config = home / "etc"
        owner = pwd.getpwnam("postfix").pw_uid
        for name in ("etc", "data", "queue", "mail"):
            (home / name).mkdir()
        os.chown(home / "data", owner, 0)
        os.chown(self.mail, 65534, 65534)
        login = "-o smtpd_sasl_auth_enable=yes -o smtpd_client_restrictions=permit_sasl_authenticated,reject"
        (self.config / "master.cf").write_text(
            f"""
127.0.0.1:{self.implicit} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes {login}
127.0.0.1:{self.starttls} inet n - n - - smtpd -o smtpd_tls_security_level=encrypt {login}
127.0.0.1:{self.open} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes
cleanup unix n - n - 0 cleanup
qmgr unix n - n 2 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
virtual unix - n n - - virtual
tlsmgr unix - - n 1000? 1 tlsmgr
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""
        )
        (self.config / "main.cf").write_text(
            f"""
compatibility_level = 3.6
queue_directory = {home}/queue
data_directory = {home}/data
daemon_directory = /usr/lib/postfix/sbin
command_directory = /usr/sbin
maillog_file = {home}/log
maillog_file_prefixes = {home}
myhostname = {NAME}
mydestination =
mynetworks =
inet_protocols = ipv4
alias_maps =
local_recipient_maps =
virtual_mailbox_domains = example.com
virtual_mailbox_maps = inline:{{ orders@example.com=orders/, other@example.com=other/ }}
virtual_mailbox_base = {self.mail}
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
smtpd_tls_chain_files = {files.chain}
smtpd_tls_auth_only = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = {sasl_socket}
smtpd_recipient_restrictions = reject_unauth_destination
smtpd_error_sleep_time = 0
message_size_limit = 200000
mailbox_size_limit = 0
virtual_mailbox_limit = 0
queue_run_delay = 2s
minimal_backoff_time = 2s
maximal_backoff_time = 2s
"""
        )

    def __enter__(self):
        subprocess.run(["postfix", "-c", self.config, "check"], check=True)
        self.process = subprocess.Popen(["/usr/lib/postfix/sbin/master", "-c", self.config, "-d"])
        wait_until(lambda: listening(self.implicit) and listening(self.starttls) and listening(self.open))
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(20)


def new_mail(directory):
    """The messages in a Maildir, and out of it."""
    found = [(p, p.read_bytes()) for p in sorted(directory.glob("new/*"))]
    for path, _ in found:
        path.unlink()
    return [content for _, content in found]
