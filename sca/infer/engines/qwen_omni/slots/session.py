"""A session in a slot of the engine."""

from __future__ import annotations

import heapq
import weakref
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from typing_extensions import override

from sca.infer.engine import EngineSession, SessionConfig
from sca.infer.engines.qwen_omni.slots.step import ChunkStep, Shape, TalkerState, ThinkerState
from sca.infer.engines.qwen_omni.streaming.context_window import ContextWindow, Eviction
from sca.infer.engines.qwen_omni.streaming.engine import QwenOmni, QwenSession
from sca.infer.engines.qwen_omni.streaming.sampling import SamplingNoise
from sca.infer.engines.qwen_omni.streaming.talker import TalkerStream
from sca.infer.engines.qwen_omni.streaming.voice import VoiceGate, VoicePhase, segment_phase
from sca.infer.frames import AudioInput, Frame

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["SlotEngine", "SlotSession"]


class SlotEngine(QwenOmni, ABC):
    """The part of the engine over slots that its sessions use.

    Attributes:
        slots: Number of slots.
        books: Codes per frame.
        shape: The constants of a chunk.
        chunk: The stages with their caches.
    """

    slots: int
    books: int
    shape: Shape
    chunk: ChunkStep
    _free: list[int]

    def window(self) -> ContextWindow:
        """Return the window of the thinker of a new session."""
        positions = self.model.config.thinker_config.text_config.max_position_embeddings
        return ContextWindow(self.qwen.context_tokens, positions)

    def talker_window(self) -> ContextWindow:
        """Return the window of the talker of a new session."""
        positions = self.model.config.talker_config.text_config.max_position_embeddings
        return ContextWindow(self.qwen.talker_context_frames, positions)

    def take_slot(self, session: SlotSession) -> tuple[int, weakref.finalize[Any, Any]]:
        """Take the lowest free slot. The returned finalizer releases it; so does the deletion of the session."""
        slot = heapq.heappop(self._free)
        return slot, weakref.finalize(session, heapq.heappush, self._free, slot)

    @abstractmethod
    def step_batch(
        self, sessions: Sequence[EngineSession], inputs: Sequence[AudioInput]
    ) -> Sequence[Sequence[Frame] | Exception]:
        """Step several sessions in one call; see `BatchEngine.step_batch`."""


class SlotSession(QwenSession):
    """A session with caches that are a row of the caches of the engine."""

    _engine: SlotEngine

    def __init__(self, engine: SlotEngine, config: SessionConfig) -> None:
        self.slot, self._give_back = engine.take_slot(self)
        try:
            super().__init__(engine, config)
        except BaseException:
            self._give_back()
            raise

    @override
    def _begin_thinking(self) -> None:
        import torch

        engine = self._engine
        self._window, self._carried = engine.window(), -1
        if self._prompt:
            engine.chunk.take_prompt(self.slot, torch.tensor([self._prompt], device=engine.device))
            self._window.keep(len(self._prompt))

    @override
    def _begin_voice(self) -> None:
        self._begin_segment()
        self._random = SamplingNoise(self._engine.qwen.seed)
        self.gate = VoiceGate(self._engine.silence, self._engine.lead_chunks)
        self._phase = self._before = VoicePhase.ENDED if self._segmented else VoicePhase.SPEAKING

    @property
    def _segmented(self) -> bool:
        return self._options.voice == "per-segment"

    def _begin_segment(self) -> None:
        engine = self._engine
        opening = TalkerStream.opening(engine.model.talker, engine.speaker_id, engine.chunk.pad, engine.chunk.bos)
        engine.chunk.take_opening(self.slot, opening)
        self._said = engine.talker_window()
        self._said.keep(TalkerStream.OPENING)
        self._frames = self._vocoder = 0

    @override
    def _restart_voice(self) -> None:
        self._engine.chunk.clear_voice(self.slot)
        super()._restart_voice()

    @property
    @override
    def window(self) -> ContextWindow:
        return self._window

    @property
    @override
    def held_bytes(self) -> int:
        return self._engine.chunk.held_bytes // self._engine.slots

    def open_chunk(self, heard: AudioInput) -> None:
        """Make room for a chunk in the cache of the thinker, and draw its random numbers, also if the voice does not run."""
        self._listen, self._ran = self.must_listen(heard), False
        self._text_noise = self._choice.draw(self._engine.qwen.max_new_tokens)
        step = self._engine.chunk
        held = self._window.length - (self._carried >= 0)
        change = self._window.open_chunk(self._chunk_tokens)
        if change.drop > held - change.first:  # the pending token is dropped with its chunk
            change, self._carried = Eviction(change.first, held - change.first, change.back), -1
        thinker = self._engine.model.thinker.model.language_model
        self.noise = self._random.draw(self._grid.frames_per_chunk, self._engine.books)
        if change:
            step.cache.apply(self.slot, change, held, thinker.rotary_emb.inv_freq)

    @property
    def runs_anyway(self) -> bool:
        """Whether the voice runs in the current chunk for any answer."""
        return self._phase is VoicePhase.SPEAKING and not self.turn_ended if self._segmented else self.gate.running

    @property
    def awaits_answer(self) -> bool:
        """Whether a segment of speech may begin, for which the host must know the answer."""
        return self._segmented and not self.runs_anyway

    def runs(self, tokens: Sequence[int]) -> bool:
        """Return whether the voice runs in the current chunk, whose answer is known."""
        if not self._segmented:
            return self.gate.runs(tokens)
        return self._next_phase(tokens)[0] is not VoicePhase.ENDED

    def _next_phase(self, tokens: Sequence[int]) -> tuple[VoicePhase, bool]:
        has_text = any(token not in self._engine.grammar.not_text for token in tokens)
        return segment_phase(self._phase, has_text=has_text, turn_ended=self.turn_ended)

    def open_voice(self, tokens: Sequence[int] | None) -> None:
        """Make room for a chunk in the caches of talker and vocoder. If the voice does not run, the next chunk has it.

        Args:
            tokens: The answer, if it is known already.
        """
        step = self._engine.chunk
        self._before, self._ran = self._phase, True
        if self._segmented and tokens is not None:
            self._phase, begins = self._next_phase(tokens)
            if begins:
                step.clear_voice(self.slot)
                self._begin_segment()
        said = self._said.length
        change = self._said.open_chunk(self._grid.frames_per_chunk)
        if change:
            step.talker.cache.apply(self.slot, change, said, self._engine.model.talker.model.rotary_emb.inv_freq)
        if self._vocoder + self._grid.frames_per_chunk > step.vocoder.positions:
            begin = step.vocoder.window - 1
            step.vocoder.move_back(self.slot, self._vocoder - begin)
            self._vocoder = begin

    def thinker_state(self) -> ThinkerState:
        """Return the state of the slot for the thinker in the current chunk."""
        waits = self._carried >= 0
        return ThinkerState(
            active=1,
            carried=self._carried,
            length=self._window.length - waits,
            position=self._window.position - waits,
            state=self._state,
            listen=int(self._listen),
        )

    def text_inputs(self) -> tuple[np.ndarray, np.ndarray]:
        """Return options with random numbers, and recent tokens, for the thinker in the current chunk."""
        return np.concatenate([self._choice.options, self._text_noise]), self._choice.recent

    def talker_state(self) -> TalkerState:
        """Return the state of the slot for talker and vocoder in the current chunk."""
        ending = self._phase is VoicePhase.ENDING
        told_end = ending and self._before is VoicePhase.SPEAKING
        return TalkerState(
            active=1,
            running=int(self._segmented or self.gate.running),
            length=self._said.length,
            position=self._said.position,
            frames=self._frames,
            vocoder=self._vocoder,
            once=int(self._options.tell == "once"),
            told_end=int(told_end),
            end_from=int(told_end) if ending else self._grid.frames_per_chunk,
        )

    def tokens_of(self, answer: np.ndarray) -> list[int]:
        """Return the valid tokens of the row of the slot in the answers."""
        return [int(one) for one in answer[: answer[-1]]]

    def answer(self, heard: AudioInput, answer: np.ndarray, hidden: Tensor, wave: np.ndarray | None) -> list[Frame]:
        """Return the output frames of a chunk.

        Args:
            heard: The chunk of input.
            answer: The row of the slot in the answers.
            hidden: The hidden states of the tokens, `(1, tokens, dim)`.
            wave: The row of the slot in the waves, if there is one.
        """
        shape, tokens = self._engine.shape, self.tokens_of(answer)
        self._state = self._engine.grammar.follow(self._state, tokens)
        self._window.add(self._grid.frames_per_chunk + len(tokens))
        self._carried = tokens[-1] if shape.carry and len(tokens) == shape.tokens else -1
        return self.frames(heard, tokens, hidden[:, : len(tokens)], self._spoken_wave(tokens, wave))

    def _spoken_wave(self, tokens: list[int], wave: np.ndarray | None) -> np.ndarray:
        """Return the wave of a chunk: zeros if the voice did not run."""
        if wave is None or not (self._ran if self._segmented else self.gate.runs(tokens)):
            return np.zeros(self._grid.spoken_samples, np.float32)
        if self._engine.shape.segments:
            if self._segmented and wave[-1] < self._engine.shape.frames:
                self._phase = VoicePhase.ENDED
            wave = wave[:-1]
        self._said.add(self._engine.shape.frames)
        self._frames += self._engine.shape.frames
        self._vocoder += self._engine.shape.frames
        self.gate.follow(tokens, wave)
        return wave

    @override
    def step(self, heard: AudioInput) -> Sequence[Frame]:
        (result,) = self._engine.step_batch([self], [heard])
        if isinstance(result, Exception):
            raise result
        return result

    @override
    def close(self) -> None:
        self._guard.close()
        self._give_back()
