"""HTTP byte by byte: requests as they are written here, and every answer that came back."""

import http.client
import io
import re
import socket
import struct
import urllib.request

BODY = b"name=Ada"
NEEDED = {  # on every answer of the https side, whoever wrote it
    "strict-transport-security": "max-age=31536000",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


def head(line=b"POST /f/order HTTP/1.1", length=len(BODY), *more):
    """A head whose fields all stand as they should; length None leaves Content-Length out."""
    fields = [b"Host: localhost", b"Content-Type: application/x-www-form-urlencoded"]
    if length is not None:
        fields.append(b"Content-Length: %d" % length)
    return b"\r\n".join([line, *fields, *more, b"", b""])


def post(body=BODY, *more):
    return head(b"POST /f/order HTTP/1.1", len(body), *more) + body


class Answer:
    def __init__(self, status, headers, body, interim=()):
        self.status, self.headers, self.body, self.interim = status, headers, body, interim

    def __repr__(self):
        return f"<{self.status} {self.headers} {self.body[:60]!r}>"


class Reader:
    """Takes answers off a connection one by one."""

    def __init__(self, connection):
        self.connection, self.pending = connection, b""

    def more(self):
        got = self.connection.recv(65536)
        self.pending += got
        return len(got) > 0

    def answer(self, head_only=False):
        """The next answer, or None at a clean end of the stream."""
        interim = []
        while True:
            while b"\r\n\r\n" not in self.pending:
                if not self.more():
                    assert self.pending == b"", f"the stream ends inside an answer: {self.pending!r}"
                    return None
            top, self.pending = self.pending.split(b"\r\n\r\n", 1)
            lines = top.split(b"\r\n")
            match = re.fullmatch(rb"HTTP/1\.1 (\d{3}) [ -~]+", lines[0])
            assert match, lines[0]
            status = int(match[1])
            if status >= 200:
                break
            interim.append(status)
        headers = {}
        for line in lines[1:]:
            name, value = line.decode("ascii").split(": ", 1)
            assert name.lower() not in headers, f"{name} stands twice"
            headers[name.lower()] = value
        length = 0 if head_only or status == 204 else int(headers["content-length"])
        while len(self.pending) < length:
            assert self.more(), "the stream ends inside a body"
        body, self.pending = self.pending[:length], self.pending[length:]
        return Answer(status, headers, body, interim)

    def rest(self):
        """All answers until the server ends the connection."""
        answers = []
        while (a := self.answer()) is not None:
            answers.append(a)
        return answers


def strict(bridge, **options):
    """A TLS connection on which an end without close_notify is an error."""
    raw = socket.create_connection(("127.0.0.1", bridge.port), options.pop("timeout", 20))
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return bridge.context().wrap_socket(raw, server_hostname="localhost", suppress_ragged_eofs=False, **options)


def exchange(bridge, request):
    """Sends all of it and returns every answer until the server closes."""
    with strict(bridge) as c:
        c.sendall(request)
        return Reader(c).rest()


def one(bridge, request, head_only=False):
    """Sends it and returns the first answer; then leaves."""
    with strict(bridge) as c:
        c.sendall(request)
        return Reader(c).answer(head_only)


def reset(sock):
    """Leaves with RST in place of FIN."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def metrics(port):
    """{name: value} of admin_listen; those of a form are 'name{form="order"}'."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as r:
        text = r.read().decode("ascii")
    return {name[len("formbridge_"):]: int(value) for name, value in
            (line.split(" ") for line in text.splitlines() if not line.startswith("#"))}


def stored(bridge):
    """How many submissions are in the spool or delivered; one that is just being delivered may be in both places."""
    names = [p.name for d in ("queue", "held") for p in (bridge.spool / d).glob("*")]
    names += [p.name for p in bridge.mail_files()]
    return len({re.search(r"[0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]{4}", name)[0] for name in names})


def multipart(parts, boundary=b"xYzZy"):
    """[(name, value) or (name, filename, type, bytes)] as a browser would write it: (content type, body)."""
    out = io.BytesIO()
    for part in parts:
        out.write(b"--" + boundary + b"\r\n")
        if len(part) == 2:
            out.write(b'Content-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % part)
        else:
            out.write(b'Content-Disposition: form-data; name="%s"; filename="%s"\r\nContent-Type: %s\r\n\r\n%s\r\n'
                      % part)
    out.write(b"--" + boundary + b"--\r\n")
    return b"multipart/form-data; boundary=" + boundary, out.getvalue()
