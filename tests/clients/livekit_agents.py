"""`RealtimeModel` of livekit-plugins-openai in an `AgentSession` with a microphone and a loudspeaker of its own, without a room.

With the argument `defaults` the session has no options.
"""

import asyncio
import logging
import sys
from importlib.metadata import version

import aiohttp
from conversation import main
from livekit import rtc
from livekit.agents import Agent, AgentSession
from livekit.agents.voice import io
from livekit.plugins import openai

logging.basicConfig(level=logging.ERROR)


class Microphone(io.AudioInput):
    """Frames of a conversation."""

    def __init__(self, conversation):
        super().__init__(label="Microphone")
        self._hz, self._pieces = conversation.hz, conversation.microphone()

    async def __anext__(self):
        piece = await anext(self._pieces)
        return rtc.AudioFrame(piece, self._hz, 1, len(piece) // 2)


class Loudspeaker(io.AudioOutput):
    """Plays in real time into a conversation."""

    def __init__(self, conversation):
        super().__init__(
            label="Loudspeaker", capabilities=io.AudioOutputCapabilities(pause=False), sample_rate=conversation.hz
        )
        self._conversation = conversation
        self._frames, self._played_s, self._ends = asyncio.Queue(), 0.0, None
        self._task = asyncio.create_task(self._play())

    async def capture_frame(self, frame):
        await super().capture_frame(frame)
        await self._frames.put(frame)

    def flush(self):
        super().flush()
        self._frames.put_nowait(None)

    def clear_buffer(self):
        if self._ends is None and self._frames.empty():
            return
        self._task.cancel()
        self._frames = asyncio.Queue()
        self._finish(interrupted=True)
        self._task = asyncio.create_task(self._play())

    async def _play(self):
        loop = asyncio.get_running_loop()
        while True:
            frame = await self._frames.get()
            if frame is None:
                if self._ends is not None:
                    self._finish(interrupted=False)
                continue
            if self._ends is None:
                self._ends = loop.time()
                self.on_playback_started(created_at=self._ends)
            self._conversation.play(bytes(frame.data))
            self._ends = max(self._ends, loop.time()) + frame.duration
            await asyncio.sleep(self._ends - loop.time())
            self._played_s += frame.duration

    def _finish(self, *, interrupted):
        played_s, self._played_s, self._ends = self._played_s, 0.0, None
        self.on_playback_finished(playback_position=played_s, interrupted=interrupted)


async def converse(conversation):
    run = conversation.run
    async with aiohttp.ClientSession() as http:
        model = openai.realtime.RealtimeModel(
            base_url=f"{run['url']}/v1", api_key=run["key"], model=run["model"], http_session=http
        )
        # Without an echo, nothing needs to be cancelled; the default makes the first 3 s of an answer uninterruptible.
        options = {} if sys.argv[1] == "defaults" else {"aec_warmup_duration": None}
        session = AgentSession(llm=model, **options)
        session.on("error", lambda event: conversation.fail(event.error))

        def on_speech(event):
            end = conversation.interrupt, conversation.done
            event.speech_handle.add_done_callback(lambda handle: end[not handle.interrupted]())

        session.on("speech_created", on_speech)
        session.input.audio = Microphone(conversation)
        session.output.audio = Loudspeaker(conversation)
        await session.start(Agent(instructions="Be brief."))
        await conversation.ended.wait()
        await session.aclose()


main("livekit-agents", version("livekit-plugins-openai"), converse)
