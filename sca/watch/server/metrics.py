"""The Prometheus metrics of the server of `sca watch`."""

from sca.distribution import install_extra
from sca.errors import MissingToolError
from sca.infer.server.core.metrics_process import add_process_metrics, page
from sca.watch.server.host import WatchHost
from sca.watch.server.streams import Places

__all__ = ["WatchMetrics"]


class WatchMetrics:
    """Gauges over the session and the streams, and counted rejections.

    Args:
        host: The session.
        places: The open streams.

    Raises:
        MissingToolError: prometheus-client is not installed.
    """

    def __init__(self, host: WatchHost, places: Places) -> None:
        try:
            from prometheus_client import CollectorRegistry, Counter, Gauge
        except ImportError as error:
            raise MissingToolError("the server needs prometheus-client", hint=install_extra("serve")) from error
        self._registry = registry = CollectorRegistry()
        add_process_metrics(registry, {})
        self.rejections = Counter(
            "sca_refusals",
            "Requests and connections rejected before they reached an endpoint.",
            ["status"],
            registry=registry,
        )
        cycles = Gauge("sca_watch_cycles", "Cycles so far, by outcome.", ["outcome"], registry=registry)
        for outcome in host.cycles:
            cycles.labels(outcome).set_function(lambda outcome=outcome: host.cycles[outcome])

        def delay_s() -> float:
            session = host.session
            return 0.0 if session is None else session.delay_us(host.clock()) / 1e6

        def display_bytes() -> int:
            session = host.session
            return 0 if session is None else session.run.display.n_bytes

        for name, text, value in (
            ("sca_watch_running", "Whether a session runs.", lambda: host.status()["state"] == "running"),
            ("sca_watch_streams", "Open streams of events, pictures and speech.", lambda: places.taken),
            ("sca_watch_delay_seconds", "By how much the shown picture is delayed.", delay_s),
            ("sca_watch_display_bytes", "Pictures that are held for display, in bytes.", display_bytes),
        ):
            Gauge(name, text, registry=registry).set_function(value)

    def text(self) -> bytes:
        """Return all metrics in the Prometheus text format."""
        return page(self._registry)
