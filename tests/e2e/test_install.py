"""What a person types from the README: install, check, ask for help. And what the README says."""

import os
import pathlib
import re
import shutil
import stat
import subprocess

import pytest

from bridge import PATIENCE, PROGRAM, ROOT, WRAPPER, Bridge, make_certificate


def run(*arguments, program=PROGRAM):
    return subprocess.run([*WRAPPER, program, *map(str, arguments)], capture_output=True, text=True, timeout=3 * PATIENCE,
                          stdin=subprocess.DEVNULL)


# ---- make install ------------------------------------------------------------------------------------------


def make(target, destination, prefix="/usr"):
    """The program as it is: -o keeps make from building it again."""
    subprocess.run(["make", "-s", "-o", PROGRAM, target, f"PROGRAM={PROGRAM}", f"DESTDIR={destination}", f"PREFIX={prefix}"],
                   cwd=ROOT, check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    destination = tmp_path_factory.mktemp("root")
    make("install", destination)
    return destination


def test_install_puts_everything_in_its_place(installed):
    files = {str(p.relative_to(installed)): stat.S_IMODE(p.stat().st_mode) for p in installed.rglob("*") if p.is_file()}
    documents = {f"usr/share/doc/formbridge/{name}": 0o644 for name in ("README", "MIGRATING", "CHANGES", "LICENSE", "config.ini.example")}
    examples = {f"usr/share/doc/formbridge/examples/{p.relative_to(ROOT / 'examples')}": 0o644
                for p in (ROOT / "examples").rglob("*") if p.is_file()}
    assert len(examples) >= 8
    assert files == {
        **documents, **examples,
        "usr/sbin/formbridge": 0o755,
        "usr/share/man/man8/formbridge.8": 0o644,
        "usr/share/man/man5/formbridge.ini.5": 0o644,
        "usr/lib/systemd/system/formbridge.service": 0o644,
        "etc/formbridge/config.ini": 0o640,
    }
    unit = (installed / "usr/lib/systemd/system/formbridge.service").read_text()
    assert "ExecStart=/usr/sbin/formbridge\n" in unit and "@" not in unit.replace("network-online.target", "")


def test_install_never_overwrites_a_config(tmp_path):
    make("install", tmp_path)
    config = tmp_path / "etc/formbridge/config.ini"
    config.write_text("edited")
    config.chmod(0o600)
    (tmp_path / "usr/sbin/formbridge").write_text("old")
    make("install", tmp_path)
    assert config.read_text() == "edited" and stat.S_IMODE(config.stat().st_mode) == 0o600
    assert (tmp_path / "usr/sbin/formbridge").read_bytes() == pathlib.Path(PROGRAM).read_bytes()
    make("uninstall", tmp_path)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [config]


def test_the_installed_program_knows_itself(installed):
    program = installed / "usr/sbin/formbridge"
    version = re.search(r'FORMBRIDGE_VERSION "(.*)"', (ROOT / "bridge.h").read_text())[1]
    answer = run("--version", program=program)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, f"formbridge {version}\n", "")
    answer = run("--help", program=program)
    assert answer.returncode == 0 and answer.stderr == ""
    for word in ("check", "demo", "--version", "--help", "-c FILE", "/etc/formbridge/config.ini", "formbridge(8)"):
        assert word in answer.stdout


@pytest.mark.parametrize("page", ["man8/formbridge.8", "man5/formbridge.ini.5"])
def test_the_manual_pages_can_be_read(installed, page):
    answer = subprocess.run(["mandoc", "-T", "utf8", "-W", "warning", installed / "usr/share/man" / page],
                            capture_output=True, text=True)
    text = re.sub(".\b", "", answer.stdout)
    assert answer.returncode == 0 and answer.stderr == ""
    name, section = re.match(r"man\d/(.*)\.(\d)", page).groups()
    assert f"{name.upper()}({section})" in text and "NAME" in text and "DESCRIPTION" in text


def test_the_manual_names_every_command(installed):
    commands = set(re.findall(r"(?m)^    formbridge (?:\[-c FILE\] )?(\w+)", run("--help").stdout))
    assert {"check", "demo"} <= commands
    text = (installed / "usr/share/man/man8/formbridge.8").read_text()
    assert {c for c in commands if f".Cm {c}" not in text} == set()


# ---- README and example ---------------------------------------------------------------------------------------


@pytest.fixture
def house():
    """A directory that another user may enter, with a certificate for forms.example.com."""
    with Bridge(start=False) as b:
        make_certificate(b.dir, name="forms.example.com")
        b.dir.chmod(0o755)
        yield b


def adapted(text, house):
    """Its paths and its user as they are in this house; all else as it stands there."""
    user = "nobody" if os.geteuid() == 0 else None
    for key, value in (("certificate", house.dir / "cert.pem"), ("private_key", house.dir / "key.pem"), ("user", user)):
        text, count = re.subn(rf"(?m)^(#?{key}\s*=\s*).*", rf"\g<1>{value}" if value else "", text)
        assert count == 1, key
    mail = house.dir / "home"
    mail.mkdir()
    if user:
        shutil.chown(mail, user)
    text, count = re.subn(r"maildir:/home/orders/Maildir", f"maildir:{mail}/Maildir", text)
    assert count == 1
    if not re.search(r"(?m)^spool\s*=", text):
        text = text.replace("[bridge]\n", f"[bridge]\nspool = {house.spool}\n", 1)
    path = house.dir / "adapted.ini"
    path.write_text(text)
    return path


AS_ROOT = "started as root without user"  # how the tests themselves may run, and worth its warning


def readme_config():
    (block,) = re.findall(r"(?m)^    \[bridge\]\n(?:(?:    .*)?\n)*", (ROOT / "README").read_text())
    return re.sub(r"(?m)^    ", "", block).rstrip() + "\n"


@pytest.mark.parametrize("text", [readme_config(), (ROOT / "config.ini.example").read_text()], ids=["README", "config.ini.example"])
def test_the_configs_that_are_shown_are_in_order(house, text):
    answer = run("-c", adapted(text, house), "check")
    assert (answer.returncode, answer.stderr) == (0, ""), answer.stdout
    said = [line for line in answer.stdout.splitlines() if AS_ROOT not in line]
    assert not any(line.startswith(("problem:", "warning:")) for line in said), answer.stdout


def test_the_readme_names_commands_that_exist():
    text = (ROOT / "README").read_text()
    offered = run("--help").stdout
    commands = set(re.findall(r"(?m)^    .*\bformbridge (\w+)$", text))
    assert {"check", "demo"} <= commands
    for command in commands:
        assert re.search(rf"(?m)^    formbridge (\[-c FILE\] )?{command}\b", offered), command
    targets = set(re.findall(r"(?m)^    (?:sudo )?make (\w+)$", text))
    assert {"install", "test"} <= targets
    for target in targets:
        assert re.search(rf"(?m)^{target}:", (ROOT / "Makefile").read_text()), target


# ---- check ------------------------------------------------------------------------------------------------------


def check(house, expected=78):
    house.write_config()
    answer = run("-c", house.dir / "config.ini", "check")
    assert answer.returncode == expected, answer.stdout + answer.stderr
    return answer.stdout if expected != 2 else answer.stderr


@pytest.fixture
def setup():
    with Bridge(start=False) as b:
        yield b


def test_check_says_what_is_in_order(setup):
    check(setup, 0)  # makes spool and Maildir, and says so
    whole = check(setup, 0).splitlines()
    lines = [line for line in whole if AS_ROOT not in line]
    # As root without user there is a warning, and the last line speaks of it.
    assert lines[-1] == ("Everything is in order." if len(lines) == len(whole)
                         else "Good enough to start; but read the warnings.")
    assert all(line.startswith("ok: ") for line in lines[:-1])
    said = "\n".join(lines)
    for part in ("config.ini has no mistakes", "sandbox: Landlock", "cert.pem: elliptic curve with 256 bits, valid until 20",
                 "key.pem belongs to the certificate", f"spool {setup.spool} can be written",
                 f"form order: maildir:{setup.maildir} can be written"):
        assert part in said


def test_check_says_what_it_has_made(setup):
    """Or a mistyped path is found only by who misses mail."""
    other = setup.dir / "Mialdir"
    setup.config["form order"]["deliver"] = f"maildir:{other}"
    said = check(setup, 0)
    for what, path in (("Maildir", other), ("spool", setup.spool)):
        assert f"\nmade: {what} {path}, which was not there; if its path is mistyped" in said
        assert path.is_dir()
    assert "was not there" not in check(setup, 0)
    shutil.rmtree(other)
    with setup:
        setup.start()
        assert f": made: Maildir {other}, which was not there" in setup.log()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start as another user")
def test_check_says_that_a_maildir_is_not_there_and_cannot_be_made(setup):
    setup.dir.chmod(0o755)
    setup.config["bridge"] |= {"user": "nobody"}
    said = check(setup)
    assert f"Maildir {setup.maildir} is not there, and the user of [bridge] may not make it: correct its path" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can put a file back for another user")
def test_check_says_that_files_of_the_spool_cannot_be_read(setup):
    """As root put them back from a backup. A start is not refused for it: new mail can be taken all the same."""
    setup.dir.chmod(0o755)
    setup.config["bridge"] |= {"user": "nobody"}
    setup.config["form order"]["deliver"] = f"lmtp:{setup.dir}/nowhere"
    setup.write_config()
    with setup:
        setup.start()
        assert setup.post([("name", "Ada")])[0] == 200
        setup.stop()
        assert f"ok: spool {setup.spool}: its files can be read\n" in check(setup, 0)
        message, = (p for p in (setup.spool / "queue").iterdir() if not p.name.endswith(".state"))
        foreign = [message, setup.spool / "held" / message.name, setup.spool / "once" / "key", setup.spool / "token.secret"]
        foreign[1].write_text("")
        for path in foreign:
            path.chmod(0o600)
            os.chown(path, 0, 0)
        said = f"spool {setup.spool}: its user cannot read 4 of its files: chown -R nobody {setup.spool}\n"
        assert f"problem: {said}" in check(setup)
        setup.start()
        setup.wait_for_log(f"warning: {said}")
        setup.stop()
        for n in range(300):
            (setup.spool / "held" / f"20260101T000000Z.AAAA-BBBB-{n:04}.order").touch(0o600)
        assert re.search(r"its user cannot read 30\d of its files, of the first 300 in each directory: chown -R", check(setup))
        subprocess.run(["chown", "-R", "nobody", setup.spool], check=True)
        assert f"ok: spool {setup.spool}: its files, of the first 300 in each directory, can be read\n" in check(setup, 0)


@pytest.mark.parametrize("rule, said", [
    ({"required": "yes", "pattern": "[0-9]{5}"}, True), ({"pattern": "[0-9]{5}"}, False),
    ({"required": "yes", "pattern": "[0-9]{5}", "example": "12345"}, False),
    ({"required": "yes", "type": "date", "min": "today", "example": "2020-01-01"}, True), ({"required": "yes"}, False)])
def test_check_warns_where_the_command_test_would_be_refused(setup, rule, said):
    setup.config["field order zip"] = rule
    words = "warning: form order: formbridge test has no value for the field zip: set example in [field order zip]"
    assert (words in check(setup, 0)) == said


def test_check_warns_of_a_config_that_others_may_write(setup):
    setup.write_config()
    (setup.dir / "config.ini").chmod(0o664)
    answer = run("-c", setup.dir / "config.ini", "check")
    assert answer.returncode == 0 and "config.ini can be written by others than its owner" in answer.stdout
    (setup.dir / "config.ini").chmod(0o644)
    assert "by others" not in run("-c", setup.dir / "config.ini", "check").stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start as another user")
def test_check_says_once_that_the_user_is_missing(setup):
    setup.config["bridge"] |= {"user": "nosuch-user"}
    said = check(setup)
    assert said.count("user nosuch-user does not exist: create it") == 1 and said.count("problem:") == 1


def test_check_names_every_mistake_with_its_line(setup):
    setup.config["bridge"].update(listn="127.0.0.1:1", max_body="12X", idle_timeout="-1")
    setup.config["form order"].update(to="nobody", subject=None, deliver="maildir:relative")
    said = check(setup, 2)
    path = setup.dir / "config.ini"
    for number, line in enumerate(path.read_text().splitlines(), 1):
        bad = line.split(" = ")[0] in ("listn", "max_body", "idle_timeout", "to", "deliver")
        assert (f"{path}:{number}: " in said) == bad, f"{line}\n{said}"
    assert "listen" in said, "the nearest known name is told"


def break_key(b):
    make_certificate(b.dir / "other")
    shutil.copy(b.dir / "other" / "key.pem", b.dir / "key.pem")


def file_in_the_way(b):
    b.maildir.write_text("")


def encrypt_key(b):
    subprocess.run(["openssl", "pkey", "-in", b.dir / "key.pem", "-aes256", "-passout", "pass:x", "-out", b.dir / "key2.pem"], check=True)
    (b.dir / "key2.pem").replace(b.dir / "key.pem")


def lock_the_mailbox(b):
    b.dir.chmod(0o755)
    (b.dir / "home").mkdir(0o500)
    b.config["form order"]["deliver"] = f"maildir:{b.dir}/home/Maildir"
    if os.geteuid() == 0:
        b.config["bridge"]["user"] = "nobody"


BROKEN = {  # what is done to a good setup, and what the answer must speak of
    "no-certificate": (lambda b: (b.dir / "cert.pem").unlink(), ["cert.pem", "No such file"]),
    "no-key": (lambda b: (b.dir / "key.pem").unlink(), ["key.pem", "No such file"]),
    "other-key": (break_key, ["key.pem does not belong to the certificate", "cert.pem"]),
    "open-key": (lambda b: (b.dir / "key.pem").chmod(0o644), ["key.pem", "chmod"]),
    "encrypted-key": (encrypt_key, ["key.pem", "encrypted"]),
    "no-pem": (lambda b: (b.dir / "cert.pem").write_text("x"), ["cert.pem"]),
    "file-for-a-maildir": (file_in_the_way, ["form order: ", "Maildir"]),
    "locked-mailbox": (lock_the_mailbox, ["form order: ", "home/Maildir", "Permission denied"]),
    "file-for-a-spool": (lambda b: b.spool.write_text(""), ["spool"]),
    "no-such-user": (lambda b: b.config["bridge"].update(user="no-such-user"), ["user no-such-user", "adduser"]),
}


@pytest.mark.parametrize("name", BROKEN)
def test_check_says_what_is_wrong_and_the_program_does_not_start(setup, name):
    (setup.dir / "other").mkdir()
    breaking, words = BROKEN[name]
    breaking(setup)
    said = check(setup)
    lines = [line for line in said.splitlines() if line.startswith("problem: ")]
    assert lines and all(any(w in line for line in lines) for w in words), said
    assert said.splitlines()[-1] == "Put the problems right, then check again."
    answer = run("-c", setup.dir / "config.ini")
    assert answer.returncode == 78
    for line in lines:
        assert line.removeprefix("problem: ") in answer.stderr


def test_check_warns_of_what_will_be_wrong(setup):
    make_certificate(setup.dir, days=7)
    setup.config["bridge"]["hostname"] = "forms.example.com"
    said = check(setup, 0)
    assert re.search(r"warning: .*cert\.pem expires on \S+, in [67] days: renew it\n", said)
    assert re.search(r"warning: .*cert\.pem is not for forms\.example\.com: ", said)


# ---- the command line -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["chekc"], ["--chekc"], ["-x"], ["-c"], ["check", "more"], ["test"], ["demo", "a", "b"]])
def test_what_is_not_understood_is_a_usage_error_that_names_it(arguments):
    answer = run(*arguments)
    assert answer.returncode == 64 and answer.stdout == ""
    assert arguments[0].lstrip("-") in answer.stderr and "--help" in answer.stderr


@pytest.mark.parametrize("arguments", [[], ["check"]])
def test_a_config_that_is_not_there_is_named(tmp_path, arguments):
    answer = run("-c", tmp_path / "none.ini", *arguments)
    assert answer.returncode == 2 and str(tmp_path / "none.ini") in answer.stderr and "No such file" in answer.stderr
