"""The voice of a session: talker and vocoder, which turn the tokens of a chunk into a chunk of audio.

From the thinker it needs only the content of a `ThoughtPacket` (`token_ids` and `hidden_states`) and the embeddings of
two marker tokens, so it can run in another process. It runs only while it is needed (`VoiceGate`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from sca.infer.engines.qwen_omni.streaming.code2wav import Code2WavStream, look_ahead
from sca.infer.engines.qwen_omni.streaming.devices import device_of
from sca.infer.engines.qwen_omni.streaming.sampling import Sampler
from sca.infer.engines.qwen_omni.streaming.talker import TalkerStream
from sca.units import Grid

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

__all__ = ["Voice", "VoiceGate", "VoicePhase", "VoiceSettings", "segment_phase"]

_SILENT_PEAK = 1e-3
"""-60 dBFS, 33 steps of int16."""
_MARGIN = 2
"""Chunks of silence after the lead before a voice stops. One silent chunk is common between two words."""


class VoicePhase(IntEnum):
    """Where the talker is in a segment of speech, with `qwen.voice` per-segment.

    - SPEAKING: it receives the text of a turn.
    - ENDING: it has received the end of the text, and may choose its end token.
    - ENDED: it chose it, or a turn has not begun. There is no sound until the next text.
    """

    SPEAKING = 0
    ENDING = 1
    ENDED = 2


def segment_phase(phase: VoicePhase, *, has_text: bool, turn_ended: bool) -> tuple[VoicePhase, bool]:
    """Return the phase of a chunk, and whether a segment begins with it.

    Args:
        phase: The phase after the chunk before.
        has_text: Whether the chunk has text.
        turn_ended: Whether the turn ended with the chunk before.
    """
    if has_text:
        return VoicePhase.SPEAKING, turn_ended or phase is not VoicePhase.SPEAKING
    ending = turn_ended and phase is VoicePhase.SPEAKING
    return (VoicePhase.ENDING if ending else phase), False


class VoiceGate:
    """Decides in which chunks the voice of a session runs, and talker and vocoder with it.

    It runs in a chunk with any token but silence, and afterwards until its sound has ended: until
    `lead_chunks + 2` successive chunks had an answer of silence and a wave below -60 dBFS. In all other chunks the session
    is silent, and its talker and vocoder do not change: they continue later as if no time had passed.

    Attributes:
        running: Whether the voice runs in the next chunk for any answer.
    """

    def __init__(self, silence: int, lead_chunks: int) -> None:
        """Create the gate of a session that has not spoken yet.

        Args:
            silence: Id of the silence token.
            lead_chunks: Chunks by which a token precedes its sound.
        """
        self._silence, self._tail = silence, lead_chunks + _MARGIN
        self._left = 0

    @property
    def running(self) -> bool:  # noqa: D102 - see the class
        return self._left > 0

    def runs(self, tokens: Sequence[int]) -> bool:
        """Return whether the voice runs in a chunk with this answer."""
        return self.running or any(token != self._silence for token in tokens)

    def follow(self, tokens: Sequence[int], wave: np.ndarray) -> None:
        """Process the answer and the wave of a chunk in which the voice ran."""
        silent = all(token == self._silence for token in tokens) and bool(np.abs(wave).max() < _SILENT_PEAK)
        self._left = self._left - 1 if silent else self._tail


@dataclass(frozen=True, slots=True)
class VoiceSettings:
    """Settings of a voice.

    Attributes:
        grid: The grid of the session.
        speaker_id: The codec token of the speaker.
        not_text: Token ids that are not spoken.
        silence: Id of the silence token.
        lead_chunks: See `VoiceGate`.
        temperature: The sampling temperature; 0 selects the most likely code.
        top_k: Number of most likely codes to sample from.
        seed: Seed of the sampling.
        budget: Maximum number of frames in the cache of the talker.
        tells_once: Whether each token conditions one frame, and padding the rest of its chunk.
        per_segment: Whether the talker begins again with each turn, and ends it.
    """

    grid: Grid
    speaker_id: int
    not_text: frozenset[int]
    silence: int
    lead_chunks: int
    temperature: float
    top_k: int
    seed: int
    budget: int
    tells_once: bool = False
    per_segment: bool = False


class Voice:
    """The talker and the vocoder of one session.

    With `per_segment` it is as the model's own `generate` for each turn: a new context, at the end of the text tts_eos,
    and silence after codec_eos. The end of the text is known when the turn has ended, not at its last token.
    """

    def __init__(self, model: Module, marks: Tensor, settings: VoiceSettings) -> None:
        """Create the streams.

        Args:
            model: The model, of which the talker and the vocoder are used.
            marks: Embeddings of tts_pad, tts_bos and tts_eos from the thinker, `(1, 3, dim)`.
            settings: The settings of the voice.
        """
        self._model, self._talker, self._settings = model, model.talker, settings
        self._device = device_of(self._talker.text_projection)
        self._pad, self._bos, self._eos = self._talker.text_projection(marks.to(self._device)).chunk(3, 1)
        self._pick = Sampler(settings.temperature, settings.top_k, settings.seed)
        self._books = int(self._talker.config.num_code_groups)
        self._phase = VoicePhase.ENDED if settings.per_segment else VoicePhase.SPEAKING
        self._gate = VoiceGate(settings.silence, settings.lead_chunks)
        self._begin()

    def _begin(self) -> None:
        settings = self._settings
        self._frames = TalkerStream(
            self._talker, settings.speaker_id, self._pad, self._bos, self._pick, settings.budget
        )
        self._vocoder = Code2WavStream(self._model.code2wav)

    @property
    def held_bytes(self) -> int:
        """Size of the keys and values in the caches of talker and vocoder, in bytes."""
        return self._frames.held_bytes + self._vocoder.held_bytes

    def speak(self, tokens: Sequence[int], hidden: Tensor, *, turn_ended: bool = False) -> np.ndarray:
        """Generate one chunk of audio: zeros while the voice does not run.

        The frames of the chunk are divided equally among its tokens, or with `tells_once` each token has one frame.

        Args:
            tokens: The tokens of the chunk.
            hidden: The hidden states that condition the talker, one per token: `(1, len(tokens), dim)`.
            turn_ended: Whether the turn ended with the chunk before.

        Returns:
            float32 `(spoken_samples,)` at 24 kHz.
        """
        grid = self._settings.grid
        texts = self._texts(tokens, self._talker.text_projection(hidden.to(self._device)))
        if self._settings.per_segment:
            before = self._phase
            has_text = any(token not in self._settings.not_text for token in tokens)
            self._phase, begins = segment_phase(before, has_text=has_text, turn_ended=turn_ended)
            if begins:
                self._begin()
            if self._phase is VoicePhase.ENDED:
                self._pick.skip(len(texts) * self._books)
                return np.zeros(grid.spoken_samples, np.float32)
            if self._phase is VoicePhase.ENDING and before is VoicePhase.SPEAKING:
                texts[0] = self._eos
                return self._generate(texts, end_from=1)
        elif not self._gate.runs(tokens):
            self._pick.skip(len(texts) * self._books)
            return np.zeros(grid.spoken_samples, np.float32)
        wave = self._generate(texts, end_from=0 if self._phase is VoicePhase.ENDING else len(texts))
        self._gate.follow(tokens, wave)
        return wave

    def _texts(self, tokens: Sequence[int], projected: Tensor) -> list[Tensor]:
        """Return the condition of each frame of a chunk, `(1, 1, dim)` each."""
        settings, frames = self._settings, self._settings.grid.frames_per_chunk
        texts = []
        for j in range(frames):
            i = j if settings.tells_once else j * len(tokens) // frames
            is_text = i < len(tokens) and tokens[i] not in settings.not_text
            texts.append(projected[:, i : i + 1] if is_text else self._pad)
        return texts

    def _generate(self, texts: Sequence[Tensor], end_from: int) -> np.ndarray:
        """Generate the audio of a chunk. From frame `end_from` on, the talker may end it; then the rest is silence."""
        import torch

        grid, frames = self._settings.grid, len(texts)
        self._frames.open_chunk(frames)
        codes: list[Tensor] = []
        for j, text in enumerate(texts):
            frame = self._frames.frame_or_end(text) if j >= end_from else self._frames.frame(text)
            if frame is None:
                self._phase = VoicePhase.ENDED
                self._pick.skip((frames - j) * self._books - 1)
                break
            codes.append(frame)
        spoken = len(codes)
        empty = torch.zeros(1, self._books, dtype=torch.long, device=codes[0].device if codes else self._device)
        codes += [empty] * (frames - spoken)
        wave: np.ndarray = self._vocoder.push(torch.stack(codes, -1))[0, 0].float().cpu().numpy()
        # The first output of the vocoder is 555 samples shorter. Silence before it prevents an underrun of the
        # playback.
        wave = np.pad(wave, (grid.spoken_samples - len(wave), 0))
        if spoken < frames:
            wave[look_ahead(self._model.code2wav) + spoken * grid.spoken_samples // frames :] = 0
        return wave
