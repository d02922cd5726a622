"""What the measurements share: programs built, processes counted, samples of rounds and their ratios."""

import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
SECONDS = os.environ.get("BENCH_SECONDS", "2")
TICK = os.sysconf("SC_CLK_TCK")
PATIENCE = 60  # seconds, for what was accepted to arrive


def build(name, *libraries):
    out = ROOT / "build" / "bench" / name
    out.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cc", "-O2", "-D_GNU_SOURCE", f"-I{ROOT}", "-o", out, ROOT / "bench" / f"{name}.c", *libraries,
                    "-lpthread"], check=True)
    return str(out)


def build_load():
    return build("load", "-lssl", "-lcrypto")


def work_directory():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started is stopped, also then
    path = pathlib.Path(tempfile.mkdtemp(prefix="fb-bench-", dir=os.environ.get("BENCH_DIR")))
    path.chmod(0o755)  # some servers give their rights up
    # ext4 does not reuse the inode of a file deleted within the last minutes, and the search for one passes over each of
    # them. With +T each directory in this one begins elsewhere on the disk, by a hash of its name, so that nobody pays for
    # what others deleted.
    subprocess.run(["chattr", "+T", path], stderr=subprocess.DEVNULL)
    return path


def own_directory(work, name):
    """A new one in work, under a name that no run had before."""
    path = pathlib.Path(tempfile.mkdtemp(prefix=f"{name.replace(' ', '-')}-", dir=work))
    path.chmod(0o755)
    return path


def wait_until(condition, what, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(f"no {what} within {seconds} s")
        time.sleep(0.02)


def cpu_seconds(pids):
    total = 0
    for pid in pids:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICK


def pss_kb(pids):
    return sum(int(line.split()[1]) for pid in pids
               for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
               if line.startswith("Pss:"))


class Group:
    """All processes of one server, also those that live for a moment: a control group, whose clock the kernel keeps to
    the microsecond."""

    ROOTS = [pathlib.Path(p) for p in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")]  # the second beside version 1
    count = 0

    def __init__(self):
        self.roots = []  # processes that were started here
        Group.count += 1
        root = next((r for r in self.ROOTS if (r / "cgroup.controllers").exists()), None)
        if root is None or os.geteuid() != 0:
            sys.exit("bench: the CPU of short-lived processes is counted by control groups (version 2), made by root")
        self.path = root / f"formbridge-bench-{os.getpid()}-{Group.count}"
        self.path.mkdir()

    def command(self, *arguments):
        """The same command, to be run inside."""
        return ["sh", "-c", 'echo $$ >"$0" && exec "$@"', str(self.path / "cgroup.procs"), *map(str, arguments)]

    def start(self, *arguments, **keys):
        self.roots.append(subprocess.Popen(self.command(*arguments), **keys))
        return self.roots[-1]

    def pids(self):
        return [int(p) for p in (self.path / "cgroup.procs").read_text().split()]

    def cpu(self):
        lines = (self.path / "cpu.stat").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("usage_usec ")) / 1e6

    def memory(self):
        """PSS in kB. A process may end meanwhile."""
        total = 0
        for pid in self.pids():
            try:
                total += pss_kb([pid])
            except OSError:
                pass
        return total

    def close(self):
        for process in reversed(self.roots):
            process.terminate()
        for process in self.roots:
            process.wait()
        wait_until(lambda: not self.pids(), f"end of {self.path}")
        self.path.rmdir()


class Samples:
    """Values of one figure, a round each."""

    def __init__(self):
        self.values = {}

    def add(self, name, value):
        self.values.setdefault(name, []).append(value)

    def median(self, name):
        return statistics.median(self.values[name])

    def text(self, name, scale=1.0, digits=0):
        v = [x * scale for x in self.values[name]]
        return f"{statistics.median(v):,.{digits}f} ({min(v):,.{digits}f}–{max(v):,.{digits}f})"

    def ratio(self, a, b, digits=2):
        v = [x / y for x, y in zip(self.values[a], self.values[b])]
        return f"{statistics.median(v):.{digits}f} ({min(v):.{digits}f}–{max(v):.{digits}f})"


def measure(load, samples, name, server, mode, clients, body="1024", connections=None):
    """One measurement of a server: .port, .cpu(), and .arrived() how many mails are in the mailbox, or None if it has
    none. What was accepted is waited for, and its delivery is part of the CPU time."""
    if os.environ.get("BENCH_VERBOSE"):
        print(f"    {name}", file=sys.stderr)
    before = server.arrived()
    process = subprocess.Popen([load, "127.0.0.1", str(server.port), mode, str(clients), SECONDS, body, "/f/order",
                                *([str(connections)] if connections else [])],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr.readline() == "go\n"
    start, cpu = time.time(), server.cpu()
    out = process.communicate()[0].split()
    took = time.time() - start
    if clients == 64 and mode == "keep":
        samples.add(f"{name} memory", server.memory())
    done, failed = int(out[3]), int(out[4])
    if failed:
        print(f"    {name}: {failed} of {done + failed} requests failed", file=sys.stderr)
    if before is not None and mode not in ("shake", "reshake"):
        wait_until(lambda: server.arrived() >= before + done, f"{done} mails ({name})", PATIENCE)
        samples.add(f"{name} mailbox", done / max(server.last_arrival() - start, took))
    samples.add(f"{name} rate", float(out[0]))
    samples.add(f"{name} p50", float(out[1]))
    samples.add(f"{name} p99", float(out[2]))
    samples.add(f"{name} cpu", (server.cpu() - cpu) / done * 1e6)
    samples.add(f"{name} share", float(out[5]) / took / os.cpu_count() * 100)
