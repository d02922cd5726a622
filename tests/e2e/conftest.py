import sys
import pathlib

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from bridge import Bridge  # noqa: E402


@pytest.fixture
def bridge():
    with Bridge() as b:
        yield b
