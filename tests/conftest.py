"""What holds for every test: no network, no settings from outside, a category, reproducible examples."""

import ipaddress
import os
import signal
import socket
import sys
from pathlib import Path

import pytest
from hypothesis import settings

TESTS = Path(__file__).resolve().parent
CATEGORIES = {"unit", "property", "golden", "integration"}
ALONE = {"test_layers.py", "test_docs.py", "test_readme.py"}

# Inherited by the processes that tests start, where the guard below does not reach: hubs are never asked.
os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TRANSFORMERS_OFFLINE="1", NO_COLOR="1")
# Settings of the person who runs the tests are theirs. NO_COLOR keeps what commands print comparable.
for _name in [name for name in os.environ if name.startswith("SCA_")]:
    del os.environ[_name]

# A shell that starts the tests in the background has them ignore Ctrl-C, and what they start inherits it; some tests are about it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("sca", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("sca")


class NetworkBlockedError(RuntimeError):
    """A test tried to leave this machine. No OSError, so that code which handles a dead network does not hide it."""


def _is_here(host: object) -> bool:
    name = host.decode() if isinstance(host, bytes) else str(host)
    if name in ("", "None", "localhost", socket.gethostname()):
        return True
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _guard(event: str, args: tuple[object, ...]) -> None:
    # An audit hook sees every socket of the interpreter, asyncio's and C extensions' too. It cannot be taken back.
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = args[1]
        if isinstance(address, tuple) and not _is_here(address[0]):
            raise NetworkBlockedError(f"a test tried to reach {address[0]}; tests talk to this machine only")
    elif event in ("socket.getaddrinfo", "socket.gethostbyname") and not _is_here(args[0]):
        raise NetworkBlockedError(f"a test tried to look up {args[0]}; tests talk to this machine only")


sys.addaudithook(_guard)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuse a test without a category; let GPU tests skip where there is none."""
    for path in sorted({item.path for item in items}):
        where = path.relative_to(TESTS)
        if where.parts[0] not in CATEGORIES and str(where) not in ALONE:
            raise pytest.UsageError(f"tests/{where} belongs in one of {', '.join(sorted(CATEGORIES))}")
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked and not _has_gpu():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


RECORDINGS = (
    TESTS.parents[1] / "shared" / "data"
)  # of real people; beside a developer's checkout, no part of the project


@pytest.fixture(scope="session")
def trial_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of recordings: `clips`, and `conversation` in the MagicHub layout. Where there are none, a synthetic stand-in."""
    if RECORDINGS.is_dir():
        return RECORDINGS
    if os.environ.get("CI"):
        pytest.fail(f"{RECORDINGS} is missing, and CI tests with real recordings")
    from scripts.make_trial_data import make

    return make(tmp_path_factory.mktemp("trial-data"))


@pytest.fixture(scope="session")
def real_recordings(trial_data: Path) -> Path | None:
    """`trial_data` for tests of numbers that only the real recordings give; None where it is the stand-in."""
    return trial_data if trial_data == RECORDINGS else None


@pytest.fixture(scope="session")
def stand_in(trial_data: Path, real_recordings: Path | None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stand-in for the recordings, also where they are."""
    if real_recordings is None:
        return trial_data
    from scripts.make_trial_data import make

    return make(tmp_path_factory.mktemp("stand-in"))


@pytest.fixture(scope="session")
def tiny_omni(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny random Qwen3-Omni with the real vocabulary, in float32 (`scripts.make_tiny_omni`). Never write into it."""
    from scripts.make_tiny_omni import save

    return save(tmp_path_factory.mktemp("omni") / "tiny")
