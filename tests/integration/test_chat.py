"""Conversations of programs and of the command line: events, memory, files, failures; scripted parts and a test server."""

import json
import threading

import numpy as np
import pytest
import soundfile

import sca
from sca.config import ChatConfig, Settings, load_settings
from sca.errors import InputError, UpstreamError, UsageError
from sca.infer.conversation.local import offline_settings, part_statuses
from sca.infer.conversation.parts import load_parts
from sca.infer.messages import ToolCall
from sca.infer.speech.openai.engine import OpenAiSpeechEngine
from sca.infer.speech.piper import PiperEngine
from sca.units import HEARD_HZ, SPOKEN_HZ
from tests.helpers import command
from tests.helpers.chat_server import Answer, ChatServer, chunk, streamed
from tests.helpers.scripted_parts import ScriptedRecognizers, scripted_parts


def conversation_with(answer, **parts):
    return sca.StreamingConversation(Settings(), parts=scripted_parts(answer, **parts), prompt="Be brief.")


def by_type(events, kind):
    return [event for event in events if event["type"] == kind]


def roles(conversation):
    return [(message.role, message.text) for message in conversation.history]


# The library


def test_typed_turn_gives_text_sound_and_times(tmp_path):
    path = tmp_path / "answer.wav"
    with conversation_with(lambda messages: ["Good morning, ", "dear ", "caller."]) as conversation:
        events = list(conversation.process_streaming("Hello", path))
        assert roles(conversation)[1:] == [("user", "Hello"), ("assistant", "Good morning, dear caller.")]
    assert by_type(events, "final_text") == [{"type": "final_text", "text": "Hello"}]
    assert "".join(event["text"] for event in by_type(events, "llm_response")) == "Good morning, dear caller."
    sound = by_type(events, "audio_chunk")
    assert [event["chunk_num"] for event in sound] == list(range(len(sound)))
    assert "".join(event["text"] for event in sound) == "Good morning, dear caller."
    written, rate = soundfile.read(path, dtype="int16")
    assert (written.tobytes(), rate) == (b"".join(event["data"] for event in sound), SPOKEN_HZ)
    (done,) = by_type(events, "complete")
    assert events[-1] is done
    assert done["text"] == "Good morning, dear caller."
    assert 0 < done["time_to_first_audio"] <= done["total_time"]


def test_sound_begins_before_the_text_is_complete():
    rest = threading.Event()
    with conversation_with(lambda messages: ["The first clause is here, and", rest, " so on."]) as conversation:
        texts = []
        for event in conversation.process_streaming("Hello"):
            if event["type"] == "audio_chunk":
                rest.set()
            if event["type"] == "llm_response":
                texts.append((event["text"], rest.is_set()))
    assert texts == [("The first clause is here, and", False), (" so on.", True)]


@pytest.mark.parametrize("kind", ["array", "file", "path as text"])
def test_audio_is_recognized_first(kind, tmp_path):
    samples = np.linspace(-0.5, 0.5, HEARD_HZ, dtype=np.float32)
    path = tmp_path / "question.wav"
    soundfile.write(path, samples, HEARD_HZ, subtype="FLOAT")
    recognizer = ScriptedRecognizers()
    with conversation_with(lambda messages: ["Yes."], recognizer=recognizer) as conversation:
        events = list(conversation.process_streaming({"array": samples, "file": path}.get(kind, str(path))))
    assert by_type(events, "final_text")[0]["text"] == "16000 samples"
    assert by_type(events, "partial_text")[0]["text"] == "5120 samples"
    np.testing.assert_allclose(np.concatenate(recognizer.opened[0].samples), samples, atol=1e-6)
    assert recognizer.opened[0].closed


def test_answer_that_is_left_early_is_remembered_as_taken():
    with conversation_with(lambda messages: ["one two three four five six."]) as conversation:
        events = conversation.process_streaming("Count")
        taken = ""
        for event in events:
            taken += event["text"] if event["type"] == "audio_chunk" else ""
            if "two" in taken:
                break
        events.close()
        ((role, text),) = roles(conversation)[2:]
        assert role == "assistant"
        assert text in ("one", "one two")
        assert list(conversation.process_streaming("Again"))[-1]["type"] == "complete"
        assert len(roles(conversation)) == 5


def test_interrupt_names_what_was_played():
    with conversation_with(lambda messages: ["one two three four five six."]) as conversation:
        for event in conversation.process_streaming("Count"):
            if event["type"] == "audio_chunk":
                conversation.interrupt(0)
        assert roles(conversation)[1:] == [("user", "Count")]


def test_tools_are_called_and_their_results_answered():
    def answer(messages):
        if messages[-1].role == "user":
            return [ToolCall("c1", "weather", '{"city": "Oslo"}')]
        return [f"It is {messages[-1].text}."]

    called = []
    tool = {"type": "function", "function": {"name": "weather"}}
    parts = scripted_parts(answer)
    with sca.StreamingConversation(
        Settings(), parts=parts, tools=[tool], call_tool=lambda call: called.append(call) or "sunny"
    ) as conversation:
        assert list(conversation.process_streaming("Weather?"))[-1]["text"] == "It is sunny."
        assert [role for role, _ in roles(conversation)][1:] == ["user", "assistant", "tool", "assistant"]
    assert [call.arguments for call in called] == ['{"city": "Oslo"}']
    assert parts.language.tools == [[tool], [tool]]


def test_wrong_use_and_failures():
    parts = scripted_parts(lambda messages: [UpstreamError("no answer")], recognizer=ScriptedRecognizers(lambda s: ""))
    with sca.StreamingConversation(Settings(), parts=parts) as conversation:
        with pytest.raises(UsageError, match="no text"):
            conversation.process_streaming("  ")
        with pytest.raises(InputError, match="float32"):
            list(conversation.process_streaming(np.zeros(9)))
        with pytest.raises(InputError, match="no words"):
            list(conversation.process_streaming(np.zeros(HEARD_HZ, np.float32)))
        with pytest.raises(UpstreamError, match="no answer"):
            list(conversation.process_streaming("Hello"))
        assert roles(conversation)[1:] == [("user", "Hello")]
        events = conversation.process_streaming("Hello")
        next(events)
        with pytest.raises(UsageError, match="in progress"):
            conversation.process_streaming("Hello")
        events.close()
    assert sca.StreamingConversationalChatbot is sca.StreamingConversation


def test_conversation_without_a_voice_has_text_only():
    with conversation_with(lambda messages: ["Hello."], voice=None) as conversation:
        events = list(conversation.process_streaming("Hello"))
        assert roles(conversation)[-1] == ("assistant", "Hello.")
    assert by_type(events, "audio_chunk") == []
    assert events[-1]["time_to_first_audio"] is None


def test_voices_of_conversations_share_an_engine(monkeypatch):
    opened = []
    monkeypatch.setattr(OpenAiSpeechEngine, "open", lambda self, voice=None: opened.append((self, voice)))
    address = "http://127.0.0.1:9/v1"
    settings = load_settings(
        overrides={"speech.base_url": address, "llm.base_url": address, "llm.model": "m", "chat.voice": "openai:nova"}
    )
    parts = load_parts(settings, hears=False)
    assert parts.open_voice is not None
    parts.open_voice()
    parts.open_voice()
    parts.close()
    (first, voice), (second, _) = opened
    assert first is second
    assert voice == "nova"
    first.check()  # has the address


def test_offline_settings_name_nothing_in_a_network():
    settings = offline_settings(
        sca.load_settings(
            overrides={
                "llm.base_url": "https://example.org",
                "llm.model": "big",
                "recognition.engine": "openai",
                "chat.voice": "openai:alloy",
                "live.turn_model": "https://example.org",
            },
            env={},
        )
    )
    assert (settings.llm.base_url, settings.llm.model, settings.chat.voice) == (None, None, None)
    assert settings.recognition.engine == "whisper"
    assert settings.live.turn_model in (None, "auto")


# The command


def chat(*arguments, text="", code=0):
    done = command.sca("chat", *arguments, text=text)
    assert done.returncode == code, done.stderr
    return done


def test_lines_are_answered_in_text_and_sound(tmp_path):
    out = tmp_path / "answers.wav"
    with ChatServer(streamed("Good ", "morning."), streamed("Good night.")) as server:
        done = chat("--llm-url", server.url, "--out", out, "--voice", "espeak:en-gb", text="Hello\n\nBye\n")
    assert done.stdout == "Good morning.\nGood night.\n"
    samples, rate = soundfile.read(out)
    assert rate == SPOKEN_HZ
    assert len(samples) > SPOKEN_HZ
    assert np.abs(samples).max() > 0.1
    assert "question to first sound: p50" in done.stderr
    sent = [(message["role"], message["content"]) for message in server.requests[1]["messages"]]
    assert sent[1:] == [("user", "Hello"), ("assistant", "Good morning."), ("user", "Bye")]


def test_answers_as_one_document_and_a_failure_between_them(tmp_path):
    broken = Answer([chunk("One")], cut=True)
    with ChatServer(streamed("First."), broken, streamed("Third.")) as server:
        done = chat("--llm-url", server.url, "--json", text="1\n2\n3\n", code=7)
    assert "in the middle of an answer" in done.stderr
    assert "1 answer of 3 failed" in done.stderr
    with ChatServer(streamed("First.")) as server:
        done = chat("--llm-url", server.url, "--json", text="1\n")
    (turn,) = json.loads(done.stdout)["turns"]
    assert (turn["user"], turn["assistant"], turn["first_audio_s"]) == ("1", "First.", None)


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["--llm-url", "http://127.0.0.1:9", "--set", "llm.retries=0"], 6, "cannot connect to"),
        (["--llm-url", "http://127.0.0.1:9", "--offline"], 2, "contradict"),
        (["--seconds", "3"], 2, "need --mic"),
        (["--mic", "--out", "a.wav"], 2, "--output and --play are for typed text"),
        (["--out", "a.mp3", "--llm-url", "http://127.0.0.1:9"], 2, "should end in .wav"),
        (["--llm-model", "missing.gguf"], 5, "is not a local language model"),
        (["--llm-url", "ftp://a"], 2, "not the address"),
    ],
)
def test_mistake_is_one_line(arguments, code, line):
    done = chat(*arguments, text="Hello\n", code=code)
    assert line in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_parts_and_what_is_missing(tmp_path):
    done = chat("--list", "--set", f"paths.cache_dir={tmp_path}")
    lines = [line.split("  ")[0] for line in done.stdout.splitlines() if not line.startswith(" ")]
    assert lines == ["recognizer", "language model", "voice", "end of turn"]
    assert "sca models get smollm2" in done.stdout
    parts = json.loads(chat("--list", "--json", "--llm-url", "http://127.0.0.1:9").stdout)["items"]
    assert {part["part"]: part["problem"] for part in parts}["language model"] is None


def test_list_of_parts_loads_no_voice(monkeypatch):
    opened = []
    monkeypatch.setattr(PiperEngine, "open", lambda self, voice=None: opened.append(voice))
    monkeypatch.setattr(PiperEngine, "check", lambda self: None)
    voices = [part for part in part_statuses(Settings()) if part.part == "voice"]
    assert [(part.problem, opened) for part in voices] == [(None, [])]
    named = Settings(chat=ChatConfig(voice="piper:nobody"))
    monkeypatch.undo()
    assert "no voice nobody" in {part.part: part.problem for part in part_statuses(named)}["voice"]
