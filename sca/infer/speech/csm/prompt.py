"""The prompt of CSM: earlier segments with their audio, and the text to speak.

Format, as `CsmProcessor` of transformers makes it: for every segment the tokens of `[SPEAKER]TEXT` between the marks of a
text, then the codes of its audio, one position per frame, and a frame of end codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sca.audio.resample import resample
from sca.errors import InputError
from sca.units import SPOKEN_HZ

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

__all__ = ["MAX_SPEAKER", "Segment", "embed_prompt"]

MAX_SPEAKER = 99
_MIN_RATE_HZ, _MAX_RATE_HZ = 4000, 384_000


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """An earlier utterance of a speaker.

    Attributes:
        speaker: The number of the speaker, 0 to 99.
        text: The words.
        samples: The audio, float32 mono `(n,)`.
        sample_rate: Its rate in Hz; other rates than 24000 are resampled.
    """

    speaker: int
    text: str
    samples: NDArray[np.float32]
    sample_rate: int = SPOKEN_HZ


def embed_prompt(model: Module, tokenizer: Any, segments: Sequence[Segment], text: str, speaker: int) -> Tensor:
    """Return the embedded prompt, `(1, n, dim)`.

    Args:
        model: A `CsmForConditionalGeneration`.
        tokenizer: Its tokenizer.
        segments: The earlier utterances, in order.
        text: The text to speak.
        speaker: The number of its speaker.

    Raises:
        InputError: A speaker, a text or the audio of a segment cannot be used.
    """
    import torch

    parts = []
    with torch.inference_mode():
        for number, segment in enumerate(segments, 1):
            where = f"context segment {number}"
            parts.append(_text(model, tokenizer, segment.text, segment.speaker, where))
            parts.append(_audio(model, segment, where))
        parts.append(_text(model, tokenizer, text, speaker, "the speech"))
        return torch.cat(parts, 1)


def _text(model: Module, tokenizer: Any, text: str, speaker: int, where: str) -> Tensor:
    import torch

    if not 0 <= speaker <= MAX_SPEAKER:
        raise InputError(f"{where}: the speaker should be 0 to {MAX_SPEAKER}, got {speaker}")
    if not text.strip():
        raise InputError(f"{where} has no text")
    ids = tokenizer.encode(f"[{speaker}]{text.strip()}", add_special_tokens=True)
    embedded: Tensor = model.embed_text_tokens(torch.tensor([ids], device=model.lm_head.weight.device))
    return embedded


def _audio(model: Module, segment: Segment, where: str) -> Tensor:
    import torch

    samples = _checked(segment, where)
    weight = model.lm_head.weight
    wave = torch.from_numpy(samples).to(weight.device)[None, None]
    codes = model.codec_model.encode(wave, num_quantizers=model.config.num_codebooks).audio_codes.transpose(1, 2)
    end = torch.full_like(codes[:, :1], model.config.codebook_eos_token_id)
    embedded: Tensor = model.backbone_model.embed_tokens(torch.cat([codes, end], 1))
    return embedded


def _checked(segment: Segment, where: str) -> NDArray[np.float32]:
    samples, rate_hz = np.asarray(segment.samples), segment.sample_rate
    if samples.ndim != 1 or not np.issubdtype(samples.dtype, np.floating):
        raise InputError(f"{where}: the audio should be float mono (n,), got {samples.dtype} {samples.shape}")
    if not len(samples) or not np.isfinite(samples).all():
        raise InputError(f"{where}: the audio {'is empty' if not len(samples) else 'has values that are not finite'}")
    if not _MIN_RATE_HZ <= rate_hz <= _MAX_RATE_HZ:
        raise InputError(f"{where}: the sample rate should be {_MIN_RATE_HZ} to {_MAX_RATE_HZ} Hz, got {rate_hz}")
    return resample(samples.astype(np.float32, copy=False), rate_hz, SPOKEN_HZ)
