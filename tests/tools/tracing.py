"""strace on the roles of a running bridge: records their system calls, or fails or kills at one of them."""

import collections
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import time

CALL = re.compile(r"^(?:\d+ +)?(\w+)\(")


def roles(bridge):
    """{"signer": pid, "courier": pid, "front": [pid, …]} of a bridge none of whose roles was replaced yet."""
    parent = bridge.process.pid  # its children, in the order of their birth
    pids = [int(p) for p in pathlib.Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
    return {"signer": pids[0], "courier": pids[1], "front": pids[2:]}


def threads(pid):
    """The first one first."""
    return sorted((int(t) for t in os.listdir(f"/proc/{pid}/task")), key=lambda t: (t != pid, t))


def alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


class Strace:
    """Attached while the with block runs. thread: only this one; else all of the process."""

    def __init__(self, pid, *options, thread=None):
        self.out = tempfile.NamedTemporaryFile("r", prefix="strace-")
        follow = ["-p", str(thread)] if thread else ["-f", "-p", str(pid)]
        self.process = subprocess.Popen(["strace", *follow, "-o", self.out.name, *options],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                        text=True)
        said = ""
        while "attached" not in said:  # one line speaks for all threads that there are
            line = self.process.stderr.readline()
            said += line
            assert line, f"strace cannot attach: {said}"

    def calls(self):
        """How often each system call was made."""
        return collections.Counter(m[1] for m in map(CALL.match, self.lines()) if m)

    def lines(self):
        self.out.seek(0)
        return self.out.read().splitlines()

    def detach(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        self.process.stderr.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.detach()
        self.out.close()


def wait_dead(pid, seconds):
    end = time.monotonic() + seconds
    while alive(pid):
        if time.monotonic() > end:
            return False
        time.sleep(0.002)
    return True
