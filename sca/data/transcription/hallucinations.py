"""Guards against the known errors of Whisper. They are pure functions on words and speech spans; none adds text.

Whisper repeats itself on music and noise, writes text where no speech is, starts the first word of a phrase long before
the speech begins, and gives words no duration. Times are corrected. A text that may be wrong is marked with its doubt
and stays, because its sound stays too: a text that is removed leaves speech without an event. Only a text of low
probability where the VAD finds no speech is removed. Each guard counts how often it acted. Times are seconds, sorted.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from sca.spans import merge_spans

__all__ = [
    "GUARDS",
    "OVERLAPPING",
    "Doubt",
    "Evidence",
    "RecognizedWord",
    "Speech",
    "guard_words",
    "mean_probability",
    "phrases",
    "text_of",
    "within_recording",
]

Doubt = Literal["repeated", "too_fast", "improbable", "no_speech_found", "over_reaction", "overlapping"]
"""Why a text may be wrong: a loop of the decoder; faster than speech; low probability; the VAD finds no speech; the sound
of the audience (`sca.data.transcription.over_reactions`); two speakers talk, which only diarization finds."""
OVERLAPPING: Literal["overlapping"] = "overlapping"
"""The doubt that is counted with diarization only."""

GUARDS = (
    *(doubt for doubt in get_args(Doubt) if doubt != OVERLAPPING),
    "on_silence",
    "pulled_into_silence",
    "no_duration",
)
"""The counters: words with each doubt, words removed on silence, starts moved, durations given."""

MAX_CHARS_PER_S = 40.0
"""No phrase of real speech is faster.

Of 2,902 words in public transcripts by Whisper medium, 190 are in phrases faster than 25 letters a second, 4 in phrases
faster than 30, none in phrases faster than 40.
"""
MIN_PROBABILITY = 0.3
"""A phrase is in doubt if the mean probability of its words is lower."""
MIN_PROBABILITY_IN_DOUBT = 0.6
"""The same in a window that Whisper's own thresholds reject, and without speech."""
MIN_AVG_LOGPROB = -1.0
MAX_COMPRESSION_RATIO = 2.4
MAX_NO_SPEECH_PROB = 0.6
"""The thresholds of Whisper (openai/whisper, `transcribe`): a window beyond them is decoded again."""
MAX_REPEATS = {1: 5, 2: 3, 3: 3, 4: 2, 5: 2, 6: 2, 7: 2, 8: 2}
"""How often in a row an n-gram of so many words may occur.

People do repeat `no no no no`, but not five words three times.
"""
LONG_SILENCE_S = 0.5
SHORTEST_WORD_S = 0.02
LONGEST_GIVEN_S = 0.1
PAUSE_S = 0.3
TIME_ERROR_S = 0.15
"""About the error of recognised word times."""
_VAD_TOLERANCE_S = 0.2
MIN_SPEECH = 0.3
"""The least share of a phrase that is within 0.2 s of speech.

Of 4,914 real words of base and 1,044 of tiny.en, one is in a phrase with a share below 0.5, and it lasts 0.05 s. What is decoded
has margins of 0.4 s around speech, so a phrase beside a click is decoded although nearly all of it is without speech.
"""
_SENTENCE_ENDS = (".", "?", "!", "…", "。", "？", "！")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the recognizer knows about a segment.

    Attributes:
        avg_logprob: Mean log probability of its tokens.
        no_speech_prob: Probability that its window has no speech.
        compression_ratio: How much smaller its text is when compressed; a loop is very much smaller.
    """

    avg_logprob: float
    no_speech_prob: float
    compression_ratio: float

    @property
    def in_doubt(self) -> bool:
        """Whether the thresholds of Whisper reject the segment."""
        return self.avg_logprob < MIN_AVG_LOGPROB or self.compression_ratio > MAX_COMPRESSION_RATIO


@dataclass(frozen=True, slots=True)
class RecognizedWord:
    """A recognized word.

    Attributes:
        text: The word with the space before it, as the recognizer writes it.
        start: The start in seconds.
        end: The end in seconds.
        probability: The probability that the word is right.
        evidence: What the recognizer knows about the segment of the word.
        doubt: Why the word may be wrong.
        speaker: The speaker, 0 being the one who speaks most; None without diarization.
    """

    text: str
    start: float
    end: float
    probability: float
    evidence: Evidence | None = None
    doubt: Doubt | None = None
    speaker: int | None = None


class Speech:
    """Where a VAD found speech."""

    def __init__(
        self, spans: Sequence[tuple[float, float]], voiced: Sequence[tuple[float, float]] | None = None
    ) -> None:
        """Create from spans `(start, end)` in seconds, sorted and disjoint.

        Args:
            spans: What is decoded, with its margins.
            voiced: The speech without margins; None for `spans`.
        """
        self.starts = np.asarray([start for start, _ in spans], np.float64)
        self.ends = np.asarray([end for _, end in spans], np.float64)
        self._near = merge_spans(
            (start - _VAD_TOLERANCE_S, end + _VAD_TOLERANCE_S) for start, end in (spans if voiced is None else voiced)
        )
        self._near_ends = [end for _, end in self._near]

    def overlaps(self, start: float, end: float) -> bool:
        """Return whether speech is within 0.2 s of the span.

        The edges that a VAD finds are not more precise than that.
        """
        first = int(np.searchsorted(self.ends, start - _VAD_TOLERANCE_S, "right"))
        return first < len(self.starts) and bool(self.starts[first] < end + _VAD_TOLERANCE_S)

    def share(self, start: float, end: float) -> float:
        """Return the share of the span, which has a positive length, that is within 0.2 s of speech without margins."""
        shared = 0.0
        for low, high in self._near[bisect_right(self._near_ends, start) :]:
            if low >= end:
                break
            shared += min(end, high) - max(start, low)
        return shared / (end - start)

    def onset(self, start: float) -> float:
        """Return where speech begins at or after `start`; `start` itself inside speech and after the last speech."""
        at = int(np.searchsorted(self.ends, start, "right"))
        return start if at == len(self.starts) else max(start, float(self.starts[at]))


def guard_words(
    words: Sequence[RecognizedWord],
    speech: Speech,
    counts: Counter[str],
    judge: Callable[[list[RecognizedWord]], list[RecognizedWord]] = list,
) -> list[RecognizedWord]:
    """Apply every guard to the words of one recording.

    Args:
        words: The words, sorted by time.
        speech: Where speech is.
        counts: Counter to which the actions are added, by the names of `GUARDS`.
        judge: A further guard, which returns the words with its doubts. What it marks is not removed.

    Returns:
        The words with corrected times and their doubts. Words of low probability without speech are left out.
    """
    kept = judge(_with_durations(_marked_loops(words), counts))
    kept = _from_onset(_judged_by_speech(kept, speech, counts), speech, counts)
    kept = _judged_by_text(_judged_by_share(kept, speech))
    counts.update(word.doubt for word in kept if word.doubt is not None)
    return kept


def within_recording(words: Sequence[RecognizedWord], duration_s: float) -> list[RecognizedWord]:
    """Move words that end after the end of the recording into it: they stay disjoint and have a positive length.

    The recognizer pads the last window with silence, so the times of its last words can lie in the padding.

    Args:
        words: Disjoint words, sorted by time.
        duration_s: The length of the recording.
    """
    moved = list(words)
    latest = duration_s
    for n in reversed(range(len(moved))):
        word = moved[n]
        if word.end <= latest:
            break
        shortest = min(SHORTEST_WORD_S, latest / (n + 1))  # all words before it need a place too
        start = round(min(word.start, latest - shortest), 3)
        moved[n] = replace(word, start=start, end=latest)
        latest = start
    return moved


def phrases(words: Sequence[RecognizedWord]) -> Iterator[list[RecognizedWord]]:
    """Cut words into phrases: at pauses of 0.3 s, after the end of a sentence, and where a doubt or a speaker changes."""
    phrase: list[RecognizedWord] = []
    for word in words:
        if phrase and _begins_phrase(phrase[-1], word):
            yield phrase
            phrase = []
        phrase.append(word)
    if phrase:
        yield phrase


def _begins_phrase(last: RecognizedWord, word: RecognizedWord) -> bool:
    ends = word.start - last.end >= PAUSE_S or last.text.rstrip().endswith(_SENTENCE_ENDS)
    return ends or word.doubt != last.doubt or word.speaker != last.speaker


def mean_probability(words: Sequence[RecognizedWord]) -> float:
    """Return the mean probability of words."""
    return sum(word.probability for word in words) / len(words)


def text_of(words: Sequence[RecognizedWord]) -> str:
    """Return words as one text, without the space before the first."""
    return "".join(word.text for word in words).strip()


def _marked_loops(words: Sequence[RecognizedWord]) -> list[RecognizedWord]:
    """Mark an n-gram that is repeated more often than in speech, except its first occurrence: the decoder was in a loop."""
    normalized = [word.text.strip().lower().strip(".,!?…-") for word in words]
    marked: list[RecognizedWord] = []
    at = 0
    while at < len(words):
        size, repeats = _loop_at(normalized, at)
        marked += words[at : at + size]
        marked += [replace(word, doubt="repeated") for word in words[at + size : at + size * repeats]]
        at += size * repeats
    return marked


def _loop_at(normalized: Sequence[str], at: int) -> tuple[int, int]:
    """Return the size of the shortest n-gram that loops from `at` on, and its repeats; (1, 1) if none does."""
    for size, max_repeats in MAX_REPEATS.items():
        gram = normalized[at : at + size]
        repeats = 1
        while normalized[at + repeats * size : at + (repeats + 1) * size] == gram:
            repeats += 1
        if repeats > max_repeats and len(gram) == size:
            return size, repeats
    return 1, 1


def _with_durations(words: Sequence[RecognizedWord], counts: Counter[str]) -> list[RecognizedWord]:
    """Make words disjoint.

    A word without a duration gets the time until the next one, at least 0.02 and at most 0.1 s.
    """
    corrected: list[RecognizedWord] = []
    for i, word in enumerate(words):
        start = max(word.start, corrected[-1].end) if corrected else word.start
        end = word.end
        if end - start < SHORTEST_WORD_S:
            counts["no_duration"] += word.end - word.start < SHORTEST_WORD_S
            available = words[i + 1].start - start if i + 1 < len(words) else LONGEST_GIVEN_S
            end = start + max(SHORTEST_WORD_S, min(LONGEST_GIVEN_S, available))
        corrected.append(replace(word, start=round(start, 3), end=round(end, 3)))
    return corrected


def _judged_by_speech(words: Sequence[RecognizedWord], speech: Speech, counts: Counter[str]) -> list[RecognizedWord]:
    """Judge phrases during which the VAD finds no speech: remove those of low probability, mark the others."""
    kept: list[RecognizedWord] = []
    for phrase in phrases(words):
        if phrase[0].doubt == "over_reaction" or speech.overlaps(phrase[0].start, phrase[-1].end):
            kept += phrase
        elif _is_improbable_on_silence(phrase):
            counts["on_silence"] += len(phrase)
        else:
            kept += [replace(word, doubt="no_speech_found") for word in phrase]
    return kept


def _is_improbable_on_silence(phrase: Sequence[RecognizedWord]) -> bool:
    is_silent = any(word.evidence is not None and word.evidence.no_speech_prob > MAX_NO_SPEECH_PROB for word in phrase)
    return is_silent or mean_probability(phrase) < MIN_PROBABILITY_IN_DOUBT


def _from_onset(words: Sequence[RecognizedWord], speech: Speech, counts: Counter[str]) -> list[RecognizedWord]:
    """Move the start of a phrase's first word to the onset of speech, if a long silence is before it."""
    corrected: list[RecognizedWord] = []
    for phrase in phrases(words):
        first = phrase[0]
        onset = speech.onset(first.start)
        if onset - first.start > LONG_SILENCE_S and onset < first.end:
            counts["pulled_into_silence"] += 1
            phrase[0] = replace(first, start=round(min(onset, first.end - SHORTEST_WORD_S), 3))
        corrected += phrase
    return corrected


def _judged_by_share(words: Sequence[RecognizedWord], speech: Speech) -> list[RecognizedWord]:
    """Mark phrases that touch speech, although most of their time has none.

    The place of a phrase of 0.2 s or less is not exact enough to judge it.
    """
    judged: list[RecognizedWord] = []
    for phrase in phrases(words):
        start, end = phrase[0].start, phrase[-1].end
        can_be_judged = phrase[0].doubt is None and end - start > _VAD_TOLERANCE_S
        is_silent = can_be_judged and speech.share(start, end) < MIN_SPEECH
        judged += [replace(word, doubt="no_speech_found") for word in phrase] if is_silent else phrase
    return judged


def _judged_by_text(words: Sequence[RecognizedWord]) -> list[RecognizedWord]:
    """Mark phrases that are faster than speech or improbable."""
    judged: list[RecognizedWord] = []
    cut = list(phrases(words))
    for n, phrase in enumerate(cut):
        earliest = cut[n - 1][-1].end if n else 0.0
        latest = cut[n + 1][0].start if n + 1 < len(cut) else float("inf")
        doubt = None if phrase[0].doubt else _doubt_of(phrase, earliest, latest)
        judged += phrase if doubt is None else [replace(word, doubt=doubt) for word in phrase]
    return judged


def _doubt_of(phrase: Sequence[RecognizedWord], earliest: float, latest: float) -> Doubt | None:
    """Return the doubt about a phrase. The times of words are not exact, so it may last until its neighbours."""
    start, end = max(phrase[0].start - TIME_ERROR_S, earliest), min(phrase[-1].end + TIME_ERROR_S, latest)
    if len(text_of(phrase)) > MAX_CHARS_PER_S * (end - start):
        return "too_fast"
    in_doubt = any(word.evidence is not None and word.evidence.in_doubt for word in phrase)
    if mean_probability(phrase) < (MIN_PROBABILITY_IN_DOUBT if in_doubt else MIN_PROBABILITY):
        return "improbable"
    return None
