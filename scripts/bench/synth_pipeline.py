"""From scripts to an error table: `sca synth`, `build-duplex`, `verify`, `transcribe`, and the recognizer against truth.

    python scripts/bench/synth_pipeline.py [--voices LIST] [--model whisper-tiny-en] [--hours 0.1] [--snr 20]

Conditions: the shipped scripts, two voices, one track per speaker; every command as a process of its own, as a user runs
it. The recognizer hears each track alone. Words are aligned with the fewest errors; times are those of equal words,
recognized minus true. Wall and processor seconds of each step.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sca.synth.score import score
from sca.timeline import Show, read_shows


def step(result, name, *words):
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-m", "sca", *map(str, words)], capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{name}: exit code {done.returncode}\n{done.stderr}")
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    result["steps"][name] = {"wall_s": round(time.perf_counter() - began, 1), "cpu_s": round(spent, 1)}


def pairs(corpus, shows):
    """Yield the true and the recognized words of each track."""
    heard = {Path(show.source or show.video_id).stem: show for _, show in read_shows(shows) if isinstance(show, Show)}
    for path in sorted((corpus / "WORDS").iterdir()):
        truth = [tuple(word) for word in json.loads(path.read_text(encoding="utf-8"))]
        show = heard.get(path.stem)
        yield truth, [(word.word, word.start, word.end) for word in show.words] if show else []


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--voices", default="espeak:en-us+m3,espeak:en-gb-x-rp+f2")
    parser.add_argument("--model", default="whisper-tiny-en")
    parser.add_argument("--hours", type=float, default=0.1)
    parser.add_argument("--snr", type=float)
    given = parser.parse_args()
    result = {"load": round(os.getloadavg()[0], 1), "voices": given.voices, "model": given.model, "steps": {}}
    noise = [] if given.snr is None else ["--snr", given.snr]
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        corpus, data, shows = Path(folder, "talk"), Path(folder, "data"), Path(folder, "shows.jsonl")
        synth = ["--shipped", "all", "--hours", given.hours, "--voices", given.voices, *noise]
        step(result, "synth", "synth", *synth, "-o", corpus, "--quiet")
        step(
            result,
            "build-duplex",
            "build-duplex",
            corpus,
            "-o",
            data,
            "--set",
            "duplex.model_path=builtin:qwen",
            "--quiet",
        )
        step(result, "verify", "verify", data, "--source", corpus)
        recognize = ["--model", given.model, "--device", "cpu", "--language", "en", "--reactions", "none"]
        step(result, "transcribe", "transcribe", corpus / "WAV", "--save-file", shows, *recognize, "--quiet")
        found = score(pairs(corpus, shows))
    result |= {"wall_s": round(time.perf_counter() - began, 1), **found.document()}
    print(f"{'':<10}{'bias':>9}{'mean':>9}{'p95':>9}{'max':>9}  seconds, of {len(found.starts_s)} equal words")
    for name in ("start", "end"):
        print(f"{name:<10}" + "".join(f"{value:>9.3f}" for value in result[name].values()))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
