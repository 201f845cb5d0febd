"""Audio of a session: all tracks with one length, at 16 kHz for input and 24 kHz for output, encoded in a single pass.

Reads and writes in blocks, so memory does not grow with the recordings.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from sca.audio.decode import AS_DEFAULT, Reading
from sca.audio.pcm import INT16_SCALE, float32_to_int16
from sca.audio.resample import StreamResampler
from sca.data.corpora.base import WHOLE, Part
from sca.data.duplex.audio.channel_audio import PartReader
from sca.errors import InputError, writing
from sca.files.atomic import cannot_write
from sca.units import HEARD_HZ, SPOKEN_HZ, half_up

__all__ = ["WAV_HEADER_BYTES", "EncodedTrack", "encode_tracks", "sound_file_format"]

_BLOCK_S = 4
_MAX_SOURCE_HZ = 48_000
WAV_HEADER_BYTES = 44
"""The offset of the samples in a `pcm16` cell."""

SampleListener = Callable[[NDArray[np.int16]], None]
"""Gets samples in blocks."""


@dataclass(frozen=True, slots=True)
class EncodedTrack:
    """The two files of a track and what was measured while they were written.

    Attributes:
        heard: The file at 16 kHz.
        spoken: The file at 24 kHz.
        rate_hz: The rate of the recording.
        channels: The channels of the recording that were averaged.
        samples: The length at 16 kHz.
        padded: How many of those samples are silence added at the end.
        peak: The largest magnitude in the recording.
        clipped: Samples of the recording at full scale.
        non_finite: NaN and infinite samples of the recording.
        notes: Remarks about the recording: damage, joined parts, the track that is read.
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
    notes: tuple[str, ...] = ()


def sound_file_format(audio_format: str) -> str:
    """Return libsndfile's name of the setting `audio_format`: `flac`, or `pcm16` (WAV with samples to map)."""
    return {"flac": "FLAC", "pcm16": "WAV"}[audio_format]


def encode_tracks(
    sources: Sequence[Path],
    folder: Path,
    audio_format: str,
    parts: Sequence[Part] | None = None,
    listeners: Sequence[SampleListener] | None = None,
    *,
    reading: Reading = AS_DEFAULT,
) -> list[EncodedTrack]:
    """Write every recording at both rates; shorter ones are padded with silence to the length of the longest.

    Args:
        sources: The recordings.
        folder: Where to write.
        audio_format: See `sound_file_format`.
        parts: The part of each recording to use; all of them by default.
        listeners: One per recording, which gets all samples of its 16 kHz file in order.
        reading: How recordings are read.

    Raises:
        InputError: A recording cannot be decoded.
        OutputError: A file cannot be written.
    """
    writers: list[_TrackWriter] = []
    try:
        for n, (source, part) in enumerate(zip(sources, parts or [WHOLE] * len(sources), strict=True)):
            writers.append(_TrackWriter(source, part, folder / f"track{n}", audio_format, reading))
            if listeners is not None:
                writers[-1].listen(listeners[n])
            writers[-1].run()
        longest = max(writer.samples for writer in writers)
        return [writer.finish(longest) for writer in writers]
    finally:
        for writer in writers:
            writer.close()


class _TrackWriter:
    """Resamples one recording into two files, which stay open until the length of the session is known."""

    def __init__(self, source: Path, part: Part, stem: Path, audio_format: str, reading: Reading) -> None:
        self.source, self.part, self._reading = source, part, reading
        self._notes: tuple[str, ...] = ()
        self.samples = 0
        self._outputs = [_Output(stem, rate, audio_format) for rate in (HEARD_HZ, SPOKEN_HZ)]
        self._peak, self._clipped, self._non_finite = 0.0, 0, 0
        self._rate, self._channels = 0, 0

    def listen(self, listener: SampleListener) -> None:
        """Pass all samples of the file at 16 kHz to `listener`."""
        self._outputs[0].listener = listener

    def run(self) -> None:
        """Decode the recording to its end."""
        block_samples = _BLOCK_S * _MAX_SOURCE_HZ
        with PartReader(self.source, self.part, block_samples, reading=self._reading) as reader:
            self._rate, self._channels = reader.rate_hz, reader.channels
            for output in self._outputs:
                output.start(self._rate)
            heard, spoken = self._outputs
            # Resampling and FLAC release the interpreter lock, so the second rate runs on a second core.
            with ThreadPoolExecutor(1) as second:
                for block in reader:
                    pending = second.submit(spoken.push, block)
                    heard.push(block)
                    magnitude = np.abs(block)
                    self._peak = max(self._peak, float(magnitude.max(initial=0.0)))
                    self._clipped += int(np.count_nonzero(magnitude >= 1.0 - 1.0 / float(INT16_SCALE)))
                    pending.result()
            self._non_finite, self._notes = reader.non_finite, reader.notes
            frames = reader.frames
        if not frames:
            raise InputError(
                f"{self.source} holds no audio", hint="remove the session from the corpus, or replace the recording"
            )
        self.samples = half_up(Fraction(frames * HEARD_HZ, self._rate))

    def finish(self, samples: int) -> EncodedTrack:
        """Pad both files to the length of `samples` at 16 kHz and close them."""
        heard, spoken = self._outputs
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
            notes=self._notes,
        )

    def close(self) -> None:
        for output in self._outputs:
            output.close()


class _Output:
    """A resampler and the file that it writes to."""

    def __init__(self, stem: Path, rate_hz: int, audio_format: str) -> None:
        self._kind = sound_file_format(audio_format)
        self.path = stem.with_name(f"{stem.name}_{rate_hz // 1000}k.{self._kind.lower()}")
        self.listener: SampleListener | None = None
        self._rate = rate_hz
        self._file: soundfile.SoundFile | None = None
        self._resampler: StreamResampler | None = None
        self._written = 0

    def start(self, source_hz: int) -> None:
        self._resampler = StreamResampler(source_hz, self._rate)
        with writing(self.path):
            self._file = soundfile.SoundFile(self.path, "w", self._rate, 1, "PCM_16", format=self._kind)

    def push(self, block: NDArray[np.float32]) -> None:
        assert self._resampler is not None, "start() comes first"
        self._write(float32_to_int16(self._resampler.push(block)))

    def finish(self, samples: int) -> None:
        """Write the end of the resampler's output, cut or padded so that the file has exactly `samples`."""
        assert self._resampler is not None, "start() comes first"
        tail = float32_to_int16(self._resampler.flush())
        # The resampler's own length can differ by a sample from the length on the grid.
        self._write(tail[: max(0, samples - self._written)])
        while self._written < samples:
            self._write(np.zeros(min(samples - self._written, _BLOCK_S * self._rate), np.int16))
        self.close()

    def _write(self, samples: NDArray[np.int16]) -> None:
        if not len(samples):
            return
        assert self._file is not None, "start() comes first"
        try:
            with writing(self.path):
                self._file.write(samples)
        except (soundfile.LibsndfileError, AssertionError) as error:
            # On a full disk libsndfile only writes fewer samples; soundfile asserts that it wrote all.
            raise cannot_write(self.path, error) from error
        self._written += len(samples)
        if self.listener is not None:
            self.listener(samples)

    def close(self) -> None:
        """Close the file. Samples that a full disk did not take are noticed when the bytes are read back."""
        if self._file is not None and not self._file.closed:
            with writing(self.path):
                self._file.close()
