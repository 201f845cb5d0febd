"""Clients of the turn server.

`PipecatTurnAnalyzer` is imported on first use, because it needs pipecat.
"""

from typing import TYPE_CHECKING

from sca.infer.turn.client.http import TurnClient, TurnResponse, TurnTimeoutError, encode

if TYPE_CHECKING:
    from sca.infer.turn.client.pipecat import PipecatTurnAnalyzer

__all__ = ["PipecatTurnAnalyzer", "TurnClient", "TurnResponse", "TurnTimeoutError", "encode"]


def __getattr__(name: str) -> object:
    if name == "PipecatTurnAnalyzer":
        from sca.infer.turn.client.pipecat import PipecatTurnAnalyzer

        return PipecatTurnAnalyzer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
