"""The log-mel of six short sounds, compared with stored results of transformers (scripts/make_golden_mel.py)."""

from pathlib import Path

import numpy as np
import pytest

from sca.audio.mel import log_mel

STORED = Path(__file__).with_name("mel.npz")
SOUNDS = ["voice", "noise", "faint", "square", "impulses", "silence"]


@pytest.fixture(scope="module")
def stored():
    with np.load(STORED) as file:
        return dict(file)


@pytest.mark.parametrize("name", SOUNDS)
def test_log_mel_is_unchanged(stored, name):
    x = (stored[f"{name}.pcm"] / np.float32(32768)).astype(np.float32)
    # Both use float64 spectra; the difference is float32 rounding of the logarithm (measured: 2.4e-7).
    assert np.abs(log_mel(x) - stored[f"{name}.mel"]).max() < 1e-6


def test_every_stored_item_is_tested(stored):
    assert {name.split(".")[0] for name in stored} == set(SOUNDS)
