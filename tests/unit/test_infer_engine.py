"""Frames, and the checks of `StepGuard`."""

import dataclasses

import numpy as np
import pytest

from sca.infer.engine import SessionConfig, StepGuard
from sca.infer.frames import NO_FEATURES, AudioInput, AudioOutput, ThoughtPacket


def names(kind):
    return [field.name for field in dataclasses.fields(kind)]


def test_frame_fields_are_unchanged():
    assert names(AudioInput)[:4] == ["features", "samples", "chunk_index", "timestamp"]  # the others have defaults
    assert names(ThoughtPacket) == ["hidden_states", "text_token_str", "token_ids", "chunk_index"]
    assert names(AudioOutput)[:5] == ["audio_bytes", "sample_rate", "text_log", "chunk_index", "turn_id"]


@pytest.mark.parametrize("kind", [AudioInput, ThoughtPacket, AudioOutput, SessionConfig])
def test_frames_are_frozen_and_slotted(kind):
    assert kind.__dataclass_params__.frozen
    assert "__slots__" in kind.__dict__


def test_format_error_describes_unplayable_audio():
    assert AudioOutput(b"\0\0", 24_000, "", 0, 0).format_error is None
    assert AudioOutput(b"", 24_000, "", 0, 0).format_error is None
    assert AudioOutput(b"\0\0", 16_000, "", 0, 0).format_error == "audio at 16000 Hz; output audio must have 24000 Hz"
    assert "3 bytes" in AudioOutput(b"\0\0\0", 24_000, "", 0, 0).format_error


def test_no_features_is_read_only():
    assert (NO_FEATURES.shape, NO_FEATURES.dtype) == ((1, 128, 0), np.float32)
    assert not NO_FEATURES.flags.writeable


def heard(index, samples=None):
    return AudioInput(NO_FEATURES, np.zeros(10, np.float32) if samples is None else samples, index, index * 10)


def test_guard_counts_dropped_chunks():
    guard = StepGuard(10)
    assert [guard.check(heard(i)) for i in (4, 5, 9, 10)] == [0, 0, 3, 0]
    guard.reset()
    assert guard.check(heard(0)) == 0


def test_guard_rejects_invalid_chunks():
    guard = StepGuard(10)
    guard.check(heard(3))
    for bad, says in (
        (heard(3), "chunk 3 follows chunk 3"),
        (heard(2), "in order"),
        (heard(4, np.zeros(9, np.float32)), r"float32 \(10,\) at 16 kHz, got float32 \(9,\)"),
        (heard(4, np.zeros((1, 10), np.float32)), r"\(1, 10\)"),
        (heard(4, np.zeros(10)), "float64"),
    ):
        with pytest.raises(ValueError, match=says):
            guard.check(bad)
    guard.close()
    for refused in (lambda: guard.check(heard(4)), guard.reset):
        with pytest.raises(RuntimeError, match="closed"):
            refused()
