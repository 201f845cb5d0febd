"""Measure the timing of a corpus that `sca build-duplex` reads: offsets between turns, pauses, backchannels."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from sca.data.corpora.base import Conversation, Track
from sca.data.corpora.registry import open_corpus
from sca.data.duplex.model.labels import BACKCHANNEL, INTERRUPTION
from sca.data.duplex.rows.turn_labels import label
from sca.errors import InputError, UnknownNameError
from sca.synth.timing import TIMINGS, Distribution, Quantiles, Timing
from sca.textutil import counted
from sca.units import HEARD_HZ

__all__ = ["find_timing", "measure_timing"]

_FEWEST_CHANGES = 20
_FEWEST = 5
"""A distribution of fewer times is taken from `switchboard`."""


def find_timing(name: str) -> Timing:
    """Return a timing by its name, or measured from a corpus.

    Raises:
        UsageError: It is neither a name nor a path.
        InputError: The corpus cannot be read, or has too few changes of the speaker.
    """
    if name in TIMINGS:
        return TIMINGS[name]
    if not Path(name).exists():
        hint = f"give {', '.join(TIMINGS)}, or the file or folder of a corpus"
        raise UnknownNameError(f"timing {name} does not exist", hint=hint, name=name)
    return measure_timing(Path(name))


def measure_timing(source: Path) -> Timing:
    """Measure the timing of a corpus from the times of its utterances.

    Args:
        source: The corpus, in any layout that `sca build-duplex` detects.

    Raises:
        InputError: The corpus cannot be read, or has too few changes of the speaker.
    """
    found = _Found()
    for conversation in open_corpus(source).conversations():
        if isinstance(conversation, Conversation) and len(conversation.tracks) == 2:
            found.add(conversation)
    changes = len(found.gaps) + len(found.overlaps) + len(found.yields)
    if changes < _FEWEST_CHANGES:
        raise InputError(
            f"{source}: {counted(changes, 'change')} of the speaker; a timing needs at least {_FEWEST_CHANGES}"
        )
    base = TIMINGS["switchboard"]
    return Timing(
        source.name,
        f"measured: {changes} changes of the speaker",
        gap_s=_distribution(found.gaps, base.gap_s),
        overlap_s=_distribution(found.overlaps, base.overlap_s),
        overlap_share=len(found.overlaps) / max(len(found.gaps) + len(found.overlaps), 1),
        pause_s=_distribution(found.pauses, base.pause_s),
        yield_s=_distribution(found.yields, base.yield_s),
        interruption_share=len(found.yields) / changes,
        backchannels_a_minute=60 * found.backchannels / max(found.speech_s, 1e-9),
    )


@dataclass(slots=True)
class _Found:
    """Times in seconds."""

    gaps: list[float] = field(default_factory=list)
    overlaps: list[float] = field(default_factory=list)
    yields: list[float] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    backchannels: int = 0
    speech_s: float = 0.0

    def add(self, conversation: Conversation) -> None:
        first, second = conversation.tracks
        entries = sorted([*_labelled(first, second, 0), *_labelled(second, first, 1)])
        self.backchannels += sum(kind == BACKCHANNEL for *_, kind in entries)
        turns = [entry for entry in entries if entry[3] != BACKCHANNEL]
        self.speech_s += sum(end - start for start, end, *_ in turns) / HEARD_HZ
        for (_, end, speaker, _), (start, _, next_speaker, kind) in pairwise(turns):
            offset_s = (start - end) / HEARD_HZ
            if speaker == next_speaker:
                self.pauses += [offset_s] if offset_s > 0 else []
            elif kind == INTERRUPTION:
                self.yields.append(-offset_s)
            elif offset_s < 0:
                self.overlaps.append(-offset_s)
            else:
                self.gaps.append(offset_s)


def _labelled(track: Track, other: Track, speaker: int) -> Iterator[tuple[int, int, int, str]]:
    """Yield start, end, speaker and label of each utterance."""
    spans = [(utterance.start, utterance.end) for utterance in other.utterances]
    for utterance in track.utterances:
        span = utterance.start, utterance.end
        yield *span, speaker, label(span, len(utterance.text.split()), spans).kind


def _distribution(times_s: list[float], default: Distribution) -> Distribution:
    return Quantiles.of(times_s) if len(times_s) >= _FEWEST else default
