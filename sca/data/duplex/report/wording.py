"""How repairs, and numbers that depend on the word times, are named, the same in the summary, the card, the page and the proof.

Interpolated times are estimates. The distance to them is not an error against the sound, and a token before them can
still be after the onset of its word.
"""

from collections.abc import Mapping
from itertools import groupby
from operator import itemgetter
from typing import Any

from sca.data.duplex.evidence.repair import describe_repairs
from sca.data.duplex.model.report import TextRateReport
from sca.textutil import counted

__all__ = [
    "interpolated_share",
    "placement_leak",
    "placement_name",
    "repairs_made",
    "text_rate_warning",
    "unlabelled_text",
    "word_times",
]

_MOST_REPAIRS = 5
_INTERPOLATION_ERROR = "0.07-0.09"
"""Mean error of interpolated onsets in seconds, measured on generated conversations with known times."""


def interpolated_share(align_source: Mapping[str, int]) -> float:
    """Return the share of words with interpolated times.

    Args:
        align_source: Words by the origin of their times.
    """
    words = sum(align_source.values())
    return align_source.get("interpolated", 0) / words if words else 0.0


def repairs_made(report: Mapping[str, Any]) -> str:
    """Return which sessions were repaired, and how; empty if none was.

    Args:
        report: The content of `report.json`, also of an earlier version.
    """
    sessions = [
        f"{session}: {describe_repairs(session, {track['speaker']: track for track in members}, 'done')}"
        for session, members in groupby(report.get("repaired") or [], key=itemgetter("session"))
    ]
    if not sessions:
        return ""
    more = f"; and {len(sessions) - _MOST_REPAIRS} more" if len(sessions) > _MOST_REPAIRS else ""
    return f"{counted(len(sessions), 'session')} repaired: {'; '.join(sessions[:_MOST_REPAIRS])}{more}"


def placement_name(share: float) -> str:
    """Return the name of the placement error if this share of the times is interpolated."""
    return "placement against the times used" if share else "token-time error"


def placement_leak(found: str, share: float) -> str:
    """Return what is known about the leak by placement.

    Args:
        found: What was counted by the times used.
        share: Share of the times that is interpolated.
    """
    return (
        f"not known for {_percent(share)} of the words (interpolated times); by the times used: {found}"
        if share
        else found
    )


def unlabelled_text(report: Mapping[str, Any]) -> str:
    """Return how much speech has no words, and how many chunks have no label because of it or of segments left out.

    Args:
        report: The content of a `report.json`.
    """
    found = report.get("unlabelled")  # reports of earlier versions have none
    if found is None or not (found["speech_s"] or found["chunks"]):
        return "none"
    chunks = f"{counted(found['chunks'], 'chunk')} ({found['chunks_s']:.2f} s)"
    return f"{found['speech_s']:.2f} s, {chunks} not in the labels"


def word_times(share: float) -> str:
    """Return the estimated error of the word times; empty if none is interpolated."""
    if not share:
        return ""
    return f"{_percent(share)} interpolated: {_INTERPOLATION_ERROR} s off on average in clear speech, more in real talk"


def text_rate_warning(rate: TextRateReport) -> str:
    """Return the warning about a text rate that is not sufficient, with the number of tokens per chunk that is."""
    found = (
        f"warning: {rate.tokens_a_second:.2f} tokens per second of speech, room for {rate.room_a_second:.2f}: "
        f"{rate.late_share:.0%} are late; "
    )
    if rate.advised_tokens_per_chunk is None:
        return f"{found}no number of tokens per chunk prevents that, check the word times"
    return f"{found}use --text-tokens {rate.advised_tokens_per_chunk} (or auto)"


def _percent(share: float) -> str:
    """Return a share that is not 0 so that it does not look like 0."""
    return f"{share:.0%}" if share >= 0.005 else "less than 1%"
