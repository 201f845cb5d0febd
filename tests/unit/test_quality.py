"""Signal-to-noise ratio, clipping and bandwidth against mixtures whose exact values are known."""

from functools import cache
from itertools import groupby

import numpy as np
import pytest
import soxr

from sca.data.quality.signal import SignalMeter, snr_db

RATE = 48_000


def measure(samples, rate=RATE):
    meter = SignalMeter(rate)
    step = 1500 * meter.frame_samples
    for at in range(0, len(samples), step):
        meter.push(np.ascontiguousarray(samples[at : at + step], np.float32))
    return meter.finish()


def filtered(samples, gain, rate=RATE):
    """Apply a gain per frequency."""
    spectrum = np.fft.rfft(samples) * gain(np.fft.rfftfreq(len(samples), 1 / rate))
    return np.fft.irfft(spectrum, len(samples))


@cache
def talk(seconds=10.0, rate=RATE, seed=0):
    """Syllables in phrases: noise with the slope of speech. Return the samples and where the phrases are."""
    rng = np.random.default_rng(seed)
    n = int(seconds * rate)
    voice = filtered(rng.standard_normal(n), lambda hz: 1 / np.sqrt(1 + (hz / 500) ** 2), rate)
    t = np.arange(n) / rate
    voice *= 0.6 + 0.4 * np.sin(2 * np.pi * 4 * t)
    spans = [(start, start + 2.5) for start in np.arange(1.0, seconds - 3, 4.0)]
    mask = np.zeros(n)
    for start, end in spans:
        mask[int(start * rate) : int(end * rate)] = 1
    samples = voice * mask
    return samples * 0.1 / np.sqrt(np.mean(samples[mask > 0] ** 2)), spans


@pytest.mark.parametrize("ratio", [-5, 0, 5, 10, 20, 30, 40])
def test_snr_of_mixtures(ratio):
    speech, spans = talk()
    noise = np.random.default_rng(1).standard_normal(len(speech))
    noise *= 0.1 / 10 ** (ratio / 20)
    assert snr_db(measure(speech + noise).levels, spans) == pytest.approx(ratio, abs=0.3)


def test_snr_ignores_single_sounds_between_sentences():
    speech, spans = talk()
    noise = np.random.default_rng(1).standard_normal(len(speech)) * 0.01
    noise[int(3.8 * RATE) : int(4.2 * RATE)] *= 50  # a clap
    assert snr_db(measure(speech + noise).levels, spans) == pytest.approx(20, abs=0.5)


def test_snr_needs_speech_and_pauses():
    speech, spans = talk()
    levels = measure(speech).levels
    assert snr_db(levels, spans) == pytest.approx(80, abs=0.1)  # digital silence counts as -100 dB
    assert snr_db(levels, []) is None
    assert snr_db(levels, [(0.0, 10.0)]) is None


@pytest.mark.parametrize("level", [1.0, 2.0, 4.0, 10.0])
def test_clipping_is_the_share_of_flat_tops(level):
    speech, _ = talk()
    loud = speech / np.abs(speech).max() * level
    clipped = np.clip(loud, -1, 1)
    # Runs of three and more, found one by one.
    runs = [len(list(group)) for over, group in groupby(np.abs(loud) >= 1) if over]
    truth = sum(length for length in runs if length >= 3) / len(loud)
    found = measure(np.round(clipped * 32767) / 32768).clipping
    assert found == pytest.approx(truth, rel=0.05, abs=1e-5)


def test_full_scale_without_flat_tops_is_not_clipping():
    t = np.arange(RATE) / RATE
    assert measure(np.sin(2 * np.pi * 997 * t) * 0.98).clipping == 0


@pytest.mark.parametrize(("low_rate", "edge"), [(8_000, 4_000), (16_000, 8_000), (22_050, 11_025), (32_000, 16_000)])
def test_bandwidth_of_upsampled_audio(low_rate, edge):
    speech, _ = talk()
    speech = speech + np.random.default_rng(2).standard_normal(len(speech)) * 0.001
    narrow = soxr.resample(soxr.resample(speech, RATE, low_rate), low_rate, RATE)
    found = measure(np.round(narrow * 32767) / 32768).bandwidth_hz
    assert found == pytest.approx(edge, rel=0.1)
    assert found <= edge


@pytest.mark.parametrize("cutoff", [5_000, 11_000, 15_000])
def test_bandwidth_of_a_low_pass_filter(cutoff):
    speech, _ = talk()
    speech = speech + np.random.default_rng(2).standard_normal(len(speech)) * 0.001
    # -80 dB, 100 Hz above the cutoff.
    low = filtered(speech, lambda hz: 10 ** (-4 * np.clip((hz - cutoff) / 100, 0, 1)))
    assert measure(low).bandwidth_hz == pytest.approx(cutoff, abs=250)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
def test_spectra_that_only_slope_have_the_whole_bandwidth(rate):
    speech, _ = talk(rate=rate)
    assert measure(speech, rate).bandwidth_hz == rate // 2
    assert measure(np.zeros(rate), rate).bandwidth_hz is None
    assert measure(speech[:4000], rate).bandwidth_hz is None  # too short
