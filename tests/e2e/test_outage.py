"""A real mail host fails in every way a host can, again and again, while visitors go on posting: afterwards every receipt that a
visitor was given is in the mailbox, and a mail is there twice only where the host's last answer was lost.

OUTAGE_SECONDS (60) is how long it goes on; SEED repeats a run."""

import collections
import email
import email.policy
import os
import random
import re
import select
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest

from bridge import Bridge, fields_of, receipt_in
from mailhosts import NAME, Postfix, good, wait_until, workdir  # noqa: F401 (fixtures)
from test_queue import listed_any
from test_smtp_postfix import dovecot, home  # noqa: F401

SECONDS = float(os.environ.get("OUTAGE_SECONDS", "60"))
FAULT, REPAIRED = 5, 5  # seconds each
EVERY = 0.2  # seconds between two posts
TEXT = 30000  # bytes typed: enough to be cut in the middle of


class Relay:
    """Between the bridge and the host. Passes bytes on, or, after some bytes of a connection, stops to."""

    def __init__(self, target, dice):
        self.target, self.dice, self.mode, self.cuts = target, dice, "pass", collections.Counter()
        self.stopping = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(0.2)
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.accept)
        self.thread.start()

    def close(self):
        self.stopping.set()
        self.thread.join()
        self.listener.close()

    def accept(self):
        threads = []
        while not self.stopping.is_set():
            try:
                client, _ = self.listener.accept()
            except TimeoutError:
                continue
            threads.append(threading.Thread(target=self.serve, args=(client,)))
            threads[-1].start()
        for thread in threads:
            thread.join()

    def serve(self, client):
        with client:
            try:
                server = socket.create_connection(("127.0.0.1", self.target), 2)
            except OSError:
                return
            with server:
                try:
                    self.forward(client, server)
                except OSError:
                    pass

    def forward(self, client, server):
        """limit: what the client may send until the fault of the hour strikes this connection."""
        sent, limit = 0, self.dice.randrange(2000, 4 * TEXT)
        while not self.stopping.is_set():
            mode = self.mode if sent > limit else "pass"
            if mode == "reset":
                self.cuts[mode] += 1
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            if mode == "stall":
                self.cuts[mode] += 1
                wait_until(lambda: self.mode == "pass" or self.stopping.is_set(), 60)
                return
            ready, _, _ = select.select([client, server], [], [], 0.2)
            if client in ready:
                data = client.recv(4096)
                if not data:
                    return
                server.sendall(data)
                sent += len(data)
            if server in ready:
                data = server.recv(65536)
                if not data:
                    return
                if mode == "deaf":
                    self.cuts[mode] += 1
                else:
                    client.sendall(data)


class Host(Postfix):
    """A Postfix whose queue is on a small disk of its own."""

    def mount(self):
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m,mode=755", "tmpfs", self.home / "queue"], check=True)

    def unmount(self):
        subprocess.run(["umount", "-l", self.home / "queue"], check=True)

    def stop(self):
        self.__exit__()

    def kill(self):
        children = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True).stdout.split()
        for pid in [self.process.pid, *map(int, children)]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()

    def start(self):
        self.__enter__()

    def fill(self):
        with open(self.home / "queue" / "filler", "wb", buffering=0) as f:
            try:
                while True:
                    f.write(bytes(65536))
            except OSError:
                pass

    def tidy(self):
        (self.home / "queue" / "filler").unlink()

    def mails(self):
        found = []
        for path in (self.mail / "orders" / "new").glob("*"):
            found.append(email.message_from_bytes(path.read_bytes(), policy=email.policy.default))
        return found


class Visitors(threading.Thread):
    """Post steadily; remember what was typed under each receipt."""

    def __init__(self, bridge):
        super().__init__()
        self.bridge, self.stopping, self.typed, self.refused = bridge, threading.Event(), {}, []

    def run(self):
        number, client = 0, self.bridge.client()
        while not self.stopping.wait(EVERY):
            number += 1
            text = f"{number} " * (TEXT // len(f"{number} "))
            status, _, page = self.bridge.post([("name", "Ada"), ("text", text)], client=client)
            if status == 200:
                self.typed[receipt_in(page)] = text
            else:
                self.refused.append(status)


@pytest.fixture
def host(workdir, good, dovecot):  # noqa: F811
    h = Host(home(workdir, "outage"), good, dovecot.auth)
    h.mount()
    try:
        with h:
            yield h
    finally:
        h.unmount()


def faults(host, relay):
    def mode(name):
        return lambda: setattr(relay, "mode", name)

    return {"stopped": (host.stop, host.start), "killed": (host.kill, host.start), "disk full": (host.fill, host.tidy),
            "cut in the middle": (mode("reset"), mode("pass")), "stalled": (mode("stall"), mode("pass")),
            "answers lost": (mode("deaf"), mode("pass"))}


def copies(mails):
    """For each receipt, the queue IDs under which the host took it: what the host itself doubled has the same one."""
    taken = collections.defaultdict(set)
    for mail in mails:
        taken[mail["X-Formbridge-Ref"]].add(re.search(r"by mail\.example\.com .*? id (\w+)", mail["Received"], re.S)[1])
    return taken


def test_every_receipt_is_in_the_mailbox_after_every_kind_of_outage(host, good, capsys):  # noqa: F811
    seed = int(os.environ.get("SEED", random.randrange(1 << 32)))
    dice = random.Random(seed)
    relay = Relay(host.open, dice)
    config = {"bridge": {"retry_min": "1s", "retry_max": "2s"},
              "mailhost main": {"server": f"127.0.0.1:{relay.port}", "tls_name": NAME, "trust": good.trust, "timeout": "3s"},
              "form order": {"to": "orders@example.com", "deliver": "main"}}
    try:
        with Bridge(config) as bridge:
            visitors = Visitors(bridge)
            visitors.start()
            ways, end = faults(host, relay), time.monotonic() + SECONDS
            names = []
            try:
                while time.monotonic() < end:
                    names = names or dice.sample(sorted(ways), len(ways))
                    fail, repair = ways[names.pop()]
                    fail()
                    time.sleep(FAULT)
                    repair()
                    time.sleep(REPAIRED)
            finally:
                visitors.stopping.set()
                visitors.join()
            typed = visitors.typed
            bridge.wait_until(lambda: listed_any(bridge) == [], "an empty queue", 60)
            wait_until(lambda: set(typed) <= {m["X-Formbridge-Ref"] for m in host.mails()}, 60)
            log = bridge.log()
    finally:
        relay.close()

    mails = host.mails()
    taken = copies(mails)
    doubled = {ref for ref, ids in taken.items() if len(ids) > 1}
    unsure = set(re.findall(r"deferred (\S+) .*may bring a duplicate", log))
    with capsys.disabled():
        print(f"\nseed {seed}: {len(typed)} receipts, all delivered; {log.count('deferred ')} tries put off; "
              f"cut by the network: {dict(relay.cuts)}; last answer lost for {len(unsure)}, twice in the mailbox {len(doubled)}")

    assert visitors.refused == [], "an outage of the mail host is none of the visitor's"
    assert set(taken) == set(typed)
    assert doubled <= unsure, "a mail is there twice though the host's answer was not lost"
    for mail in mails:
        assert ("text", typed[mail["X-Formbridge-Ref"]].rstrip()) in [(k, v.rstrip()) for k, v in fields_of(mail)]
    for ref in doubled:
        assert len({m["Message-ID"] for m in mails if m["X-Formbridge-Ref"] == ref}) == 1
    assert log.count("deferred ") > len(relay.cuts) > 0, "the outages were felt"
