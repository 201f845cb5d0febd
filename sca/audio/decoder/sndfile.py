"""Audio files that libsndfile reads, through soundfile.

WAV, FLAC, Ogg and AIFF, recognized by their first bytes, are read in this process: libsndfile opens no other file for
them, and it, libFLAC, libvorbis and libopus are fuzzed without a pause (OSS-Fuzz). The other formats of libsndfile, such as
SD2, which opens a second file, MAT or CAF with its ALAC decoder, are read in a decoder process.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray
from typing_extensions import override

from sca.audio.coded.readers import AudioInfo, AudioReader, Findings, empty_error, reblocked
from sca.audio.coded.reading import Reading
from sca.audio.coded.tracks import check_only_track
from sca.audio.coded.wav_header import WavHeader

__all__ = ["HEAD_BYTES", "SoundFileReader", "is_read_here", "open_sndfile", "open_stored"]

# libsndfile reports an unknown length as the largest sf_count_t.
_UNKNOWN_FRAMES = 1 << 62
_PIECE_SAMPLES = 1 << 16
_UNRECOGNIZED = 1
"""libsndfile's number of an unknown format."""
HEAD_BYTES = 12
"""The first bytes of a file that decide where it is read."""


def is_read_here(head: bytes) -> bool:
    """Return whether a file has one of the formats that are read in this process.

    Args:
        head: Its first `HEAD_BYTES` bytes.
    """
    form, kind = head[:4], head[8:12]
    is_wav = form in (b"RIFF", b"RIFX", b"RF64") and kind == b"WAVE"
    return is_wav or form in (b"fLaC", b"OggS") or (form == b"FORM" and kind in (b"AIFF", b"AIFC"))


def open_stored(data: BinaryIO) -> soundfile.SoundFile:
    """Open the sound in a cell of a data set, which others may have made.

    Args:
        data: The cell, at its beginning.

    Raises:
        soundfile.LibsndfileError: It has none of the formats that are read in this process, or is damaged.
    """
    head = data.read(HEAD_BYTES)
    data.seek(0)
    if not is_read_here(head):
        raise soundfile.LibsndfileError(_UNRECOGNIZED)
    return soundfile.SoundFile(data)


def open_sndfile(
    path: Path, header: WavHeader | None, reading: Reading, other: Callable[[], AudioReader]
) -> "SoundFileReader | None":
    """Open an audio file with libsndfile.

    Args:
        path: The file.
        header: Its header, if it is a WAV file.
        reading: The track.
        other: Opens the file with FFmpeg, for what libsndfile finds damaged.

    Returns:
        The open file; None if FFmpeg should read it.

    Raises:
        InputError: The file holds no sound.
    """
    try:
        sound = soundfile.SoundFile(os.fsencode(path))
    except (soundfile.LibsndfileError, TypeError):
        return None  # TypeError: soundfile requires an explicit format for files named *.raw
    # FFmpeg knows the layout of more than two channels. MPEG audio in a WAV file has an estimated length.
    is_plain = sound.channels <= 2 and not sound.subtype.startswith("MPEG")
    if 0 < sound.frames < _UNKNOWN_FRAMES and is_plain:
        check_only_track(path, reading)
        return SoundFileReader(path, sound, other)
    sound.close()
    # libsndfile fails on the last block of a FLAC of unknown length and finds nothing in a WAV of size 0;
    # FFmpeg reads both.
    open_ended = sound.frames > 0 or (header is not None and header.promised_bytes is None and header.present_bytes > 0)
    if not open_ended:
        raise empty_error(path)
    return None


class SoundFileReader(AudioReader):
    """A file that libsndfile reads, and another reader where it cannot continue.

    Args:
        path: The file.
        sound: The open file.
        other: Opens the other reader, which finds out what is damaged.
    """

    def __init__(self, path: Path, sound: soundfile.SoundFile, other: Callable[[], AudioReader]) -> None:
        self._path, self._sound, self._other = path, sound, other
        self._opened: AudioReader | None = None
        self.filled_samples = 0
        self.findings = Findings()
        self.mono_weights = np.full(sound.channels, 1 / sound.channels, np.float32)
        self.info = AudioInfo(
            rate_hz=sound.samplerate,
            channels=sound.channels,
            frames=sound.frames,
            codec="flac" if sound.format == "FLAC" else sound.subtype.lower(),
            container=sound.format.lower(),
        )

    @override
    def blocks(self, block_samples: int) -> Iterator[NDArray[np.float32]]:
        done = 0
        while True:
            try:
                block: NDArray[np.float32] = self._sound.read(block_samples, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError:
                yield from reblocked(self._rest(done), block_samples)
                return
            if len(block) == 0:
                break
            done += len(block)
            yield block
        if done < self._sound.frames:
            yield from reblocked(self._rest(done), block_samples)

    def _rest(self, done: int) -> Iterator[NDArray[np.float32]]:
        """Yield what follows the first samples, from the other reader."""
        self._opened = self._other()
        found, self.findings = self.findings, self._opened.findings
        self.findings.cut = self.findings.cut or found.cut
        for piece in self._opened.blocks(_PIECE_SAMPLES):
            self.filled_samples = self._opened.filled_samples
            skipped = min(done, len(piece))
            done -= skipped
            yield piece[skipped:]

    @override
    def close(self) -> None:
        self._sound.close()
        if self._opened is not None:
            self._opened.close()
