"""A spoken question is recognized, answered and spoken with real models on this machine."""

import signal
import subprocess
import sys

import numpy as np
import pytest

import sca
from sca.audio.resample import resample
from sca.config import load_settings
from sca.infer.conversation.latency import STAGES
from sca.infer.engines.cascade.engine import load
from sca.infer.frames import UserText
from sca.infer.interfaces import BaseListener
from sca.infer.recognition.registry import load_recognizer
from sca.infer.speech.registry import load_speech_engine
from sca.units import HEARD_HZ, SPOKEN_HZ
from tests.helpers.pulse import pulse_server, write_wav
from tests.helpers.spoken import whole
from tests.helpers.timeouts import TIMEOUT_S

pytestmark = pytest.mark.weights


class Words(BaseListener):
    def __init__(self):
        self.texts = []

    def on_user_text(self, frame: UserText):
        self.texts.append(frame.text)


@pytest.fixture(scope="module")
def settings(weights):
    for name in ("whisper-tiny-en", "smollm2", "piper-joe"):
        weights(name)
    return load_settings(
        overrides={
            "recognition.model": "whisper-tiny-en",
            "llm.max_tokens": 40,
            "llm.context_tokens": 512,
            "chat.voice": "piper:piper-joe",
            "live.engine": "cascade",
        },
        env={},
    )


def recognized(recognizer, samples):
    recognizer.start_processing()
    recognizer.put_audio_chunk(samples)
    recognizer.finish()
    return recognizer.get_final(60).text


def test_spoken_question_gets_a_spoken_answer(settings):
    voice = load_speech_engine("piper").open()
    question, _ = whole(voice, "What is the capital of France?")
    heard = resample(question, voice.sample_rate, HEARD_HZ)
    sound = np.concatenate([np.zeros(HEARD_HZ // 2, np.float32), heard, np.zeros(5 * HEARD_HZ, np.float32)])
    engine, words = load(settings), Words()
    try:
        run = sca.run_engine(engine, sound, settings, listeners=[words])
    finally:
        engine.close()
    assert "capital of France" in words.texts[-1]
    assert "Paris" in run.text
    recognizer = load_recognizer(settings=settings).open()
    again = recognized(recognizer, resample(run.output, SPOKEN_HZ, HEARD_HZ))
    recognizer.close()
    assert "Paris" in again
    assert set(engine.latency.document()) == {*STAGES, "total"}


def read_until(stream, words):
    """Read lines of a process until one has the words."""
    for line in stream:
        if words in line:
            return
    pytest.fail(f"the process ended before {words!r}")


def test_microphone_is_answered_on_the_loudspeaker(settings, tmp_path):
    voice = load_speech_engine("piper").open()
    question, _ = whole(voice, "What is the capital of France?")
    recording = write_wav(tmp_path / "question.wav", question, voice.sample_rate)
    names = ("recognition.model", "llm.max_tokens", "llm.context_tokens", "chat.voice")
    chosen = [part for name in names for part in ("--set", f"{name}={settings.value(name)}")]
    command = [sys.executable, "-m", "sca", "chat", "--mic", "--offline", "--echo", "none", *chosen]
    with pulse_server(tmp_path) as pulse, pulse.listening() as loudspeaker:
        env = pulse.env | {"SCA_CACHE_DIR": str(settings.paths.resolved_cache_dir)}
        with subprocess.Popen(
            command, env=env, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        ) as process:
            read_until(process.stderr, "ready: listens on")
            pulse.speak(recording)
            read_until(process.stderr, "turn 0: complete")
            loudspeaker.hear(3)
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 130
        answer = resample(loudspeaker.samples, SPOKEN_HZ, HEARD_HZ)
    recognizer = load_recognizer(settings=settings).open()
    assert "Paris" in recognized(recognizer, answer)
    recognizer.close()
