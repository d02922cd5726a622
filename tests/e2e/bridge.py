"""Starts the real program with real files in a directory of its own, and talks to it."""

import email
import email.policy
import fcntl
import http.client
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import tempfile
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("FORMBRIDGE", str(ROOT / "formbridge"))
# A prefix such as "valgrind …"; waits are longer under it.
WRAPPER = os.environ.get("FORMBRIDGE_WRAPPER", "").split()
PATIENCE = float(os.environ.get("FORMBRIDGE_PATIENCE", "10"))


PORTS = 4000  # of each worker; all below those that the kernel gives to connections going out
given_ports = (16000 + PORTS * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) + n % PORTS
               for n in range(os.getpid() * 37 % PORTS, 1 << 30))


def free_port():
    """A port that nobody listens on, and that no other test was given: most are opened only later."""
    for port in given_ports:
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass


def make_certificate(directory, kind="ec", name="localhost", days=30, extra=()):
    """A self-signed certificate and its key; returns their paths."""
    cert, key = pathlib.Path(directory) / "cert.pem", pathlib.Path(directory) / "key.pem"
    new = {
        "ec": ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
        "p384": ["ec", "-pkeyopt", "ec_paramgen_curve:P-384"],
        "rsa": ["rsa:2048"],
    }[kind]
    subprocess.run(
        ["openssl", "req", "-x509", "-nodes", "-newkey", *new, "-keyout", key, "-out", cert, "-days", str(days),
         "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name},IP:127.0.0.1", *extra],
        check=True, capture_output=True)
    key.chmod(0o600)
    return cert, key


def build_tool(name, directory, sources=(), flags=()):
    """tests/tools/NAME.c as a program in directory, with what it uses of ours: sources are compiled with flags,
    mostly a sanitizer's, the rest comes from the objects that make has made."""
    program = pathlib.Path(directory) / name
    with open(pathlib.Path(tempfile.gettempdir()) / "formbridge-objects.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.run(["make", "-s", "-C", ROOT, "build/all.a"], check=True)
    libs = subprocess.run(["make", "-s", "-C", ROOT, "libs"], check=True, capture_output=True, text=True).stdout.split()
    subprocess.run(["cc", "-D_GNU_SOURCE", "-std=gnu11", "-O1", "-g", *flags, f"-I{ROOT}", "-o", program,
                    ROOT / "tests" / "tools" / f"{name}.c", *[ROOT / f"{s}.c" for s in sources],
                    ROOT / "build" / "all.a", *libs], check=True)
    return program


SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def preload(bridge, tool, **environment):
    """Has a bridge that has not started yet run with tests/tools/TOOL.c."""
    library = bridge.dir / f"{tool}.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-D_GNU_SOURCE", "-o", library, ROOT / f"tests/tools/{tool}.c"], check=True)
    more = {"LD_PRELOAD": str(library), "ASAN_OPTIONS": "verify_asan_link_order=0", **environment}
    usual = bridge.environment()
    bridge.environment = lambda: usual | more


class Clock:
    """The clock of a bridge that has not started yet, which a test may put ahead: see tests/tools/clock.c."""

    def __init__(self, bridge):
        self.file = bridge.dir / "clock"
        self.file.write_bytes(bytes(8))
        preload(bridge, "clock", CLOCK_FILE=str(self.file))

    def set_ahead(self, seconds):
        with open(self.file, "r+b") as f:  # it is mapped: never shorter for a moment
            f.write(struct.pack("q", seconds))


def comm(pid):
    """What the process calls itself, None if it is gone."""
    try:
        return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return None


class Bridge:
    """One formbridge. config: {"bridge": {…}, "form order": {…}, …}; what is given replaces or, if None, removes."""

    FORM = {"to": "owner@example.com", "from": "website@example.com", "subject": "Order {ref}",
            "reply_to": "{email}", "required": "name"}

    def __init__(self, config=None, kind="ec", directory=None, start=True):
        self.dir = pathlib.Path(directory or tempfile.mkdtemp(prefix="formbridge-test-"))
        self.made = directory is None
        self.maildir = self.dir / "Maildir"
        self.spool = self.dir / "spool"
        self.log_path = self.dir / "log"
        self.port = free_port()
        self.process = None
        if not (self.dir / "cert.pem").exists():
            make_certificate(self.dir, kind)
        self.config = {
            "bridge": {"listen": f"127.0.0.1:{self.port}", "hostname": "localhost",
                       "certificate": self.dir / "cert.pem", "private_key": self.dir / "key.pem",
                       "spool": self.spool},
            "form order": dict(self.FORM, deliver=f"maildir:{self.maildir}"),
        }
        for section, keys in (config or {}).items():
            self.config.setdefault(section, {}).update(keys)
        for section in self.config:
            if section.startswith("form "):  # most tests post the same many times and count mails
                self.config[section].setdefault("once_window", "0")
        self.write_config()
        if start:
            self.start()

    def write_config(self):
        lines = []
        for section, keys in self.config.items():
            lines.append(f"[{section}]")
            lines += [f"{key} = {value}" for key, value in keys.items() if value is not None]
        (self.dir / "config.ini").write_text("\n".join(lines) + "\n")

    popen = staticmethod(subprocess.Popen)

    def start(self, wait=True):
        with open(self.log_path, "ab") as log:
            self.process = self.popen(
                [*WRAPPER, PROGRAM, "-c", str(self.dir / "config.ini")], stderr=log, stdout=log,
                stdin=subprocess.DEVNULL, env=self.environment())
        if wait:
            self.wait_for_log("ready: ", since=self.log_size)

    def environment(self):
        env = dict(os.environ)
        env.pop("JOURNAL_STREAM", None)
        return env

    log_size = 0

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def wait_for_log(self, text, count=1, since=0, seconds=PATIENCE):
        self.wait_until(lambda: self.log()[since:].count(text) >= count, f"{text!r} in the log", seconds)

    def wait_until(self, condition, what, seconds=PATIENCE):
        end = time.monotonic() + seconds
        while not condition():
            if self.process is not None and self.process.poll() is not None and not condition():
                raise AssertionError(f"formbridge ended with {self.process.returncode}, no {what}:\n{self.log()}")
            if time.monotonic() > end:
                raise AssertionError(f"no {what} within {seconds} s:\n{self.log()[-4000:]}")
            time.sleep(0.02)

    def stop(self, sig=signal.SIGTERM, seconds=3 * PATIENCE):
        """Ends the parent and waits for it; returns its exit code."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(sig)
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"formbridge did not end:\n{self.log()[-4000:]}")
        self.process = None
        self.log_size = len(self.log())
        return code

    def roles(self):
        """The processes that the parent has started."""
        pids = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True).stdout.split()
        return [int(p) for p in pids]

    def named(self, role):
        """Those of one role: signer, courier or front."""
        return [p for p in self.roles() if comm(p) == f"fb-{role}"]

    def front(self):
        return self.named("front")[0]

    # What a sanitizer, valgrind or the sandbox says. A role that dies of it is replaced, and a test could pass all the same.
    ALARM = re.compile(r"(?m)^==\d+==.*|.*runtime error: .*|.*forbidden system call.*")

    def close(self):
        try:
            if self.process is not None:
                self.stop()
            assert not self.ALARM.search(self.log()), self.log()[-8000:]
        finally:
            if self.made:
                shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # -- talking to it

    def context(self):
        return ssl.create_default_context(cafile=self.dir / "cert.pem")

    def connect(self, timeout=PATIENCE):
        """A TLS connection, verified."""
        raw = socket.create_connection(("127.0.0.1", self.port), timeout)
        return self.context().wrap_socket(raw, server_hostname="localhost")

    def client(self):
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=PATIENCE, context=self.loose_context())

    def loose_context(self):
        context = self.context()
        context.check_hostname = False  # the name is localhost, the address 127.0.0.1
        return context

    def post(self, fields, form="order", headers=None, client=None):
        """fields: pairs (urlencoded) or bytes; returns (status, headers, body)."""
        body = fields if isinstance(fields, bytes) else urllib.parse.urlencode(fields).encode()
        own = client is None
        client = client or self.client()
        client.request("POST", f"/f/{form}", body,
                       {"Content-Type": "application/x-www-form-urlencoded", **(headers or {})})
        response = client.getresponse()
        answer = response.status, dict(response.getheaders()), response.read()
        if own:
            client.close()
        return answer

    # -- what became of it

    def mail_files(self):
        return sorted(p for d in ("new", "cur") if (self.maildir / d).is_dir() for p in (self.maildir / d).iterdir())

    def mails(self, count=None, seconds=PATIENCE):
        """The messages in the mailbox, once there are count of them."""
        if count is not None:
            self.wait_until(lambda: len(self.mail_files()) >= count, f"{count} mails", seconds)
        return [email.message_from_bytes(p.read_bytes(), policy=email.policy.default) for p in self.mail_files()]

    def mail(self, receipt):
        """The one message with this receipt, once it is there."""
        def found():
            return [p for p in self.mail_files() if receipt in p.name]
        self.wait_until(found, f"mail {receipt}")
        (path,) = found()
        return email.message_from_bytes(path.read_bytes(), policy=email.policy.default)

    def queue(self):
        return sorted(p.name for p in (self.spool / "queue").iterdir())


def text_of(mail):
    """The text part, decoded."""
    return mail.get_body(("plain",)).get_content().replace("\r\n", "\n")


def fields_of(mail):
    """What the text part says was sent, in order: pairs of label and value."""
    fields, text = [], text_of(mail)
    if mail.get_body(("plain",)).get_param("hp-legacy-display"):  # RFC 9788: subject and reply address of a sealed mail
        text = text.split("\n\n", 1)[1]
    for line in text.split("\n"):
        if line == "":
            break  # the footer follows
        if line.startswith("  "):
            fields[-1][1].append(line[2:])
        elif line.startswith('"'):
            label, value = re.fullmatch(r'"((?:[^"\\]|\\.)*)":(.*)', line).groups()
            fields.append((re.sub(r"\\(.)", r"\1", label), [value[1:]] if value else []))
        elif not line.startswith("("):
            label, value = line.split(":", 1)
            fields.append((label, [value[1:]] if value else []))
    return [(label, "\n".join(lines)) for label, lines in fields]


def uploads_of(mail):
    """The attachments, in order: name, type and content."""
    return [(part.get_filename(), part.get_content_type(), part.get_payload(decode=True))
            for part in mail.iter_attachments()]


def receipt_in(text):
    """The one receipt that a page or an answer shows."""
    text = text.decode() if isinstance(text, bytes) else text
    (receipt,) = set(re.findall(r"\b[0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]{4}\b", text))
    return receipt


def multipart(parts, boundary="----WebKitFormBoundary7MA4YWxkTrZu0gW"):
    """(content type, body) as a browser sends it. parts: (name, value) or (name, filename, type, content)."""
    limit, body = b"--" + boundary.encode(), []
    for name, *rest in parts:
        body += [limit, b'\r\nContent-Disposition: form-data; name="', quotable(name), b'"']
        if len(rest) == 3:
            body += [b'; filename="', quotable(rest[0]), b'"\r\nContent-Type: ', to_bytes(rest[1])]
        body += [b"\r\n\r\n", to_bytes(rest[-1]), b"\r\n"]
    return f"multipart/form-data; boundary={boundary}", b"".join(body) + limit + b"--\r\n"


def quotable(name):
    """HTML, multipart/form-data encoding algorithm. Bytes stay as they are."""
    return name if isinstance(name, bytes) else name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A").encode()


def to_bytes(text):
    return text if isinstance(text, bytes) else text.encode()
