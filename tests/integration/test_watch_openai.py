"""The vision engine openai, with a server that decodes the pictures that it receives."""

import threading

import numpy as np
import pytest
from pydantic import SecretStr

from sca.config import Settings, VisionConfig
from sca.errors import ConfigError, UpstreamError, UsageError
from sca.watch.engines.base import Question, TextPiece, WatchRequest
from sca.watch.engines.registry import load_watch_engine
from tests.helpers.chat_server import DONE, Answer, ChatServer, chunk, streamed
from tests.helpers.watch_contract import WatchContract, frames_of


def engine_at(url, **fields):
    return load_watch_engine("openai", Settings(vision=VisionConfig(base_url=url, **fields)))


@pytest.fixture
def open_at():
    """Open sessions that are closed after the test."""
    sessions = []

    def open_at(url, **fields):
        sessions.append(engine_at(url, **fields).open())
        return sessions[-1]

    yield open_at
    for session in sessions:
        session.close()


def grey(level, size=(90, 160)):
    return np.full((*size, 3), level, np.uint8)


def text_of(session, frames, **fields):
    return "".join(p.text for p in session.answer(WatchRequest(0, tuple(frames), **fields)) if isinstance(p, TextPiece))


def levels(server):
    return [[round(float(picture.mean()) / 10) * 10 for picture in pictures] for pictures in server.pictures]


class TestOpenAiVision(WatchContract):
    @pytest.fixture
    def engine(self):
        with ChatServer(streamed("A ball ", "rolls. ", "<ask>Which ball?</ask>")) as server:
            yield engine_at(server.url)


def test_server_sees_the_pictures_in_order(open_at):
    def brightness(pictures):
        return streamed(f"It is {'bright' if pictures[-1].mean() > 128 else 'dark'}.")

    with ChatServer(brightness) as server:
        session = open_at(server.url, model="eyes", api_key=SecretStr("key-1"), picture_side=80)
        frames = frames_of([grey(40), grey(90), grey(200)])
        assert text_of(session, frames, instruction="Is it dark?", max_tokens=33) == "It is bright."
        assert text_of(session, frames[:1]) == "It is dark."
    assert levels(server) == [[40, 90, 200], [40]]
    assert {picture.shape for picture in server.pictures[0]} == {(45, 80, 3)}
    body = server.requests[0]
    assert (body["model"], body["max_tokens"], body["stream"]) == ("eyes", 33, True)
    assert body["messages"][1]["content"][-1]["text"].startswith("Is it dark?")
    assert (server.keys[0], server.sessions[0]) == ("Bearer key-1", None)


def test_session_of_the_server_receives_a_picture_once(open_at):
    with ChatServer(streamed("One."), Answer([], 400), streamed("Three.")) as server:
        session, other = (open_at(server.url, keep_session=True, retries=0) for _ in range(2))
        frames = frames_of([grey(n) for n in (10, 50, 100, 150)])
        text_of(session, frames[:2])
        with pytest.raises(UpstreamError, match="status 400"):
            text_of(session, frames[:3])
        text_of(session, frames[1:4])  # the third picture was not received
        text_of(other, frames[:1])
    assert levels(server) == [[10, 50], [100], [100, 150], [10]]
    assert len(set(server.sessions)) == 2
    assert server.sessions[0] == server.sessions[2]


def test_text_and_question_arrive_in_parts(open_at):
    go = threading.Event()
    parts = [chunk("She shoots"), go, chunk(" <ask>Who is number 9?</ask>!"), chunk(finish="stop"), DONE]
    with ChatServer(Answer(parts)) as server:
        pieces = open_at(server.url).answer(WatchRequest(0, tuple(frames_of([grey(9)]))))
        assert next(pieces) == TextPiece("She shoots")
        go.set()
        assert list(pieces) == [TextPiece(" "), Question("Who is number 9?"), TextPiece("!")]


def test_cancel_ends_a_wait_at_once(open_at):
    with ChatServer(Answer([chunk("Well"), threading.Event()]), streamed("Next.")) as server:
        session = open_at(server.url)
        pieces = session.answer(WatchRequest(0, tuple(frames_of([grey(9)]))))
        assert next(pieces) == TextPiece("Well")
        session.cancel()
        assert list(pieces) == []
        assert text_of(session, frames_of([grey(9)])) == "Next."


def test_request_is_sent_again_before_the_first_text_only(open_at):
    with ChatServer(Answer([], 503, headers=[("Retry-After", "0")]), streamed("Yes.")) as server:
        assert text_of(open_at(server.url), frames_of([grey(9)])) == "Yes."
        assert len(server.requests) == 2
    with ChatServer(Answer([chunk("Ye")], cut=True)) as server:
        with pytest.raises(UpstreamError, match="middle of an answer"):
            text_of(open_at(server.url), frames_of([grey(9)]))
        assert len(server.requests) == 1


def test_messages_name_the_settings_of_this_engine(open_at):
    with pytest.raises(ConfigError, match=r"vision\.base_url is not set"):
        engine_at(None)
    with pytest.raises(UsageError, match="is not the address"):
        engine_at("ftp://x")
    with ChatServer(Answer([b"{}"], 401)) as server, pytest.raises(ConfigError) as caught:
        text_of(open_at(server.url), frames_of([grey(9)]))
    assert "SCA_VISION_API_KEY" in caught.value.hint
    with pytest.raises(UpstreamError, match="cannot connect") as caught:
        text_of(open_at("http://127.0.0.1:9", retries=0), frames_of([grey(9)]))
    assert "vision.base_url" in caught.value.hint
