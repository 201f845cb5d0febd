"""`PipecatTurnAnalyzer` in a real pipecat pipeline with its Silero VAD and turn strategies, and speech as its input."""

import asyncio
import logging
import subprocess
import sys
import time

import numpy as np
import pytest

from sca.audio.decode import read_audio
from sca.distribution import install_extra
from sca.errors import ConfigError, InputError, UpstreamError, UsageError
from sca.resources import demo_corpus
from sca.units import HEARD_HZ
from tests.helpers.ports import refusing_port
from tests.helpers.smart_turn import precise
from tests.helpers.timeouts import TIMEOUT_S
from tests.helpers.turn_servers import answer, real, scripted

# pipecat imports it on Python 3.11 and 3.12.
pytestmark = pytest.mark.filterwarnings("ignore:'audioop' is deprecated:DeprecationWarning")

SPEED = 8.0
"""How much faster than real time audio goes through the pipeline."""


def speech(rate_hz=HEARD_HZ, seconds=8.0, silence_s=0.5):
    with demo_corpus() as folder:
        samples = read_audio(folder / "WAV" / "D0001_S0001_0_G0001.flac", rate_hz)
    return np.concatenate([samples[: int(seconds * rate_hz)], np.zeros(int(silence_s * rate_hz), np.float32)])


class PipelineEvents:
    """The events of the pipeline, in order."""

    def __init__(self):
        self.names = []
        self.predictions = []
        self.analyzer = None

    def note(self, name, frame):
        self.names.append(name)
        if name == "judged":
            self.predictions += [(item.is_complete, item.probability) for item in frame.data]

    def count(self, name):
        return self.names.count(name)


async def pipeline(analyzer, samples, rate_hz=HEARD_HZ):
    """Run a pipeline with a turn analyzer, and return its events."""
    from pipecat.audio.vad.silero import SileroVADAnalyzer
    from pipecat.frames import frames
    from pipecat.pipeline.pipeline import Pipeline
    from pipecat.pipeline.worker import PipelineParams, PipelineWorker
    from pipecat.processors.audio.vad_processor import VADProcessor
    from pipecat.processors.frame_processor import FrameProcessor
    from pipecat.turns.user_start import VADUserTurnStartStrategy
    from pipecat.turns.user_stop import TurnAnalyzerUserTurnStopStrategy
    from pipecat.turns.user_turn_processor import UserTurnProcessor
    from pipecat.turns.user_turn_strategies import UserTurnStrategies
    from pipecat.workers.runner import WorkerRunner

    events = PipelineEvents()
    events.analyzer = analyzer
    names = {
        frames.VADUserStoppedSpeakingFrame: "vad stop",
        frames.MetricsFrame: "judged",
        frames.UserStoppedSpeakingFrame: "turn stop",
    }

    class Sink(FrameProcessor):
        async def process_frame(self, frame, direction):
            await super().process_frame(frame, direction)
            if type(frame) in names:
                events.note(names[type(frame)], frame)
            await self.push_frame(frame, direction)

    stop = TurnAnalyzerUserTurnStopStrategy(turn_analyzer=analyzer, wait_for_transcript=False)
    turns = UserTurnProcessor(
        user_turn_strategies=UserTurnStrategies(start=[VADUserTurnStartStrategy()], stop=[stop]),
        user_turn_stop_timeout=60.0,
    )
    worker = PipelineWorker(
        Pipeline([VADProcessor(vad_analyzer=SileroVADAnalyzer()), turns, Sink()]),
        params=PipelineParams(audio_in_sample_rate=rate_hz),
        cancel_on_idle_timeout=False,
        enable_rtvi=False,
    )
    started = asyncio.Event()
    worker.add_event_handler("on_pipeline_started", lambda *_: started.set())

    async def send_audio():
        await asyncio.wait_for(started.wait(), TIMEOUT_S)
        pcm, step = (samples * 32767).astype("<i2"), rate_hz // 50
        for at in range(0, len(pcm), step):
            block = pcm[at : at + step].tobytes()
            await worker.queue_frame(frames.InputAudioRawFrame(audio=block, sample_rate=rate_hz, num_channels=1))
            await asyncio.sleep(0.02 / SPEED)
        await asyncio.sleep(0.3)
        await worker.queue_frame(frames.EndFrame())

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await asyncio.gather(runner.run(), send_audio())
    return events


def run_pipeline(url, samples=None, rate_hz=HEARD_HZ, stop_secs=TIMEOUT_S, **options):
    """`pipeline` with our analyzer."""
    from pipecat.audio.turn.smart_turn.base_smart_turn import SmartTurnParams

    from sca.infer.turn.client import PipecatTurnAnalyzer

    async def main():
        analyzer = PipecatTurnAnalyzer(url=url, params=SmartTurnParams(stop_secs=stop_secs), **options)
        return await pipeline(analyzer, speech(rate_hz) if samples is None else samples, rate_hz)

    return asyncio.run(main())


# --- the real server ---


@pytest.fixture(scope="module")
def server():
    with real() as running:
        yield running


def test_each_pause_is_one_request_and_one_decision(server):
    answered = server.answered()
    events = run_pipeline(server.url)
    pauses = events.count("vad stop")
    assert pauses >= 3
    assert server.answered() - answered == events.analyzer.requests == len(events.predictions) == pauses
    assert events.count("turn stop") == sum(complete for complete, _ in events.predictions)
    assert events.analyzer.errors == events.analyzer.timeouts == events.analyzer.without_speech == 0
    # Each decision follows its pause, before the next one: no timer delays it.
    assert [name for name in events.names if name != "turn stop"] == ["vad stop", "judged"] * pauses


def test_server_agrees_with_the_model_of_pipecat(server):
    from pipecat.audio.turn.smart_turn.local_smart_turn_v3 import LocalSmartTurnAnalyzerV3

    from sca.infer.turn.client import PipecatTurnAnalyzer

    for rate_hz in (8_000, 16_000, 24_000):
        ours, theirs = PipecatTurnAnalyzer(url=server.url), precise(LocalSmartTurnAnalyzerV3())
        for seconds in (1.0, 8.0):
            samples = speech(rate_hz, seconds, 0.2)[-8 * rate_hz :]
            found = []
            for analyzer in (ours, theirs):
                analyzer.set_sample_rate(rate_hz)
                found.append(analyzer._predict_endpoint(samples))
            assert found[0]["prediction"] == found[1]["prediction"]
            assert found[0]["probability"] == pytest.approx(found[1]["probability"], abs=1e-5), (rate_hz, seconds)
        asyncio.run(ours.cleanup())
        ours._client.close()


def test_key_in_a_header_and_headers_of_a_proxy():
    """As `HttpSmartTurnAnalyzer` of pipecat takes them, with the deadline of each request."""
    with scripted(0.9) as server:
        headers = {"Authorization": "Key dev", "X-Proxy": "a b"}
        events = run_pipeline(server.url + "/raw", speech(seconds=1.5), headers=headers, stop_secs=30.0)
        for _, found in server.requests:
            assert (found["Authorization"], found["X-Proxy"]) == ("Key dev", "a b")
        assert len(server.requests) == events.count("turn stop") >= 1
        server.gate.clear()
        late = run_pipeline(server.url, speech(seconds=1.5, silence_s=1.0), headers=headers, stop_secs=0.25)
    assert late.analyzer.timeouts == late.analyzer.requests >= 1
    assert late.count("turn stop") >= 1


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"headers": {"content-length": "0"}}, UsageError),
        ({"headers": {"Authorization": "Key a"}, "auth_key": "b"}, UsageError),
        ({"headers": {"X-A": "1\r\nX-B: 2"}}, ConfigError),
        ({"headers": {"X A": "1"}}, ConfigError),
    ],
)
def test_rejects_headers(options, error):
    from sca.infer.turn.client import PipecatTurnAnalyzer

    with pytest.raises(error):
        PipecatTurnAnalyzer(url="http://127.0.0.1:1", **options)


def test_threshold_reaches_the_server(server):
    events = run_pipeline(server.url, speech(seconds=3.0), threshold=1.0)
    assert events.count("vad stop") == len(events.predictions) >= 1
    assert not any(complete for complete, _ in events.predictions)


# --- a scripted server ---


@pytest.mark.parametrize("rate_hz", [8_000, 16_000])
def test_requests_contain_the_pipeline_audio(rate_hz):
    with scripted(0.9) as server:
        events = run_pipeline(server.url, rate_hz=rate_hz, auth_key="secret", stop_secs=30.0)
    assert len(server.requests) == events.count("turn stop") == events.count("vad stop") >= 3
    for samples, headers in server.requests:
        assert (samples.dtype, samples.ndim) == (np.float32, 1)
        assert 0.2 * rate_hz < len(samples) <= 8 * rate_hz
        assert headers["X-Sample-Rate"] == str(rate_hz)
        assert headers["Authorization"] == "Key secret"
    assert server.connections == 1


def test_unfinished_turn_continues():
    with scripted() as server:
        server.reply = lambda *_: (200, answer(0.1) | {"speech": False}, {})
        events = run_pipeline(server.url, stop_secs=30.0)
    assert events.predictions == [(False, 0.1)] * len(server.requests)
    assert events.count("turn stop") == 0 < len(server.requests)
    assert events.analyzer.without_speech == len(server.requests)


def test_timeout_ends_the_turn():
    with scripted(0.1) as server:
        server.gate.clear()
        events = run_pipeline(server.url, speech(seconds=1.5, silence_s=1.0), stop_secs=0.25)
    assert events.analyzer.timeouts == events.analyzer.requests == events.count("vad stop") >= 1
    assert events.count("turn stop") >= 1
    assert events.predictions == []


@pytest.mark.parametrize("failure", ["connection refused", "500", "not a response"])
def test_failure_is_logged_and_silence_ends_the_turn(failure, caplog):
    with scripted() as server, refusing_port() as port, caplog.at_level(logging.ERROR, "sca"):
        server.reply = lambda *_: (500, {"detail": "broken"}, {}) if failure == "500" else (200, b"[]", {})
        url = f"http://127.0.0.1:{port}" if failure == "connection refused" else server.url
        events = run_pipeline(url, speech(seconds=1.5, silence_s=2.0), stop_secs=1.0)
    analyzer = events.analyzer
    assert analyzer.errors == analyzer.requests == events.count("vad stop") >= 1
    assert isinstance(analyzer.last_error, UpstreamError)
    assert sum("turn server" in record.getMessage() for record in caplog.records) == analyzer.errors
    assert events.predictions == [], "no probability is invented"
    assert events.count("turn stop") == 1, "it ends after a second of silence"
    assert events.names.index("turn stop") > events.names.index("vad stop")


def test_analyzer_of_pipecat_sends_no_request():
    """The reason for our analyzer. If this fails because a request arrived, pipecat has been fixed."""
    import aiohttp
    from pipecat.audio.turn.smart_turn.base_smart_turn import SmartTurnParams
    from pipecat.audio.turn.smart_turn.http_smart_turn import HttpSmartTurnAnalyzer

    async def main():
        async with aiohttp.ClientSession() as session:
            params = SmartTurnParams(stop_secs=30.0)
            analyzer = HttpSmartTurnAnalyzer(url=server.url + "/raw", aiohttp_session=session, params=params)
            return await pipeline(analyzer, speech())

    with scripted(0.9) as server:
        events = asyncio.run(main())
    assert server.requests == []
    assert events.predictions == [(False, 0.0)] * events.count("vad stop")
    assert events.count("turn stop") == 0 < events.count("vad stop")


# --- without a pipeline ---


@pytest.mark.parametrize("closing_s", [0.0, 0.2])
def test_can_be_used_after_cleanup(closing_s, monkeypatch):
    from sca.infer.turn.client import PipecatTurnAnalyzer, TurnClient

    close = TurnClient.close
    monkeypatch.setattr(TurnClient, "close", lambda client: (time.sleep(closing_s), close(client)))

    async def main():
        analyzer = PipecatTurnAnalyzer(url=server.url, sample_rate=HEARD_HZ)
        for _ in range(2):
            analyzer.set_sample_rate(HEARD_HZ)
            analyzer.append_audio(np.ones(HEARD_HZ, "<i2").tobytes(), is_speech=True)
            analyzer.append_audio(np.ones(HEARD_HZ, "<i2").tobytes(), is_speech=False)
            state, metrics = await analyzer.analyze_end_of_turn()
            assert (state.name, metrics.probability) == ("COMPLETE", 0.9)
            await analyzer.cleanup()

    with scripted(0.9) as server:
        asyncio.run(main())
    assert server.connections == 2


def test_rejected_audio_is_an_error():
    from pipecat.audio.turn.base_turn_analyzer import EndOfTurnState

    from sca.infer.turn.client import PipecatTurnAnalyzer

    with scripted() as server:
        server.reply = lambda *_: (422, {"detail": "NaN"}, {})
        analyzer = PipecatTurnAnalyzer(url=server.url, sample_rate=HEARD_HZ)
        analyzer.set_sample_rate(HEARD_HZ)
        analyzer.append_audio(np.ones(3200, "<i2").tobytes(), is_speech=True)
        analyzer.append_audio(np.ones(3200, "<i2").tobytes(), is_speech=False)

        async def judged():
            try:
                return await analyzer.analyze_end_of_turn()
            finally:
                await analyzer.cleanup()

        assert asyncio.run(judged()) == (EndOfTurnState.INCOMPLETE, None)
        assert isinstance(analyzer.last_error, InputError)


def test_rejects_an_invalid_address():
    from sca.infer.turn.client import PipecatTurnAnalyzer

    with pytest.raises(UsageError):
        PipecatTurnAnalyzer(url="ftp://host")


def test_client_does_not_need_pipecat():
    code = """
import sys
import sca.infer.turn.client as client
assert not any(name.partition(".")[0] in ("pipecat", "aiohttp", "fastapi", "onnxruntime") for name in sys.modules)
sys.modules["pipecat"] = None
try:
    client.PipecatTurnAnalyzer
except Exception as error:
    print(type(error).__name__, error, error.hint)
try:
    client.Nonsense
except AttributeError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    assert "MissingToolError PipecatTurnAnalyzer needs pipecat" in done.stdout
    assert install_extra("pipecat") in done.stdout
    assert "has no attribute 'Nonsense'" in done.stdout
