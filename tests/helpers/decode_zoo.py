"""Random sound files of many formats, joined, spliced and re-clocked, and a check of `sca.audio` against FFmpeg."""

import random
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import soundfile
from numpy.typing import NDArray

from sca.audio.coded.layouts import mono_weights
from sca.audio.decode import ANY_DAMAGE, BlockReader
from sca.audio.resample import resample
from tests.helpers.coded_parts import JOINABLE, Part, pitch, remuxed, tone, write_part

LAYOUTS = ("mono", "stereo", "5.1")
RATES_HZ = (16_000, 24_000, 44_100, 48_000)
SINGLE = ("wav", "m4a", "mp3.wav")
CUTTABLE = ("mp3", "aac", "ts")
"""Formats whose readers find the next packet after a cut at any byte."""
CLOCKED = ("webm", "mka", "ts")
"""Formats with timestamps that may begin anywhere."""
LOSSLESS = ("wav", "flac", "mka")
_PACKETS_SAMPLES = 2900
"""A part is longer by the delay of its codec, by the padding of its last packet, and in MP3 by its Xing frame."""
_CUT_S = 0.25


@dataclass(frozen=True)
class Case:
    """A file to make.

    Attributes:
        extension: Its format.
        parts: The recordings that are joined.
        cut: Whether all parts but the last lose their last bytes.
        offsets_s: The first timestamp of each part.
    """

    extension: str
    parts: tuple[Part, ...]
    cut: bool = False
    offsets_s: tuple[float, ...] = ()


def random_case(rng: random.Random) -> Case:
    """Draw a case."""
    extension = rng.choice(JOINABLE + SINGLE)
    count = rng.choice((1, 2, 3)) if extension in JOINABLE else 1
    is_mp3 = extension.startswith("mp3")
    layouts = LAYOUTS[: 2 if is_mp3 else 3]
    rates = [rng.choice(RATES_HZ) for _ in range(count)]
    if extension in ("opus", "webm"):
        rates = [48_000] * count
    parts = tuple(
        Part(rng.choice(layouts), rate_hz, 300.0 + 220 * n, round(rng.uniform(0.8, 1.6), 3))
        for n, rate_hz in enumerate(rates)
    )
    cut = count > 1 and extension in CUTTABLE and rng.random() < 0.4
    # FFmpeg takes what follows a cut packet for its end: of a smaller layout, many packets.
    if cut and extension == "ts":
        parts = tuple(replace(part, layout=parts[0].layout) for part in parts)
    offsets = tuple(round(rng.choice((0.0, rng.uniform(0, 50_000))), 3) for _ in parts) if extension in CLOCKED else ()
    return Case(extension, parts, cut, offsets)


def check(case: Case, folder: Path) -> int:
    """Make a file, read it, and compare it with FFmpeg's decoding of its parts.

    Args:
        case: The file.
        folder: An empty folder.

    Returns:
        The number of samples that were compared.

    Raises:
        AssertionError: The reader differs.
    """
    files = [_write(case, n, folder / f"{n}.{case.extension}") for n in range(len(case.parts))]
    whole = folder / f"whole.{case.extension}"
    contents = [file.read_bytes() for file in files]
    if case.cut:
        contents = [content[: -len(content) // 9] for content in contents[:-1]] + contents[-1:]
    whole.write_bytes(b"".join(contents))
    with BlockReader(whole, reading=ANY_DAMAGE) as reader:
        x, info = np.concatenate(list(reader)), reader.info
    wanted = [_expected(file, info.rate_hz) for file in files]
    if case.cut:
        shares = [len(content) / file.stat().st_size for content, file in zip(contents, files, strict=True)]
        wanted = [one[: round(share * len(one))] for one, share in zip(wanted, shares, strict=True)]
    lengths = [len(one) for one in wanted]
    slack_s = 0.0
    if case.extension not in LOSSLESS:
        packets_s = _PACKETS_SAMPLES / min(part.rate_hz for part in case.parts)
        slack_s = packets_s * len(files) + _CUT_S * case.cut * (len(files) - 1)
    assert abs(len(x) - sum(lengths)) <= max(len(files), slack_s * info.rate_hz), (len(x), lengths, reader.notes)
    if len(files) == 1 and case.extension != "mp3.wav":
        shared = min(len(x), lengths[0])
        assert np.abs(x[:shared] - wanted[0][:shared]).max() < 1e-3, "FFmpeg decodes other samples"
    starts = np.cumsum([0, *lengths])
    for part, start, one in zip(case.parts, starts, wanted, strict=False):
        middle = x[int(start + 0.3 * len(one)) : int(start + 0.7 * len(one))]
        assert abs(pitch(middle, info.rate_hz) - part.hz) < 12, (pitch(middle, info.rate_hz), part)
        level = _level(one[int(0.3 * len(one)) : int(0.7 * len(one))])
        assert abs(_level(middle) / level - 1) < 0.1, (part, _level(middle), level)
    return len(x)


def _level(x: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))


def _write(case: Case, n: int, path: Path) -> Path:
    part = case.parts[n]
    if case.offsets_s:
        part = replace(part, start_s=case.offsets_s[n])
    if case.extension == "wav":
        soundfile.write(path, np.repeat(tone(part)[:, None], len(_channels(part)), axis=1), part.rate_hz)
        return path
    if case.extension == "mp3.wav":
        return remuxed(write_part(path.with_suffix(".mp3"), "mp3", part), path, "wav")
    return write_part(path, case.extension, part)


def _channels(part: Part) -> tuple[str, ...]:
    return tuple(channel.name for channel in av.AudioLayout(part.layout).channels)


def _expected(path: Path, rate_hz: int) -> NDArray[np.float32]:
    """Decode a part with the ffmpeg program, or with plain PyAV where some builds crash, and mix it as documented."""
    samples, own_hz, names = _decoded_by_av(path) if path.suffix == ".ts" else _decoded_by_program(path)
    mono = np.clip(samples @ mono_weights(names), -1, 1)
    return mono if own_hz == rate_hz else resample(mono, own_hz, rate_hz)


def _decoded_by_program(path: Path) -> tuple[NDArray[np.float32], int, tuple[str, ...]]:
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        rate_hz, names = stream.rate, tuple(channel.name for channel in stream.layout.channels)
    program = imageio_ffmpeg.get_ffmpeg_exe()
    command = [program, "-v", "error", "-nostdin", "-i", str(path), "-f", "f32le", "-"]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(raw, np.float32).reshape(-1, len(names)), rate_hz, names


def _decoded_by_av(path: Path) -> tuple[NDArray[np.float32], int, tuple[str, ...]]:
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        frames = [frame.to_ndarray().T for frame in container.decode(stream)]
        return np.concatenate(frames), stream.rate, tuple(channel.name for channel in stream.layout.channels)
