"""`LiveKitTurnDetector` in agent sessions of livekit-agents, with its detector of speech, and speech as their input."""

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from sca.audio.pcm import INT16_MAX, pcm16_bytes
from sca.distribution import install_extra
from sca.units import HEARD_HZ
from tests.helpers.client_matrix import PROGRAMS, cache, phrases
from tests.helpers.ports import refusing_port
from tests.helpers.turn_servers import answer, real, scripted

ROOT = Path(__file__).resolve().parents[2]
PAUSE_S = 0.9
PYTHON = cache() / "livekit/bin/python"

pytestmark = pytest.mark.skipif(not PYTHON.exists() and not os.environ.get("CI"), reason=f"needs {PYTHON}")


def microphone(hz):
    """Return two phrases with pauses, as PCM16."""
    one, two = phrases(hz)
    pause = np.zeros(int(PAUSE_S * hz), np.float32)
    return pcm16_bytes(np.concatenate([pause, one, pause, two, pause]), INT16_MAX)


def end_of(phrase):
    """Return when a phrase ends in `microphone`, in s."""
    return sum(PAUSE_S + len(samples) / HEARD_HZ for samples in phrases(HEARD_HZ)[: phrase + 1])


CASES = {
    "by model": {"headers": {"Authorization": "Key secret"}, "threshold": 0.5},
    "by delay": {},
    "late": {"timeout_s": 0.2},
    "401": {"auth_key": "wrong"},
    "refused": {},
    "real": {"threshold": 0.0},
}
RATES_HZ = {"by model": HEARD_HZ, "real": 48_000}
"""The rates of microphones that are not at 24 kHz."""


def finished_after_both(samples, _):
    return 200, answer(0.7 if len(samples) > (end_of(1) - PAUSE_S) * HEARD_HZ else 0.4), {}


class Sessions:
    """Sessions of agents at the same time, in the environment of livekit-agents.

    Attributes:
        reports: What `tests/clients/livekit_turns.py` printed, by the name of the session.
        servers: The scripted servers.
        answered: How many requests the real server has answered.
    """

    def __init__(self, folder):
        with ExitStack() as stack:
            self.servers = {
                name: stack.enter_context(scripted(0.1)) for name in ("by model", "by delay", "late", "401")
            }
            self.servers["by model"].reply = finished_after_both
            self.servers["by delay"].reply = lambda *_: (200, answer(0.1) | {"speech": False}, {})
            self.servers["late"].gate.clear()
            self.servers["401"].reply = lambda *_: (401, {"error": {"what": "no key"}}, {})
            server = stack.enter_context(real())
            urls = {name: server.url for name, server in self.servers.items()} | {"real": server.url}
            urls["refused"] = f"http://127.0.0.1:{stack.enter_context(refusing_port())}"
            done = self.run([self.session(folder, name, urls[name]) for name in CASES])
            self.answered = server.answered()
        assert done.returncode == 0, done.stderr
        self.reports = {report["name"]: report for report in map(json.loads, done.stdout.splitlines())}

    def session(self, folder, name, url):
        hz = RATES_HZ.get(name, 24_000)
        sound = folder / f"{hz}.raw"
        sound.write_bytes(microphone(hz))
        delays = {"max_delay": 0.5 if name == "by delay" else 60.0, "until_s": end_of(1)}
        return {"name": name, "detector": {"url": url} | CASES[name], "sound": str(sound), "hz": hz} | delays

    def run(self, runs):
        command = [PYTHON, PROGRAMS / "livekit_turns.py", json.dumps({"runs": runs})]
        env = os.environ | {"PYTHONPATH": str(ROOT)}
        return subprocess.run(command, capture_output=True, text=True, timeout=120, env=env)


@pytest.fixture(scope="module")
def sessions(tmp_path_factory):
    return Sessions(tmp_path_factory.mktemp("livekit"))


def test_the_model_decides_when_a_turn_ends(sessions):
    report, server = sessions.reports["by model"], sessions.servers["by model"]
    ((position_s, text),) = report["turns"]
    assert position_s > end_of(1), "not in the pause after the first phrase, with 0.4 below the threshold"
    assert text.split().count("words") >= 2
    assert report["requests"] == len(server.requests) >= 2
    assert report["errors"] == report["timeouts"] == 0


def test_requests_have_the_sound_of_the_turn(sessions):
    heard = np.frombuffer(microphone(HEARD_HZ), "<i2").astype(np.float32) / 32768
    for samples, headers in sessions.servers["by model"].requests:
        assert samples.dtype == np.float32
        assert headers["Authorization"] == "Key secret"
        assert (headers["X-Sample-Rate"], headers["X-Threshold"]) == (str(HEARD_HZ), "0.5")
        at = heard.tobytes().find(samples.tobytes())
        assert at >= 0, "as it was heard"
        assert 0.1 < at / heard.itemsize / HEARD_HZ < PAUSE_S + 0.3, "without the silence before the turn"
    report = sessions.reports["by model"]
    cancelled = report["requests"] - report["answered"]  # when speech goes on before the answer; this ends a connection
    assert sessions.servers["by model"].connections <= 1 + cancelled
    assert report["without_speech"] == 0


def test_unfinished_turn_ends_after_the_longest_delay(sessions):
    report = sessions.reports["by delay"]
    assert any(end_of(0) < position_s < end_of(1) for position_s, _ in report["turns"])
    assert report["errors"] == 0
    assert report["without_speech"] == report["answered"] > 0
    assert all(samples.size <= 8 * HEARD_HZ for samples, _ in sessions.servers["by delay"].requests)


@pytest.mark.parametrize(
    ("name", "cause"), [("late", "did not respond within 0.2 s"), ("refused", "cannot reach"), ("401", "no key")]
)
def test_turns_end_without_the_model_if_it_fails(sessions, name, cause):
    report = sessions.reports[name]
    ends_s = [position_s for position_s, _ in report["turns"]]
    assert any(end_of(0) < end_s < end_of(1) for end_s in ends_s), "in the pause, as with silence alone"
    assert ends_s[-1] > end_of(1)
    assert cause in report["last_error"]
    failed = report["timeouts"] if name == "late" else report["errors"]
    assert 1 <= failed <= report["requests"]


def test_real_server(sessions):
    report = sessions.reports["real"]
    assert report["errors"] == report["timeouts"] == 0
    assert report["requests"] == sessions.answered >= 2
    assert any(end_of(0) < position_s < end_of(1) for position_s, _ in report["turns"]), "any probability is enough"


def test_needs_livekit_agents_only_for_the_detector():
    code = """
import sys
sys.modules["livekit"] = None
import sca.infer.turn.client as client
assert not any(name.partition(".")[0] in ("httpx", "httpcore", "numpy", "pydantic") for name in sys.modules)
try:
    client.LiveKitTurnDetector
except Exception as error:
    print(type(error).__name__, error, error.hint)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    assert "MissingToolError LiveKitTurnDetector needs livekit-agents" in done.stdout
    assert install_extra("livekit") in done.stdout
