"""The vision engine vllm-omni, with a server that speaks the video chat protocol of vLLM-Omni."""

import numpy as np
import pytest

from sca.config import Settings, VisionConfig
from sca.errors import ConfigError, UpstreamError
from sca.watch.engines.base import AudioPiece, Question, TextPiece, WatchRequest
from sca.watch.engines.registry import load_watch_engine
from tests.helpers.vllm_video_server import VideoServer
from tests.helpers.watch_contract import WatchContract, frames_of

DARK, BRIGHT = "It is dark. ", "It is bright. "


def engine_at(url, **fields):
    return load_watch_engine("vllm-omni", Settings(vision=VisionConfig(base_url=url, **fields)))


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


FRAMES = frames_of([np.full((90, 160, 3), level, np.uint8) for level in (40, 90, 140, 200)])


def pieces(session, frames=FRAMES, **fields):
    return list(session.answer(WatchRequest(0, tuple(frames), **fields)))


def text_of(found):
    return "".join(p.text for p in found if isinstance(p, TextPiece))


class TestVllmOmniVision(WatchContract):
    @pytest.fixture
    def engine(self):
        with VideoServer() as server:
            yield engine_at(server.url)


class TestVllmOmniVoice(WatchContract):
    @pytest.fixture
    def engine(self):
        with VideoServer() as server:
            yield engine_at(server.url, own_voice=True)


def test_pictures_are_sent_once_and_the_model_sees_the_newest(open_at):
    with VideoServer() as server:
        session = open_at(f"{server.url}/v1", model="omni")
        assert text_of(pieces(session, FRAMES[:2], instruction="Is it dark?", max_tokens=9)) == DARK
        found = pieces(session, FRAMES)
        assert (text_of(found), found[-1]) == (BRIGHT, Question("Which lamp?"))
        seen = server.sessions[0]
        assert seen.seen == [[40, 90], [40, 90, 140, 200]]
        assert seen.received == ["video.frame"] * 2 + ["video.query"] + ["video.frame"] * 2 + ["video.query"]
        assert seen.queries[0].startswith("Is it dark?")
        assert seen.config["sampling_params_list"] == [{"temperature": 0.2, "max_tokens": 9}]
        assert (seen.config["model"], seen.config["modalities"]) == ("omni", ["text"])
        pieces(session, FRAMES, system="You watch a lamp.")
        assert server.sessions[1].config["system_prompt"].startswith("You watch a lamp.")
        assert server.sessions[1].seen == [[40, 90, 140, 200]]


def test_speech_of_the_server(open_at):
    with VideoServer(["answer", "mute"]) as server:
        session = open_at(server.url, own_voice=True, stall_timeout_s=0.2)
        sound = [p for p in pieces(session) if isinstance(p, AudioPiece)]
        assert [(len(p.samples), p.sample_rate, p.samples.dtype) for p in sound] == [(2400, 24_000, np.float32)] * 2
        assert text_of(pieces(session)) == BRIGHT  # and no sound: that is how it ends


def test_cancel_closes_the_connection_and_the_next_one_works(open_at):
    with VideoServer(["wait"]) as server:
        session = open_at(server.url)
        answer = session.answer(WatchRequest(0, tuple(FRAMES)))
        assert next(answer) == TextPiece("It is ")
        session.cancel()
        assert list(answer) == []
        server.go.release(10)
        assert text_of(pieces(session)) == BRIGHT
        assert len(server.sessions) == 2


def test_lost_connection_and_refused_query_are_tried_again(open_at):
    with VideoServer(["gone", "refuse"]) as server:
        session = open_at(server.url, retries=2)
        assert text_of(pieces(session)) == BRIGHT
        assert [one.seen for one in server.sessions] == [[[40, 90, 140, 200]]] * 3
    with pytest.raises(UpstreamError, match="cannot connect"):
        pieces(open_at(server.url, retries=0))


def test_error_in_an_answer_ends_the_cycle_only(open_at):
    with VideoServer(["fail"]) as server:
        session = open_at(server.url)
        with pytest.raises(UpstreamError, match="reports an error: Query processing failed"):
            pieces(session)
        assert text_of(pieces(session)) == BRIGHT


def test_silent_server_is_given_up(open_at):
    with VideoServer(["wait"]) as server:
        with pytest.raises(UpstreamError, match="nothing more in time"):
            pieces(open_at(server.url, stall_timeout_s=0.05))
        server.go.release(10)


def test_messages_name_the_settings_of_this_engine(open_at):
    with pytest.raises(ConfigError, match=r"vision\.base_url is not set"):
        engine_at(None)
    with pytest.raises(ConfigError, match="should be the address of a server"):
        engine_at("http://")
    with VideoServer() as server, pytest.raises(UpstreamError, match="not a video chat endpoint: status 404") as caught:
        pieces(open_at(f"{server.url}/other", retries=0))
    assert "--vision-url" in caught.value.hint
