"""Engines that think in wall time, wherever sca steps faster than real time: they are waited for, or the reason is reported."""

import io
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import httpx
import numpy as np
import pytest
import soundfile

from sca.audio.decode import read_audio
from sca.config import LiveConfig, VllmConfig, load_settings
from sca.infer.engines.parrot import ParrotEngine
from sca.infer.engines.vllm_omni.engine import VllmOmniEngine
from sca.infer.eval.full_duplex_bench import find_items, run_items
from tests.helpers.live_endpoints import Run
from tests.helpers.live_servers import running
from tests.helpers.realtime_lockstep import append_event
from tests.helpers.realtime_server import RealtimeServer
from tests.helpers.timeouts import TIMEOUT_S, connect
from tests.helpers.tone_engine import Tone


@pytest.fixture(scope="module")
def phrase(trial_data):
    """Two seconds of speech, float32 at 24 kHz."""
    return read_audio(trial_data / "clips" / "jfk.flac", 24_000)[: int(2.3 * 24_000)]


@pytest.fixture(scope="module")
def wav(phrase):
    out = io.BytesIO()
    soundfile.write(out, phrase, 24_000, format="WAV")
    return out.getvalue()


@pytest.fixture
def item(tmp_path, phrase):
    folder = tmp_path / "candor_turn_taking" / "1"
    folder.mkdir(parents=True)
    soundfile.write(folder / "input.wav", np.concatenate([phrase, np.zeros(24_000 * 4, np.float32)]), 24_000)
    return tmp_path


def engine_for(upstream, **settings):
    return VllmOmniEngine(VllmConfig(base_url=upstream.url, **settings))


def wait_for_create(upstream):
    """Wait until an answer was requested."""
    deadline = threading.Event()
    while not (upstream.sessions and "response.create" in upstream.sessions[-1].received):
        assert not deadline.wait(0.01)


def release(upstream):
    for _ in range(1000):
        upstream.go.release()


def test_uploaded_file_waits_for_a_slow_server(wav, phrase):
    with (
        RealtimeServer(acts=["slow"]) as upstream,
        running(engine_for(upstream)) as server,
        ThreadPoolExecutor(1) as pool,
    ):
        request = pool.submit(httpx.post, f"{server.url}/infer_wav", files={"file": wav}, timeout=TIMEOUT_S)
        wait_for_create(upstream)
        # A live session of the same engine is stepped meanwhile: nothing that waits is in its way.
        with connect(f"ws://127.0.0.1:{server.port}/ws/pcm16", proxy=None) as ws:
            ws.send(bytes(2 * 5120))
            assert json.loads(ws.recv(TIMEOUT_S))["chunk_index"] == 0
        assert not request.done()
        release(upstream)
        response = request.result(TIMEOUT_S)
    assert response.status_code == 200
    assert response.json()["problems"] == []
    assert "samples" in response.json()["text"]
    assert len(response.json()["audio"]) > len(phrase)


def test_push_to_talk_waits_for_a_slow_server(phrase):
    manual = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}
    events = (
        {"type": "session.update", "session": manual},
        append_event(np.rint(phrase * 32767).astype("<i2").tobytes()),
        {"type": "input_audio_buffer.commit"},
        {"type": "response.create"},
    )
    with (
        RealtimeServer(acts=["slow"]) as upstream,
        running(engine_for(upstream)) as server,
        connect(f"ws://127.0.0.1:{server.port}/v1/realtime", proxy=None) as ws,
    ):
        for event in events:
            ws.send(json.dumps(event))
        wait_for_create(upstream)
        release(upstream)
        while (event := json.loads(ws.recv(TIMEOUT_S)))["type"] != "response.done":
            pass
    assert event["response"]["status"] == "completed"
    assert abs(len(upstream.sessions[0].turns[0]) / 2 - len(phrase)) < 1000  # the committed audio, and no more


def test_upload_reports_why_there_is_no_answer(wav):
    with RealtimeServer(acts=["silent"]) as upstream, running(engine_for(upstream, answer_timeout_s=0.2)) as server:
        response = httpx.post(f"{server.url}/infer_wav", files={"file": wav}, timeout=TIMEOUT_S)
    assert response.status_code == 502
    assert "sent nothing of the answer" in response.json()["error"]["what"]


def test_bench_has_no_numbers_of_an_answer_that_failed(item):
    with RealtimeServer(acts=["silent", "answer"]) as upstream:
        engine = engine_for(upstream, answer_timeout_s=0.2)
        results, report = run_items(find_items(item), engine, load_settings(env={}))
        assert "sent nothing of the answer" in results[0].error
        assert report["tasks"]["candor_turn_taking"]["take_over_rate"] is None
        results, report = run_items(find_items(item), engine, load_settings(env={}))  # the next run tries it again
    assert report["tasks"]["candor_turn_taking"]["take_over_rate"] == 1.0


def test_bench_has_no_numbers_of_an_engine_that_did_not_wait(item):
    class Hasty(ParrotEngine):
        """An engine whose answers come too late for every step."""

        info = replace(ParrotEngine.info, answers_in_background=True)

    results, report = run_items(find_items(item), Hasty(LiveConfig(min_speech_ms=60_000)), load_settings(env={}))
    assert "its steps must wait in lockstep" in results[0].error
    assert report["tasks"]["candor_turn_taking"]["take_over_rate"] is None


def test_step_in_lockstep_may_wait_longer_than_a_step_hangs():
    engine = Tone()
    engine.info = replace(engine.info, answers_in_background=True)
    live = LiveConfig(step_cost_ms=20_000.0, hang_s=2.0)
    run = Run(engine, np.zeros(5120 * 2, np.float32), live, pace="lockstep")
    assert run.error is None
    assert run.stats.stepped == 2
    assert run.stats.lags == 0
    assert "hangs" in str(Run(engine, np.zeros(5120, np.float32), live).error)
