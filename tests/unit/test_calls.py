"""Calls over WebRTC: received frames, the times of sent frames, what is played, and offers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sca.audio.resample import resample
from sca.infer.server.protocols.realtime.events import RealtimeError
from sca.infer.server.protocols.webrtc.audio import FRAME_MS, FRAME_SAMPLES, FramePacer, ReceivedAudio
from sca.infer.server.protocols.webrtc.offer import prepare_offer
from sca.infer.server.protocols.webrtc.output_buffer import BufferEvent, CutResponse, OutputAudioBuffer

HZ = 48_000
MS = 48  # ticks


def frames(samples, size=FRAME_SAMPLES):
    pcm = np.rint(samples * 32767).astype(np.int16)
    return [(pcm[at : at + size].repeat(2).reshape(-1, 2), at) for at in range(0, len(pcm), size)]


def tone(seconds):
    return 0.5 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * HZ)) / HZ).astype(np.float32)


def convert(pieces):
    received = ReceivedAudio()
    return np.concatenate([received.push(pcm, HZ, at) for pcm, at in pieces])


def test_received_frames_are_resampled_without_seams():
    sent = tone(1)
    found, expected = convert(frames(sent)), resample(sent, HZ, 16_000)
    assert len(found) > 15_000
    assert np.abs(found - expected[: len(found)]).max() < 1e-3


def test_lost_packets_become_silence_of_their_length():
    pieces = frames(tone(1))
    lost = convert([piece for i, piece in enumerate(pieces) if i not in (20, 21, 22)])
    assert len(lost) == len(convert(pieces))
    assert np.abs(lost[6500:7300]).max() < 0.02  # 60 ms from 6400 on
    assert np.abs(lost[8000:9000]).max() > 0.4


def test_pause_of_the_sender_is_no_gap():
    pieces = frames(tone(1))
    later = [(pcm, at + 3 * HZ) for pcm, at in pieces]
    assert abs(len(convert([*pieces, *later])) - 32_000) < 500


def test_frames_of_another_rate():
    received = ReceivedAudio()
    found = [received.push(np.full((160, 1), 8000, np.int16), 8000, at) for at in range(0, 8000, 160)]
    assert 14_000 < sum(map(len, found)) <= 16_000


def test_frames_are_sent_every_20_ms_without_drift():
    pacer, now_s = FramePacer(), 100.0
    for frame in range(50_000):  # each is read 3 ms late
        now_s += pacer.wait_s(now_s)
        assert abs(now_s - (100 + frame * FRAME_MS / 1000)) < 0.0031
        now_s += 0.003


def test_delay_is_caught_up_unless_it_is_long():
    pacer = FramePacer()
    pacer.wait_s(0.0)
    assert [round(pacer.wait_s(0.1), 3) for _ in range(6)] == [0, 0, 0, 0, 0, 0.02]
    assert [round(pacer.wait_s(5.0), 3) for _ in range(3)] == [0, 0.02, 0.04]


def test_two_responses_are_reported_in_order():
    buffer = OutputAudioBuffer()
    buffer.add("a", "item_a", 40 * MS, 24 * 320)
    buffer.add("b", "item_b", 360 * MS, 24 * 320)
    assert (buffer.advance(0, "b"), buffer.next_tick("b")) == ([], 40 * MS)
    assert buffer.advance(40 * MS, "b") == [BufferEvent("started", "a")]
    assert buffer.next_tick("b") == 360 * MS
    assert buffer.advance(360 * MS, "b") == [BufferEvent("stopped", "a"), BufferEvent("started", "b")]
    assert buffer.next_tick("b") is None
    assert buffer.advance(2000 * MS, "b") == []  # more of it may follow
    assert buffer.advance(2000 * MS, None) == [BufferEvent("stopped", "b")]
    assert not buffer


def test_cleared_responses_have_what_was_played():
    buffer = OutputAudioBuffer()
    buffer.add("a", "item_a", 0, 24 * 320)
    buffer.add("a", "item_a", 420 * MS, 24 * 320)  # after a gap of 100 ms
    buffer.add("b", "item_b", 740 * MS, 24 * 320)
    buffer.advance(500 * MS, "b")
    cut = [CutResponse("a", "item_a", True, 400), CutResponse("b", "item_b", False, 0)]
    assert buffer.clear(500 * MS, 24 * 560) == cut
    assert buffer.advance(2000 * MS, None) == []


def test_track_that_is_read_late_has_played_less():
    buffer = OutputAudioBuffer()
    buffer.add("a", "item_a", 0, 24 * 1000)
    assert buffer.clear(800 * MS, 24 * 600) == [CutResponse("a", "item_a", False, 400)]


@given(st.lists(st.integers(1, 2000), min_size=1, max_size=5), st.integers(0, 20_000))
def test_played_time_never_exceeds_the_audio(lengths_ms, at_ms):
    buffer, start = OutputAudioBuffer(), 0
    for length in lengths_ms:
        buffer.add("a", "item", start, 24 * length)
        start += length * MS
    (cut,) = buffer.clear(at_ms * MS, 0)
    assert cut.played_ms == min(at_ms, sum(lengths_ms))


OFFER = ("v=0", "m=audio 9 UDP/TLS/RTP/SAVPF 111", "a=candidate:1 1 udp 2 192.0.2.7 5000 typ host")


def test_candidates_of_the_browser_only_are_left_out():
    mdns = "a=candidate:2 1 udp 2 0b7f21d4-2c1e-4f0b-9a55-1b2c3d4e5f60.local 5000 typ host"
    given_offer = "\n".join([*OFFER, mdns, "a=end-of-candidates", ""])
    assert prepare_offer(given_offer.encode()).splitlines() == list(OFFER)


def test_number_of_candidates_is_limited():
    lines = [*OFFER[:2], *(f"a=candidate:1 1 udp 2 192.0.2.7 {port} typ host" for port in range(5000, 5100))]
    assert prepare_offer("\r\n".join(lines).encode()).count("a=candidate") == 32


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "first line"),
        (b"\xff", "UTF-8"),
        (b"{}", "first line"),
        (b"v=0\nm=video 9 X 1", "does not contain audio"),
        (b"v=0\n" + 9 * b"m=audio 9 X 1\n", "more than 8"),
    ],
)
def test_offers_that_are_none(data, message):
    with pytest.raises(RealtimeError, match=message) as error:
        prepare_offer(data)
    assert (error.value.code, error.value.param) == ("invalid_offer", "sdp")
