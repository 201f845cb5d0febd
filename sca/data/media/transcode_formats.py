"""What a transcoded file is like: asked for, built into an ffmpeg command, and found in a file.

A file that exists is looked at by its header and its last second, which costs milliseconds however long it is.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sca.audio.pyav_reader import open_container
from sca.data.media.ffmpeg import url
from sca.data.media.transcode_plan import OUTPUTS
from sca.errors import InputError, UsageError
from sca.textutil import counted

__all__ = ["LENGTH_SLACK_S", "Format", "Made", "inspect"]

LENGTH_SLACK_S = 0.02
"""A result may differ in length from its source by this much: resamplers round, coded packets do not end on a sample."""

OPUS_RATES_HZ = (8_000, 12_000, 16_000, 24_000, 48_000)
_CODECS = {"flac": "flac", "wav": "pcm_s16le", "opus": "libopus"}
_LAYOUTS = {1: "mono", 2: "stereo"}
# EBU R128 allows peaks up to here, between samples too.
_PEAK_LIMIT_DBTP = -1.0


@dataclass(frozen=True, slots=True)
class Format:
    """The sound that is asked for, always 16 bit. loudness_lufs: EBU R128 integrated loudness, None leaves it alone."""

    extension: str = "flac"
    rate_hz: int = 48_000
    channels: int = 1
    loudness_lufs: float | None = None

    def __post_init__(self) -> None:
        if self.extension not in OUTPUTS:
            known = f"known are {', '.join(OUTPUTS)}"
            raise UsageError(f"unknown extension {self.extension!r} to write", hint=known)
        if self.channels not in _LAYOUTS:
            raise UsageError(f"--channels should be 1 or 2, got {self.channels}")
        if not 8_000 <= self.rate_hz <= 192_000:
            raise UsageError(f"--sample-rate should be between 8000 and 192000 Hz, got {self.rate_hz}")
        if self.extension == "opus" and self.rate_hz not in OPUS_RATES_HZ:
            raise UsageError(
                f"opus cannot hold {self.rate_hz} Hz", hint=f"it holds {', '.join(map(str, OPUS_RATES_HZ))}"
            )
        if self.loudness_lufs is not None and not -70 <= self.loudness_lufs <= -5:
            raise UsageError(f"--loudness should be between -70 and -5 LUFS, got {self.loudness_lufs:g}")

    def __str__(self) -> str:
        loudness = "" if self.loudness_lufs is None else f", {self.loudness_lufs:g} LUFS"
        return f"{self.extension}, {self.rate_hz} Hz, {_LAYOUTS[self.channels]}, 16 bit{loudness}"

    def converted(self, source: Path, *, soxr: bool) -> Any:
        """The ffmpeg-python stream of the first sound track at this rate and layout."""
        import ffmpeg

        track = ffmpeg.input(url(source), protocol_whitelist="file")["a:0"]
        # Holes in the time line become silence, so that nothing after them moves; nothing is stretched. In a filter of its own:
        # with soxr in the same one, ffmpeg (7 and 9) adds silence again and again, and lengths come out wrong.
        track = track.filter("aresample", **{"async": 1})
        track = track.filter("aresample", self.rate_hz, **({"resampler": "soxr"} if soxr else {}))
        return track.filter("aformat", sample_rates=self.rate_hz, channel_layouts=_LAYOUTS[self.channels])

    def measuring(self, source: Path, *, soxr: bool) -> Any:
        """The ffmpeg-python output that measures loudness and peak, and writes nothing."""
        # The same meter as in ffmpeg's loudnorm, which would run it on 192 kHz sound and take four times as long.
        measured = self.converted(source, soxr=soxr).filter("ebur128", peak="true", framelog="quiet")
        return measured.output("-", f="null")

    def making(self, source: Path, target: Path, *, soxr: bool, gain_db: float = 0.0) -> Any:
        """The ffmpeg-python output that writes `target`, whatever its name ends with."""
        track = self.converted(source, soxr=soxr)
        if gain_db:
            track = track.filter("volume", f"{gain_db}dB", precision="double")
        # Opus decodes to floats, of which ffmpeg's flac encoder would make 24 bits if it were not told.
        track = track.filter("aformat", sample_fmts="s16")
        options = {"rf64": "auto"} if self.extension == "wav" else {}
        return track.output(url(target), format=self.extension, acodec=_CODECS[self.extension], **options)

    def gain_db(self, loudness_lufs: float, peak_dbtp: float) -> tuple[float, str | None]:
        """One gain for the whole file that brings it to the loudness asked for, and a note where its peaks leave no room."""
        assert self.loudness_lufs is not None
        wanted, room = self.loudness_lufs - loudness_lufs, _PEAK_LIMIT_DBTP - peak_dbtp
        if wanted <= room:
            return round(wanted, 2), None
        reached = loudness_lufs + room
        return round(room, 2), f"peaks at {_PEAK_LIMIT_DBTP:g} dBTP leave room for {reached:.1f} LUFS only"


@dataclass(frozen=True, slots=True)
class Made:
    """What is in a file. deep: its samples have more than 16 bits."""

    codec: str
    rate_hz: int
    channels: int
    deep: bool
    seconds: float

    def differs(self, asked: Format) -> str | None:
        """How it is not what was asked for, or None."""
        codec = {"libopus": "opus"}.get(_CODECS[asked.extension], _CODECS[asked.extension])
        # Opus always decodes to 48 kHz, whatever went in.
        rate_hz = 48_000 if codec == "opus" else asked.rate_hz
        if self.codec != codec:
            return f"holds {self.codec}, not {codec}"
        if self.rate_hz != rate_hz:
            return f"is at {self.rate_hz} Hz, not {rate_hz} Hz"
        if self.channels != asked.channels:
            return f"has {counted(self.channels, 'channel')}, not {asked.channels}"
        if self.deep:
            return "has more than 16 bits"
        return None


def inspect(path: Path) -> Made:
    """Read the header and decode the beginning and the end. Raises `InputError` for what cannot be read to its end."""
    import av

    try:
        with open_container(path) as container:
            if not container.streams.audio:
                raise InputError(f"{path} holds no sound")
            stream = container.streams.audio[0]
            first = next(container.decode(stream), None)
            if first is None:
                raise InputError(f"{path} holds no sound")
            begin_s, last = first.time or 0.0, first
            if container.duration is not None:
                container.seek(max(0, container.duration - 1_000_000))
            for frame in container.decode(stream):
                last = frame
            return Made(
                codec=stream.codec_context.codec.canonical_name,
                rate_hz=stream.rate,
                channels=stream.channels,
                deep=first.format.name.startswith("s32"),
                seconds=(last.time or 0.0) - begin_s + last.samples / stream.rate,
            )
    except (av.FFmpegError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path} cannot be read to its end ({reason})") from error
