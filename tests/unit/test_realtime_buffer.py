"""The input audio buffer of the Realtime protocol."""

import base64

import pytest

from sca.infer.server.protocols.realtime.events import RealtimeError
from sca.infer.server.protocols.realtime.input_buffer import InputBuffer, InputRequest


def silence(seconds):
    return base64.b64encode(bytes(int(seconds * 8000))).decode()  # A-law: one byte per sample


def error_code(call, *args):
    with pytest.raises(RealtimeError) as error:
        call(*args)
    return error.value.code


def take_all(buffer):
    """Take everything; return the samples before each request, and the kinds of the requests."""
    lengths, kinds = [0], []
    while not buffer.is_empty:
        item = buffer.take(1000)
        if isinstance(item, InputRequest):
            kinds.append(item.kind)
            lengths.append(0)
        else:
            lengths[-1] += len(item)
    return lengths, kinds


def test_appended_audio_is_taken_once():
    buffer = InputBuffer("pcma")
    for seconds in (0.5, 0.001, 1.0):
        buffer.append(silence(seconds))
    buffer.flush()
    assert len(buffer.take(160)) == 160
    assert take_all(buffer) == ([2 * (4000 + 8 + 8000) - 160], [])
    assert buffer.taken == 2 * (4000 + 8 + 8000)


def test_requests_are_taken_after_the_audio_before_them():
    buffer = InputBuffer("pcma")
    buffer.append(silence(1))
    buffer.flush()
    buffer.commit()
    buffer.request_answer()
    buffer.append(silence(0.5))
    buffer.flush()
    assert take_all(buffer) == ([16_000, 0, 8000], ["commit", "answer"])


def test_commit_needs_a_tenth_of_a_second():
    buffer = InputBuffer("pcma")
    buffer.append(silence(0.05))
    buffer.flush()
    assert error_code(buffer.commit) == "input_audio_buffer_commit_empty"
    take_all(buffer)
    buffer.append(silence(0.05))
    buffer.flush()
    buffer.commit()
    assert error_code(buffer.commit) == "input_audio_buffer_commit_empty"
    take_all(buffer)
    buffer.append(silence(1))
    buffer.flush()
    take_all(buffer)
    buffer.end_turn()
    assert error_code(buffer.commit) == "input_audio_buffer_commit_empty"


def test_clear_discards_only_uncommitted_audio():
    buffer = InputBuffer("pcma")
    for _ in range(2):
        buffer.append(silence(1))
        buffer.flush()
        buffer.commit()
    buffer.append(silence(1))
    buffer.clear()
    assert error_code(buffer.commit) == "input_audio_buffer_commit_empty"
    assert take_all(buffer) == ([16_000, 16_000, 0, 0], ["commit", "commit", "clear"])
    assert buffer.taken == 48_000  # cleared audio counts as time


def test_buffer_is_limited_to_two_minutes():
    buffer = InputBuffer("pcma")
    for _ in range(121):
        buffer.append(silence(1))
    assert error_code(buffer.append, silence(1)) == "input_audio_buffer_full"
    for _ in range(2):
        buffer.take(16_000)
    buffer.append(silence(1))
    buffer.clear()
    assert take_all(buffer) == ([0, 0], ["clear"])
    buffer.append(silence(1))


def test_format_can_change():
    buffer = InputBuffer("pcma")
    buffer.append(silence(1))
    buffer.set_format("pcm")
    buffer.append(base64.b64encode(bytes(2 * 24_000)).decode())
    buffer.flush()
    assert take_all(buffer) == ([32_000], [])


@pytest.mark.parametrize(
    ("audio", "code"), [(None, "missing_required_parameter"), (5, "missing_required_parameter"), ("%", "invalid_audio")]
)
def test_rejects_what_is_not_audio(audio, code):
    assert error_code(InputBuffer("pcm").append, audio) == code
