"""Read any sound file as float32 mono blocks in [-1, 1], at the file's own rate and in bounded memory.

Knows nothing of chunks, grids or models. libsndfile reads what it can, FFmpeg the rest; what goes wrong with a
file is always an `InputError` that names it.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import soundfile

from sca.audio.pyav_reader import open_av
from sca.audio.readers import AudioInfo, SoundFileSource, Source, cut_short, silent
from sca.audio.resample import StreamResampler
from sca.audio.wav_header import WavHeader, read_wav_header
from sca.errors import InputError
from sca.textutil import counted

__all__ = ["BLOCK_SAMPLES", "AudioInfo", "BlockReader", "probe", "read_audio"]

BLOCK_SAMPLES = 1 << 16
"""Default block: 1.4 s at 48 kHz, 256 KiB a channel."""

# libsndfile reports "unknown" as the largest sf_count_t.
_UNKNOWN_FRAMES = 1 << 62


def probe(path: Path) -> AudioInfo:
    """Read the header of a sound file, and no sound.

    Raises `InputError` for a file that is missing, a folder, empty, not sound, without a sound track, of zero length, or (WAV)
    shorter than its header promises.
    """
    source = _open(path)
    source.close()
    return source.info


class BlockReader:
    """Walk a sound file once, in float32 mono blocks `(n,)` at its own rate; n is `block_samples` but for the last.

    Several channels are averaged unless `channel` (0-based) picks one. Samples beyond [-1, 1], which only float files and lossy
    codecs have, are clipped. Memory is a few blocks, whatever the length of the file.

    info: what the header says.   frames: samples handed out so far.   non_finite: NaN and infinite samples met so far, in the
    channels read, each replaced by 0.

    Raises `InputError` like `probe`, and while reading when the file turns out damaged or cut short.
    """

    def __init__(self, path: Path, block_samples: int = BLOCK_SAMPLES, channel: int | None = None) -> None:
        if block_samples < 1:
            raise ValueError(f"block_samples must be at least 1, got {block_samples}")
        self._source = _open(path)
        self.info = self._source.info
        self.frames = 0
        self.non_finite = 0
        self._channel = channel
        if channel is not None and not 0 <= channel < self.info.channels:
            self.close()
            there_are = (
                "1 channel (0)"
                if self.info.channels == 1
                else f"{counted(self.info.channels, 'channel')} (0 to {self.info.channels - 1})"
            )
            raise InputError(f"{path} has {there_are}, there is no channel {channel}")
        self._blocks = self._source.blocks(block_samples)

    def __iter__(self) -> Iterator[np.ndarray]:
        for block in self._blocks:
            mono = self._mono(block)
            self.frames += len(mono)
            yield mono

    @property
    def filled_samples(self) -> int:
        """Samples of silence handed out so far where the file lacks packets, so that what follows keeps its time."""
        return self._source.filled_samples

    def _mono(self, block: np.ndarray) -> np.ndarray:
        """`(n, channels)` to clean `(n,)`."""
        if self._channel is not None:
            block = block[:, self._channel : self._channel + 1]
        finite = np.isfinite(block)
        if not finite.all():
            self.non_finite += int(finite.size - np.count_nonzero(finite))
            block = np.where(finite, block, np.float32(0))
        mono = block[:, 0].copy()
        # Column by column: `mean(axis=1)` is several times slower on two columns.
        for channel in range(1, block.shape[1]):
            mono += block[:, channel]
        if block.shape[1] > 1:
            mono /= np.float32(block.shape[1])
        return np.clip(mono, -1, 1, out=mono)

    def close(self) -> None:
        """Let go of the file; blocks already handed out stay good. Twice is fine."""
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_audio(path: Path, rate_hz: int | None = None, *, channel: int | None = None) -> np.ndarray:
    """Read a whole file as float32 mono `(n,)` in [-1, 1], resampled (soxr HQ) when its rate is not `rate_hz`."""
    with BlockReader(path, channel=channel) as reader:
        if rate_hz is None or rate_hz == reader.info.rate_hz:
            return np.concatenate(list(reader))
        resampler = StreamResampler(reader.info.rate_hz, rate_hz)
        pieces = [resampler.push(block) for block in reader]
        joined = np.concatenate([*pieces, resampler.flush()])
    # A band-limited copy of a loud signal swings beyond its peaks.
    return np.clip(joined, -1, 1, out=joined)


def _open(path: Path) -> Source:
    """Open `path` with whichever library reads it; raises `InputError` saying what is wrong with it."""
    header, is_mpeg = _look(path)
    # MPEG goes to FFmpeg: libsndfile's MP3 decoder writes its complaints about damaged files straight to stderr.
    if not is_mpeg:
        try:
            sound = soundfile.SoundFile(os.fsencode(path))
        except (soundfile.LibsndfileError, TypeError):
            pass  # TypeError: a file called *.raw, of which soundfile wants to be told the format
        else:
            if 0 < sound.frames < _UNKNOWN_FRAMES:
                return SoundFileSource(path, sound)
            sound.close()
            # libsndfile fails on the last block of a FLAC of unknown length and finds nothing in a WAV of size 0; FFmpeg
            # reads both.
            open_ended = sound.frames > 0 or (
                header is not None and header.promised_bytes is None and header.present_bytes > 0
            )
            if not open_ended:
                raise silent(path)
    return open_av(path, header)


def _look(path: Path) -> tuple[WavHeader | None, bool]:
    """Check what can be checked without decoding: the WAV header if there is one, and whether this is MPEG audio."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise InputError(f"{path} is a folder, not a sound file")
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{path} is not a regular file", hint="write the sound to a file first")
        if status.st_size == 0:
            raise InputError(f"{path} is empty (0 bytes)")
        with path.open("rb") as file:
            head = file.read(3)
            header = read_wav_header(file, status.st_size)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    if header is not None and header.truncated:
        assert header.promised_bytes is not None
        raise cut_short(
            path, header.promised_bytes / (header.bytes_per_s or 1), header.present_bytes / (header.bytes_per_s or 1)
        )
    sync = len(head) >= 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0
    return header, head == b"ID3" or sync or path.suffix.lower() in (".mp1", ".mp2", ".mp3", ".mpga")
