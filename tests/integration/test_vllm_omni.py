"""The engine `vllm-omni` with a test server and with `sca serve`: the engine contract, answers, errors, reconnects."""

import json
import subprocess
import sys

import numpy as np
import pytest

from sca.audio.decode import read_audio
from sca.config import VllmConfig, load_settings
from sca.errors import ConfigError, MissingToolError, UpstreamError
from sca.infer.engine import SessionConfig
from sca.infer.engines import registry
from sca.infer.engines.vllm_omni import connection, handshake, protocol
from sca.infer.engines.vllm_omni.engine import VllmOmniEngine
from sca.infer.frames import AudioOutput, ErrorFrame, Interrupt, TurnEnd
from sca.units import HEARD_HZ
from tests.helpers.engine_contract import GRID, EngineContract, demo_speech, inputs_of
from tests.helpers.live_servers import running
from tests.helpers.ports import refusing_port
from tests.helpers.realtime_server import RealtimeServer
from tests.helpers.timeouts import TIMEOUT_S, until

LONG = np.zeros(12 * HEARD_HZ, np.float32)
TURN_CHUNKS = 16
"""The step with the last of these chunks sends the turn."""
PATIENT = {"lockstep": True, "connect_timeout_s": TIMEOUT_S, "answer_timeout_s": TIMEOUT_S}


@pytest.fixture(autouse=True, scope="module")
def _greeting_time():
    """On a busy machine, the greeting of a server may be late, which costs another connection."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(handshake, "_GREETING_S", TIMEOUT_S)
        yield


def engine_for(server, **settings):
    return VllmOmniEngine(VllmConfig(base_url=server.url, **(PATIENT | settings)))


@pytest.fixture(scope="module")
def turn():
    """Return the first turn of the demo, which ends near 4.4 s, and silence. `TURN_CHUNKS` chunks of it are the turn."""
    return np.concatenate([demo_speech(seconds=5), LONG])


def chunks(sound):
    return list(inputs_of(sound, features=False))


def talk(engine, sound, config=None):
    session = engine.open(config or SessionConfig(grid=GRID))
    try:
        return [list(session.step(one)) for one in chunks(sound)]
    finally:
        session.close()


def flat(steps):
    return [frame for frames in steps for frame in frames]


def sound_of(frames):
    return b"".join(frame.audio_bytes for frame in frames if isinstance(frame, AudioOutput))


def lines(frames):
    return [frame.message for frame in frames if isinstance(frame, ErrorFrame)]


def silence(first, count=1):
    return list(inputs_of(np.zeros(count * GRID.heard_samples, np.float32), features=False, first=first))


def step_until(session, condition, first=0):
    """Step silence until a condition on all frames holds; return the frames."""
    frames = []

    def more():
        nonlocal first
        frames.extend(session.step(*silence(first)))
        first += 1
        return condition(frames)

    until(more)
    return frames


def step_all(session, inputs):
    return [frame for one in inputs for frame in session.step(one)]


class TestVllmOmni(EngineContract):
    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls):
        with RealtimeServer() as server:
            yield engine_for(server)

    @pytest.fixture(scope="class")
    @classmethod
    def speech(cls):
        return demo_speech(seconds=14)

    @pytest.fixture(scope="class")
    @classmethod
    def other_speech(cls):
        return demo_speech(speaker=2, seconds=14)

    def test_past_output_does_not_depend_on_future_input(self, engine, config):
        super().test_past_output_does_not_depend_on_future_input(engine, config, demo_speech(seconds=24))


# Turns and answers


def test_turn_is_sent_and_its_answer_played_completely(turn):
    with RealtimeServer(key="secret") as server:
        engine = engine_for(server, api_key="secret", model="tiny", voice="ethan")
        frames = flat(talk(engine, turn, SessionConfig(grid=GRID, prompt="Be brief.")))
        (session,) = server.sessions
    (sent,) = session.turns
    said = sound_of(frames)
    assert said[: len(sent)] == sent
    assert set(said[len(sent) :]) <= {0}
    assert len(said) - len(sent) < 2 * GRID.spoken_samples
    assert "".join(f.text_log for f in frames if isinstance(f, AudioOutput)) == f"{len(sent) // 2} samples "
    assert [f.turn_id for f in frames if isinstance(f, TurnEnd)] == [0]
    assert lines(frames) == []
    assert session.query == {"model": ["tiny"], "autostart": ["0"]}
    assert session.config["instructions"] == "Be brief."
    assert session.config["audio"]["output"]["voice"] == "ethan"
    assert session.config["audio"]["input"]["turn_detection"] is None
    # The turn is the resampled speech of the demo.
    heard = np.frombuffer(sent, "<i2").astype(np.float32) / 32768
    assert 3.5 < len(heard) / 24_000 < 6
    assert np.sqrt(np.mean(heard**2)) > 0.02


def test_accepts_beta_event_names(turn):
    with RealtimeServer() as now, RealtimeServer(beta=True) as before:
        assert talk(engine_for(now), turn) == talk(engine_for(before), turn)


def test_works_with_sca_serve(turn):
    """`sca serve` with the parrot is an independent implementation of the protocol."""
    with running(registry.load_engine("parrot", load_settings(env={}))) as server:
        engine = VllmOmniEngine(VllmConfig(base_url=f"ws://127.0.0.1:{server.port}/v1/realtime", **PATIENT))
        frames = flat(talk(engine, turn[: 8 * HEARD_HZ]))
    assert lines(frames) == []
    said = np.frombuffer(sound_of(frames), "<i2").astype(np.float32) / 32768
    assert np.sqrt(np.mean(said**2)) > 0.02
    assert "says back" in "".join(f.text_log for f in frames if isinstance(f, AudioOutput))


# Interruptions


def test_barge_in_stops_the_answer_here_and_on_the_server(turn):
    over = turn.copy()
    speech = demo_speech(seconds=5)[16 * 512 :][: 3 * HEARD_HZ]
    over[7 * HEARD_HZ : 7 * HEARD_HZ + len(speech)] = speech
    with RealtimeServer(acts=["slow"]) as server:
        for _ in range(60):
            server.go.release()
        frames = flat(talk(engine_for(server), over))
        (session,) = server.sessions
        until(lambda: session.played)
    cut = next(i for i, f in enumerate(frames) if isinstance(f, Interrupt))
    assert frames[cut].turn_id == 0
    assert all(f.turn_id > 0 for f in frames[cut:] if isinstance(f, AudioOutput))
    said = len(sound_of(frames[:cut])) // 2
    assert list(session.played.values()) == [said * 1000 // 24_000]
    # The interruption is answered as well.
    assert len(session.turns) == 2
    assert sound_of(frames[cut:])[: len(session.turns[1])] == session.turns[1]
    assert lines(frames) == []


def test_interrupt_cancels_the_response_on_the_server(turn):
    with RealtimeServer(acts=["slow"]) as server:
        session = engine_for(server, lockstep=False).open(SessionConfig(grid=GRID))
        step_all(session, chunks(turn)[:TURN_CHUNKS])
        server.go.release(4)
        step_until(session, lambda frames: any(isinstance(f, AudioOutput) for f in frames), first=TURN_CHUNKS)
        session.interrupt(9)
        (conversation,) = server.sessions
        until(lambda: conversation.done == ["cancelled"] and conversation.played)
        later = step_all(session, silence(first=1_000_000, count=20))
        assert not [f for f in later if isinstance(f, AudioOutput)]
        session.close()


# Errors are one line


def refusal(call):
    with pytest.raises((ConfigError, UpstreamError)) as refused:
        call()
    assert "\n" not in str(refused.value)
    return refused.value


def test_no_server():
    with refusing_port() as port:
        engine = VllmOmniEngine(VllmConfig(base_url=f"http://127.0.0.1:{port}"))
        error = refusal(lambda: engine.open(SessionConfig()))
    assert error.exit_code == 6
    assert error.message.startswith(f"cannot connect to ws://127.0.0.1:{port}/v1/realtime: ")
    assert "--base-url" in error.hint


@pytest.mark.parametrize(("key", "message"), [(None, "requires a key"), ("other", "refuses the key")])
def test_missing_or_wrong_key(key, message):
    with RealtimeServer(key="secret") as server:
        error = refusal(lambda: engine_for(server, api_key=key).open(SessionConfig()))
    assert error.exit_code == 3
    assert error.message == f"ws://127.0.0.1:{server.port}/v1/realtime {message} (status 401)"
    assert error.hint == "set SCA_VLLM_API_KEY to the key of that server"
    assert "other" not in str(error)


def test_key_comes_from_the_environment():
    settings = load_settings(env={"SCA_VLLM_API_KEY": "secret"}, overrides={"vllm.base_url": "http://h:1"})
    assert settings.vllm.api_key.get_secret_value() == "secret"
    assert "secret" not in repr(settings)


def test_no_realtime_endpoint():
    with RealtimeServer() as server:
        there = f"{server.url}/elsewhere/realtime"
        error = refusal(lambda: VllmOmniEngine(VllmConfig(base_url=there)).open(SessionConfig()))
    assert error.message == f"ws://127.0.0.1:{server.port}/elsewhere/realtime is not a realtime endpoint: status 404"


def test_server_that_does_not_start_a_session():
    with RealtimeServer(deaf=True) as server:
        error = refusal(lambda: engine_for(server, connect_timeout_s=2.5).open(SessionConfig()))
    assert error.message.endswith("does not start a session within 2.5 s")


def test_unknown_model():
    with RealtimeServer() as server:
        error = refusal(lambda: engine_for(server, model="none").open(SessionConfig()))
    assert error.message.endswith("refuses the session: The model `none` does not exist (model_not_found)")


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("http://h:8091", "ws://h:8091/v1/realtime"),
        ("https://h/v1/", "wss://h/v1/realtime"),
        ("ws://h:1/v1/realtime", "ws://h:1/v1/realtime"),
        ("wss://h/api/realtime?a=b", "wss://h/api/realtime?a=b"),
        ("http://[::1]:80/omni", "ws://[::1]:80/omni/v1/realtime"),
    ],
)
def test_urls(given, address):
    assert protocol.realtime_url(VllmConfig(base_url=given)) == address


@pytest.mark.parametrize("given", [None, "h:8091", "ftp://h", "http://", "http://h:x", "http://me:key@h", "http://[h"])
def test_rejects_invalid_urls(given):
    error = refusal(lambda: protocol.realtime_url(VllmConfig(base_url=given)))
    assert "vllm.base_url" in error.message
    assert "me:key" not in error.message


def test_missing_websockets(monkeypatch):
    monkeypatch.setitem(sys.modules, "websockets.sync.client", None)
    with pytest.raises(MissingToolError, match="needs websockets"):
        VllmOmniEngine(VllmConfig(base_url="http://127.0.0.1:1")).open(SessionConfig())


@pytest.mark.parametrize(
    ("act", "line"),
    [
        ("refuse", "reports an error: the input is too long (invalid_request_error)"),
        ("fail", "did not finish the answer: no reason given (server_error)"),
        ("rubbish", "sent audio that is not base64"),
    ],
)
def test_failed_answer_is_reported_and_the_session_continues(turn, act, line):
    two = np.concatenate([turn[: 14 * HEARD_HZ], turn[: 14 * HEARD_HZ]])
    with RealtimeServer(acts=[act]) as server:
        frames = flat(talk(engine_for(server), two))
    assert [one.partition("/v1/realtime ")[2] for one in lines(frames)] == [line]
    assert not any(frame.fatal for frame in frames if isinstance(frame, ErrorFrame))
    # The second turn is answered normally.
    said = sound_of([f for f in frames if getattr(f, "turn_id", None) == 1])
    assert said[: len(server.sessions[0].turns[1])] == server.sessions[0].turns[1]


def test_missing_answer_is_cancelled(turn):
    with RealtimeServer(acts=["silent"]) as server:
        session = engine_for(server, answer_timeout_s=0.3).open(SessionConfig(grid=GRID))
        frames = step_all(session, chunks(turn)[:TURN_CHUNKS])
        # The answer may have begun after the time limit. It is then cancelled when it begins.
        frames += step_until(session, lambda _: "response.cancel" in server.sessions[0].received, first=TURN_CHUNKS)
        session.close()
        assert [one.partition("/v1/realtime ")[2] for one in lines(frames)] == [
            "sent nothing of the answer for 0.3 s; it is cancelled"
        ]
    assert sound_of(frames) == b""


def test_slow_server_causes_gaps_but_no_lost_audio(turn, caplog):
    with RealtimeServer(acts=["slow"]) as server:
        session = engine_for(server, lockstep=False).open(SessionConfig(grid=GRID))
        frames = step_all(session, chunks(turn)[:TURN_CHUNKS])
        (conversation,) = server.sessions
        server.go.release(2)  # more than one chunk, less than two
        frames += step_until(session, lambda got: any(isinstance(f, AudioOutput) for f in got), first=TURN_CHUNKS)
        step_all(session, silence(first=1_000_000, count=2))
        assert session.starved == 2
        server.go.release(1000)
        frames += step_until(session, lambda got: any(isinstance(f, TurnEnd) for f in got), first=2_000_000)
        session.close()
    assert sound_of(frames)[: len(conversation.turns[0])] == conversation.turns[0]
    assert caplog.text.count("generates audio slower than real time") == 1


def test_answer_in_one_piece_is_played_chunk_by_chunk(turn):
    with RealtimeServer(acts=["once"]) as server:
        steps = talk(engine_for(server), turn)
    sizes = [len(sound_of(frames)) for frames in steps]
    assert set(sizes) == {0, 2 * GRID.spoken_samples}
    assert sound_of(flat(steps))[: len(server.sessions[0].turns[0])] == server.sessions[0].turns[0]


def test_server_that_sends_too_much_is_disconnected(turn, monkeypatch):
    monkeypatch.setattr(connection, "_MOST_QUEUED", 100_000)
    with RealtimeServer(acts=["once"]) as server:
        session = engine_for(server, lockstep=False, reconnects=0).open(SessionConfig(grid=GRID))
        step_all(session, chunks(turn)[:TURN_CHUNKS])
        with pytest.raises(UpstreamError, match="faster than it can be played"):
            step_until(session, lambda frames: False, first=TURN_CHUNKS)


# Broken connections


def test_turn_is_sent_again_after_a_break(turn):
    with RealtimeServer(acts=["silent"]) as server:
        session = engine_for(server, lockstep=False).open(SessionConfig(grid=GRID))
        frames = step_all(session, chunks(turn)[:TURN_CHUNKS])
        until(lambda: server.sessions[0].response_id is not None)
        server.drop()
        frames += step_until(session, lambda got: any(isinstance(f, TurnEnd) for f in got), first=TURN_CHUNKS)
        session.close()
        first, second = server.sessions
    assert second.turns == first.turns
    assert second.config == first.config
    assert sound_of(frames)[: len(first.turns[0])] == first.turns[0]
    (line,) = lines(frames)
    assert line.startswith(f"the connection to ws://127.0.0.1:{server.port}/v1/realtime broke (")
    assert line.endswith("reconnecting, its memory is lost")


def ended(frames, turn_id):
    return any(isinstance(frame, TurnEnd) and frame.turn_id == turn_id for frame in frames)


def test_break_ends_an_answer_that_is_playing(turn):
    two = np.concatenate([turn, turn])
    with RealtimeServer(acts=["drop"]) as server:
        session = engine_for(server, lockstep=False).open(SessionConfig(grid=GRID))
        frames = []
        for i, one in enumerate(chunks(two)):
            frames += session.step(one)
            if i == TURN_CHUNKS - 1:
                until(lambda: len(server.sessions) == 2 and server.sessions[1].config)
        # The second answer arrives later.
        frames += step_until(session, lambda got: ended(frames + got, 1), first=len(chunks(two)))
        session.close()
    assert len(lines(frames)) == 1
    said = {turn_id: sound_of([f for f in frames if getattr(f, "turn_id", None) == turn_id]) for turn_id in (0, 1)}
    assert len(said[0]) < len(server.sessions[0].turns[0])
    assert said[1][: len(server.sessions[1].turns[0])] == server.sessions[1].turns[0]


def test_session_ends_if_reconnecting_fails(turn):
    with RealtimeServer() as server:
        session = engine_for(server, reconnects=2).open(SessionConfig(grid=GRID))
        session.step(chunks(turn)[0])
        server.stop()
        with pytest.raises(UpstreamError) as lost:
            step_until(session, lambda frames: False, first=1)
        session.close()
    assert lost.value.message.startswith("cannot connect to ws://127.0.0.1:")
    assert lost.value.message.endswith("(2 attempts to connect again failed)")


def test_reconnects_to_a_busy_server(turn):
    with RealtimeServer() as server:
        session = engine_for(server).open(SessionConfig(grid=GRID))
        server.refuse_connections = 2
        server.drop()
        frames = step_until(session, lambda got: lines(got) and len(server.sessions) == 2 and server.sessions[1].config)
        session.close()
    assert len(lines(frames)) == 1


def test_turn_without_a_connection_is_sent_later(turn):
    with RealtimeServer() as server:
        session = engine_for(server, lockstep=False).open(SessionConfig(grid=GRID))
        server.admits.clear()
        server.drop()
        until(lambda: not session._connection.ready)
        frames = step_all(session, chunks(turn)[:TURN_CHUNKS])
        server.admits.set()
        frames += step_until(session, lambda got: ended(got, 0), first=TURN_CHUNKS)
        session.close()
    assert sound_of(frames)[: len(server.sessions[1].turns[0])] == server.sessions[1].turns[0]


def test_turn_at_the_moment_of_a_reconnection_is_sent_once(turn):
    inputs = chunks(turn)
    with RealtimeServer() as server:
        session = engine_for(server, lockstep=False).open(SessionConfig(grid=GRID))
        frames = step_all(session, inputs[: TURN_CHUNKS - 1])
        server.drop()
        until(lambda: len(server.sessions) == 2 and session._connection.ready)
        # The session learns of the break and of the new connection after it has sent the turn.
        frames += step_all(session, inputs[TURN_CHUNKS - 1 : TURN_CHUNKS])
        frames += step_until(session, lambda got: ended(got, 0), first=TURN_CHUNKS)
        session.close()
    (sent,) = server.sessions[1].turns
    assert sound_of(frames)[: len(sent)] == sent
    assert len(lines(frames)) == 1


# Commands


def run_cli(*arguments, env=None):
    return subprocess.run([sys.executable, "-m", "sca", *map(str, arguments)], capture_output=True, text=True, env=env)


def test_file_in_simulated_time(tmp_path, trial_data):
    clip = trial_data / "clips" / "jfk.flac"
    with RealtimeServer() as server:
        command = ("live", "--file", clip, "--out", tmp_path / "out.wav", "--engine", "vllm-omni")
        done = run_cli(*command, "--base-url", server.url, "--json")
    assert done.returncode == 0, done.stderr
    assert f"answers of the server at ws://127.0.0.1:{server.port}/v1/realtime" in done.stderr
    assert json.loads(done.stdout)["engine"] == "vllm-omni"
    assert server.sessions[0].turns
    assert np.abs(read_audio(tmp_path / "out.wav", 24_000)).max() > 0.1


def test_file_without_a_server(tmp_path, trial_data):
    command = ("live", "--file", trial_data / "clips" / "jfk.flac", "--out", tmp_path / "o.wav")
    gone = run_cli(*command, "--engine", "vllm-omni", "--base-url", "http://127.0.0.1:9")
    assert gone.returncode == 6
    assert "cannot connect to ws://127.0.0.1:9/v1/realtime" in gone.stderr
    assert not (tmp_path / "o.wav").exists()
