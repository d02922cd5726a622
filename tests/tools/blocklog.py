"""Every write that reaches a disk, in order, and that disk as it was at any moment.

A qemu-storage-daemon shows an image as a file (FUSE) and logs each write and flush in the format of the kernel's
dm-log-writes (Documentation/admin-guide/device-mapper/log-writes.rst): a superblock of one sector, then entries of one
sector each, a write's data behind its entry. All numbers are 64 bits, little endian."""

import contextlib
import pathlib
import shutil
import struct
import subprocess
import time

SECTOR = 512
MAGIC, VERSION = 0x6A736677736872, 1
FLUSH, FUA, DISCARD = 1, 2, 4


def run(*args):
    return subprocess.run(args, check=True, capture_output=True, text=True).stdout.strip()


def unmount(place):
    """Now; or, so that nothing is left mounted, when whoever keeps it busy is gone, and then this is an error."""
    try:
        run("umount", place)
    except subprocess.CalledProcessError:
        run("umount", "--lazy", place)
        raise


class Entry:
    def __init__(self, head, at):
        sector, count, self.flags, _ = struct.unpack("<QQQQ", head)
        self.start = sector * SECTOR
        self.size = count * SECTOR
        self.data = at + SECTOR  # where it is in the log
        self.end = self.data + (0 if self.flags & DISCARD else self.size)


class BlockLog:
    def __init__(self, path):
        self.file = open(path, "rb")
        magic, version, count, size = struct.unpack("<QQQI", self.file.read(28))
        assert (magic, version, size) == (MAGIC, VERSION, SECTOR), "not a log of writes"
        self.entries = []
        at = SECTOR
        for _ in range(count):
            self.file.seek(at)
            self.entries.append(Entry(self.file.read(32), at))
            at = self.entries[-1].end

    def apply(self, entry, image):
        """Does to an image, opened for writing, what the entry did to the disk."""
        if entry.size:
            self.file.seek(entry.data)
            image.seek(entry.start)
            image.write(bytes(entry.size) if entry.flags & DISCARD else self.file.read(entry.size))

    def after(self, offset):
        """How many entries had been made when the log was that long."""
        return sum(1 for e in self.entries if e.end <= offset)

    def flushed(self, count):
        """How many of the first count entries the disk could not lose any more: those before the last flush."""
        return max((i for i in range(count) if self.entries[i].flags & (FLUSH | FUA)), default=0)


class LoggedDisk:
    """A small ext4 mounted at directory/mounted while the with block runs, and its log of writes."""

    def __init__(self, directory, size="48M"):
        self.directory = pathlib.Path(directory)
        self.base, self.log = self.directory / "base.img", self.directory / "writes.log"
        self.mounted = self.directory / "mounted"
        self.mounted.mkdir()
        run("truncate", "-s", size, self.base)
        run("mkfs.ext4", "-q", "-E", "lazy_itable_init=0", self.base)
        self.stack = contextlib.ExitStack()

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stack.close()
            raise
        return self

    def __exit__(self, *_):
        self.stack.close()

    def start(self):
        disk, shown = self.directory / "disk.img", self.directory / "shown.img"
        shutil.copyfile(self.base, disk)
        self.log.touch()
        shown.touch()
        daemon = subprocess.Popen(
            ["qemu-storage-daemon",
             "--blockdev", f"driver=file,node-name=disk,filename={disk}",
             "--blockdev", f"driver=file,node-name=log,filename={self.log}",
             "--blockdev", f"driver=blklogwrites,node-name=logged,file=disk,log=log,log-sector-size={SECTOR}",
             "--export", f"type=fuse,id=shown,node-name=logged,mountpoint={shown},writable=on"],
            stdin=subprocess.DEVNULL)
        self.stack.callback(daemon.wait)
        self.stack.callback(daemon.terminate)
        end = time.monotonic() + 10
        while str(shown) not in pathlib.Path("/proc/self/mounts").read_text():
            assert daemon.poll() is None and time.monotonic() < end, "qemu-storage-daemon does not show the disk"
            time.sleep(0.02)
        loop = run("losetup", "--find", "--show", shown)
        self.stack.callback(run, "losetup", "-d", loop)
        run("mount", loop, self.mounted)
        self.stack.callback(unmount, self.mounted)

    def position(self):
        """How long the log is now: what was flushed before is in it."""
        return self.log.stat().st_size


class Replay:
    """The disk after the first n entries of its log, for rising n."""

    def __init__(self, disk, log):
        self.log, self.directory = log, disk.directory
        self.image = self.directory / "replay.img"
        shutil.copyfile(disk.base, self.image)
        self.done = 0

    def forward(self, count):
        with open(self.image, "r+b") as image:
            for entry in self.log.entries[self.done:count]:
                self.log.apply(entry, image)
        self.done = max(self.done, count)

    @contextlib.contextmanager
    def mounted(self, at, extra=()):
        """A copy of it, with some entries more, mounted at a directory: its file system recovers as after a power cut."""
        copy = self.directory / "copy.img"
        run("cp", "--sparse=always", self.image, copy)
        with open(copy, "r+b") as image:
            for entry in extra:
                self.log.apply(entry, image)
        run("mount", "-o", "loop", copy, at)
        try:
            yield pathlib.Path(at)
        finally:
            unmount(at)
            copy.unlink()
