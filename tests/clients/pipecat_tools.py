"""pipecat's OpenAI realtime service with a function that the model calls for a message of the user.

A program with one argument, a JSON document with `url` and `key`. Prints one line of JSON with what happened.
"""

import asyncio
import json
import sys

from pipecat.adapters.schemas.function_schema import FunctionSchema
from pipecat.adapters.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import EndFrame, LLMFullResponseEndFrame, LLMRunFrame, TTSTextFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService
from pipecat.workers.runner import WorkerRunner


class Reader(FrameProcessor):
    """Notes the words of the answers. `answered` is set at the end of an answer with words."""

    def __init__(self):
        super().__init__()
        self.text, self.answered = "", asyncio.Event()

    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        if isinstance(frame, TTSTextFrame):
            self.text += frame.text
        elif isinstance(frame, LLMFullResponseEndFrame) and self.text:
            self.answered.set()
        await self.push_frame(frame, direction)


async def main(run):
    calls, errors = [], []
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

    async def end():
        async with asyncio.timeout(60):
            await reader.answered.wait()
        await worker.queue_frame(EndFrame())

    ending = asyncio.create_task(end())
    await worker.queue_frames([LLMRunFrame()])
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()
    await ending
    print(json.dumps({"errors": errors, "calls": calls, "texts": [reader.text]}))


asyncio.run(main(json.loads(sys.argv[1])))
