"""Compare `sca transcribe` with faster-whisper's own batched pipeline, on the same recordings in the same run.

Conditions: one loaded model, random weights in the shape of Whisper's `--size` (default base), float32, CPU;
`--files` recordings of `--seconds` of espeak-ng each, on disk as 16 kHz WAV. Theirs:
`BatchedInferencePipeline.transcribe(path)` with word times and its VAD, all segments read. Ours: reading, the VAD,
the same pipeline, hallucination filters, phrases, and the line, hashed, appended and synced. The weights are
scripted, so every stretch of 30 s decodes the same number of tokens. One warm-up each, then alternating rounds;
medians of pairs, because the speed of the machine drifts.

    uv run python scripts/bench/transcribe.py [--size base] [--files 4] [--seconds 60] [--rounds 5]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sca.data.transcription.transcribe import transcribe
from sca.data.transcription.whisper import Recognizer, RecognizerOptions
from tests.helpers.tiny_whisper import scripted_whisper

SHAPES = {"tiny": (384, 4, 6), "base": (512, 6, 8), "small": (768, 12, 12)}
TEXT = "The quick brown fox jumps over the lazy dog while everybody in the room waits for the next line. "
TARGET = 1.03


def recordings(folder: Path, files: int, seconds: int) -> list[Path]:
    """Write speech of espeak-ng with pauses, each file at another speed."""
    found = []
    for n in range(files):
        path = folder / f"show{n}.wav"
        spoken = folder / "spoken.wav"
        command = ["espeak-ng", "-s", str(150 + 5 * n), "-w", str(spoken), TEXT * (seconds // 5)]
        subprocess.run(command, check=True)
        sound, rate = soundfile.read(spoken, dtype="float32")
        times = np.arange(seconds * 16_000) / 16_000
        soundfile.write(path, np.interp(times, np.arange(len(sound)) / rate, sound, right=0.0), 16_000)
        spoken.unlink()
        found.append(path)
    return found


class Clock:
    """Wall and processor seconds of all threads since creation. Processor seconds depend little on other load."""

    def __init__(self) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def read(self) -> tuple[float, float]:
        return time.perf_counter() - self.wall, time.process_time() - self.cpu


def theirs(recognizer: Recognizer, paths: list[Path]) -> tuple[tuple[float, float], int]:
    from faster_whisper import BatchedInferencePipeline

    pipeline = BatchedInferencePipeline(recognizer._model)
    clock = Clock()
    words = 0
    for path in paths:
        segments, _ = pipeline.transcribe(str(path), language="en", batch_size=8, word_timestamps=True)
        words += sum(len(segment.words) for segment in segments)
    return clock.read(), words


def ours(recognizer: Recognizer, paths: list[Path], folder: Path) -> tuple[tuple[float, float], int]:
    save_file = folder / f"{time.perf_counter_ns()}" / "lines.jsonl"
    clock = Clock()
    summary = transcribe(
        paths, save_file, recognizer.options, reactions="none", recognizer=recognizer
    )  # loading is not measured
    taken = clock.read()
    assert summary.made == len(paths)
    return taken, summary.details.words + summary.details.guards["on_silence"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SHAPES, default="base")
    parser.add_argument("--files", type=int, default=4)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        width, layers, heads = SHAPES[given.size]
        model = scripted_whisper(
            folder,
            " And this is what the model says every time it is asked, word by word." * 4,
            28.0,
            width=width,
            layers=layers,
            heads=heads,
        )
        paths = recordings(folder, given.files, given.seconds)
        options = RecognizerOptions(str(model), device="cpu", language="en")
        recognizer = Recognizer(options)
        theirs(recognizer, paths[:1])
        ours(recognizer, paths[:1], folder)
        both = [(theirs(recognizer, paths), ours(recognizer, paths, folder)) for _ in range(given.rounds)]
    assert all(other[1] == mine[1] for other, mine in both), "both must recognise the same words"
    rounds = [(other[0], mine[0]) for other, mine in both]
    wall, cpu = ([(other[kind], mine[kind]) for other, mine in rounds] for kind in (0, 1))
    ratio = statistics.median(mine / other for other, mine in wall)
    print(
        json.dumps(
            {
                "bench": "transcribe",
                "regime": f"whisper {given.size}, random weights, float32, {given.files} files of {given.seconds} s, cpu",
                "theirs_s": round(statistics.median(other for other, _ in wall), 3),
                "ours_s": round(statistics.median(mine for _, mine in wall), 3),
                "ratio": round(ratio, 4),
                "ratios": [round(mine / other, 4) for other, mine in wall],
                "cpu_ratio": round(statistics.median(mine / other for other, mine in cpu), 4),
                "cpu_ratios": [round(mine / other, 4) for other, mine in cpu],
                "target": TARGET,
                "met": ratio <= TARGET,
            }
        )
    )


if __name__ == "__main__":
    main()
