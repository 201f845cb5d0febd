"""`WS /v1/realtime` with the official client of the protocol: conversations, interruptions, formats, errors."""

import asyncio
import base64
import json

import numpy as np
import pytest
from openai import AsyncOpenAI

from sca.audio.decode import read_audio
from sca.audio.g711 import decode_g711, encode_g711
from sca.audio.resample import resample
from sca.config import LiveConfig
from tests.helpers.live_servers import running
from tests.helpers.recording_parrot import RecordingParrot
from tests.helpers.timeouts import TIMEOUT_S, connect


@pytest.fixture(scope="module")
def phrase(trial_data):
    """Two seconds of speech, float32 at 24 kHz."""
    return read_audio(trial_data / "clips" / "jfk.flac", 24_000)[: int(2.3 * 24_000)]


@pytest.fixture
def engine():
    return RecordingParrot()


@pytest.fixture
def server(engine):
    with running(engine) as server:
        yield server


def pcm(samples):
    return np.rint(samples * 32767).astype("<i2").tobytes()


def b64(data):
    return base64.b64encode(data).decode()


def configured(**parts):
    return {"type": "realtime", "audio": parts}


PATIENT = {"open_timeout": TIMEOUT_S}
MANUAL = {"turn_detection": None}


class RealtimeClient:
    """A client that collects events of the SDK's own types."""

    def __init__(self, connection):
        self.connection, self.events = connection, []

    async def read_until(self, kind):
        while True:
            event = await asyncio.wait_for(self.connection.recv(), TIMEOUT_S)
            self.events.append(event)
            if event.type == kind:
                return event

    async def send_audio(self, data, piece=9601):
        for at in range(0, len(data), piece):
            await self.connection.input_audio_buffer.append(audio=b64(data[at : at + piece]))

    def kinds(self):
        return [event.type for event in self.events]

    def audio(self):
        return b"".join(base64.b64decode(e.delta) for e in self.events if e.type == "response.output_audio.delta")


def talk(server, conversation):
    async def main():
        openai = AsyncOpenAI(api_key="none", base_url=f"{server.url}/v1")
        async with openai.realtime.connect(model="parrot", websocket_connection_options=PATIENT) as connection:
            client = RealtimeClient(connection)
            await client.read_until("session.created")
            client.result = await conversation(client, connection)
            return client

    return asyncio.run(main())


def similar(found, expected):
    size = 1 << (len(found) + len(expected)).bit_length()
    products = np.fft.irfft(np.fft.rfft(found, size) * np.conj(np.fft.rfft(expected, size)), size)
    return products.max() / np.sqrt(np.sum(found.astype(float) ** 2) * np.sum(expected.astype(float) ** 2))


@pytest.mark.parametrize("follows", [True, False])
def test_committed_turn_is_answered_with_all_events(phrase, follows):
    async def conversation(client, connection):
        await connection.session.update(session=configured(input=MANUAL))
        await client.send_audio(pcm(phrase))
        await connection.input_audio_buffer.commit()
        await connection.response.create()
        await client.read_until("response.done")

    engine = RecordingParrot(follows_turns=follows)
    with running(engine) as server:
        client = talk(server, conversation)
    kinds = [kind for i, kind in enumerate(client.kinds()) if i == 0 or kind != client.kinds()[i - 1]]
    assert kinds == [
        "session.created", "session.updated", "input_audio_buffer.committed", "conversation.item.added",
        "conversation.item.done", "response.created", "response.output_item.added", "conversation.item.added",
        "response.content_part.added", "response.output_audio_transcript.delta", "response.output_audio.delta",
        "response.output_audio.done", "response.output_audio_transcript.done", "response.content_part.done",
        "response.output_item.done", "conversation.item.done", "response.done",
    ]  # fmt: skip
    done = client.events[-1].response
    assert done.status == "completed"
    assert done.output[0].content[0].transcript.startswith("(says back")
    (session,) = engine.sessions
    assert client.audio() == session.turns[0]
    assert similar(session.heard, resample(phrase, 24_000, 16_000)) > 0.99
    assert similar(np.frombuffer(client.audio(), "<i2"), phrase) > 0.9


def test_sessions_share_the_voice_detector(server, monkeypatch):
    loads = []
    monkeypatch.setattr("sca.audio.vad.open_session", lambda path: loads.append(path))

    async def conversation(client, connection):
        await connection.session.update(session=configured(input=MANUAL))
        await client.read_until("session.updated")

    for _ in range(2):
        talk(server, conversation)
    assert loads == []


@pytest.mark.parametrize("follows", [True, False])
def test_cleared_audio_is_not_answered(phrase, follows):
    async def conversation(client, connection):
        await connection.session.update(session=configured(input=MANUAL))
        await client.send_audio(pcm(phrase))
        await connection.input_audio_buffer.clear()
        await client.read_until("input_audio_buffer.cleared")
        await connection.input_audio_buffer.commit()
        error = await client.read_until("error")
        assert error.error.code == "input_audio_buffer_commit_empty"
        await client.send_audio(pcm(phrase[:30_000]))
        await connection.input_audio_buffer.commit()
        await connection.response.create()
        await client.read_until("response.done")

    with running(RecordingParrot(follows_turns=follows)) as server:
        client = talk(server, conversation)
    found = np.frombuffer(client.audio(), "<i2")
    assert similar(found, phrase[:30_000]) > 0.9
    assert len(found) < 2 * 30_000


def test_turns_are_answered_together_on_request(server, engine, phrase):
    async def conversation(client, connection):
        await connection.session.update(session=configured(input=MANUAL))
        for half in np.array_split(phrase, 2):
            await client.send_audio(pcm(half))
            await connection.input_audio_buffer.commit()
        await connection.response.create()
        await client.read_until("response.done")

    client = talk(server, conversation)
    assert client.kinds().count("input_audio_buffer.committed") == 2
    assert similar(np.frombuffer(client.audio(), "<i2"), phrase) > 0.9


def test_speech_interrupts_the_response(server, engine, phrase):
    async def conversation(client, connection):
        await client.send_audio(pcm(phrase))
        started = await client.read_until("input_audio_buffer.speech_started")
        stopped = await client.read_until("input_audio_buffer.speech_stopped")
        assert 0 <= started.audio_start_ms < stopped.audio_end_ms <= 2400
        committed = await client.read_until("input_audio_buffer.committed")
        assert started.item_id == stopped.item_id == committed.item_id
        delta = await client.read_until("response.output_audio.delta")
        await client.send_audio(pcm(phrase))
        await client.read_until("input_audio_buffer.speech_started")
        done = await client.read_until("response.done")
        assert (done.response.status, done.response.status_details.reason) == ("cancelled", "turn_detected")
        assert done.response.output[0].status == "incomplete"
        await connection.conversation.item.truncate(item_id=delta.item_id, content_index=0, audio_end_ms=200)
        truncated = await client.read_until("conversation.item.truncated")
        assert truncated.audio_end_ms == 200
        await connection.conversation.item.truncate(item_id=delta.item_id, content_index=0, audio_end_ms=201)
        assert "only 200 ms" in (await client.read_until("error")).error.message
        again = await client.read_until("response.created")
        assert again.response.id != done.response.id

    client = talk(server, conversation)
    assert server.metric('sca_interruptions_total{by="listener"}') >= 1
    cut = client.kinds().index("response.done")
    assert "response.output_audio.delta" not in client.kinds()[cut:]
    assert engine.sessions[0].interrupts >= 1


def test_no_audio_follows_a_cancelled_response(server, engine, phrase):
    async def conversation(client, connection):
        await client.send_audio(pcm(phrase))
        await client.read_until("response.output_audio.delta")
        await connection.response.create()
        assert (await client.read_until("error")).error.code == "conversation_already_has_active_response"
        await connection.response.cancel()
        done = await client.read_until("response.done")
        assert (done.response.status, done.response.status_details.reason) == ("cancelled", "client_cancelled")
        await connection.response.cancel()
        assert (await client.read_until("error")).error.code == "response_cancel_not_active"
        await client.send_audio(bytes(48_000 * 2))
        await connection.conversation.item.retrieve(item_id=done.response.output[0].id)
        await client.read_until("conversation.item.retrieved")

    client = talk(server, conversation)
    assert "response.output_audio.delta" not in client.kinds()[client.kinds().index("response.done") :]


@pytest.mark.parametrize(("name", "law"), [("audio/pcmu", "ulaw"), ("audio/pcma", "alaw")])
def test_g711_input_and_output(server, engine, phrase, name, law):
    low = resample(phrase, 24_000, 8_000)

    async def conversation(client, connection):
        sound = {"format": {"type": name}}
        await connection.session.update(session=configured(input=MANUAL | sound, output=sound))
        updated = await client.read_until("session.updated")
        assert updated.session.audio.output.format.type == name
        await client.send_audio(encode_g711(np.rint(low * 32767).astype(np.int16), law))
        await connection.input_audio_buffer.commit()
        await connection.response.create()
        await client.read_until("response.done")

    client = talk(server, conversation)
    assert similar(decode_g711(client.audio(), law).astype(np.float32), low) > 0.9
    assert len(client.audio()) == len(engine.sessions[0].turns[0]) // 6


def test_response_fails_if_the_engine_stays_silent():
    async def conversation(client, connection):
        await connection.session.update(session=configured(input=MANUAL))
        await client.send_audio(bytes(48_000))
        await connection.input_audio_buffer.commit()
        await connection.response.create()
        done = await client.read_until("response.done")
        assert (done.response.status, done.response.status_details.error.code) == ("failed", "no_answer")

    with running(RecordingParrot(follows_turns=False)) as server:
        talk(server, conversation)


def test_beta_clients_get_beta_events(server, phrase):
    headers = {"OpenAI-Beta": "realtime=v1"}
    with connect(f"ws://127.0.0.1:{server.port}/v1/realtime", additional_headers=headers, proxy=None) as ws:
        session = {"input_audio_format": "pcm16", "output_audio_format": "g711_ulaw", "turn_detection": None}
        for event in (
            {"type": "session.update", "session": session},
            {"type": "input_audio_buffer.append", "audio": b64(pcm(phrase))},
            {"type": "input_audio_buffer.commit"},
            {"type": "response.create"},
        ):
            ws.send(json.dumps(event))
        kinds = []
        while not kinds or kinds[-1] != "response.done":
            kinds.append(json.loads(ws.recv(TIMEOUT_S))["type"])
    assert {"conversation.item.created", "response.audio.delta", "response.audio_transcript.done"} <= set(kinds)
    assert not {kind for kind in kinds if "output_audio" in kind or kind == "conversation.item.done"}


def detection(**options):
    return configured(input={"turn_detection": {"type": "server_vad", **options}})


@pytest.mark.parametrize("interrupts", [True, False])
def test_interrupt_response_setting(phrase, interrupts):
    engine = RecordingParrot(LiveConfig(barge_in_ms=60_000))  # the engine does not stop by itself

    async def conversation(client, connection):
        await connection.session.update(session=detection(interrupt_response=interrupts))
        await client.send_audio(pcm(phrase))
        await client.read_until("response.output_audio.delta")
        await client.send_audio(pcm(phrase))
        await client.read_until("input_audio_buffer.speech_started")
        return await client.read_until("response.done")

    with running(engine) as server:
        client = talk(server, conversation)
    assert client.kinds().count("input_audio_buffer.speech_started") == 2
    done = client.events[-1].response
    assert done.status == ("cancelled" if interrupts else "completed")
    spoken = engine.sessions[0].turns[0]
    if interrupts:
        assert len(client.audio()) < len(pcm(phrase)) // 2
    else:
        assert client.audio() == spoken
        assert len(spoken) > len(pcm(phrase)) // 2


@pytest.mark.parametrize("follows", [True, False])
def test_create_response_false_reports_turns_only(phrase, follows):
    engine = RecordingParrot(follows_turns=follows)

    async def conversation(client, connection):
        await connection.session.update(session=detection(create_response=False))
        await client.send_audio(pcm(phrase) + bytes(48_000))
        await client.read_until("input_audio_buffer.speech_started")
        await client.read_until("input_audio_buffer.speech_stopped")
        await client.read_until("input_audio_buffer.committed")
        await client.read_until("conversation.item.done")
        assert len(engine.sessions) == follows
        assert "response.created" not in client.kinds()
        await connection.response.create()
        done = await client.read_until("response.done")
        assert done.response.status == "completed"

    with running(engine) as server:
        client = talk(server, conversation)
    assert client.audio() == engine.sessions[0].turns[0]
    assert similar(engine.sessions[0].heard, resample(phrase, 24_000, 16_000)) > 0.99


def test_audio_formats_can_change_during_a_session(server, engine, phrase):
    half = len(phrase) // 2
    low = encode_g711(np.rint(resample(phrase[half:], 24_000, 8_000) * 32767).astype(np.int16), "ulaw")
    telephone = {"format": {"type": "audio/pcmu"}}

    async def conversation(client, connection):
        await connection.session.update(session=configured(input=MANUAL))
        await client.send_audio(pcm(phrase[:half]))
        await connection.session.update(session=configured(input=telephone))
        await client.send_audio(low)
        await connection.input_audio_buffer.commit()
        await connection.response.create()
        await client.read_until("response.output_audio.delta")
        # The current response keeps its format; the next one has the new format.
        await connection.session.update(session=configured(output=telephone))
        await client.read_until("response.done")
        first = client.audio()
        await client.send_audio(low)
        await connection.input_audio_buffer.commit()
        await connection.response.create()
        await client.read_until("response.done")
        return first, client.audio()[len(first) :]

    client = talk(server, conversation)
    heard = engine.sessions[0].heard[: len(phrase) * 2 // 3]
    assert similar(heard, resample(phrase, 24_000, 16_000)) > 0.9
    first, second = client.result
    turns = engine.sessions[0].turns
    assert first == turns[0]
    assert len(second) == len(turns[1]) // 6
    assert similar(decode_g711(second, "ulaw").astype(np.float32), resample(phrase[half:], 24_000, 8_000)) > 0.8


def test_truncates_a_response_to_what_was_heard(server, phrase):
    async def conversation(client, connection):
        await connection.session.update(session=configured(input=MANUAL))
        await client.send_audio(pcm(phrase))
        await connection.input_audio_buffer.commit()
        user = await client.read_until("conversation.item.done")
        await connection.response.create()
        done = await client.read_until("response.done")
        item, truncate = done.response.output[0], connection.conversation.item.truncate
        whole_ms = len(client.audio()) // 48
        for item_id, index, ms, says in (
            (item.id, 0, whole_ms + 1, f"only {whole_ms} ms"),
            (item.id, 1, 100, "one content part"),
            (item.id, 0, -1, "whole number"),
            (user.item.id, 0, 100, "only items of the assistant"),
        ):
            await truncate(item_id=item_id, content_index=index, audio_end_ms=ms)
            assert says in (await client.read_until("error")).error.message
        await truncate(item_id=item.id, content_index=0, audio_end_ms=whole_ms)
        await client.read_until("conversation.item.truncated")
        await truncate(item_id=item.id, content_index=0, audio_end_ms=700)
        assert (await client.read_until("conversation.item.truncated")).audio_end_ms == 700
        await truncate(item_id=item.id, content_index=0, audio_end_ms=701)
        assert "only 700 ms" in (await client.read_until("error")).error.message
        await connection.conversation.item.retrieve(item_id=item.id)
        kept = (await client.read_until("conversation.item.retrieved")).item
        assert (kept.status, kept.content[0].transcript) == ("completed", None)
        await connection.conversation.item.delete(item_id=item.id)
        await client.read_until("conversation.item.deleted")
        await truncate(item_id=item.id, content_index=0, audio_end_ms=1)
        assert (await client.read_until("error")).error.code == "item_truncate_invalid_item_id"

    talk(server, conversation)


WRONG = [
    ("not json", "invalid_json"),
    ("[]", "missing_required_parameter"),
    (b"\x00\x01", "invalid_message"),
    ({"type": "response.dance"}, "unknown_event"),
    ({"type": "input_audio_buffer.append"}, "missing_required_parameter"),
    ({"type": "input_audio_buffer.append", "audio": "%%"}, "invalid_audio"),
    ({"type": "input_audio_buffer.commit"}, "input_audio_buffer_commit_empty"),
    ({"type": "session.update"}, "missing_required_parameter"),
    ({"type": "session.update", "session": {"audio": {"input": {"format": {"type": "audio/mp3"}}}}}, "invalid_value"),
    ({"type": "session.update", "session": {"audio": {"input": {"format": {"type": "audio/pcm", "rate": 1}}}}}, "invalid_value"),
    ({"type": "session.update", "session": {"turn_detection": {"type": "server_vad", "threshold": 7}}}, "invalid_value"),
    ({"type": "conversation.item.truncate", "item_id": "x", "content_index": 0, "audio_end_ms": 1},
     "item_truncate_invalid_item_id"),
    ({"type": "conversation.item.delete", "item_id": ["x"]}, "item_delete_invalid_item_id"),
    ({"type": "conversation.item.retrieve", "item_id": "x"}, "item_retrieve_invalid_item_id"),
    ({"type": "conversation.item.create"}, "missing_required_parameter"),
    ({"type": "conversation.item.create", "item": {}}, "invalid_value"),
    ({"type": "response.create", "response": {"metadata": {"a": 1}}}, "invalid_value"),
    ({"type": "response.create", "response": {"output_modalities": ["smell"]}}, "invalid_value"),
    ({"type": "response.create", "response": {"conversation": "none"}}, "unsupported_parameter"),
    ({"type": "response.create", "response": {"output_modalities": ["text"]}}, "unsupported_parameter"),
    ({"type": "response.create", "response": {"instructions": "Be brief."}}, "unsupported_parameter"),
    ({"type": "response.create", "response": {"max_output_tokens": 9}}, "unsupported_parameter"),
    ({"type": "response.create", "response": {"input": []}}, "unsupported_parameter"),
]  # fmt: skip


def test_errors_do_not_end_the_session(server):
    with connect(f"ws://127.0.0.1:{server.port}/v1/realtime", proxy=None) as ws:
        assert json.loads(ws.recv(TIMEOUT_S))["type"] == "session.created"
        for i, (message, code) in enumerate(WRONG):
            ws.send(message if isinstance(message, str | bytes) else json.dumps(message | {"event_id": f"e{i}"}))
            answer = json.loads(ws.recv(TIMEOUT_S))
            assert (answer["type"], answer["error"]["code"]) == ("error", code), message
            assert answer["error"]["event_id"] == (f"e{i}" if isinstance(message, dict) else None)
        ws.send(json.dumps({"type": "session.update", "session": {"instructions": "be brief"}}))
        assert json.loads(ws.recv(TIMEOUT_S))["session"]["instructions"] == "be brief"
    assert server.wait_empty()
