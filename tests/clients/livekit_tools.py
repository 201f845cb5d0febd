"""LiveKit Agents with an engine that takes text: a reply with instructions, a function tool that the user's words call, and `say`.

A program with one argument, a JSON document with `url` and `key`. Prints one line of JSON with what happened.
"""

import asyncio
import json
import sys

import aiohttp
from livekit.agents import Agent, AgentSession, function_tool
from livekit.plugins import openai


@function_tool
async def weather(city: str) -> str:
    """Return the weather of a city."""
    CALLS.append(city)
    return f"rain in {city}"


CALLS = []


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
        try:
            await session.say("Goodbye.")
            seen["say"] = texts(session)[-1]
        except Exception as error:
            seen["say"] = f"{type(error).__name__}: {error}"
        await session.aclose()
    print(json.dumps(seen | {"calls": CALLS}))


def texts(session):
    return [item.text_content for item in session.history.items if item.type == "message" and item.role == "assistant"]


asyncio.run(main(json.loads(sys.argv[1])))
