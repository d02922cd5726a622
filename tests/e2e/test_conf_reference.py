"""The reference of the config, as example and as manual, says what the program does."""

import pathlib
import re
import subprocess

import pytest

from bridge import build_tool

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "config.ini.example"
MANUAL = ROOT / "doc" / "formbridge.ini.5"


@pytest.fixture(scope="session")
def confkeys(tmp_path_factory):
    """tests/tools/confkeys.c, with so much of the program as it calls."""
    return build_tool("confkeys", tmp_path_factory.mktemp("confkeys"))


@pytest.fixture(scope="session")
def keys(confkeys):
    """{(section, key): default}, in the order of the program; words are in parentheses."""
    lines = subprocess.run([confkeys], check=True, capture_output=True, text=True).stdout.splitlines()
    table = {tuple(line.split(" ", 2)[:2]): line.split(" ", 2)[2] for line in lines}
    assert len(table) == len(lines) > 40
    return table


def mistakes(confkeys, text, path):
    path.write_text(text)
    run = subprocess.run([confkeys, path], capture_output=True, text=True)
    assert run.returncode == (1 if run.stdout else 0)
    return run.stdout


def example_keys():
    """{(section, key): default}: the words after "Default:" or "Required." above it, or else what its line says."""
    found, section, said = {}, None, None
    for line in EXAMPLE.read_text().splitlines():
        header = re.fullmatch(r"#?\[(\w+)(?: \w+)*\]", line)
        key = re.fullmatch(r"(#?)(\w+) = (.+)", line)
        if header:
            section = header[1]
        elif key:
            assert (section, key[2]) not in found, f"{key[2]} is there twice"
            assert said or key[1], f"{key[2]}: what is its default?"
            found[section, key[2]] = said or key[3]
        if line.startswith("# Default: "):
            said = f"({line[len('# Default: '):]})"
        elif line.endswith(" Required."):
            said = "(required)"
        elif not line.startswith("# "):
            said = None
    return found


def manual_keys():
    """{(section, key): default} of the lists under the .Ss headings."""
    found = {}
    for section in re.split(r"^\.Ss \[", MANUAL.read_text(), flags=re.M)[1:]:
        section = section.split("\n.Sh ")[0]
        name = re.match(r"\w+", section)[0]
        for item in re.split(r"^\.It Cm ", section, flags=re.M)[1:]:
            key = item.split()[0]
            assert (name, key) not in found, f"{key} is there twice"
            default = re.findall(r"^Required\.$|^Default:\n\.Ql (.*) \.$|^Default: (.*)\.$", item, flags=re.M)
            assert len(default) == 1, f"{key}: not one default but {default}"
            value, words = default[0]
            found[name, key] = value or f"({words or 'required'})"
    return found


def test_the_example_names_every_key_with_its_default(keys):
    assert example_keys() == keys


def test_the_manual_names_every_key_with_its_default(keys):
    assert manual_keys() == keys
    assert list(manual_keys()) == list(keys), "the order is another one"


def test_the_example_is_valid_as_it_stands(confkeys, tmp_path):
    assert mistakes(confkeys, EXAMPLE.read_text(), tmp_path / "config.ini") == ""


def test_the_example_is_valid_with_every_key_taken_from_its_comment(confkeys, tmp_path):
    text = re.sub(r"^#(?=\[|\w+ = )", "", EXAMPLE.read_text(), flags=re.M)
    assert text.count("\n[") == 8
    assert mistakes(confkeys, text, tmp_path / "config.ini") == ""


def test_the_examples_of_the_manual_are_valid(confkeys, tmp_path):
    examples = MANUAL.read_text().split("\n.Sh EXAMPLES")[1].split("\n.Sh ")[0]
    text = "\n".join(re.findall(r"^\.Bd .*\n((?s:.*?))^\.Ed", examples, flags=re.M))
    assert text.count("[form ") == 2
    assert mistakes(confkeys, text, tmp_path / "config.ini") == ""


def test_the_messages_of_the_manual_are_those_of_the_program(confkeys, tmp_path):
    section = MANUAL.read_text().split("\n.Sh DIAGNOSTICS")[1].split("\n.Sh ")[0]
    block = re.search(r"^\.Bd .*\n((?s:.*?))^\.Ed", section, flags=re.M)[1]
    shown = re.sub(r"\n +", " ", block).splitlines()
    text = (
        "[bridge]\nhostname = forms.example.com\ncertificate = /c\nlisen = 0.0.0.0:443\nprivate_key = /k\n\n\n\n"
        "max_head = 99k\n\n\n[form order]\nto = orders@example.com\ndeliver = maildir:/m\n"
    )
    path = tmp_path / "config.ini"
    assert mistakes(confkeys, text, path).replace(f"{path}:", "config.ini:").splitlines() == shown


def test_the_manual_is_clean():
    subprocess.run(["mandoc", "-Tlint", "-Wwarning", MANUAL], check=True)
