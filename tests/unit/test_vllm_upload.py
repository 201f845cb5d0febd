"""The turn of the user on its way to a vLLM-Omni server: what is sent early, what is discarded, what is requested."""

import numpy as np
import pytest

from sca.audio.pcm import INT16_MAX, pcm16_bytes
from sca.audio.resample import resample
from sca.audio.vad import SileroVad
from sca.config import LiveConfig
from sca.infer.engine import SessionConfig
from sca.infer.engines.turn_taking import TurnSegmenter, TurnUpdate
from sca.infer.engines.vllm_omni.upload import TurnUpload
from sca.infer.frames import NO_FEATURES, AudioInput, TurnSignal
from sca.units import Grid

CHUNK = Grid().heard_samples
SILENT, SPEAKING = TurnUpdate(None, False), TurnUpdate(None, True, in_turn=True)
OVER = TurnUpdate(np.zeros(1, np.float32), True)


@pytest.fixture
def sound():
    return np.random.default_rng(0).uniform(-0.5, 0.5, 40 * CHUNK).astype(np.float32)


def chunk_of(sound, i, signals=(), added=0):
    samples = sound[i * CHUNK : (i + 1) * CHUNK]
    return AudioInput(NO_FEATURES, samples, i, i * CHUNK, added, i * CHUNK, tuple(signals))


def push_all(upload, sound, updates, first=0):
    requests = [upload.push(chunk_of(sound, first + i), update) for i, update in enumerate(updates)]
    return [one for one in requests if one is not None]


def as_sent(sound, hz=16_000):
    return pcm16_bytes(resample(sound, 16_000, hz), INT16_MAX)


@pytest.mark.parametrize("hz", [16_000, 24_000])
def test_turn_starts_a_chunk_before_its_speech(sound, hz):
    upload = TurnUpload(hz, 100, follows=False)
    (request,) = push_all(upload, sound, [SILENT, SILENT, SPEAKING, SPEAKING, OVER])
    assert b"".join(request.pieces) == as_sent(sound[CHUNK : 5 * CHUNK], hz)
    assert request.unsent == request.pieces
    assert not upload.must_discard


def test_pieces_are_sent_while_the_user_speaks(sound):
    upload = TurnUpload(16_000, 100, follows=False)
    push_all(upload, sound, [SILENT, SPEAKING])
    assert upload.ready() == ()
    push_all(upload, sound, [SPEAKING], first=2)
    sent = upload.ready()
    assert b"".join(sent) == as_sent(sound[: 3 * CHUNK])
    upload.sent()
    assert upload.ready() == ()
    (request,) = push_all(upload, sound, [OVER], first=3)
    assert (*sent, *request.unsent) == request.pieces
    # The connection breaks: all of it is sent again.
    push_all(upload, sound, [SPEAKING] * 3, first=4)
    upload.sent()
    upload.send_again()
    assert b"".join(upload.unsent()) == as_sent(sound[3 * CHUNK : 7 * CHUNK])


def test_only_sent_noise_is_discarded(sound):
    upload = TurnUpload(16_000, 100, follows=False)
    push_all(upload, sound, [SILENT, SPEAKING, SILENT])
    assert not upload.must_discard
    push_all(upload, sound, [SPEAKING, SPEAKING], first=3)
    upload.sent()
    push_all(upload, sound, [SILENT], first=5)
    assert upload.must_discard
    upload.send_again()
    assert upload.unsent() == ()
    assert not upload.must_discard


def test_longest_turn(sound):
    upload = TurnUpload(16_000, 4, follows=False)
    (request,) = push_all(upload, sound, [SPEAKING] * 20 + [OVER])
    assert b"".join(request.pieces) == as_sent(sound[17 * CHUNK : 21 * CHUNK])


def turn(kind, start=0, end=0):
    return TurnSignal(kind, start, end)


@pytest.mark.parametrize("hz", [16_000, 24_000])
def test_given_turns_are_exact(sound, hz):
    """The server gets what the segmenter cuts out, wherever the turns are."""
    at = [1000, 7 * CHUNK + 5, 9 * CHUNK + 1, 12 * CHUNK + 3, 14 * CHUNK + 100, 15 * CHUNK + 10]
    signals = {
        2: [turn("speech", at[0])],
        7: [turn("turn", at[0], at[1])],
        9: [turn("speech", at[2])],
        12: [turn("turn", at[2], at[3]), turn("answer")],
        14: [turn("speech", at[4])],
        15: [turn("turn", at[4], at[5]), turn("answer"), turn("speech", 15 * CHUNK + 40)],
        18: [turn("turn", 15 * CHUNK + 40, 18 * CHUNK + 7)],
        20: [turn("answer")],
    }
    segmenter = TurnSegmenter(SileroVad(), SessionConfig(turns="given"), LiveConfig())
    upload = TurnUpload(hz, 100, follows=True)
    sent, answered = b"", []
    for i in range(25):
        audio = chunk_of(sound, i, signals.get(i, ()))
        update = segmenter.push(audio)
        request = upload.push(audio, update)
        assert (request is None) == (update.turn is None)
        assert not upload.must_discard
        if request is not None:
            sent += b"".join(request.unsent)
            assert sent == b"".join(request.pieces)
            answered.append((sent, update.turn))
            sent = b""
        sent += b"".join(upload.ready())
        if upload.ready():
            upload.sent()
    assert len(answered) == 3
    assert answered[1][0] == as_sent(sound[at[4] : at[5]], hz)
    if hz == 16_000:
        assert [sent for sent, _ in answered] == [as_sent(heard) for _, heard in answered]


def test_discarded_turn_keeps_the_turns_before(sound):
    upload = TurnUpload(16_000, 100, follows=True)
    answer = TurnUpdate(np.zeros(1, np.float32), False)
    signals = {
        0: [turn("speech", 0)],
        4: [turn("turn", 0, 4 * CHUNK)],
        5: [turn("speech", 5 * CHUNK)],
        8: [turn("discard")],
    }
    for i in range(9):
        upload.push(chunk_of(sound, i, signals.get(i, ())), SILENT)
        if i == 7:
            assert upload.ready()
            upload.sent()
    assert upload.must_discard
    request = upload.push(chunk_of(sound, 9, [turn("answer")]), answer)
    assert b"".join(request.pieces) == as_sent(sound[: 4 * CHUNK])
    assert request.unsent == request.pieces


def test_silence_that_the_transport_added_is_not_sent(sound):
    upload = TurnUpload(16_000, 100, follows=True)
    upload.push(chunk_of(sound, 0, [turn("speech", 0)], added=CHUNK - 100), SILENT)
    assert b"".join(upload.unsent()) == as_sent(sound[:100])
