"""Speech engines: time to the first audio and real-time factor, streaming against blocking in the same run.

    python scripts/bench/say.py [--repeat N] [--engine espeak --engine piper]

Each engine speaks the same paragraph, loaded before, after one text of warm-up. Streaming: until the first chunk of the
iterator. Blocking: until the last one, which is what a caller of a blocking interface would wait for. Word starts after
pauses are compared with the first sample above 2 % of the peak. Medians; one thread. Run it on an idle machine, or read
the load in the result. Engines that need something that is not here are left out.
"""

import argparse
import json
import os
import statistics
import time

import numpy as np

from sca.errors import MissingToolError
from sca.infer.speech.registry import load_speech_engine

TEXT = (
    "Good morning, and welcome to the show. Today we talk about the weather, the trains, and the price of bread. "
    "The first guest is a baker from London. She gets up at three in the morning, and she says that she likes it."
)
WORDS = "Bread. Tomatoes. Butter. Garlic. Potatoes. Carrots. Dinner. Breakfast. Kitchen. Table."
PAUSE_S = 0.15


def measure(voice, repeat):
    firsts, alls, seconds = [], [], 0.0
    for _ in range(repeat):
        began = time.perf_counter()
        speech = voice.speak(TEXT)
        samples = len(next(speech).samples)
        firsts.append(time.perf_counter() - began)
        samples += sum(len(chunk.samples) for chunk in speech)
        alls.append(time.perf_counter() - began)
        seconds = samples / voice.sample_rate
    return {
        "first_audio_ms_streaming": round(1000 * statistics.median(firsts), 1),
        "first_audio_ms_blocking": round(1000 * statistics.median(alls), 1),
        "real_time_factor": round(statistics.median(alls) / seconds, 4),
        "speech_s": round(seconds, 2),
    }


def onsets(voice):
    chunks = list(voice.speak(WORDS))
    samples = np.concatenate([chunk.samples for chunk in chunks])
    starts = np.array([word.start_sample for chunk in chunks for word in chunk.words])
    loud = np.flatnonzero(np.abs(samples) > 0.02 * np.abs(samples).max())
    found = [loud[0], *loud[1:][np.diff(loud) > PAUSE_S * voice.sample_rate]]
    errors = [(starts[np.abs(starts - at).argmin()] - at) / voice.sample_rate for at in found]
    return {
        "onset_bias_ms": round(1000 * float(np.mean(errors)), 1),
        "onset_abs_ms": round(1000 * float(np.mean(np.abs(errors))), 1),
        "onset_max_ms": round(1000 * float(np.max(np.abs(errors))), 1),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--engine", action="append")
    options = parser.parse_args()
    result = {"load": round(os.getloadavg()[0], 1)}
    for name in options.engine or ("espeak", "piper"):
        began = time.perf_counter()
        try:
            voice = load_speech_engine(name).open()
        except MissingToolError as error:
            print(f"{name}: {error.message}; left out")
            continue
        load_s = round(time.perf_counter() - began, 2)
        list(voice.speak("This is a text to warm up."))
        result[name] = {"load_s": load_s, **measure(voice, options.repeat), **onsets(voice)}
        print(name, result[name])
    print(json.dumps(result))


if __name__ == "__main__":
    main()
