"""Echo suppression with signals made from real speech: the echo is removed, the voice of the user passes."""

import sys

import numpy as np
import pytest

from sca.audio.decode import read_audio
from sca.distribution import install_extra
from sca.errors import MissingToolError
from sca.infer.audio_io.echo import (
    FRAME_SAMPLES,
    EchoCanceller,
    EchoFilter,
    EchoGate,
    can_cancel,
    create_echo_suppressor,
)
from sca.resources import demo_corpus


@pytest.fixture(scope="module")
def voices():
    """Return 20 s of two speakers at 16 kHz; the first is played on the loudspeaker."""
    with demo_corpus() as corpus:
        first, second = sorted(corpus.glob("WAV/*"))
        return read_audio(first, 16_000)[: 16_000 * 20], read_audio(second, 16_000)[: 16_000 * 20]


def in_the_room(far, delay, gain=0.4):
    """Return an echo: delayed, quieter, with a few reflections."""
    echo = np.zeros_like(far)
    for late, loud in ((0, 1.0), (90, 0.4), (310, 0.25), (800, 0.1)):
        echo[delay + late :] += gain * loud * far[: len(far) - delay - late]
    return echo.astype(np.float32)


def level_db(x):
    return 10 * np.log10(np.mean(np.square(x)) + 1e-12)


@pytest.mark.parametrize("delay_ms", [0, 30, 120, 330])
def test_gate_measures_the_delay_and_mutes_the_echo(voices, delay_ms):
    far, _ = voices
    echo = in_the_room(far, delay_ms * 16)
    gate = EchoGate()
    out = gate.process(echo, far)
    assert gate.delay_samples == pytest.approx(delay_ms * 16, abs=160)
    assert level_db(out) < level_db(echo) - 20
    assert len(out) == len(echo)


def test_gate_passes_a_voice_when_nothing_is_played(voices):
    far, person = voices
    far = far.copy()
    far[16_000 * 8 :] = 0
    near = in_the_room(far, 1600)
    near[16_000 * 10 :] += person[16_000 * 10 :]
    out = EchoGate().process(near, far)
    assert np.array_equal(out[16_000 * 10 :], near[16_000 * 10 :])


def test_gate_passes_a_voice_louder_than_the_echo(voices):
    far, person = voices
    near = in_the_room(far, 1600, gain=0.05)
    quiet = EchoGate().process(near, far)
    near[16_000 * 10 :] += 1.5 * person[16_000 * 10 :]
    out = EchoGate().process(near, far)
    assert level_db(out[16_000 * 10 :]) > level_db(quiet[16_000 * 10 :]) + 20


def test_gate_mutes_all_output_before_the_first_measurement(voices):
    far, person = voices
    start = int(np.flatnonzero(np.abs(far) > 0.05)[0]) // FRAME_SAMPLES * FRAME_SAMPLES
    far, person = far[start : start + 3200], person[16_000 * 5 : 16_000 * 5 + 3200]
    out = EchoGate().process(person, far)
    assert level_db(out[320:]) < -80


def test_canceller_removes_the_echo(voices):
    far, _ = voices
    if not can_cancel():
        with pytest.raises(MissingToolError, match="pywebrtc-audio"):
            create_echo_suppressor("cancel")
        return
    echo = in_the_room(far, 1600)
    out = EchoCanceller().process(echo, far)
    assert level_db(out[32_000:]) < level_db(echo[32_000:]) - 25


def test_canceller_without_its_package_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pywebrtc_audio", None)
    with pytest.raises(MissingToolError) as refusal:
        EchoCanceller()
    assert install_extra("mic") in refusal.value.hint


def test_mode_none_has_no_suppressor():
    assert create_echo_suppressor("none") is None
    assert isinstance(create_echo_suppressor("gate"), EchoGate)


class Watch:
    """Records its inputs."""

    def __init__(self):
        self.pairs = []

    def process(self, near, far):
        assert len(near) == len(far)
        assert len(near) % FRAME_SAMPLES == 0
        self.pairs.append((near, far))
        return near


def test_filter_returns_all_samples_in_whole_frames(voices):
    _, person = voices
    filtered = EchoFilter(Watch())
    blocks = np.array_split(person, 777)
    out = np.concatenate([filtered.process(block) for block in blocks])
    assert len(person) - FRAME_SAMPLES < len(out) <= len(person)
    assert np.array_equal(out, person[: len(out)])


def test_filter_keeps_the_reference_aligned(voices):
    """The clock of the loudspeaker is 0.5 % fast: after a minute the reference would be off by 300 ms."""
    watch = Watch()
    filtered = EchoFilter(watch)
    rng = np.random.default_rng(1)
    for second in range(60):
        for _ in range(50):
            filtered.push_reference(
                np.full(int(960 * 1.005), second, np.float32) + rng.normal(0, 1e-3, 964).astype(np.float32), 48_000
            )
            filtered.process(np.zeros(320, np.float32))
    last = np.concatenate([far for _, far in watch.pairs])[-3200:]
    assert np.median(last) == pytest.approx(59, abs=0.1)


def test_filter_continues_without_a_reference():
    watch = Watch()
    filtered = EchoFilter(watch)
    assert len(filtered.process(np.ones(1600, np.float32))) == 1600
    assert not watch.pairs[0][1].any()
