"""Which settings of a running turn server may change, and the account of what a reload did."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import SecretStr

if TYPE_CHECKING:
    from sca.config import TurnConfig

__all__ = ["RELOADABLE", "Reload", "compare"]

RELOADABLE = (
    "auth_key",
    "origins",
    "threshold",
    "max_queue",
    "max_queue_s",
    "max_body_bytes",
    "requests_per_minute",
    "speech_check",
    "log_format",
    "log_level",
    "drain_s",
)
"""The settings that take effect without a restart."""

_NEEDS_RESTART = (
    "model_id",
    "revision",
    "host",
    "port",
    "max_secs",
    "device",
    "dtype",
    "torch_compile",
    "cuda_graphs",
    "batch_buckets",
    "micro_batch_window_ms",
    "pool",
    "body_timeout_s",
    "max_connections",
    "trusted_proxies",
)


@dataclass(frozen=True, slots=True)
class Reload:
    """What a reload changes.

    Attributes:
        config: The settings to use from now on: the new ones where they may change, else the old ones.
        changed: A description of each change.
        needs_restart: A description of each change that a restart is needed for.
    """

    config: "TurnConfig"
    changed: tuple[str, ...]
    needs_restart: tuple[str, ...]

    def message(self) -> str:
        """Return the line for the log."""
        parts = [f"reloaded: {', '.join(self.changed) or 'no setting changed'}"]
        if self.needs_restart:
            parts.append(f"a restart is needed for {', '.join(self.needs_restart)}")
        return "; ".join(parts)


def compare(old: "TurnConfig", new: "TurnConfig") -> Reload:
    """Return what changes from one configuration to another.

    Args:
        old: The settings in use.
        new: The settings of the sources now.
    """
    return Reload(
        old.model_copy(update={name: getattr(new, name) for name in RELOADABLE}),
        tuple(_changes(old, new, RELOADABLE)),
        tuple(_changes(old, new, _NEEDS_RESTART)),
    )


def _changes(old: "TurnConfig", new: "TurnConfig", names: tuple[str, ...]) -> list[str]:
    found = []
    for name in names:
        before, after = getattr(old, name), getattr(new, name)
        if before == after:
            continue
        if isinstance(before, SecretStr) or isinstance(after, SecretStr):
            word = "was removed" if after is None else "is now required" if before is None else "changed"
            found.append(f"turn.{name} {word}")
        else:
            found.append(f"turn.{name} {_shown(before)} → {_shown(after)}")
    return found


def _shown(value: object) -> str:
    return "none" if value is None else str(value)
