"""`formbridge demo`: one command from nothing to an order in a mailbox."""

import contextlib
import os
import signal
import socket
import ssl
import stat
import subprocess

import pytest

from bridge import PATIENCE, PROGRAM, WRAPPER
from demo import Demo


@pytest.fixture
def start(tmp_path):
    runs = []

    def begin(directory="demo"):
        runs.append(Demo(tmp_path / directory))
        return runs[-1]

    yield begin
    for run in runs:
        run.kill()


def test_it_makes_what_it_needs_and_shows_an_order(start):
    demo = start()
    assert sorted(p.name for p in demo.dir.iterdir()) == ["Maildir", "cert.pem", "config.ini", "key.pem", "password",
                                                           "spool"]
    for name in ("key.pem", "config.ini", "password"):
        assert stat.S_IMODE((demo.dir / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(demo.dir.stat().st_mode) == 0o700
    page = demo.curl()
    for name in ("name", "email", "item", "quantity", "message", "photo", "consent"):
        assert f'name="{name}"' in page
    assert 'action="/f/order"' in page and "multipart/form-data" in page
    receipt = demo.order()
    demo.wait(lambda: f"Receipt: {receipt}" in demo.said(), "order on the terminal")
    said = demo.said()
    (path,) = [p for p in (demo.dir / "Maildir" / "new").iterdir() if receipt in p.name]
    assert f"* An order has landed: {path}\n" in said
    for line in ("name: Ada Müller", "item: Walnut bread", "  two lines,", "  please", "(photo: attached, 8 bytes, cake.png)"):
        assert f"      {line}\n" in said
    assert "iVBORw0KGgo" not in said, "an attachment is not for the terminal"


def test_its_certificate_is_one_that_a_client_can_verify(start):
    demo = start()
    context = ssl.create_default_context(cafile=demo.dir / "cert.pem")
    with socket.create_connection(("127.0.0.1", demo.port)) as raw, context.wrap_socket(raw, server_hostname="localhost") as s:
        assert s.version() == "TLSv1.2" and ("DNS", "localhost") in s.getpeercert()["subjectAltName"]


def test_a_second_start_goes_on_with_what_is_there(start):
    demo = start()
    first = demo.order()
    demo.wait(lambda: first in demo.said(), "order on the terminal")
    assert demo.end(demo.process.terminate) == 0
    config = demo.dir / "config.ini"
    config.write_text(config.read_text().replace("title = ", "max_body = 1k\ntitle = "))
    kept = {name: (demo.dir / name).read_bytes() for name in ("cert.pem", "key.pem", "config.ini")}
    demo = start()
    assert {name: (demo.dir / name).read_bytes() for name in kept} == kept
    second = demo.order()
    demo.wait(lambda: second in demo.said(), "order on the terminal")
    names = [p.name for p in (demo.dir / "Maildir" / "new").iterdir()]
    assert len(names) == 2 and all(any(r in n for n in names) for r in (first, second))
    assert first not in demo.said()


def test_ctrl_c_ends_all_of_it_and_loses_no_order(start):
    demo = start()
    receipt = demo.order()
    assert demo.end(demo.interrupt) == 0
    delivered = any(receipt in p.name for p in (demo.dir / "Maildir" / "new").iterdir())
    queued = any(receipt in p.name for p in (demo.dir / "spool" / "queue").iterdir())
    assert delivered != queued
    assert delivered == (f"Receipt: {receipt}" in demo.said()), "also an order that lands during the end is shown"
    if queued:
        demo = start()
        demo.wait(lambda: f"Receipt: {receipt}" in demo.said(), "order on the terminal")


def test_sigterm_ends_all_of_it(start):
    demo = start()
    assert demo.end(demo.process.terminate) == 0


def test_nothing_serves_on_when_it_is_killed(start):
    demo = start()
    assert demo.end(demo.process.kill) == -signal.SIGKILL


def test_an_occupied_port_is_left_alone(start):
    with contextlib.ExitStack() as stack:
        taken = stack.enter_context(socket.socket())
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):  # somebody else has it: just as well
            taken.bind(("127.0.0.1", 8443))
            taken.listen()
        demo = start()
        assert demo.port != 8443 and f"listen = 127.0.0.1:{demo.port}\n" in (demo.dir / "config.ini").read_text()
        assert "<form" in demo.curl()


def run(*arguments):
    return subprocess.run([*WRAPPER, PROGRAM, *arguments], capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)


def test_a_second_one_in_the_same_place_is_said(start):
    demo = start()
    answer = run("demo", str(demo.dir))
    assert answer.returncode == 69 and f"port {demo.port} is in use" in answer.stderr and str(demo.dir / "config.ini") in answer.stderr
    assert answer.stdout == "", "no address is shown at which something else answers"
    assert "<form" in demo.curl()


def test_a_directory_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    answer = run("demo", str(tmp_path / "file" / "demo"))
    assert answer.returncode == 73 and f"{tmp_path}/file/demo" in answer.stderr
    answer = run("demo", str(tmp_path / "with a space"))
    assert answer.returncode == 73 and "without spaces" in answer.stderr


@pytest.mark.parametrize("mode, owner", [
    (0o777, None), (0o775, None),
    pytest.param(0o755, 12345, marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root can give it away"))])
def test_what_others_laid_out_is_not_run(tmp_path, mode, owner):
    """The name is known, and people try programs in /tmp."""
    there = tmp_path / "formbridge-demo"
    there.mkdir()
    there.chmod(mode)
    (there / "config.ini").write_text("[bridge]\nhostname = evil.example.com\n")
    if owner is not None:
        os.chown(there, owner, -1)
    answer = run("demo", str(there))
    assert answer.returncode == 73 and f"{there}: others can write there" in answer.stderr and answer.stdout == ""
    assert [p.name for p in there.iterdir()] == ["config.ini"]


def test_a_mistake_in_its_config_is_said_with_its_line(start):
    demo = start()
    demo.end(demo.process.terminate)
    config = demo.dir / "config.ini"
    config.write_text("[brigde]\n" + config.read_text())
    answer = run("demo", str(demo.dir))
    assert answer.returncode != 0 and f"{config}:1: " in answer.stderr and "https://" not in answer.stdout
