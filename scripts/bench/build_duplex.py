"""Measure the speed and memory of building a duplex data set, and the time of reading a row.

Conditions: generated conversations of 10 minutes (16 kHz, two speakers, word times given), tokenizer builtin:qwen,
one process unless noted. A build decodes, resamples to 24 kHz, compresses both rates, places, cuts, proves and
writes. The baseline of the same run is the work that every builder needs: decode whole files and resample them to
both rates in memory. Peak memory is that of a new process.

The corpus generator is a separate program that is not part of this repository.

    uv run python scripts/bench/build_duplex.py [--tool PATH_TO_make_corpus.py]
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

TOOL = Path(__file__).resolve().parents[3] / "shared" / "tools" / "make_corpus.py"
BUILD = """
import sys, time, resource
from pathlib import Path
from sca.config import load_settings
from sca.data.duplex.build.dataset import build_duplex
settings = load_settings(overrides={"duplex.model_path": "builtin:qwen", **eval(sys.argv[4])}, env={})
# Warm-up: what a run loads once, independent of its length.
from sca.data.duplex.storage.build_settings import tokenizer_of
from sca.data.duplex.storage.writer import features
tokenizer_of(settings), features("storage"), features("rows")
from sca.data.duplex.build import session
if sys.argv[5] == "with":
    from sca.data.duplex.audio.vad_spans import shared_scan
    shared_scan()
else:
    # The build as it was before words were compared with sound.
    from sca.data.duplex.audio.vad_spans import Listened
    class Deaf:
        def __init__(self, every_frame): pass
        def push(self, block): pass
        def finish(self): return Listened([], 0.0, "")
    session.TrackListener, session.measure_session = Deaf, lambda *given: []
loaded = time.process_time()
began = time.perf_counter()
build_duplex(Path(sys.argv[1]), Path(sys.argv[2]), settings, jobs=int(sys.argv[3]))
print(time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
      resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024, time.process_time(), loaded)
"""


def build(corpus: Path, data: Path, jobs: int = 1, *, evidence: bool = True, **settings: object) -> dict[str, float]:
    """Build in a new process, and return wall seconds, processor seconds, and the peak MiB of the largest process.

    `cpu_s` is the whole process, `build_cpu_s` without what a run loads once. Without `evidence` words are not compared
    with sound; this needs transcripts of all tracks.
    """
    shutil.rmtree(data, ignore_errors=True)
    how = "with" if evidence else "without"
    command = [sys.executable, "-c", BUILD, str(corpus), str(data), str(jobs), repr(settings), how]
    wall, own, children, cpu, loaded = map(
        float, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    )
    return {
        "wall_s": wall,
        "peak_mib": max(own, children if jobs > 1 else 0.0),
        "cpu_s": cpu,
        "build_cpu_s": cpu - loaded,
    }


def corpus_of(folder: Path, source: Path, sessions: int, minutes: int) -> Path:
    """Make a corpus of `sessions` sessions of `minutes` minutes each from one generated session of 10 minutes."""
    import soundfile as sf

    repeat = minutes // 10
    for kind in ("WAV", "TXT", "WORDS"):
        (folder / kind).mkdir(parents=True)
    for n in range(sessions):
        for track, wav in enumerate(sorted((source / "WAV").glob("*.wav"))):
            name = f"B{n:04d}_S{n:04d}_0_G{2 * n + track + 1:04d}"
            samples, rate = sf.read(wav, dtype="int16")
            sf.write(folder / "WAV" / f"{name}.wav", np.tile(samples, repeat), rate, subtype="PCM_16")
            text = (source / "TXT" / f"{wav.stem}.txt").read_text().splitlines()
            words = json.loads((source / "WORDS" / f"{wav.stem}.json").read_text())
            lines, timed = [], []
            for again in range(repeat):
                shift = again * len(samples) / rate
                for line in text:
                    times, rest = line[1:].split("]", 1)
                    a, b = map(float, times.split(","))
                    lines.append(f"[{a + shift:.3f},{b + shift:.3f}]{rest}")
                timed += [[w, round(a + shift, 4), round(b + shift, 4)] for w, a, b in words]
            (folder / "TXT" / f"{name}.txt").write_text("\n".join(lines) + "\n")
            (folder / "WORDS" / f"{name}.json").write_text(json.dumps(timed))
    return folder


def baseline(corpus: Path) -> float:
    """Return the seconds to decode every whole track (at 16 kHz), resample it to 24 kHz, and write raw samples."""
    import soundfile as sf
    import soxr

    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for wav in sorted((corpus / "WAV").iterdir()):
            samples, rate = sf.read(wav, dtype="float32")
            (samples * 32767).astype("<i2").tofile(f"{folder}/heard")
            (soxr.resample(samples, rate, 24_000) * 32767).astype("<i2").tofile(f"{folder}/spoken")
    return time.perf_counter() - began


def read_ms(data: Path, rows: int = 60) -> float:
    """Return the median ms of reading a row of about 30 s with tokens and both sides, in random order, scaled to 94 chunks."""
    from sca.data.duplex.load.dataset import load

    dataset = load(data)
    dataset[0]
    spent = []
    for i in np.random.default_rng(0).permutation(len(dataset))[:rows]:
        began = time.perf_counter()
        row = dataset[int(i)]
        spent.append(1000 * (time.perf_counter() - began) * 94 / len(row.heard))
    return statistics.median(spent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tool", type=Path, default=TOOL, help="the corpus generator")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        print("generating a conversation of 10 minutes …", file=sys.stderr)
        subprocess.run([sys.executable, args.tool, root / "source", "--sessions", "1", "--minutes", "10"], check=True)
        subprocess.run([sys.executable, args.tool, root / "tiny", "--sessions", "1", "--minutes", "1"], check=True)
        ten = corpus_of(root / "ten", root / "source", 1, 10)
        forty = corpus_of(root / "forty", root / "source", 4, 10)
        long = corpus_of(root / "long", root / "source", 1, 40)
        floor = build(root / "tiny", root / "d0")  # also fills the caches of the tokenizer and of the pages
        plain_s = min(baseline(forty) for _ in range(3))
        single = min((build(forty, root / "d40") for _ in range(3)), key=lambda r: r["wall_s"])
        plain_s = min(plain_s, baseline(forty))
        double = min((build(forty, root / "d40b", jobs=2) for _ in range(2)), key=lambda r: r["wall_s"])
        short, whole = (
            build(ten, root / "d10", **{"duplex.window": "28-32"}),
            build(long, root / "d40l", **{"duplex.window": "session"}),
        )
        pcm = build(ten, root / "d10p", **{"duplex.audio_format": "pcm16", "duplex.window": "28-32"})
        audio_s = 4 * 600
        result = {
            "bench": "build_duplex",
            "cores": os.cpu_count(),
            "x_real_time_sessions_1_process": round(audio_s / single["wall_s"]),
            "x_real_time_tracks_1_process": round(2 * audio_s / single["wall_s"]),
            "x_real_time_tracks_2_processes": round(2 * audio_s / double["wall_s"]),
            "x_real_time_tracks_baseline_resample_only": round(2 * audio_s / plain_s),
            "x_real_time_tracks_1_process_pcm16": round(2 * 600 / pcm["wall_s"]),
            "peak_mib_1_minute": round(floor["peak_mib"]),
            "peak_mib_10_minutes": round(short["peak_mib"]),
            "peak_mib_4_sessions_of_10_minutes": round(single["peak_mib"]),
            "peak_mib_1_session_of_40_minutes": round(whole["peak_mib"]),
            "read_30_s_row_ms_flac": round(read_ms(root / "d10"), 2),
            "read_30_s_row_ms_pcm16": round(read_ms(root / "d10p"), 2),
            "bench_peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        }
    for name, value in result.items():
        print(f"{name:45} {value}", file=sys.stderr)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
