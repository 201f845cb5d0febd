"""A client of `WS /ws/pcm16` from the description of the endpoint: PCM16 goes in, each chunk gets a reply."""

import asyncio
import json

from conversation import main
from websockets.asyncio.client import connect


async def converse(conversation):
    run = conversation.run
    headers = {"Authorization": f"Key {run['key']}"}
    async with connect(f"{run['url'].replace('http', 'ws')}/ws/pcm16", additional_headers=headers) as ws:
        await ws.send(json.dumps({"prompt": "Be brief."}))
        await asyncio.gather(_speak(conversation, ws), _listen(conversation, ws))


async def _speak(conversation, ws):
    async for piece in conversation.microphone():
        await ws.send(piece)
    await ws.send(json.dumps({"type": "end"}))


async def _listen(conversation, ws):
    turn = None
    async for message in ws:
        if isinstance(message, bytes):
            conversation.play(message, turn)
            continue
        event = json.loads(message)
        kind = event.get("type", "chunk")
        if kind == "audio":
            turn = event["turn_id"]
        elif kind == "interrupt":
            conversation.interrupt()
        elif kind == "turn_end":
            conversation.complete()
        elif kind in ("error", "dropped", "warning", "lag"):
            conversation.fail(message)


main("WS /ws/pcm16", "1", converse, hz=16_000, answer_hz=24_000)
