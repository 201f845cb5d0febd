"""The engine `cascade`: recognizer → language model → voice.

Turns are detected as in the parrot (by silence, or by the model of `live.turn_model`). The parts work in threads, and a
step takes what they have made, without waiting for it. In a session in lockstep (`SessionConfig.pace`) a step waits for
its piece of the answer, because time does not pass there while the parts work.

When the user interrupts, the answer ends in the same step; the history is cut to the words that were played when the
live loop reports them (`HearsPlayback`). If an answer is cancelled before the text of the
user is known, that turn is answered together with the next one.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from typing_extensions import override

from sca.audio.vad import shared_vad
from sca.config import LiveConfig, Settings
from sca.infer.conversation.latency import LatencyLog
from sca.infer.conversation.parts import ConversationParts, load_parts
from sca.infer.conversation.talk import Talk
from sca.infer.engine import Engine, EngineInfo, EngineSession, SessionConfig
from sca.infer.engines.cascade.session import CascadeSession
from sca.infer.engines.turn_taking import TurnSegmenter, turn_detector_factory

if TYPE_CHECKING:
    from sca.infer.turn.detector import ModelTurnDetector

__all__ = ["CascadeEngine", "load"]


_EXAMPLES = (
    "What is the capital of France?",
    "Tell me something about the sea.",
    "How do I make pancakes?",
)


def load(settings: Settings) -> "CascadeEngine":
    """Return the engine with the parts of the settings.

    Raises:
        ScaError: A part cannot be loaded.
    """
    return CascadeEngine(
        load_parts(settings),
        settings.live,
        turn_detector_factory(settings),
        prompt=settings.llm.system_prompt,
        default_prompt=settings.duplex.system_prompt,
    )


class CascadeEngine(Engine):
    """A conversation from parts as an engine.

    Args:
        parts: Recognizer, language model and voice.
        live: The thresholds of turn detection.
        make_detector: Makes the turn detector of a session; None uses silence.
        prompt: The system prompt of sessions without one of their own.
        default_prompt: The prompt of a session that has none of its own: that of the training data.

    Attributes:
        latency: The latencies of all sessions, by part.
    """

    def __init__(
        self,
        parts: ConversationParts,
        live: LiveConfig | None = None,
        make_detector: "Callable[[], ModelTurnDetector] | None" = None,
        *,
        prompt: str = "",
        default_prompt: str = "",
    ) -> None:
        if parts.recognizer is None or parts.open_voice is None:
            raise ValueError("the engine needs a recognizer and a voice")
        self._info = EngineInfo(
            "cascade",
            parts.summary,
            uses_features=False,
            benefits_from_batching=False,
            answers_in_background=True,
            parts=parts.names,
            voices=parts.voices,
            voice=parts.voice,
            hears_words=True,
            examples=_EXAMPLES,
            follows_turns=True,
            takes_text=True,
        )
        self.parts = parts
        self.live = LiveConfig() if live is None else live
        self._make_detector = make_detector
        self._prompt, self._default_prompt = prompt, default_prompt
        self._vad = shared_vad()
        self.latency = LatencyLog()

    @property
    @override
    def info(self) -> EngineInfo:
        return self._info

    @override
    def open(self, session_config: SessionConfig) -> EngineSession:
        detector = None if self._make_detector is None else self._make_detector()
        segmenter = TurnSegmenter(self._vad, session_config, self.live, detector)
        has_own = session_config.prompt not in ("", self._default_prompt)
        talk = Talk(self.parts.with_voice(session_config.voice), session_config.prompt if has_own else self._prompt)
        return CascadeSession(talk, segmenter, session_config, self.live, self.latency)

    def close(self) -> None:
        """Close the parts. Sessions must be closed before."""
        self.parts.close()
