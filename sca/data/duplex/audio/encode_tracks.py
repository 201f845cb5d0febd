"""Audio of a session: every track on one length, heard at 16 kHz and spoken at 24 kHz, compressed as it streams through.

Reads and writes in blocks, so memory does not grow with a recording. Knows nothing of words or tokens.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from shutil import disk_usage
from types import TracebackType
from typing import Any, Self

import numpy as np
import soundfile
from numpy.typing import NDArray

from sca.audio.resample import StreamResampler
from sca.data.corpora.base import WHOLE, Part
from sca.data.corpora.channel_audio import PartReader
from sca.errors import InputError, OutputError, writing
from sca.units import HEARD_HZ, SPOKEN_HZ, half_up

__all__ = ["WAV_HEADER_BYTES", "EncodedTrack", "encode_tracks"]

_FULL_SCALE = 32768.0
_BLOCK_S = 4
WAV_HEADER_BYTES = 44
"""Where the samples of a `pcm16` cell begin."""


@dataclass(frozen=True, slots=True)
class EncodedTrack:
    """A track's two files and what was seen on the way. Samples count at 16 kHz unless a name says otherwise.

    channels: of the recording that went into the track.
    """

    heard: Path
    spoken: Path
    rate_hz: int
    channels: int
    samples: int
    padded: int
    peak: float
    clipped: int
    non_finite: int


def encode_tracks(
    sources: Sequence[Path], folder: Path, audio_format: str, parts: Sequence[Part] | None = None
) -> list[EncodedTrack]:
    """Write every source at both rates into `folder`; the shorter ones are padded with silence to the longest.

    audio_format: "flac", or "pcm16" (WAV, whose samples can be mapped).   parts: what of each source is meant, all by default.
    Raises `InputError` for audio that cannot be decoded.
    """
    writers: list[_TrackWriter] = []
    try:
        for n, (source, part) in enumerate(zip(sources, parts or [WHOLE] * len(sources), strict=True)):
            writers.append(_TrackWriter(source, part, folder / f"track{n}", audio_format))
            writers[-1].run()
        longest = max(writer.samples for writer in writers)
        return [writer.finish(longest) for writer in writers]
    finally:
        for writer in writers:
            writer.close()


class _TrackWriter:
    """One source through both resamplers into two files, kept open until the session's length is known."""

    def __init__(self, source: Path, part: Part, stem: Path, audio_format: str) -> None:
        self.source, self.part = source, part
        self.samples = 0
        self._outs = [_Out(stem, rate, audio_format) for rate in (HEARD_HZ, SPOKEN_HZ)]
        self._peak, self._clipped, self._non_finite = 0.0, 0, 0
        self._rate, self._channels = 0, 0

    def run(self) -> None:
        """Decode to the end."""
        with PartReader(self.source, self.part, block_samples=_BLOCK_S * 48_000) as reader:
            self._rate, self._channels = reader.rate_hz, reader.channels
            for out in self._outs:
                out.start(self._rate)
            heard, spoken = self._outs
            # Resampling and FLAC run outside the interpreter's lock, so a second core takes the second rate.
            with ThreadPoolExecutor(1) as beside:
                for block in reader:
                    pending = beside.submit(spoken.push, block)
                    heard.push(block)
                    magnitude = np.abs(block)
                    self._peak = max(self._peak, float(magnitude.max(initial=0.0)))
                    self._clipped += int(np.count_nonzero(magnitude >= 1.0 - 1.0 / _FULL_SCALE))
                    pending.result()
            self._non_finite = reader.non_finite
            frames = reader.frames
        if not frames:
            raise InputError(f"{self.source} holds no audio", hint="take the session out, or give it its recording")
        self.samples = half_up(Fraction(frames * HEARD_HZ, self._rate))

    def finish(self, samples: int) -> EncodedTrack:
        """Pad to `samples` at 16 kHz (and as long at 24 kHz) and close."""
        heard, spoken = self._outs
        heard.finish(samples)
        spoken.finish(half_up(Fraction(samples * SPOKEN_HZ, HEARD_HZ)))
        return EncodedTrack(
            heard=heard.path,
            spoken=spoken.path,
            rate_hz=self._rate,
            channels=self._channels,
            samples=samples,
            padded=samples - self.samples,
            peak=self._peak,
            clipped=self._clipped,
            non_finite=self._non_finite,
        )

    def close(self) -> None:
        for out in self._outs:
            out.close()


class _Out:
    """A resampler and the file behind it."""

    def __init__(self, stem: Path, rate_hz: int, audio_format: str) -> None:
        kind = {"flac": "FLAC", "pcm16": "WAV"}[audio_format]
        self.path = stem.with_name(f"{stem.name}_{rate_hz // 1000}k.{kind.lower()}")
        self._rate = rate_hz
        self._kind = kind
        self._file: Any = None
        self._resampler: StreamResampler | None = None
        self._written = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self, source_hz: int) -> None:
        self._resampler = StreamResampler(source_hz, self._rate)
        with writing(self.path):
            self._file = soundfile.SoundFile(self.path, "w", self._rate, 1, "PCM_16", format=self._kind)

    def push(self, block: NDArray[np.float32]) -> None:
        assert self._resampler is not None, "start() comes first"
        self._write(_to_pcm16(self._resampler.push(block)))

    def finish(self, samples: int) -> None:
        """Exactly `samples` in the file: the resampler's tail, cut or padded."""
        assert self._resampler is not None, "start() comes first"
        tail = _to_pcm16(self._resampler.flush())
        # The resampler's own length can differ from ours by a sample; ours is the grid's.
        self._write(tail[: max(0, samples - self._written)])
        while self._written < samples:
            self._write(np.zeros(min(samples - self._written, _BLOCK_S * self._rate), np.int16))
        self.close()

    def _write(self, samples: NDArray[np.int16]) -> None:
        if not len(samples):
            return
        try:
            with writing(self.path):
                self._file.write(samples)
        except (soundfile.LibsndfileError, AssertionError) as error:
            # libsndfile writes short on a full disk and says no more than that; soundfile asserts that it did not.
            raise _cannot_write(self.path, error) from error
        self._written += len(samples)

    def close(self) -> None:
        """Close the file; what a full disk leaves unwritten shows when its bytes are read back."""
        if self._file is not None and not self._file.closed:
            with writing(self.path):
                self._file.close()


def _cannot_write(path: Path, error: Exception) -> OutputError:
    free = disk_usage(path.parent).free
    if free < 1 << 20:
        hint = "free some space or give another folder; what is finished is kept and a second run goes on"
        return OutputError(f"the disk is full while writing {path}", hint=hint)
    return OutputError(f"{path} cannot be written ({error})")


def _to_pcm16(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """Exact for what came from 16-bit files; clips what resampling pushed past full scale."""
    scaled = np.rint(samples * np.float32(_FULL_SCALE))
    pcm: NDArray[np.int16] = np.clip(scaled, -32768, 32767).astype(np.int16)
    return pcm
