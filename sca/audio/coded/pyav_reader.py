"""Audio files that FFmpeg reads through PyAV: webm, m4a, mp4, mp3, transport streams, and joined files of any format.

A file may change its layout, rate or sample format, and its clock may start again, where recordings were joined; it is
read to its end. No other file and no address is opened.
"""

import errno
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from sca.audio.coded.adts_frames import adts_frames
from sca.audio.coded.containers import channel_names, open_container
from sca.audio.coded.converter import FrameConverter
from sca.audio.coded.flac_frames import FLAC_OPTIONS, split_frames
from sca.audio.coded.joined import Span
from sca.audio.coded.layouts import mono_weights
from sca.audio.coded.playlists import playlist_kind
from sca.audio.coded.readers import (
    AudioInfo,
    AudioReader,
    Findings,
    Stretch,
    accepted_cut,
    accepted_damage_s,
    damage_over_limit,
    damaged_error,
    empty_error,
    reblocked,
)
from sca.audio.coded.reading import AS_DEFAULT, Reading
from sca.audio.coded.remarks import estimated, rest
from sca.audio.coded.stated_length import stated_seconds
from sca.audio.coded.tags import TAGS
from sca.audio.coded.tracks import track_index, track_note
from sca.audio.coded.wav_header import WavHeader
from sca.errors import InputError
from sca.units import seconds_to_samples

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.packet import Packet

__all__ = ["PyAvReader", "open_av"]

# A coded stream can end a packet early or late. A file that is shorter than stated by more than this is truncated.
_SLACK_S = 1.0
# Timestamps are rounded to milliseconds and shifted by the delay of a codec. A gap of this length means missing
# packets.
_GAP_S = 0.1
_RESAMPLER_S = 0.002
# If the header states no length, a longer gap means a damaged timestamp.
_LONGEST_GAP_S = 60.0
# A clock that goes back by more starts again: another recording was joined.
_BACK_S = 0.5
# A transport stream that is cut together from broadcasts has a new clock at each cut.
_NEW_CLOCKS = frozenset({"mpegts"})
_ADTS = "aac"  # FFmpeg's name of the container; FFmpeg calls the codec aac too


def open_av(
    path: Path, header: WavHeader | None, spans: Sequence[Span] = (), reading: Reading = AS_DEFAULT
) -> "PyAvReader":
    """Open an audio file with FFmpeg.

    Args:
        path: The file.
        header: The header of the file, if it is a WAV file with a size that libsndfile does not understand.
        spans: The bytes of the parts, if the file is known to have several.
        reading: The track to read, and the damage to accept.

    Raises:
        InputError: FFmpeg cannot read the file, or it contains no audio.
    """
    import av

    try:
        container = open_container(path, spans[0] if spans else None)
    except av.EOFError as error:  # a webm recording that was stopped immediately
        if path.suffix.lower() == ".aac":  # a name by which FFmpeg looks for a frame up to the end
            raise InputError(f"{path} is not a sound file: no frame of AAC is in it") from error
        raise empty_error(path) from error
    except (av.FFmpegError, UnicodeError) as error:
        raise _not_opened(path, error) from error
    with ExitStack() as stack:
        stack.callback(container.close)
        reader = PyAvReader(path, container, header, spans, reading)
        stack.pop_all()
    return reader


def _not_opened(path: Path, error: Exception) -> Exception:
    """Return the error for a file that FFmpeg does not open."""
    if isinstance(error, MemoryError):
        return error
    if kind := playlist_kind(path):
        hint = "give the recordings themselves; sca download fetches the sound of an address"
        return InputError(f"{path} is not a sound file but {kind}, which names other files", hint=hint)
    reason = getattr(error, "strerror", None) or error
    if getattr(error, "errno", None) == errno.EINVAL:  # what FFmpeg returns for a format that is not on the list
        return InputError(f"{path} is not a sound file, or has a format that is not read")
    return InputError(f"{path} is not a sound file, or its beginning is damaged ({reason})")


@dataclass(slots=True)
class _Clock:
    """Maps timestamps to samples that were returned.

    Attributes:
        rate_hz: The rate of the result.
        done: Samples returned.
        base_s: The timestamp of sample 0; None before the first timestamp.
        restarts: Whether the next timestamp is that of the next sample, whatever it is.
        follows_hole: Whether a packet before the next frame could not be decoded.
    """

    rate_hz: int
    done: int = 0
    base_s: float | None = None
    restarts: bool = True
    follows_hole: bool = False

    @property
    def done_s(self) -> float:
        return self.done / self.rate_hz

    def missing(self, time_s: float) -> int:
        """Return the samples between those returned and a timestamp, negative if it goes back."""
        if self.base_s is None or self.restarts:
            self.base_s, self.restarts = time_s - self.done_s, False
        return seconds_to_samples(time_s - self.base_s, self.rate_hz) - self.done


class PyAvReader(AudioReader):
    """A file that FFmpeg reads."""

    def __init__(
        self,
        path: Path,
        container: "InputContainer",
        header: WavHeader | None,
        spans: Sequence[Span] = (),
        reading: Reading = AS_DEFAULT,
    ) -> None:
        self._path, self._spans, self._reading = path, spans, reading
        self._container = container
        self.filled_samples = 0
        self.findings = Findings()
        self._reason: object = None
        if not container.streams.audio:
            if not container.streams.video:
                raise InputError(f"{path} is not a sound file")
            raise InputError(f"{path} has no sound track, only video ({container.format.name})")
        track = track_index(container, path, reading)
        self._stream, self.findings.track = container.streams.audio[track], track_note(container, track)
        if getattr(self._stream, "codec_context", None) is None:  # such as Shorten in NIST SPHERE
            hint = "convert it to WAV with sph2pipe -f wav" if container.format.name == "nistsphere" else None
            raise InputError(f"{path} has sound in a coding that FFmpeg cannot decode", hint=hint)
        if self._stream.codec_context.name == "flac":
            self._stream.codec_context.options = FLAC_OPTIONS
        rate_hz, channels = self._stream.rate, self._stream.channels
        if not rate_hz or not channels:
            raise InputError(f"{path} is not a sound file, or its beginning is damaged (no sample rate)")
        # Only FLAC states its length to the sample.
        self._slack_s = 0.5 / rate_hz if container.format.name == "flac" else _SLACK_S
        self._promised_s = stated_seconds(container, self._stream, path)
        frames = None if self._promised_s is None else seconds_to_samples(self._promised_s, rate_hz)
        if frames is None and header is not None and header.promised_bytes is None:
            frames = header.present_bytes // header.block_bytes
        if not frames and not self._has_packets():
            raise empty_error(path)
        self.mono_weights = mono_weights(channel_names(self._stream.layout.channels))
        self.info = AudioInfo(
            rate_hz=rate_hz,
            channels=channels,
            frames=None if spans else frames or None,
            codec=self._stream.codec_context.codec.canonical_name,
            container=container.format.name,
        )

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
        yield from reblocked(self._pieces(), block_samples)

    def _pieces(self) -> Iterator[NDArray[np.float32]]:
        """Yield the decoded packets as float32 `(n, channels)` at the rate of `info`, with gaps filled."""
        import av

        clock = _Clock(self.info.rate_hz)
        try:
            for piece in self._decoded(clock):
                clock.done += len(piece)
                yield piece
        except (av.FFmpegError, ValueError) as error:
            if isinstance(error, MemoryError):
                raise
            reason = getattr(error, "strerror", None) or error
            raise damaged_error(self._path, clock.done_s, reason) from error
        if self._promised_s is None and self.info.frames is None and not self.findings.joins:
            self.findings.estimate = estimated(self._container.duration, clock.done_s)
        holes = self.findings.holes
        if clock.done == 0 and not holes:
            raise empty_error(self._path)
        if self._promised_s is not None and self._promised_s - clock.done_s > self._slack_s:
            limit_s = self._reading.accept_damage_s
            self.findings.cut = accepted_cut(self._path, self._promised_s, clock.done_s, limit_s)
        lost_s = sum(hole.seconds for hole in holes)
        if lost_s > accepted_damage_s(self._reading.accept_damage_s, clock.done_s):
            raise damage_over_limit(self._path, holes, clock.done_s, self._reason)

    def _decoded(self, clock: _Clock) -> Iterator[NDArray[np.float32]]:
        converter = FrameConverter(self.info.rate_hz, self.mono_weights)
        yield from self._decoded_part(self._container, self._stream, converter, clock)
        # A demuxer that meets the headers of another part may refuse them, so each part is opened.
        for span in self._spans[1:]:
            with open_container(self._path, span) as container:
                if not container.streams.audio:
                    continue
                stream = container.streams.audio[track_index(container, self._path, self._reading)]
                stated_s = stated_seconds(container, stream, self._path)
                known = self._promised_s is not None and stated_s is not None
                self._promised_s = (self._promised_s or 0.0) + (stated_s or 0.0) if known else None
                clock.restarts = True
                self._note_join(clock)
                yield from self._decoded_part(container, stream, converter, clock)
        yield from converter.flush()

    def _decoded_part(
        self, container: "InputContainer", stream: "AudioStream", converter: "FrameConverter", clock: _Clock
    ) -> Iterator[NDArray[np.float32]]:
        import av

        if container.format.name == _ADTS:
            yield from self._decoded_adts(stream, converter, clock)
            return
        is_flac = container.format.name == "flac"
        if stream.codec_context.name == "flac":
            stream.codec_context.options = FLAC_OPTIONS
        for packet in container.demux(stream):
            if _is_tag(packet) and self.info.container == "mp3":
                clock.restarts = True
                self._note_join(clock)
                continue
            try:
                frames = list(_flac_frames(packet, stream) if is_flac else _frames(packet))
            except av.FFmpegError as error:  # at a seam, FFmpeg raises a dozen errors for bytes that are not a packet
                if isinstance(error, MemoryError):
                    raise
                self._reason = self._reason or error.strerror
                seconds = float((packet.duration or 0) * (packet.time_base or 0))
                self.findings.add_hole(clock.done_s, seconds)
                clock.follows_hole = True
                continue
            for time_s, frame in frames:
                yield from self._placed(frame, time_s, converter, clock, is_flac=is_flac)

    def _decoded_adts(
        self, stream: "AudioStream", converter: "FrameConverter", clock: _Clock
    ) -> Iterator[NDArray[np.float32]]:
        """Decode the frames of ADTS, which has no clock, with silence in place of those that are damaged."""
        import av

        for item in adts_frames(self._path):
            if item.rest_bytes:
                self.findings.cut = rest(item.rest_bytes)
                return
            frames, reason = [], "bytes between frames"
            try:
                frames = stream.codec_context.decode(av.Packet(item.data)) if item.data else []
            except av.FFmpegError as error:
                if isinstance(error, MemoryError):
                    raise
                reason = error.strerror
            for frame in frames:
                yield from self._placed(frame, None, converter, clock, is_flac=False)
            if not frames:
                self._reason = self._reason or reason
                yield from converter.flush()
                self.findings.add_hole(clock.done_s, item.seconds)
                if clock.done:  # a file in which nothing can be decoded has no sound
                    yield from self._silence(seconds_to_samples(item.seconds, self.info.rate_hz))

    def _placed(
        self, frame: "AudioFrame", time_s: float | None, converter: "FrameConverter", clock: _Clock, *, is_flac: bool
    ) -> Iterator[NDArray[np.float32]]:
        """Yield the samples of a frame, after silence for what is missing before it."""
        if converter.differs(frame):  # another recording begins
            yield from converter.flush()
            self._note_join(clock)
        # FLAC has no pauses: what is missing was damaged. A resampler holds back less than this.
        clock.follows_hole |= is_flac
        least = 1 if frame.sample_rate == self.info.rate_hz else seconds_to_samples(_RESAMPLER_S, self.info.rate_hz)
        if time_s is not None:
            yield from self._silence_before(time_s, clock, least, is_hole=is_flac)
        yield from converter.convert(frame)

    def _note_join(self, clock: _Clock) -> None:
        """Record where a part begins. Several signs of the same seam are one."""
        joins = self.findings.joins
        if clock.done and not (joins and clock.done_s - joins[-1] < _SLACK_S):
            joins.append(clock.done_s)

    def _silence_before(
        self, time_s: float, clock: _Clock, least: int, *, is_hole: bool = False
    ) -> Iterator[NDArray[np.float32]]:
        """Yield silence for samples missing before a frame: lost packets, or pauses that were not recorded.

        Filling them keeps the audio that follows at its time. A clock that starts again is that of another recording.

        Args:
            time_s: The timestamp of the frame.
            clock: The clock.
            least: Fewer samples are not missing after a packet that could not be decoded.
            is_hole: Whether missing samples were damaged.

        Raises:
            InputError: The timestamp lies beyond the end of the file.
        """
        rate_hz = self.info.rate_hz
        missing = clock.missing(time_s)
        if missing < -_BACK_S * rate_hz or (missing > _LONGEST_GAP_S * rate_hz and self.info.container in _NEW_CLOCKS):
            clock.restarts = True
            self._note_join(clock)
            missing = clock.missing(time_s)
        follows_hole, clock.follows_hole = clock.follows_hole, False
        if missing < (least if follows_hole else _GAP_S * rate_hz):
            return
        # After a join, the length in the header is that of the first part.
        longest_s = _LONGEST_GAP_S
        if self._promised_s is not None and not self.findings.joins:
            longest_s = self._promised_s + _SLACK_S - clock.done_s
        if missing > longest_s * rate_hz:
            raise damaged_error(self._path, clock.done_s, f"its clock jumps to second {time_s:.0f}")
        if is_hole:
            self.findings.add_hole(clock.done_s, missing / rate_hz)
            self._reason = self._reason or "frames with wrong checksums"
        elif not follows_hole:
            self.findings.gaps.append(Stretch(clock.done_s, missing / rate_hz))
        yield from self._silence(missing)

    def _silence(self, samples: int) -> Iterator[NDArray[np.float32]]:
        """Yield silence, a second at a time: a long gap needs no memory."""
        self.filled_samples += samples
        for start in range(0, samples, self.info.rate_hz):
            yield np.zeros((min(self.info.rate_hz, samples - start), self.info.channels), np.float32)

    @override
    def close(self) -> None:
        self._container.close()


def _frames(packet: "Packet[AudioStream]") -> "Iterator[tuple[float | None, AudioFrame]]":
    """Yield the decoded frames of a packet, with their times."""
    for frame in packet.decode():
        yield frame.time, frame


def _flac_frames(packet: "Packet[AudioStream]", stream: "AudioStream") -> "Iterator[tuple[float | None, AudioFrame]]":
    """Yield the frames of FLAC that can be decoded, with the times in their headers."""
    import av

    if not packet.size:
        yield from _frames(packet)
        return
    stream_info = stream.codec_context.extradata or b""
    block_samples = int.from_bytes(stream_info[:2], "big")  # the smallest one, and the only one if it is fixed
    for first, data in split_frames(bytes(packet), block_samples):
        try:
            frames = stream.codec_context.decode(av.Packet(data))
        except av.FFmpegError:
            continue  # the time of the next frame shows what is missing
        for frame in frames:
            yield None if first is None else first / stream.rate, frame


def _is_tag(packet: "Packet[AudioStream]") -> bool:
    """Return whether a demuxer took a tag between joined parts for a packet."""
    return packet.size >= 8 and bytes(memoryview(packet)[:8]).startswith(TAGS)
