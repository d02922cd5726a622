"""Runs `formbridge demo` as a person would, and talks to it."""

import contextlib
import os
import pathlib
import re
import signal
import socket
import subprocess
import time
import uuid

from bridge import PATIENCE, PROGRAM, WRAPPER, multipart, receipt_in


class Demo:
    """One run, in a process group of its own as a terminal would give it."""

    def __init__(self, directory):
        self.dir = pathlib.Path(directory)
        self.out, self.err = self.dir.with_name("out"), self.dir.with_name("err")
        with open(self.out, "wb") as out, open(self.err, "wb") as err:
            self.process = subprocess.Popen([*WRAPPER, PROGRAM, "demo", str(directory)], stdout=out, stderr=err,
                                            stdin=subprocess.DEVNULL, start_new_session=True)
        self.wait(lambda: "ready: " in self.err.read_text(), "readiness")
        self.url = re.search(r"https://localhost:\d+/", self.said()).group()
        self.port = int(self.url.split(":")[2].strip("/"))

    def said(self):
        return self.out.read_text()

    def wait(self, condition, what):
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, f"no {what}:\n{self.said()}{self.err.read_text()}"
            time.sleep(0.02)

    def curl(self, *arguments, url=None):
        return subprocess.run(
            ["curl", "-sS", "--cacert", self.dir / "cert.pem", "--noproxy", "*", *arguments, url or self.url],
            check=True, capture_output=True, text=True, timeout=PATIENCE).stdout

    def order(self):
        """Posts one with a file, as the page does; returns the receipt."""
        kind, body = multipart([("name", "Ada Müller"), ("email", "ada@example.org"), ("item", "Walnut bread"),
                                ("message", "two lines,\r\nplease"), ("photo", "cake.png", "image/png", b"\x89PNG\r\n\x1a\n"),
                                ("_nonce", uuid.uuid4().hex)])  # each is an order of its own
        path = self.dir / "body"
        path.write_bytes(body)
        return receipt_in(self.curl("-H", f"Content-Type: {kind}", "--data-binary", f"@{path}", url=f"{self.url}f/order"))

    def group(self):
        """The processes that are left."""
        found = subprocess.run(["pgrep", "-g", str(self.process.pid)], capture_output=True, text=True).stdout.split()
        return [int(p) for p in found if self.alive(p)]

    @staticmethod
    def alive(pid):
        try:
            return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
        except OSError:
            return False

    def end(self, send):
        send()
        code = self.process.wait(3 * PATIENCE)
        self.wait(lambda: self.group() == [], "end of every process")
        with socket.socket() as s:
            assert s.connect_ex(("127.0.0.1", self.port)) != 0, "nothing listens any more"
        return code

    def interrupt(self):
        os.killpg(self.process.pid, signal.SIGINT)  # what Ctrl-C does: the terminal tells every process

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
