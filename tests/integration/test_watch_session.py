"""A session of commentary in its threads, and the command in the terminal, on a real video."""

import json
import threading
import time
from itertools import pairwise

import numpy as np
import pytest

from sca.cli.watch.typed import take_lines
from sca.config import WATCH_ENV, load_settings
from sca.errors import UsageError
from sca.watch.engines import registry
from sca.watch.engines.base import Question, TextPiece
from sca.watch.events import CycleEnd, Notice, SourceState, Speech, Text
from sca.watch.running.engine_worker import EngineListener, EngineWorker
from sca.watch.running.opening import OpenOptions, open_watch
from tests.helpers import watch_engines
from tests.helpers.chat_server import ChatServer, streamed
from tests.helpers.command import sca
from tests.helpers.timeouts import TIMEOUT_S
from tests.helpers.video import make_video
from tests.helpers.video_server import video_server
from tests.helpers.watch_engines import ScriptedEngine
from tests.helpers.watch_world import level_frame

QUICK = {
    "watch.inference_interval": "0.2",
    "watch.capture_fps": "10",
    "watch.tts_pause_after": "0.1",
    "watch.change_threshold": "0",
    "watch.stream_delay_init": "0.3",
}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("clip") / "clip.mp4", 40, fps=25)


@pytest.fixture
def scripted(monkeypatch):
    monkeypatch.setitem(registry._BUILTIN_MODULES, "scripted", watch_engines.__name__)


def quick(**more):
    return load_settings(overrides=QUICK | {f"watch.{name}": str(value) for name, value in more.items()}, env={})


def watched(clip, engine, settings, *, muted=True, until=None, do=lambda session, event: None):
    """The events of a session, until it has ended or `until` says so."""
    session = open_watch(str(clip), settings, OpenOptions(muted=muted), engine=engine)
    events, deadline_s = [], time.monotonic() + TIMEOUT_S
    try:
        listener = session.commentary.listen(100_000)
        session.start()
        while (event := listener.take(max(deadline_s - time.monotonic(), 0.0))) is not None:
            events.append(event)
            do(session, event)
            if until is not None and until(event):
                break
        if until is None:
            assert session.wait(TIMEOUT_S)
    finally:
        session.close()
    assert engine.closed >= 1
    return events


def of(events, kind):
    return [event for event in events if isinstance(event, kind)]


def test_a_video_is_commented_on_to_its_end(clip):
    engine = ScriptedEngine(watch_engines.talks)
    events = watched(clip, engine, quick())
    assert [event.state for event in of(events, SourceState)] == ["open", "ended"]
    ends = [end for end in of(events, CycleEnd) if end.outcome == "spoke"]
    assert len(ends) >= 3
    assert ends[0].text == "Number 0 runs and shoots."
    assert "".join(text.text for text in of(events, Text) if text.cycle == 0) == ends[0].text
    assert engine.requests[1].last_answer == ends[0].text
    assert "live commentator" in engine.requests[0].system


def test_speech_is_placed_without_overlaps(clip):
    def answer(request, cancelled):
        yield TextPiece("..." if request.cycle == 1 else f"Goal number {request.cycle}.")

    events = watched(
        clip, ScriptedEngine(answer), quick(voice="espeak", loop=True), muted=False, until=enough(Speech, 4)
    )
    spans = {}
    for speech in of(events, Speech):
        assert speech.samples.dtype == np.float32
        end_us = speech.play_us + len(speech.samples) * 1_000_000 // speech.sample_rate
        spans[speech.cycle] = (spans.get(speech.cycle, (speech.play_us, 0))[0], end_us)
    assert 1 not in spans
    ordered = [spans[cycle] for cycle in sorted(spans)]
    assert all(after[0] >= before[1] + 100_000 for before, after in pairwise(ordered))


def enough(kind, cycles):
    """Return a function that is true once so many cycles had such an event."""
    numbers = set()

    def until(event):
        if isinstance(event, kind):
            numbers.add(event.cycle)
        return len(numbers) >= cycles

    return until


def test_a_stalled_engine_fails_its_cycle_only(clip):
    engine = ScriptedEngine(watch_engines.stalls)
    shown = []

    def do(session, event):
        if isinstance(event, CycleEnd) and event.outcome == "failed":
            shown.append(session.display.latest().index)  # pictures went on

    events = watched(clip, engine, quick(answer_timeout_s=0.5, loop=True), until=enough(Text, 1), do=do)
    failed = [end for end in of(events, CycleEnd) if end.outcome == "failed"]
    assert [end.reason for end in failed] == ["nothing came from the engine for 0.5 s"]
    assert shown[0] >= 5
    assert engine.sessions == 1


def test_a_new_instruction_reaches_the_engine(clip):
    engine = ScriptedEngine(watch_engines.talks)

    def do(session, event):
        if isinstance(event, CycleEnd) and event.cycle == 0:
            session.commentary.set_instruction("Count the cars")

    watched(clip, engine, quick(loop=True), until=enough(CycleEnd, 3), do=do)
    assert [request.instruction for request in engine.requests][1:2] == ["Count the cars"]


def test_pictures_are_given_to_an_engine_that_sees_all(clip):
    engine = ScriptedEngine(lambda request, cancelled: iter(()), every_frame=True, sample_fps=25.0)
    watched(clip, engine, load_settings(env={}))
    assert engine.seen == sorted(set(engine.seen))
    assert engine.seen[-1] == 39


def test_a_slow_engine_misses_pictures_and_is_not_behind():
    held, freed, waits = threading.Event(), threading.Event(), [True]

    def see(frame):
        if waits.pop() if waits else False:
            held.set()
            freed.wait(TIMEOUT_S)
        return False

    engine = ScriptedEngine(watch_engines.talks, see, every_frame=True)
    done = threading.Event()

    class Reports(EngineListener):
        def on_saw(self, frame, *, wants):
            if frame.index == 20:
                done.set()

    worker = EngineWorker(engine, Reports())
    worker.start()
    worker.see(level_frame(0, 0))
    assert held.wait(TIMEOUT_S)
    for index in range(1, 21):
        worker.see(level_frame(index, index * 100_000))
    freed.set()
    assert done.wait(TIMEOUT_S)
    worker.close(TIMEOUT_S)
    assert engine.seen == [0, *range(15, 21)]


def test_an_answer_is_about_pictures_that_were_seen(clip):
    engine = ScriptedEngine(watch_engines.talks, lambda frame: frame.index == 5, every_frame=True, sample_fps=25.0)
    watched(clip, engine, load_settings(env={}), until=enough(Text, 2))
    first = next(request for request in engine.requests if request.frames[-1].index >= 5)
    assert first.frames[-1].index in engine.seen
    assert all(frame.index <= max(engine.seen) for request in engine.requests for frame in request.frames)


def test_an_engine_that_is_stuck_in_a_picture_is_replaced(clip):
    freed = threading.Event()

    def see(frame):
        if engine.sessions == 1:
            freed.wait(TIMEOUT_S)
        return False

    engine = ScriptedEngine(watch_engines.talks, see, every_frame=True, sample_fps=10.0)
    events = watched(clip, engine, quick(answer_timeout_s=0.3, loop=True), until=enough(CycleEnd, 2))
    freed.set()
    assert engine.sessions == 2
    assert [notice.text for notice in of(events, Notice)] == [
        "the engine looked at a picture for over 0.3 s; it starts again"
    ]


@pytest.mark.parametrize(("given", "delay_us"), [({}, 1_200_000), ({"watch.stream_delay_init": "5"}, 5_000_000)])
def test_delay_begins_with_that_of_the_engine(clip, given, delay_us):
    engine = ScriptedEngine(watch_engines.talks, usual_delay_s=1.2)
    session = open_watch(str(clip), load_settings(overrides=given, env={}), OpenOptions(muted=True), engine=engine)
    assert session.commentary.delay_us == delay_us
    session.close()


def test_pictures_are_scaled_for_the_engine(clip):
    engine = ScriptedEngine(watch_engines.talks, max_side=100)
    watched(clip, engine, quick(), until=enough(CycleEnd, 1))
    assert engine.requests[0].frames[-1].pixels.shape == (75, 100, 3)


def test_commentary_goes_on_after_a_source_was_lost(tmp_path):
    engine = ScriptedEngine(watch_engines.talks)
    with video_server(tmp_path) as server:

        def do(session, event):
            if isinstance(event, CycleEnd) and event.cycle == 1:
                server.kill()
            if isinstance(event, SourceState) and event.state == "lost":
                lost.append(len(engine.requests))
                server.start()

        def until(event):
            return bool(lost) and len(engine.requests) > lost[0] + 2

        lost = []
        events = watched(server.url("mjpeg"), engine, quick(), until=until, do=do)
    assert [event.state for event in of(events, SourceState)] == ["open", "lost", "open"]
    assert {end.outcome for end in of(events, CycleEnd)} <= {"spoke", "silent", "skipped"}


def test_command_ends_with_the_reason_when_a_source_is_gone(tmp_path, scripted, monkeypatch):
    talks = watch_engines.talks

    def answer(request, cancelled):
        server.kill()
        yield from talks(request, cancelled)

    with video_server(tmp_path) as server:
        monkeypatch.setattr(watch_engines, "talks", answer)
        options = ("--engine", "scripted", "--mute", "--set", "watch.reconnect_s=0.3")
        done = sca("watch", server.url("mjpeg", user="me:secret@"), *options)
    assert done.returncode == 6, done.stderr
    assert "sca watch: the source is lost; it is tried again: http://127.0.0.1:" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("sca: http://127.0.0.1:")
    assert "secret" not in done.stderr


def test_a_question_is_answered_by_another_server(clip):
    def answer(request, cancelled):
        if request.cycle == 0:
            yield Question("Who is number 9?")
        yield from watch_engines.talks(request, cancelled)

    engine = ScriptedEngine(answer, asks=True)
    with ChatServer(streamed("Number 9 ", "is Ada.")) as server:
        settings = quick(delegate_base_url=server.url, delegate_model="facts", loop=True)
        watched(clip, engine, settings, until=lambda event: any(one.findings for one in engine.requests))
    assert server.requests[0]["model"] == "facts"
    assert server.requests[0]["messages"][-1]["content"] == "Who is number 9?"
    assert next(one.findings for one in engine.requests if one.findings) == ("Number 9 is Ada.",)


def test_a_slow_listener_loses_the_oldest_events(clip):
    session = open_watch(str(clip), quick(), OpenOptions(muted=True), engine=ScriptedEngine(watch_engines.talks))
    slow = session.commentary.listen(2)
    session.start()
    assert session.wait(TIMEOUT_S)
    session.close()
    assert slow.dropped > 0
    assert len(list(slow)) == 2


# The command


def test_command_prints_remarks_with_the_time_of_the_picture(clip, scripted):
    done = sca("watch", clip, "--engine", "scripted", "--mute", "--report", "--set", "watch.change_threshold=0")
    assert done.returncode == 0, done.stderr
    first, *rest = done.stdout.splitlines()
    assert first == "[00:00.0] Number 0 runs and shoots."
    assert rest[-1] == "utterances       0, 0 overlapping"
    assert done.stderr == "sca watch: scripted: For tests\n"


def test_command_prints_events_as_json(clip, scripted):
    done = sca("watch", clip, "--engine", "scripted", "--mute", "--json", "--seconds", "1")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert {line["schema"] for line in lines} == {"sca.watch/1"}
    assert [line["type"] for line in lines[:3]] == ["source", "text", "text"]


@pytest.mark.parametrize(
    ("instruction", "code", "message"),
    [
        ("fails", 6, "sca: no vision server answers\n"),
        ("refuses", 3, "sca: the server refuses the key\n"),
        ("fails_once", 7, "the vision server closed the connection"),
    ],
)
def test_command_reports_cycles_that_failed(clip, scripted, instruction, code, message):
    options = ("--instruction", instruction, "--interval", "0.2", "--set", "watch.change_threshold=0")
    done = sca("watch", clip, "--engine", "scripted", "--mute", *options)
    assert (done.returncode, message in done.stderr) == (code, True), done.stderr


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["missing.mp4"], 5, "sca: missing.mp4 does not exist"),
        (["CLIP", "--engine", "nope"], 2, "--engine: vision engine nope does not exist"),
        (["CLIP", "--profile", "nope"], 2, "--profile: profile nope does not exist"),
        (["CLIP", "--profiles", "nope.toml"], 5, "nope.toml: the profiles cannot be read: No such file or directory"),
        (["CLIP", "--voice", "nope"], 2, "nope"),
        (["CLIP", "--instruction", "x" * 3000], 2, "--instruction should have at most 2000 characters, got 3000"),
        (["CLIP", "--frames", "40"], 2, "--frames should not be above watch.window_size, which is 32, got 40"),
    ],
)
def test_command_refuses_bad_input(clip, words, code, message):
    done = sca(
        "watch", *(clip if word == "CLIP" else word for word in words), *([] if "--voice" in words else ["--mute"])
    )
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) <= 2


def test_command_refuses_a_file_with_sound_only(tmp_path):
    import soundfile

    soundfile.write(tmp_path / "talk.wav", np.zeros(16_000, np.float32), 16_000)
    done = sca("watch", tmp_path / "talk.wav", "--mute")
    assert (done.returncode, done.stdout) == (5, "")
    assert "talk.wav contains sound only" in done.stderr


def test_typed_lines_are_instructions(capsys):
    given = []
    take_lines(["Count the cars\n", "  \n", "x" * 2001], given.append)
    assert given == ["Count the cars", ""]
    assert capsys.readouterr().err == "sca watch: an instruction has at most 2000 characters, got 2001\n"


# Settings


def test_variables_of_the_earlier_program_count():
    env = {
        "FRAMES_PER_INFERENCE": "3",
        "CAPTURE_FPS": "4",
        "FRAME_STRIDE": "1",
        "INFERENCE_INTERVAL": "0.5",
        "STREAM_DELAY_INIT": "2",
        "STREAM_DELAY_EMA_ALPHA": "0.5",
        "MJPEG_FPS": "15",
        "WINDOW_SIZE": "8",
        "ENABLE_TTS": "false",
        "TTS_PAUSE_AFTER": "2",
        "TTS_MAX_NEW_TOKENS": "99",
        "MODEL_PATH": "/models/o",
        "TTS_MODEL_DIR": "/models/vocoder",
        "REF_AUDIO_PATH": "/voices/me.wav",
        "TTS_FLOAT16": "True",
        "SCA_WATCH_CAPTURE_FPS": "6",
    }
    assert env.keys() == {*WATCH_ENV, "SCA_WATCH_CAPTURE_FPS"}
    settings = load_settings(env=env, plain_env=WATCH_ENV)
    assert settings.watch.capture_fps == 6, "the variable with the prefix wins"
    given = {name: str(settings.value(setting)) for name, setting in WATCH_ENV.items()}
    expected = {**{name: env[name] for name in given}, "CAPTURE_FPS": "6", "ENABLE_TTS": "False"}
    assert {name: value.removesuffix(".0") for name, value in given.items()} == expected


def test_a_long_instruction_is_refused_in_a_setting():
    with pytest.raises(UsageError, match="at most 2000 characters, got 3000"):
        load_settings(env={}, options={"watch.instruction": "x" * 3000})
