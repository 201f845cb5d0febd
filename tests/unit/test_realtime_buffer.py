"""The input audio buffer of the Realtime protocol."""

import base64

import pytest

from sca.infer.server.protocols.realtime.events import RealtimeError
from sca.infer.server.protocols.realtime.input_buffer import InputBuffer


def silence(seconds):
    return base64.b64encode(bytes(int(seconds * 8000))).decode()  # A-law: one byte per sample


def error_code(call, *args):
    with pytest.raises(RealtimeError) as error:
        call(*args)
    return error.value.code


def take_all(buffer):
    """Take all audio, and return its length in samples."""
    samples = 0
    while buffer.has_new:
        buffer.keep(buffer.take_new(1000))
    while buffer.has_kept:
        samples += len(buffer.take_kept())
    return samples


def test_appended_audio_is_taken_once():
    buffer = InputBuffer("pcma")
    for seconds in (0.5, 0.001, 1.0):
        buffer.append(silence(seconds))
    buffer.flush()
    assert len(buffer.take_new(160)) == 160
    assert take_all(buffer) == 2 * (4000 + 8 + 8000) - 160
    assert (buffer.has_new, buffer.has_kept) == (False, False)


def test_commit_needs_a_tenth_of_a_second():
    buffer = InputBuffer("pcma")
    buffer.append(silence(0.05))
    buffer.flush()
    buffer.keep_all()
    assert error_code(buffer.commit) == "input_audio_buffer_commit_empty"
    buffer.count_silence(800)
    buffer.commit()
    assert error_code(buffer.commit) == "input_audio_buffer_commit_empty"


def test_clear_discards_only_uncommitted_audio():
    buffer = InputBuffer("pcma")
    for _ in range(2):
        buffer.append(silence(1))
        buffer.flush()
        buffer.keep_all()
        buffer.commit()
    buffer.append(silence(1))
    buffer.flush()
    buffer.keep_all()
    buffer.append(silence(1))
    buffer.clear()
    assert take_all(buffer) == 32_000
    assert error_code(buffer.commit) == "input_audio_buffer_commit_empty"


def test_buffer_is_limited_to_two_minutes():
    buffer = InputBuffer("pcma")
    for _ in range(121):
        buffer.append(silence(1))
    assert error_code(buffer.append, silence(1)) == "input_audio_buffer_full"
    buffer.keep_all()
    assert error_code(buffer.append, silence(1)) == "input_audio_buffer_full"
    buffer.take_kept()
    buffer.take_kept()
    buffer.append(silence(1))
    buffer.clear()
    assert take_all(buffer) == 0
    buffer.append(silence(1))


def test_format_can_change():
    buffer = InputBuffer("pcma")
    buffer.append(silence(1))
    buffer.set_format("pcm")
    buffer.append(base64.b64encode(bytes(2 * 24_000)).decode())
    buffer.flush()
    assert take_all(buffer) == 32_000


@pytest.mark.parametrize(
    ("audio", "code"), [(None, "missing_required_parameter"), (5, "missing_required_parameter"), ("%", "invalid_audio")]
)
def test_rejects_what_is_not_audio(audio, code):
    assert error_code(InputBuffer("pcm").append, audio) == code
