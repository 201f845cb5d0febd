"""A turn analyzer for pipecat (1.14 or newer) that queries a turn server. Import it from `sca.infer.turn.client`.

pipecat's own `HttpSmartTurnAnalyzer` (1.14.0) fails before it sends a request, because it requires the running event
loop in a thread without one, ignores that error and returns "not finished". This one sends the request in pipecat's
model thread.

    response: finished, not finished        COMPLETE, INCOMPLETE, with metrics
    no response within `params.stop_secs`   COMPLETE (pipecat's SmartTurnTimeoutException)
    any other failure                       logged and counted in `errors`; INCOMPLETE without metrics, and pipecat
                                            ends the turn after `params.stop_secs` of silence
"""

import logging
from collections.abc import Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from sca.distribution import install_extra
from sca.errors import MissingToolError, ScaError
from sca.infer.turn.client.http import TurnClient
from sca.infer.turn.client.wire import TurnTimeoutError

try:
    from pipecat.audio.turn.base_turn_analyzer import EndOfTurnState
    from pipecat.audio.turn.smart_turn.base_smart_turn import (
        BaseSmartTurn,
        SmartTurnParams,
        SmartTurnTimeoutException,
    )
except ImportError as error:
    raise MissingToolError(
        "PipecatTurnAnalyzer needs pipecat, which is not installed", hint=install_extra("pipecat")
    ) from error

__all__ = ["PipecatTurnAnalyzer"]

logger = logging.getLogger(__name__)


class PipecatTurnAnalyzer(BaseSmartTurn):  # type: ignore[misc]  # pipecat is not type-checked with us
    """The analyzer. Pass it to `TurnAnalyzerUserTurnStopStrategy(turn_analyzer=…)`.

    Attributes:
        requests: How many requests were sent.
        timeouts: How many got no response in time.
        errors: How many failed in another way.
        without_speech: How many responses said that the audio has no speech, so that "finished" means nothing.
        last_error: The latest failure.
    """

    def __init__(
        self,
        *,
        url: str,
        auth_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        threshold: float | None = None,
        sample_rate: int | None = None,
        params: SmartTurnParams | None = None,
    ) -> None:
        """Create an analyzer. The server need not be running yet.

        Args:
            url: The address of the server.
            auth_key: The server's key.
            headers: Further headers of all requests, such as `{"Authorization": "Key …"}` in place of `auth_key`.
            threshold: Overrides the server's threshold.
            sample_rate: Overrides the pipeline's sample rate.
            params: pipecat's parameters.

        Raises:
            UsageError: The address is not valid, a header is one that the client sets, or there are two keys.
            ConfigError: The key or a header cannot be sent in HTTP.
        """
        super().__init__(sample_rate=sample_rate, params=params)
        self._new_client = partial(TurnClient, url, auth_key, self.params.stop_secs, headers)
        self._client = self._new_client()
        self._threshold = threshold
        self.requests = self.timeouts = self.errors = self.without_speech = 0
        self.last_error: ScaError | None = None

    async def analyze_end_of_turn(self) -> tuple[object, object]:
        """Return whether the speaker has finished, as (state, metrics). Does not raise if the server fails."""
        try:
            return await super().analyze_end_of_turn()  # type: ignore[no-any-return]
        except ScaError as error:
            self.errors += 1
            self.last_error = error
            logger.error("turn server: %s; the turn ends after %g s of silence", error, self.params.stop_secs)
            return EndOfTurnState.INCOMPLETE, None

    def _predict_endpoint(self, audio_array: NDArray[np.float32]) -> dict[str, object]:
        """Query the server, in pipecat's model thread. pipecat and `analyze_end_of_turn` handle the exceptions."""
        self.requests += 1
        try:
            response = self._client.predict(audio_array, self.sample_rate, self._threshold)
        except TurnTimeoutError as error:
            self.timeouts += 1
            self.last_error = error
            logger.warning("turn server: %s; the turn is considered complete", error)
            raise SmartTurnTimeoutException(error.message) from error
        self.without_speech += response.speech is False
        return response.model_dump(exclude_none=True)

    async def cleanup(self) -> None:
        """Close the connection and pipecat's thread. Both are created again when needed.

        Does not wait: the connection is closed after the request in progress, and later requests use a new client.
        """
        if self._executor is not None:  # pipecat's model thread
            self._executor.submit(self._client.close)
            self._client = self._new_client()
        await super().cleanup()
