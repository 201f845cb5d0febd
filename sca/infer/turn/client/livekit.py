"""A turn detector for LiveKit Agents (1.8 or newer) that queries a turn server. Import it from `sca.infer.turn.client`.

An `AgentSession` hands the sound of the speaker to a streaming turn detector, and asks it after 0.2 s of silence.

    response: finished                    the turn ends after the session's `min_delay`
    response: not finished                it ends after `max_delay`, unless the speaker continues
    no response within `timeout_s`,       logged and counted; no probability, and the turn ends after `min_delay` as with
    or any other failure                  `turn_detection="vad"`. A server that fails is not asked for 1 s, 2 s, … 60 s

The module needs livekit-agents and its dependencies (numpy, pydantic, aiohttp), and of sca only `sca.errors` and
`sca.units`, so it works where the dependencies of sca are not installed.
"""

import asyncio
import json
import logging
import time
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from sca.distribution import install_extra
from sca.errors import InputError, MissingToolError, ScaError, UpstreamError, UsageError
from sca.infer.turn.client import wire
from sca.infer.turn.client.breaker import Breaker
from sca.units import HEARD_HZ, seconds_to_samples

try:
    import aiohttp
    from livekit import rtc
    from livekit.agents import DEFAULT_API_CONNECT_OPTIONS, APIConnectOptions, utils
    from livekit.agents.voice.turn import TurnDetectionEvent
except ImportError as error:
    raise MissingToolError(
        "LiveKitTurnDetector needs livekit-agents 1.8 or newer, which is not installed",
        hint=install_extra("livekit"),
    ) from error

__all__ = ["LiveKitTurnDetector"]

logger = logging.getLogger(__name__)

_THRESHOLD = 0.5  # for servers without a threshold in /status
_FULL_SCALE = 32768.0
_LEAD_SAMPLES = seconds_to_samples(0.6, HEARD_HZ)
"""The sound before the start of speech was noticed: 0.1 s of speech, and the 0.5 s before it that pipecat sends."""

Prediction = asyncio.Future[TurnDetectionEvent]


class LiveKitTurnDetector:
    """The detector. Pass it to `AgentSession(turn_handling={"turn_detection": …})`. Sessions may share it.

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
        window_s: float = 8.0,
        timeout_s: float = 1.0,
    ) -> None:
        """Create a detector. The server need not be running yet.

        Args:
            url: The address of the server.
            auth_key: The server's key.
            headers: Further headers of all requests, such as `{"Authorization": "Key …"}` in place of `auth_key`.
            threshold: Overrides the server's threshold.
            window_s: How much of the end of a turn is sent: 8 s for smart-turn v3, 16 s for v2.
            timeout_s: How long a request may take as a whole.

        Raises:
            UsageError: The address or a number is not valid, a header is one that the client sets, or there are two
                keys.
            ConfigError: The key or a header cannot be sent in HTTP.
        """
        if not (window_s > 0 and timeout_s > 0 and (threshold is None or 0 <= threshold <= 1)):
            raise UsageError("window_s and timeout_s are positive, and threshold is from 0 to 1")
        self.requests = self.timeouts = self.errors = self.without_speech = 0
        self.last_error: ScaError | None = None
        self._url = wire.parse_url(url)
        self._headers = wire.client_headers(auth_key, headers)
        self._threshold = threshold
        self._window_samples = seconds_to_samples(window_s, HEARD_HZ)
        self._timeout_s = timeout_s
        self._breaker = Breaker(f"the turn server at {self._url}")

    @property
    def model(self) -> str:
        """The name of the model, for LiveKit's reports."""
        return "smart-turn"

    @property
    def provider(self) -> str:
        """The name of the provider, for LiveKit's reports."""
        return "sca"

    def stream(self, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS) -> "_Stream":
        """Return the detector of one session.

        Args:
            conn_options: Not used: a question that is sent again arrives too late.
        """
        return _Stream(self)

    def _failed(self, error: ScaError, asked_s: float) -> None:
        late = isinstance(error, wire.TurnTimeoutError)
        self.timeouts, self.errors = self.timeouts + late, self.errors + (not late)
        self.last_error = error
        if isinstance(error, InputError):  # of this audio only
            logger.error("turn server: %s; the turn ends without it", error)
        else:
            self._breaker.failed(asked_s, time.monotonic(), str(error))

    async def _predict(self, http: aiohttp.ClientSession, samples: NDArray[np.int16]) -> wire.TurnResponse:
        """Ask the server. Its threshold is read once.

        Raises:
            ScaError: See the table in `wire`.
        """
        body = wire.encode(samples.astype(np.float32) / _FULL_SCALE)
        try:
            async with asyncio.timeout(self._timeout_s):
                headers = wire.body_headers(HEARD_HZ, self._threshold, self._timeout_s)
                text = await self._text(http.post(f"{self._url}/raw", data=body, headers=headers))
                if self._threshold is None:
                    self._threshold = await self._server_threshold(http)
        except TimeoutError as error:
            raise wire.TurnTimeoutError(f"{self._url} did not respond within {self._timeout_s:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise UpstreamError(f"cannot reach {self._url}: {error}") from error
        return wire.parse_response(self._url, text)

    async def _server_threshold(self, http: aiohttp.ClientSession) -> float:
        try:
            document = json.loads(await self._text(http.get(f"{self._url}/status")))
            found = document["threshold"]
        except (ScaError, ValueError, KeyError, TypeError):
            return _THRESHOLD
        return float(found) if isinstance(found, int | float) and 0 <= found <= 1 else _THRESHOLD

    async def _text(self, request: "aiohttp.client._RequestContextManager") -> str:
        """Return the body of a response.

        Raises:
            ScaError: Its status is not 200.
        """
        async with request as response:
            content = bytearray()
            async for piece in response.content.iter_any():
                content += piece
                if len(content) > wire.MAX_RESPONSE_BYTES:
                    response.close()
                    break
            text = content[: wire.MAX_RESPONSE_BYTES].decode("utf-8", "replace")
            if response.status != 200:
                retry_after = response.headers.get("Retry-After")
                raise wire.error_of(self._url, response.status, text or response.reason or "", retry_after)
            return text


class _Stream:
    """The detector of one session: its recent sound, its connection, and the question that is open."""

    def __init__(self, detector: LiveKitTurnDetector) -> None:
        self._detector = detector
        self._sound = utils.AudioArrayBuffer(buffer_size=detector._window_samples, sample_rate=HEARD_HZ)
        self._rate_hz: int | None = None
        self._http: aiohttp.ClientSession | None = None
        self._prediction: Prediction | None = None
        self._asking: asyncio.Task[None] | None = None
        self._speaking = False  # whether speech has started in this turn
        self._closed = False

    @property
    def model(self) -> str:
        return self._detector.model

    @property
    def provider(self) -> str:
        return self._detector.provider

    @property
    def is_fallback(self) -> bool:
        return False

    @property
    def prediction_timeout(self) -> float:
        # The session waits this long after its detector of speech has noticed the pause, which is after the question.
        return self._detector._timeout_s

    async def unlikely_threshold(self, language: str | None) -> float | None:
        found = self._detector._threshold
        return _THRESHOLD if found is None else found

    async def backchannel_threshold(self, language: str | None) -> float | None:
        return None

    async def supports_language(self, language: str | None) -> bool:
        return True  # the model judges the sound

    def push_audio(self, frame: rtc.AudioFrame) -> None:
        if self._closed:
            return
        if frame.sample_rate != self._rate_hz:
            self._sound.reset()
            self._rate_hz = frame.sample_rate
        self._sound.push_frame(frame)

    def predict(self) -> Prediction:
        """Ask about the sound of the turn. A cancelled future means that there is no prediction."""
        self._close_question()
        prediction: Prediction = asyncio.get_running_loop().create_future()
        if self._closed or not len(self._sound) or not self._detector._breaker.allows(time.monotonic()):
            prediction.cancel()
            return prediction
        self._prediction = prediction
        self._asking = asyncio.create_task(self._ask(self._sound.read(), prediction))
        return prediction

    async def _ask(self, samples: NDArray[np.int16], prediction: Prediction) -> None:
        detector, asked_s = self._detector, time.monotonic()
        if self._http is None:
            self._http = aiohttp.ClientSession(headers=detector._headers)
        detector.requests += 1
        try:
            response = await detector._predict(self._http, samples)
        except ScaError as error:
            detector._failed(error, asked_s)
            prediction.cancel()
            return
        detector._breaker.answered()
        detector.without_speech += response.speech is False
        if not prediction.done():
            prediction.set_result(
                TurnDetectionEvent(
                    type="eot_prediction",
                    last_speaking_time=time.time(),
                    end_of_turn_probability=response.probability,
                    detection_delay=time.monotonic() - asked_s,
                    inference_duration=response.metrics.inference_time,
                )
            )

    def cancel_inference(self, *, timed_out: bool = False) -> None:
        """Close the open question, because speech starts or goes on.

        The session calls this whenever speech starts. Sound before the first speech of a turn is dropped: it is not part
        of what the model was trained on, and changes its decisions.
        """
        self._close_question()
        if not self._speaking and not timed_out:
            self._speaking = True
            self._sound.shift(max(0, len(self._sound) - _LEAD_SAMPLES))

    def _close_question(self) -> None:
        """Answer the open question with 0, as LiveKit's detectors do: a speaker who continues has not finished."""
        prediction, asking = self._prediction, self._asking
        self._prediction = self._asking = None
        if prediction is not None and not prediction.done():
            event = TurnDetectionEvent("eot_prediction", end_of_turn_probability=0.0, last_speaking_time=time.time())
            prediction.set_result(event)
            if asking is not None:
                asking.cancel()

    def flush(self, reason: str | None = None) -> None:
        """Forget the sound of a turn that has ended."""
        self._close_question()
        self._sound.reset()
        self._rate_hz, self._speaking = None, False

    def end_input(self) -> None:
        self.flush()
        self._closed = True

    async def aclose(self) -> None:
        asking = self._asking
        self.end_input()
        if asking is not None:
            await utils.aio.cancel_and_wait(asking)
        if self._http is not None:
            await self._http.close()
            self._http = None
