"""Text, tools and instructions over the Realtime protocol, with the client of OpenAI and an engine that takes text."""

import asyncio
import base64
import contextlib

import numpy as np
import pytest
from openai import AsyncOpenAI

from sca.audio.pcm import INT16_MAX, pcm16_bytes
from sca.audio.resample import resample
from sca.infer.engines.cascade.engine import CascadeEngine
from sca.infer.messages import ToolCall
from sca.units import HEARD_HZ, SPOKEN_HZ
from tests.helpers.engine_contract import demo_speech
from tests.helpers.live_servers import running
from tests.helpers.scripted_parts import ScriptedRecognizers, scripted_parts
from tests.helpers.timeouts import TIMEOUT_S

PUSH_TO_TALK = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}
WEATHER = {"type": "function", "name": "weather", "description": "Weather of a city", "parameters": {"type": "object"}}


@pytest.fixture(scope="module")
def question():
    """Return the first turn of the demo, base64 of PCM16 at 24 kHz."""
    speech = np.concatenate([demo_speech(seconds=5), np.zeros(HEARD_HZ, np.float32)])
    return base64.b64encode(pcm16_bytes(resample(speech, HEARD_HZ, SPOKEN_HZ), INT16_MAX)).decode()


def message(text, role="user"):
    kind = "output_text" if role == "assistant" else "input_text"
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}


class Client:
    """A connection, and the events it got."""

    def __init__(self, connection):
        self.connection, self.events = connection, []

    async def until(self, kind):
        while True:
            event = await asyncio.wait_for(self.connection.recv(), TIMEOUT_S)
            assert event.type != "error", event
            self.events.append(event)
            if event.type == kind:
                return event

    def of(self, kind):
        return [event for event in self.events if event.type == kind]

    async def add(self, item):
        await self.connection.conversation.item.create(item=item)

    async def answer(self, **response):
        """Request a response, and return it when it is done."""
        await self.connection.response.create(**({"response": response} if response else {}))
        return (await self.until("response.done")).response


def converse(answer, conversation):
    """Run a conversation with an engine whose language model answers by `answer`, and return the model."""
    engine = CascadeEngine(scripted_parts(answer, recognizer=ScriptedRecognizers(lambda samples: "What time is it?")))

    async def main(url):
        openai = AsyncOpenAI(api_key="none", base_url=f"{url}/v1")
        options = {"open_timeout": TIMEOUT_S}
        async with openai.realtime.connect(model="cascade", websocket_connection_options=options) as connection:
            await connection.session.update(session=PUSH_TO_TALK)
            with contextlib.suppress(asyncio.CancelledError):
                await conversation(Client(connection))

    with running(engine) as server:
        asyncio.run(main(server.url))
    return engine.parts.language


def texts(messages):
    return [(one.role, one.text) for one in messages if one.role != "system"]


def test_typed_message_is_answered_aloud():
    async def conversation(client):
        await client.add(message("Hello?"))
        response = await client.answer(metadata={"client_event_id": "e1"})
        assert response.status == "completed"
        assert response.metadata == {"client_event_id": "e1"}
        assert response.output[0].content[0].transcript == "Good day."
        assert client.of("response.created")[0].response.metadata == {"client_event_id": "e1"}
        assert sum(len(event.delta) for event in client.of("response.output_audio.delta")) > 0

    language = converse(lambda messages: ["Good ", "day."], conversation)
    assert texts(language.asked[0]) == [("user", "Hello?")]


def test_response_beside_the_conversation_leaves_no_trace(question):
    async def conversation(client):
        await client.connection.input_audio_buffer.append(audio=question)
        await client.connection.input_audio_buffer.commit()
        aside = await client.answer(
            conversation="none",
            output_modalities=["text"],
            instructions="Classify.",
            input=[message("Is it spam?")],
            metadata={"topic": "spam"},
        )
        assert (aside.status, aside.metadata, aside.conversation_id) == ("completed", {"topic": "spam"}, None)
        assert aside.output[0].content[0].text == "It is 1."
        assert "".join(event.delta for event in client.of("response.output_text.delta")) == "It is 1."
        assert not client.of("response.output_audio.delta")
        spoken = await client.answer()
        assert spoken.output[0].content[0].transcript == "It is 1."

    language = converse(lambda messages: [f"It is {len(texts(messages))}."], conversation)
    assert texts(language.asked[0]) == [("user", "Is it spam?")]
    assert [one.text for one in language.asked[0] if one.role == "system"] == ["Classify."]
    assert texts(language.asked[1]) == [("user", "What time is it?")]


def test_tool_is_called_by_the_client_and_its_result_answered():
    def answer(messages):
        if messages[-1].role == "tool":
            return [f"It is {messages[-1].text}."]
        return [ToolCall("call_1", "weather", '{"city": "Bern"}')]

    async def conversation(client):
        await client.connection.session.update(session={"type": "realtime", "tools": [WEATHER]})
        await client.add(message("Weather in Bern?"))
        called = (await client.answer()).output[0]
        assert (called.type, called.name, called.call_id) == ("function_call", "weather", "call_1")
        assert client.of("response.function_call_arguments.done")[0].arguments == '{"city": "Bern"}'
        await client.add({"type": "function_call_output", "call_id": called.call_id, "output": "sunny"})
        assert (await client.answer()).output[0].content[0].transcript == "It is sunny."

    language = converse(answer, conversation)
    assert language.tools[0][0]["function"]["name"] == "weather"
    assert [one.role for one in language.asked[1] if one.role != "system"] == ["user", "assistant", "tool"]


def test_instructions_hold_from_the_next_answer_on(question):
    async def conversation(client):
        await client.connection.input_audio_buffer.append(audio=question)
        await client.connection.input_audio_buffer.commit()
        await client.answer()
        await client.connection.session.update(session={"type": "realtime", "instructions": "You are Bo."})
        await client.add(message("Who are you?"))
        await client.answer(max_output_tokens=7)

    language = converse(lambda messages: ["Well."], conversation)
    prompts = [next(one.text for one in asked if one.role == "system") for asked in language.asked]
    assert prompts[0] != "You are Bo."
    assert prompts[1].startswith("You are Bo.")
    assert language.options[1].max_tokens == 7


def test_partial_transcripts_precede_the_whole_one(question):
    async def conversation(client):
        await client.connection.input_audio_buffer.append(audio=question)
        await client.connection.input_audio_buffer.commit()
        await client.answer()
        pieces = client.of("conversation.item.input_audio_transcription.delta")
        (whole,) = client.of("conversation.item.input_audio_transcription.completed")
        assert whole.transcript == "What time is it?"
        assert pieces
        assert whole.transcript.startswith("".join(piece.delta for piece in pieces))
        assert {piece.item_id for piece in pieces} == {whole.item_id}

    converse(lambda messages: ["Noon."], conversation)


def test_second_response_at_a_time_is_refused(question):
    async def conversation(client):
        await client.add(message("Hello?"))
        await client.connection.response.create()
        await client.until("response.created")
        await client.connection.response.create()
        while (event := await asyncio.wait_for(client.connection.recv(), TIMEOUT_S)).type != "error":
            pass
        assert event.error.code == "conversation_already_has_active_response"
        assert (await client.until("response.done")).response.status == "completed"

    converse(lambda messages: ["A long answer, which takes a while to say, as one can hear."], conversation)
