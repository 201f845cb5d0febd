"""The live session on the weights in training: the step code of the Qwen3-Omni engine, without talker and vocoder."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from typing_extensions import override

from sca.config import DuplexConfig, QwenConfig
from sca.data.duplex.load.dataset import DuplexRow
from sca.infer.engine import Engine, SessionConfig
from sca.infer.engines.qwen_omni.streaming.engine import QwenOmni
from sca.infer.frames import NO_FEATURES, AudioInput, ThoughtPacket
from sca.tokenizer import TextTokenizer
from sca.units import Grid

if TYPE_CHECKING:
    from torch import Tensor, dtype
    from torch.nn import Module

__all__ = ["SilentOmni", "SilentVoice", "ThinkerOnly", "free_run", "undisturbed"]


@dataclass(frozen=True, slots=True)
class ThinkerOnly:
    """A Qwen3-Omni of which only the thinker is in memory.

    Attributes:
        thinker: The thinker, with its adapter.
        config: The configuration of the whole model.
    """

    thinker: Any
    config: Any


class SilentVoice:
    """A voice without sound, in place of talker and vocoder."""

    held_bytes = 0

    def __init__(self, samples: int) -> None:
        self._silence = np.zeros(samples, np.float32)

    def speak(self, _tokens: Sequence[int], _hidden: Tensor, *, turn_ended: bool = False) -> np.ndarray:
        """Return one chunk of silence."""
        return self._silence


class SilentOmni(QwenOmni):
    """The live engine on a thinker: it generates tokens by the engine's own step code, and no sound."""

    def __init__(
        self, thinker: Module, config: Any, tokenizer: TextTokenizer, qwen: QwenConfig, duplex: DuplexConfig
    ) -> None:
        """Create the engine.

        Args:
            thinker: The thinker.
            config: The configuration of the whole model.
            tokenizer: Its tokenizer.
            qwen: The settings of the engine.
            duplex: The settings of the rows: token ids and system prompt.

        Raises:
            ConfigError: The settings do not fit the model.
        """
        super().__init__(ThinkerOnly(thinker, config), tokenizer, qwen, duplex)

    @override
    def voice(self, grid: Grid, marks: Tensor, options: QwenConfig) -> SilentVoice:
        return SilentVoice(grid.spoken_samples)


def free_run(engine: Engine, row: DuplexRow, grid: Grid, prompt: str) -> list[tuple[int, ...]]:
    """Return the tokens that the model generates for each chunk while it hears a row.

    Args:
        engine: The engine.
        row: The row.
        grid: The grid of the row.
        prompt: Its system prompt.
    """
    session = engine.open(SessionConfig(session_id=row.row_id, grid=grid, prompt=prompt, pace="lockstep"))
    try:
        said = []
        for index, samples in enumerate(row.heard):
            frames = session.step(AudioInput(NO_FEATURES, samples, index, index * grid.heard_samples))
            said.append(next(frame.token_ids for frame in frames if isinstance(frame, ThoughtPacket)))
        return said
    finally:
        session.close()


@contextmanager
def undisturbed(model: Module, autocast: dtype | None = None) -> Iterator[None]:
    """Set a model to evaluation, and restore the mode of each module and all random generators afterwards.

    A training is the same to the last bit with and without what runs inside.

    Args:
        model: The model.
        autocast: Number format in which float32 weights compute; None for their own. The Trainer casts only calls of the
            whole model, and the live engine calls the audio tower too.
    """
    import torch

    modes = {module: module.training for module in model.modules()}
    python, numpy = random.getstate(), np.random.get_state()
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    try:
        kind = next((weight.device.type for weight in model.parameters()), "cpu")
        casting = torch.autocast(kind, autocast, enabled=autocast is not None)
        with torch.random.fork_rng(devices=devices), casting:
            model.eval()
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        random.setstate(python)
        np.random.set_state(numpy)
