"""Names of mail hosts: where they are looked up, and what a name server that does not answer keeps from going on, which is
nothing but the mail to that host. Each bridge has a resolv.conf of its own, in a mount namespace. Needs root."""

import contextlib
import os
import random
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest

from bridge import PATIENCE, PROGRAM, Bridge
from mailhosts import NAME, Server, good, workdir  # noqa: F401 (fixtures)

CONFIG = 78  # EX_CONFIG
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="binds port 53 and mounts files")


class NameServer:
    """At an address of its own on loopback. While silent it asks for TCP, takes the connection, and says nothing, which
    getaddrinfo(3) waits for without end; else every name is 127.0.0.1."""

    def __init__(self, silent):
        self.silent, self.held, self.taken = silent, [], 0
        self.address = "127." + ".".join(str(random.randint(1, 254)) for _ in range(3))
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind((self.address, 53))
        self.tcp = socket.create_server((self.address, 53))
        for work in (self.answer, self.hold):
            threading.Thread(target=work, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.let_go()
        self.udp.close()
        self.tcp.close()

    def answer(self):
        with contextlib.suppress(OSError):
            while True:
                query, peer = self.udp.recvfrom(4096)
                end = 12 + query[12:].index(0) + 5
                is_a = query[end - 4:end - 2] == b"\0\1"
                record = b"\xc0\x0c\0\1\0\1" + struct.pack("!IH", 1, 4) + socket.inet_aton("127.0.0.1") if is_a else b""
                flags, record = (b"\x83\x80", b"") if self.silent else (b"\x81\x80", record)
                counts = struct.pack("!HHHH", 1, record != b"", 0, 0)
                self.udp.sendto(query[:2] + flags + counts + query[12:end] + record, peer)

    def hold(self):
        with contextlib.suppress(OSError):
            while True:
                self.held.append(self.tcp.accept()[0])
                self.taken += 1
                if not self.silent:
                    self.let_go()

    def let_go(self):
        """And from now on it answers."""
        self.silent = False
        with contextlib.suppress(IndexError):
            while True:
                self.held.pop().close()


def with_names(directory, name_server, hosts="127.0.0.1 localhost\n"):
    """The beginning of a command that runs another one where these are /etc/resolv.conf and /etc/hosts."""
    (directory / "resolv.conf").write_text(f"nameserver {name_server}\noptions timeout:1 attempts:1\n")
    (directory / "hosts").write_text(hosts)
    mount = "".join(f"mount --bind {directory}/{name} /etc/{name} && " for name in ("resolv.conf", "hosts"))
    return ["unshare", "-m", "sh", "-c", mount + 'exec "$@"', "sh"]


@contextlib.contextmanager
def sending(good, port, name_server, start=True, **keys):  # noqa: F811
    """A bridge whose form order goes to NAME, and whose form here into the Maildir."""
    config = {"bridge": {"fronts": 1, "retry_min": "1s", "retry_max": "1s", "drain_timeout": "5s"},
              "form order": {"deliver": "main"}, "mailhost main": {"server": f"{NAME}:{port}", "trust": good.trust, "timeout": "2s"}}
    with Bridge(config, start=False) as b:
        b.config["form here"] = dict(Bridge.FORM, deliver=f"maildir:{b.maildir}")
        b.write_config()
        way = with_names(b.dir, name_server, **keys)
        b.popen = lambda command, **more: subprocess.Popen([*way, *command], **more)
        b.way = way
        if start:
            b.start()
        yield b


def deliver(b, server, text):
    assert b.post([("name", text)])[0] == 200
    b.wait_until(lambda: any(text.encode() in body for body in server.bodies), "mail at the host")


def test_a_name_is_found_by_the_name_server(good):  # noqa: F811
    with NameServer(silent=False) as names, Server(good) as server, sending(good, server.port, names.address) as b:
        deliver(b, server, "Ada")


def test_a_name_is_found_in_the_file_of_hosts_also_when_that_has_no_localhost(good):  # noqa: F811
    with NameServer(silent=True) as names, Server(good) as server, \
            sending(good, server.port, names.address, hosts=f"127.0.0.1 {NAME}\n") as b:
        deliver(b, server, "Ada")
        assert names.taken == 0


def test_a_name_server_that_does_not_answer_keeps_the_mail_to_its_names_from_nothing_but_going_out(good):  # noqa: F811
    with NameServer(silent=True) as names, Server(good) as server, sending(good, server.port, names.address) as b:
        assert names.taken == 0
        assert b.post([("name", "Ada")])[0] == 200
        words = f"the name servers of this machine do not answer for {NAME} within 2 seconds"
        b.wait_for_log(words)
        time.sleep(8)  # more tries
        (courier,) = b.named("courier")
        assert names.taken == 1 and len(os.listdir(f"/proc/{courier}/task")) <= 4  # they all wait for the same answer
        assert b.post([("name", "Bob")], form="here")[0] == 200
        b.mails(1)

        b.process.send_signal(signal.SIGHUP)
        b.wait_for_log("reloaded:")
        b.wait_until(lambda: len(b.roles()) == 3, "the end of the old set")
        front = b.front()
        os.kill(front, signal.SIGKILL)
        b.wait_until(lambda: b.named("front") not in ([], [front]), "a new front", 3)

        names.let_go()
        b.wait_until(lambda: any(b"Ada" in body for body in server.bodies), "mail at the host")


def test_a_look_up_that_hangs_does_not_keep_it_from_ending(good):  # noqa: F811
    with NameServer(silent=True) as names, sending(good, 465, names.address) as b:
        assert b.post([("name", "Ada")])[0] == 200
        b.wait_for_log("the name servers of this machine do not answer")
        begun = time.monotonic()
        assert b.stop() == 0 and time.monotonic() - begun < 5
        assert len(b.queue()) >= 1


def test_check_looks_a_name_up_only_online_and_gives_up_in_time(good):  # noqa: F811
    def check(*words):
        return subprocess.run([*b.way, PROGRAM, "-c", b.dir / "config.ini", "check", *words], capture_output=True, text=True,
                              timeout=PATIENCE)

    with NameServer(silent=True) as names, sending(good, 465, names.address, start=False) as b:
        assert check().returncode == 0 and names.taken == 0
        online = check("--online")
        assert online.returncode == CONFIG
        assert f"problem: mailhost main: {NAME}:465: the name servers of this machine do not answer" in online.stdout
