"""Measure transcoding a folder with one and two jobs, compared with `xargs -P2 ffmpeg` in the same run.

Conditions: 24 stereo webm/opus files (48 kHz, 96 kbit/s, noise and tones) of `--seconds` each, to 48 kHz mono 16-bit
FLAC, all in the page cache. Whole processes are timed: `sca transcode` starts Python, reads every header, hashes
every source, checks every result and syncs it to disk; xargs checks nothing. Both use the same ffmpeg. One warm-up,
then `--rounds` alternating rounds; medians. Processor seconds are reported too, because they depend less on other
load.

    uv run python scripts/bench/transcode.py [--seconds 300] [--rounds 5]
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

from sca.data.media.ffmpeg import find_ffmpeg

FILES = 24
TARGET = 0.95


def make_media(folder: Path, exe: str, seconds: int) -> None:
    """Make one file with ffmpeg and copy it, so that all files are equal work."""
    folder.mkdir()
    tones = f"aevalsrc=0.2*sin(440*2*PI*t)+0.1*random(0)|0.2*sin(550*2*PI*t)+0.1*random(1):s=48000:d={seconds}"
    first = folder / "00.webm"
    subprocess.run(
        [exe, "-v", "error", "-f", "lavfi", "-i", tones, "-c:a", "libopus", "-b:a", "96k", str(first)], check=True
    )
    for n in range(1, FILES):
        shutil.copy(first, folder / f"{n:02d}.webm")


def timed(command: list[str], out: Path, **options: object) -> tuple[float, float]:
    """Return the wall and processor seconds that a command and its children take to fill an empty folder."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, **options)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    assert len(list(out.glob("*.flac"))) == FILES
    return wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def ours(media: Path, out: Path, jobs: int) -> tuple[float, float]:
    return timed([sys.executable, "-m", "sca", "transcode", str(media), str(out), "--jobs", str(jobs), "--quiet"], out)


def theirs(media: Path, out: Path, exe: str, jobs: int) -> tuple[float, float]:
    command = (
        f'{exe} -nostdin -v error -y -i {media}/"$1".webm -map 0:a:0 -ac 1 -ar 48000 -sample_fmt s16 {out}/"$1".flac'
    )
    names = "".join(f"{n:02d}\n" for n in range(FILES))
    return timed(["xargs", f"-P{jobs}", "-I{}", "sh", "-c", command, "sh", "{}"], out, input=names.encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    program = find_ffmpeg()
    audio_s = FILES * given.seconds
    times: dict[str, list[float]] = {"sca_2": [], "xargs_2": [], "sca_1": []}
    cpu: dict[str, list[float]] = {way: [] for way in times}
    with tempfile.TemporaryDirectory() as name:
        media, out = Path(name) / "in", Path(name) / "out"
        make_media(media, program.path, given.seconds)
        ways = {
            "sca_2": lambda: ours(media, out, 2),
            "xargs_2": lambda: theirs(media, out, program.path, 2),
            "sca_1": lambda: ours(media, out, 1),
        }
        ways["xargs_2"]()  # warm-up of the page cache and the processor's clock
        for n in range(given.rounds):
            for way in sorted(ways, reverse=n % 2 == 1):
                wall_s, cpu_s = ways[way]()
                times[way].append(wall_s)
                cpu[way].append(cpu_s)
                load = os.getloadavg()[0]
                print(f"round {n + 1}: {way}: {wall_s:.2f} s, {cpu_s:.2f} CPU s, load {load:.1f}", file=sys.stderr)
    median = {way: statistics.median(some) for way, some in times.items()}
    pairs = [theirs_s / ours_s for theirs_s, ours_s in zip(times["xargs_2"], times["sca_2"], strict=True)]
    result = {
        "bench": "transcode",
        "files": FILES,
        "seconds_each": given.seconds,
        "rounds": given.rounds,
        "cores": len(os.sched_getaffinity(0)),
        "ffmpeg": program.version,
        **{f"{way}_s": round(value, 2) for way, value in median.items()},
        **{f"{way}_x_real_time": round(audio_s / value) for way, value in median.items()},
        **{f"{way}_cpu_s": round(statistics.median(some), 2) for way, some in cpu.items()},
        "throughput_against_xargs": round(median["xargs_2"] / median["sca_2"], 3),
        "by_round": [round(pair, 3) for pair in pairs],
        "two_jobs_against_one": round(median["sca_1"] / median["sca_2"], 3),
        "target": TARGET,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
