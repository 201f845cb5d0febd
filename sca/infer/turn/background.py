"""An end-of-turn model that is asked in the background, by all sessions of a process.

A session must not wait for a model or a server in its step, so it asks here and uses the answer when it is there.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from sca.infer.turn.client.breaker import Breaker
from sca.infer.turn.predictor import TurnPredictor

__all__ = ["BackgroundPredictor"]


class BackgroundPredictor:
    """Threads that ask a model.

    Args:
        make_predictor: Returns the predictor of a thread: the model itself, if threads may share it, or a client with a
            connection of its own.
        threads: How many questions are asked at the same time. They are started when they are needed.
        name: The name of the model, for the log.

    Attributes:
        breaker: The failures of the model, for all sessions.
    """

    def __init__(self, make_predictor: Callable[[], TurnPredictor], threads: int, name: str = "the model") -> None:
        self._make = make_predictor
        self.breaker = Breaker(name)
        self._local = threading.local()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="sca turn model")

    def ask(self, samples: NDArray[np.float32]) -> "Future[float]":
        """Ask for the probability that the speaker has finished. A question that has not begun can be cancelled.

        Args:
            samples: Float32 `(n,)` at 16 kHz.
        """
        return self._pool.submit(self._predict, samples)

    def _predict(self, samples: NDArray[np.float32]) -> float:
        if not hasattr(self._local, "predictor"):
            self._local.predictor = self._make()
        predictor: TurnPredictor = self._local.predictor
        return predictor.predict(samples).probability

    def close(self) -> None:
        """Ask no more questions."""
        self._pool.shutdown(wait=False, cancel_futures=True)
