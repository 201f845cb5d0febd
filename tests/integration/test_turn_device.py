"""The turn server with a device: none, one that does not exist, and one that fails while the server runs."""

import io
import json
import re
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np

from sca.distribution import install_extra
from tests.helpers.command import sca

TIMEOUT_S = 60
BENCH = Path(__file__).parents[2] / "scripts/bench/turn.py"

WITHOUT_TORCH = """
import asyncio, sys
sys.modules["torch"] = sys.modules["transformers"] = None
import numpy as np
from sca.config import load_settings
from sca.errors import MissingToolError
from sca.infer.turn.serving.service import load_service

def config(**overrides):
    return load_settings(overrides={f"turn.{name}": value for name, value in overrides.items()}, env={}).turn

service = load_service(config(pool=1))
assert 0 < asyncio.run(service.predict(np.zeros(1600, np.float32))).probability < 1
service.close()
try:
    load_service(config(device="cuda"))
except MissingToolError as error:
    print(error.exit_code, error.message, error.hint, sep="; ")
"""

FAILING_DEVICE = """
import sys
from sca.cli.main import run
from sca.infer.turn.models.model import DeviceLostError
from sca.infer.turn.models.smart_turn_v3_torch import SmartTurnV3Torch

class Failing:
    name, device, dtype, precision, window_samples = "smart-turn-v3", "cuda", "bfloat16", "turn.dtype", 128000
    lengths, compiled, captured, notices = (128000,), False, [], []
    reserve = warm_up = stage = lambda self, *arguments: None
    def run(self, side, rows, size):
        raise DeviceLostError("the device cuda does not answer any more: unspecified launch failure", hint="start again")

SmartTurnV3Torch.load = classmethod(lambda *arguments, **options: Failing())
sys.argv = ["sca", "turn", "serve", "--port", "0", "--device", "cuda"]
run()
"""


def test_lost_device_ends_the_server():
    body = io.BytesIO()
    np.save(body, np.zeros(1600, np.float32))
    with subprocess.Popen([sys.executable, "-c", FAILING_DEVICE], stderr=subprocess.PIPE, text=True) as process:
        try:
            line = process.stderr.readline()
            found = re.search(r"listening on (http://\S+)", line)
            assert found, line + process.stderr.read()
            answer = httpx.post(f"{found[1]}/raw", content=body.getvalue(), timeout=TIMEOUT_S)
            assert answer.status_code == 500
            assert process.wait(TIMEOUT_S) == 6
            left = process.stderr.read()
        finally:
            process.kill()
    assert "sca: the device cuda does not answer any more: unspecified launch failure" in left
    assert "start again" in left


def test_v3_is_served_without_torch():
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert done.stdout == f"4; smart-turn v3 on a GPU or in 16 bits needs torch; {install_extra('live')}\n", done.stderr


def test_bench_lists_its_checks_without_the_device():
    command = [sys.executable, str(BENCH), "--device", "cuda:99", "--all"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
    *listed, last = done.stdout.splitlines()
    document = json.loads(last)
    assert document["ran"] is False
    assert listed[0].endswith("this would run:")
    assert [line.split()[0] for line in listed[1:]] == [*document["checks"], "server"]


def test_device_that_does_not_exist():
    done = sca("turn", "serve", "--port", "0", "--device", "cuda:99")
    assert done.returncode == 4
    assert done.stderr.startswith("sca: turn.device is cuda:99, and torch ")
    assert "finds" in done.stderr
