"""Speed of synthetic conversations: seconds of conversation per processor second, by engine.

    python scripts/bench/synth.py [--engine espeak --engine piper] [--conversations N]

Each engine speaks the shipped scripts in this process, one thread, after one conversation of warm-up (which loads a
model). Without sound effects, and with all of them (room, bleed, noise, Opus). Files are written to a temporary folder.
Processor seconds, which other load on the machine inflates by less than wall seconds. Engines that need something that
is not here are left out.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sca.config import SynthConfig
from sca.errors import MissingToolError
from sca.infer.speech.registry import load_speech_engine
from sca.synth.run import synthesize
from sca.synth.script import shipped_names, shipped_script

VOICES = {
    "espeak": "espeak:en-us+m3,espeak:en-gb-x-rp+f2",
    "piper": "piper:joe,piper:joe",
    "kokoro": "kokoro:af_heart,kokoro:am_adam",
}
EFFECTS = {"room": 0.3, "bleed_db": -30.0, "snr_db": 20.0, "codec": "opus"}


def measure(voices, conversations, **effects):
    settings = SynthConfig(voices=voices, **effects)
    scripts = [shipped_script(name) for name in shipped_names()]
    with tempfile.TemporaryDirectory() as folder:
        synthesize(scripts[-1:], Path(folder, "warm"), settings, conversations=1, jobs=1)
        began = time.process_time()
        summary = synthesize(scripts, Path(folder, "corpus"), settings, conversations=conversations, jobs=1)
        spent = time.process_time() - began
    return {
        "audio_s": round(summary.audio_s, 1),
        "cpu_s": round(spent, 2),
        "x_real_time": round(summary.audio_s / spent, 1),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", action="append", choices=sorted(VOICES))
    parser.add_argument("--conversations", type=int, default=10)
    given = parser.parse_args()
    result = {"load": round(os.getloadavg()[0], 1)}
    for engine in given.engine or ["espeak", "piper"]:
        try:
            load_speech_engine(engine).open()
        except MissingToolError as error:
            print(f"{engine}: {error.message}", file=sys.stderr)
            continue
        result[engine] = {
            "clean": measure(VOICES[engine], given.conversations),
            "effects": measure(VOICES[engine], given.conversations, **EFFECTS),
        }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
