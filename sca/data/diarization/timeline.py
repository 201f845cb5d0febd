"""The speakers of each hundredth of a second, the speakers of words, and the turns of a recording."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sca.data.diarization.decode import NOBODY, best_path
from sca.units import HEARD_HZ, samples_to_seconds

__all__ = ["FRAME_SAMPLES", "SpeakerFrames", "SpokenSpan", "Turn", "speaker_name"]

FRAME_SAMPLES = HEARD_HZ // 100
"""Samples of a frame at 16 kHz."""
_FRAME_S = FRAME_SAMPLES / HEARD_HZ
_BRIDGED_FRAMES = 50
_SHORTEST_OVERLAP_FRAMES = 20
_CHANGE = 0.5
_CHANGE_AT_BREAK = 0.05
_BREAK_S = 0.3
_NEAR_S = 1.0
_SENTENCE_ENDS = (".", "?", "!", "…", "。", "？", "！")


class SpokenSpan(NamedTuple):
    """A word, or another stretch of recognised speech, with its times in seconds."""

    text: str
    start_s: float
    end_s: float


class Turn(NamedTuple):
    """A stretch of speech of one speaker, in seconds. Overlapping turns are simultaneous speech."""

    start_s: float
    end_s: float
    speaker: int


def speaker_name(speaker: int) -> str:
    """Return the name of a speaker in files, such as `SPEAKER_00`. That one speaks most."""
    return f"SPEAKER_{speaker:02}"


@dataclass(frozen=True, slots=True)
class SpeakerFrames:
    """The speakers of a recording.

    Attributes:
        frames: int16 `(frames, 2)`, a frame being 10 ms: the speaker, and a second one at the same time;
            `NOBODY` for none.
        scores: Cosines of each window with each speaker, float32 `(windows, speakers)`.
        middles: The middle of each window, in samples at 16 kHz, sorted.
    """

    frames: NDArray[np.int16]
    scores: NDArray[np.float32]
    middles: NDArray[np.int64]

    @property
    def speakers(self) -> int:
        """The number of speakers."""
        return int(self.scores.shape[1])

    def speakers_of(self, words: Sequence[SpokenSpan]) -> list[int]:
        """Return the speaker of each word.

        The scores of the windows around a word decide, and changes within a sentence cost more than those at pauses and
        at ends of sentences.

        Args:
            words: The words, sorted by start.

        Returns:
            Speakers, 0 for all words if the recording has no windows.
        """
        if not words or not self.speakers:
            return [0] * len(words)
        scores = np.stack([self._score(word) for word in words])
        change = np.full(len(words), _CHANGE)
        for n in range(1, len(words)):
            last = words[n - 1]
            if words[n].start_s - last.end_s >= _BREAK_S or last.text.rstrip().endswith(_SENTENCE_ENDS):
                change[n] = _CHANGE_AT_BREAK
        return [int(speaker) for speaker in best_path(scores, change)]

    def _score(self, word: SpokenSpan) -> NDArray[np.float32]:
        """Return the score of each speaker for a word, weighted by its windows."""
        first, last = np.searchsorted(self.middles, np.array([word.start_s, word.end_s]) * HEARD_HZ)
        if first == last:
            middle = (word.start_s + word.end_s) / 2 * HEARD_HZ
            around = [n for n in (first - 1, first) if 0 <= n < len(self.middles)]
            first = min(around, key=lambda n: abs(int(self.middles[n]) - middle))
            last = first + 1
        score: NDArray[np.float32] = self.scores[first:last].mean(axis=0)
        return score

    def is_overlap(self, start_s: float, end_s: float) -> bool:
        """Return whether two speakers speak during at least half of a stretch."""
        first, last = round(start_s / _FRAME_S), max(round(end_s / _FRAME_S), round(start_s / _FRAME_S) + 1)
        part = self.frames[first:last, 1]
        return len(part) > 0 and float((part != NOBODY).mean()) >= 0.5

    def with_words(self, words: Sequence[SpokenSpan], speakers: Sequence[int]) -> "SpeakerFrames":
        """Return the frames with changes of speakers moved to the borders of words.

        Args:
            words: The words, sorted by start.
            speakers: The speaker of each.
        """
        frames = self.frames.copy()
        spans = [(round(word.start_s / _FRAME_S), round(word.end_s / _FRAME_S)) for word in words]
        for n, ((first, last), speaker) in enumerate(zip(spans, speakers, strict=True)):
            end = last
            if n + 1 < len(spans) and 0 < spans[n + 1][0] - last <= _NEAR_S / _FRAME_S:
                gap = spans[n + 1][0] - last
                end = last + (gap if speakers[n + 1] == speaker else gap // 2)
            start = first
            if n and speakers[n - 1] != speaker and 0 < first - spans[n - 1][1] <= _NEAR_S / _FRAME_S:
                start = first - (first - spans[n - 1][1] + 1) // 2
            _assign(frames[start:end], speaker)
        return replace(self, frames=frames)

    def turns(self) -> list[Turn]:
        """Return the turns, sorted by start. A pause of up to 0.5 s does not end a turn."""
        found: list[Turn] = []
        frames = _with_long_overlaps(self.frames)
        for speaker in range(self.speakers):
            speaks = (frames == speaker).any(axis=1)
            others = ((frames != speaker) & (frames != NOBODY)).any(axis=1)
            spans: list[list[int]] = []
            for start, end in _runs(speaks):
                if spans and start - spans[-1][1] <= _BRIDGED_FRAMES and not others[spans[-1][1] : start].any():
                    spans[-1][1] = end
                else:
                    spans.append([start, end])
            found += [Turn(_seconds(start), _seconds(end), speaker) for start, end in spans]
        return sorted(found)


def _assign(part: NDArray[np.int16], speaker: int) -> None:
    """Give the frames with speech to a speaker. Where both spoke, the earlier speaker becomes the second one."""
    spoken = part[:, 0] != NOBODY
    was_second = spoken & (part[:, 1] == speaker)
    part[was_second, 1] = part[was_second, 0]
    part[spoken, 0] = speaker
    part[part[:, 1] == speaker, 1] = NOBODY


def _with_long_overlaps(frames: NDArray[np.int16]) -> NDArray[np.int16]:
    """Return the frames without overlaps that are shorter than 0.2 s, which are changes of speakers."""
    kept = frames.copy()
    for start, end in _runs(frames[:, 1] != NOBODY):
        if end - start < _SHORTEST_OVERLAP_FRAMES:
            kept[start:end, 1] = NOBODY
    return kept


def _runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the runs of true values as `(first, last + 1)`."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return [(int(start), int(end)) for start, end in zip(edges[::2], edges[1::2], strict=True)]


def _seconds(frame: int) -> float:
    return samples_to_seconds(frame * FRAME_SAMPLES, HEARD_HZ)
