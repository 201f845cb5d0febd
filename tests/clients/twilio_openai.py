"""Twilio's sample that joins a call with OpenAI's Realtime API: µ-law in both directions, forwarded unchanged.

The session, the marks and the handling of an interruption are those of `main.py` in
https://github.com/twilio-samples/speech-assistant-openai-realtime-api-python (d70e251). The call is the conversation.
"""

import asyncio
import base64
import json

import websockets
from conversation import Loudspeaker, main
from twilio_stream import ulaw


class Bridge:
    """Between Twilio and the model."""

    def __init__(self, conversation, openai_ws):
        self.conversation, self.openai_ws = conversation, openai_ws
        self.latest_media_timestamp = 0
        self.last_assistant_item = None
        self.mark_queue = []
        self.response_start_timestamp_twilio = None
        self.twilio = Loudspeaker(conversation, self.receive_mark)

    async def receive_mark(self, name):
        if name == "end":  # not of the sample: the conversation wants to know
            self.conversation.done()
        elif self.mark_queue:
            self.mark_queue.pop(0)

    async def receive_from_twilio(self):
        async for piece in self.conversation.microphone():
            self.latest_media_timestamp += 20
            audio_append = {"type": "input_audio_buffer.append", "audio": base64.b64encode(piece).decode()}
            await self.openai_ws.send(json.dumps(audio_append))
        await self.openai_ws.close()

    async def send_to_twilio(self):
        async for openai_message in self.openai_ws:
            response = json.loads(openai_message)
            if response["type"] == "response.output_audio.delta":
                self.twilio.add(base64.b64decode(response["delta"]))
                if response["item_id"] != self.last_assistant_item:
                    self.response_start_timestamp_twilio = self.latest_media_timestamp
                    self.last_assistant_item = response["item_id"]
                self.twilio.add(mark="responsePart")
                self.mark_queue.append("responsePart")
            elif response["type"] == "input_audio_buffer.speech_started" and self.last_assistant_item:
                await self.handle_speech_started_event()
            elif response["type"] == "response.done":
                if response["response"]["status"] == "completed":
                    self.twilio.add(mark="end")
                else:  # if all of its sound was played already, there was nothing to clear
                    self.conversation.interrupt()
            elif response["type"] == "error":
                self.conversation.fail(response["error"]["message"])

    async def handle_speech_started_event(self):
        if self.mark_queue and self.response_start_timestamp_twilio is not None:
            elapsed_time = self.latest_media_timestamp - self.response_start_timestamp_twilio
            truncate_event = {
                "type": "conversation.item.truncate",
                "item_id": self.last_assistant_item,
                "content_index": 0,
                "audio_end_ms": elapsed_time,
            }
            await self.openai_ws.send(json.dumps(truncate_event))
            self.twilio.clear()
            self.conversation.interrupt()
            self.mark_queue.clear()
            self.last_assistant_item = None
            self.response_start_timestamp_twilio = None


async def converse(conversation):
    run = conversation.run
    url = f"{run['url'].replace('http', 'ws')}/v1/realtime?model={run['model']}&temperature=0.8&voice=alloy"
    async with websockets.connect(url, additional_headers={"Authorization": f"Bearer {run['key']}"}) as openai_ws:
        bridge = Bridge(conversation, openai_ws)
        session_update = {
            "type": "session.update",
            "session": {
                "type": "realtime",
                "model": "gpt-realtime",
                "output_modalities": ["audio"],
                "audio": {
                    "input": {"format": {"type": "audio/pcmu"}, "turn_detection": {"type": "server_vad"}},
                    "output": {"format": {"type": "audio/pcmu"}},
                },
                "instructions": "You are a helpful and bubbly AI assistant.",
            },
        }
        await openai_ws.send(json.dumps(session_update))
        await asyncio.gather(bridge.receive_from_twilio(), bridge.send_to_twilio())
        bridge.twilio.task.cancel()


main("Twilio with OpenAI Realtime", "d70e251", converse, hz=8000, width=1, encode=ulaw, quiet=b"\xff")
