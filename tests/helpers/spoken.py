"""Where words start and end in speech, seen in its sound."""

from itertools import pairwise

import numpy as np

SENTENCES = (
    "The train to London leaves at nine in the morning.",
    "Please close the window before you go to bed.",
    "My brother bought a new bicycle for his birthday.",
    "We had dinner with our neighbours last Saturday evening.",
    "The weather was cold, but the sky was clear.",
    "Could you tell me where the nearest station is?",
    "She opened the letter and began to read it aloud.",
    "There are seven days in a week and twelve months in a year.",
    "I would like a cup of coffee and a glass of water.",
    "The children played in the garden until it was dark.",
    "He forgot his keys, so he had to wait outside.",
    "Thank you very much for helping us with the boxes.",
)
"""Sentences of everyday words, for a recogniser."""


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


def found_start(samples, alone, length, rate_hz):
    """Return where the sound of a word starts in a sentence, in seconds, by the cross-correlation of their spectra.

    Args:
        samples: The sentence.
        alone: The word, spoken alone.
        length: The samples that the word has in the sentence.
        rate_hz: The rate of both.
    """
    sentence, word = (_spectrum(sound, rate_hz) for sound in (samples, alone))
    word = word - word.mean(0)
    word = word[np.linspace(0, len(word) - 1, max(int(length / rate_hz / _HOP_S), 5)).round().astype(int)]
    scores = []
    for at in range(len(sentence) - len(word)):
        part = sentence[at : at + len(word)]
        part = part - part.mean(0)
        scores.append((part * word).sum() / np.sqrt((part**2).sum() * (word**2).sum() + 1e-9))
    return int(np.argmax(scores)) * _HOP_S


_HOP_S = 0.005


def _spectrum(samples, rate_hz):
    """The logarithm of the energy in 32 bands from 100 Hz to 7 kHz, every 5 ms."""
    size, hop = rate_hz // 40, int(_HOP_S * rate_hz)
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(samples, size // 2), size)[::hop] * np.hanning(size)
    energy = np.abs(np.fft.rfft(frames)) ** 2
    places = np.fft.rfftfreq(size, 1 / rate_hz)
    edges = np.geomspace(100, 7000, 33)
    pairs = pairwise(edges)
    bands = np.stack([energy[:, (places >= low) & (places < 1.2 * high)].sum(1) for low, high in pairs], 1)
    return np.log(bands + 1e-4 * bands.max())


def inner_errors(voice, sentences, least_letters=5):
    """Return the stated start of each longer word of some sentences minus where its sound is found, in seconds."""
    errors = []
    for sentence in sentences:
        samples, words = whole(voice, sentence)
        for word in words:
            text = word.text.strip(".,?!")
            if len(text) < least_letters:
                continue
            alone, (itself,) = whole(voice, text)
            alone = alone[itself.start_sample : itself.end_sample]
            found = found_start(samples, alone, word.end_sample - word.start_sample, voice.sample_rate)
            errors.append(word.start_sample / voice.sample_rate - found)
    return np.array(errors)
