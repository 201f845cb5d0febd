"""The cascade behind the doors of the server: words of the user, heard history, and the audio stream."""

import asyncio
import base64
import io
import json
import threading

import httpx
import numpy as np
import pytest
import soundfile
from openai import AsyncOpenAI

from sca.audio.pcm import INT16_MAX, pcm16_bytes
from sca.audio.resample import resample
from sca.infer.engines.cascade.engine import CascadeEngine
from sca.infer.session.broadcast import STREAM_HZ
from sca.units import HEARD_HZ, SPOKEN_HZ
from tests.helpers.engine_contract import demo_speech
from tests.helpers.live_servers import MirrorEngine, running
from tests.helpers.scripted_parts import ScriptedRecognizers, scripted_parts
from tests.helpers.timeouts import TIMEOUT_S, connect

ANSWER = "one two three four five six seven eight nine ten."


@pytest.fixture(scope="module")
def question():
    """Return the first turn of the demo and silence, float32 at 16 kHz."""
    return np.concatenate([demo_speech(seconds=5), np.zeros(2 * HEARD_HZ, np.float32)])


@pytest.fixture
def engine():
    opened, sessions = (
        CascadeEngine(scripted_parts(lambda messages: [ANSWER], recognizer=ScriptedRecognizers(lambda s: "What?"))),
        [],
    )
    open_session = opened.open
    opened.open = lambda config: sessions.append(open_session(config)) or sessions[-1]
    opened.sessions = sessions
    return opened


def test_pcm16_sends_the_words_of_the_user(engine, question):
    with running(engine) as server, connect(server.ws, proxy=None) as ws:
        ws.send(pcm16_bytes(question, INT16_MAX))
        found, answer = [], ""
        while len(answer) < len(ANSWER):
            ws.send(bytes(2 * 5120))  # the engine advances with its input
            message = ws.recv(timeout=TIMEOUT_S)
            document = json.loads(message) if isinstance(message, str) else {}
            found += [document] if document.get("type") == "user_text" else []
            answer += document.get("text", "") if "chunk_ms" in document else ""
    assert found[-1] == {"type": "user_text", "text": "What?", "is_final": True}
    assert answer == ANSWER


def test_realtime_sends_transcripts_and_tells_what_was_heard(engine, question):
    heard = base64.b64encode(pcm16_bytes(resample(question, HEARD_HZ, SPOKEN_HZ), INT16_MAX)).decode()

    async def main(url):
        openai = AsyncOpenAI(api_key="none", base_url=f"{url}/v1")
        async with openai.realtime.connect(
            model="cascade", websocket_connection_options={"open_timeout": TIMEOUT_S}
        ) as connection:
            events = {}

            async def read_until(kind):
                while kind not in events:
                    event = await asyncio.wait_for(connection.recv(), TIMEOUT_S)
                    events[event.type] = event
                return events[kind]

            await connection.session.update(session={"type": "realtime", "audio": {"input": {"turn_detection": None}}})
            await connection.input_audio_buffer.append(audio=heard)
            await connection.input_audio_buffer.commit()
            await connection.response.create()
            said = await read_until("conversation.item.input_audio_transcription.completed")
            done = await read_until("response.done")
            item = done.response.output[0]
            await connection.conversation.item.truncate(item_id=item.id, content_index=0, audio_end_ms=700)
            await read_until("conversation.item.truncated")
            await connection.input_audio_buffer.append(audio=heard)
            await connection.input_audio_buffer.commit()
            events.pop("response.done")
            await connection.response.create()
            await read_until("response.done")
            return said, events["input_audio_buffer.committed"], item

    with running(engine) as server:
        said, _, item = asyncio.run(main(server.url))
    assert said.transcript == "What?"
    assert item.content[0].transcript == ANSWER
    asked = engine.parts.language.asked[1]
    (held,) = [message.text for message in asked if message.role == "assistant"]
    words = engine.sessions[0].talk.history.messages()
    assert 0 < len(held) < len(ANSWER)
    assert ANSWER.startswith(held)
    assert words[-1].text in (ANSWER, held)


def test_uploaded_question_is_answered(engine, question):
    out = io.BytesIO()
    soundfile.write(out, question, HEARD_HZ, format="WAV")
    with running(engine) as server:
        response = httpx.post(f"{server.url}/infer_wav", files={"file": out.getvalue()}, timeout=TIMEOUT_S)
    assert response.status_code == 200
    assert response.json()["text"] == ANSWER


# GET /api/audio-stream


def test_audio_stream_has_the_sound_of_a_session():
    with running(MirrorEngine()) as server, connect(server.ws, proxy=None) as ws:
        sound = np.random.default_rng(0).integers(0, 9000, 5 * 5120).astype("<i2")
        with httpx.stream("GET", f"{server.url}/api/audio-stream", timeout=TIMEOUT_S) as stream:
            assert (stream.headers["x-audio-rate"], stream.headers["x-audio-channels"]) == ("48000", "1")
            assert stream.headers["x-audio-format"] == "s16le"
            blocks = stream.iter_bytes()
            assert set(next(blocks)) == {0}
            ws.send(sound.tobytes())
            ws.send(json.dumps({"type": "end"}))
            received = b""
            while (
                np.abs(np.frombuffer(received[: len(received) // 2 * 2], "<i2")).sum() == 0 or len(received) < 100_000
            ):
                received += next(blocks)
        assert "sca_stream_subscribers" in httpx.get(f"{server.url}/metrics").text
    assert len(received) > STREAM_HZ


def test_audio_stream_is_guarded_and_ends_with_the_server():
    with running(MirrorEngine(), auth_key="secret") as server:
        url = f"{server.url}/api/audio-stream"
        assert httpx.get(url).status_code == 401
        key = {"Authorization": "Bearer secret"}
        missing = httpx.get(url, params={"session": "nobody"}, headers=key)
        assert (missing.status_code, "no session 'nobody'" in missing.text) == (404, True)
        ended, begun = threading.Event(), threading.Event()

        def read():
            with httpx.stream("GET", url, headers=key, timeout=TIMEOUT_S) as stream:
                for _ in stream.iter_bytes():
                    begun.set()
            ended.set()

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        assert begun.wait(TIMEOUT_S)
        asyncio.run_coroutine_threadsafe(server.context.sessions.drain(), server.loop).result(TIMEOUT_S)
        assert ended.wait(TIMEOUT_S)
        reader.join()
