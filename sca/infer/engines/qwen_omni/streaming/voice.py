"""The voice of a session: a talker and a vocoder, told token by token what to say, a chunk of sound at a time.

Needs of the thinker no more than what a `ThoughtPacket` carries (`token_ids` and `hidden_states`) and the embeddings of two
marks, so it can live in another process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sca.infer.engines.qwen_omni.streaming.code2wav import Code2WavStream
from sca.infer.engines.qwen_omni.streaming.sampling import chooser
from sca.infer.engines.qwen_omni.streaming.talker import TalkerStream
from sca.units import Grid

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Voice", "VoiceSettings"]


@dataclass(frozen=True, slots=True)
class VoiceSettings:
    """How it sounds.

    speaker_id: the codec token of the voice.   not_text: tokens that say nothing.   budget: frames it remembers.
    """

    grid: Grid
    speaker_id: int
    not_text: frozenset[int]
    temperature: float
    top_k: int
    seed: int
    budget: int


class Voice:
    """model: the talker and the vocoder of it are used.   marks: the thinker's embeddings of tts_pad and tts_bos, `(1, 2, dim)`."""

    def __init__(self, model: Any, marks: Tensor, settings: VoiceSettings) -> None:
        self._talker, self._settings = model.talker, settings
        self._pad, bos = self._talker.text_projection(marks).chunk(2, 1)
        pick = chooser(settings.temperature, settings.top_k, settings.seed, self._pad.device)
        self._frames = TalkerStream(self._talker, settings.speaker_id, self._pad, bos, pick, settings.budget)
        self._vocoder = Code2WavStream(model.code2wav)

    @property
    def held_bytes(self) -> int:
        """Bytes of keys and values in the caches of talker and vocoder."""
        return self._frames.held_bytes + self._vocoder.held_bytes

    def speak(self, tokens: Sequence[int], told: Tensor) -> np.ndarray:
        """One chunk of sound, float32 `(spoken_samples,)`; each token is told to its share of the chunk's frames.

        told: what the talker is told of each token, `(1, len(tokens), dim)`.
        """
        import torch

        grid, frames = self._settings.grid, self._settings.grid.frames_per_chunk
        projected = self._talker.text_projection(told)
        self._frames.open_chunk(frames)
        codes = []
        for j in range(frames):
            i = j * len(tokens) // frames
            silent = tokens[i] in self._settings.not_text
            codes.append(self._frames.frame(self._pad if silent else projected[:, i : i + 1]))
        wave: np.ndarray = self._vocoder.push(torch.stack(codes, -1))[0, 0].float().cpu().numpy()
        # The vocoder's first piece is 555 samples short for good: silence before it, or play-out would run dry.
        return np.pad(wave, (grid.spoken_samples - len(wave), 0))
