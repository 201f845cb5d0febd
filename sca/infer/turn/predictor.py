"""End-of-turn predictors: a model in this process or a remote server, with one interface.

A predictor only returns a probability. When to query it, and what follows, is decided by `sca.infer.turn.policy`.
"""

import logging
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from sca.config import TurnConfig
from sca.errors import ScaError
from sca.infer.turn.ceiling import threshold_warning
from sca.infer.turn.client import TurnClient
from sca.infer.turn.models.load import load_model
from sca.infer.turn.models.model import Model
from sca.infer.turn.models.weights import find_weights
from sca.infer.turn.speech import has_level_changes
from sca.units import HEARD_HZ, seconds_to_samples

__all__ = ["LocalPredictor", "RemotePredictor", "TurnPrediction", "TurnPredictor", "open_predictor"]

logger = logging.getLogger(__name__)

_LONGEST_WINDOW_S = 16  # of v2


@dataclass(frozen=True, slots=True)
class TurnPrediction:
    """A prediction.

    Attributes:
        probability: The probability that the speaker has finished.
        finished: Whether the probability is above the threshold.
        speech: Whether the audio has speech, without which "finished" means nothing; None if that was not checked.
    """

    probability: float
    finished: bool
    speech: bool | None = None

    def document(self) -> dict[str, object]:
        """Return the prediction for JSON."""
        return {"finished": self.finished, "probability": self.probability, "speech": self.speech}


class TurnPredictor(Protocol):
    """Predicts whether a speaker has finished."""

    def window_samples(self) -> int:
        """Return the longest input that makes a difference, in samples at 16 kHz."""
        ...

    @property
    def name(self) -> str:
        """The name of the model or the URL of the server, for display."""
        ...

    def predict(self, samples: NDArray[np.float32], threshold: float | None = None) -> TurnPrediction:
        """Predict whether the speaker has finished at the end of `samples`.

        Args:
            samples: Float32 `(n,)` at 16 kHz. A model uses its last seconds.
            threshold: Overrides the predictor's own threshold.
        """
        ...


class LocalPredictor(TurnPredictor):
    """A model in this process.

    Raises:
        ScaError: The model was not found or could not be loaded.
    """

    def __init__(self, turn: TurnConfig) -> None:
        weights = find_weights(turn.model_id, turn.revision)
        warning = threshold_warning(turn, weights.sha256 or "")
        if warning is not None:
            logger.warning(warning)
        self._name = weights.name
        self._model: Model = load_model(weights, turn)
        self._threshold = turn.threshold
        self._max_samples = None if turn.max_secs is None else seconds_to_samples(turn.max_secs, HEARD_HZ)

    @property
    @override
    def name(self) -> str:
        return self._name

    @override
    def window_samples(self) -> int:
        return min(self._model.window_samples, self._max_samples or self._model.window_samples)

    @override
    def predict(self, samples: NDArray[np.float32], threshold: float | None = None) -> TurnPrediction:
        samples = samples[-self.window_samples() :]
        probability = self._model(samples)
        threshold = self._threshold if threshold is None else threshold
        return TurnPrediction(probability, probability > threshold, has_level_changes(samples))


class RemotePredictor(TurnPredictor):
    """A turn server. `predict` raises what `TurnClient.predict` raises."""

    def __init__(self, client: TurnClient) -> None:
        self._client = client

    @property
    @override
    def name(self) -> str:
        return self._client.url

    @override
    def window_samples(self) -> int:
        # `max_secs` is the window or less. Other servers may have no such page: they take what they need.
        with suppress(ScaError):
            status = self._client.get("/status")
            seconds = status.get("max_secs") if isinstance(status, dict) else None
            if isinstance(seconds, int | float) and 0 < seconds <= _LONGEST_WINDOW_S:
                return seconds_to_samples(seconds, HEARD_HZ)
        return _LONGEST_WINDOW_S * HEARD_HZ

    @override
    def predict(self, samples: NDArray[np.float32], threshold: float | None = None) -> TurnPrediction:
        response = self._client.predict(samples, threshold=threshold)
        return TurnPrediction(response.probability, response.finished, response.speech)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


def open_predictor(
    turn: TurnConfig, url: str | None = None, auth_key: str | None = None, timeout_s: float = 3.0
) -> AbstractContextManager[TurnPredictor]:
    """Return a context with a predictor.

    Args:
        turn: The settings, which name the model.
        url: The address of a server to use instead of a local model.
        auth_key: The key of the server.
        timeout_s: How long the server may take.
    """
    if url is None:
        return nullcontext(LocalPredictor(turn))
    return closing(RemotePredictor(TurnClient(url, auth_key, timeout_s)))
