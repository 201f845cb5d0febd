"""The engine over slots: sessions that are stepped in one call, each with the results of being stepped alone."""

from __future__ import annotations

import heapq
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sca.config import DuplexConfig, QwenConfig
from sca.errors import ConfigError, ScaError
from sca.infer.engine import EngineSession, SessionConfig
from sca.infer.engines.qwen_omni.slots.audio_encoder import tokens_of
from sca.infer.engines.qwen_omni.slots.cuda_graphs import Runner, span_of
from sca.infer.engines.qwen_omni.slots.step import ChunkStep, Numbers, Shape
from sca.infer.engines.qwen_omni.streaming.context_window import ContextWindow, Eviction
from sca.infer.engines.qwen_omni.streaming.engine import QwenOmni, QwenSession
from sca.infer.engines.qwen_omni.streaming.sampling import SamplingNoise
from sca.infer.engines.qwen_omni.streaming.talker import TalkerStream
from sca.infer.frames import AudioInput, Frame
from sca.tokenizer import TextTokenizer
from sca.units import Grid

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["SlotOmni"]


class SlotOmni(QwenOmni):
    """A `QwenOmni` of `qwen.slots` sessions, no more; all of one grid, that of the first.

    runner: what steps them, from the first session on.
    """

    def __init__(self, model: Any, tokenizer: TextTokenizer, qwen: QwenConfig, duplex: DuplexConfig) -> None:
        super().__init__(model, tokenizer, qwen, duplex)
        places = {weight.device for weight in model.parameters()}
        if len(places) > 1:
            raise ConfigError(
                f"qwen.slots is {qwen.slots}, and the model lies on {len(places)} devices",
                hint="slots need the model on one: set qwen.device_map to it, or qwen.slots to 0",
            )
        if qwen.carry_second_token and self.layer:
            raise ConfigError(
                f"qwen.carry_second_token with qwen.conditioning {qwen.conditioning}: what the talker is to be told of the "
                "last token would come a chunk late",
                hint="set qwen.conditioning to embed, or qwen.carry_second_token to false",
            )
        self.slots = qwen.slots
        self._free = list(range(self.slots))
        self._grid: Grid | None = None

    def open(self, session_config: SessionConfig) -> EngineSession:
        """Begin a conversation. Raises `ConfigError` for another grid, `ScaError` when all slots are taken."""
        import torch

        with torch.inference_mode():
            self._prepare(session_config.grid)
        if not self._free:
            raise ScaError(
                f"all {self.slots} slots of the engine are taken", hint="raise qwen.slots, or lower serve.max_sessions"
            )
        return _SlotSession(self, session_config)

    def _prepare(self, grid: Grid) -> None:
        """Make the caches for a grid."""
        if self._grid is not None:
            if grid != self._grid:
                raise ConfigError("the engine's slots serve another grid already", hint="one engine serves one grid")
            return
        if tokens_of(self.model.thinker.model.audio_tower, grid.mel_frames) != grid.frames_per_chunk:
            raise ConfigError(
                f"a chunk of {grid.mel_frames} mel frames is not heard as {grid.frames_per_chunk} tokens, which slots need",
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
        self._thinks, self._says = self.window(), self.said_window()
        room, said_room = self._thinks.budget, self._says.budget
        self.chunk = ChunkStep(self.model, self.rules, self.shape, self.slots, room, said_room)
        self.runner = Runner(self.chunk, graphs=qwen.cuda_graphs)
        self.books = self.model.config.talker_config.num_code_groups
        bins = self.model.config.thinker_config.audio_config.num_mel_bins
        self._still = np.zeros((bins, grid.mel_frames), np.float32)
        self._grid = grid
        self._capture()

    def _capture(self) -> None:
        """Graphs for the beginning of conversations, before there is one that would wait for them."""
        if not self.runner.graphs:
            return
        for b in sorted({self._batch(slot) for slot in range(self.slots)}):
            self._run([None] * b, [self._still] * b)

    def window(self) -> ContextWindow:
        """Of a session's thinker."""
        positions = self.model.config.thinker_config.text_config.max_position_embeddings
        return ContextWindow(self.qwen.context_tokens, positions)

    def said_window(self) -> ContextWindow:
        """Of a session's talker."""
        positions = self.model.config.talker_config.text_config.max_position_embeddings
        return ContextWindow(self.qwen.talker_context_frames, positions)

    def _batch(self, highest: int) -> int:
        """How many slots are stepped when this is the highest of them: on a GPU the next power of two, for few graphs.

        On a CPU all of them: sums come out the same to the last bit whoever else takes part.
        """
        if self.device.type != "cuda":
            return self.slots
        return min(1 << highest.bit_length(), self.slots)

    def take_slot(self, session: _SlotSession) -> tuple[int, weakref.finalize[Any, Any]]:
        """The lowest free slot, and what gives it back; it comes back too when the session is forgotten."""
        slot = heapq.heappop(self._free)
        return slot, weakref.finalize(session, heapq.heappush, self._free, slot)

    def step_batch(
        self, sessions: Sequence[EngineSession], inputs: Sequence[AudioInput]
    ) -> Sequence[Sequence[Frame] | Exception]:
        """See `BatchEngine`."""
        import torch

        results: list[Sequence[Frame] | Exception] = [()] * len(sessions)
        taken: dict[int, tuple[int, _SlotSession, np.ndarray]] = {}
        with torch.inference_mode():
            for i, (session, heard) in enumerate(zip(sessions, inputs, strict=True)):
                assert isinstance(session, _SlotSession)
                try:
                    taken[session.slot] = i, session, session.hear(heard)
                    session.open_chunk()
                except Exception as error:  # noqa: BLE001 - it is this session's, and handed to whoever steps it
                    taken.pop(session.slot, None)
                    results[i] = error
            if taken:
                b = self._batch(max(taken))
                rows = [taken.get(slot) for slot in range(b)]
                out, told = self._run(
                    [None if row is None else row[1] for row in rows],
                    [self._still if row is None else row[2] for row in rows],
                )
                for slot, (i, session, _) in taken.items():
                    results[i] = session.answer(inputs[i], out[slot], told[slot : slot + 1])
        return results

    def _run(self, sessions: list[_SlotSession | None], features: list[np.ndarray]) -> tuple[np.ndarray, Tensor]:
        shape = self.shape
        numbers = [Numbers() if one is None else one.numbers() for one in sessions]
        none = np.zeros((shape.frames, self.books), np.float32)
        dice = [none if one is None else one.dice.throw(shape.frames, self.books) for one in sessions]
        ahead = shape.frames + shape.tokens
        cells = max(one.length for one in numbers) + ahead
        said = max(one.said_length for one in numbers) + shape.frames
        return self.runner(
            np.stack(features),
            np.array([one.row() for one in numbers], np.int64),
            np.stack(dice),
            span_of(cells, self._thinks.budget),
            span_of(said, self._says.budget),
        )


class _SlotSession(QwenSession):
    """A session whose caches are a row of the engine's."""

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
        self._said = engine.said_window()
        self._said.keep(TalkerStream.OPENING)
        self._frames = self._vocoder = 0
        self.dice = SamplingNoise(engine.qwen.seed)

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
        if change.drop > held - change.first:  # the token still to be thought leaves with its chunk
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

    def numbers(self) -> Numbers:
        """Of the chunk that was opened."""
        waits = self._carried >= 0
        return Numbers(
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

    def answer(self, heard: AudioInput, out: np.ndarray, told: Tensor) -> list[Frame]:
        """The frames of a chunk that was stepped. out: the slot's row of it.   told: `(1, tokens, dim)`."""
        shape, grid = self._engine.shape, self._grid
        wave, numbers = np.split(out, [grid.spoken_samples])
        count = int(numbers[shape.tokens])
        tokens = [int(one) for one in numbers[:count]]
        self._state = self._engine.grammar.follow(self._state, tokens)
        self._window.took(grid.frames_per_chunk + count)
        self._carried = tokens[-1] if shape.carry and count == shape.tokens else -1
        self._said.took(shape.frames)
        self._frames += shape.frames
        self._vocoder += shape.frames
        return self.frames(heard, tokens, told[:, :count], wave)

    def step(self, heard: AudioInput) -> Sequence[Frame]:
        (result,) = self._engine.step_batch([self], [heard])
        if isinstance(result, Exception):
            raise result
        return result

    def close(self) -> None:
        self._guard.close()
        self._give_back()
