"""Language models: a client of the chat API with a test server, and the llama.cpp server of this machine."""

import json
import signal
import subprocess
import sys
import threading

import httpx
import psutil
import pytest
from pydantic import SecretStr

from sca.config import LlmConfig
from sca.errors import ConfigError, InputError, MissingToolError, UpstreamError, UsageError
from sca.infer.language.chat_api import chat_url
from sca.infer.language.llama_server import LlamaModel
from sca.infer.language.registry import load_language_model
from sca.infer.messages import Message, ToolCall
from tests.helpers.chat_server import DONE, Answer, ChatServer, chunk, streamed
from tests.helpers.ports import refusing_port
from tests.helpers.processes import is_running
from tests.helpers.timeouts import until

HELLO = [Message("system", "Be brief."), Message("user", "Hello")]


def model_of(server, **settings):
    return load_language_model(LlmConfig(base_url=server.url, **settings))


def reply_of(server, messages=HELLO, tools=(), **settings):
    model = model_of(server, **settings)
    try:
        return list(model.reply(messages, tools))
    finally:
        model.close()


def error_of(server, kind, **settings):
    with pytest.raises(kind) as raised:
        reply_of(server, **settings)
    assert "\n" not in str(raised.value)
    return raised.value


# Requests and answers


def test_answer_arrives_in_pieces_and_request_has_the_settings():
    with ChatServer(streamed("Hel", "lo", ".")) as server:
        pieces = reply_of(server, model="tiny", temperature=0.5, max_tokens=7, api_key=SecretStr("secret"))
    assert pieces == ["Hel", "lo", "."]
    (sent,) = server.requests
    assert sent == {
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}],
        "stream": True,
        "temperature": 0.5,
        "max_tokens": 7,
        "model": "tiny",
    }
    assert server.keys == ["Bearer secret"]
    assert server.paths == ["/v1/chat/completions"]


def test_first_piece_is_there_before_the_answer_is_complete():
    rest = threading.Event()
    with ChatServer(Answer([chunk("One."), rest, chunk(" Two."), DONE])) as server:
        model = model_of(server)
        pieces = iter(model.reply(HELLO))
        assert next(pieces) == "One."
        rest.set()
        assert list(pieces) == [" Two."]
        model.close()


def test_tools_are_sent_and_their_calls_are_joined():
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    first = [{"index": 0, "id": "c1", "function": {"name": "weather", "arguments": '{"city": '}}]
    second = [{"index": 0, "function": {"arguments": '"Oslo"}'}}]
    answer = Answer([chunk(tool_calls=first), chunk(tool_calls=second), chunk(finish="tool_calls"), DONE])
    call = ToolCall("c1", "weather", '{"city": "Oslo"}')
    result = [*HELLO, Message("assistant", tool_calls=(call,)), Message("tool", "rain", tool_call_id="c1")]
    with ChatServer(answer, streamed("It rains.")) as server:
        assert reply_of(server, tools=[tool]) == [call]
        assert reply_of(server, result, tools=[tool]) == ["It rains."]
    assert server.requests[0]["tools"] == [tool]
    assert server.requests[1]["messages"][2]["tool_calls"][0]["function"]["arguments"] == call.arguments
    assert server.requests[1]["messages"][3] == {"role": "tool", "content": "rain", "tool_call_id": "c1"}


def test_server_that_does_not_stream_is_read():
    whole = {"choices": [{"message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}]}
    with ChatServer(Answer([json.dumps(whole).encode()], kind="application/json")) as server:
        assert reply_of(server) == ["Hello."]


def test_cancel_ends_a_wait_at_once():
    never = threading.Event()
    with ChatServer(Answer([chunk("One."), never])) as server:
        model = model_of(server)
        reply = model.reply(HELLO)
        pieces = iter(reply)
        assert next(pieces) == "One."
        reply.cancel()
        assert list(pieces) == []
        model.close()


# Failures


@pytest.mark.parametrize("status", [429, 500, 503])
def test_busy_server_is_tried_again(status):
    busy = Answer([b'{"error": {"message": "busy"}}'], status, headers=[("Retry-After", "0")])
    with ChatServer(busy, busy, streamed("Now.")) as server:
        assert reply_of(server) == ["Now."]
    assert len(server.requests) == 3


def test_server_that_stays_busy_is_an_error():
    with ChatServer(Answer([b'{"error": {"message": "busy"}}'], 503, headers=[("Retry-After", "0")])) as server:
        error = error_of(server, UpstreamError, retries=1)
    assert "status 503: busy" in str(error)
    assert len(server.requests) == 2


def test_nothing_is_repeated_after_the_first_text():
    with ChatServer(Answer([chunk("One")], cut=True)) as server:
        error = error_of(server, UpstreamError)
    assert "in the middle of an answer" in str(error)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("answer", "kind", "line"),
    [
        (Answer([b'{"error": {"message": "bad key"}}'], 401), ConfigError, "refuses the key (status 401): bad key"),
        (Answer([b"nothing here"], 404), UpstreamError, "no chat endpoint or no such model (status 404): nothing here"),
        (Answer([b'{"error": "too long"}'], 400), UpstreamError, "status 400: too long"),
        (Answer([b'data: {"choices": [{"del\n\n']), UpstreamError, "JSON that is cut off or damaged"),
        (Answer([b'data: {"choices": 3}\n\n']), UpstreamError, "something else than a chunk"),
        (Answer([b'data: {"error": {"message": "no memory"}}\n\n']), UpstreamError, "sent an error: no memory"),
        (Answer([chunk("One")]), UpstreamError, "closed the connection before the answer was complete"),
        (Answer([b"data: " + b"x" * (3 << 20)]), UpstreamError, "an event of more than 1 MiB"),
        (Answer([b"<html>"], kind="application/json"), UpstreamError, "JSON that is cut off or damaged"),
        (Answer([b"{}"], kind="application/json"), UpstreamError, "an answer without a choice"),
    ],
)
def test_failure_is_one_line(answer, kind, line):
    with ChatServer(answer) as server:
        assert line in str(error_of(server, kind, retries=0))


def test_server_that_does_not_begin_is_given_up():
    with ChatServer(Answer([b": waiting\n\n", threading.Event()])) as server:
        assert "begin an answer within 0.2 s" in str(error_of(server, UpstreamError, first_token_timeout_s=0.2))


def test_server_that_stalls_is_given_up():
    with ChatServer(Answer([chunk("One"), threading.Event()])) as server:
        assert "nothing arrived for 0.2 s" in str(error_of(server, UpstreamError, stall_timeout_s=0.2))


def test_whole_answer_has_a_limit():
    with ChatServer(Answer([chunk("One"), threading.Event()])) as server:
        assert "not complete after 0.3 s" in str(error_of(server, UpstreamError, answer_timeout_s=0.3))


def test_missing_server_is_one_line():
    with refusing_port() as port, pytest.raises(UpstreamError, match="cannot connect to"):
        list(load_language_model(LlmConfig(base_url=f"http://127.0.0.1:{port}/v1", retries=0)).reply(HELLO))


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://a:1", "http://a:1/v1/chat/completions"),
        ("a:1/v1/", "http://a:1/v1/chat/completions"),
        ("https://a/api/v3", "https://a/api/v3/chat/completions"),
        ("https://a/v1/chat/completions", "https://a/v1/chat/completions"),
    ],
)
def test_address_of_the_endpoint(given, url):
    assert chat_url(given) == url


@pytest.mark.parametrize("given", ["ftp://a", "http://", "http://a:x", "http://u:p@a"])
def test_address_that_is_none(given):
    with pytest.raises(UsageError, match="not the address of a language model server"):
        chat_url(given)


# The model of this machine


def test_local_model_that_was_not_fetched(tmp_path):
    with pytest.raises(MissingToolError, match="smollm2 is not on this machine"):
        LlamaModel(LlmConfig(), tmp_path)


def test_local_model_that_is_none(tmp_path):
    path = tmp_path / "a.gguf"
    with pytest.raises(InputError, match="is not a local language model"):
        LlamaModel(LlmConfig(model=str(path)))
    path.write_bytes(b"not a model")
    with pytest.raises(InputError, match="cannot load the language model"):
        LlamaModel(LlmConfig(model=str(path)))


@pytest.mark.weights
def test_local_model_answers_behind_a_key(weights):
    weights("smollm2")
    model = LlamaModel(LlmConfig(max_tokens=32, context_tokens=512))
    child = model._process.pid
    try:
        question = [Message("system", LlmConfig().system_prompt), Message("user", "What is the capital of France?")]
        assert "Paris" in "".join(model.reply(question))
        where = model._server.url
        refused = httpx.post(where, json={"messages": []}, headers={"Origin": "http://example.org"}, trust_env=False)
        assert refused.status_code == 401
        assert refused.headers.get("access-control-allow-origin") != "*"
        assert model._server.key not in " ".join(psutil.Process(child).cmdline())
        (listening,) = [c for c in psutil.Process(child).net_connections() if c.status == psutil.CONN_LISTEN]
        assert listening.laddr.ip == "127.0.0.1"
        with pytest.raises(UpstreamError, match="exceeds the available context"):
            list(model.reply([Message("user", "word " * 3000)]))
    finally:
        model.close()
    assert not psutil.pid_exists(child)


def test_child_ends_with_stdin_while_native_code_holds_the_lock():
    program = (
        "import ctypes\nfrom sca.children.ending import end_with_stdin\nend_with_stdin()\nprint(flush=True)\n"
        "ctypes.PyDLL(None).sleep(600)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.stdout.readline()
    child.stdin.close()
    assert child.wait(60) == -signal.SIGIO
    child.stdout.close()


@pytest.mark.weights
def test_local_model_ends_with_its_parent(weights):
    weights("smollm2")
    program = (
        "import sys\nfrom sca.config import LlmConfig\nfrom sca.infer.language.llama_server import LlamaModel\n"
        "model = LlamaModel(LlmConfig(context_tokens=256))\nprint(model._process.pid, flush=True)\nsys.stdin.read()\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdin.close()
    parent.stdout.close()
    until(lambda: not is_running(child))
