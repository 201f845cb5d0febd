"""The bench of the live server under abuse, in its short form."""

import json
import subprocess
import sys
from pathlib import Path

from tests.helpers.timeouts import TIMEOUT_S

SCRIPT = Path(__file__).resolve().parents[2] / "scripts/bench/abuse.py"


def test_a_session_loses_nothing_under_abuse():
    command = [sys.executable, str(SCRIPT), "--quick", "--seconds", "0.1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=2 * TIMEOUT_S)
    assert done.returncode == 0, done.stderr + done.stdout
    report = json.loads(done.stdout)
    assert {row["attack"]: row["dropped"] for row in report["attacks"]} == dict.fromkeys(
        ("upload", "head", "unread", "pings", "connections", "half-open"), 0
    )
    by_name = {row["attack"]: row["answer"] for row in report["attacks"]}
    assert by_name["head"].startswith("HTTP/1.1 431")
    assert by_name["upload"].startswith("HTTP/1.1 422")
