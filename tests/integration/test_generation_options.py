"""Generation options of a session, at every door: passed to the engine, refused in the words of the door, or reported."""

import base64
import io
import json
from contextlib import contextmanager
from dataclasses import replace

import httpx
import numpy as np
import pytest
import soundfile as sf
from websockets.exceptions import ConnectionClosed

from sca.audio.pcm import INT16_MAX, pcm16_bytes
from sca.errors import ConfigError
from sca.infer.generation import GenerationOptions, read_generation, read_generation_texts
from sca.infer.runners.array import run_engine
from sca.units import HEARD_HZ
from tests.helpers.live_servers import MirrorEngine, running
from tests.helpers.timeouts import TIMEOUT_S, connect

CHOSEN = {"silence_bias": 1.5, "tell": "once", "yield_to_speech": True}
OPTIONS = GenerationOptions(silence_bias=1.5, tell="once", yield_to_speech=True)
BOUNDS = "generation.silence_bias: input should be less than or equal to 100"
UNFOLLOWED = "the engine mirror does not follow generation options, and these have no effect: silence_bias"
QUIET = np.full(HEARD_HZ, 0.01, np.float32)


def mirror(*, follows):
    engine = MirrorEngine()
    engine.info = replace(engine.info, follows_generation=follows)
    return engine


@pytest.fixture(scope="module")
def following():
    engine = mirror(follows=True)
    with running(engine) as server:
        yield server, engine


@pytest.fixture(scope="module")
def other():
    engine = mirror(follows=False)
    with running(engine) as server:
        yield server, engine


@contextmanager
def socket(server, path):
    with connect(f"ws://127.0.0.1:{server.port}{path}") as ws:
        yield ws


def until(ws, *kinds):
    while True:
        message = ws.recv(timeout=TIMEOUT_S)
        if isinstance(message, str) and (event := json.loads(message)).get("type") in kinds:
            return event


# Reading


def test_options_have_the_bounds_of_the_settings():
    assert read_generation(CHOSEN) == OPTIONS
    assert read_generation({}) == GenerationOptions()
    for wrong, text in (
        ({"silence_bias": 101}, BOUNDS),
        ({"silence_bias": "1"}, "silence_bias: input should be a valid number"),
        ({"silence_bias": True}, "silence_bias: input should be a valid number"),
        ({"tell": "twice"}, "tell: input should be 'once' or 'spread'"),
        ({"seed": 1}, "generation.seed is not an option; the options are: text_temperature, "),
        ([], "an object of options"),
    ):
        with pytest.raises(ConfigError, match=text):
            read_generation(wrong)


def test_parameters_are_converted_from_text():
    texts = {f"generation.{name}": str(value) for name, value in CHOSEN.items()} | {"prompt": "Hi.", "tell": "x"}
    assert read_generation_texts(texts) == OPTIONS
    with pytest.raises(ConfigError, match="silence_bias: input should be a valid number"):
        read_generation_texts({"generation.silence_bias": "much"})


def test_a_session_changes_only_what_it_chose():
    assert OPTIONS.updated(GenerationOptions(tell="spread")) == replace(OPTIONS, tell="spread")
    assert OPTIONS.updated(GenerationOptions()) == OPTIONS


# Doors


def test_options_of_a_script(following):
    _, engine = following
    run_engine(engine, QUIET, generation=OPTIONS)
    assert engine.opened[-1].generation == OPTIONS


def test_options_of_pcm16(following, other):
    server, engine = following
    with socket(server, "/ws/pcm16") as ws:
        ws.send(json.dumps({"generation": CHOSEN}))
        ws.send(pcm16_bytes(QUIET, INT16_MAX))
        ws.send('{"type": "end"}')
        assert until(ws, "bye", "warning", "error")["type"] == "bye"
    assert engine.opened[-1].generation == OPTIONS
    with socket(server, "/ws/pcm16") as ws:
        ws.send(json.dumps({"generation": {"silence_bias": 101}}))
        error = until(ws, "error")
    assert (error["code"], error["message"]) == ("bad_message", BOUNDS)
    with socket(other[0], "/ws/pcm16") as ws:
        ws.send(json.dumps({"generation": {"silence_bias": 1}}))
        assert until(ws, "warning") == {"type": "warning", "reason": "unsupported_settings", "message": UNFOLLOWED}
        ws.send('{"type": "end"}')
        assert until(ws, "bye")["reason"] == "end"


def test_options_of_an_uploaded_file(following, other):
    sound = io.BytesIO()
    sf.write(sound, QUIET, HEARD_HZ, format="WAV", subtype="PCM_16")

    def post(server, query):
        return httpx.post(f"{server.url}/infer_wav?{query}", files={"file": sound.getvalue()}, timeout=TIMEOUT_S)

    server, engine = following
    given = post(server, "generation.silence_bias=1.5&generation.tell=once&generation.yield_to_speech=true")
    assert given.json()["problems"] == []
    assert engine.opened[-1].generation == OPTIONS
    refused = post(server, "generation.silence_bias=101")
    assert (refused.status_code, refused.json()["error"]["what"]) == (422, BOUNDS)
    assert post(other[0], "generation.silence_bias=1").json()["problems"] == [UNFOLLOWED]


def call(server, parameters):
    media = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
    start = {"streamSid": "MZ1", "callSid": "CA", "customParameters": parameters, "mediaFormat": media}
    with socket(server, "/twilio") as ws:
        ws.send(json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"}))
        ws.send(json.dumps({"event": "start", "streamSid": "MZ1", "start": start}))
        ws.send(json.dumps({"event": "stop", "streamSid": "MZ1", "stop": {"callSid": "CA"}}))
        with pytest.raises(ConnectionClosed) as closed:
            list(iter(lambda: ws.recv(timeout=TIMEOUT_S), None))
    return closed.value.rcvd.reason


def test_options_of_a_call(following, other, caplog):
    server, engine = following
    call(server, {"generation.silence_bias": "1.5", "generation.tell": "once", "generation.yield_to_speech": "1"})
    assert engine.opened[-1].generation == OPTIONS
    assert call(server, {"generation.silence_bias": "101"}) == BOUNDS
    call(other[0], {"generation.silence_bias": "1"})
    assert UNFOLLOWED in caplog.text


def update(ws, **session):
    ws.send(json.dumps({"type": "session.update", "session": {"type": "realtime", **session}}))
    return until(ws, "session.updated", "error")


def speak(ws):
    audio = base64.b64encode(pcm16_bytes(np.repeat(QUIET, 2)[:48_000], INT16_MAX)).decode()
    ws.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))


def test_options_of_realtime(following):
    server, engine = following
    with socket(server, "/v1/realtime") as ws:
        assert until(ws, "session.created")["session"]["sca"] == {"generation": {}}
        updated = update(ws, temperature=0.8, sca={"generation": CHOSEN})
        assert updated["session"]["sca"] == {"generation": {"text_temperature": 0.8, **CHOSEN}}
        assert update(ws, sca={"generation": {"tell": "spread"}})["session"]["sca"]["generation"]["silence_bias"] == 1.5
        speak(ws)
        until(ws, "response.created")
    assert engine.opened[-1].generation == replace(OPTIONS, text_temperature=0.8, tell="spread")


@pytest.mark.parametrize(
    ("session", "param", "text"),
    [
        ({"temperature": 3}, "session.temperature", "text_temperature: input should be less than or equal to 2"),
        ({"sca": {"generation": {"silence_bias": 101}}}, "session.sca.generation", BOUNDS),
        ({"sca": {"generation": {"seed": 1}}}, "session.sca.generation", "generation.seed is not an option"),
        ({"sca": {"voice": "x"}}, "session.sca", "session.sca has one field, generation"),
        ({"sca": []}, "session.sca", "must be an object"),
    ],
)
def test_realtime_refuses_wrong_options(following, session, param, text):
    with socket(following[0], "/v1/realtime") as ws:
        error = update(ws, **session)["error"]
    assert error["param"] == param
    assert text in error["message"]


def test_realtime_warns_of_options_without_effect(other):
    server, _ = other
    with socket(server, "/v1/realtime") as ws:
        assert "sca" not in update(ws, temperature=0.7, sca={"generation": {"silence_bias": 1}})["session"]
        warning = until(ws, "sca.warning")["warning"]
        assert warning["code"] == "unsupported_settings"
        assert "does not support: sca, temperature;" in warning["message"]


def test_engine_document_lists_the_options(following, other):
    lists = [httpx.get(f"{server.url}/api/engine").json()["generation"] for server, _ in (following, other)]
    assert lists == [list(GenerationOptions.names()), []]
