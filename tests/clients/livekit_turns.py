"""`LiveKitTurnDetector` in agent sessions with a microphone of their own, without a room.

The argument is a JSON document:

    {"runs": [{"name", "detector": {…}, "sound": PATH of PCM16, "hz", "max_delay", "until_s"}, …]}

All sessions run at the same time; one ends with the first turn that ends after `until_s` of sound. For each of them the
program prints one line of JSON: its turns as (the position of the microphone in s, the text), and the counters of the
detector.
"""

import asyncio
import json
import logging
import sys
import time
from pathlib import Path

import numpy as np
from livekit import rtc
from livekit.agents import Agent, AgentSession, StopResponse, stt
from livekit.agents.voice import io

from sca.infer.turn.client import LiveKitTurnDetector

PIECE_S = 0.02
TIMEOUT_S = 60


class Microphone(io.AudioInput):
    """PCM16 in real time, then silence."""

    def __init__(self, sound, hz):
        super().__init__(label="Microphone")
        self._sound, self._hz, self._at, self._start = sound, hz, 0, None

    @property
    def position_s(self):
        return self._at / self._hz

    async def __anext__(self):
        size = round(PIECE_S * self._hz)
        piece = self._sound[self._at : self._at + size]
        self._at += size
        self._start = self._start or time.monotonic()
        await asyncio.sleep(self._start + self._at / self._hz - time.monotonic())
        if len(piece) < size:
            piece = np.zeros(size, np.int16)
        return rtc.AudioFrame(piece.tobytes(), self._hz, 1, size)


class Recognizer(stt.STT):
    """Recognizes `words` in each phrase."""

    def __init__(self):
        super().__init__(capabilities=stt.STTCapabilities(streaming=False, interim_results=False))

    async def _recognize_impl(self, buffer, *, language, conn_options):
        data = stt.SpeechData(language="en", text="words")
        return stt.SpeechEvent(type=stt.SpeechEventType.FINAL_TRANSCRIPT, alternatives=[data])


class Listener(Agent):
    """Notes the turns, and answers nothing."""

    def __init__(self, microphone, until_s):
        super().__init__(instructions="")
        self.turns, self.ended = [], asyncio.Event()
        self._microphone, self._until_s = microphone, until_s

    async def on_user_turn_completed(self, turn_ctx, new_message):
        position_s = self._microphone.position_s
        self.turns.append([position_s, new_message.text_content])
        if position_s > self._until_s:
            self.ended.set()
        raise StopResponse


class Detector(LiveKitTurnDetector):
    """Counts the questions that were answered; the others were cancelled or failed."""

    answered = 0

    async def _predict(self, http, samples):
        response = await super()._predict(http, samples)
        self.answered += 1
        return response


async def listen(run):
    detector = Detector(**run["detector"])
    microphone = Microphone(np.frombuffer(Path(run["sound"]).read_bytes(), "<i2"), run["hz"])
    turn_handling = {"turn_detection": detector, "endpointing": {"min_delay": 0.3, "max_delay": run["max_delay"]}}
    session = AgentSession(stt=Recognizer(), turn_handling=turn_handling, aec_warmup_duration=None)
    session.input.audio = microphone
    listener = Listener(microphone, run["until_s"])
    await session.start(listener)
    await asyncio.wait_for(listener.ended.wait(), TIMEOUT_S)
    await session.aclose()
    names = ("requests", "answered", "timeouts", "errors", "without_speech")
    counters = {name: getattr(detector, name) for name in names}
    print(
        json.dumps({"name": run["name"], "turns": listener.turns, "last_error": str(detector.last_error), **counters})
    )


async def main():
    await asyncio.gather(*map(listen, json.loads(sys.argv[1])["runs"]))


logging.basicConfig(level=logging.ERROR)
asyncio.run(main())
