"""A model of windows for tests of streaming recognition: the words of a script, found in the sound by its marks.

The sound of the word number n is a stretch of the constant value `mark(n)`; between words it is 0. The decoder reads
the marks that are in a window, as a model that makes no errors would; a word that the window cuts is heard as "…".
"""

import threading

import numpy as np

from sca.audio.vad import FRAME_SAMPLES
from sca.infer.recognition.hypotheses import HeardWord, Hypothesis

STEP = 1 / 1024


def mark(number):
    return np.float32((number + 1) * STEP)


def sound_of(words):
    """Return the sound of words.

    Args:
        words: `(start, end)` of each word in samples.
    """
    sound = np.zeros(words[-1][1] if words else 0, np.float32)
    for number, (start, end) in enumerate(words):
        sound[start:end] = mark(number)
    return sound


class MarkDetector:
    """A voice detector: a frame with a mark in it is speech."""

    def __init__(self):
        self._held = np.zeros(0, np.float32)

    def push(self, block):
        held = np.concatenate([self._held, block])
        frames = len(held) // FRAME_SAMPLES
        self._held = held[frames * FRAME_SAMPLES :]
        return (held[: frames * FRAME_SAMPLES].reshape(frames, FRAME_SAMPLES).max(axis=1, initial=0) > 0).astype(
            np.float32
        )


class ScriptedDecoder:
    """A window decoder.

    Args:
        words: `(start, end)` of each word, to know which words a window cuts.
        is_aligned: Whether the times are from an alignment.
        gate: An event that each call waits for; None for no waiting.
        error: An exception to raise.
    """

    def __init__(self, words, *, is_aligned=True, gate=None, error=None):
        self.words, self.is_aligned, self.gate, self.error = words, is_aligned, gate, error
        self.called = threading.Event()
        self.heard = set()
        self.window_samples = []

    def decode(self, window, prompt):
        self.called.set()
        if self.gate is not None:
            assert self.gate.wait(30)
        if self.error is not None:
            raise self.error
        self.window_samples.append(len(window))
        numbers = np.rint(window / STEP).astype(int) - 1
        self.heard.update(np.unique(numbers[numbers >= 0]).tolist())
        found = []
        for number in np.unique(numbers[numbers >= 0]).tolist():
            (places,) = np.nonzero(numbers == number)
            is_whole = len(places) == self.words[number][1] - self.words[number][0]
            if not is_whole and places[0] == 0:
                continue  # its beginning was cut off, so it was committed before
            text = f" w{number}" if is_whole else " …"
            found.append(HeardWord(text, (number,), int(places[0]), int(places[-1]) + 1, 0.9))
        return Hypothesis(tuple(word for word in found if word.tokens[0] not in prompt.prefix), self.is_aligned)
