"""The engine over slots: sessions are stepped in one call, and each gets the same results as alone."""

from __future__ import annotations

import heapq
import weakref
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sca.config import DuplexConfig, QwenConfig
from sca.errors import ConfigError, ScaError
from sca.infer.engine import EngineSession, SessionConfig
from sca.infer.engines.qwen_omni.slots.audio_encoder import tokens_of
from sca.infer.engines.qwen_omni.slots.cuda_graphs import StepRunner, span_of
from sca.infer.engines.qwen_omni.slots.step import ChunkStep, Shape, SlotState
from sca.infer.engines.qwen_omni.streaming.context_window import ContextWindow, Eviction
from sca.infer.engines.qwen_omni.streaming.engine import QwenOmni, QwenSession
from sca.infer.engines.qwen_omni.streaming.sampling import SamplingNoise
from sca.infer.engines.qwen_omni.streaming.talker import TalkerStream
from sca.infer.frames import AudioInput, Frame
from sca.infer.generation import GenerationOptions
from sca.tokenizer import TextTokenizer
from sca.units import Grid

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

__all__ = ["SlotOmni"]


class SlotOmni(QwenOmni):
    """A `QwenOmni` with at most `qwen.slots` sessions, all with the grid of the first.

    Attributes:
        runner: Runs the steps; exists from the first session on.
    """

    def __init__(self, model: Module, tokenizer: TextTokenizer, qwen: QwenConfig, duplex: DuplexConfig) -> None:
        super().__init__(model, tokenizer, qwen, duplex)
        devices = {weight.device for weight in model.parameters()}
        if len(devices) > 1:
            raise ConfigError(
                f"qwen.slots is {qwen.slots}, but the model is on {len(devices)} devices",
                hint="slots need the model on one device: set qwen.device_map to it, or qwen.slots to 0",
            )
        if qwen.carry_second_token and self.layer:
            raise ConfigError(
                f"qwen.carry_second_token with qwen.conditioning {qwen.conditioning}: the hidden state of the last token "
                "would arrive a chunk late",
                hint="set qwen.conditioning to embed, or qwen.carry_second_token to false",
            )
        self.info = replace(self.info, follows_generation=False)
        self.slots = qwen.slots or 1
        self._free = list(range(self.slots))
        self._grid: Grid | None = None

    def open(self, session_config: SessionConfig) -> EngineSession:
        """Begin a conversation.

        Args:
            session_config: The grid and the prompt of the session.

        Raises:
            ConfigError: The grid differs from that of the first session, or the prompt is too long.
            ScaError: All slots are in use.
        """
        import torch

        options = GenerationOptions.of(session_config.generation.over(self.qwen))
        if options != GenerationOptions.of(QwenConfig()):
            raise ConfigError("slots have the default generation options only", hint="set qwen.slots to 0")

        with torch.inference_mode():
            self._prepare(session_config.grid)
        if not self._free:
            raise ScaError(
                f"all {self.slots} slots of the engine are in use", hint="raise qwen.slots, or lower serve.max_sessions"
            )
        return _SlotSession(self, session_config)

    def _prepare(self, grid: Grid) -> None:
        """Create the caches for a grid."""
        if self._grid is not None:
            if grid != self._grid:
                raise ConfigError("the slots of the engine already use another grid", hint="use one grid per engine")
            return
        if tokens_of(self.model.thinker.model.audio_tower, grid.mel_frames) != grid.frames_per_chunk:
            raise ConfigError(
                f"a chunk of {grid.mel_frames} mel frames does not give {grid.frames_per_chunk} tokens, which slots require",
                hint="set qwen.slots to 0",
            )
        qwen = self.qwen
        self.shape = Shape(
            frames=grid.frames_per_chunk,
            tokens=self.tokens_per_chunk,
            most=qwen.max_new_tokens,
            layer=self.layer,
            carry=qwen.carry_second_token,
            temperature=qwen.talker_temperature,
            top_k=qwen.talker_top_k,
        )
        self._thinks, self._says = self.window(), self.talker_window()
        room, said_room = self._thinks.budget, self._says.budget
        self.chunk = ChunkStep(self.model, self.mask, self.shape, self.slots, room, said_room)
        self.runner = StepRunner(self.chunk, graphs=qwen.cuda_graphs)
        self.books = self.model.config.talker_config.num_code_groups
        bins = self.model.config.thinker_config.audio_config.num_mel_bins
        self._still = np.zeros((bins, grid.mel_frames), np.float32)
        self._grid = grid
        self._capture()

    def _capture(self) -> None:
        """Capture the graphs for the beginning of conversations, so that no conversation waits for them."""
        if not self.runner.graphs:
            return
        for b in sorted({self._batch(slot) for slot in range(self.slots)}):
            self._run([None] * b, [self._still] * b)

    def window(self) -> ContextWindow:
        """Return the window of the thinker of a new session."""
        positions = self.model.config.thinker_config.text_config.max_position_embeddings
        return ContextWindow(self.qwen.context_tokens, positions)

    def talker_window(self) -> ContextWindow:
        """Return the window of the talker of a new session."""
        positions = self.model.config.talker_config.text_config.max_position_embeddings
        return ContextWindow(self.qwen.talker_context_frames, positions)

    def _batch(self, highest: int) -> int:
        """Return the number of slots to step for the highest active slot: on a GPU the next power of two, for few graphs.

        On a CPU it is all of them, so that sums are identical to the last bit for any set of active slots.
        """
        if self.device.type != "cuda":
            return self.slots
        return min(1 << highest.bit_length(), self.slots)

    def take_slot(self, session: _SlotSession) -> tuple[int, weakref.finalize[Any, Any]]:
        """Take the lowest free slot. The returned finalizer releases it; so does the deletion of the session."""
        slot = heapq.heappop(self._free)
        return slot, weakref.finalize(session, heapq.heappush, self._free, slot)

    def step_batch(
        self, sessions: Sequence[EngineSession], inputs: Sequence[AudioInput]
    ) -> Sequence[Sequence[Frame] | Exception]:
        """Step several sessions in one call; see `BatchEngine.step_batch`."""
        import torch

        results: list[Sequence[Frame] | Exception] = [()] * len(sessions)
        taken: dict[int, tuple[int, _SlotSession, np.ndarray]] = {}
        with torch.inference_mode():
            for i, (session, heard) in enumerate(zip(sessions, inputs, strict=True)):
                assert isinstance(session, _SlotSession)
                try:
                    taken[session.slot] = i, session, session.features(heard)
                    session.open_chunk()
                except Exception as error:  # noqa: BLE001 - the error of this session is returned to the caller
                    taken.pop(session.slot, None)
                    results[i] = error
            if taken:
                b = self._batch(max(taken))
                rows = [taken.get(slot) for slot in range(b)]
                out, hidden = self._run(
                    [None if row is None else row[1] for row in rows],
                    [self._still if row is None else row[2] for row in rows],
                )
                for slot, (i, session, _) in taken.items():
                    results[i] = session.answer(inputs[i], out[slot], hidden[slot : slot + 1])
        return results

    def _run(self, sessions: list[_SlotSession | None], features: list[np.ndarray]) -> tuple[np.ndarray, Tensor]:
        shape = self.shape
        numbers = [SlotState() if one is None else one.numbers() for one in sessions]
        unused = np.zeros((shape.frames, self.books), np.float32)
        noise = [unused if one is None else one.noise.draw(shape.frames, self.books) for one in sessions]
        ahead = shape.frames + shape.tokens
        cells = max(one.length for one in numbers) + ahead
        said = max(one.said_length for one in numbers) + shape.frames
        return self.runner(
            np.stack(features),
            np.array([one.row() for one in numbers], np.int64),
            np.stack(noise),
            span_of(cells, self._thinks.budget),
            span_of(said, self._says.budget),
        )


class _SlotSession(QwenSession):
    """A session with caches that are a row of the caches of the engine."""

    _engine: SlotOmni

    def __init__(self, engine: SlotOmni, config: SessionConfig) -> None:
        self.slot, self._give_back = engine.take_slot(self)
        try:
            super().__init__(engine, config)
        except BaseException:
            self._give_back()
            raise

    def _begin_thinking(self) -> None:
        import torch

        engine = self._engine
        self._window, self._carried = engine.window(), -1
        if self._prompt:
            engine.chunk.take_prompt(self.slot, torch.tensor([self._prompt], device=engine.device))
            self._window.keep(len(self._prompt))

    def _begin_voice(self) -> None:
        engine = self._engine
        opening = TalkerStream.opening(engine.model.talker, engine.speaker_id, engine.chunk.pad, engine.chunk.bos)
        engine.chunk.take_opening(self.slot, opening)
        self._said = engine.talker_window()
        self._said.keep(TalkerStream.OPENING)
        self._frames = self._vocoder = 0
        self.noise = SamplingNoise(engine.qwen.seed)

    def _restart_voice(self) -> None:
        self._engine.chunk.clear_voice(self.slot)
        super()._restart_voice()

    @property
    def window(self) -> ContextWindow:
        return self._window

    @property
    def held_bytes(self) -> int:
        return self._engine.chunk.held_bytes // self._engine.slots

    def open_chunk(self) -> None:
        """Make room for a chunk in all three caches."""
        step = self._engine.chunk
        held = self._window.length - (self._carried >= 0)
        change = self._window.open_chunk(self._chunk_tokens)
        if change.drop > held - change.first:  # the pending token is dropped with its chunk
            change, self._carried = Eviction(change.first, held - change.first, change.back), -1
        thinker = self._engine.model.thinker.model.language_model
        if change:
            step.cache.apply(self.slot, change, held, thinker.rotary_emb.inv_freq)
        said = self._said.length
        change = self._said.open_chunk(self._grid.frames_per_chunk)
        if change:
            step.talker.cache.apply(self.slot, change, said, self._engine.model.talker.model.rotary_emb.inv_freq)
        if self._vocoder + self._grid.frames_per_chunk > step.vocoder.positions:
            begin = step.vocoder.window - 1
            step.vocoder.move_back(self.slot, self._vocoder - begin)
            self._vocoder = begin

    def numbers(self) -> SlotState:
        """Return the state of the slot for the current chunk."""
        waits = self._carried >= 0
        return SlotState(
            active=1,
            carried=self._carried,
            length=self._window.length - waits,
            position=self._window.position - waits,
            said_length=self._said.length,
            said_position=self._said.position,
            frames=self._frames,
            vocoder=self._vocoder,
            state=self._state,
        )

    def answer(self, heard: AudioInput, out: np.ndarray, hidden: Tensor) -> list[Frame]:
        """Return the output frames of a chunk.

        Args:
            heard: The chunk of input.
            out: The row of the slot in the output of the step.
            hidden: The hidden states of the tokens, `(1, tokens, dim)`.
        """
        shape, grid = self._engine.shape, self._grid
        wave, numbers = np.split(out, [grid.spoken_samples])
        count = int(numbers[shape.tokens])
        tokens = [int(one) for one in numbers[:count]]
        self._state = self._engine.grammar.follow(self._state, tokens)
        self._window.add(grid.frames_per_chunk + count)
        self._carried = tokens[-1] if shape.carry and count == shape.tokens else -1
        self._said.add(shape.frames)
        self._frames += shape.frames
        self._vocoder += shape.frames
        return self.frames(heard, tokens, hidden[:, :count], wave)

    def step(self, heard: AudioInput) -> Sequence[Frame]:
        (result,) = self._engine.step_batch([self], [heard])
        if isinstance(result, Exception):
            raise result
        return result

    def close(self) -> None:
        self._guard.close()
        self._give_back()
