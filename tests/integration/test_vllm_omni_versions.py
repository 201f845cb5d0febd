"""The engine `vllm-omni` with a server for each version of the protocol: conversations, interruptions, failures."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest
from websockets.datastructures import Headers
from websockets.http11 import Response

from sca.audio.decode import read_audio
from sca.audio.pcm import pcm16_samples
from sca.config import VllmConfig
from sca.errors import ConfigError, UpstreamError
from sca.infer.engine import SessionConfig
from sca.infer.engines.vllm_omni import connection, handshake
from sca.infer.engines.vllm_omni.engine import VllmOmniEngine
from sca.infer.frames import AudioOutput, ErrorFrame, Interrupt, TurnEnd
from sca.units import HEARD_HZ
from tests.helpers.engine_contract import GRID, demo_speech, inputs_of
from tests.helpers.realtime_server import RealtimeServer
from tests.helpers.socket_server import SocketServer, SocketSession, spoken_again
from tests.helpers.timeouts import TIMEOUT_S
from tests.helpers.vllm_duplex_server import DuplexServer
from tests.helpers.vllm_flat_server import FlatServer

PATIENT = {"connect_timeout_s": TIMEOUT_S, "answer_timeout_s": TIMEOUT_S}
TURN_CHUNKS = 17
"""The first chunks of `turn`, with which it is over."""

VERSIONS = {
    "0.28": lambda **more: FlatServer((0, 28), **more),
    "0.30": lambda **more: FlatServer((0, 30), **more),
    "0.30 duplex": lambda **more: DuplexServer(**more),
    "after 0.30": lambda **more: RealtimeServer(**more),
}
"""The versions that answer the turns of the client."""


@pytest.fixture(autouse=True)
def _greeting_time(monkeypatch):
    monkeypatch.setattr(handshake, "_GREETING_S", handshake._GREETING_S)  # restored after `engine_for` has changed it


def engine_for(server, **settings):
    # On a busy machine, a server that greets is awaited; the time without a greeting is short for one that does not.
    handshake._GREETING_S = 0.05 if isinstance(server, DuplexServer) else TIMEOUT_S
    return VllmOmniEngine(VllmConfig(base_url=server.url, **(PATIENT | settings)))


@pytest.fixture(scope="module")
def turn():
    """Return the first turn of the demo, and silence."""
    return np.concatenate([demo_speech(seconds=5), np.zeros(7 * HEARD_HZ, np.float32)])


@pytest.fixture(scope="module")
def speech(turn):
    """Return speech without a pause, 2 s."""
    return turn[16 * 512 :][: 2 * HEARD_HZ]


def until(holds, pause_s=0.005):
    """Wait until another thread makes a condition true."""
    deadline = time.monotonic() + TIMEOUT_S
    while not holds():
        assert time.monotonic() < deadline, "the condition did not become true"
        time.sleep(pause_s)


class Talk:
    """A session that is stepped with audio, and all its frames."""

    def __init__(self, engine, **config):
        self.session = engine.open(SessionConfig(grid=GRID, **config))
        self.frames, self.index = [], 0

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self.session.close()

    def hear(self, sound):
        """Step with audio; return the frames of these steps."""
        new = []
        for one in inputs_of(sound, features=False, first=self.index):
            new += self.session.step(one)
            self.index += 1
        self.frames += new
        return new

    def hear_silence(self, chunks=1):
        return self.hear(np.zeros(chunks * GRID.heard_samples, np.float32))

    def until(self, holds):
        """Step silence until a condition holds."""

        def step():
            self.hear_silence()
            return holds()

        until(step, pause_s=0.02)

    def said(self, turn_id=None):
        pieces = [one for one in self.frames if isinstance(one, AudioOutput) and turn_id in (None, one.turn_id)]
        return b"".join(one.audio_bytes for one in pieces)

    def text(self):
        return "".join(one.text_log for one in self.frames if isinstance(one, AudioOutput))

    def has(self, kind, turn_id=None):
        return any(isinstance(one, kind) and turn_id in (None, one.turn_id) for one in self.frames)

    @property
    def lines(self):
        return [one.message for one in self.frames if isinstance(one, ErrorFrame)]


def turns_of(server):
    """Return the turns that a server has answered, on all connections."""
    if isinstance(server, DuplexServer):
        return [turn for state in server.states for turn in state.turns]
    return [turn for session in server.sessions for turn in session.turns]


def answer_to(server, turn):
    return turn if isinstance(server, RealtimeServer) else spoken_again(turn)


def assert_answered(talk, server, turn_id, turn):
    expected = answer_to(server, turn)
    said = talk.said(turn_id)
    assert said[: len(expected)] == expected
    assert set(said[len(expected) :]) <= {0}


# Conversations


@pytest.mark.parametrize("version", VERSIONS)
def test_conversation_with_an_interruption(version, turn, speech):
    with VERSIONS[version](acts=["slow"]) as server, Talk(engine_for(server)) as talk:
        talk.hear(turn[: TURN_CHUNKS * GRID.heard_samples])
        server.go.release(12)
        talk.until(lambda: talk.has(AudioOutput))
        talk.hear(speech)
        talk.until(lambda: talk.has(TurnEnd))
        first, second = turns_of(server)
        assert talk.lines == []
        (cut,) = (one for one in talk.frames if isinstance(one, Interrupt))
        assert cut.turn_id == 0
        said = talk.said(0)
        assert 0 < len(said) < len(answer_to(server, first))
        assert answer_to(server, first).startswith(said)
        assert_answered(talk, server, 1, second)
        # Both are the speech, with some silence around it.
        for sent, heard in ((first, turn), (second, speech)):
            assert np.abs(pcm16_samples(sent)).max() == pytest.approx(np.abs(heard).max(), abs=0.1)


@pytest.mark.parametrize("version", VERSIONS)
def test_audio_is_sent_while_the_user_speaks(version, turn):
    with VERSIONS[version]() as server, Talk(engine_for(server)) as talk:
        talk.hear(turn[: 8 * GRID.heard_samples])
        session = server.sessions[-1]
        talk.until(lambda: session.received.count("input_audio_buffer.append") >= 5)


def test_flat_names_of_both_spellings(turn):
    with FlatServer((0, 28)) as before, FlatServer((0, 30)) as now:
        talks = []
        for server in (before, now):
            with Talk(engine_for(server, model="tiny", lockstep=True)) as talk:
                talk.hear(turn)
                talks.append(talk)
        assert talks[0].frames == talks[1].frames
        (sent,) = turns_of(now)
        assert_answered(talks[1], now, 0, sent)
        assert talks[1].text() == f"{len(sent) // 2} samples"


def test_flat_warns_that_prompt_and_voice_are_not_used(caplog):
    with FlatServer() as server, Talk(engine_for(server, voice="ethan"), prompt="Be brief."):
        pass
    assert "has no place for prompt and vllm.voice; it is not used" in caplog.text


def test_duplex_model_that_takes_turns(turn, speech):
    with DuplexServer(takes_turns=True) as server, Talk(engine_for(server), prompt="Be brief.") as talk:
        talk.hear(turn[: 5 * HEARD_HZ])
        (state,) = server.states
        talk.until(lambda: talk.has(AudioOutput))
        assert state.config["instructions"] == "Be brief."
        assert state.config["extra_body"] == {"auto_response": True}
        talk.hear(speech)
        talk.until(lambda: talk.has(TurnEnd))
        assert [one.turn_id for one in talk.frames if isinstance(one, Interrupt)] == [0]
        assert state.cleared == ["resp_1"]
        assert_answered(talk, server, 1, state.turns[1])
        assert talk.lines == []
        # The server has heard everything, in order.
        heard = pcm16_samples(bytes(state.heard[: 2 * 5 * HEARD_HZ]))
        chunks = 5 * HEARD_HZ // GRID.heard_samples * GRID.heard_samples
        np.testing.assert_allclose(heard[:chunks], turn[:chunks], atol=1e-4)


def test_duplex_model_without_barge_in_is_not_cut_here(turn, speech):
    with DuplexServer(takes_turns=True, can_interrupt=False) as server, Talk(engine_for(server)) as talk:
        talk.hear(turn[: 5 * HEARD_HZ])
        talk.until(lambda: talk.has(AudioOutput))
        talk.hear(speech)
        talk.until(lambda: talk.has(TurnEnd))
        assert not talk.has(Interrupt)
        assert_answered(talk, server, 0, server.states[0].turns[0])


def test_duplex_model_sets_the_pace_of_lockstep(speech):
    """A model that lives in real time is not stepped faster, so that an answer falls into its time."""
    with DuplexServer(takes_turns=True) as server, Talk(engine_for(server, lockstep=True)) as talk:
        began = time.monotonic()
        talk.hear(np.concatenate([speech, np.zeros(2 * HEARD_HZ, np.float32)]))
        assert time.monotonic() - began > 3
        assert talk.has(AudioOutput)


def test_duplex_model_may_listen_instead_of_answering(turn):
    with DuplexServer(acts=["listen"]) as server, Talk(engine_for(server)) as talk:
        talk.hear(turn[: TURN_CHUNKS * GRID.heard_samples])
        talk.until(lambda: server.states and server.states[0].done)
        talk.hear(turn[: TURN_CHUNKS * GRID.heard_samples])
        talk.until(lambda: talk.has(TurnEnd))
        assert talk.lines == []
        assert_answered(talk, server, None, turns_of(server)[1])


# What was played


def test_playback_is_reported(turn):
    with DuplexServer() as server, Talk(engine_for(server)) as talk:
        for _ in range(2):  # the second turn is deferred until all of the first answer is reported
            talk.hear(turn[: TURN_CHUNKS * GRID.heard_samples])
            talk.until(lambda: talk.frames and isinstance(talk.frames[-1], TurnEnd))
            talk.hear_silence(3)
        (state,) = server.states
        talk.until(lambda: len({one for one, _, _ in state.acks}) == 2 and state.unplayed_ms() <= 0)
        played = [ms for response, ms, _ in state.acks if response == "resp_1"]
        assert played == sorted(played)
        assert played[0] == 320
        assert played[-1] == len(talk.said(0)) // 48
        assert len(state.turns) == 2


def test_interrupted_answer_is_truncated_to_what_was_played(turn, speech):
    with DuplexServer(acts=["slow"]) as server, Talk(engine_for(server)) as talk:
        talk.hear(turn[: TURN_CHUNKS * GRID.heard_samples])
        server.go.release(12)
        talk.until(lambda: len(talk.said()) >= 4 * GRID.spoken_samples)
        talk.hear(speech[: 3 * GRID.heard_samples])
        assert talk.has(Interrupt)
        talk.session.set_played(0, 4800)  # as the live loop does before the next step
        (state,) = server.states
        talk.until(lambda: len([one for one in state.acks if one[2]]) == 2)
        assert [one for one in state.acks if one[2]] == [
            ("resp_1", len(talk.said(0)) // 48, True),
            ("resp_1", 200, True),
        ]


def test_truncation_follows_the_player_in_openai_realtime(turn):
    with RealtimeServer(acts=["slow"]) as server, Talk(engine_for(server)) as talk:
        talk.hear(turn[: TURN_CHUNKS * GRID.heard_samples])
        server.go.release(12)
        talk.until(lambda: talk.has(AudioOutput))
        talk.session.interrupt(5)
        talk.session.set_played(0, 2400)
        (conversation,) = server.sessions
        talk.until(lambda: list(conversation.played.values()) == [100])


# Slow and broken servers


@pytest.mark.parametrize("version", [one for one in VERSIONS if one != "after 0.30"])
def test_slow_first_sound(version, turn):
    with VERSIONS[version](acts=["late"]) as server, Talk(engine_for(server, lockstep=True)) as talk:
        talk.hear(turn[: 12 * HEARD_HZ])
        assert talk.lines == []
        assert_answered(talk, server, 0, turns_of(server)[0])


@pytest.mark.parametrize("version", [one for one in VERSIONS if one != "after 0.30"])
def test_steps_do_not_wait_for_a_silent_server(version, turn):
    with VERSIONS[version](acts=["silent"]) as server, Talk(engine_for(server, answer_timeout_s=0.3)) as talk:
        talk.hear(turn[: TURN_CHUNKS * GRID.heard_samples])
        talk.until(lambda: talk.lines)
        assert talk.lines[0].endswith("sent nothing of the answer for 0.3 s; it is cancelled")
        talk.hear(turn[: TURN_CHUNKS * GRID.heard_samples])
        talk.until(lambda: talk.has(TurnEnd))
        assert len(turns_of(server)) == 2


@pytest.mark.parametrize(("version", "memory"), [("0.28", ""), ("0.30", ""), ("0.30 duplex", "lost")])
def test_server_dies_during_an_answer(version, memory, turn):
    with VERSIONS[version](acts=["die"]) as server, Talk(engine_for(server)) as talk:
        talk.hear(turn[: TURN_CHUNKS * GRID.heard_samples])
        talk.until(lambda: talk.lines and len(server.sessions) > 1)
        talk.until(lambda: talk.session._connection.ready)
        talk.hear_silence(2)
        assert any("broke" in line for line in talk.lines)
        assert any("its memory is lost" in line for line in talk.lines) == bool(memory)
        talk.hear(turn[: TURN_CHUNKS * GRID.heard_samples])
        talk.until(lambda: talk.has(TurnEnd, turn_id=1) or talk.said(1))
        talk.until(lambda: isinstance(talk.frames[-1], TurnEnd))
        assert talk.said(1)


def test_flat_generation_that_fails(turn):
    with FlatServer(acts=["fail"]) as server, Talk(engine_for(server)) as talk:
        talk.hear(turn[: TURN_CHUNKS * GRID.heard_samples])
        talk.until(lambda: talk.lines)
        assert talk.lines[0].endswith("reports an error: CUDA out of memory (processing_error)")
        talk.hear(turn[: TURN_CHUNKS * GRID.heard_samples])
        talk.until(lambda: talk.has(TurnEnd))
        assert len(turns_of(server)) == 2


def test_duplex_session_is_resumed(turn):
    with DuplexServer(acts=["drop"]) as server, Talk(engine_for(server)) as talk:
        talk.hear(turn[: TURN_CHUNKS * GRID.heard_samples])
        talk.until(lambda: talk.has(TurnEnd))
        (state,) = server.states
        assert_answered(talk, server, 0, state.turns[0])
        (line,) = talk.lines
        assert line.endswith("; resuming")
        assert server.sessions[-1].raw[0] | {"event_id": ""} == {
            "type": "session.resume",
            "event_id": "",
            "session_id": state.id,
            "resume_token": "rt_0_0",
            "last_received_server_event_seq": server.sessions[-1].raw[0]["last_received_server_event_seq"],
        }


def test_turn_in_progress_survives_a_resumption(turn):
    with DuplexServer() as server, Talk(engine_for(server)) as talk:
        talk.hear(turn[: 8 * GRID.heard_samples])
        (state,) = server.states
        until(lambda: state.buffer)
        server.drop()
        talk.hear(turn[8 * GRID.heard_samples : TURN_CHUNKS * GRID.heard_samples])
        talk.until(lambda: talk.has(TurnEnd))
        assert len(server.states) == 1
        assert_answered(talk, server, 0, state.turns[-1])
        assert np.abs(pcm16_samples(state.turns[-1])).max() == pytest.approx(np.abs(turn).max(), abs=0.1)


def test_events_are_acknowledged(turn):
    with DuplexServer() as server, Talk(engine_for(server)) as talk:
        talk.hear(turn[: TURN_CHUNKS * GRID.heard_samples])
        talk.until(lambda: server.states and server.states[0].acknowledged >= 16)


def test_session_is_closed_on_the_server():
    with DuplexServer() as server:
        with Talk(engine_for(server)) as talk:
            talk.hear_silence()
        until(lambda: server.states[0].is_closed)
        assert server.sessions[-1].received[-1] == "session.close"


def test_heartbeat(monkeypatch):
    monkeypatch.setattr(connection, "_HEARTBEAT_S", 0.05)
    with DuplexServer() as server, Talk(engine_for(server)) as talk:
        talk.until(lambda: server.sessions[-1].received.count("session.heartbeat") >= 2)
        assert talk.lines == []


# The start of a session


def refusal(server, **settings):
    with pytest.raises((ConfigError, UpstreamError)) as refused:
        engine_for(server, **settings).open(SessionConfig(grid=GRID))
    assert "\n" not in str(refused.value)
    return refused.value


def test_model_that_waits_for_turns_gets_them():
    with DuplexServer() as server, Talk(engine_for(server)):
        assert [session.raw[0]["session"]["extra_body"] for session in server.sessions] == [
            {"auto_response": True},
            {"auto_response": False},
        ]
        assert server.sessions[0].state is None


def test_duplex_session_with_a_model_does_not_start_by_itself():
    with DuplexServer() as server, Talk(engine_for(server, model="m")):
        assert server.sessions[-1].query == {"model": ["m"], "autostart": ["0"]}
        assert server.states[0].config["model"] == "m"


def test_ref_audio(tmp_path):
    (tmp_path / "voice.wav").write_bytes(b"RIFF....WAVE")
    with DuplexServer(takes_turns=True, needs_ref_audio=True) as server:
        error = refusal(server)
        assert error.message.endswith("MiniCPM-o duplex audio output requires ref_audio (ref_audio_required)")
        assert error.hint == "set vllm.ref_audio to a WAV file of the voice, a few seconds of speech"
        with Talk(engine_for(server, ref_audio=tmp_path / "voice.wav")):
            assert server.states[0].config["ref_audio"] == "data:audio/wav;base64,UklGRi4uLi5XQVZF"


@pytest.mark.parametrize(("name", "data"), [("missing.wav", None), ("voice.mp3", b"ID3")])
def test_ref_audio_that_is_none(tmp_path, name, data):
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with DuplexServer() as server:
        error = refusal(server, ref_audio=tmp_path / name)
    assert error.exit_code == 3
    assert error.message.startswith("vllm.ref_audio ")
    assert name in error.message


def test_flat_server_without_the_model():
    with FlatServer() as server:
        error = refusal(server, model="none")
    assert error.message.endswith("refuses the session: The model `none` does not exist. (model_not_found)")


class Greeting(SocketServer):
    """A server that sends one message and then nothing, or another one for each event."""

    def __init__(self, message, *, refuses=None):
        super().__init__()
        self.message, self.refuses = message, refuses

    class session_class(SocketSession):  # noqa: N801
        def run(self):
            if self.server.message is not None:
                self.socket.send(self.server.message)
            for message in self.socket:
                self.read(message)

    def check_request(self, connection, request):
        if request.path == "/version":
            headers = Headers({"Content-Length": "20", "Connection": "close"})
            return Response(200, "OK", headers, b'{"version":"0.18.0"}')
        if self.refuses:
            return connection.respond(self.refuses, "no\n")
        return super().check_request(connection, request)


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ('{"type": "hello"}', "speaks an unknown protocol: its first message is 'hello'"),
        ("<html>", "sent a message that is not JSON: '<html>'"),
        (b"\1\2\3", "sent a binary message of 3 bytes; the protocol is JSON text"),
        ("[]", "sent a message without a type: '[]'"),
        (None, "does not start a session within 1.5 s"),
        (
            '{"type": "error", "error": "Realtime API is not available", "code": "unsupported"}',
            "refuses the session: Realtime API is not available (unsupported)",
        ),
    ],
)
def test_unknown_protocols_are_refused(message, line):
    with Greeting(message) as server:
        error = refusal(server, connect_timeout_s=1.5)
    assert error.exit_code == 6
    assert error.message == f"ws://127.0.0.1:{server.port}/v1/realtime {line}"
    assert error.hint is not None


@pytest.mark.parametrize("status", [403, 404])
def test_version_without_the_endpoint(status):
    with Greeting(None, refuses=status) as server:
        error = refusal(server)
    assert error.exit_code == 6
    assert error.message.endswith(f"is not a realtime endpoint: status {status}; the server is vLLM 0.18.0")
    assert "vLLM-Omni has /v1/realtime from 0.20 on" in error.hint


def test_binary_message_breaks_the_connection():
    with FlatServer() as server, Talk(engine_for(server)) as talk:
        server.sessions[0].socket.send(b"\0" * 10)
        talk.until(lambda: talk.lines and len(server.sessions) == 2)
        assert "broke (it sent a binary message of 10 bytes; the protocol is JSON text); reconnecting" in talk.lines[0]


def test_file_with_a_released_server(tmp_path, trial_data):
    with FlatServer() as server:
        command = ("live", "--file", trial_data / "clips" / "jfk.flac", "--out", tmp_path / "out.wav", "--json")
        options = ("--engine", "vllm-omni", "--base-url", server.url)
        done = subprocess.run(
            [sys.executable, "-m", "sca", *map(str, (*command, *options))], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["engine"] == "vllm-omni"
        assert turns_of(server)
    assert np.abs(read_audio(tmp_path / "out.wav", 24_000)).max() > 0.1
