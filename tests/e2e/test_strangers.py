"""Visitors of all manners at once, over every kind of listener: an answer and a mail have what is their own visitor's and
nothing of another's, though one parser serves them all in turn."""

import collections
import itertools
import random
import re
import socket
import threading
import time

import pytest

from bridge import Bridge, free_port
from rawhttp import Reader, reset

SECONDS = 8
VISITORS = 24
MARK = re.compile(rb"M[0-9a-f]{12}X")
RECEIPT = re.compile(rb"[0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]{4}")
PATIENCE = 25

# What nobody asked for, if it is ever read as a request.
INNER = (b"POST /f/order HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 192.0.2.9\r\nX-Forwarded-Proto: https\r\n"
         b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 13\r\n\r\nname=SMUGGLED")

BAD_HEADS = [
    b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked\r\nContent-Length: 5", b"Transfer-Encoding: identity",
    b"Transfer-Encoding: \x0bchunked", b"X: y\r\n\tTransfer-Encoding: chunked", b"Content-Length: 5\r\nContent-Length: 6",
    b"Content-Length: 5\r\nContent-Length: 5", b"Content-Length : 5", b"Content-Length: 5\nX: y", b"Content-Length:\r\n 5",
    b"Content-Length: +5", b"Content-Length: 5, 5", b"Content-Length: 0x5", b"Content-Length: 5\r\nX: a\0b",
    b"Content-Length: 5\r\nX: a\rb", b"Content-Length: 99999999999999999999", b"Content-Length", b"\0: x",
    b"Content-Length: 5\r\nX: " + b"y" * 9000, b"Content-Length: 5\r\nExpect: 200-ok",
]


class Record:
    """What everybody saw."""

    def __init__(self):
        self.lock = threading.Lock()
        self.wrong = []
        self.numbers = itertools.count(1)
        self.receipts = {}  # whose mark each has
        self.addresses = {}
        self.keyed = collections.defaultdict(set)  # the receipts of each key
        self.statuses = collections.Counter()

    def complain(self, *words):
        with self.lock:
            self.wrong.append(" ".join(map(str, words))[:600])

    def accepted(self, receipt, mark):
        with self.lock:
            if self.receipts.setdefault(receipt, mark) != mark:
                self.wrong.append(f"{receipt} was given to {mark} and to {self.receipts[receipt]}")


class Left(Exception):
    """This connection is over, as it was meant to be."""


class Visitor:
    def __init__(self, bridge, record, chance):
        self.bridge, self.record, self.chance = bridge, record, chance
        self.kind = chance.choice(["tls", "tls", "proxy", "plain"])
        self.address = f"127.{chance.randrange(1, 60)}.{chance.randrange(256)}.{chance.randrange(1, 250)}"
        port = {"tls": bridge.port, "proxy": bridge.proxied, "plain": bridge.plain}[self.kind]
        raw = socket.create_connection(("127.0.0.1", port), PATIENCE, (self.address, 0) if self.kind == "tls" else None)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.kind == "proxy":
            raw.sendall(b"PROXY TCP4 %s 192.0.2.1 50000 443\r\n" % self.address.encode())
        self.socket = raw if self.kind == "plain" else bridge.tls.wrap_socket(raw, server_hostname="localhost")
        self.reader = Reader(self.socket)

    # ---- requests

    def new_mark(self):
        with self.record.lock:
            return b"M%012xX" % next(self.record.numbers)

    def head_of(self, mark, line):
        """Over a proxy's connection each request is another visitor's."""
        fields = [line, b"Host: localhost", b"Cookie: c=" + mark]
        if self.kind == "plain":
            self.address = f"198.51.{self.chance.randrange(256)}.{self.chance.randrange(1, 250)}"
            fields += [b"X-Forwarded-For: " + self.address.encode(), b"X-Forwarded-Proto: https"]
        with self.record.lock:
            self.record.addresses[mark] = self.address.encode()
        return b"\r\n".join(fields) + b"\r\n"

    def request(self, mark, body, path=b"/f/order", method=b"POST", more=b"", version=b"1.1",
                content=b"application/x-www-form-urlencoded"):
        return (self.head_of(mark, b"%s %s HTTP/%s" % (method, path, version)) + more +
                b"Content-Type: %s\r\nContent-Length: %d\r\n\r\n" % (content, len(body)) + body)

    def form(self, mark, *sizes):
        size = self.chance.choice(sizes or (0, 10, 500, 3000, 9000, 17000, 40000, 150000))
        return b"name=%s&message=%s+%s+%s" % (mark, mark, b"w" * size, mark)

    def send(self, data):
        """At once, or in pieces as a network brings them."""
        at = 0
        while at < len(data):
            n = len(data) if len(data) > 60000 or at == 0 and self.chance.random() < .6 else \
                self.chance.choice([1, 7, 300, 2000, 9000])
            self.socket.sendall(data[at:at + n])
            at += n
            if self.chance.random() < .1:
                time.sleep(self.chance.random() * .003)

    def send_if_it_lasts(self, data):
        try:
            self.send(data)
        except OSError:
            raise Left from None

    # ---- answers

    def check(self, answer, mark, *statuses, what):
        if answer is None:
            self.record.complain(what, self.kind, "no answer")
            raise Left
        with self.record.lock:
            self.record.statuses[f"{what} {answer.status}"] += 1
        found = set(MARK.findall(answer.body + repr(answer.headers).encode()))
        if found - {mark}:
            self.record.complain(what, self.kind, mark, "got what is of", found)
        if answer.status not in statuses:
            self.record.complain(what, self.kind, answer.status)
        if answer.status == 422 and mark not in answer.body:
            self.record.complain(what, self.kind, "was sent back without its own field")
        if answer.status == 200 and what.startswith("post"):
            receipt = RECEIPT.search(answer.body)
            if receipt is None:
                self.record.complain(what, self.kind, "no receipt")
            else:
                self.record.accepted(receipt[0], mark)

    def expect_end(self, what):
        try:
            if self.reader.answer() is not None:
                self.record.complain(what, self.kind, "one answer too many")
        except OSError:  # not all that was sent was read
            pass
        raise Left

    def leave(self):
        how = self.chance.randrange(3)
        if how == 0:
            reset(self.socket)
        elif how == 1 and self.kind == "plain":
            self.socket.shutdown(socket.SHUT_WR)
        self.socket.close()
        raise Left

    # ---- manners

    def posts(self):
        mark = self.new_mark()
        more = self.chance.choice([b"", b"Accept: application/json\r\n"])
        self.send(self.request(mark, self.form(mark), more=more))
        self.check(self.reader.answer(), mark, 200, what="post")

    def sends_ahead(self):
        """Several requests before the first answer is read."""
        sent, expected = b"", []
        for _ in range(self.chance.randrange(2, 6)):
            mark = self.new_mark()
            kind = self.chance.randrange(3)
            if kind == 0:
                sent += self.request(mark, self.form(mark, 0, 500, 9000))
                expected.append((mark, 200, "post ahead"))
            elif kind == 1:
                sent += self.request(mark, b"other=" + mark)
                expected.append((mark, 422, "incomplete ahead"))
            else:
                sent += self.head_of(mark, b"GET /f/order.js HTTP/1.1") + b"\r\n"
                expected.append((mark, 200, "get ahead"))
        self.send(sent)
        for mark, status, what in expected:
            self.check(self.reader.answer(), mark, status, what=what)

    def forgets_a_field(self):
        mark = self.new_mark()
        self.send(self.request(mark, b"other=%s&message=%s" % (mark, b"q" * self.chance.choice([10, 1000, 40000]))))
        self.check(self.reader.answer(), mark, 422, what="incomplete")

    def is_refused_by_the_head(self):
        """With a body that looks like a request."""
        mark = self.new_mark()
        body = INNER + b"z" * self.chance.choice([0, 20, 5000, 60000])
        keys = self.chance.choice([
            {"path": b"/f/nobody"}, {"content": b"text/plain"}, {"method": b"PUT"}, {"method": b"OPTIONS"},
            {"method": b"GET", "path": b"/"}, {"method": b"HEAD", "path": b"/"}, {"path": b"/f/small"}])
        head_only = keys.get("method") == b"HEAD"
        body += b"z" * 3000 if keys.get("path") == b"/f/small" else b""
        more = self.chance.choice([b"", b"", b"Expect: 100-continue\r\n"])
        self.send_if_it_lasts(self.request(mark, body, more=more, **keys))
        self.check(self.reader.answer(head_only), mark, 200, 204, 404, 405, 413, 415, what="early")
        self.expect_end("early")

    def waits_for_100(self):
        mark = self.new_mark()
        top, body = self.request(mark, self.form(mark, 10, 30000), more=b"Expect: 100-continue\r\n").split(b"\r\n\r\n", 1)
        self.socket.sendall(top + b"\r\n\r\n")
        got = b""
        while not got.endswith(b"\r\n\r\n"):
            more = self.socket.recv(1)
            if more == b"":
                return self.record.complain("100", self.kind, "the end in place of it")
            got += more
        if got != b"HTTP/1.1 100 Continue\r\n\r\n":
            self.record.complain("100", self.kind, got)
        if self.chance.random() < .2:
            self.leave()
        self.send(body)
        self.check(self.reader.answer(), mark, 200, what="post after 100")

    def sends_a_bad_head(self):
        mark = self.new_mark()
        bad = self.chance.choice(BAD_HEADS)
        self.send_if_it_lasts(self.head_of(mark, b"POST /f/order HTTP/1.1") + bad + b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + INNER)
        self.check(self.reader.answer(), mark, 400, 411, 413, 417, 431, 501, what="bad head")
        self.expect_end("bad head")

    def closes(self):
        """What comes behind the last request is none."""
        mark = self.new_mark()
        version, more = self.chance.choice([
            (b"1.1", b"Connection: close\r\n"), (b"1.0", b""), (b"1.0", b"Connection: keep-alive, close\r\n"),
            (b"1.1", b"Connection: x\r\nConnection: y, CLOSE\r\n")])
        self.send(self.request(mark, self.form(mark, 10, 20000), version=version, more=more) + INNER)
        self.check(self.reader.answer(), mark, 200, what="post and close")
        self.expect_end("post and close")

    def breaks_off(self):
        mark = self.new_mark()
        request = self.request(mark, self.form(mark))
        self.send(request[:self.chance.choice([20, 150, 300, len(request) - 1])])
        time.sleep(self.chance.choice([0, .001, .02]))
        self.leave()

    def does_not_wait(self):
        mark = self.new_mark()
        self.send(self.request(mark, self.form(mark, 10, 9000)))
        time.sleep(self.chance.choice([0, .001, .005]))
        self.leave()

    def leaves_during_the_answer(self):
        mark = self.new_mark()
        self.send(self.request(mark, b"other=%s&message=%s" % (mark, b"q" * 60000)))
        if set(MARK.findall(self.socket.recv(self.chance.choice([1, 1000, 20000])))) - {mark}:
            self.record.complain("part of an answer", self.kind, "is another's")
        self.leave()

    def repeats_what_others_post(self):
        number = int(time.monotonic() * 4)
        mark = b"M%012xX" % (0xabc000000000 + number)
        request = self.request(mark, b"name=%s&message=same" % mark, path=b"/f/keyed",
                               more=b'Accept: application/json\r\nIdempotency-Key: "k%d"\r\n' % number)
        with self.record.lock:
            self.record.addresses[mark] = b""  # of any of them
        self.send(request)
        if self.chance.random() < .2:
            self.leave()
        answer = self.reader.answer()
        self.check(answer, mark, 200, what="post keyed")
        with self.record.lock:
            self.record.keyed[mark].add(RECEIPT.search(answer.body)[0])

    MANNERS = [posts] * 4 + [sends_ahead] * 2 + [is_refused_by_the_head] * 2 + [
        forgets_a_field, waits_for_100, sends_a_bad_head, closes, breaks_off, does_not_wait, leaves_during_the_answer,
        repeats_what_others_post]


def come_and_go(bridge, record, chance, until):
    while time.monotonic() < until:
        visitor = manner = None
        try:
            visitor = Visitor(bridge, record, chance)
            for _ in range(chance.randrange(1, 12)):
                manner = chance.choice(Visitor.MANNERS)
                manner(visitor)
        except Left:
            pass
        except (OSError, AssertionError, ValueError) as e:
            record.complain(manner.__name__ if manner else "connect", visitor.kind if visitor else "", repr(e))
        if visitor is not None:
            visitor.socket.close()


def check_mails(bridge, record):
    """Each has one owner, one address, one line in the log, whether its visitor waited for the answer or not."""
    there = set()
    for path in bridge.mail_files():
        mail = path.read_bytes()
        marks = set(MARK.findall(mail.replace(b"=\n", b"")))
        receipt = RECEIPT.search(path.name.encode())[0]
        there.add(receipt)
        if len(marks) != 1 or b"SMUGGLED" in mail:
            record.complain("a mail of", marks)
            continue
        (mark,) = marks
        if record.receipts.get(receipt, mark) != mark:
            record.complain("the mail of", mark, "has the receipt of", record.receipts[receipt])
        if b"[%s]" % record.addresses[mark] not in mail.split(b"\n\n", 1)[0] and record.addresses[mark] != b"":
            record.complain("the mail of", mark, "does not name", record.addresses[mark])
    for receipt in set(record.receipts) - there:
        record.complain(receipt, "was given, and there is no mail")
    said = re.findall(r"accepted (\S+)", bridge.log())
    if len(said) != len(set(said)) or {receipt.encode() for receipt in said} != there:
        record.complain(len(said), "were logged as accepted,", len(there), "arrived")
    for mark, receipts in record.keyed.items():
        if len(receipts) != 1:
            record.complain("one key, receipts", receipts)


@pytest.mark.parametrize("fronts", [1, 2])
def test_nobody_gets_what_is_anothers(fronts):
    record = Record()
    seed = random.randrange(1 << 32)
    with Bridge(start=False) as b:
        b.proxied, b.plain = free_port(), free_port()
        b.config["bridge"].update({
            "listen": f"127.0.0.1:{b.port} proxy:127.0.0.1:{b.proxied} plain:127.0.0.1:{b.plain}",
            "trusted_proxies": "127.0.0.1", "fronts": fronts, "max_per_address": 2000, "max_connections": 2000})
        b.config["form order"].update({"subject": "{name}", "rate": "off", "reply_to": None})
        b.config["form small"] = dict(b.config["form order"], max_body="1k")
        b.config["form keyed"] = dict(b.config["form order"], once_window="10m")
        b.write_config()
        b.start()
        b.tls = b.context()
        roles = b.named("front")
        until = time.monotonic() + SECONDS
        threads = [threading.Thread(target=come_and_go, args=(b, record, random.Random(seed + i), until))
                   for i in range(VISITORS)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        b.wait_until(lambda: not b.queue(), "end of the queue")
        check_mails(b, record)
        assert b.named("front") == roles, "a front has died"
        assert "saw none" not in b.log()
    assert record.wrong == [], f"seed {seed}, {len(record.wrong)} in all: " + "\n".join(record.wrong[:20])
    for what in ("post 200", "post ahead 200", "incomplete 422", "bad head 400", "early 404", "post and close 200",
                 "post after 100 200", "post keyed 200", "get ahead 200"):
        assert record.statuses[what] > 10, record.statuses
