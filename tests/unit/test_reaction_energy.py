"""Crowd noise by loudness: bursts outside speech become events that are marked as loudness only."""

import numpy as np
import pytest

from sca.data.reactions.registry import load_detector
from sca.errors import UsageError
from sca.timeline import AudienceEvent

HZ = 16000


def recording(seconds: float, *bursts: tuple[float, float], level: float = 0.2, quiet: float = 0.002) -> np.ndarray:
    noise = np.random.default_rng(1).standard_normal(int(seconds * HZ)).astype(np.float32)
    gain = np.full(len(noise), quiet, np.float32)
    for start, end in bursts:
        gain[int(start * HZ) : int(end * HZ)] = level
    return noise * gain


def energy():
    detector = load_detector("energy")
    assert detector is not None
    return detector


def times(found) -> list[tuple[float, float]]:
    return [(event.start, event.end) for event in found]


def test_finds_a_burst():
    [event] = energy().find(recording(10, (4, 6)), [])
    assert isinstance(event, AudienceEvent)
    assert (event.start, event.end) == pytest.approx((4, 6), abs=0.08)
    assert (event.reaction_type, event.content) == ("other", "crowd noise (by loudness only)")


def test_ignores_loud_speech():
    samples = recording(12, (1, 3), (6, 8))
    found = energy().find(samples, [(HZ * 9 // 10, HZ * 31 // 10)])
    assert times(found) == [pytest.approx((6, 8), abs=0.1)]


def test_burst_ends_before_speech():
    [(start, end)] = times(energy().find(recording(10, (4, 8)), [(6 * HZ, 9 * HZ)]))
    assert (start, end) == pytest.approx((4, 5.9), abs=0.1)


@pytest.mark.parametrize(
    ("samples", "why"),
    [
        (recording(5, (2, 2.2)), "too short"),
        (recording(5), "an even hiss"),
        (recording(5, (0, 5)), "loud throughout, without a contrast"),
        (recording(5, (2, 4), level=0.004), "6 dB are not enough"),
        (recording(5, (2, 4), level=0.0009, quiet=0.0), "a microphone's own noise after digital silence"),
        (np.zeros(5 * HZ, np.float32), "silence"),
        (np.zeros(0, np.float32), "no samples"),
        (np.ones(10, np.float32), "shorter than one hop"),
    ],
)
def test_no_event(samples, why):
    assert energy().find(samples, []) == [], why


def test_closes_short_gaps():
    assert len(energy().find(recording(10, (2, 3), (3.15, 4)), [])) == 1
    assert len(energy().find(recording(10, (2, 3), (4, 5)), [])) == 2


@pytest.mark.parametrize("samples", [np.zeros((2, HZ), np.float32), np.zeros(HZ, np.float64)])
def test_rejects_other_dtypes_and_shapes(samples):
    with pytest.raises(ValueError, match="float32"):
        energy().find(samples, [])


def test_detector_names():
    assert load_detector("none") is None
    assert energy().name == "energy"
    with pytest.raises(UsageError, match="'loud'") as raised:
        load_detector("loud")
    assert raised.value.exit_code == 2
