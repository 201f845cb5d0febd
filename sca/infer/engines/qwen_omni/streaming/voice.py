"""The voice of a session: talker and vocoder, which turn the tokens of a chunk into a chunk of audio.

From the thinker it needs only the content of a `ThoughtPacket` (`token_ids` and `hidden_states`) and the embeddings of
two marker tokens, so it can run in another process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sca.infer.engines.qwen_omni.streaming.code2wav import Code2WavStream
from sca.infer.engines.qwen_omni.streaming.devices import device_of
from sca.infer.engines.qwen_omni.streaming.sampling import sampler
from sca.infer.engines.qwen_omni.streaming.talker import TalkerStream
from sca.units import Grid

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

__all__ = ["Voice", "VoiceSettings"]


@dataclass(frozen=True, slots=True)
class VoiceSettings:
    """Settings of a voice.

    Attributes:
        grid: The grid of the session.
        speaker_id: The codec token of the speaker.
        not_text: Token ids that are not spoken.
        temperature: The sampling temperature; 0 selects the most likely code.
        top_k: Number of most likely codes to sample from.
        seed: Seed of the sampling.
        budget: Maximum number of frames in the cache of the talker.
    """

    grid: Grid
    speaker_id: int
    not_text: frozenset[int]
    temperature: float
    top_k: int
    seed: int
    budget: int


class Voice:
    """The talker and the vocoder of one session."""

    def __init__(self, model: Module, marks: Tensor, settings: VoiceSettings) -> None:
        """Create the streams.

        Args:
            model: The model, of which the talker and the vocoder are used.
            marks: Embeddings of tts_pad and tts_bos from the thinker, `(1, 2, dim)`.
            settings: The settings of the voice.
        """
        self._talker, self._settings = model.talker, settings
        self._device = device_of(self._talker.text_projection)
        self._pad, bos = self._talker.text_projection(marks.to(self._device)).chunk(2, 1)
        pick = sampler(settings.temperature, settings.top_k, settings.seed)
        self._frames = TalkerStream(self._talker, settings.speaker_id, self._pad, bos, pick, settings.budget)
        self._vocoder = Code2WavStream(model.code2wav)

    @property
    def held_bytes(self) -> int:
        """Size of the keys and values in the caches of talker and vocoder, in bytes."""
        return self._frames.held_bytes + self._vocoder.held_bytes

    def speak(self, tokens: Sequence[int], hidden: Tensor) -> np.ndarray:
        """Generate one chunk of audio. The frames of the chunk are divided equally among its tokens.

        Args:
            tokens: The tokens of the chunk.
            hidden: The hidden states that condition the talker, one per token: `(1, len(tokens), dim)`.

        Returns:
            float32 `(spoken_samples,)` at 24 kHz.
        """
        import torch

        grid, frames = self._settings.grid, self._settings.grid.frames_per_chunk
        projected = self._talker.text_projection(hidden.to(self._device))
        self._frames.open_chunk(frames)
        codes = []
        for j in range(frames):
            i = j * len(tokens) // frames
            silent = tokens[i] in self._settings.not_text
            codes.append(self._frames.frame(self._pad if silent else projected[:, i : i + 1]))
        wave: np.ndarray = self._vocoder.push(torch.stack(codes, -1))[0, 0].float().cpu().numpy()
        # The first output of the vocoder is 555 samples shorter. Silence before it prevents an underrun of the
        # playback.
        return np.pad(wave, (grid.spoken_samples - len(wave), 0))
