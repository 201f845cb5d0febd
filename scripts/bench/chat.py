"""A conversation from parts: the latency of each part alone, and of the whole from the end of speech to the first sound.

    python scripts/bench/chat.py [--questions N] [--recognizer MODEL] [--voice ENGINE] [--turn-model auto]
        [--early-answers N] [--pause-ms MS] [--correct-ms MS]

All parts run on this machine. The questions are spoken by the voice. Alone: the recognizer gets a question in chunks of
0.32 s at the pace of the speech, and the time from the last chunk of 0.64 s of silence to the final text is measured;
the language model answers in text; the voice speaks a clause. Whole: the engine cascade in the live loop in real time,
on the questions with pauses between them: `endpoint` (the turn is decided), `recognizer` (text), `first_token`,
`first_clause`, `voice` (first sound) and `next_step` (a step of 0.32 s takes the sound). For the parts alone one question
of warm-up is not counted; the whole counts it. p50 and p95. With `--correct-ms`, the speaker pauses that long after
each question of the whole, long enough for a prepared answer, and corrects it to the next question. Run it on an idle
machine, or read the load in the result.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

from sca.audio.resample import resample
from sca.config import load_settings
from sca.infer.conversation.latency import STAGES
from sca.infer.engines.cascade.engine import load
from sca.infer.frames import AudioOutput, UserText
from sca.infer.interfaces import BaseListener
from sca.infer.messages import Message
from sca.infer.runners.file import OutputFiles, run_file
from sca.units import HEARD_HZ

QUESTIONS = (
    "What is the capital of France?",
    "How many days are in a week?",
    "What is the colour of the sky?",
    "Where do polar bears live?",
    "What do you need to make bread?",
    "Which animal says meow?",
)
PAUSE_S, CHUNK = 6.0, 5120
SILENCE = np.zeros(int(0.64 * HEARD_HZ), np.float32)


def percentiles(values):
    return {
        "count": len(values),
        "p50": round(float(np.percentile(values, 50)), 1),
        "p95": round(float(np.percentile(values, 95)), 1),
    }


def spoken(voice, text):
    chunks = list(voice.speak(text))
    return resample(np.concatenate([chunk.samples for chunk in chunks]), voice.sample_rate, HEARD_HZ)


def recognizer_alone(engine, sounds):
    times, texts = [], []
    for sound in sounds:
        recognizer = engine.open()
        recognizer.start_processing()
        padded = np.concatenate([sound, SILENCE])
        for at in range(0, len(padded), CHUNK):
            recognizer.put_audio_chunk(padded[at : at + CHUNK])
            time.sleep(min(CHUNK, len(padded) - at) / HEARD_HZ)
        began = time.perf_counter()
        recognizer.finish()
        texts.append(recognizer.get_final(60).text)
        times.append(1000 * (time.perf_counter() - began))
        recognizer.close()
    return {"final_ms": percentiles(times[1:]), "texts": texts}


def language_alone(model, prompt, questions):
    first, between, whole = [], [], []
    for question in questions:
        began, latest = time.perf_counter(), None
        for _ in model.reply([Message("system", prompt), Message("user", question)]):
            now = time.perf_counter()
            if latest is None:
                first.append(1000 * (now - began))
            else:
                between.append(1000 * (now - latest))
            latest = now
        whole.append(1000 * (time.perf_counter() - began))
    return {"first_ms": percentiles(first[1:]), "token_ms": percentiles(between), "answer_ms": percentiles(whole[1:])}


def voice_alone(voice, questions):
    times = []
    for question in questions:
        began = time.perf_counter()
        next(voice.speak(question))
        times.append(1000 * (time.perf_counter() - began))
    return {"first_ms": percentiles(times[1:])}


class Talk(BaseListener):
    """What was recognized and answered."""

    def __init__(self):
        self.user, self.answer = [], ""

    def on_user_text(self, frame: UserText):
        if frame.is_final:
            self.user.append(frame.text)

    def on_output(self, frame: AudioOutput, sample: int):
        self.answer += frame.text_log


def whole(engine, settings, sounds):
    pause = np.zeros(int(PAUSE_S * HEARD_HZ), np.float32)
    track = np.concatenate([pause, *(part for sound in sounds for part in (sound, pause))])
    talk = Talk()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        soundfile.write(path / "in.wav", track, HEARD_HZ)
        report = run_file(
            path / "in.wav", OutputFiles(path / "out.wav"), engine, settings, realtime=True, listeners=[talk]
        )
    return {
        "latency_ms": engine.latency.document(),
        "early": dict(engine.latency.early),
        "step_ms": report["step_ms"],
        "user": talk.user,
        "answers": talk.answer,
    }


def corrected(voice, questions, sounds, pause_ms):
    """Return each question with a pause and its correction to the next question."""
    pause = np.zeros(HEARD_HZ * pause_ms // 1000, np.float32)
    others = [spoken(voice, f"Sorry, I mean: {question}") for question in (*questions[1:], questions[0])]
    return [np.concatenate([sound, pause, other]) for sound, other in zip(sounds, others, strict=True)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=len(QUESTIONS))
    parser.add_argument("--recognizer", default="whisper-base")
    parser.add_argument("--voice", default="piper")
    parser.add_argument("--turn-model", default=None)
    parser.add_argument("--early-answers", type=int, default=None, help="live.early_answers; 0 prepares none")
    parser.add_argument("--pause-ms", type=int, default=None, help="recognition.pause_ms")
    parser.add_argument("--correct-ms", type=int, default=None, help="correct each question after this pause")
    options = parser.parse_args()
    settings = load_settings(
        overrides={
            "recognition.model": options.recognizer,
            "recognition.language": "en",
            "chat.voice": options.voice,
            "live.engine": "cascade",
            "live.turn_model": options.turn_model,
            **({} if options.early_answers is None else {"live.early_answers": options.early_answers}),
            **({} if options.pause_ms is None else {"recognition.pause_ms": options.pause_ms}),
        }
    )
    questions = [QUESTIONS[i % len(QUESTIONS)] for i in range(options.questions + 1)]
    engine = load(settings)
    parts = engine.parts
    voice = parts.open_voice()
    sounds = [spoken(voice, question) for question in questions]
    turns = sounds
    if options.correct_ms is not None:
        turns = corrected(voice, questions, sounds, options.correct_ms)
    load_before = os.getloadavg()[0]
    result = {
        "parts": parts.summary,
        "questions": options.questions,
        "turn_model": options.turn_model or "silence",
        "alone": {
            "recognizer": recognizer_alone(parts.recognizer, sounds),
            "language_model": language_alone(parts.language, settings.llm.system_prompt, questions),
            "voice": voice_alone(voice, questions),
        },
        "corrected_after_ms": options.correct_ms,
        "whole": whole(engine, settings, turns),
        "speech_s": round(statistics.mean(len(sound) / HEARD_HZ for sound in sounds), 2),
        "load": [load_before, os.getloadavg()[0]],
        "cores": os.cpu_count(),
    }
    engine.close()
    print(f"{'part':<16}{'p50 ms':>8}{'p95 ms':>8}")
    for stage in (*STAGES, "total"):
        row = result["whole"]["latency_ms"].get(stage)
        if row is not None:
            print(f"{stage:<16}{row['p50']:>8.0f}{row['p95']:>8.0f}")
    print(json.dumps(result, ensure_ascii=False))


if __name__ == "__main__":
    main()
