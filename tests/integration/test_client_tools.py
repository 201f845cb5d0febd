"""LiveKit Agents and pipecat with the engine cascade: replies with instructions, and functions for typed and spoken questions."""

import json
import os
import subprocess

import pytest

from sca.audio.pcm import INT16_MAX, pcm16_bytes
from sca.infer.engines.cascade.engine import CascadeEngine
from sca.infer.messages import ToolCall
from sca.units import SPOKEN_HZ
from tests.helpers.client_matrix import KEY, PROGRAMS, Client, cache, phrases, python
from tests.helpers.live_servers import running
from tests.helpers.scripted_parts import ScriptedRecognizers, scripted_parts

LIVEKIT = Client((str(cache() / "livekit/bin/python"), "livekit_tools.py"))
SPOKEN = "And the weather in Oslo?"
PIPECAT = python("pipecat_tools.py")


def answer(messages):
    """Call the function for a question about the weather, and answer with its result."""
    last = messages[-1]
    if last.role == "tool":
        return [f"I looked: {last.text}."]
    city = "Oslo" if last.text == SPOKEN else "Rome"
    return [ToolCall("call_1", "weather", json.dumps({"city": city}))] if "weather" in last.text else ["Hello to you."]


def run(client, folder):
    """Run a client, and return its report and what the model was asked."""
    if client.missing is not None:
        problem = f"{client.command[-1]} needs {client.missing}; scripts/test --prepare installs it"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(problem)
    *command, program = client.command
    sound = folder / "question.raw"
    sound.write_bytes(pcm16_bytes(phrases(SPOKEN_HZ)[1], INT16_MAX))
    engine = CascadeEngine(scripted_parts(answer, recognizer=ScriptedRecognizers(lambda samples: SPOKEN)))
    with running(engine, auth_key=KEY) as server:
        document = json.dumps({"url": server.url, "key": KEY, "sound": str(sound)})
        done = subprocess.run(
            [*command, str(PROGRAMS / program), document], capture_output=True, text=True, timeout=170
        )
    assert done.returncode == 0, done.stderr
    asked = [[(message.role, message.text) for message in messages] for messages in engine.parts.language.asked]
    return json.loads(done.stdout.splitlines()[-1]), asked


def test_livekit_replies_with_instructions_and_tools(tmp_path):
    seen, asked = run(LIVEKIT, tmp_path)
    assert seen == {
        "errors": [],
        "greeting": ["Hello to you."],
        "texts": ["Hello to you.", "I looked: rain in Rome."],
        "spoken": [SPOKEN, "I looked: rain in Oslo."],
        "calls": ["Rome", "Oslo"],
        "say": "Goodbye.",
    }
    assert asked[0] == [("system", "Be brief.\nGreet the user.")]  # `instructions` of one reply are added by LiveKit
    assert asked[1][0] == ("system", "Be brief.")
    assert asked[-1][-1] == ("tool", "rain in Oslo")


def test_pipecat_calls_a_function(tmp_path):
    seen, asked = run(PIPECAT, tmp_path)
    assert (seen["errors"], seen["calls"]) == ([], ["Rome", "Oslo"])
    assert seen["texts"] == [f'I looked: {{"weather": "rain in {city}"}}.' for city in ("Rome", "Oslo")]
    assert asked[-1][-1] == ("tool", '{"weather": "rain in Oslo"}')
