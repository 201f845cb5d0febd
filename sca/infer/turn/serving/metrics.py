"""The Prometheus metrics of the turn server, in a registry of their own."""

from typing import TYPE_CHECKING

from sca.errors import MissingToolError

if TYPE_CHECKING:
    from prometheus_client import Histogram

    from sca.infer.turn.serving.service import TurnResult, TurnService

__all__ = ["TurnMetrics"]

_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class TurnMetrics:
    """Counters, gauges and histograms.

    Raises:
        MissingToolError: prometheus-client is not installed.
    """

    def __init__(self, service: "TurnService") -> None:
        try:
            from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
        except ImportError as error:
            raise MissingToolError("the turn server needs prometheus-client", hint="pip install 'sca[turn]'") from error
        self.registry = CollectorRegistry()
        self.requests = Counter("sca_turn_requests", "Requests to /raw by status.", ["status"], registry=self.registry)
        self.decisions = Counter(
            "sca_turn_decisions", "Predictions: finished or not.", ["prediction"], registry=self.registry
        )
        self.total_s = self._duration("request", "From the head of a request to its response.")
        self.inference_s = self._duration("inference", "In the model, including the features.")
        self.queued_s = self._duration("queue", "Waiting for a model.")
        self.batch = Histogram(
            "sca_turn_batch_size", "Requests in a batch.", buckets=(1, 2, 4, 8, 16, 32, 64, 128), registry=self.registry
        )
        waiting = Gauge("sca_turn_waiting", "Requests waiting for a model.", registry=self.registry)
        waiting.set_function(lambda: len(service.models.queue.waiting))
        busy = Gauge("sca_turn_busy", "Requests being answered.", registry=self.registry)
        busy.set_function(lambda: service.models.queue.busy)

    def _duration(self, name: str, text: str) -> "Histogram":
        from prometheus_client import Histogram

        return Histogram(f"sca_turn_{name}_seconds", text, buckets=_BUCKETS_S, registry=self.registry)

    def count_result(self, result: "TurnResult") -> None:
        """Count a prediction."""
        self.decisions.labels(str(result.prediction)).inc()
        self.inference_s.observe(result.inference_s)
        self.queued_s.observe(result.queued_s)
        self.batch.observe(result.batch_size)

    def count_request(self, status: int, total_s: float) -> None:
        """Count a request with its status and duration."""
        self.requests.labels(str(status)).inc()
        self.total_s.observe(total_s)

    def text(self) -> bytes:
        """Return all metrics in the Prometheus text format."""
        from prometheus_client import generate_latest

        page: bytes = generate_latest(self.registry)
        return page
