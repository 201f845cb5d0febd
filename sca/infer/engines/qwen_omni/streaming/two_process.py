"""The engine with its voices in a second process: while that speaks for one session, this one thinks for the next."""

from collections.abc import Sequence
from typing import Any

from sca.config import DuplexConfig, QwenConfig
from sca.errors import ConfigError
from sca.infer.engine import EngineSession
from sca.infer.engines.qwen_omni.streaming.engine import QwenOmni, QwenSession
from sca.infer.engines.qwen_omni.streaming.voice_process import RemoteVoice, VoiceProcess
from sca.infer.frames import AudioInput, Frame
from sca.tokenizer import TextTokenizer
from sca.units import Grid

__all__ = ["TwoProcessOmni"]


class TwoProcessOmni(QwenOmni):
    """A `QwenOmni` whose talker and vocoder run in a process of their own. voices: that process."""

    def __init__(self, model: Any, tokenizer: TextTokenizer, qwen: QwenConfig, duplex: DuplexConfig) -> None:
        super().__init__(model, tokenizer, qwen, duplex)
        if qwen.slots:
            raise ConfigError(
                "qwen.talker_process and qwen.slots do not go together: slots think and speak in one call",
                hint="set one of them",
            )
        self.voices = VoiceProcess(model)

    def voice(self, grid: Grid, marks: Any) -> RemoteVoice:
        """See `QwenOmni`."""
        return RemoteVoice(self.voices, marks, self.voice_settings(grid))

    def step_batch(
        self, sessions: Sequence[EngineSession], inputs: Sequence[AudioInput]
    ) -> Sequence[Sequence[Frame] | Exception]:
        """See `BatchEngine`."""
        import torch

        thoughts: list[tuple[list[int], Any] | Exception] = []
        results: list[Sequence[Frame] | Exception] = []
        with torch.inference_mode():
            for session, heard in zip(sessions, inputs, strict=True):
                assert isinstance(session, QwenSession)
                try:
                    tokens, told = session.think(heard)
                    session.voice.say(tokens, told)
                    thoughts.append((tokens, told))
                except Exception as error:  # noqa: BLE001 - it is this session's, and handed to whoever steps it
                    thoughts.append(error)
            for session, heard, thought in zip(sessions, inputs, thoughts, strict=True):
                assert isinstance(session, QwenSession)
                if isinstance(thought, Exception):
                    results.append(thought)
                    continue
                try:
                    results.append(session.frames(heard, *thought, session.voice.sound()))
                except Exception as error:  # noqa: BLE001 - as above
                    results.append(error)
        return results
