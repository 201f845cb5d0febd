"""`WS /twilio` with a client that behaves like Twilio's media streams, and the parrot."""

import base64
import json
import time
from contextlib import contextmanager

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from sca.audio.decode import read_audio
from sca.audio.g711 import decode_g711, encode_g711
from sca.infer.server.core.security import twilio_signature
from tests.helpers.live_servers import running
from tests.helpers.recording_parrot import RecordingParrot
from tests.helpers.timeouts import TIMEOUT_S, connect

FRAME, HZ = 160, 8000
SID = "MZ18ad3ab5a668481ce02b83e7395059f0"
QUIET = b"\xff" * FRAME
SPEED = 4  # the maximum, times real time
AHEAD = 40  # frames that a call may be ahead of the engine


class Call:
    """Twilio's side of a call. Received audio is played on a clock that counts the sent frames; then its mark is returned.

    Attributes:
        engine: If given, the call waits while the engine is behind, as on a busy machine.
        plays: Whether received audio is played.
    """

    def __init__(self, ws, engine=None):
        self.ws, self.engine, self.plays = ws, engine, True
        self.sequence, self.frames, self.ends = 0, 0, 0.0
        self.media, self.marks, self.events = [], [], []
        self.ws.send(json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"}))

    def start(self, **parameters):
        media = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
        self.send("start", start={
            "accountSid": "AC", "streamSid": SID, "callSid": "CA", "tracks": ["inbound"],
            "customParameters": parameters, "mediaFormat": media,
        })  # fmt: skip

    def send(self, event, **values):
        self.sequence += 1
        self.ws.send(json.dumps({"event": event, "sequenceNumber": str(self.sequence), "streamSid": SID, **values}))

    def speak(self, ulaw):
        """Send audio in frames of 20 ms, and process the events that arrive meanwhile."""
        for at in range(0, len(ulaw), FRAME):
            self.frames += 1
            payload = base64.b64encode(ulaw[at : at + FRAME].ljust(FRAME, b"\xff")).decode()
            times = {"chunk": str(self.frames), "timestamp": str(20 * self.frames)}
            self.send("media", media={"track": "inbound", "payload": payload, **times})
            time.sleep(0.02 / SPEED)
            while self.engine is not None and self.frames - self.heard() > AHEAD:
                time.sleep(0.001)
            self.receive()
            self.play()

    def heard(self):
        """How many frames the engine has processed."""
        return sum(len(session.heard) for session in self.engine.sessions) // (2 * FRAME)

    def receive(self):
        while True:
            try:
                message = self.ws.recv(timeout=0)
            except TimeoutError:
                return
            event = json.loads(message)
            assert event["streamSid"] == SID
            self.events.append(event["event"])
            if event["event"] == "media":
                self.media.append(base64.b64decode(event["media"]["payload"], validate=True))
                self.ends = max(self.ends, self.frames) + len(self.media[-1]) / FRAME
            elif event["event"] == "mark":
                self.marks.append((self.ends, event["mark"]["name"]))
            else:
                assert event["event"] == "clear"
                self.ends = self.frames

    def play(self):
        while self.plays and self.marks and min(self.marks[0][0], self.ends) <= self.frames:
            self.send("mark", mark={"name": self.marks.pop(0)[1]})
            self.events.append("played")

    def until(self, event):
        """Send silence until an event arrives."""
        late = time.monotonic() + TIMEOUT_S
        while event not in self.events:
            assert time.monotonic() < late, f"no {event}: {self.events}"
            self.speak(QUIET)

    def closed(self):
        """Read until the connection is closed: (code, reason)."""
        try:
            while True:
                self.ws.recv(timeout=TIMEOUT_S)
        except ConnectionClosed as closed:
            return closed.rcvd.code, closed.rcvd.reason


@contextmanager
def calling(url, engine=None, **options):
    with connect(url, proxy=None, **options) as ws:
        yield Call(ws, engine)


@pytest.fixture(scope="module")
def phrase(trial_data):
    """Two seconds of speech, float32 at 8 kHz."""
    return read_audio(trial_data / "clips" / "jfk.flac", HZ)[: int(2.3 * HZ)]


def ulaw(samples):
    return encode_g711(np.rint(samples * 32767).astype(np.int16), "ulaw")


def similar(found, expected):
    size = 1 << (len(found) + len(expected)).bit_length()
    products = np.fft.irfft(np.fft.rfft(found, size) * np.conj(np.fft.rfft(expected, size)), size)
    return products.max() / np.sqrt(np.sum(found.astype(float) ** 2) * np.sum(expected.astype(float) ** 2))


def test_call_is_answered_and_played_to_its_end(phrase):
    engine = RecordingParrot()
    with running(engine) as server, calling(f"ws://127.0.0.1:{server.port}/twilio", engine) as call:
        call.plays = False
        call.start(prompt="Be brief.")
        call.send("dtmf", dtmf={"track": "inbound_track", "digit": "1"})
        call.speak(ulaw(phrase))
        call.until("mark")
        (slot,) = server.context.sessions
        assert slot.speaking
        call.plays = True
        call.until("played")
        while slot.speaking:
            call.speak(QUIET)
        call.send("stop", stop={"accountSid": "AC", "callSid": "CA"})
        assert call.closed() == (1000, "end")
        assert server.wait_empty()
    (session,) = engine.sessions
    assert session.config.prompt == "Be brief."
    assert similar(session.heard[::2], phrase) > 0.9
    assert {len(frame) for frame in call.media} == {FRAME}
    spoken = decode_g711(b"".join(call.media), "ulaw").astype(np.float32)
    assert similar(spoken, phrase) > 0.9
    turn = len(session.turns[0]) // 2 // 3
    assert turn <= len(spoken) < turn + FRAME
    assert call.events.count("mark") == call.events.count("played") == 1
    assert "clear" not in call.events


def test_speech_clears_the_sent_audio(phrase):
    engine = RecordingParrot()
    with running(engine) as server, calling(f"ws://127.0.0.1:{server.port}/twilio", engine) as call:
        call.start()
        call.speak(ulaw(phrase))
        call.until("media")
        call.speak(ulaw(phrase))
        call.until("clear")
        before = call.events[: call.events.index("clear")]
        assert before.count("media") * FRAME < len(phrase)
        call.until("mark")
        call.until("played")
        call.send("stop", stop={})
        assert call.closed()[0] == 1000
    kinds = [event for event in call.events if event != "played"]
    assert kinds[-1] == "mark"
    # After `clear` comes the whole answer to the second turn, and nothing of the first.
    after = b"".join(call.media[before.count("media") :])
    turns = engine.sessions[0].turns
    assert len(turns) == 2
    assert len(after) == -(-len(turns[1]) // 2 // 3 // FRAME) * FRAME


def test_drain_waits_for_the_end_of_the_answer(phrase):
    engine = RecordingParrot()
    with (
        running(engine, drain_s=TIMEOUT_S) as server,
        calling(f"ws://127.0.0.1:{server.port}/twilio", engine) as call,
    ):
        call.plays = False
        call.start()
        call.speak(ulaw(phrase))
        call.until("mark")
        server.start_drain()
        call.plays = True
        call.until("played")
        assert call.closed() == (1001, "stopping")


MEDIA = {"event": "media", "media": {"payload": "/////w=="}}
START = {"event": "start", "start": {"streamSid": SID}}


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        (["{"], "the message is not JSON"),
        ([b"\x00"], "text messages only"),
        (["[1]"], "event: "),
        ([{"type": "start"}], "event"),
        ([MEDIA], "media comes after start"),
        ([{"event": "stop"}], "stop comes after start"),
        ([START, START], "start comes once"),
        ([{"event": "start", "start": {}}], "start.start.streamSid: field required"),
        ([START | {"start": START["start"] | {"mediaFormat": {"encoding": "audio/opus"}}}], "audio/x-mulaw"),
        ([START | {"start": START["start"] | {"mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 16000}}}], "8000"),
        ([START | {"start": START["start"] | {"customParameters": {"prompt": "p" * 32_769}}}], "32768 characters"),
        ([START, {"event": "media", "media": {"payload": "%%"}}], "not base64"),
        ([START, {"event": "media", "media": {}}], "payload: field required"),
    ],
)  # fmt: skip
def test_bad_messages_end_the_call_with_the_reason(server, messages, text):
    with connect(f"ws://127.0.0.1:{server.port}/twilio", proxy=None) as ws:
        for message in messages:
            ws.send(message if isinstance(message, str | bytes) else json.dumps(message))
        with pytest.raises(ConnectionClosed) as closed:
            ws.recv(timeout=TIMEOUT_S)
    assert closed.value.rcvd.code == 1008
    assert text in closed.value.rcvd.reason
    assert server.wait_empty()


def test_ignores_unknown_events(server):
    with connect(f"ws://127.0.0.1:{server.port}/twilio", proxy=None) as ws:
        for message in ({"event": "weather"}, START, MEDIA | {"later": 1}, {"event": "mark", "mark": {"name": "?"}}):
            ws.send(json.dumps(message))
        ws.send(json.dumps({"event": "stop"}))
        with pytest.raises(ConnectionClosed) as closed:
            ws.recv(timeout=TIMEOUT_S)
    assert closed.value.rcvd.code == 1000


@pytest.fixture(scope="module")
def server():
    with running(RecordingParrot()) as server:
        yield server


def test_signature_is_valid_for_this_endpoint_only():
    with running(RecordingParrot(), auth_key="s3cret", twilio_auth_token="12345") as server:
        host = f"127.0.0.1:{server.port}"

        def refused(path="twilio", **headers):
            with pytest.raises(InvalidStatus) as error:
                connect(f"ws://{host}/{path}", proxy=None, additional_headers=headers)
            return error.value.response.status_code

        good = twilio_signature(f"wss://{host}/twilio", "12345")
        assert refused() == 401
        assert refused(**{"X-Twilio-Signature": "é"}) == 401
        assert refused(**{"X-Twilio-Signature": twilio_signature(f"wss://{host}/twilio", "1234")}) == 401
        assert refused(**{"X-Twilio-Signature": twilio_signature("wss://other.example/twilio", "12345")}) == 401
        assert refused("ws/pcm16", **{"X-Twilio-Signature": good}) == 401
        for headers in ({"X-Twilio-Signature": good}, {"Authorization": "Bearer s3cret"}):
            with calling(f"ws://{host}/twilio", additional_headers=headers) as call:
                call.start()
                call.send("stop")
                assert call.closed()[0] == 1000


def test_signature_covers_the_public_url():
    url = "wss://voice.example.com/twilio"
    with running(RecordingParrot(), twilio_auth_token="12345", twilio_url=url) as server:
        here = f"ws://127.0.0.1:{server.port}/twilio"
        with pytest.raises(InvalidStatus):
            connect(here, proxy=None)
        for host in (f"127.0.0.1:{server.port}", "voice.example.com"):
            headers = {"X-Twilio-Signature": twilio_signature(url, "12345"), "Host": host}
            with calling(here, additional_headers=headers) as call:
                call.start()
                call.send("stop")
                assert call.closed()[0] == 1000
