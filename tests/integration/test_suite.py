"""What conftest.py guarantees: no test reaches another machine, and every test file has a category."""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

CONFTEST = Path(__file__).resolve().parents[1] / "conftest.py"
OTHER_MACHINE = "192.0.2.1"  # reserved for documentation (RFC 5737)


def test_blocks_connections_to_other_machines():
    with pytest.raises(RuntimeError, match="stay on this machine"), socket.socket() as client:
        client.connect((OTHER_MACHINE, 80))
    with pytest.raises(RuntimeError, match="stay on this machine"), socket.socket(type=socket.SOCK_DGRAM) as client:
        client.sendto(b"x", (OTHER_MACHINE, 53))


def test_blocks_name_lookups():
    for look_up in (lambda: socket.create_connection(("example.org", 80)), lambda: socket.gethostbyname("example.org")):
        with pytest.raises(RuntimeError, match=r"example\.org"):
            look_up()


def test_blocks_asyncio_connections():
    with pytest.raises(RuntimeError, match="stay on this machine"):
        asyncio.run(asyncio.open_connection(OTHER_MACHINE, 80))


def test_allows_loopback():
    with socket.create_server(("127.0.0.1", 0)) as server:
        for host in ("127.0.0.1", "localhost"):
            socket.create_connection((host, server.getsockname()[1]), timeout=60).close()


def test_hubs_are_offline_in_child_processes():
    assert os.environ["HF_HUB_OFFLINE"] == "1"


@pytest.mark.parametrize(("files", "code"), [(("unit/test_x.py", "test_layers.py"), 0), (("misc/test_x.py",), 4)])
def test_requires_a_category(tmp_path, files, code):
    shutil.copy(CONFTEST, tmp_path / "conftest.py")
    for where in files:
        (tmp_path / where).parent.mkdir(exist_ok=True)
        (tmp_path / where).write_text("def test_nothing():\n    pass\n")
    options = ["-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", tmp_path, "--import-mode=importlib"]
    command = [sys.executable, "-m", "pytest", *options, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    if code:
        assert "misc/test_x.py belongs in one of golden, integration, property, unit" in done.stderr


def test_long_files_exist_and_start_first(pytestconfig, monkeypatch):
    conftest = pytestconfig.pluginmanager.get_plugin(str(CONFTEST))
    longest = conftest.LONGEST
    assert [name for name in longest if not list(CONFTEST.parent.rglob(name))] == []
    paths = [CONFTEST.parent / "unit" / "test_x.py", *(CONFTEST.parent / "unit" / name for name in reversed(longest))]
    items = [SimpleNamespace(path=path, get_closest_marker=lambda _name: None) for path in paths]
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")
    conftest.pytest_collection_modifyitems(pytestconfig, items)
    assert [item.path.name for item in items] == [*longest, "test_x.py"]


def test_lists_repeated_attempts(tmp_path):
    shutil.copy(CONFTEST, tmp_path / "conftest.py")
    (tmp_path / "unit").mkdir()
    (tmp_path / "unit" / "test_x.py").write_text("def test_x(report_retry):\n    report_retry('the device stopped')\n")
    options = ["-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", tmp_path, "--import-mode=importlib"]
    command = [sys.executable, "-m", "pytest", *options, "-n", "1", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "unit/test_x.py::test_x: the device stopped" in done.stdout
