"""What a reader finds, sent from a decoder process as changes: a file may have thousands of gaps."""

from dataclasses import astuple
from typing import Any

from sca.audio.coded.readers import AudioReader, Findings, Stretch

__all__ = ["FindingsSender", "receive_findings"]

_LISTS = ("joins", "gaps", "holes")
_REMARKS = ("track", "cut", "estimate")


class FindingsSender:
    """Compares what a reader has found with what was sent before."""

    def __init__(self) -> None:
        self._sent: dict[str, object] = {}

    def changes(self, reader: AudioReader) -> dict[str, object]:
        """Return what is new, for `receive_findings`; an empty dict if nothing is."""
        found = reader.findings
        state: dict[str, object] = {"filled": reader.filled_samples}
        state |= {name: getattr(found, name) for name in _REMARKS}
        changed: dict[str, object] = {name: value for name, value in state.items() if self._sent.get(name) != value}
        for name in _LISTS:
            values = getattr(found, name)
            state[name] = mark = (len(values), values[-1] if values else None)
            if values and self._sent.get(name) != mark:  # the last stretch may have become longer
                before = self._sent.get(name)
                start = max(0, before[0] - 1) if isinstance(before, tuple) else 0
                changed[name] = [start, [astuple(v) if isinstance(v, Stretch) else v for v in values[start:]]]
        self._sent = state
        return changed


def receive_findings(findings: Findings, changed: dict[str, Any]) -> None:
    """Add what is new.

    Args:
        findings: What was found before.
        changed: What `FindingsSender.changes` returned.

    Raises:
        TypeError, ValueError: It is malformed.
    """
    for name in _REMARKS:
        if name in changed:
            value = changed[name]
            setattr(findings, name, None if value is None else str(value))
    for name in _LISTS:
        if name in changed:
            start, values = changed[name]
            getattr(findings, name)[int(start) :] = [
                float(value) if name == "joins" else Stretch(*map(float, value)) for value in values
            ]
