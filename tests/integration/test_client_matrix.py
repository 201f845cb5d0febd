"""Clients that others wrote hold conversations with the live server, each with an interruption.

They speak in pieces of several sizes, over a network that stalls, and to an engine that needs time. `tests/clients` has
their programs; `scripts/test --prepare` installs those that are not in the group dev.
"""

import os
import re
from pathlib import Path

import pytest

from tests.helpers.client_matrix import CLIENTS, CONDITIONS, check, run_clients

ROOT = Path(__file__).resolve().parents[2]
CELLS = [
    pytest.param(name, condition, id=f"{name}-{condition}")
    for name, client in CLIENTS.items()
    for condition in CONDITIONS
    if condition not in client.skipped
]


@pytest.fixture(scope="module")
def matrix(tmp_path_factory):
    """Reports of all conversations, by client and condition."""
    present = [name for name, client in CLIENTS.items() if client.missing is None]
    return run_clients(present, tmp_path_factory.mktemp("clients"))


@pytest.mark.parametrize(("name", "condition"), CELLS)
def test_conversation_with_an_interruption(matrix, name, condition):
    if name not in matrix:
        problem = f"{name} is not in {CLIENTS[name].missing}; scripts/test --prepare installs it"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(problem)
    cell = check(matrix[name].get(condition))
    assert cell.faults == [], matrix[name]["stderr"]


def test_documented_versions_are_those_that_are_installed():
    pins = re.search(r'^node_clients="(.*)"\npython_clients="(.*)"$', (ROOT / "scripts/test").read_text(), re.MULTILINE)
    named = re.findall(r"`(\S+?(?:@|==)[\d.]+)`", (ROOT / "docs/serve-clients.md").read_text())
    assert set(named) == set(f"{pins[1]} {pins[2]}".split()) - {"livekit-agents==1.8.9"}
