"""`OpenAIRealtimeLLMService` of pipecat in a pipeline with a transport and a context, as in its examples."""

import asyncio
import sys
from importlib.metadata import version

from conversation import main
from loguru import logger
from pipecat.frames.frames import (
    EndFrame,
    InputAudioRawFrame,
    InterruptionFrame,
    LLMRunFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.services.openai.realtime import events
from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams
from pipecat.workers.runner import WorkerRunner

logger.remove()
logger.add(sys.stderr, level="ERROR")


class Microphone(BaseInputTransport):
    """A transport that gets its frames from a conversation."""

    def __init__(self, conversation, params):
        super().__init__(params)
        self._conversation = conversation

    async def start(self, frame):
        await super().start(frame)
        await self.set_transport_ready(frame)
        self.create_task(self._listen())

    async def _listen(self):
        async for piece in self._conversation.microphone():
            frame = InputAudioRawFrame(audio=piece, sample_rate=self._conversation.hz, num_channels=1)
            await self.push_audio_frame(frame)


class Loudspeaker(BaseOutputTransport):
    """A transport that plays in real time into a conversation."""

    def __init__(self, conversation, params):
        super().__init__(params)
        self._conversation = conversation
        self._free, self._answer = 0.0, 0

    async def start(self, frame):
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def write_audio_frame(self, frame):
        now = asyncio.get_running_loop().time()
        self._free = max(self._free, now) + len(frame.audio) / 2 / frame.sample_rate
        self._conversation.play(frame.audio, self._answer)
        await asyncio.sleep(self._free - now)
        return True

    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        if isinstance(frame, InterruptionFrame):
            self._conversation.interrupt()

    async def push_frame(self, frame, *direction):
        await super().push_frame(frame, *direction)
        if isinstance(frame, TTSStartedFrame):
            self._answer += 1
        elif isinstance(frame, TTSStoppedFrame):
            self._conversation.done()


async def converse(conversation):
    params = TransportParams(
        audio_in_enabled=True,
        audio_out_enabled=True,
        audio_in_sample_rate=conversation.hz,
        audio_out_sample_rate=conversation.hz,
        audio_out_auto_silence=False,
    )
    properties = events.SessionProperties(
        audio=events.AudioConfiguration(
            input=events.AudioInput(
                transcription=events.InputAudioTranscription(),
                turn_detection=events.SemanticTurnDetection(),
                noise_reduction=events.InputAudioNoiseReduction(type="near_field"),
            )
        )
    )
    service = OpenAIRealtimeLLMService(
        api_key=conversation.run["key"],
        base_url=f"{conversation.run['url'].replace('http', 'ws')}/v1/realtime",
        settings=OpenAIRealtimeLLMService.Settings(
            model=conversation.run["model"], system_instruction="Be brief.", session_properties=properties
        ),
    )
    context = LLMContextAggregatorPair(LLMContext([{"role": "developer", "content": "Say hello"}]))
    microphone, loudspeaker = Microphone(conversation, params), Loudspeaker(conversation, params)
    worker = PipelineWorker(
        Pipeline([microphone, context.user(), service, loudspeaker, context.assistant()]),
        params=PipelineParams(
            audio_in_sample_rate=conversation.hz, audio_out_sample_rate=conversation.hz, enable_metrics=True
        ),
    )

    @service.event_handler("on_error")
    async def on_error(_, error):
        conversation.fail(error.error)

    async def end():
        await conversation.ended.wait()
        await worker.queue_frame(EndFrame())

    ending = asyncio.create_task(end())
    await worker.queue_frames([LLMRunFrame()])  # sends the context
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()
    await ending


main("pipecat", version("pipecat-ai"), converse)
