"""The engine over slots: sessions are stepped in one call, and each gets the same results as alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import override

from sca.config import DuplexConfig, QwenConfig
from sca.errors import ConfigError, ScaError
from sca.infer.engine import EngineSession, SessionConfig
from sca.infer.engines.qwen_omni.slots.audio_encoder import tokens_of
from sca.infer.engines.qwen_omni.slots.cuda_graphs import GraphBackend, graphs_for
from sca.infer.engines.qwen_omni.slots.graph_keys import GraphKey, KeyPlan
from sca.infer.engines.qwen_omni.slots.session import SlotEngine, SlotSession
from sca.infer.engines.qwen_omni.slots.stage_runner import StageRunner
from sca.infer.engines.qwen_omni.slots.step import ChunkStep, Shape, TalkerState, ThinkerState
from sca.infer.engines.qwen_omni.streaming.devices import has_whole_stacks
from sca.infer.engines.qwen_omni.streaming.sampling import TextState
from sca.infer.frames import AudioInput, Frame
from sca.tokenizer import TextTokenizer
from sca.units import Grid

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

__all__ = ["SlotOmni"]


class SlotOmni(SlotEngine):
    """A `QwenOmni` with at most `qwen.slots` sessions, all with the grid of the first.

    Attributes:
        runner: Runs the stages of a chunk; exists from `prepare` on.
    """

    def __init__(
        self,
        model: Module,
        tokenizer: TextTokenizer,
        qwen: QwenConfig,
        duplex: DuplexConfig,
        graphs: GraphBackend | None = None,
    ) -> None:
        """Create the engine.

        Args:
            model: The model.
            tokenizer: Its tokenizer.
            qwen: The settings of the engine.
            duplex: Token ids and lead.
            graphs: Captures the stages; None for CUDA graphs, if `qwen.cuda_graphs` is set and the model is on a GPU.

        Raises:
            ConfigError: The settings do not fit the model, or each other.
        """
        super().__init__(model, tokenizer, qwen, duplex)
        if not has_whole_stacks(model):
            raise ConfigError(
                f"qwen.slots is {qwen.slots}, but qwen.device_map is {qwen.device_map}, which splits the model layer by layer",
                hint="set qwen.device_map to auto, stacks or a device, or qwen.slots to 0",
            )
        if qwen.carry_second_token and self.layer:
            raise ConfigError(
                f"qwen.carry_second_token with qwen.conditioning {qwen.conditioning}: the hidden state of the last token "
                "would arrive a chunk late",
                hint="set qwen.conditioning to embed, or qwen.carry_second_token to false",
            )
        self.slots = qwen.slots or 1
        self._graphs = graphs or graphs_for(self.device, wanted=qwen.cuda_graphs)
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
        if session_config.generation.over(self.qwen).voice != "continuous" and self.qwen.voice == "continuous":
            raise ConfigError(
                "a session asks for the voice per-segment, but the slots of the engine are continuous",
                hint="set qwen.voice to per-segment for the engine; a session can still select continuous",
            )
        self.prepare(session_config.grid)
        if not self._free:
            raise ScaError(
                f"all {self.slots} slots of the engine are in use", hint="raise qwen.slots, or lower serve.max_sessions"
            )
        return SlotSession(self, session_config)

    def prepare(self, grid: Grid) -> None:
        """Create the caches for a grid and capture all CUDA graphs, so that no conversation waits for that.

        Args:
            grid: The grid of all sessions.

        Raises:
            ConfigError: The engine has another grid already, or slots cannot have this one.
            ScaError: A stage does not run on the device.
        """
        import torch

        if self._grid is not None:
            if grid != self._grid:
                raise ConfigError("the slots of the engine already use another grid", hint="use one grid per engine")
            return
        if tokens_of(self.model.thinker.model.audio_tower, grid.mel_frames) != grid.frames_per_chunk:
            raise ConfigError(
                f"a chunk of {grid.mel_frames} mel frames does not give {grid.frames_per_chunk} tokens, which slots require",
                hint="set qwen.slots to 0",
            )
        self.books = self.model.config.talker_config.num_code_groups
        bins = self.model.config.thinker_config.audio_config.num_mel_bins
        self._still = np.zeros((bins, grid.mel_frames), np.float32)
        text = TextState(QwenConfig(), self.unused_token)
        self._unused_text = np.concatenate([text.options, text.draw(self.qwen.max_new_tokens)]), text.recent
        self._unused_noise = np.zeros((grid.frames_per_chunk, self.books), np.float32)
        with torch.inference_mode():
            self._create(grid)
            self.runner.capture(self._blank)
        self._grid = grid

    def _create(self, grid: Grid) -> None:
        """Create the caches and the runner."""
        qwen = self.qwen
        self.shape = Shape(
            frames=grid.frames_per_chunk,
            tokens=self.tokens_per_chunk,
            most=qwen.max_new_tokens,
            unused=self.unused_token,
            layer=self.layer,
            carry=qwen.carry_second_token,
            temperature=qwen.talker_temperature,
            top_k=qwen.talker_top_k,
            segments=qwen.voice == "per-segment",
        )
        experts = None if self._graphs is None else self._graphs.experts(self.model.dtype)
        if experts is not None:
            self.model.set_experts_implementation(experts)
        room, said_room = self.window().budget, self.talker_window().budget
        self.chunk = ChunkStep(self.model, self.mask, self.shape, self.slots, room, said_room)
        # On a CPU a step has all slots, so that sums are identical to the last bit for any set of active slots.
        keys = KeyPlan(
            self.slots,
            {"thinker": room, "talker": said_room},
            graphs=self._graphs is not None,
            every_slot=self._graphs is None and self.device.type != "cuda",
        )
        self.runner = StageRunner(self.chunk, keys, self._graphs)

    def _blank(self, key: GraphKey) -> list[np.ndarray]:
        """Return the inputs of a key without active slots."""
        if key.stage == "thinker":
            return self._thinker_inputs(key, {}, {})
        return self._talker_inputs(key, {})

    @override
    def step_batch(
        self, sessions: Sequence[EngineSession], inputs: Sequence[AudioInput]
    ) -> Sequence[Sequence[Frame] | Exception]:
        import torch

        results: list[Sequence[Frame] | Exception] = [()] * len(sessions)
        taken: dict[int, tuple[int, SlotSession, np.ndarray]] = {}
        with torch.inference_mode():
            for i, (session, heard) in enumerate(zip(sessions, inputs, strict=True)):
                assert isinstance(session, SlotSession)
                try:
                    taken[session.slot] = i, session, session.features(heard)
                    session.open_chunk(heard)
                except Exception as error:  # noqa: BLE001 - the error of this session is returned to the caller
                    taken.pop(session.slot, None)
                    results[i] = error
            if taken:
                sessions_of = {slot: session for slot, (_, session, _) in taken.items()}
                answers, hidden, wave = self._run(sessions_of, {slot: one for slot, (_, _, one) in taken.items()})
                for slot, (i, session, _) in taken.items():
                    spoken = None if wave is None or slot >= len(wave) else wave[slot]
                    results[i] = session.answer(inputs[i], answers[slot], hidden[slot : slot + 1], spoken)
        return results

    def _run(
        self, sessions: dict[int, SlotSession], features: dict[int, np.ndarray]
    ) -> tuple[np.ndarray, Tensor, np.ndarray | None]:
        """Run a chunk; return answers, hidden states and waves of the slots.

        If a voice runs already and no segment may begin, both stages are run one after the other, and the host waits once,
        at the end. Otherwise it waits for the answers, and runs the stage of the talker only if one of them needs a voice.
        """
        ahead = self.shape.frames + self.shape.tokens
        cells = max(one.thinker_state().length for one in sessions.values()) + ahead
        key = self.runner.keys.key("thinker", max(sessions), cells)
        hidden = self.runner.think(key, self._thinker_inputs(key, sessions, features))
        speakers, known = sessions, dict[int, list[int]]()
        every = sessions.values()
        if any(one.awaits_answer for one in every) or not any(one.runs_anyway for one in every):
            answers, _ = self.runner.read()
            known = {slot: one.tokens_of(answers[slot]) for slot, one in sessions.items()}
            speakers = {slot: one for slot, one in sessions.items() if one.runs(known[slot])}
            if not speakers:
                return answers, hidden, None
        for slot, one in speakers.items():
            one.open_voice(known.get(slot))
        cells = max(one.talker_state().length for one in speakers.values()) + self.shape.frames
        key = self.runner.keys.key("talker", max(speakers), cells)
        self.runner.speak(key, *self._talker_inputs(key, speakers))
        answers, wave = self.runner.read()
        return answers, hidden, wave

    def _thinker_inputs(
        self, key: GraphKey, sessions: dict[int, SlotSession], features: dict[int, np.ndarray]
    ) -> list[np.ndarray]:
        slots = range(key.slots)
        states = [sessions[slot].thinker_state() if slot in sessions else ThinkerState() for slot in slots]
        numbers = np.array([one.row() for one in states], np.int64)
        texts = [sessions[slot].text_inputs() if slot in sessions else self._unused_text for slot in slots]
        options, recent = (np.stack(one) for one in zip(*texts, strict=True))
        return [np.stack([features.get(slot, self._still) for slot in slots]), numbers, options, recent]

    def _talker_inputs(self, key: GraphKey, sessions: dict[int, SlotSession]) -> list[np.ndarray]:
        slots = range(key.slots)
        states = [sessions[slot].talker_state() if slot in sessions else TalkerState() for slot in slots]
        numbers = np.array([one.row() for one in states], np.int64)
        noise = [sessions[slot].noise if slot in sessions else self._unused_noise for slot in slots]
        return [numbers, np.stack(noise)]
