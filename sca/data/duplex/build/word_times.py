"""Word times of a track: given by the corpus where they match the transcript, else interpolated or aligned."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from sca.data.corpora.base import Issue, TimedWord, Track, Utterance
from sca.data.corpora.text.tags import has_unintelligible
from sca.data.duplex.align.match import GivenTimes, interpolate
from sca.data.duplex.model.unlabelled import UnlabelledSpan
from sca.data.duplex.rows.text import clean
from sca.textutil import counted
from sca.units import HEARD_HZ, samples_to_seconds

__all__ = ["TimedTrack", "WordTimer", "time_words"]

WordTimer = Callable[[str, int, int], tuple[TimedWord, ...]]
"""Returns the words of the utterance `[start, end)` with a text."""

_PAST_END = HEARD_HZ // 2  # an utterance may end this much after the recording


@dataclass(slots=True)
class TimedTrack:
    """The utterances of a track with word times.

    Attributes:
        utterances: The cleaned text of each utterance and its words.
        issues: Utterances that were left out, and given word times that were not used.
        tags: The tags of the utterances, by their text.
        unlabelled: Speech in the transcript without usable words.
    """

    utterances: list[tuple[str, tuple[TimedWord, ...]]] = field(default_factory=list)
    issues: list[Issue] = field(default_factory=list)
    tags: Counter[str] = field(default_factory=Counter)
    unlabelled: list[UnlabelledSpan] = field(default_factory=list)


def time_words(track: Track, samples: int, timer: WordTimer = interpolate, *, keep_tags: bool = False) -> TimedTrack:
    """Time the words of every utterance that lies in the recording.

    Args:
        track: The track.
        samples: The length of the recording at 16 kHz.
        timer: Times the utterances without usable word times.
        keep_tags: Whether tags remain in the text.
    """
    timed = TimedTrack()
    if track.transcript is None:
        return timed
    timed.unlabelled += [UnlabelledSpan(start, end, "overlap") for start, end in track.unlabelled]
    given = GivenTimes(track.words) if track.words is not None else None
    earliest = 0
    mismatched: list[Utterance] = []
    untimed: list[int] = []
    for utterance in track.utterances:
        cleaned = clean(utterance.text, keep_tags=keep_tags)
        text = cleaned.text
        timed.tags.update(tag.text for tag in cleaned.tags)
        if not keep_tags and has_unintelligible(utterance.text):
            timed.unlabelled.append(UnlabelledSpan(utterance.start, utterance.end, "unintelligible"))
        if not text:
            continue
        if utterance.start >= samples or utterance.end > samples + _PAST_END:
            timed.unlabelled.append(UnlabelledSpan(min(utterance.start, samples), utterance.end, "past_end"))
            reason = f"ends at {_seconds(utterance.end)} s, the recording at {_seconds(samples)} s"
            timed.issues.append(utterance.issue("skipped", track.transcript, reason))
            continue
        words = given.take(text, utterance.start, utterance.end) if given is not None else None
        if words is None:
            if given is not None:
                mismatched.append(utterance)
            words = timer(text, utterance.start, min(utterance.end, samples))
        elif missing := sum(word.source == "interpolated" for word in words):
            untimed.append(missing)
        words = _in_order(words, earliest, samples)
        earliest = words[-1].start
        timed.utterances.append((text, words))
    how = "interpolated" if timer is interpolate else "aligned"
    reason = f"the given word times do not match this utterance, so its words are {how}"
    timed.issues += [utterance.issue("note", track.transcript, reason) for utterance in mismatched]
    if untimed:
        reason = (
            f"{counted(sum(untimed), 'word')} of {counted(len(untimed), 'utterance')} without given times: interpolated"
        )
        timed.issues.append(Issue("note", track.transcript, None, reason))
    return timed


def _seconds(samples: int) -> str:
    return f"{samples_to_seconds(samples, HEARD_HZ):.3f}"


def _in_order(words: Sequence[TimedWord], earliest: int, samples: int) -> tuple[TimedWord, ...]:
    """Return the words with non-decreasing onsets and ends within the recording."""
    ordered: list[TimedWord] = []
    for word in words:
        start = min(max(word.start, earliest), samples)
        ordered.append(replace(word, start=start, end=min(max(word.end, start), samples)))
        earliest = start
    return tuple(ordered)
