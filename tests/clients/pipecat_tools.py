"""pipecat's OpenAI realtime service with a function that the model calls for a typed and for a spoken question.

A program with one argument, a JSON document with `url`, `key` and `sound`, the path of a phrase as PCM16 at 24 kHz.
Prints one line of JSON with what happened.
"""

import asyncio
import json
import sys

from conversation import speak
from pipecat.adapters.schemas.function_schema import FunctionSchema
from pipecat.adapters.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import (
    EndFrame,
    InputAudioRawFrame,
    LLMFullResponseEndFrame,
    LLMRunFrame,
    TTSTextFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService
from pipecat.workers.runner import WorkerRunner

HZ = 24_000


class Reader(FrameProcessor):
    """Notes the words of the answers. `answers` gets each answer with words at its end."""

    def __init__(self):
        super().__init__()
        self.text, self.answers = "", asyncio.Queue()

    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        if isinstance(frame, TTSTextFrame):
            self.text += frame.text
        elif isinstance(frame, LLMFullResponseEndFrame) and self.text:
            self.answers.put_nowait(self.text)
            self.text = ""
        await self.push_frame(frame, direction)


async def main(run):
    calls, errors, texts = [], [], []
    service = OpenAIRealtimeLLMService(
        api_key=run["key"],
        base_url=f"{run['url'].replace('http', 'ws')}/v1/realtime",
        settings=OpenAIRealtimeLLMService.Settings(model="cascade", system_instruction="Be brief."),
    )

    async def weather(params):
        calls.append(params.arguments["city"])
        await params.result_callback({"weather": f"rain in {params.arguments['city']}"})

    service.register_function("weather", weather)
    schema = FunctionSchema("weather", "The weather of a city", {"city": {"type": "string"}}, ["city"])
    messages = [{"role": "user", "content": "How is the weather in Rome?"}]
    context = LLMContextAggregatorPair(LLMContext(messages, ToolsSchema(standard_tools=[schema])))
    reader = Reader()
    worker = PipelineWorker(Pipeline([context.user(), service, reader, context.assistant()]))

    @service.event_handler("on_error")
    async def on_error(_, error):
        errors.append(error.error)

    async def say():
        async for piece in speak(run["sound"], HZ):
            await worker.queue_frame(InputAudioRawFrame(audio=piece, sample_rate=HZ, num_channels=1))

    async def end():
        async with asyncio.timeout(60):
            texts.append(await reader.answers.get())
            speaking = asyncio.create_task(say())
            texts.append(await reader.answers.get())
            speaking.cancel()
        await worker.queue_frame(EndFrame())

    ending = asyncio.create_task(end())
    await worker.queue_frames([LLMRunFrame()])
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()
    await ending
    print(json.dumps({"errors": errors, "calls": calls, "texts": texts}))


asyncio.run(main(json.loads(sys.argv[1])))
