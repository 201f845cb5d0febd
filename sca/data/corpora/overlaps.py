"""Overlaps between the utterances of one speaker: resolved, because the words of a speaker need one order in time."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from sca.data.corpora.base import Issue, Utterance
from sca.data.corpora.text.tags import has_words
from sca.units import HEARD_HZ

__all__ = ["resolve_overlaps"]


def resolve_overlaps(utterances: Iterable[Utterance], path: Path) -> tuple[tuple[Utterance, ...], list[Issue]]:
    """Sort one speaker's utterances by start and remove overlaps between them.

    An overlap of up to half of the shorter utterance is an inexact boundary: the earlier utterance is shortened. With a
    larger one the order of the words is unknown: the later utterance is left out. An utterance without words always
    yields to one with words. Exact repetitions are left out.

    Args:
        utterances: The utterances, in any order.
        path: The file that has them, for the issues.

    Returns:
        The utterances in order, and one issue for each change.
    """
    kept: list[Utterance] = []
    issues: list[Issue] = []
    seen: dict[tuple[int, int, str], Utterance] = {}
    for utterance in sorted(utterances, key=lambda utterance: utterance.start):
        first = seen.setdefault((utterance.start, utterance.end, utterance.text), utterance)
        if first is not utterance:
            issues.append(utterance.issue("skipped", path, f"repeats {first.name}"))
            continue
        before = kept[-1] if kept else None
        if before is None or before.end <= utterance.start:
            kept.append(utterance)
            continue
        overlap = min(before.end, utterance.end) - utterance.start
        if not _before_yields(before, utterance, overlap):
            issues.append(utterance.issue("skipped", path, f"overlaps {before.name} by {overlap / HEARD_HZ:.3f} s"))
            continue
        kept.pop()
        if before.start < utterance.start:
            kept.append(replace(before, end=utterance.start))
            reason = f"its end is moved to {utterance.start / HEARD_HZ:.3f}, where {utterance.name} starts"
            issues.append(before.issue("note", path, reason))
        else:
            reason = f"has no words, and {utterance.name} starts with it"
            issues.append(before.issue("skipped", path, reason))
        kept.append(utterance)
    return tuple(kept), issues


def _before_yields(before: Utterance, utterance: Utterance, overlap: int) -> bool:
    """Return whether the earlier of two overlapping utterances is shortened rather than the later one left out."""
    if not has_words(utterance.text):
        return False
    shorter = min(before.end - before.start, utterance.end - utterance.start)
    return not has_words(before.text) or overlap * 2 <= shorter
