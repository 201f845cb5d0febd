"""The turn server's numbers for Prometheus, in a registry of their own."""

from typing import TYPE_CHECKING, Any

from sca.errors import MissingToolError

if TYPE_CHECKING:
    from sca.infer.turn.serving.service import Judgement, TurnService

__all__ = ["TurnMetrics"]

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class TurnMetrics:
    """Counters and histograms. Raises `MissingToolError` without prometheus-client."""

    def __init__(self, service: "TurnService") -> None:
        try:
            from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
        except ImportError as error:
            raise MissingToolError("the turn server needs prometheus-client", hint="pip install 'sca[turn]'") from error
        self.registry = CollectorRegistry()
        self.requests = Counter("sca_turn_requests", "Requests to /raw by status.", ["status"], registry=self.registry)
        self.decisions = Counter(
            "sca_turn_decisions", "Judgements: finished or not.", ["prediction"], registry=self.registry
        )
        self.total_s = self._histogram(Histogram, "request", "From a request's head to its answer.")
        self.inference_s = self._histogram(Histogram, "inference", "In the model, features included.")
        self.queued_s = self._histogram(Histogram, "queue", "Waiting for a model.")
        self.batch = Histogram(
            "sca_turn_batch_size", "Requests in a batch.", buckets=(1, 2, 4, 8, 16, 32, 64, 128), registry=self.registry
        )
        waiting = Gauge("sca_turn_waiting", "Requests that wait for a model.", registry=self.registry)
        waiting.set_function(lambda: len(service.runner.queue.waiting))
        busy = Gauge("sca_turn_busy", "Requests being answered.", registry=self.registry)
        busy.set_function(lambda: service.runner.queue.busy)

    def _histogram(self, make: Any, name: str, text: str) -> Any:
        return make(f"sca_turn_{name}_seconds", text, buckets=_SECONDS, registry=self.registry)

    def answered(self, judgement: "Judgement") -> None:
        """Count a judgement."""
        self.decisions.labels(str(judgement.prediction)).inc()
        self.inference_s.observe(judgement.inference_s)
        self.queued_s.observe(judgement.queued_s)
        self.batch.observe(judgement.batch)

    def finished(self, status: int, total_s: float) -> None:
        """Count a request by how it ended."""
        self.requests.labels(str(status)).inc()
        self.total_s.observe(total_s)

    def text(self) -> bytes:
        """The page that Prometheus reads."""
        from prometheus_client import generate_latest

        page: bytes = generate_latest(self.registry)
        return page
