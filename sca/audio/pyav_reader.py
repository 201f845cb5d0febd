"""Sound files that FFmpeg (through PyAV) reads: webm, m4a, mp4, mp3, and what else libsndfile does not know.

Only files on disk are read, never a URL, not even one that a playlist names.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sca.audio.readers import AudioInfo, cut_short, damaged, silent
from sca.audio.wav_header import WavHeader
from sca.errors import InputError

__all__ = ["AvSource", "open_av", "open_container"]

# A coded stream may end a packet early or late; a promise missed by more than this is a file cut short.
_SLACK_S = 1.0
# Timestamps are rounded to milliseconds and shifted by a codec's delay; from here on something is missing.
_HOLE_S = 0.1
# Where the header gives no length, a longer hole is taken for a damaged timestamp.
_LONGEST_HOLE_S = 60.0
# FFmpeg has a demuxer for nearly anything; these play text and pictures, which is no sound track that got lost.
_NOT_MEDIA = frozenset({"image2", "lrc", "srt", "tty", "webvtt"})


def open_container(path: Path) -> Any:
    """Open a file for reading: an `av.container.InputContainer`. Raises what PyAV raises, `av.FFmpegError` mostly."""
    import av

    # `file:` takes the rest of the name literally, so that a file called `concat:…` stays one; the whitelist keeps a playlist
    # from reaching out to the network. From 19 on tags that are no UTF-8 do no harm by themselves, and there is no such option.
    tags = {} if int(av.__version__.partition(".")[0]) >= 19 else {"metadata_errors": "replace"}
    return av.open("file:" + str(path.absolute()), options={"protocol_whitelist": "file"}, **tags)


def open_av(path: Path, header: WavHeader | None) -> "AvSource":
    """Open `path`; raises `InputError` when FFmpeg cannot. header: of a WAV whose size libsndfile does not understand."""
    import av

    try:
        container = open_container(path)
    except av.EOFError as error:  # a webm whose recording was stopped at once
        raise silent(path) from error
    except (av.FFmpegError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path} is not a sound file, or its beginning is damaged ({reason})") from error
    try:
        return AvSource(path, container, header)
    except BaseException:
        container.close()
        raise


class AvSource:
    """A file that FFmpeg reads. `container` is an open `av.container.InputContainer`."""

    def __init__(self, path: Path, container: Any, header: WavHeader | None) -> None:
        self._path = path
        self._container = container
        self.filled_samples = 0
        if not container.streams.audio:
            name = container.format.name
            if name in _NOT_MEDIA or name.endswith("_pipe") or not container.streams.video:
                raise InputError(f"{path} is not a sound file")
            raise InputError(f"{path} has no sound track, only pictures ({name})")
        self._stream = container.streams.audio[0]
        rate_hz, channels = self._stream.rate, self._stream.channels
        if not rate_hz or not channels:
            raise InputError(f"{path} is not a sound file, or its beginning is damaged (no sample rate)")
        self._promised_s = self._header_seconds()
        frames = None if self._promised_s is None else round(self._promised_s * rate_hz)
        if frames is None and header is not None and header.promised_bytes is None:
            frames = header.present_bytes // header.block_bytes
        if not frames and not self._has_packets():
            raise silent(path)
        self.info = AudioInfo(
            rate_hz=rate_hz,
            channels=channels,
            frames=frames or None,
            codec=self._stream.codec_context.codec.canonical_name,
            container=container.format.name,
        )

    def _header_seconds(self) -> float | None:
        if self._stream.duration is not None:
            return float(self._stream.duration * self._stream.time_base)
        # Matroska gives the length of the whole file only; with nothing else inside it is the sound's.
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

    def blocks(self, block_samples: int) -> Iterator[np.ndarray]:
        """See `Source`."""
        waiting: list[np.ndarray] = []
        held = 0
        for piece in self._pieces():
            waiting.append(piece)
            held += len(piece)
            if held < block_samples:
                continue
            joined = np.concatenate(waiting)
            whole = held - held % block_samples
            for start in range(0, whole, block_samples):
                yield joined[start : start + block_samples]
            waiting, held = [joined[whole:]], held - whole
        if held:
            yield np.concatenate(waiting)

    def _pieces(self) -> Iterator[np.ndarray]:
        """What the decoder gives, packet by packet, as float32 `(n, channels)` at the rate of `info`."""
        import av

        # Asking for the header's rate covers streams whose frames come at another one (HE-AAC).
        planar = av.AudioResampler(format="fltp", rate=self.info.rate_hz)
        done, first_s = 0, None
        try:
            for frame in self._container.decode(self._stream):
                if frame.time is not None:
                    first_s = frame.time if first_s is None else first_s
                    hole = self._hole_samples(frame.time - first_s, done)
                    self.filled_samples, done = self.filled_samples + hole, done + hole
                    # In pieces of a second: a hole must not cost memory.
                    for start in range(0, hole, self.info.rate_hz):
                        yield np.zeros((min(self.info.rate_hz, hole - start), self.info.channels), np.float32)
                for out in planar.resample(frame):
                    done += out.samples
                    yield np.ascontiguousarray(out.to_ndarray().T)
            for out in planar.resample(None) if done else []:
                done += out.samples
                yield np.ascontiguousarray(out.to_ndarray().T)
        except (av.FFmpegError, ValueError) as error:
            raise damaged(self._path, done / self.info.rate_hz, getattr(error, "strerror", None) or error) from error
        if done == 0:
            raise silent(self._path)
        if self._promised_s is not None and self._promised_s - done / self.info.rate_hz > _SLACK_S:
            raise cut_short(self._path, self._promised_s, done / self.info.rate_hz)

    def _hole_samples(self, time_s: float, done: int) -> int:
        """Samples missing before a frame due at `time_s`, after `done` samples: lost packets, or pauses nobody recorded.

        Left out, they would move everything after them to an earlier time.
        """
        missing = round(time_s * self.info.rate_hz) - done
        if missing < _HOLE_S * self.info.rate_hz:
            return 0
        end_s = done / self.info.rate_hz + _LONGEST_HOLE_S if self._promised_s is None else self._promised_s + _SLACK_S
        if time_s > end_s:
            raise damaged(self._path, done / self.info.rate_hz, f"its clock jumps to second {time_s:.0f}")
        return missing

    def close(self) -> None:
        """See `Source`."""
        self._container.close()
