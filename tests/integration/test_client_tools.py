"""LiveKit Agents and pipecat with an engine that takes text: replies with instructions, and functions that the model calls."""

import json
import os
import subprocess

import pytest

from sca.infer.engines.cascade.engine import CascadeEngine
from sca.infer.messages import ToolCall
from tests.helpers.client_matrix import KEY, PROGRAMS, Client, cache, python
from tests.helpers.live_servers import running
from tests.helpers.scripted_parts import scripted_parts

LIVEKIT = Client((str(cache() / "livekit/bin/python"), "livekit_tools.py"))
PIPECAT = python("pipecat_tools.py")


def answer(messages):
    """Call the function for a question about the weather, and answer with its result."""
    last = messages[-1]
    if last.role == "tool":
        return [f"I looked: {last.text}."]
    return [ToolCall("call_1", "weather", '{"city": "Rome"}')] if "weather" in last.text else ["Hello to you."]


def run(client):
    """Run a client, and return its report and what the model was asked."""
    if client.missing is not None:
        problem = f"{client.command[-1]} needs {client.missing}; scripts/test --prepare installs it"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(problem)
    *command, program = client.command
    engine = CascadeEngine(scripted_parts(answer))
    with running(engine, auth_key=KEY) as server:
        document = json.dumps({"url": server.url, "key": KEY})
        done = subprocess.run(
            [*command, str(PROGRAMS / program), document], capture_output=True, text=True, timeout=170
        )
    assert done.returncode == 0, done.stderr
    asked = [[(message.role, message.text) for message in messages] for messages in engine.parts.language.asked]
    return json.loads(done.stdout.splitlines()[-1]), asked


def test_livekit_replies_with_instructions_and_tools():
    seen, asked = run(LIVEKIT)
    assert seen == {
        "errors": [],
        "greeting": ["Hello to you."],
        "texts": ["Hello to you.", "I looked: rain in Rome."],
        "calls": ["Rome"],
        "say": "Goodbye.",
    }
    assert asked[0] == [("system", "Be brief.\nGreet the user.")]  # `instructions` of one reply are added by LiveKit
    assert asked[1][0] == ("system", "Be brief.")
    assert asked[-1][-1] == ("tool", "rain in Rome")


def test_pipecat_calls_a_function():
    seen, asked = run(PIPECAT)
    assert (seen["errors"], seen["calls"]) == ([], ["Rome"])
    assert seen["texts"] == ['I looked: {"weather": "rain in Rome"}.']
    assert asked[-1][-1] == ("tool", '{"weather": "rain in Rome"}')
