"""A client of `WS /ws/pcm16` that reads JSON only: PCM16 goes in, each chunk gets a reply, and answers are text.

It has no sound of answers, so it counts the chunks of an answer as silence.
"""

import asyncio
import json

from conversation import main
from websockets.asyncio.client import connect


async def converse(conversation):
    run = conversation.run
    headers = {"Authorization": f"Key {run['key']}"}
    async with connect(f"{run['url'].replace('http', 'ws')}/ws/pcm16", additional_headers=headers) as ws:
        await ws.send(json.dumps({"prompt": "Be brief.", "audio": False}))
        await asyncio.gather(_speak(conversation, ws), _listen(conversation, ws))


async def _speak(conversation, ws):
    async for piece in conversation.microphone():
        await ws.send(piece)
    await ws.send(json.dumps({"type": "end"}))


async def _listen(conversation, ws):
    texts = conversation.notes.setdefault("texts", [])
    async for message in ws:
        reply = json.loads(message)
        if reply.get("type") == "interrupt":
            conversation.interrupt()
        elif reply.get("type") == "turn_end":
            conversation.done()
        elif "chunk_ms" in reply and (reply["text"] or conversation.is_playing):
            if conversation.is_playing:
                texts[-1] += reply["text"]
            else:
                texts.append(reply["text"])
            conversation.play(bytes(2 * int(reply["chunk_ms"] * conversation.answer_hz / 1000)))


main("WS /ws/pcm16, JSON only", "1", converse, hz=16_000)
