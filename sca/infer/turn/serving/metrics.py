"""The Prometheus metrics of the turn server, in a registry of their own."""

from typing import TYPE_CHECKING

from sca.distribution import install_extra
from sca.errors import MissingToolError
from sca.infer.server.core.metrics_process import add_process_metrics, page

if TYPE_CHECKING:
    from prometheus_client import Histogram

    from sca.infer.turn.serving.request_log import RequestRecord
    from sca.infer.turn.serving.service import TurnResult, TurnService

__all__ = ["TurnMetrics"]

_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_BUILD_FACTS = ("model", "version", "sha256", "runtime", "providers", "dtype", "device")


class TurnMetrics:
    """Counters, gauges and histograms.

    Raises:
        MissingToolError: prometheus-client is not installed.
    """

    def __init__(self, service: "TurnService") -> None:
        try:
            from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
        except ImportError as error:
            raise MissingToolError("the turn server needs prometheus-client", hint=install_extra("turn")) from error
        self.registry = CollectorRegistry()
        facts = service.status()
        add_process_metrics(
            self.registry,
            {f"model_{name}" if name == "version" else name: _label(facts.get(name)) for name in _BUILD_FACTS},
        )
        self.requests = Counter("sca_turn_requests", "Requests to /raw by status.", ["status"], registry=self.registry)
        self.outcomes = Counter(
            "sca_turn_outcomes", "Requests to /raw by outcome, as in the log.", ["outcome"], registry=self.registry
        )
        self.decisions = Counter(
            "sca_turn_decisions", "Predictions: finished or not.", ["prediction"], registry=self.registry
        )
        self.without_speech = Counter(
            "sca_turn_without_speech", "Predictions about audio without speech.", registry=self.registry
        )
        self.model_cpu_s = Counter(
            "sca_turn_model_cpu_seconds",
            "Processor time of the bare calls of a model on the CPU, by thread clocks.",
            registry=self.registry,
        )
        self.total_s = self._duration("request", "From the head of a request to its response.")
        self.inference_s = self._duration("inference", "In the model, including the features.")
        self.queued_s = self._duration("queue", "Waiting for a model.")
        self.batch = Histogram(
            "sca_turn_batch_size", "Requests in a batch.", buckets=(1, 2, 4, 8, 16, 32, 64, 128), registry=self.registry
        )
        queue = service.models.queue
        for name, text, value in (
            ("sca_turn_waiting", "Requests waiting for a model.", lambda: len(queue.waiting)),
            ("sca_turn_busy", "Requests being answered.", lambda: queue.busy),
            ("sca_turn_expected_wait_seconds", "Expected wait of a new request.", queue.expected_s),
            ("sca_turn_max_wait_seconds", "The limit of that wait, turn.max_queue_s.", lambda: queue.limit_s),
        ):
            Gauge(name, text, registry=self.registry).set_function(value)

    def _duration(self, name: str, text: str) -> "Histogram":
        from prometheus_client import Histogram

        return Histogram(f"sca_turn_{name}_seconds", text, buckets=_BUCKETS_S, registry=self.registry)

    def count_result(self, result: "TurnResult") -> None:
        """Count a prediction."""
        self.decisions.labels(str(result.prediction)).inc()
        self.inference_s.observe(result.inference_s)
        self.queued_s.observe(result.queued_s)
        self.batch.observe(result.batch_size)
        self.model_cpu_s.inc(result.model_cpu_s)
        if result.speech is False:
            self.without_speech.inc()

    def count_request(self, record: "RequestRecord", total_s: float) -> None:
        """Count a request to /raw, or a rejected connection, with its duration."""
        if record.path not in ("/raw", ""):
            return
        self.requests.labels(str(record.status)).inc()
        self.outcomes.labels(record.result()).inc()
        self.total_s.observe(total_s)

    def text(self) -> bytes:
        """Return all metrics in the Prometheus text format."""
        return page(self.registry)


def _label(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str("" if value is None else value)
