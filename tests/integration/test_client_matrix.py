"""Clients that others wrote hold conversations with the live server, each with an interruption.

They speak in pieces of several sizes, over a network that stalls, and to an engine that needs time. `tests/clients` has
their programs; `scripts/test --prepare` installs those that are not in the group dev.
"""

import os
import re
from pathlib import Path

import pytest

from tests.helpers.client_matrix import CLIENTS, CONDITIONS, check, run_clients

MAX_RETRIES = 3
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


@pytest.fixture(scope="module")
def retries():
    """Clients whose conversation was repeated alone, because a busy machine can be seconds late with an interruption."""
    return []


@pytest.mark.parametrize(("name", "condition"), CELLS)
def test_conversation_with_an_interruption(matrix, retries, report_retry, tmp_path, name, condition):
    if name not in matrix:
        problem = f"{name} is not in {CLIENTS[name].missing}; scripts/test --prepare installs it"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(problem)
    reports = matrix[name]
    cell = check(reports.get(condition))
    if cell.faults and len(retries) < MAX_RETRIES:
        retries.append(name)
        report_retry("; ".join(cell.faults))
        reports = run_clients([name], tmp_path, {condition: CONDITIONS[condition]})[name]
        cell = check(reports.get(condition))
    assert cell.faults == [], reports["stderr"]


def test_documented_versions_are_those_that_are_installed():
    pins = re.search(r'^node_clients="(.*)"\npython_clients="(.*)"$', (ROOT / "scripts/test").read_text(), re.MULTILINE)
    named = re.findall(r"`(\S+?(?:@|==)[\d.]+)`", (ROOT / "docs/serve-clients.md").read_text())
    assert set(named) == set(f"{pins[1]} {pins[2]}".split()) - {"livekit-agents==1.8.9"}
