"""The turn server with a device: one that does not exist, and one that fails while the server runs."""

import io
import re
import subprocess
import sys

import httpx
import numpy as np

TIMEOUT_S = 60

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


def test_device_that_does_not_exist():
    command = [sys.executable, "-m", "sca", "turn", "serve", "--port", "0", "--device", "cuda:99"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 4
    assert done.stderr.startswith("sca: turn.device is cuda:99, and torch ")
    assert "finds" in done.stderr
