"""Setup of all tests: no network, no settings from outside, a category for every test, reproducible examples."""

import gc
import ipaddress
import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import gettempdir

import pytest
from hypothesis import settings

TESTS = Path(__file__).resolve().parent
CATEGORIES = {"unit", "property", "golden", "integration"}
UNCATEGORISED = {"test_layers.py", "test_docs.py", "test_readme.py"}

# Files that take over 30 s, the longest first. They start first, so that no worker is idle while another one still runs
# a long file. Pages, clients and devices in real time mostly wait.
LONGEST = (
    "test_docs.py",
    "test_train_loop.py",
    "test_train_processes.py",
    "test_client_matrix.py",
    "test_page_conversation.py",
    "test_devices.py",
    "test_page.py",
    "test_qwen_talker_process.py",
    "test_qwen_slots.py",
    "test_cascade_weights.py",
    "test_verify_mutations.py",
    "test_duplex_urls.py",
    "test_train_run.py",
    "test_transcribe.py",
    "test_accept_damage.py",
    "test_inspect.py",
    "test_build_duplex.py",
    "test_qwen_load.py",
    "test_duplex_training.py",
    "test_earlier_readme.py",
    "test_speech_weights.py",
    "test_weights.py",
    "test_qwen_omni.py",
    "test_download.py",
    "test_url_folders.py",
    "test_ray.py",
    "test_chaos_scale.py",
)

# Processes that tests start inherit these; the network guard below does not reach them. Hubs must not be contacted.
os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TRANSFORMERS_OFFLINE="1", NO_COLOR="1")
# Settings of the person who runs the tests must not apply. NO_COLOR makes the output of commands comparable.
for _name in [name for name in os.environ if name.startswith("SCA_")]:
    del os.environ[_name]
os.environ.pop("UV_RUN_RECURSION_DEPTH", None)  # `uv run pytest`: printed commands begin with `uv run`
os.environ["XDG_CONFIG_HOME"] = str(Path(gettempdir()) / "sca-tests-config")

# A shell that runs the tests in the background makes them and their child processes ignore Ctrl-C, which some tests
# send.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("sca", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("sca")


class NetworkBlockedError(RuntimeError):
    """A test tried to reach another machine.

    Not an OSError, so that code that handles network failures does not hide it.
    """


def _is_local(host: object) -> bool:
    name = host.decode() if isinstance(host, bytes) else str(host)
    if name in ("", "None", "localhost", socket.gethostname()):
        return True
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _guard(event: str, args: tuple[object, ...]) -> None:
    # An audit hook covers every socket of the interpreter, also those of asyncio and of C extensions. It cannot be
    # removed.
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = args[1]
        if isinstance(address, tuple) and not _is_local(address[0]):
            raise NetworkBlockedError(f"a test tried to reach {address[0]}; tests must stay on this machine")
    elif event in ("socket.getaddrinfo", "socket.gethostbyname") and not _is_local(args[0]):
        raise NetworkBlockedError(f"a test tried to look up {args[0]}; tests must stay on this machine")


sys.addaudithook(_guard)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Reject tests without a category, skip GPU tests without a GPU, and put long files first in parallel runs."""
    for path in sorted({item.path for item in items}):
        where = path.relative_to(TESTS)
        if where.parts[0] not in CATEGORIES and str(where) not in UNCATEGORISED:
            raise pytest.UsageError(f"tests/{where} belongs in one of {', '.join(sorted(CATEGORIES))}")
    if os.environ.get("PYTEST_XDIST_WORKER"):
        # `scripts/test` turns off the order of xdist, which has files with many tests first, however short they are.
        first = {name: place for place, name in enumerate(LONGEST)}
        counts = Counter(item.path for item in items)
        items.sort(key=lambda item: (first.get(item.path.name, len(first)), -counts[item.path], item.path))
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked and not _has_gpu():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


def pytest_collection_finish() -> None:
    """Keep the garbage collector off the modules of all libraries, which every full collection visited: 0.5 s each."""
    gc.collect()
    gc.freeze()


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


@pytest.fixture
def report_retry(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Report an attempt that failed before a test succeeded. The end of the run lists them, so no retry hides a fault.

    Only tests of devices and clients in real time may retry: a virtual machine that is paused tears their sound.
    """
    return lambda reason: record_property("retry", reason)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List the attempts that failed before their tests succeeded."""
    reports = [report for name in ("passed", "failed") for report in terminalreporter.getreports(name)]
    retries = [
        (report.nodeid, reason)
        for report in reports
        if report.when == "call"
        for name, reason in report.user_properties
        if name == "retry"
    ]
    if retries:
        terminalreporter.section("repeated attempts")
        for nodeid, reason in retries:
            terminalreporter.line(f"{nodeid}: {reason}")


@pytest.fixture(scope="session")
def weights() -> Callable[[str], Path]:
    """Return the folder of a model that `scripts/test --prepare` fetched. Without it, the test is skipped, or fails in CI."""
    from sca.errors import MissingToolError
    from sca.models import resolve
    from sca.models.catalog import by_name

    def folder(name: str) -> Path:
        try:
            found = resolve(f"pkg:{by_name(name).name}")
        except MissingToolError as error:
            if os.environ.get("CI"):
                pytest.fail(f"{error.message}; scripts/test --prepare fetches it, with a network")
            pytest.skip(f"{error.message}; scripts/test --prepare fetches it")
        assert found is not None
        return found

    return folder


RECORDINGS = TESTS.parents[1] / "shared" / "data"
"""Recordings of real people. They exist beside a developer's checkout and are not part of the project."""


@pytest.fixture(scope="session")
def trial_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of recordings: `clips`, and `conversation` in the MagicHub layout.

    A synthetic replacement where they are missing.
    """
    if RECORDINGS.is_dir():
        return RECORDINGS
    if os.environ.get("CI"):
        pytest.fail(f"{RECORDINGS} is missing; CI tests with real recordings")
    from scripts.make_trial_data import make

    return make(tmp_path_factory.mktemp("trial-data"))


@pytest.fixture(scope="session")
def real_recordings(trial_data: Path) -> Path | None:
    """`trial_data` for tests of numbers that hold for the real recordings only; None for the synthetic replacement."""
    return trial_data if trial_data == RECORDINGS else None


@pytest.fixture(scope="session")
def stand_in(trial_data: Path, real_recordings: Path | None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The synthetic replacement of the recordings, also where the recordings exist."""
    if real_recordings is None:
        return trial_data
    from scripts.make_trial_data import make

    return make(tmp_path_factory.mktemp("stand-in"))


@pytest.fixture(scope="session")
def tiny_omni(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny random float32 Qwen3-Omni with the real vocabulary (`sca.train.tiny`).

    Tests must not write into it.
    """
    from sca.train.tiny import save

    return save(tmp_path_factory.mktemp("omni") / "tiny")
