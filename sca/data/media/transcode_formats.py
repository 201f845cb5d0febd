"""The audio format of transcoded files: as requested, as an ffmpeg command, and compared with a file."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sca.audio.coded.containers import FORMATS, SelectedTrack
from sca.audio.coded.flac_frames import FLAC_OPTIONS
from sca.audio.decode import BLOCK_SAMPLES
from sca.audio.decoder.properties import FileProperties
from sca.data.media.ffmpeg import url
from sca.data.media.transcode_plan import OUTPUTS
from sca.errors import UsageError
from sca.textutil import counted

if TYPE_CHECKING:
    from ffmpeg.nodes import FilterableStream, OutputStream

__all__ = ["LENGTH_SLACK_S", "AudioFormat"]

LENGTH_SLACK_S = 0.02
"""Allowed difference in length of a result: resamplers round, and coded packets do not end on a sample."""

OPUS_RATES_HZ = (8_000, 12_000, 16_000, 24_000, 48_000)
_CODECS = {"flac": "flac", "wav": "pcm_s16le", "opus": "libopus"}
_LAYOUTS = {1: "mono", 2: "stereo"}
_PAIR = 2
_LOW_HZ = 6_000
_LOW_SAMPLES = 1024
"""0.17 s, a quarter of the shortest stretch of `BlockReader`, at 96 kHz; the stretches are longer at lower rates."""
_PEAK_LIMIT_DBTP = -1.0
"""The highest true peak that EBU R128 allows."""


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """A requested format, always with 16 bits.

    Attributes:
        extension: "flac", "wav" or "opus".
        rate_hz: The sample rate.
        channels: 1 or 2.
        loudness_lufs: EBU R128 integrated loudness; None keeps the loudness of the source.
    """

    extension: str = "flac"
    rate_hz: int = 48_000
    channels: int = 1
    loudness_lufs: float | None = None

    def __post_init__(self) -> None:
        if self.extension not in OUTPUTS:
            raise UsageError(
                f"unknown extension {self.extension!r} to write", hint=f"supported are {', '.join(OUTPUTS)}"
            )
        if self.channels not in _LAYOUTS:
            raise UsageError(f"--channels should be 1 or 2, got {self.channels}")
        if not 8_000 <= self.rate_hz <= 192_000:
            raise UsageError(f"--sample-rate should be between 8000 and 192000 Hz, got {self.rate_hz}")
        if self.extension == "opus" and self.rate_hz not in OPUS_RATES_HZ:
            raise UsageError(
                f"opus does not support {self.rate_hz} Hz", hint=f"it supports {', '.join(map(str, OPUS_RATES_HZ))}"
            )
        if self.loudness_lufs is not None and not -70 <= self.loudness_lufs <= -5:
            raise UsageError(f"--loudness should be between -70 and -5 LUFS, got {self.loudness_lufs:g}")

    def __str__(self) -> str:
        loudness = "" if self.loudness_lufs is None else f", {self.loudness_lufs:g} LUFS"
        return f"{self.extension}, {self.rate_hz} Hz, {_LAYOUTS[self.channels]}, 16 bit{loudness}"

    def loudness_command(self, source: Path, track: SelectedTrack, *, soxr: bool) -> "OutputStream":
        """Return the command that measures loudness and peak, and writes no file."""
        # The meter of ffmpeg's loudnorm, which would run it at 192 kHz and take four times as long.
        measured = self._converted(source, track, soxr=soxr).filter("ebur128", peak="true", framelog="quiet")
        return measured.output("-", f="null")

    def transcode_command(
        self, source: Path, target: Path, track: SelectedTrack, *, soxr: bool, gain_db: float = 0.0
    ) -> "OutputStream":
        """Return the command that writes `target`, which may have any extension, and measures the source."""
        import ffmpeg

        sound, pair = _read(source, track), None
        if self.channels == 1 and len(track.mono_weights) == _PAIR:
            both = sound.asplit()
            sound, pair = both[0], both[1]
        sound = self._resampled(_measured(self._mixed(sound, track), "Peak_level", BLOCK_SAMPLES), soxr=soxr)
        if gain_db:
            sound = sound.filter("volume", f"{gain_db}dB", precision="double")
        # Opus decodes to floats, of which ffmpeg's flac encoder makes 24 bits by default.
        sound = sound.filter("aformat", sample_fmts="s16")
        options = {"rf64": "auto"} if self.extension == "wav" else {}
        made = sound.output(url(target), format=self.extension, acodec=_CODECS[self.extension], **options)
        return made if pair is None else ffmpeg.merge_outputs(made, _compared(pair).output("-", f="null"))

    def gain_db(self, loudness_lufs: float, peak_dbtp: float) -> tuple[float, str | None]:
        """Return the gain that gives a file the requested loudness, and a note if its peaks limit the gain."""
        assert self.loudness_lufs is not None
        gain, max_gain = self.loudness_lufs - loudness_lufs, _PEAK_LIMIT_DBTP - peak_dbtp
        if gain <= max_gain:
            return round(gain, 2), None
        reached = loudness_lufs + max_gain
        return round(max_gain, 2), f"peaks at {_PEAK_LIMIT_DBTP:g} dBTP leave room for {reached:.1f} LUFS only"

    def difference(self, made: FileProperties) -> str | None:
        """Return how a file differs from this format, or None."""
        codec = {"libopus": "opus"}.get(_CODECS[self.extension], _CODECS[self.extension])
        # Opus always decodes to 48 kHz, whatever was encoded.
        rate_hz = 48_000 if codec == "opus" else self.rate_hz
        if made.codec != codec:
            return f"holds {made.codec}, not {codec}"
        if made.rate_hz != rate_hz:
            return f"is at {made.rate_hz} Hz, not {rate_hz} Hz"
        if made.channels != self.channels:
            return f"has {counted(made.channels, 'channel')}, not {self.channels}"
        if made.deep:
            return "has more than 16 bits"
        return None

    def _converted(self, source: Path, track: SelectedTrack, *, soxr: bool) -> "FilterableStream":
        """Return an audio track at the requested rate and layout."""
        return self._resampled(self._mixed(_read(source, track), track), soxr=soxr)

    def _mixed(self, sound: "FilterableStream", track: SelectedTrack) -> "FilterableStream":
        if self.channels == len(track.mono_weights):
            return sound
        # The stereo mixes of ffmpeg lower mono by 3 dB, and the centre of film sound by 11 dB.
        rows = [track.mono_weights] if self.channels == 1 else track.stereo_weights
        mixes = ["+".join(f"{weight:.6f}*c{n}" for n, weight in enumerate(row)) for row in rows]
        return sound.filter(
            "pan", args="|".join([_LAYOUTS[self.channels], *(f"c{n}={m}" for n, m in enumerate(mixes))])
        )

    def _resampled(self, sound: "FilterableStream", *, soxr: bool) -> "FilterableStream":
        sound = sound.filter("aresample", self.rate_hz, **({"resampler": "soxr"} if soxr else {}))
        return sound.filter("aformat", sample_rates=self.rate_hz, channel_layouts=_LAYOUTS[self.channels])


def _read(source: Path, track: SelectedTrack) -> "FilterableStream":
    """Return an audio track on its time line."""
    import ffmpeg

    options = {"protocol_whitelist": "file", "format_whitelist": ",".join(FORMATS)}
    if track.codec == "flac":
        options |= FLAC_OPTIONS
    sound = ffmpeg.input(url(source), **options)[f"a:{track.index}"]
    # Gaps in the time line become silence, so that nothing after them moves; nothing is stretched. The filter is a
    # separate one: with soxr in the same filter, ffmpeg (7 and 9) adds silence repeatedly, and lengths are wrong.
    return sound.filter("aresample", **{"async": 1}).filter("aformat", sample_fmts="fltp")


def _compared(pair: "FilterableStream") -> "FilterableStream":
    """Return two channels whose powers, and that of their average, ffmpeg logs.

    Powers take as long as the rest of the work, so they are measured at a low rate. Three of the short stretches lie
    in each stretch in which `BlockReader` compares channels.
    """
    low = pair.filter("aresample", _LOW_HZ).filter("pan", args="3.0|c0=0.5*c0+0.5*c1|c1=c0|c2=c1")
    return _measured(low, "RMS_level", _LOW_SAMPLES)


def _measured(sound: "FilterableStream", value: str, samples: int) -> "FilterableStream":
    """Return a stream of which ffmpeg logs a value for each stretch of so many samples."""
    sound = sound.filter("asetnsamples", n=samples, p=0)
    options = {"metadata": 1, "reset": 1, "measure_perchannel": value, "measure_overall": "none"}
    return sound.filter("astats", **options).filter("ametadata", "print")
