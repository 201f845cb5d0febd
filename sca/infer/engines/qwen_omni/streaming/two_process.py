"""The engine with its voices in a second process, which generates the audio of one session during the thinking of the next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from typing_extensions import override

from sca.config import DuplexConfig, QwenConfig
from sca.errors import ConfigError
from sca.infer.engine import EngineSession
from sca.infer.engines.qwen_omni.streaming.engine import QwenOmni, QwenSession
from sca.infer.engines.qwen_omni.streaming.voice_process import RemoteVoice, VoiceProcess
from sca.infer.frames import AudioInput, Frame
from sca.tokenizer import TextTokenizer
from sca.units import Grid

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

__all__ = ["TwoProcessOmni"]


class TwoProcessOmni(QwenOmni):
    """A `QwenOmni` with talker and vocoder in a separate process.

    Attributes:
        voices: The process.
    """

    def __init__(self, model: Module, tokenizer: TextTokenizer, qwen: QwenConfig, duplex: DuplexConfig) -> None:
        super().__init__(model, tokenizer, qwen, duplex)
        if qwen.slots:
            raise ConfigError(
                "qwen.talker_process and qwen.slots cannot be combined: slots run thinker and talker in one call",
                hint="set one of them",
            )
        self.voices = VoiceProcess(model)

    @override
    def voice(self, grid: Grid, marks: Tensor, options: QwenConfig) -> RemoteVoice:
        return RemoteVoice(self.voices, marks, self.voice_settings(grid, options))

    def step_batch(
        self, sessions: Sequence[EngineSession], inputs: Sequence[AudioInput]
    ) -> Sequence[Sequence[Frame] | Exception]:
        """Step several sessions; see `BatchEngine.step_batch`.

        Audio is generated during the thinking of the next session.
        """
        import torch

        thoughts: list[tuple[list[int], Tensor] | Exception] = []
        results: list[Sequence[Frame] | Exception] = []
        with torch.inference_mode():
            for session, heard in zip(sessions, inputs, strict=True):
                assert isinstance(session, QwenSession)
                try:
                    tokens, hidden = session.think(heard)
                    session.voice.submit(tokens, hidden, turn_ended=session.turn_ended)
                    thoughts.append((tokens, hidden))
                except Exception as error:  # noqa: BLE001 - the error of this session is returned to the caller
                    thoughts.append(error)
            for session, heard, thought in zip(sessions, inputs, thoughts, strict=True):
                assert isinstance(session, QwenSession)
                if isinstance(thought, Exception):
                    results.append(thought)
                    continue
                try:
                    results.append(session.frames(heard, *thought, session.voice.result()))
                except Exception as error:  # noqa: BLE001 - the error of this session is returned to the caller
                    results.append(error)
        return results
