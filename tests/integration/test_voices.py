"""The voice of a session, at every door: chosen by name, refused with the names there are, and reported as it is used."""

import base64
import io
import json
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import httpx
import pytest
import soundfile as sf
from websockets.exceptions import ConnectionClosed

from sca.audio.pcm import INT16_MAX, pcm16_bytes
from sca.audio.resample import resample
from sca.infer.engines.cascade.engine import CascadeEngine
from sca.infer.engines.parrot import ParrotEngine
from sca.units import HEARD_HZ, SPOKEN_HZ
from tests.helpers.engine_contract import demo_speech
from tests.helpers.live_servers import running
from tests.helpers.scripted_parts import ScriptedVoice, scripted_parts
from tests.helpers.timeouts import TIMEOUT_S, connect

VOICES = ("high", "low", "usual")
LISTED = "the voices are: high, low, usual"


class NamedVoice(ScriptedVoice):
    """Notes its name for each clause."""

    def __init__(self, spoke, name="usual"):
        super().__init__()
        self.spoke, self.name = spoke, name

    def synthesise(self, text):
        self.spoke.append(self.name)
        return super().synthesise(text)


@pytest.fixture
def spoke():
    """The names of the voices that have spoken."""
    return []


@pytest.fixture
def server(spoke):
    voice = partial(NamedVoice, spoke)
    parts = scripted_parts(lambda messages: ["Hello there."], voice=voice, voices=VOICES, open_named=voice)
    with running(CascadeEngine(replace(parts, voice="usual"))) as server:
        yield server


class Client:
    """A client of the Realtime door without a library."""

    def __init__(self, ws):
        self.ws = ws
        self.created = self.until("session.created")["session"]

    def send(self, kind, **fields):
        self.ws.send(json.dumps({"type": kind, **fields}))

    def until(self, *kinds):
        while True:
            event = json.loads(self.ws.recv(timeout=TIMEOUT_S))
            if event["type"] in kinds:
                return event

    def ask_for(self, voice):
        self.send("session.update", session={"type": "realtime", "audio": {"output": {"voice": voice}}})
        return self.until("session.updated", "error")

    def voice(self):
        """The voice of the session after an update that changes nothing."""
        self.send("session.update", session={"type": "realtime"})
        return self.until("session.updated")["session"]["audio"]["output"]["voice"]

    def answer(self):
        content = [{"type": "input_text", "text": "Say hello."}]
        self.send("conversation.item.create", item={"type": "message", "role": "user", "content": content})
        self.send("response.create")
        return self.until("response.done")["response"]


@contextmanager
def client_of(server, **options):
    with connect(f"ws://127.0.0.1:{server.port}/v1/realtime", **options) as ws:
        yield Client(ws)


def test_chosen_voice_speaks_and_is_reported(server, spoke):
    with client_of(server) as client:
        assert client.created["audio"]["output"]["voice"] == "usual"
        assert client.ask_for("low")["session"]["audio"]["output"]["voice"] == "low"
        response = client.answer()
    assert response["status"] == "completed"
    assert response["audio"]["output"]["voice"] == "low"
    assert spoke == ["low"]


def test_voice_changes_until_it_has_spoken(server, spoke):
    speech = resample(demo_speech(seconds=1), HEARD_HZ, SPOKEN_HZ)
    with client_of(server) as client:
        client.send("session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": None}}})
        audio = base64.b64encode(pcm16_bytes(speech, INT16_MAX)).decode()
        client.send("input_audio_buffer.append", audio=audio)
        client.ask_for({"id": "low"})
        client.ask_for("high")  # the session of the engine has begun
        client.answer()
        refused = client.ask_for("low")["error"]
        assert client.ask_for("high")["type"] == "session.updated"  # clients send all settings again and again
        assert client.voice() == "high"
        client.answer()
    assert (refused["code"], refused["param"]) == ("cannot_update_voice", "session.audio.output.voice")
    assert spoke == ["high", "high"]


def test_unknown_voice_is_refused_with_the_names(server):
    with client_of(server) as client:
        error = client.ask_for("nobody")["error"]
        assert error["message"] == f"the voice nobody does not exist; {LISTED}"
        assert "a name" in client.ask_for(7)["error"]["message"]
        assert client.voice() == "usual"


def test_voice_of_openai_is_replaced_with_one_warning(server, spoke):
    with client_of(server) as client:
        assert client.ask_for("alloy")["session"]["audio"]["output"]["voice"] == "usual"
        warning = client.until("sca.warning")["warning"]
        client.ask_for("alloy")
        client.send("response.cancel")
        assert client.until("sca.warning", "error")["type"] == "error"  # that of the cancellation
        client.answer()
    assert warning["code"] == "voice_replaced"
    assert warning["message"] == f"the voice alloy does not exist here, and usual speaks; {LISTED}"
    assert spoke == ["usual"]


def test_flat_voice_of_the_beta(server, spoke):
    with client_of(server, additional_headers={"OpenAI-Beta": "realtime=v1"}) as client:
        assert client.created["voice"] == "usual"
        client.send("session.update", session={"voice": "high"})
        assert client.until("session.updated")["session"]["voice"] == "high"
        client.answer()
    assert spoke == ["high"]


def test_voice_of_a_client_secret(server, spoke):
    url = f"{server.url}/v1/realtime/client_secrets"
    refused, given = (
        httpx.post(url, json={"session": {"type": "realtime", "audio": {"output": {"voice": voice}}}})
        for voice in ("nobody", "low")
    )
    assert refused.status_code == 400
    assert LISTED in refused.text
    with client_of(server, additional_headers={"Authorization": f"Bearer {given.json()['value']}"}) as client:
        assert client.created["audio"]["output"]["voice"] == "low"
        client.answer()
    assert spoke == ["low"]


def test_engine_without_voices_names_the_setting():
    with running(ParrotEngine()) as server, client_of(server) as client:
        assert client.created["audio"]["output"]["voice"] == "parrot"
        assert client.ask_for("alloy")["session"]["audio"]["output"]["voice"] == "parrot"
        assert "audio.output.voice" in client.until("sca.warning")["warning"]["message"]
        client.ask_for("parrot")
        client.send("response.cancel")
        assert client.until("sca.warning", "error")["type"] == "error"  # that of the cancellation


def test_voice_of_an_uploaded_file(server, spoke):
    sound = io.BytesIO()
    sf.write(sound, demo_speech(seconds=5), HEARD_HZ, format="WAV", subtype="PCM_16")
    refused, answered = (
        httpx.post(f"{server.url}/infer_wav?voice={voice}", files={"file": sound.getvalue()})
        for voice in ("nobody", "low")
    )
    assert refused.status_code == 422
    assert LISTED in refused.text
    assert answered.json()["text"] == "Hello there."
    assert spoke == ["low"]


def test_voice_of_the_door_for_pages(server):
    with connect(f"ws://127.0.0.1:{server.port}/ws/pcm16") as ws:
        ws.send(json.dumps({"voice": "nobody"}))
        error = json.loads(ws.recv(timeout=TIMEOUT_S))
    assert error["message"] == f"voice: the voice nobody does not exist; {LISTED}"


def test_voice_of_a_call(server):
    start = {"streamSid": "MZ1", "callSid": "CA", "customParameters": {"voice": "nobody"}}
    media = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
    with connect(f"ws://127.0.0.1:{server.port}/twilio") as ws:
        ws.send(json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"}))
        ws.send(json.dumps({"event": "start", "streamSid": "MZ1", "start": {**start, "mediaFormat": media}}))
        with pytest.raises(ConnectionClosed) as closed:
            ws.recv(timeout=TIMEOUT_S)
    assert closed.value.rcvd.reason == f"the voice nobody does not exist; {LISTED}"
