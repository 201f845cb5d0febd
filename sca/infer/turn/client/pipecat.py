"""A pipecat (1.14 or newer) turn analyzer that asks a turn server. Had as `sca.infer.turn.client.PipecatTurnAnalyzer`.

pipecat's own `HttpSmartTurnAnalyzer` asks for the running event loop in a thread that has none, swallows that error and answers
"not finished" without having sent anything (1.14.0). Here the model thread that pipecat provides asks by itself.

    the server says finished / not finished    COMPLETE / INCOMPLETE, with metrics
    no answer within `params.stop_secs`        COMPLETE, as pipecat means it: SmartTurnTimeoutException
    any other failure                          logged, counted in `errors`, INCOMPLETE without metrics: no number is made up, and
                                               pipecat's own clock ends the turn when the silence has lasted `params.stop_secs`
"""

import logging
from functools import partial
from typing import Any

import numpy as np

from sca.errors import MissingToolError, ScaError
from sca.infer.turn.client.http import TurnClient, TurnTimeoutError

try:
    from pipecat.audio.turn.base_turn_analyzer import EndOfTurnState
    from pipecat.audio.turn.smart_turn.base_smart_turn import (
        BaseSmartTurn,
        SmartTurnParams,
        SmartTurnTimeoutException,
    )
except ImportError as error:
    raise MissingToolError(
        "PipecatTurnAnalyzer needs pipecat, and that is not installed", hint="pip install 'sca[pipecat]'"
    ) from error

__all__ = ["PipecatTurnAnalyzer"]

_log = logging.getLogger(__name__)


class PipecatTurnAnalyzer(BaseSmartTurn):  # type: ignore[misc]  # pipecat is not type-checked with us
    """See the module. Give it to `TurnAnalyzerUserTurnStopStrategy(turn_analyzer=…)`.

    requests: questions sent, answered or not.   timeouts, errors: those that were not.   last_error: the latest of them.
    """

    def __init__(
        self,
        *,
        url: str,
        auth_key: str | None = None,
        threshold: float | None = None,
        sample_rate: int | None = None,
        params: SmartTurnParams | None = None,
    ) -> None:
        """url: of the server.   threshold: instead of the server's own.   sample_rate: instead of the pipeline's.

        Raises `UsageError` for an address that is none. The server need not run yet.
        """
        super().__init__(sample_rate=sample_rate, params=params)
        self._new_client = partial(TurnClient, url, auth_key, timeout_s=self.params.stop_secs)
        self._client = self._new_client()
        self._threshold = threshold
        self.requests = self.timeouts = self.errors = 0
        self.last_error: ScaError | None = None

    async def analyze_end_of_turn(self) -> tuple[Any, Any]:
        """Has the speaker finished? Never raises for a server that fails; see the module."""
        try:
            return await super().analyze_end_of_turn()  # type: ignore[no-any-return]
        except ScaError as error:
            self.errors += 1
            self.last_error = error
            _log.error("turn server: %s; the turn ends after %g s of silence", error, self.params.stop_secs)
            return EndOfTurnState.INCOMPLETE, None

    def _predict_endpoint(self, audio_array: np.ndarray) -> dict[str, Any]:
        """Ask the server, in pipecat's model thread. What it raises is handled by the caller and by pipecat."""
        self.requests += 1
        try:
            answer = self._client.ask(audio_array, self.sample_rate, self._threshold)
        except TurnTimeoutError as error:
            self.timeouts += 1
            self.last_error = error
            _log.warning("turn server: %s; the turn is taken to be over", error)
            raise SmartTurnTimeoutException(error.message) from error
        return answer.model_dump(exclude_none=True)

    async def cleanup(self) -> None:
        """Let go of the connection, after what is under way, and of pipecat's thread; both come back when needed.

        Waits for nothing. What is asked from now on has a connection of its own, since the old one may yet be closing.
        """
        if self._executor is not None:  # pipecat's thread, in which questions are asked one after the other
            self._executor.submit(self._client.close)
            self._client = self._new_client()
        await super().cleanup()
