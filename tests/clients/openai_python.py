"""`AsyncOpenAI().realtime.connect()`, the client of the package openai, as in its examples for the Realtime API."""

import asyncio
import base64

import openai
from conversation import main


async def converse(conversation):
    client = openai.AsyncOpenAI(api_key=conversation.run["key"], base_url=f"{conversation.run['url']}/v1")
    async with client.realtime.connect(model=conversation.run["model"]) as connection:
        await connection.session.update(
            session={"type": "realtime", "audio": {"input": {"turn_detection": {"type": "server_vad"}}}}
        )
        microphone = asyncio.create_task(speak(conversation, connection))
        async for event in connection:
            if event.type == "response.output_audio.delta":
                conversation.play(base64.b64decode(event.delta), event.item_id)
            elif event.type == "input_audio_buffer.speech_started" and conversation.is_playing:
                ms = conversation.played_ms()
                conversation.interrupt()
                await connection.conversation.item.truncate(
                    item_id=conversation.answers[-1]["id"], content_index=0, audio_end_ms=ms
                )
            elif event.type == "response.done" and event.response.status == "completed":
                conversation.complete()
            elif event.type == "error":
                conversation.fail(event.error.message)
        await microphone


async def speak(conversation, connection):
    async for piece in conversation.microphone():
        await connection.input_audio_buffer.append(audio=base64.b64encode(piece).decode())
    await connection.close()


main("openai-python", openai.__version__, converse)
