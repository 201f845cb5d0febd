"""`POST /v1/realtime/calls`: conversations over WebRTC on this machine, with aiortc as the client."""

import asyncio
import sys

import httpx
import numpy as np
import pytest

from sca.audio.decode import read_audio
from sca.audio.resample import resample
from sca.units import SPOKEN_HZ
from tests.helpers.call_client import HZ, Call, calling, post_offer, vanish
from tests.helpers.live_servers import running
from tests.helpers.recording_parrot import RecordingParrot
from tests.helpers.timeouts import TIMEOUT_S, until

KEY = "secret123"


@pytest.fixture(scope="module")
def phrase(trial_data):
    """Two seconds of speech, float32 at 48 kHz."""
    return read_audio(trial_data / "clips" / "jfk.flac", HZ)[: int(2.3 * HZ)]


@pytest.fixture(scope="module")
def engine():
    return RecordingParrot()


@pytest.fixture(scope="module")
def server(engine):
    with running(engine) as server:
        yield server


def products(found, expected):
    """The cross-correlation of two signals by the place of the second in the first."""
    size = 1 << (len(found) + len(expected)).bit_length()
    return np.fft.irfft(np.fft.rfft(found, size) * np.conj(np.fft.rfft(expected, size)), size)


def similar(found, expected):
    energy = np.sum(found.astype(float) ** 2) * np.sum(expected.astype(float) ** 2)
    return products(found, expected).max() / np.sqrt(energy)


def test_turn_is_answered_in_the_track(server, phrase, report_retry):
    async def main():
        async with calling(server.url, phrase) as call:
            await call.event("output_audio_buffer.stopped")
            return call

    for _ in range(3):
        call = asyncio.run(main())
        likeness = similar(call.audio, phrase)
        if likeness > 0.9:
            break
        report_retry(f"the correlation with the phrase was {likeness:.2f}")
    kinds = call.kinds()
    order = [
        "session.created", "input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed", "response.created", "response.content_part.added",
        "response.output_audio_transcript.delta", "output_audio_buffer.started", "response.done",
        "output_audio_buffer.stopped",
    ]  # fmt: skip
    assert [kind for kind in kinds if kind in order] == order
    assert "response.output_audio.delta" not in kinds
    assert likeness > 0.9
    assert server.wait_empty()


def test_interruption_shortens_the_answer_to_what_was_heard(server, engine, phrase, report_retry):
    async def main():
        async with calling(server.url, phrase) as call:
            await call.event("output_audio_buffer.started")
            begin = len(call.audio)
            await call.wait(lambda: np.abs(call.audio[begin:]).max(initial=0) > 0.05)
            call.microphone.say(phrase)
            await call.event("output_audio_buffer.started", 2)
            return call

    for _ in range(3):
        call = asyncio.run(main())
        answer = resample(engine.sessions[-1].spoken(0), SPOKEN_HZ, HZ)
        start = int(products(call.audio, answer[: HZ // 2]).argmax())
        heard_ms = np.flatnonzero(np.abs(call.audio[start : start + len(answer)]) > 0.003)[-1] * 1000 / HZ
        played_ms = call.all("conversation.item.truncated")[0]["audio_end_ms"]
        if abs(played_ms - heard_ms) < 100:
            break
        report_retry(f"{played_ms} ms were played, and {heard_ms:.0f} ms heard")
    assert abs(played_ms - heard_ms) < 100
    assert 300 < played_ms < 2200
    (cleared,) = call.all("output_audio_buffer.cleared")
    first, second = (event["response_id"] for event in call.all("output_audio_buffer.started"))
    assert cleared["response_id"] == first != second
    assert call.all("response.done")[0]["response"]["status_details"]["reason"] == "turn_detected"


def test_two_calls_and_a_hangup(server, phrase):
    """A client secret sets the instructions of its call, and ends this call; the other one continues."""

    async def main():
        session = {"type": "realtime", "instructions": "Be brief.", "audio": {"input": {"turn_detection": None}}}
        async with calling(server.url, session=session) as one, calling(server.url, phrase) as other:
            assert (one.path, len(server.context.sessions)) != (other.path, 1)
            created = one.all("session.created")[0]["session"]
            assert (created["instructions"], created["audio"]["input"]["turn_detection"]) == ("Be brief.", None)
            async with httpx.AsyncClient(timeout=TIMEOUT_S) as http:
                assert (await http.post(f"{server.url}{one.path}/hangup")).status_code == 200
                await one.wait(lambda: one.connection.connectionState == "closed")
                again = await http.post(f"{server.url}{one.path}/hangup")
            assert (again.status_code, again.json()["error"]["code"]) == (404, "call_not_found")
            await other.event("output_audio_buffer.started")
            other.send({"type": "output_audio_buffer.clear"})
            await other.event("output_audio_buffer.cleared")
            done = await other.event("response.done")
            assert done["response"]["status"] == "cancelled"

    asyncio.run(main())
    assert server.wait_empty()
    assert server.metric("sca_sessions") == 0


@pytest.mark.parametrize(
    ("body", "kind", "status", "code"),
    [
        (b"hello", "application/sdp", 400, "invalid_offer"),
        (b"v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n", "application/sdp", 400, "invalid_offer"),
        (b"v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n", "application/sdp", 400, "invalid_offer"),
        (b"v=0\r\nm=audio x y\r\na=rtpmap:\r\n", "application/sdp", 400, "invalid_offer"),
        (b"v=0\r\n" + b"a=x\r\n" * 20_000, "application/sdp", 413, "request_too_large"),
        (b"{}", "application/json", 415, "unsupported_content_type"),
        (b"", "multipart/form-data", 400, "invalid_request"),
    ],
)
def test_requests_that_are_refused(server, body, kind, status, code):
    response = httpx.post(f"{server.url}/v1/realtime/calls", content=body, headers={"Content-Type": kind})
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (status, code)
    assert error["type"] == "invalid_request_error"
    assert error["message"]
    assert server.wait_empty()


def test_call_beyond_the_limit_and_settings_that_are_not_valid(phrase):
    async def main(server):
        async with calling(server.url, key=KEY) as call:
            full = await post_offer(server.url, call.connection.localDescription.sdp, KEY)
            assert (full.status_code, full.headers["retry-after"]) == (503, "1")
            assert full.json()["error"]["message"] == "1 session is open, and that is the limit"
            assert (await post_offer(server.url, "v=0", "wrong")).status_code == 401
        await asyncio.to_thread(server.wait_empty)
        refused = await post_offer(server.url, call.offer, KEY, {"type": "realtime", "audio": 3})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "session.audio")
        assert not len(server.context.sessions)

    with running(RecordingParrot(), auth_key=KEY, max_sessions=1) as server:
        asyncio.run(main(server))


def test_server_that_stops_ends_its_calls(phrase):
    async def main(server):
        async with calling(server.url) as call:
            draining = server.start_drain()
            await call.event("sca.warning")
            await call.wait(lambda: call.connection.connectionState == "closed")
            await asyncio.wrap_future(draining)

    with running(RecordingParrot()) as server:
        asyncio.run(main(server))


def test_call_whose_connection_never_exists(server):
    async def main():
        call = Call()
        try:
            assert (await post_offer(server.url, await call.make_offer())).status_code == 201
            return len(server.context.sessions)  # the client does not use the answer
        finally:
            await call.connection.close()

    assert asyncio.run(main()) == 1
    server.advance_clock(21)
    assert server.wait_empty()


def test_client_that_vanishes_frees_its_slot(server):
    async def main():
        async with calling(server.url) as call:
            vanish(call)
            started_s = server.loop.time()
            await asyncio.to_thread(until, lambda: server.advance_clock(2) or not len(server.context.sessions))
            return server.loop.time() - started_s

    assert asyncio.run(main()) < 60  # `serve.idle_s` is longer


def test_call_in_the_beta(server):
    async def main():
        async with calling(server.url, path="/v1/realtime") as call:
            assert "input_audio_format" in call.all("session.created")[0]["session"]

    asyncio.run(main())


def test_server_without_the_extra(server, monkeypatch):
    monkeypatch.setitem(sys.modules, "aiortc", None)
    headers = {"Content-Type": "application/sdp"}
    offer = b"v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"
    response = httpx.post(f"{server.url}/v1/realtime/calls", content=offer, headers=headers)
    assert response.status_code == 501
    assert "(extra webrtc of sca)" in response.json()["error"]["message"]
