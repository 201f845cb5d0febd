"""Who is asked whether the speaker has finished: a model in this process, or a server. One call for both.

A judge has no policy: it says how likely it is now. When to ask, and what follows, is the business of `sca.infer.turn.policy`.
"""

from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from sca.config import TurnConfig
from sca.infer.turn.client import TurnClient
from sca.infer.turn.models.weights import Weights, find_weights
from sca.units import HEARD_HZ, seconds_to_samples

__all__ = ["LocalJudge", "ServerJudge", "TurnPrediction", "TurnPredictor", "open_judge"]


@dataclass(frozen=True, slots=True)
class TurnPrediction:
    """How likely the speaker has finished, and whether that is enough."""

    probability: float
    finished: bool

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {"finished": self.finished, "probability": self.probability}


class TurnPredictor(Protocol):
    """Knows how likely it is that the speaker has finished.   name: who that is, for people."""

    @property
    def name(self) -> str:
        """See above."""
        ...

    def ask(self, samples: np.ndarray, threshold: float | None = None) -> TurnPrediction:
        """Judge float32 `(n,)` at 16 kHz, of which the end counts. threshold: instead of the judge's own."""
        ...


class LocalJudge:
    """A model in this process. Raises what finding and loading it raises."""

    def __init__(self, turn: TurnConfig) -> None:
        weights = find_weights(turn.model_id, turn.revision)
        self.name = weights.name
        self._model = _load(weights, turn)
        self._threshold = turn.threshold
        self._window = None if turn.max_secs is None else seconds_to_samples(turn.max_secs, HEARD_HZ)

    def ask(self, samples: np.ndarray, threshold: float | None = None) -> TurnPrediction:
        """See `TurnPredictor`."""
        probability: float = self._model(samples if self._window is None else samples[-self._window :])
        return TurnPrediction(probability, probability > (self._threshold if threshold is None else threshold))


def _load(weights: Weights, turn: TurnConfig) -> Any:
    if weights.version == "v3":
        from sca.infer.turn.models.smart_turn_v3 import SmartTurnV3

        return SmartTurnV3(weights.path)
    from sca.infer.turn.models.smart_turn_v2 import SmartTurnV2

    return SmartTurnV2.load(weights.path, device=turn.device, dtype=turn.dtype)


class ServerJudge:
    """A server. Raises what `TurnClient.ask` raises."""

    def __init__(self, client: TurnClient) -> None:
        self.name = client.url
        self._client = client

    def ask(self, samples: np.ndarray, threshold: float | None = None) -> TurnPrediction:
        """See `TurnPredictor`."""
        answer = self._client.ask(samples, threshold=threshold)
        return TurnPrediction(answer.probability, answer.finished)

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()


def open_judge(
    turn: TurnConfig, url: str | None = None, auth_key: str | None = None, timeout_s: float = 3.0
) -> AbstractContextManager[TurnPredictor]:
    """The server at `url`, or without one the model that the settings name; for the length of a block."""
    if url is None:
        return nullcontext(LocalJudge(turn))
    return closing(ServerJudge(TurnClient(url, auth_key, timeout_s)))
