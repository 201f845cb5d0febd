"""Speech engines: first audio, real-time factor, word starts, and the words that a recogniser gets wrong, in one run.

    python scripts/bench/say.py [--repeat N] [--engine espeak --engine piper] [--no-recogniser]

Each engine speaks the same paragraph, loaded before, after one text of warm-up. Streaming: until the first chunk of the
iterator. Blocking: until the last one, which is what a caller of a blocking interface would wait for; the ratio is
stated for the first 8 s as well, by the clock and in processor time, which hardly depends on the load. Word starts after
pauses are compared with the first sample above 2 % of the peak. Intelligibility: 12 sentences, heard by whisper-tiny-en
(`sca models get whisper-tiny-en`). Medians; one thread. Run it on an idle machine, or read the load in the result.
Engines that need something that is not here are left out; csm runs with a tiny random model
(`scripts/make_tiny_csm.py`), whose speech is noise.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sca.audio.resample import resample
from sca.config import CsmConfig, Settings
from sca.errors import MissingToolError
from sca.infer.speech.registry import load_speech_engine
from sca.models import resolve
from sca.units import HEARD_HZ
from tests.helpers.spoken import SENTENCES, onset_errors, whole
from tests.helpers.word_errors import errors, words_of

TEXT = (
    "Good morning, and welcome to the show. Today we talk about the weather, the trains, and the price of bread. "
    "The first guest is a baker from London. She gets up at three in the morning, and she says that she likes it."
)
WORDS = "Bread. Tomatoes. Butter. Garlic. Potatoes. Carrots. Dinner. Breakfast. Kitchen. Table."
PAUSE_S = 0.15
ENGINES = ("espeak", "piper", "kokoro", "csm")
LONG_S = 8.0


def spoken(voice):
    """Return the times of the first chunk, of 8 s and of the end, by the clock and of the processor, and the length."""
    began = np.array([time.perf_counter(), time.process_time()])
    times, samples = [], 0
    for chunk in voice.speak(TEXT):
        samples += len(chunk.samples)
        if not times or (len(times) == 1 and samples >= LONG_S * voice.sample_rate):
            times.append(np.array([time.perf_counter(), time.process_time()]) - began)
    end = np.array([time.perf_counter(), time.process_time()]) - began
    return [*times, *[end] * (3 - len(times))], samples / voice.sample_rate


def measure(voice, repeat):
    rounds = [spoken(voice) for _ in range(repeat)]
    firsts, longs, alls = (np.array([times[at] for times, _ in rounds]) for at in range(3))  # (repeat, 2)
    seconds = rounds[-1][1]
    ratio, cpu_ratio = np.median(longs / firsts, axis=0)
    firsts, alls = firsts[:, 0], alls[:, 0]
    return {
        "ratio_8_s": round(ratio, 1),
        "ratio_8_s_processor": round(cpu_ratio, 1),
        "first_audio_ms_streaming": round(1000 * statistics.median(firsts), 1),
        "first_audio_ms_blocking": round(1000 * statistics.median(alls), 1),
        "real_time_factor": round(statistics.median(alls) / seconds, 4),
        "speech_s": round(seconds, 2),
    }


def onsets(voice):
    found = 1000 * onset_errors(*whole(voice, WORDS), voice.sample_rate, PAUSE_S)
    return {
        "onset_bias_ms": round(float(found.mean()), 1),
        "onset_abs_ms": round(float(np.abs(found).mean()), 1),
        "onset_max_ms": round(float(np.abs(found).max()), 1),
    }


def intelligibility(voice, recogniser):
    wrong = total = 0
    for sentence in SENTENCES:
        samples = resample(whole(voice, sentence)[0], voice.sample_rate, HEARD_HZ)
        segments, _ = recogniser.transcribe(samples, language="en", beam_size=1)
        truth = words_of(sentence)
        wrong += errors(truth, words_of(" ".join(segment.text for segment in segments)))
        total += len(truth)
    return {"words_wrong": wrong, "words": total, "word_error_rate": round(wrong / total, 4)}


def load_recogniser():
    from faster_whisper import WhisperModel

    folder = resolve("pkg:whisper-tiny-en")
    return WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=1)


def settings_of(name, folder):
    if name != "csm":
        return Settings()
    from scripts.make_tiny_csm import save

    return Settings(csm=CsmConfig(model_id=str(save(Path(folder) / "csm")), max_audio_length_ms=8000))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--engine", action="append")
    parser.add_argument("--no-recogniser", action="store_true")
    options = parser.parse_args()
    recogniser = None if options.no_recogniser else load_recogniser()
    result = {"load": round(os.getloadavg()[0], 1)}
    with tempfile.TemporaryDirectory() as folder:
        for name in options.engine or ENGINES:
            engine = load_speech_engine(name, settings_of(name, folder))
            began = time.perf_counter()
            try:
                voice = engine.open()
            except MissingToolError as error:
                print(f"{name}: {error.message}; left out")
                continue
            load_s = round(time.perf_counter() - began, 2)
            list(voice.speak("This is a text to warm up."))
            result[name] = {"load_s": load_s, **measure(voice, options.repeat)}
            if name != "csm":  # its random weights speak noise
                result[name] |= onsets(voice) | ({} if recogniser is None else intelligibility(voice, recogniser))
            print(name, result[name])
    print(json.dumps(result))


if __name__ == "__main__":
    main()
