"""What every test may ask for."""

import locale
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_is_heard() -> None:
    """A shell's background job (`make test &`) ignores Ctrl-C, and so would all that a test starts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def the_locale_stays() -> Iterator[None]:
    """GDCM, when it writes DICOM, can leave the process in the C locale, and the next test reads ASCII."""
    before = locale.setlocale(locale.LC_ALL)
    yield
    locale.setlocale(locale.LC_ALL, before)


@pytest.fixture(scope="session")
def root() -> Path:
    """The top of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def navkit_data() -> Path:
    """Real recordings (NAVKIT_DATA, else ../shared/data); the test is skipped where there are none."""
    folder = Path(os.environ.get("NAVKIT_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "LIST.md").is_file():
        pytest.skip("no real recordings here: set NAVKIT_DATA to their folder")
    return folder


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """A generator seeded by the test's own name: repeatable, and different in every test."""
    return np.random.default_rng(list(request.node.name.encode()))
