"""Small: the program as `make` and `make install` leave it, the one file of `make STATIC=1`, a quick start, little memory."""

import os
import pathlib
import re
import socket
import subprocess
import time

import pytest

import bridge
from bridge import PATIENCE, ROOT, Bridge, text_of


def make(*arguments):
    """Not what this test run was started with, such as a sanitizer: the program that people get."""
    env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    subprocess.run(["make", "-s", "-j2", *arguments], cwd=ROOT, env=env, check=True, timeout=60 * PATIENCE)


@pytest.fixture(scope="module")
def ordinary():
    make()
    return ROOT / "formbridge"


@pytest.fixture(scope="module")
def static():
    make("STATIC=1")
    return ROOT / "formbridge-static"


@pytest.fixture
def run_with(monkeypatch):
    """A formbridge of the given file."""
    def use(program, **keys):
        monkeypatch.setattr(bridge, "PROGRAM", str(program))
        monkeypatch.setattr(bridge, "WRAPPER", [])
        return Bridge(**keys)
    return use


def test_the_program_is_small(ordinary):
    assert ordinary.stat().st_size < 590_000


def test_what_is_installed_is_as_small(ordinary, tmp_path):
    make("install", f"DESTDIR={tmp_path}", "PREFIX=/usr")
    assert (tmp_path / "usr/sbin/formbridge").stat().st_size == ordinary.stat().st_size


def test_a_debugger_finds_its_information(ordinary):
    link = subprocess.run(["readelf", "--string-dump=.gnu_debuglink", ordinary], check=True, capture_output=True)
    assert b"formbridge.debug" in link.stdout
    debug = subprocess.run(["readelf", "-SW", f"{ordinary}.debug"], check=True, capture_output=True, text=True).stdout
    assert ".debug_info" in debug and ".debug_frame" in debug and ".symtab" in debug


def test_one_file_needs_nothing_but_libc(static):
    wanted = subprocess.run(["ldd", static], check=True, capture_output=True, text=True).stdout
    names = {pathlib.Path(line.split()[0]).name for line in wanted.splitlines()}
    assert "libc.so.6" in names
    assert all(re.fullmatch(r"libc\.so\.6|ld-linux.*|ld64.*|linux-vdso.*|linux-gate.*", n) for n in names), names
    assert static.stat().st_size < 1_300_000


def test_one_file_takes_an_order(static, run_with):
    with run_with(static) as b:
        status, _, page = b.post([("name", "Ada"), ("email", "ada@example.com"), ("item", "tea")])
        assert status == 200, page
        (mail,) = b.mails(1)
        assert "tea" in text_of(mail)
        assert not b.stop()


def archive(library):
    """Where the linker finds it."""
    path = subprocess.run(["cc", f"-print-file-name={library}"], check=True, capture_output=True, text=True).stdout.strip()
    return path


def test_the_stand_ins_for_gnutls_are_those_that_are_asked_for():
    names = subprocess.run(["nm", "-u", archive("libmicrohttpd.a")], check=True, capture_output=True, text=True).stdout
    given = (ROOT / "static/gnutls.c").read_text() + "gnutls_global_init"
    assert set(re.findall(r"\bgnutls_\w+", given)) == set(re.findall(r"\bgnutls_\w+", names))


def test_gnutls_is_kept_from_making_ready(ordinary):
    names = subprocess.run(["nm", "-D", "--defined-only", ordinary], check=True, capture_output=True, text=True).stdout
    assert re.search(r"\bT _gnutls_global_init_skip\b", names) and re.search(r"\bT gnutls_global_init\b", names)


def starts(b, count):
    """Seconds from exec to the answer on the first accepted connection."""
    context = b.context()
    for _ in range(count):
        begin = time.monotonic()
        b.start(wait=False)
        while True:
            try:
                raw = socket.create_connection(("127.0.0.1", b.port), PATIENCE)
                break
            except ConnectionRefusedError:
                assert time.monotonic() - begin < PATIENCE
                time.sleep(0.0005)
        with context.wrap_socket(raw, server_hostname="localhost") as c:
            c.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert c.recv(1000).startswith(b"HTTP/1.1 200")
        yield time.monotonic() - begin
        b.stop()


def test_it_starts_at_once(ordinary, run_with):
    """Below 50 ms on a quiet machine, which bench/run shows; the best of ten here, and with room for neighbours."""
    with run_with(ordinary, start=False) as b:
        assert min(starts(b, 10)) < 0.2


def pss_kb(pid):
    rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(r"(?m)^Pss: +(\d+)", rollup)[1])


@pytest.mark.parametrize("build,limit", [("ordinary", 6000), ("static", 5000)])
def test_all_roles_rest_in_little_memory(request, run_with, build, limit):
    """Others that use the same libraries share them, and their part is not counted; alone it is the most."""
    with run_with(request.getfixturevalue(build), config={"bridge": {"fronts": 2}}) as b:
        assert sum(pss_kb(pid) for pid in [b.process.pid, *b.roles()]) < limit
