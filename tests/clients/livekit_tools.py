"""LiveKit Agents: a reply with instructions, a function tool that is called for a typed and for a spoken question, and `say`.

A program with one argument, a JSON document with `url`, `key` and `sound`, the path of a phrase as PCM16 at 24 kHz.
Prints one line of JSON with what happened.
"""

import asyncio
import json
import sys

import aiohttp
from conversation import speak
from livekit import rtc
from livekit.agents import Agent, AgentSession, function_tool
from livekit.agents.voice import io
from livekit.plugins import openai

HZ = 24_000


@function_tool
async def weather(city: str) -> str:
    """Return the weather of a city."""
    CALLS.append(city)
    return f"rain in {city}"


CALLS = []


class Microphone(io.AudioInput):
    """Says a phrase, then nothing."""

    def __init__(self, path):
        super().__init__(label="Microphone")
        self._pieces = speak(path, HZ)

    async def __anext__(self):
        piece = await anext(self._pieces)
        return rtc.AudioFrame(piece, HZ, 1, len(piece) // 2)


async def main(run):
    seen = {"errors": []}
    async with aiohttp.ClientSession() as http:
        model = openai.realtime.RealtimeModel(
            base_url=f"{run['url']}/v1", api_key=run["key"], model="cascade", http_session=http
        )
        session = AgentSession(llm=model)
        session.on("error", lambda event: seen["errors"].append(str(event.error)))
        await session.start(Agent(instructions="Be brief.", tools=[weather]))
        async with asyncio.timeout(60):
            handle = session.generate_reply(instructions="Greet the user.")
            await handle
            seen["greeting"] = texts(session)
            await session.generate_reply(user_input="How is the weather in Rome?")
            seen["texts"] = texts(session)
            seen["spoken"] = await ask_by_speech(session, run["sound"])
        try:
            await session.say("Goodbye.")
            seen["say"] = texts(session)[-1]
        except Exception as error:
            seen["say"] = f"{type(error).__name__}: {error}"
        await session.aclose()
    print(json.dumps(seen | {"calls": CALLS}))


async def ask_by_speech(session, path):
    """Say a question; return what was understood, and the answer."""
    answer, question = asyncio.get_running_loop().create_future(), []

    def on_item(event):
        item = event.item
        if item.type == "message" and item.role == "user":
            question.append(item.text_content)
        elif item.type == "message" and item.text_content and not answer.done():
            answer.set_result(item.text_content)

    session.on("conversation_item_added", on_item)
    session.input.audio = Microphone(path)
    said = await answer
    session.input.audio = None
    return [*question, said]


def texts(session):
    return [item.text_content for item in session.history.items if item.type == "message" and item.role == "assistant"]


asyncio.run(main(json.loads(sys.argv[1])))
