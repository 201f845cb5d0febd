"""Twilio's side of a bidirectional media stream, as its documentation of the WebSocket messages states."""

import asyncio
import base64
import hashlib
import hmac
import json

import numpy as np
from conversation import Loudspeaker, main
from websockets.asyncio.client import connect

from sca.audio.g711 import encode_g711

SID = "MZ18ad3ab5a668481ce02b83e7395059f0"


class Call:
    """The messages of a call to the application."""

    def __init__(self, conversation, ws):
        self.conversation, self.ws = conversation, ws
        self.sequence = 0
        self.loudspeaker = Loudspeaker(conversation, self.return_mark)

    async def send(self, event, **fields):
        self.sequence += 1
        message = {"event": event, "sequenceNumber": str(self.sequence), "streamSid": SID, **fields}
        await self.ws.send(json.dumps(message))

    async def return_mark(self, name):
        await self.send("mark", mark={"name": name})
        self.conversation.done()

    async def speak(self):
        await self.ws.send(json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"}))
        await self.send("start", start={
            "accountSid": "AC", "streamSid": SID, "callSid": "CA", "tracks": ["inbound"], "customParameters": {},
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        })  # fmt: skip
        chunk = 0
        async for piece in self.conversation.microphone():
            chunk += 1
            times = {"chunk": str(chunk), "timestamp": str(20 * chunk)}
            await self.send("media", media={"track": "inbound", "payload": base64.b64encode(piece).decode(), **times})
        await self.send("stop", stop={"accountSid": "AC", "callSid": "CA"})
        await self.ws.close()

    async def listen(self):
        async for message in self.ws:
            event = json.loads(message)
            if event["event"] == "media":
                self.loudspeaker.add(base64.b64decode(event["media"]["payload"]))
            elif event["event"] == "mark":
                self.loudspeaker.add(mark=event["mark"]["name"])
            elif event["event"] == "clear":
                marks = self.loudspeaker.clear()
                self.conversation.interrupt()
                for name in marks:  # the marks of cleared sound come back at once
                    await self.send("mark", mark={"name": name})


async def converse(conversation):
    url = f"{conversation.run['url'].replace('http', 'ws')}/twilio"
    # The key is the auth token of the account here, with which Twilio signs the URL.
    signature = hmac.digest(conversation.run["key"].encode(), url.encode(), hashlib.sha1)
    async with connect(url, additional_headers={"X-Twilio-Signature": base64.b64encode(signature).decode()}) as ws:
        call = Call(conversation, ws)
        await asyncio.gather(call.speak(), call.listen())
        call.loudspeaker.task.cancel()


def ulaw(pcm):
    return encode_g711(np.frombuffer(pcm, "<i2"), "ulaw")


if __name__ == "__main__":
    main("Twilio media streams", "1.0.0", converse, hz=8000, width=1, encode=ulaw, quiet=b"\xff")
