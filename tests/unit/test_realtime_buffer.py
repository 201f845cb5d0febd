"""The input audio buffer of the realtime door: what is appended is looked at, kept, heard, committed or forgotten, and bounded."""

import base64

import pytest

from sca.infer.server.protocols.realtime.events import RealtimeError
from sca.infer.server.protocols.realtime.input_buffer import InputBuffer


def silence(seconds):
    return base64.b64encode(bytes(int(seconds * 8000))).decode()  # A-law: a byte a sample


def refused(call, *args):
    with pytest.raises(RealtimeError) as error:
        call(*args)
    return error.value.code


def everything(buffer):
    """All that can be heard of it, in samples."""
    heard = 0
    while buffer.has_new:
        buffer.keep(buffer.take_new(1000))
    while buffer.has_kept:
        heard += len(buffer.take_kept())
    return heard


def test_what_is_appended_can_be_heard_once_however_it_is_looked_at():
    buffer = InputBuffer("pcma")
    for seconds in (0.5, 0.001, 1.0):
        buffer.append(silence(seconds))
    buffer.flush()
    assert len(buffer.take_new(160)) == 160
    assert everything(buffer) == 2 * (4000 + 8 + 8000) - 160
    assert (buffer.has_new, buffer.has_kept) == (False, False)


def test_a_turn_has_a_tenth_of_a_second_whoever_looked_at_it():
    buffer = InputBuffer("pcma")
    buffer.append(silence(0.05))
    buffer.flush()
    buffer.keep_all()
    assert refused(buffer.commit) == "input_audio_buffer_commit_empty"
    buffer.count_silence(800)
    buffer.commit()
    assert refused(buffer.commit) == "input_audio_buffer_commit_empty"


def test_clearing_forgets_what_was_not_committed_and_only_that():
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
    assert everything(buffer) == 32_000
    assert refused(buffer.commit) == "input_audio_buffer_commit_empty"


def test_no_more_than_two_minutes_wait_and_room_comes_back():
    buffer = InputBuffer("pcma")
    for _ in range(121):
        buffer.append(silence(1))
    assert refused(buffer.append, silence(1)) == "input_audio_buffer_full"
    buffer.keep_all()
    assert refused(buffer.append, silence(1)) == "input_audio_buffer_full"
    buffer.take_kept()
    buffer.take_kept()
    buffer.append(silence(1))
    buffer.clear()
    assert everything(buffer) == 0
    buffer.append(silence(1))


def test_a_format_may_change_between_two_sounds():
    buffer = InputBuffer("pcma")
    buffer.append(silence(1))
    buffer.set_format("pcm")
    buffer.append(base64.b64encode(bytes(2 * 24_000)).decode())
    buffer.flush()
    assert everything(buffer) == 32_000


@pytest.mark.parametrize(
    ("audio", "code"), [(None, "missing_required_parameter"), (5, "missing_required_parameter"), ("%", "invalid_audio")]
)
def test_what_is_no_sound_is_named(audio, code):
    assert refused(InputBuffer("pcm").append, audio) == code
