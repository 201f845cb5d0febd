"""`wscat` as a person uses it: messages go into its input, what it prints is read."""

import asyncio
import base64
import json
import os
from pathlib import Path

from conversation import main

PACKAGE = Path(os.environ["SCA_CLIENTS"]) / "node" / "node_modules" / "wscat"


async def converse(conversation):
    run = conversation.run
    url = f"{run['url'].replace('http', 'ws')}/v1/realtime?model={run['model']}"
    wscat = await asyncio.create_subprocess_exec(
        "node", str(PACKAGE / "bin" / "wscat"), "-c", url, "-H", f"Authorization: Bearer {run['key']}",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 24,
    )  # fmt: skip
    try:
        events = _events(wscat)
        await anext(events)  # session.created; lines before the connection would be lost
        await asyncio.gather(_speak(conversation, wscat), _listen(conversation, events))
    except BaseException:
        wscat.kill()
        raise
    finally:
        await wscat.wait()


async def _events(wscat):
    """Yield the events that it prints, each after the prompts for the lines that were sent meanwhile."""
    async for line in wscat.stdout:
        text = line.lstrip(b"> ")
        if text.startswith(b"{"):
            yield json.loads(text)


async def _speak(conversation, wscat):
    async for piece in conversation.microphone():
        message = {"type": "input_audio_buffer.append", "audio": base64.b64encode(piece).decode()}
        wscat.stdin.write(json.dumps(message).encode() + b"\n")
        await wscat.stdin.drain()
    wscat.stdin.close()


async def _listen(conversation, events):
    async for event in events:
        if event["type"] == "response.output_audio.delta":
            conversation.play(base64.b64decode(event["delta"]), event["item_id"])
        elif event["type"] == "input_audio_buffer.speech_started":
            conversation.interrupt()
        elif event["type"] == "response.done" and event["response"]["status"] == "completed":
            conversation.complete()
        elif event["type"] == "error":
            conversation.fail(event["error"]["message"])


main("wscat", json.loads((PACKAGE / "package.json").read_text())["version"], converse)
