import pathlib
import shutil
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from bridge import Bridge  # noqa: E402


@pytest.fixture(scope="session")
def modules(tmp_path_factory):
    """What package.json names, as npm installs it."""
    folder = tmp_path_factory.mktemp("npm")
    shutil.copy(pathlib.Path(__file__).with_name("package.json"), folder)
    subprocess.run(["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"],
                   cwd=folder, check=True, timeout=120, capture_output=True)
    return folder / "node_modules"


@pytest.fixture(scope="session")
def axe(modules):
    """axe(browser): what an accessibility checker finds serious or critical on the page (WCAG 2.2 AA and its own advice)."""
    source = (modules / "axe-core" / "axe.min.js").read_text()

    def check(browser):
        found = browser.execute_async_script(source + "; axe.run(document).then(arguments[0])")
        assert len(found["passes"]) > 5, "it has looked at the page"
        return [(v["id"], v["impact"], [n["html"][:120] for n in v["nodes"]]) for v in found["violations"]
                if v["impact"] in ("serious", "critical")]
    return check


@pytest.fixture
def bridge():
    with Bridge() as b:
        yield b
