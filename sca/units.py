"""The grid: exact conversion between seconds, samples, mel frames, encoder tokens and chunks.

All code in sca counts time in these units. A `Grid` can only be created if its chunk is a whole number of samples at
both rates and a whole number of mel frames.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import floor

from sca.errors import GridError

__all__ = [
    "HEARD_HZ",
    "MAX_SECONDS",
    "MEL_HOP_SAMPLES",
    "SPOKEN_HZ",
    "Grid",
    "encoder_tokens",
    "half_up",
    "samples_to_seconds",
    "seconds_to_samples",
]

HEARD_HZ = 16_000
"""Sample rate of the model input."""
SPOKEN_HZ = 24_000
"""Sample rate of the model output."""
MEL_HOP_SAMPLES = 160
"""Hop of the Whisper log-mel spectrogram at 16 kHz: 10 ms."""
MAX_SECONDS = 86_400
"""Upper bound of a duration in settings and options, in seconds: one day."""


def half_up(value: Fraction) -> int:
    """Round to the nearest integer, halves up. Python's `round` rounds halves to even, which would shift the grid."""
    return (2 * value.numerator + value.denominator) // (2 * value.denominator)


def seconds_to_samples(seconds: float | str | Fraction, rate_hz: int) -> int:
    """Convert a time to the nearest sample, halves up.

    Args:
        seconds: The time. Text and `Fraction` are exact; a float is read as the decimal number that it prints as.
        rate_hz: The sample rate, in Hz.
    """
    if isinstance(seconds, float):
        found = seconds * rate_hz + 0.5
        # Rounding errors are below 0.0004 there, so only times near the edge between two samples need exact numbers.
        if abs(found) < 2**40 and abs(found - round(found)) > 0.001:
            return floor(found)
        return half_up(Fraction(repr(float(seconds))) * rate_hz)
    return half_up(Fraction(seconds) * rate_hz)


def samples_to_seconds(samples: int, rate_hz: int) -> float:
    """Convert a sample index to seconds."""
    return samples / rate_hz


def encoder_tokens(mel_frames: int) -> int:
    """Return the number of tokens that the Qwen3-Omni audio encoder produces for one item.

    Three stride-2 convolutions (each halves the length, rounded up) run over pieces of 100 frames: 32 → 4, 64 → 8, 100
    → 13, 3000 → 390.
    Source: `_get_feat_extract_output_lengths` in transformers' modeling_qwen3_omni_moe.py.

    Args:
        mel_frames: Log-mel frames of the item.

    Raises:
        ValueError: `mel_frames` is negative.
    """
    if mel_frames < 0:
        raise ValueError(f"mel_frames must not be negative, got {mel_frames}")

    def halved_thrice(frames: int) -> int:
        for _ in range(3):
            frames = -(-frames // 2)
        return frames

    pieces, rest = divmod(mel_frames, 100)
    return pieces * 13 + halved_thrice(rest)


@dataclass(frozen=True, slots=True)
class Grid:
    """The grid of encoder frames and chunks.

    Attributes:
        frame_hz: Encoder frames (audio tokens) per second.
        frames_per_chunk: Audio tokens per chunk of input.

    Raises:
        GridError: A chunk is not a whole number of samples or mel frames. The message names the number.
    """

    frame_hz: Fraction = Fraction(25, 2)
    frames_per_chunk: int = 4

    def __post_init__(self) -> None:
        if self.frame_hz <= 0:
            raise GridError(f"audio.frame_hz must be positive, got {float(self.frame_hz):g}")
        if self.frames_per_chunk < 1:
            raise GridError(f"audio.frames_per_chunk must be at least 1, got {self.frames_per_chunk}")
        chunk_s = self.frames_per_chunk / self.frame_hz
        for rate_hz, what in ((HEARD_HZ, "input"), (SPOKEN_HZ, "output")):
            samples = chunk_s * rate_hz
            if samples.denominator != 1:
                raise GridError(
                    f"a chunk of {self.frames_per_chunk} frames at {float(self.frame_hz):g} Hz is {float(samples):.6g} samples "
                    f"at {rate_hz} Hz ({what}), which is not a whole number",
                    hint="choose frame_hz and frames_per_chunk so that a chunk is whole at 16000 and 24000 Hz, as 12.5 and 4 do",
                )
        mel = Fraction(self.chunk_samples(HEARD_HZ), MEL_HOP_SAMPLES)
        if mel.denominator != 1:
            raise GridError(
                f"a chunk of {self.chunk_samples(HEARD_HZ)} samples is {float(mel):.6g} log-mel frames "
                f"of {MEL_HOP_SAMPLES} samples, which is not a whole number",
                hint="choose a chunk that is a multiple of 10 ms",
            )
        tokens = encoder_tokens(int(mel))
        if tokens != self.frames_per_chunk:
            raise GridError(
                f"a chunk of {int(mel)} log-mel frames gives {tokens} encoder tokens, "
                f"not the {self.frames_per_chunk} of audio.frames_per_chunk",
                hint="the Qwen3-Omni encoder gives 12.5 tokens a second of chunks up to 0.96 s; keep audio.frame_hz at 12.5",
            )

    @property
    def chunk_s(self) -> Fraction:
        """Duration of a chunk in seconds, exact."""
        return self.frames_per_chunk / self.frame_hz

    def chunk_samples(self, rate_hz: int) -> int:
        """Return the number of samples in a chunk.

        Args:
            rate_hz: The sample rate, in Hz. 16 and 24 kHz always divide.

        Raises:
            GridError: The chunk is not a whole number of samples at this rate.
        """
        samples = self.chunk_s * rate_hz
        if samples.denominator != 1:
            raise GridError(
                f"a chunk of {float(self.chunk_s):g} s is {float(samples):.6g} samples at {rate_hz} Hz, not a whole number"
            )
        return int(samples)

    @property
    def heard_samples(self) -> int:
        """Samples in a chunk at 16 kHz (5120 by default)."""
        return self.chunk_samples(HEARD_HZ)

    @property
    def spoken_samples(self) -> int:
        """Samples in a chunk at 24 kHz (7680 by default)."""
        return self.chunk_samples(SPOKEN_HZ)

    @property
    def mel_frames(self) -> int:
        """Log-mel frames in a chunk (32 by default)."""
        return self.heard_samples // MEL_HOP_SAMPLES

    def chunks(self, samples: int, rate_hz: int = HEARD_HZ) -> int:
        """Return the number of chunks that contain `samples`. The last chunk can be partly empty."""
        return -(-samples // self.chunk_samples(rate_hz))
