"""Where words start and end in speech, seen in its sound."""

import numpy as np


def onset_errors(samples, words, rate_hz, quiet_s=0.08):
    """Return the start of each word after a pause minus the first loud sample, in seconds.

    Args:
        samples: The sound.
        words: Its words with their times.
        rate_hz: The rate of both.
        quiet_s: The length of a pause.
    """
    loud = np.abs(samples) > 0.02 * np.abs(samples).max()
    gap = int(quiet_s * rate_hz)
    places = np.flatnonzero(loud)
    onsets = [places[0], *places[1:][np.diff(places) > gap]]
    starts = np.array([word.start_sample for word in words])
    return np.array([starts[np.abs(starts - onset).argmin()] - onset for onset in onsets]) / rate_hz


def whole(voice, text):
    """Return all samples and all words of a text."""
    chunks = list(voice.speak(text))
    return np.concatenate([chunk.samples for chunk in chunks]), [word for chunk in chunks for word in chunk.words]
