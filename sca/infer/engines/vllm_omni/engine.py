"""The engine `vllm-omni`: conversations with a vLLM-Omni server, or another realtime server.

Turns are detected as in the parrot (by silence, or by the model of `live.turn_model`), unless the model of the server
takes turns. An answer that the user interrupts is cut here immediately, then on the server.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from sca.audio.vad import shared_vad
from sca.config import LiveConfig, Settings, VllmConfig
from sca.infer.engine import EngineInfo, EngineSession, SessionConfig
from sca.infer.engines.turn_taking import TurnSegmenter, turn_detector_factory
from sca.infer.engines.vllm_omni import protocol
from sca.infer.engines.vllm_omni.session import VllmSession

if TYPE_CHECKING:
    from sca.infer.turn.detector import ModelTurnDetector

__all__ = ["VllmOmniEngine", "load"]


def load(settings: Settings) -> "VllmOmniEngine":
    """Return the engine for the server of `settings.vllm`. It connects when a session is opened.

    Raises:
        ConfigError: `vllm.base_url` is missing or invalid.
    """
    return VllmOmniEngine(settings.vllm, settings.live, turn_detector_factory(settings))


class VllmOmniEngine:
    """An engine that uses a vLLM-Omni server.

    Args:
        vllm: The server.
        live: The thresholds of turn detection.
        make_detector: Makes the turn detector of a session; None uses silence.

    Raises:
        ConfigError: `vllm.base_url` is missing or invalid.
    """

    def __init__(
        self,
        vllm: VllmConfig,
        live: LiveConfig | None = None,
        make_detector: "Callable[[], ModelTurnDetector] | None" = None,
    ) -> None:
        self.vllm = vllm
        self.url = protocol.realtime_url(vllm)
        where = self.url.partition("?")[0]
        self.info = EngineInfo(
            "vllm-omni", f"answers of the server at {where}", uses_features=False, device=f"network {where}",
            answers_in_background=True, follows_turns=True,
        )  # fmt: skip
        self._live = LiveConfig() if live is None else live
        self._make_detector = make_detector
        self._vad = shared_vad()

    def open(self, session_config: SessionConfig) -> EngineSession:
        """Connect and open a session.

        Raises:
            ScaError: See `RealtimeConnection`.
        """
        detector = None if self._make_detector is None else self._make_detector()
        segmenter = TurnSegmenter(self._vad, session_config, self._live, detector)
        return VllmSession(self.url, self.vllm, self._live, session_config, segmenter)
