"""The model turn detector and the turn monitor, with a scripted predictor and the real VAD."""

import itertools
import threading

import anyio
import numpy as np
import pytest

from sca.audio.chunker import split
from sca.audio.decode import read_audio
from sca.audio.vad import FRAME_SAMPLES, SileroVad
from sca.config import LiveConfig, TurnConfig, load_settings
from sca.errors import ConfigError, InputError, UpstreamError, UsageError
from sca.infer.audio_io.base import AudioDevice
from sca.infer.clock import simulate
from sca.infer.device_worker import InlineWorker
from sca.infer.engine import SessionConfig
from sca.infer.engines.parrot import ParrotEngine
from sca.infer.engines.registry import load_engine
from sca.infer.engines.turn_taking import SilenceTurnDetector, turn_detector_factory
from sca.infer.frames import AudioInput, AudioOutput
from sca.infer.interfaces import AudioBlock
from sca.infer.server.core.state import ServerContext
from sca.infer.turn.detector import WINDOW_SAMPLES, ModelTurnDetector, QueryResult, detector_factory
from sca.infer.turn.monitor import TurnMonitor, event_document, monitor_file, monitor_source
from sca.infer.turn.monitor_microphone import MicrophoneOptions, monitor_microphone
from sca.infer.turn.policy import Decision, ThresholdSchedule
from sca.infer.turn.predictor import TurnPrediction
from sca.resources import demo_corpus
from tests.helpers.turn_servers import scripted

SCHEDULE = ThresholdSchedule(
    ((3 * FRAME_SAMPLES, 0.5), (10 * FRAME_SAMPLES, 0.3)), 20 * FRAME_SAMPLES, 2 * FRAME_SAMPLES
)


class ScriptedPredictor:
    """A predictor that returns given probabilities in order, the last one repeatedly. Exceptions are raised."""

    name = "scripted"

    def __init__(self, *script):
        self.script = list(script)
        self.heard = []

    def predict(self, samples, threshold=None):
        self.heard.append(samples)
        probability = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(probability, Exception):
            raise probability
        return TurnPrediction(probability, probability > 0.5)


def ramp(frames):
    """Return samples whose values are their positions."""
    return np.arange(frames * FRAME_SAMPLES, dtype=np.float32)


def run(detector, speech, samples=None):
    """Push frames of speech (#) and silence (.), and return the turns by the frame after which they were over."""
    samples = ramp(len(speech)) if samples is None else samples
    found = {}
    for frame, letter in enumerate(speech):
        detector.add_audio(samples[frame * FRAME_SAMPLES : (frame + 1) * FRAME_SAMPLES])
        turn = detector.push(0.9 if letter == "#" else 0.1)
        if turn is not None:
            found[frame] = turn
    return found


# --- the detector ---


def test_model_ends_the_turn():
    predictor = ScriptedPredictor(0.9)
    assert run(ModelTurnDetector(predictor, SCHEDULE), "..#####....##...") == {9: (2, 7), 15: (11, 13)}
    assert len(predictor.heard) == 2


def test_queries_again_and_ends_at_maximum_silence():
    results = []
    detector = ModelTurnDetector(ScriptedPredictor(0.4, 0.2), SCHEDULE, on_query=results.append)
    assert run(detector, "####" + "." * 25) == {23: (0, 4)}
    assert [(result.at // FRAME_SAMPLES, result.silence // FRAME_SAMPLES, result.threshold) for result in results] == [
        (7, 3, 0.5),
        (14, 10, 0.3),
    ]
    assert detector.last.reason == "silence"
    assert not any(result.finished for result in results)


def test_speech_continues_the_turn():
    predictor = ScriptedPredictor(0.1, 0.1, 0.9)
    assert run(ModelTurnDetector(predictor, SCHEDULE), "###...###...###...") == {17: (0, 15)}
    assert len(predictor.heard) == 3


def test_predictor_gets_the_turn_and_a_lead():
    predictor = ScriptedPredictor(0.9)
    run(ModelTurnDetector(predictor, SCHEDULE), "." * 40 + "####...##...")
    first, second = predictor.heard
    assert (first[0], first[-1] + 1) == (40 * FRAME_SAMPLES - 8000, 47 * FRAME_SAMPLES)
    assert (second[0], second[-1] + 1) == (47 * FRAME_SAMPLES - 8000, 52 * FRAME_SAMPLES)
    assert np.array_equal(np.diff(first), np.ones(len(first) - 1))


def test_predictor_gets_at_most_one_window():
    predictor = ScriptedPredictor(0.9)
    frames = WINDOW_SAMPLES // FRAME_SAMPLES + 100
    run(ModelTurnDetector(predictor, SCHEDULE), "#" * frames + "...")
    (heard,) = predictor.heard
    assert len(heard) == WINDOW_SAMPLES
    assert heard[-1] + 1 == (frames + 3) * FRAME_SAMPLES


def test_memory_is_bounded():
    detector = ModelTurnDetector(ScriptedPredictor(0.1), SCHEDULE)
    run(detector, "." * 3000)
    assert sum(map(len, detector._audio)) <= WINDOW_SAMPLES + 17_000


def test_short_speech_is_not_a_turn():
    predictor = ScriptedPredictor(0.9)
    assert run(ModelTurnDetector(predictor, SCHEDULE), "#" + "." * 30 + "####...") == {37: (31, 35)}
    assert predictor.heard[0][0] == 31 * FRAME_SAMPLES - 8000


def test_silence_decides_if_the_server_fails(caplog):
    results = []
    detector = ModelTurnDetector(ScriptedPredictor(UpstreamError("down"), 0.9), SCHEDULE, on_query=results.append)
    assert run(detector, "####" + "." * 12) == {13: (0, 4)}
    assert detector.failures == 1
    assert [(result.probability, result.failure) for result in results] == [(None, "down"), (0.9, None)]
    assert "down" in caplog.text
    only_silence = ModelTurnDetector(ScriptedPredictor(UpstreamError("down")), SCHEDULE)
    assert run(only_silence, "####" + "." * 25) == {23: (0, 4)}


def test_raises_permanent_errors():
    with pytest.raises(ConfigError):
        run(ModelTurnDetector(ScriptedPredictor(ConfigError("key")), SCHEDULE), "####....")
    with pytest.raises(UpstreamError):
        run(ModelTurnDetector(ScriptedPredictor(UpstreamError("down")), SCHEDULE, lenient=False), "####....")


def test_queries_during_speech_do_not_end_turns():
    results = []
    detector = ModelTurnDetector(
        ScriptedPredictor(0.9), SCHEDULE, on_query=results.append, query_interval=4 * FRAME_SAMPLES
    )
    assert run(detector, "." * 5 + "#" * 13 + "...") == {20: (5, 18)}
    assert [(result.at // FRAME_SAMPLES, result.silence, result.finished) for result in results] == [
        (9, 0, False),
        (13, 0, False),
        (17, 0, False),
        (21, 3 * FRAME_SAMPLES, True),
    ]


def test_agrees_with_the_silence_detector_about_speech():
    detector = SilenceTurnDetector(LiveConfig())
    detector = ModelTurnDetector(
        ScriptedPredictor(0.0), ThresholdSchedule(((3 * FRAME_SAMPLES, 1.0),), 20 * FRAME_SAMPLES, 5 * FRAME_SAMPLES)
    )
    probabilities = np.random.default_rng(3).choice([0.1, 0.4, 0.9], 4000, p=[0.45, 0.3, 0.25])
    probabilities[np.arange(4000) % 200 > 150] = 0.1
    for probability in probabilities:
        detector.add_audio(np.zeros(FRAME_SAMPLES, np.float32))
        detector.push(probability)
        detector.push(probability)
        assert detector.run == detector.run
    detector.reset()
    detector.reset()
    assert run(detector, "#####" + "." * 20) == {24: (0, 5)}


class ModelParrot:
    """A parrot session with a model turn detector, as with `--turn-model`."""

    def __init__(self, detector):
        self.session = ParrotEngine(make_detector=lambda: detector).open(SessionConfig())

    def answers(self, speech):
        """Return (chunk, text) of each answer."""
        chunks = split(speech, 5120)
        found = []
        for index, samples in enumerate(chunks):
            heard = AudioInput(np.zeros((1, 128, 0), np.float32), samples, index, index * 5120)
            texts = (frame.text_log for frame in self.session.step(heard) if isinstance(frame, AudioOutput))
            found += [(index, text) for text in texts if text]
        return found


def test_parrot_answers_when_the_model_ends_the_turn(speech):
    certain, uncertain = (
        ModelParrot(ModelTurnDetector(ScriptedPredictor(p), ThresholdSchedule.from_config(TurnConfig()))).answers(
            speech
        )
        for p in (0.9, 0.0)
    )
    assert len(certain) >= len(uncertain) >= 1
    assert certain[0][0] < uncertain[0][0], "0.2 s of silence are enough if the model is certain, 3 s if it is not"


def test_detector_factory(speech):
    with scripted(0.9) as server:
        new_detector = detector_factory(TurnConfig(auth_key="secret"), server.url)
        first, second = new_detector(), new_detector()
        assert first is not second
        assert run(first, "#" * 9 + "." * 10, np.zeros(FRAME_SAMPLES * 19, np.float32)) == {15: (0, 9)}
        assert server.requests[0][1]["Authorization"] == "Key secret"
        assert first.max_silence == 48_000
        first._predictor.close()
    local = detector_factory(TurnConfig())()
    assert ModelParrot(local).answers(speech)
    with pytest.raises(InputError, match="does not exist"):
        detector_factory(TurnConfig(), "./none.onnx")


def test_engine_and_server_share_the_turn_model():
    settings = load_settings(overrides={"live.turn_model": "auto"}, env={})
    engine = load_engine("parrot", settings)
    context = ServerContext(engine, settings)
    context.load_turn_model()
    with scripted(0.9) as server:
        ours, theirs, other = (
            factory()
            for factory in (
                context.turn_detectors,
                turn_detector_factory(settings),
                detector_factory(settings.turn, server.url),
            )
        )
        other._predictor.close()
    assert ours._predictor is theirs._predictor is engine._make_detector()._predictor
    assert ours._background is theirs._background
    assert ours._predictor is not other._predictor


# --- the monitor ---


@pytest.fixture(scope="module")
def vad():
    return SileroVad()


@pytest.fixture(scope="module")
def speech():
    with demo_corpus() as folder:
        return read_audio(folder / "WAV" / "D0001_S0001_0_G0001.flac", 16_000)[: 16_000 * 15]


def monitor_blocks(vad, speech, sizes, predictor=None):
    monitor = TurnMonitor(predictor or ScriptedPredictor(0.1, 0.9), ThresholdSchedule.from_config(TurnConfig()), vad)
    events, at = [], 0
    while at < len(speech):
        size = next(sizes)
        events += monitor.push(speech[at : at + size])
        at += size
    return events, monitor.summary()


def test_result_does_not_depend_on_block_sizes(vad, speech):
    rng = np.random.default_rng(0)
    predictors = [ScriptedPredictor(0.1, 0.9) for _ in range(3)]
    whole = monitor_blocks(vad, speech, iter([len(speech)]), predictors[0])
    chunks = monitor_blocks(vad, speech, iter(lambda: 5120, 0), predictors[1])
    odd = monitor_blocks(vad, speech, iter(lambda: int(rng.integers(1, 20_000)), 0), predictors[2])
    assert whole == chunks == odd
    assert whole[1]["turns"] >= 2
    for one, other in zip(predictors[0].heard, predictors[2].heard, strict=True):
        assert np.array_equal(one, other)


def test_no_queries_in_silence_and_noise(vad):
    predictor = ScriptedPredictor(0.99)
    noise = np.random.default_rng(1).normal(0, 0.01, 16_000 * 5).astype(np.float32)
    assert monitor_blocks(vad, noise, iter(lambda: 5120, 0), predictor)[0] == []
    assert predictor.heard == []


def test_file_and_microphone_give_the_same(vad, speech, tmp_path):
    import soundfile

    path = tmp_path / "speech.wav"
    soundfile.write(path, speech, 16_000, subtype="FLOAT")
    by_file = TurnMonitor(ScriptedPredictor(0.1, 0.9), ThresholdSchedule.from_config(TurnConfig()), vad)
    expected = list(monitor_file(path, by_file))
    results = []

    class Microphone:
        can_wait = False

        async def blocks(self):
            for at in range(0, len(speech), 320):
                await anyio.sleep(0.02)
                yield AudioBlock(speech[at : at + 320], (at + 320) * 3)

    by_mic = TurnMonitor(ScriptedPredictor(0.1, 0.9), ThresholdSchedule.from_config(TurnConfig()), vad)
    simulate(monitor_source, Microphone(), by_mic, InlineWorker(), results.append)
    assert results == expected
    assert by_mic.summary() == by_file.summary()


def test_monitors_a_microphone(vad, speech, monkeypatch):
    """Monitor a fake backend that passes speech to the callback, faster than real time, and then silence."""
    over, closed = threading.Event(), []

    class AudioStream:
        rate_hz, channels, stopped = 16_000, 1, False

        def __init__(self, on_samples):
            self.thread = threading.Thread(target=self.play, args=(on_samples,))
            self.thread.start()

        def play(self, on_samples):
            for at in itertools.count(0, 640):
                on_samples(speech[at : at + 640, None] if at < len(speech) else np.zeros((640, 1), np.float32))
                if over.wait(0.02):
                    return

        def close(self):
            over.set()
            self.thread.join()
            closed.append(True)

    class FakeBackend:
        name = "fake"

        def devices(self):
            return [AudioDevice(0, "Fake microphone", "input", "fake", "none", 16_000, 1, True)]

        def open_input(self, device, on_samples):
            return AudioStream(on_samples)

    monkeypatch.setattr("sca.infer.turn.monitor_microphone.load_backend", lambda name: FakeBackend())
    results, notices = [], []

    limits, limit = [], anyio.move_on_after

    def record_limit(seconds):
        limits.append((seconds, limit(seconds)))
        return limits[-1][1]

    def on_event(event):
        results.append(event)
        if isinstance(event, Decision):  # let the ten minutes expire
            (ends,) = [scope for seconds, scope in limits if seconds == 600.0]
            ends.deadline = anyio.current_time()

    monkeypatch.setattr(anyio, "move_on_after", record_limit)
    monitor = TurnMonitor(ScriptedPredictor(0.9), ThresholdSchedule.from_config(TurnConfig()), vad, lenient=True)
    monitor_microphone(monitor, MicrophoneOptions(seconds=600.0), on_event, notices.append)
    assert notices == ["ready: listening to Fake microphone; Ctrl-C ends it"]
    assert any(isinstance(event, Decision) for event in results)
    assert closed == [True]
    with pytest.raises(UsageError, match="input device elsewhere not found"):
        monitor_microphone(monitor, MicrophoneOptions(device="elsewhere"), results.append, notices.append)


def test_event_documents(vad):
    assert event_document(QueryResult(16_000, 8_000, 0.5, 2, 0.75)) == {
        "type": "asked", "at_s": 1.0, "turn": 2, "silence_s": 0.5, "probability": 0.75, "threshold": 0.5,
        "finished": True, "failure": None,
    }  # fmt: skip
    assert event_document(Decision(1, 0, 16_000, 32_000, "silence")) == {
        "type": "over", "at_s": 2.0, "turn": 1, "from_s": 0.0, "until_s": 1.0, "delay_s": 1.0, "reason": "silence",
        "probability": None,
    }  # fmt: skip


def test_summary_reports_an_open_turn(vad, speech):
    _, end = monitor_blocks(vad, speech[: 16_000 * 2], iter(lambda: 5120, 0), ScriptedPredictor(0.0))
    assert (end["turns"], end["heard_s"]) == (0, 2.0)
    assert end["open_since_s"] is not None
