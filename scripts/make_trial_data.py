#!/usr/bin/env python3
"""Make synthetic trial recordings for tests: the layout of the real recordings, from the demo conversation.

    python scripts/make_trial_data.py FOLDER

    FOLDER/conversation/WAV, TXT   two sessions of two speakers, 16 kHz mono
    FOLDER/clips                   one speaker with two pauses, a long MP3, two short stereo files, a video with six channels

Tests use them if the real recordings are not available. The speech is the synthetic demo conversation of sca, so the
samples are the same on every machine; files that ffmpeg encodes are the same for the same ffmpeg. Tests of one
specific recording cannot use them.
"""

import argparse
import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import soundfile
import soxr

from sca.resources import demo_corpus

__all__ = ["make"]

RATE_HZ = 16_000
SESSION_S = 36.0  # of the longer conversation
OVERLAP_S = 48.5, 54.5  # a part of the demo in which both speakers speak
# Speech with two pauses that could be the end of a turn: start and end in the demo's first track, and the new start
# (seconds).
SPEECH = ((25.5946, 27.5163, 0.3), (36.196, 40.2, 3.2), (51.204, 53.9, 8.1))
SPEECH_S = 11.0
LONG_S = 59.9
SHORT_S = 5.0


def make(folder: Path) -> Path:
    """Write all files below `folder`, and return it."""
    with demo_corpus() as demo:
        names = [path.stem for path in sorted((demo / "WAV").iterdir())]
        first, second = (soundfile.read(demo / "WAV" / f"{name}.flac", dtype="float32")[0] for name in names)
        lines = [_lines(demo / "TXT" / f"{name}.txt") for name in names]
    for kind in ("clips", "conversation/WAV", "conversation/TXT"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    tracks = (first, second)
    for speaker, (x, transcript) in enumerate(zip(tracks, lines, strict=True), 1):
        _track(folder / "conversation", f"A0001_S0001_0_G{speaker:04d}", x, transcript, 0.0, SESSION_S)
        _track(folder / "conversation", f"A0002_S0002_0_G{speaker + 2:04d}", x, transcript, *OVERLAP_S)
    _clips(folder / "clips", first, second)
    return folder


def _lines(path: Path) -> list[tuple[float, float, str]]:
    """Read the lines of a transcript as (start, end, rest of the line), in seconds."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        times, rest = line.split("\t", 1)
        start, end = times.strip("[]").split(",")
        found.append((float(start), float(end), rest))
    return found


def _track(
    root: Path, name: str, x: np.ndarray, transcript: list[tuple[float, float, str]], start: float, end: float
) -> None:
    """Write the part of a track from `start` to `end` with the lines inside it; speech of other lines is silenced."""
    inside = [line for line in transcript if start <= line[0] and line[1] <= end]
    part = x[round(start * RATE_HZ) : round(end * RATE_HZ)].copy()
    for low, high, _ in transcript:
        if (low, high) not in [(a, b) for a, b, _ in inside]:
            part[max(0, round((low - start) * RATE_HZ)) : max(0, round((high - start) * RATE_HZ))] = 0
    soundfile.write(root / "WAV" / f"{name}.wav", part, RATE_HZ, subtype="PCM_16")
    speaker = name.rsplit("_", 1)[1]
    rows = (
        f"[{low - start:.3f},{high - start:.3f}]\t{speaker}\t{rest.split(chr(9), 1)[1]}\n" for low, high, rest in inside
    )
    (root / "TXT" / f"{name}.txt").write_text("".join(rows), encoding="utf-8", newline="\n")


def _clips(root: Path, first: np.ndarray, second: np.ndarray) -> None:
    speech = np.zeros(round(SPEECH_S * RATE_HZ), np.float32)
    for low, high, at in SPEECH:
        piece = first[round(low * RATE_HZ) : round(high * RATE_HZ)]
        speech[round(at * RATE_HZ) : round(at * RATE_HZ) + len(piece)] = piece
    loud = soxr.resample(speech, RATE_HZ, 44_100).astype(np.float32)
    soundfile.write(root / "jfk.flac", np.stack([loud, loud], axis=1), 44_100, subtype="PCM_16")
    both = np.stack([first, second], axis=1)
    at = round(OVERLAP_S[0] * RATE_HZ)
    short = both[at : at + round(SHORT_S * RATE_HZ)]
    soundfile.write(root / "stereo_diarization.wav", short, RATE_HZ, subtype="PCM_16")
    mono = both.sum(axis=1)[: round(LONG_S * RATE_HZ)]
    _encode(root / "multilingual.mp3", mono, "-ar", "24000", "-b:a", "32k")
    _encode(root / "hotwords.mp3", short[: 4 * RATE_HZ], "-ar", "44100", "-ac", "2", "-b:a", "128k")
    picture = (
        "-f",
        "lavfi",
        "-i",
        f"testsrc=size=160x90:rate=10:duration={SHORT_S:g}",
        "-c:v",
        "libx264",
        "-pix_fmt",
        "yuv420p",
    )
    _encode(root / "big_buck_bunny_small.mp4", short, *picture, "-ac", "6", "-ar", "48000", "-c:a", "aac", "-shortest")


def _encode(path: Path, x: np.ndarray, *options: str) -> None:
    channels = 1 if x.ndim == 1 else x.shape[1]
    sound = ("-f", "f32le", "-ar", str(RATE_HZ), "-ac", str(channels), "-i", "pipe:0")
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        "-v",
        "error",
        "-y",
        *sound,
        *options,
        "-fflags",
        "+bitexact",
        "-flags",
        "+bitexact",
    ]
    subprocess.run([*command, str(path)], input=x.astype("<f4").tobytes(), check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder to write")
    folder = make(parser.parse_args().folder)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        print(f"{path.relative_to(folder)}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
