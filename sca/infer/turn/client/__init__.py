"""Clients of the turn server.

Everything is imported on first use: `TurnClient` needs httpx, `PipecatTurnAnalyzer` pipecat, and `LiveKitTurnDetector`
livekit-agents.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sca.infer.turn.client.http import TurnClient
    from sca.infer.turn.client.livekit import LiveKitTurnDetector
    from sca.infer.turn.client.pipecat import PipecatTurnAnalyzer
    from sca.infer.turn.client.wire import TurnResponse, TurnTimeoutError, encode

__all__ = ["LiveKitTurnDetector", "PipecatTurnAnalyzer", "TurnClient", "TurnResponse", "TurnTimeoutError", "encode"]

_MODULES = {
    "LiveKitTurnDetector": "livekit",
    "PipecatTurnAnalyzer": "pipecat",
    "TurnClient": "http",
    "TurnResponse": "wire",
    "TurnTimeoutError": "wire",
    "encode": "wire",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    return value
