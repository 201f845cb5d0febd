"""Audio files that FFmpeg reads through PyAV: webm, m4a, mp4, mp3, and other formats that libsndfile does not support.

Only local files are read. A URL is never opened, not even one that a playlist contains.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from sca.audio.readers import AudioInfo, AudioReader, damaged_error, empty_error, truncated_error
from sca.audio.wav_header import WavHeader
from sca.errors import InputError
from sca.units import seconds_to_samples

if TYPE_CHECKING:
    from av.container import InputContainer

__all__ = ["PyAvReader", "open_av", "open_container"]

# A coded stream can end a packet early or late. A file that is shorter than stated by more than this is truncated.
_SLACK_S = 1.0
# Timestamps are rounded to milliseconds and shifted by the delay of a codec. A gap of this length means missing
# packets.
_GAP_S = 0.1
# If the header states no length, a longer gap means a damaged timestamp.
_LONGEST_GAP_S = 60.0
# FFmpeg has a demuxer for almost any file; these demux text and images.
_NOT_MEDIA = frozenset({"image2", "lrc", "srt", "tty", "webvtt"})


def open_container(path: Path) -> "InputContainer":
    """Open a file for reading. Raises the exceptions of PyAV, mostly `av.FFmpegError`."""
    import av

    # The prefix `file:` makes the rest of the name literal, so that a file may be called `concat:…`. The whitelist
    # prevents playlists from opening network addresses. From PyAV 19 on, tags that are not UTF-8 are accepted without
    # an option.
    tags = {} if int(av.__version__.partition(".")[0]) >= 19 else {"metadata_errors": "replace"}
    url = f"file:{path.absolute()}"
    container: InputContainer = av.open(url, options={"protocol_whitelist": "file"}, **tags)
    return container


def open_av(path: Path, header: WavHeader | None) -> "PyAvReader":
    """Open an audio file with FFmpeg.

    Args:
        path: The file.
        header: The header of the file, if it is a WAV file with a size that libsndfile does not understand.

    Raises:
        InputError: FFmpeg cannot read the file, or it contains no audio.
    """
    import av

    try:
        container = open_container(path)
    except av.EOFError as error:  # a webm recording that was stopped immediately
        raise empty_error(path) from error
    except (av.FFmpegError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path} is not a sound file, or its beginning is damaged ({reason})") from error
    try:
        return PyAvReader(path, container, header)
    except BaseException:
        container.close()
        raise


class PyAvReader(AudioReader):
    """A file that FFmpeg reads."""

    def __init__(self, path: Path, container: "InputContainer", header: WavHeader | None) -> None:
        self._path = path
        self._container = container
        self.filled_samples = 0
        if not container.streams.audio:
            name = container.format.name
            if name in _NOT_MEDIA or name.endswith("_pipe") or not container.streams.video:
                raise InputError(f"{path} is not a sound file")
            raise InputError(f"{path} has no sound track, only video ({name})")
        self._stream = container.streams.audio[0]
        if getattr(self._stream, "codec_context", None) is None:  # such as Shorten in NIST SPHERE
            hint = "convert it to WAV with sph2pipe -f wav" if container.format.name == "nistsphere" else None
            raise InputError(f"{path} has sound in a coding that FFmpeg cannot decode", hint=hint)
        rate_hz, channels = self._stream.rate, self._stream.channels
        if not rate_hz or not channels:
            raise InputError(f"{path} is not a sound file, or its beginning is damaged (no sample rate)")
        self._promised_s = self._header_seconds()
        frames = None if self._promised_s is None else seconds_to_samples(self._promised_s, rate_hz)
        if frames is None and header is not None and header.promised_bytes is None:
            frames = header.present_bytes // header.block_bytes
        if not frames and not self._has_packets():
            raise empty_error(path)
        self.info = AudioInfo(
            rate_hz=rate_hz,
            channels=channels,
            frames=frames or None,
            codec=self._stream.codec_context.codec.canonical_name,
            container=container.format.name,
        )

    def _header_seconds(self) -> float | None:
        if self._stream.duration is not None and self._stream.time_base is not None:
            return float(self._stream.duration * self._stream.time_base)
        # Matroska states only the length of the whole file, which is that of the audio if it is the only stream.
        if len(self._container.streams) == 1 and self._container.duration is not None:
            return float(self._container.duration / 1e6)
        return None

    def _has_packets(self) -> bool:
        import av

        try:
            found = any(packet.size > 0 for packet in self._container.demux(self._stream))
            self._container.seek(0)
        except av.FFmpegError:
            return False
        return found

    @override
    def blocks(self, block_samples: int) -> Iterator[NDArray[np.float32]]:
        pending: list[NDArray[np.float32]] = []
        held = 0
        for piece in self._pieces():
            pending.append(piece)
            held += len(piece)
            if held < block_samples:
                continue
            joined = np.concatenate(pending)
            whole = held - held % block_samples
            for start in range(0, whole, block_samples):
                yield joined[start : start + block_samples]
            pending, held = [joined[whole:]], held - whole
        if held:
            yield np.concatenate(pending)

    def _pieces(self) -> Iterator[NDArray[np.float32]]:
        """Yield the decoded packets as float32 `(n, channels)` at the rate of `info`, with gaps filled."""
        import av

        # Resampling to the rate of the header handles frames with another rate than the stream (HE-AAC).
        planar = av.AudioResampler(format="fltp", rate=self.info.rate_hz)
        done, first_s = 0, None
        try:
            for frame in self._container.decode(self._stream):
                if frame.time is not None:
                    first_s = frame.time if first_s is None else first_s
                    gap = self._gap_samples(frame.time - first_s, done)
                    self.filled_samples, done = self.filled_samples + gap, done + gap
                    # A second at a time, so that a long gap needs no memory.
                    for start in range(0, gap, self.info.rate_hz):
                        yield np.zeros((min(self.info.rate_hz, gap - start), self.info.channels), np.float32)
                for out in planar.resample(frame):
                    done += out.samples
                    yield np.ascontiguousarray(out.to_ndarray().T)
            for out in planar.resample(None) if done else []:
                done += out.samples
                yield np.ascontiguousarray(out.to_ndarray().T)
        except (av.FFmpegError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise damaged_error(self._path, done / self.info.rate_hz, reason) from error
        if done == 0:
            raise empty_error(self._path)
        if self._promised_s is not None and self._promised_s - done / self.info.rate_hz > _SLACK_S:
            raise truncated_error(self._path, self._promised_s, done / self.info.rate_hz)

    def _gap_samples(self, time_s: float, done: int) -> int:
        """Return the samples missing before a frame: lost packets, or pauses that were not recorded.

        Filling them keeps the audio that follows at its time.

        Args:
            time_s: The timestamp of the frame.
            done: Samples returned before it.

        Raises:
            InputError: The timestamp lies beyond the end of the file.
        """
        missing = seconds_to_samples(time_s, self.info.rate_hz) - done
        if missing < _GAP_S * self.info.rate_hz:
            return 0
        end_s = done / self.info.rate_hz + _LONGEST_GAP_S if self._promised_s is None else self._promised_s + _SLACK_S
        if time_s > end_s:
            raise damaged_error(self._path, done / self.info.rate_hz, f"its clock jumps to second {time_s:.0f}")
        return missing

    @override
    def close(self) -> None:
        self._container.close()
