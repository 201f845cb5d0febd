"""DNSMOS: windows of a recording, scores as those of the published script, and the filter."""

import numpy as np
import pytest
import soundfile

from sca.config import QualityConfig
from sca.data.quality import mos
from sca.data.quality.filters import reasons_to_drop
from sca.data.quality.measure import Quality
from sca.data.quality.mos import MOST_WINDOWS, Mos, MosModel, score_recording
from sca.errors import InputError

RATE = 16_000
WINDOW = 144_160


def sound(seconds):
    """Return a voice of harmonics that is on half of the time, with noise."""
    t = np.arange(int(seconds * RATE)) / RATE
    voice = sum(np.sin(2 * np.pi * 120 * k * t) / k for k in range(1, 20)) * (np.sin(2 * np.pi * 2.5 * t) > 0)
    return (0.1 * voice + 0.003 * np.random.default_rng(0).standard_normal(len(t))).astype(np.float32)


class Recorder(MosModel):
    """Keeps the windows that it is given."""

    def __init__(self):
        self.windows = []

    def score(self, windows):
        self.windows = list(windows)
        return Mos(1, 1, 1, 1)


def windows_of(tmp_path, samples):
    path, recorder = tmp_path / "x.wav", Recorder()
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    score_recording(path, recorder)
    return recorder.windows


@pytest.mark.parametrize(("seconds", "count"), [(9.01, 1), (9.9, 1), (10.5, 1), (11.2, 2), (15.0, 6), (28.1, 19)])
def test_windows_are_those_of_the_published_script(tmp_path, seconds, count):
    samples = sound(seconds)
    found = windows_of(tmp_path, samples)
    assert len(found) == count
    for second, window in enumerate(found):
        np.testing.assert_allclose(window, samples[second * RATE :][:WINDOW], atol=1e-6)


def test_long_recording_has_windows_from_start_to_end(tmp_path, monkeypatch):
    monkeypatch.setattr(mos, "MOST_WINDOWS", 5)
    samples = (np.arange(100 * RATE) / (100 * RATE)).astype(np.float32)
    starts = [round(float(window[0]) * 100) for window in windows_of(tmp_path, samples)]
    assert starts == [0, 22, 45, 68, 90]
    assert MOST_WINDOWS >= 20


def test_short_recording_is_repeated(tmp_path):
    samples = sound(3.2)
    found = windows_of(tmp_path, samples)
    assert len(found) == 3  # 12.8 s
    np.testing.assert_allclose(found[0], np.tile(samples, 4)[:WINDOW], atol=1e-6)


def test_recording_without_sound_has_no_scores(tmp_path):
    soundfile.write(tmp_path / "x.wav", np.zeros(0, np.float32), RATE)
    with pytest.raises(InputError):
        score_recording(tmp_path / "x.wav", Recorder())


@pytest.mark.parametrize(("limit", "reasons"), [(None, {}), (1, {}), (3.2, {"MOS": "MOS 3.1 is below 3.2"})])
def test_filter_is_on_the_overall_score(limit, reasons):
    filters = QualityConfig(min_mos=limit)
    assert reasons_to_drop(Quality(), filters, mos=Mos(3.1, 1.0, 5.0, 5.0)) == reasons
    assert reasons_to_drop(Quality(), filters) == {}


@pytest.mark.weights
@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(11.5, (1.348978, 1.859832, 1.787728, 2.386265)), (3.2, (1.329172, 1.787264, 1.758588, 2.333907))],
)
def test_scores_are_those_of_the_published_script(weights, tmp_path, seconds, expected):
    # `speechmos.dnsmos.run` of speechmos 0.0.1.1 with librosa 0.11.0 on the same samples.
    soundfile.write(tmp_path / "x.wav", sound(seconds), RATE, subtype="FLOAT")
    found = score_recording(tmp_path / "x.wav", MosModel(weights("dnsmos")))
    assert found == pytest.approx(expected, abs=2e-3)
