"""The recognition of one utterance, step by step and without a thread: audio in, committed words out.

The stream is divided into frames of the VAD (32 ms). Speech opens a segment, and a stretch of silence closes it. Inside
a segment, a window of audio is decoded after every step; the words that the policy of `hypotheses` accepts are
committed, and the window is cut after older committed words, which keeps it short and cheap. A shorter pause is decoded
too, so that the text is known before the segment ends. At the end of a segment all of its words are committed; if
nothing was said since the pause, that is what was decoded there. Silence is never decoded.

Results depend on the audio alone, not on its division into chunks, unless a caller that falls behind leaves out steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sca.audio.vad import FRAME_SAMPLES
from sca.infer.recognition.base import CommittedWord, Recognition
from sca.infer.recognition.hypotheses import HeardWord, Hypothesis, WindowDecoder, WindowPrompt, agreed, aligned
from sca.units import HEARD_HZ

__all__ = ["SpeechStream", "StreamOptions", "VoiceDetector"]

_ONSET, _OFFSET = 0.5, 0.35
_PREROLL_SAMPLES = 12 * FRAME_SAMPLES
_MIN_VOICED_SAMPLES = 4 * FRAME_SAMPLES
_QUIET_SAMPLES = 4 * FRAME_SAMPLES
_MAX_CONTEXT_TOKENS = 48


class VoiceDetector(Protocol):
    """The voice activity detection of one stream, such as `sca.audio.vad.VadStream`."""

    def push(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """Add audio and return the speech probabilities of the completed frames of 512 samples."""
        ...


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """When a stream decodes and commits. All values are in samples at 16 kHz.

    Attributes:
        step_samples: Audio between two decodings of a segment.
        margin_samples: A word is committed if it ends this long before the end of the window.
        end_silence_samples: Silence that ends a segment.
        trim_samples: A longer window is cut after a committed word.
        keep_samples: Audio of committed words that stays in the window before its other words.
        max_samples: The longest window.
        pause_samples: Silence after which the window is decoded, before it ends the segment; 0 never does that.
    """

    step_samples: int = 1280 * HEARD_HZ // 1000
    margin_samples: int = 400 * HEARD_HZ // 1000
    end_silence_samples: int = 400 * HEARD_HZ // 1000
    trim_samples: int = 3500 * HEARD_HZ // 1000
    keep_samples: int = 1500 * HEARD_HZ // 1000
    max_samples: int = 24 * HEARD_HZ
    pause_samples: int = 0


@dataclass(slots=True)
class _Segment:
    """A stretch of speech that is being recognized; positions are those of the stream."""

    start: int
    """Where the window starts."""
    last_decoded: int
    voiced: int = 0
    silence: int = 0
    committed: tuple[HeardWord, ...] = ()
    """The committed words whose sound is in the window, with times in the window."""
    before: Hypothesis = field(default_factory=Hypothesis)
    is_settled: bool = False
    """Whether the window was decoded in the pause that goes on: `before` has the words that are not committed."""


class SpeechStream:
    """The recognition of one utterance.

    Args:
        decoder: The model.
        detector: A new voice activity detector.
        options: When to decode and to commit.
    """

    def __init__(self, decoder: WindowDecoder, detector: VoiceDetector, options: StreamOptions) -> None:
        self._decoder, self._detector, self._options = decoder, detector, options
        self._audio = np.zeros(0, np.float32)
        self._audio_start = 0  # the position of its first sample
        self._position = 0  # the end of the last frame
        self._segment: _Segment | None = None
        self._done = 0  # where the last segment ended
        self._is_cancelled = False
        self._context: tuple[int, ...] = ()
        self._result = Recognition()
        self.decoded = 0
        """How often a window was decoded."""

    @property
    def result(self) -> Recognition:
        """The newest result."""
        return self._result

    @property
    def held_samples(self) -> int:
        """The audio that is held: the window, or the beginning of a word before the VAD finds it."""
        return len(self._audio)

    def push(self, samples: NDArray[np.float32], *, every_step: bool = True) -> None:
        """Add audio.

        Args:
            samples: Float32 mono `(n,)` at 16 kHz.
            every_step: Whether the window is decoded at every step that is due. Otherwise it is decoded once, after the
                last sample, for a caller that has fallen behind; no audio is left out.
        """
        self._audio = np.concatenate([self._audio, samples])
        probabilities = self._detector.push(samples).tolist()
        for number, probability in enumerate(probabilities, 1):
            self._position += FRAME_SAMPLES
            self._frame(probability, may_decode=every_step or number == len(probabilities))
        self._release()
        is_settled = bool(self._result.text) if self._segment is None else self._segment.is_settled
        self._result = replace(self._result, audio_samples=self._audio_start + len(self._audio), is_settled=is_settled)

    def finish(self) -> None:
        """Recognize what is left. The result is final."""
        self._position = end = self._audio_start + len(self._audio)
        if self._segment is not None:
            self._close(self._segment)
        self._audio, self._audio_start = np.zeros(0, np.float32), end
        self._result = replace(self._result, tail="", audio_samples=end, is_final=True, is_settled=False)

    def cancel(self) -> None:
        """Decode nothing more, because the result is not used."""
        self._is_cancelled = True

    def _frame(self, probability: float, *, may_decode: bool) -> None:
        """Take the speech probability of the frame that ends at the position."""
        segment = self._segment
        if segment is None:
            if probability < _ONSET:
                return
            start = max(self._position - FRAME_SAMPLES - _PREROLL_SAMPLES, self._done, self._audio_start)
            segment = self._segment = _Segment(start, self._position)
        if probability < _OFFSET:
            segment.silence += FRAME_SAMPLES
        else:
            segment.silence, segment.voiced, segment.is_settled = 0, segment.voiced + FRAME_SAMPLES, False
        if segment.silence >= self._options.end_silence_samples:
            self._close(segment)
        elif self._is_due(segment, may_decode=may_decode):
            self._step(segment)
        elif may_decode and self._pauses(segment):
            self._step(segment)
            segment.is_settled = True

    def _is_due(self, segment: _Segment, *, may_decode: bool) -> bool:
        if self._position - segment.start >= self._options.max_samples:
            return True
        # In silence the segment is about to end, or the step follows when speech goes on.
        quiet = segment.silence >= _QUIET_SAMPLES
        return may_decode and not quiet and self._position - segment.last_decoded >= self._options.step_samples

    def _pauses(self, segment: _Segment) -> bool:
        """Return whether the speech has just paused for long enough to be decoded."""
        least = self._options.pause_samples
        is_speech = segment.voiced >= _MIN_VOICED_SAMPLES and not segment.is_settled
        return is_speech and 0 < least <= segment.silence

    def _decode(self, segment: _Segment) -> Hypothesis:
        segment.last_decoded = self._position
        if self._is_cancelled:
            return Hypothesis()
        self.decoded += 1
        window = self._audio[segment.start - self._audio_start : self._position - self._audio_start]
        prefix = tuple(token for word in segment.committed for token in word.tokens)
        done = segment.committed[-1].end_sample if segment.committed else 0
        speech_end = max(len(window) - segment.silence, 0)
        return self._decoder.decode(window, WindowPrompt(prefix, self._context, max(speech_end - done, 0), speech_end))

    def _step(self, segment: _Segment) -> None:
        """Decode the window and commit the words that are certain."""
        found = self._decode(segment)
        limit = self._position - segment.start - self._options.margin_samples
        count = aligned(found.words, limit) if found.is_aligned else agreed(found.words, segment.before.words)
        self._commit(segment, found.words[:count])
        segment.before = Hypothesis(found.words[count:], found.is_aligned)
        tail = "".join(word.text for word in found.words[count:]).strip()
        self._result = replace(self._result, tail=tail)
        self._cut(segment)

    def _close(self, segment: _Segment) -> None:
        """End a segment at the position: all of its words are committed."""
        if segment.voiced >= _MIN_VOICED_SAMPLES:
            found = segment.before if segment.is_settled else self._decode(segment)
            self._commit(segment, found.words)
        self._remember(segment.committed)
        self._result = replace(self._result, tail="")
        self._segment, self._done = None, self._position

    def _commit(self, segment: _Segment, words: Sequence[HeardWord]) -> None:
        """Add words to the result; their times are made to follow each other within the audio."""
        committed = list(self._result.words)
        for word in words:
            earliest = committed[-1].end_sample if committed else 0
            start = min(max(segment.start + word.start_sample, earliest), self._position)
            end = min(max(segment.start + word.end_sample, start), self._position)
            text = word.text.strip()
            if text:
                committed.append(CommittedWord(text, start, end, min(max(word.probability, 0.0), 1.0)))
        segment.committed += tuple(words)
        self._result = replace(self._result, words=tuple(committed))

    def _cut(self, segment: _Segment) -> None:
        """Shorten a long window: after a committed word, before the audio that the next words need as context."""
        length = self._position - segment.start
        if length <= self._options.trim_samples:
            return
        last_end = segment.committed[-1].end_sample if segment.committed else 0
        count = aligned(segment.committed, last_end - self._options.keep_samples)
        if count:
            gone, left = segment.committed[:count], segment.committed[count:]
            at = (gone[-1].end_sample + max(left[0].start_sample, gone[-1].end_sample)) // 2
            self._remember(gone)
            segment.start += at
            segment.committed = tuple(_moved(word, at) for word in left)
            segment.before = replace(segment.before, words=tuple(_moved(word, at) for word in segment.before.words))
        elif length >= self._options.max_samples:  # no word is certain, as in music
            self._close(segment)

    def _remember(self, words: Sequence[HeardWord]) -> None:
        tokens = (*self._context, *(token for word in words for token in word.tokens))
        self._context = tokens[-_MAX_CONTEXT_TOKENS:]

    def _release(self) -> None:
        """Forget audio that no window needs."""
        first = self._segment.start if self._segment is not None else self._position - _PREROLL_SAMPLES
        drop = max(0, first - self._audio_start)
        if drop:
            self._audio, self._audio_start = self._audio[drop:].copy(), self._audio_start + drop


def _moved(word: HeardWord, samples: int) -> HeardWord:
    return replace(word, start_sample=word.start_sample - samples, end_sample=word.end_sample - samples)
