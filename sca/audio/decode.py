"""Read audio files of any format as float32 mono blocks in [-1, 1], at the rate of the file and in bounded memory.

libsndfile reads the formats it supports and FFmpeg reads the rest, in a decoder process (`sca.audio.decoder`). Every problem
with a file is an `InputError` that names the file.
"""

import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from sca.audio.coded.joined import joined_spans
from sca.audio.coded.layouts import cancels
from sca.audio.coded.readers import (
    AudioInfo,
    AudioReader,
    Stretch,
    accepted_cut,
    reblocked,
)
from sca.audio.coded.reading import ACCEPT_ANY_DAMAGE_S, ACCEPT_DAMAGE_S, ANY_DAMAGE, AS_DEFAULT, Reading
from sca.audio.coded.remarks import clipped, mixed
from sca.audio.coded.wav_header import WavHeader, read_wav_header
from sca.audio.decoder.opening import Opening
from sca.audio.decoder.remote import open_file
from sca.audio.decoder.sndfile import HEAD_BYTES, is_read_here, open_sndfile
from sca.audio.resample import StreamResampler
from sca.errors import InputError
from sca.textutil import counted
from sca.urls.cache import at_hand

__all__ = [
    "ACCEPT_ANY_DAMAGE_S",
    "ACCEPT_DAMAGE_S",
    "ANY_DAMAGE",
    "AS_DEFAULT",
    "BLOCK_SAMPLES",
    "MAX_WHOLE_SAMPLES",
    "AudioInfo",
    "BlockReader",
    "Reading",
    "length_s",
    "probe",
    "read_audio",
    "read_with_notes",
]

BLOCK_SAMPLES = 1 << 16
"""Default block size: 1.4 s at 48 kHz, 256 KiB per channel."""

MAX_WHOLE_SAMPLES = 1 << 28
"""The most samples of a recording that is read as a whole: 1 GiB, 4.6 hours at 16 kHz."""

_SPARSE = 16


def probe(path: Path, reading: Reading = AS_DEFAULT) -> AudioInfo:
    """Read the header of an audio file without decoding it.

    Args:
        path: The file.
        reading: The track.

    Raises:
        InputError: The file does not exist, is a folder, is empty, is not audio, has no audio track or not the chosen
            one, has zero length, or is a WAV file shorter than its header states.
    """
    reader = _open(path, reading)
    reader.close()
    return reader.info


class BlockReader:
    """Iterate once over an audio file, in float32 mono blocks `(n,)` at the rate of the file.

    Files that consist of joined recordings are read to their end.

    Channels are mixed, or one is selected. Two channels that cancel each other, because one is inverted, are not averaged:
    the first one is used. Samples outside [-1, 1], which float files and lossy codecs can contain,
    are clipped. Memory use is a few blocks, for any file length.

    Args:
        path: The file.
        block_samples: The length of every block except the last.
        channel: The channel to read, from 0; None averages all of them.
        mono: False keeps all channels, and blocks are `(n, channels)`.
        reading: The track to read, and the damage to accept; what cannot be decoded becomes silence.

    Attributes:
        info: What the header states.
        frames: Samples returned so far.
        non_finite: NaN and infinite samples found so far in the selected channels; each is replaced by 0.

    Raises:
        InputError: As in `probe`; also during iteration, if the file is damaged or truncated.
    """

    def __init__(
        self,
        path: Path,
        block_samples: int = BLOCK_SAMPLES,
        channel: int | None = None,
        *,
        mono: bool = True,
        reading: Reading = AS_DEFAULT,
    ) -> None:
        if block_samples < 1:
            raise ValueError(f"block_samples must be at least 1, got {block_samples}")
        self._reader = _open(path, reading)
        self.info = self._reader.info
        self.frames = 0
        self.non_finite = 0
        self._channel, self._mix = channel, mono
        channels = self.info.channels
        if channel is not None and not 0 <= channel < channels:
            self.close()
            numbers = "0" if channels == 1 else f"0 to {channels - 1}"
            raise InputError(f"{path} has {counted(channels, 'channel')} ({numbers}); channel {channel} does not exist")
        self._inverted_samples, self._peak = 0, 0.0
        if mono and channel is None and channels == 2:
            # In stretches of one length, so that the samples do not depend on the length of the blocks.
            stretches = map(self._mono, self._reader.blocks(BLOCK_SAMPLES))
            self._blocks = stretches if block_samples == BLOCK_SAMPLES else reblocked(stretches, block_samples)
        else:
            self._blocks = map(self._mono, self._reader.blocks(block_samples))

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        for block in self._blocks:
            self.frames += len(block)
            yield block

    @property
    def filled_samples(self) -> int:
        """Samples of silence returned so far in place of missing packets, so that later audio keeps its time."""
        return self._reader.filled_samples

    @property
    def joins(self) -> list[float]:
        """The seconds at which other recordings begin that were joined to the first one, found so far."""
        return self._reader.findings.joins

    @property
    def holes(self) -> list[Stretch]:
        """Silence in place of packets that cannot be decoded, found so far."""
        return self._reader.findings.holes

    @property
    def explains_damage(self) -> bool:
        """Whether damage was found that the limit accepts, or a seam between recordings."""
        found = self._reader.findings
        return bool(found.joins or found.holes or found.cut)

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks about what was read so far."""
        notes = self._reader.findings.notes()
        if self._inverted_samples:
            seconds = self._inverted_samples / self.info.rate_hz
            notes.append(f"left and right cancel each other in {seconds:.0f} s; the left channel is used there")
        mix = mixed(self._reader.mono_weights) if self._mix and self._channel is None else None
        return (*notes, *(note for note in (mix, clipped(self._peak)) if note is not None))

    def _mono(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """Convert `(n, channels)` to finite and clipped samples, `(n,)` unless all channels are kept."""
        if self._channel is not None:
            block = block[:, self._channel : self._channel + 1]
        finite = np.isfinite(block)
        if not finite.all():
            self.non_finite += int(finite.size - np.count_nonzero(finite))
            block = np.where(finite, block, np.float32(0))
        mono: NDArray[np.float32]
        if not self._mix:
            return np.clip(block, -1, 1)
        if block.shape[1] > 2:
            mono = block @ self._reader.mono_weights
        else:
            mono = block[:, 0].copy()
            if block.shape[1] == 2:  # `mean(axis=1)` is several times slower on two columns
                mono += block[:, 1]
                if _cancels(block, mono):
                    self._inverted_samples += len(block)
                    mono = block[:, 0].copy()
                else:
                    mono /= np.float32(2)
        peak = max(float(mono.max(initial=0)), -float(mono.min(initial=0)))
        self._peak = max(self._peak, peak)
        return np.clip(mono, -1, 1, out=mono) if peak > 1 else mono

    def close(self) -> None:
        """Close the file. Blocks that were returned stay valid. A second call has no effect."""
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _cancels(block: NDArray[np.float32], total: NDArray[np.float32]) -> bool:
    """Return whether the sum of two channels, `(n,)`, has lost the sound of both: one of them is inverted."""
    # Every 16th sample, and all of them only if these cancel each other: the check of ordinary files takes no time.
    for step in (_SPARSE, 1):
        some, sums = block[::step], total[::step]
        power = np.vdot(some, some)
        if not cancels(float(power) / len(some), float(np.vdot(sums, sums)) / len(some)):
            return False
    return True


def read_audio(path: Path, rate_hz: int | None = None, *, channel: int | None = None) -> NDArray[np.float32]:
    """Read a whole audio file.

    Args:
        path: The file.
        rate_hz: The rate to resample to (soxr HQ); None keeps the rate of the file.
        channel: The channel to read, from 0; None averages all of them.

    Returns:
        Float32 mono `(n,)` in [-1, 1].

    Raises:
        InputError: The file cannot be read, see `BlockReader`, or has more than `MAX_WHOLE_SAMPLES`.
    """
    return read_with_notes(path, rate_hz, channel=channel)[0]


def read_with_notes(
    path: Path,
    rate_hz: int | None = None,
    *,
    channel: int | None = None,
    reading: Reading = AS_DEFAULT,
) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Read a whole audio file as `read_audio` does; return the samples, and remarks about what was read."""
    with BlockReader(path, channel=channel, reading=reading) as reader:
        rate_hz = rate_hz or reader.info.rate_hz
        most = MAX_WHOLE_SAMPLES * reader.info.rate_hz // max(rate_hz, reader.info.rate_hz)
        if rate_hz == reader.info.rate_hz:
            return np.concatenate(list(_up_to(reader, most, path))), reader.notes
        resampler = StreamResampler(reader.info.rate_hz, rate_hz)
        pieces = [resampler.push(block) for block in _up_to(reader, most, path)]
        joined, notes = np.concatenate([*pieces, resampler.flush()]), reader.notes
    # The band-limited version of a loud signal can exceed its peaks.
    return np.clip(joined, -1, 1, out=joined), notes


def _up_to(reader: BlockReader, most: int, path: Path) -> Iterator[NDArray[np.float32]]:
    for block in reader:
        if reader.frames > most:
            hours = most / reader.info.rate_hz / 3600
            raise InputError(f"{path} is longer than {hours:.1f} h, the most that is read as a whole", hint="cut it")
        yield block


def length_s(path: Path, reading: Reading = ANY_DAMAGE) -> float:
    """Return the length of a file in seconds: as its header states, else by decoding all of it.

    Args:
        path: The file.
        reading: The track, and the damage to accept. By default any: what cannot be decoded has a length too.

    Raises:
        InputError: As in `BlockReader`.
    """
    with BlockReader(path, reading=reading) as reader:
        stated = reader.info.duration_s
        return sum(map(len, reader)) / reader.info.rate_hz if stated is None else stated


def _open(path: Path, reading: Reading) -> AudioReader:
    header, is_mpeg, is_plain = _inspect(at_hand(path))
    cut: str | None = None
    if header is not None and header.truncated:
        assert header.promised_bytes is not None
        promised_s, present_s = (n / (header.bytes_per_s or 1) for n in (header.promised_bytes, header.present_bytes))
        cut = accepted_cut(path, promised_s, present_s, reading.accept_damage_s)
    reader = _opened(path, header, reading, is_mpeg=is_mpeg, is_plain=is_plain)
    if cut is not None:
        reader.findings.cut, reader.info = cut, replace(reader.info, is_cut=True)
    return reader


def _opened(path: Path, header: WavHeader | None, reading: Reading, *, is_mpeg: bool, is_plain: bool) -> AudioReader:
    # libsndfile's MP3 decoder prints messages about damaged files to stderr, so FFmpeg reads MPEG audio.
    spans = [] if is_mpeg else joined_spans(path)
    by_libsndfile = not is_mpeg and not spans
    if by_libsndfile and is_plain:
        sound = open_sndfile(path, header, reading, lambda: open_file(Opening(path, header, reading)))
        if sound is not None:
            return sound
        by_libsndfile = False
    return open_file(Opening(path, header, reading, spans, by_libsndfile))


def _inspect(path: Path) -> tuple[WavHeader | None, bool, bool]:
    """Check the file without decoding it.

    Returns:
        Its WAV header, if it has one; whether it is MPEG audio; whether libsndfile may read it in this process.
    """
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise InputError(f"{path} is a folder, not a sound file")
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{path} is not a regular file", hint="write the sound to a file first")
        if status.st_size == 0:
            raise InputError(f"{path} is empty (0 bytes)")
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
            header = read_wav_header(file, status.st_size)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    sync = len(head) >= 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0
    is_mpeg = head.startswith(b"ID3") or sync or path.suffix.lower() in (".mp1", ".mp2", ".mp3", ".mpga")
    return header, is_mpeg, is_read_here(head)
