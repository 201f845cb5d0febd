"""Measure the peak memory and the time of `sca transcribe` for recordings of different lengths.

Conditions: recordings of `--hours` each (16 kHz WAV, 30 s of espeak-ng again and again), one process per length, CPU. The
recognizer is a real but tiny Whisper with scripted weights, so its own memory does not hide that of the recording, and
the time is not that of a real model. `--model` takes another model. The peak is `ru_maxrss` of the process; `loaded_mb`
is the same before the recording is read, with all models in memory. `stages` is the peak after each stage.

    python scripts/bench/transcribe_long.py [--hours 0.5 1 2] [--reactions none] [--diarize] [--model FOLDER]
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

import numpy as np
import soundfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

TEXT = "The quick brown fox jumps over the lazy dog while everybody in the room waits for the next line. "
HZ = 16_000


def recording(path: Path, hours: float) -> None:
    """Write a recording block by block: speech with pauses."""
    spoken = path.with_suffix(".spoken.wav")
    subprocess.run(["espeak-ng", "-w", str(spoken), TEXT * 5], check=True)
    sound, rate = soundfile.read(spoken, dtype="float32")
    times = np.arange(30 * HZ) / HZ
    block = np.interp(times, np.arange(len(sound)) / rate, sound, right=0.0)
    spoken.unlink()
    with soundfile.SoundFile(path, "w", HZ, 1) as file:
        for _ in range(round(hours * 120)):
            file.write(block)


def peak_mb() -> float:
    """Return the peak of the memory of this process so far."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def measure(args: argparse.Namespace) -> dict[str, object]:
    """Transcribe one recording in this process."""
    from sca.config import DiarizationConfig
    from sca.data.transcription import transcriber
    from sca.data.transcription.transcribe import transcribe
    from sca.data.transcription.whisper import RecognizerOptions

    options = RecognizerOptions(args.model, device="cpu", language="en", workers=1)
    stages: dict[str, float] = {}

    def watch(name: str, work):
        def watched(*values, **named):
            stages.setdefault("loaded", peak_mb())
            made = work(*values, **named)
            stages[name] = peak_mb()
            return made

        return watched

    for name in ("read_with_notes", "read_samples", "find_speakers", "timeline_of", "measure_quality"):
        if hasattr(transcriber, name):
            setattr(transcriber, name, watch(name, getattr(transcriber, name)))
    transcriber.Recognizer.transcribe = watch("recognized", transcriber.Recognizer.transcribe)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=args.measure.parent) as folder:
        summary = transcribe(
            [args.measure],
            Path(folder, "out.jsonl"),
            options,
            reactions=args.reactions,
            diarization=DiarizationConfig() if args.diarize else None,
        )
    if summary.made != 1:
        raise SystemExit(f"not transcribed: {summary.failed}")
    return {
        "audio_h": round(summary.audio_s / 3600, 3),
        "words": summary.details.words,
        "seconds": round(time.perf_counter() - started, 1),
        "loaded_mb": stages.pop("loaded"),
        "peak_mb": peak_mb(),
        "stages": stages,
    }


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, nargs="+", default=[0.5, 1, 2])
    parser.add_argument("--reactions", default="none")
    parser.add_argument("--diarize", action="store_true")
    parser.add_argument("--model", default="")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(args)))
        return
    from tests.helpers.tiny_whisper import scripted_whisper

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        model = args.model or str(scripted_whisper(Path(folder)))
        for hours in args.hours:
            path = Path(folder, "long.wav")
            recording(path, hours)
            command = [
                sys.executable,
                __file__,
                "--measure",
                str(path),
                "--model",
                model,
                "--reactions",
                args.reactions,
            ]
            done = subprocess.run(
                [*command, *(["--diarize"] if args.diarize else [])], check=True, capture_output=True, text=True
            )
            rows.append(json.loads(done.stdout.splitlines()[-1]))
            print(rows[-1])
    print(json.dumps({"reactions": args.reactions, "diarize": args.diarize, "recordings": rows}))


if __name__ == "__main__":
    main()
