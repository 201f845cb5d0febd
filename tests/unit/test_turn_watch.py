"""The gate and the watch on sound that is counted, with a judge that says what the test wants; the real VAD on real speech."""

import itertools
import threading

import anyio
import numpy as np
import pytest

from sca.audio.chunker import split
from sca.audio.decode import read_audio
from sca.audio.vad import FRAME_SAMPLES, SileroVad
from sca.config import LiveConfig, TurnConfig
from sca.errors import ConfigError, InputError, UpstreamError, UsageError
from sca.infer.audio_io.base import AudioDevice
from sca.infer.clock import simulate
from sca.infer.device_worker import InlineWorker
from sca.infer.engine import SessionConfig
from sca.infer.engines.parrot import ParrotEngine
from sca.infer.engines.turn_taking import SilenceTurnDetector
from sca.infer.frames import AudioInput, AudioOutput
from sca.infer.interfaces import AudioBlock
from sca.infer.turn.detector import WINDOW_SAMPLES, ModelTurnDetector, QueryResult, detector_factory
from sca.infer.turn.monitor import TurnMonitor, event_document, monitor_file, monitor_source
from sca.infer.turn.monitor_microphone import MicrophoneOptions, monitor_microphone
from sca.infer.turn.policy import Decision, ThresholdSchedule
from sca.infer.turn.predictor import TurnPrediction
from sca.resources import demo_corpus
from tests.helpers.turn_servers import scripted

PATIENCE = ThresholdSchedule(
    ((3 * FRAME_SAMPLES, 0.5), (10 * FRAME_SAMPLES, 0.3)), 20 * FRAME_SAMPLES, 2 * FRAME_SAMPLES
)


class Says:
    """A judge that says these probabilities, one after the other, the last one for ever; an exception is raised."""

    name = "says"

    def __init__(self, *said):
        self.said = list(said)
        self.heard = []

    def predict(self, samples, threshold=None):
        self.heard.append(samples)
        probability = self.said.pop(0) if len(self.said) > 1 else self.said[0]
        if isinstance(probability, Exception):
            raise probability
        return TurnPrediction(probability, probability > 0.5)


def ramp(frames):
    """Every sample says where it is."""
    return np.arange(frames * FRAME_SAMPLES, dtype=np.float32)


def run(gate, speech, samples=None):
    """Push frames of speech (#) and silence (.); returns what is over, by the frame after which it was."""
    samples = ramp(len(speech)) if samples is None else samples
    found = {}
    for frame, letter in enumerate(speech):
        gate.hear(samples[frame * FRAME_SAMPLES : (frame + 1) * FRAME_SAMPLES])
        turn = gate.push(0.9 if letter == "#" else 0.1)
        if turn is not None:
            found[frame] = turn
    return found


# --- the gate ---


def test_a_turn_is_over_when_the_model_says_so():
    judge = Says(0.9)
    assert run(ModelTurnDetector(judge, PATIENCE), "..#####....##...") == {9: (2, 7), 15: (11, 13)}
    assert len(judge.heard) == 2


def test_it_asks_again_with_patience_and_ends_without_the_model():
    told = []
    gate = ModelTurnDetector(Says(0.4, 0.2), PATIENCE, on_query=told.append)
    assert run(gate, "####" + "." * 25) == {23: (0, 4)}
    assert [(one.at // FRAME_SAMPLES, one.silence // FRAME_SAMPLES, one.threshold) for one in told] == [
        (7, 3, 0.5),
        (14, 10, 0.3),
    ]
    assert gate.last.reason == "silence"
    assert not any(one.finished for one in told)


def test_speech_that_goes_on_takes_the_question_back():
    judge = Says(0.1, 0.1, 0.9)
    assert run(ModelTurnDetector(judge, PATIENCE), "###...###...###...") == {17: (0, 15)}
    assert len(judge.heard) == 3


def test_the_judge_hears_the_turn_a_little_before_it_and_nothing_after():
    judge = Says(0.9)
    run(ModelTurnDetector(judge, PATIENCE), "." * 40 + "####...##...")
    first, second = judge.heard
    assert (first[0], first[-1] + 1) == (40 * FRAME_SAMPLES - 8000, 47 * FRAME_SAMPLES)
    assert (second[0], second[-1] + 1) == (47 * FRAME_SAMPLES - 8000, 52 * FRAME_SAMPLES)
    assert np.array_equal(np.diff(first), np.ones(len(first) - 1))


def test_the_judge_hears_no_more_than_a_model_does():
    judge = Says(0.9)
    frames = WINDOW_SAMPLES // FRAME_SAMPLES + 100
    run(ModelTurnDetector(judge, PATIENCE), "#" * frames + "...")
    (heard,) = judge.heard
    assert len(heard) == WINDOW_SAMPLES
    assert heard[-1] + 1 == (frames + 3) * FRAME_SAMPLES


def test_memory_is_bounded():
    gate = ModelTurnDetector(Says(0.1), PATIENCE)
    run(gate, "." * 3000)
    assert sum(map(len, gate._audio)) <= WINDOW_SAMPLES + 17_000


def test_a_cough_is_no_turn():
    judge = Says(0.9)
    assert run(ModelTurnDetector(judge, PATIENCE), "#" + "." * 30 + "####...") == {37: (31, 35)}
    assert judge.heard[0][0] == 31 * FRAME_SAMPLES - 8000


def test_a_server_that_fails_leaves_it_to_silence(caplog):
    told = []
    gate = ModelTurnDetector(Says(UpstreamError("down"), 0.9), PATIENCE, on_query=told.append)
    assert run(gate, "####" + "." * 12) == {13: (0, 4)}
    assert gate.failures == 1
    assert [(one.probability, one.failure) for one in told] == [(None, "down"), (0.9, None)]
    assert "down" in caplog.text
    only_silence = ModelTurnDetector(Says(UpstreamError("down")), PATIENCE)
    assert run(only_silence, "####" + "." * 25) == {23: (0, 4)}


def test_what_waiting_cannot_mend_is_raised():
    with pytest.raises(ConfigError):
        run(ModelTurnDetector(Says(ConfigError("key")), PATIENCE), "####....")
    with pytest.raises(UpstreamError):
        run(ModelTurnDetector(Says(UpstreamError("down")), PATIENCE, lenient=False), "####....")


def test_asking_during_speech_decides_nothing():
    told = []
    gate = ModelTurnDetector(Says(0.9), PATIENCE, on_query=told.append, query_interval=4 * FRAME_SAMPLES)
    assert run(gate, "." * 5 + "#" * 13 + "...") == {20: (5, 18)}
    assert [(one.at // FRAME_SAMPLES, one.silence, one.finished) for one in told] == [
        (9, 0, False),
        (13, 0, False),
        (17, 0, False),
        (21, 3 * FRAME_SAMPLES, True),
    ]


def test_it_has_the_face_of_the_parrots_detector_and_hears_speech_alike():
    detector = SilenceTurnDetector(LiveConfig())
    gate = ModelTurnDetector(
        Says(0.0), ThresholdSchedule(((3 * FRAME_SAMPLES, 1.0),), 20 * FRAME_SAMPLES, 5 * FRAME_SAMPLES)
    )
    probabilities = np.random.default_rng(3).choice([0.1, 0.4, 0.9], 4000, p=[0.45, 0.3, 0.25])
    probabilities[np.arange(4000) % 200 > 150] = 0.1
    for probability in probabilities:
        gate.hear(np.zeros(FRAME_SAMPLES, np.float32))
        gate.push(probability)
        detector.push(probability)
        assert gate.run == detector.run
    gate.reset()
    detector.reset()
    assert run(gate, "#####" + "." * 20) == {24: (0, 5)}


class Gated:
    """A parrot session whose turns a gate ends: the wiring that `--turn-model` stands for."""

    def __init__(self, gate):
        self.session = ParrotEngine(make_detector=lambda: gate).open(SessionConfig())

    def answers(self, speech):
        """At which chunk an answer began, and the text that came with it."""
        chunks = split(speech, 5120)
        found = []
        for index, samples in enumerate(chunks):
            heard = AudioInput(np.zeros((1, 128, 0), np.float32), samples, index, index * 5120)
            said = (frame.text_log for frame in self.session.step(heard) if isinstance(frame, AudioOutput))
            found += [(index, text) for text in said if text]
        return found


def test_a_parrot_answers_when_the_model_says_that_the_turn_is_over(speech):
    sure, unsure = (
        Gated(ModelTurnDetector(Says(p), ThresholdSchedule.from_config(TurnConfig()))).answers(speech)
        for p in (0.9, 0.0)
    )
    assert len(sure) >= len(unsure) >= 1
    assert sure[0][0] < unsure[0][0], "0.2 s of silence are enough when the model is sure, 3 s when it never is"


def test_gates_for_sessions(speech):
    with scripted(0.9) as server:
        make = detector_factory(TurnConfig(auth_key="secret"), server.url)
        first, second = make(), make()
        assert first is not second
        assert run(first, "#" * 9 + "." * 10, np.zeros(FRAME_SAMPLES * 19, np.float32)) == {15: (0, 9)}
        assert server.asked[0][1]["Authorization"] == "Key secret"
        assert first.max_silence == 48_000
        first._predictor.close()
    local = detector_factory(TurnConfig())()
    assert Gated(local).answers(speech)
    with pytest.raises(InputError, match="does not exist"):
        detector_factory(TurnConfig(), "./none.onnx")


# --- the watch ---


@pytest.fixture(scope="module")
def vad():
    return SileroVad()


@pytest.fixture(scope="module")
def speech():
    with demo_corpus() as folder:
        return read_audio(folder / "WAV" / "D0001_S0001_0_G0001.flac", 16_000)[: 16_000 * 15]


def pushed(vad, speech, sizes, judge=None):
    watch = TurnMonitor(judge or Says(0.1, 0.9), ThresholdSchedule.from_config(TurnConfig()), vad)
    events, at = [], 0
    while at < len(speech):
        size = next(sizes)
        events += watch.push(speech[at : at + size])
        at += size
    return events, watch.summary()


def test_however_the_sound_comes_the_answers_are_the_same(vad, speech):
    rng = np.random.default_rng(0)
    judges = [Says(0.1, 0.9) for _ in range(3)]
    whole = pushed(vad, speech, iter([len(speech)]), judges[0])
    chunks = pushed(vad, speech, iter(lambda: 5120, 0), judges[1])
    odd = pushed(vad, speech, iter(lambda: int(rng.integers(1, 20_000)), 0), judges[2])
    assert whole == chunks == odd
    assert whole[1]["turns"] >= 2
    for one, other in zip(judges[0].heard, judges[2].heard, strict=True):
        assert np.array_equal(one, other)


def test_nothing_is_asked_about_silence_and_noise(vad):
    judge = Says(0.99)
    noise = np.random.default_rng(1).normal(0, 0.01, 16_000 * 5).astype(np.float32)
    assert pushed(vad, noise, iter(lambda: 5120, 0), judge)[0] == []
    assert judge.heard == []


def test_a_file_and_a_microphone_give_the_same(vad, speech, tmp_path):
    import soundfile

    path = tmp_path / "speech.wav"
    soundfile.write(path, speech, 16_000, subtype="FLOAT")
    by_file = TurnMonitor(Says(0.1, 0.9), ThresholdSchedule.from_config(TurnConfig()), vad)
    expected = list(monitor_file(path, by_file))
    told = []

    class Microphone:
        can_wait = False

        async def blocks(self):
            for at in range(0, len(speech), 320):
                await anyio.sleep(0.02)
                yield AudioBlock(speech[at : at + 320], (at + 320) * 3)

    by_mic = TurnMonitor(Says(0.1, 0.9), ThresholdSchedule.from_config(TurnConfig()), vad)
    simulate(monitor_source, Microphone(), by_mic, InlineWorker(), told.append)
    assert told == expected
    assert by_mic.summary() == by_file.summary()


def test_a_microphone_that_is_opened(vad, speech, monkeypatch):
    """A backend that obeys the protocol and plays speech into the callback, faster than it was spoken, and silence after it."""
    over, closed = threading.Event(), []

    class AudioStream:
        rate_hz, channels, stopped = 16_000, 1, False

        def __init__(self, take):
            self.thread = threading.Thread(target=self.play, args=(take,))
            self.thread.start()

        def play(self, take):
            for at in itertools.count(0, 640):
                take(speech[at : at + 640, None] if at < len(speech) else np.zeros((640, 1), np.float32))
                if over.wait(0.02):
                    return

        def close(self):
            over.set()
            self.thread.join()
            closed.append(True)

    class Fake:
        name = "fake"

        def devices(self):
            return [AudioDevice(0, "Fake microphone", "input", "fake", "none", 16_000, 1, True)]

        def open_input(self, device, take):
            return AudioStream(take)

    monkeypatch.setattr("sca.infer.turn.monitor_microphone.load_backend", lambda name: Fake())
    told, notices = [], []

    limits, limit = [], anyio.move_on_after

    def kept(seconds):
        limits.append((seconds, limit(seconds)))
        return limits[-1][1]

    def tell(event):
        told.append(event)
        if isinstance(event, Decision):  # its ten minutes are over now
            (ends,) = [scope for seconds, scope in limits if seconds == 600.0]
            ends.deadline = anyio.current_time()

    monkeypatch.setattr(anyio, "move_on_after", kept)
    watch = TurnMonitor(Says(0.9), ThresholdSchedule.from_config(TurnConfig()), vad, lenient=True)
    monitor_microphone(watch, MicrophoneOptions(seconds=600.0), tell, notices.append)
    assert notices == ["ready: listening to Fake microphone; Ctrl-C ends it"]
    assert any(isinstance(event, Decision) for event in told)
    assert closed == [True]
    with pytest.raises(UsageError, match="input device elsewhere not found"):
        monitor_microphone(watch, MicrophoneOptions(device="elsewhere"), told.append, notices.append)


def test_events_as_documents(vad):
    assert event_document(QueryResult(16_000, 8_000, 0.5, 2, 0.75)) == {
        "type": "asked", "at_s": 1.0, "turn": 2, "silence_s": 0.5, "probability": 0.75, "threshold": 0.5,
        "finished": True, "failure": None,
    }  # fmt: skip
    assert event_document(Decision(1, 0, 16_000, 32_000, "silence")) == {
        "type": "over", "at_s": 2.0, "turn": 1, "from_s": 0.0, "until_s": 1.0, "delay_s": 1.0, "reason": "silence",
        "probability": None,
    }  # fmt: skip


def test_a_turn_that_the_end_of_the_sound_cuts_off_is_told(vad, speech):
    _, end = pushed(vad, speech[: 16_000 * 2], iter(lambda: 5120, 0), Says(0.0))
    assert (end["turns"], end["heard_s"]) == (0, 2.0)
    assert end["open_since_s"] is not None
