"""Metrics that every server has: its process, and what was built and loaded."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

__all__ = ["METRICS_MEDIA_TYPE", "add_process_metrics", "page"]

METRICS_MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""The content type of `page`."""


def add_process_metrics(registry: "CollectorRegistry", build: Mapping[str, str]) -> None:
    """Add `process_*` (processor seconds, resident bytes, open files, start time) and `sca_build_info`.

    Args:
        registry: Where they are added.
        build: The labels of `sca_build_info`, besides the version of sca.
    """
    from prometheus_client import Info, ProcessCollector

    from sca.distribution import __version__

    ProcessCollector(registry=registry)  # on Linux; it has no values elsewhere
    Info("sca_build", "The version of sca, and what it serves.", registry=registry).info(
        {"version": __version__, **build}
    )


def page(registry: "CollectorRegistry") -> bytes:
    """Return all metrics in the Prometheus text format."""
    from prometheus_client import generate_latest

    text: bytes = generate_latest(registry)
    return text
