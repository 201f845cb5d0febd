"""Parse the log of ffmpeg: how much was decoded, how loud it is, and the reason of a failure on one line."""

import math
import re
from collections import deque
from dataclasses import dataclass, field

from sca.audio.coded.layouts import cancels

__all__ = ["FfmpegLog", "is_system_error"]

_MAX_ERRORS = 20
_RIGHT = 3
_LEVEL = re.compile(r"(?:\[[^\]]* @ [^\]]*\] )*\[(?P<level>[a-z]+)\] (?P<text>.*)", re.DOTALL)
_DECODED = re.compile(
    r"Input stream #0:\d+ \(audio\): .*frames decoded(?:; (?P<errors>\d+) decode errors)? \((?P<samples>\d+) samples\)"
)
_RATES = re.compile(r"\br:(\d+)Hz -> .*\br:(\d+)Hz")
_ADDED = re.compile(r"adding (\d+) audio samples of silence")
_DROPPED = re.compile(r"discarding (\d+) audio samples")
_LOUDNESS = re.compile(r"^\s*I:\s+(-?[\d.]+) LUFS", re.MULTILINE)
_PEAK = re.compile(r"^\s*Peak:\s+(-?(?:[\d.]+|inf)) dBFS", re.MULTILINE)
_GATE_LUFS = -70.0
"""The absolute gate of ITU-R BS.1770: everything below counts as silence."""
_STATISTIC = re.compile(r"lavfi\.astats\.(?P<channel>\d)\.(?P<name>RMS|Peak)_level=(?P<db>-?(?:[\d.]+|inf|nan))$")
_TOLERANCE = 1.25
"""1 dB: a sum that is this much stronger may still be one that `BlockReader` finds."""
_ADDRESS = re.compile(r" @ 0x[0-9a-f]+")
_SYSTEM_ERROR = re.compile(
    r"No space left|quota exceeded|Permission denied|Read-only file system|File too large|Input/output"
)


def is_system_error(text: str) -> bool:
    """Return whether a message of ffmpeg is about writing its target and not about its input."""
    return _SYSTEM_ERROR.search(text) is not None


@dataclass(slots=True)
class FfmpegLog:
    """The facts in the log of one ffmpeg process.

    Attributes:
        decoded: Samples that the decoder returned, of the first input; None if this ffmpeg does not count them.
        in_rate_hz: The sample rate of the input.
        out_rate_hz: The sample rate of the output.
        added: Samples of silence put into holes of the time line, at the input's rate.
        dropped: Samples removed where the time line goes back, at the output's rate.
        decode_errors: Packets that cannot be decoded.
        ended_early: Whether the file is shorter than its header promises.
        errors: The first error messages.
        tail: The last lines.
        peak: The largest magnitude of a sample before clipping.
        cancelled: Stretches in which left and right cancel each other, or almost.
    """

    decoded: int | None = None
    in_rate_hz: int | None = None
    out_rate_hz: int | None = None
    added: int = 0
    dropped: int = 0
    decode_errors: int = 0
    ended_early: bool = False
    errors: list[str] = field(default_factory=list)
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=60))
    peak: float = 0.0
    cancelled: int = 0
    _powers: dict[int, float] = field(default_factory=dict)

    def add_line(self, line: str) -> None:
        """Parse one line."""
        if "_ametadata_" in line:
            self._parse_statistic(line)
            return
        self.tail.append(line)
        match = _LEVEL.match(line)
        if not match:
            return
        level, text = match["level"], match["text"].strip()
        if level in ("fatal", "panic", "error"):
            if len(self.errors) < _MAX_ERRORS and text:
                self.errors.append(text)
            self.decode_errors += text.startswith("Error while decoding stream #0")
        self.ended_early |= "ended prematurely" in text or text.endswith("partial file")
        if level == "verbose":
            self._parse_counts(text)

    def _parse_statistic(self, line: str) -> None:
        """Parse a level in dB: the peak of a channel, or the power of the average of two channels, of left, or of right."""
        match = _STATISTIC.search(line)
        if match is None:
            return
        channel, level_db = int(match["channel"]), float(match["db"])
        amplitude = 10 ** (level_db / 20) if math.isfinite(level_db) else 0.0
        if match["name"] == "Peak":
            self.peak = max(self.peak, amplitude)
            return
        self._powers[channel] = amplitude**2
        if channel == _RIGHT:
            average, left, right = (self._powers.get(n, 0.0) for n in (1, 2, 3))
            self.cancelled += cancels(left + right, 4 * average, _TOLERANCE)

    def _parse_counts(self, text: str) -> None:
        if decoded := _DECODED.match(text):
            self.decoded = int(decoded["samples"])
            self.decode_errors = max(self.decode_errors, int(decoded["errors"] or 0))
        elif rates := _RATES.search(text):
            # The first filter converts the rate; the filters after it convert formats only.
            self.in_rate_hz = self.in_rate_hz or int(rates[1])
            self.out_rate_hz = self.out_rate_hz or int(rates[2])
        elif added := _ADDED.match(text):
            self.added += int(added[1])
        elif dropped := _DROPPED.match(text):
            self.dropped += int(dropped[1])

    @property
    def source_s(self) -> float | None:
        """The length of the source on its own time line in seconds, with holes; None if this ffmpeg does not count."""
        if self.decoded is None or not self.in_rate_hz or not self.out_rate_hz:
            return None
        return (self.decoded + self.added) / self.in_rate_hz - self.dropped / self.out_rate_hz

    @property
    def loudness(self) -> tuple[float, float] | None:
        """Integrated loudness (LUFS) and true peak (dBTP) that the filter `ebur128` measured; None if all is silent."""
        text = "\n".join(self.tail)
        loudness, peak = _LOUDNESS.findall(text), _PEAK.findall(text)
        if not (loudness and peak) or float(loudness[-1]) <= _GATE_LUFS or peak[-1] == "-inf":
            return None
        return float(loudness[-1]), float(peak[-1])

    @property
    def reason(self) -> str:
        """Why ffmpeg failed, on one line: the first system error if one was logged, else the first error."""
        system_error = next((e for e in self.errors if is_system_error(e)), None)
        reason = system_error or next(iter(self.errors), None)
        if reason is None:
            last = next((line for line in reversed(self.tail) if line.strip()), "")
            reason = last.strip() or "it gave no reason"
        return _ADDRESS.sub("", reason)
