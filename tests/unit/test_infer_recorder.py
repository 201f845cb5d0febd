"""Turn times, reports, transcripts and recordings, fed frame by frame."""

import json

import numpy as np
import pytest
import soundfile

from sca.errors import OutputError
from sca.infer.engine import EngineInfo, SessionConfig
from sca.infer.frames import AudioOutput, ErrorFrame, Interrupt, Lag, ThoughtPacket, TurnEnd
from sca.infer.session.recorder import Recorder, Transcript
from sca.infer.session.report import TurnTimes, timing_report, write_report
from sca.infer.session.stats import SessionStats


def said(turn_id, chunk, text="", samples=7680):
    return AudioOutput(b"\1\0" * samples, 24_000, text, chunk, turn_id)


def test_turn_times_and_interruptions():
    turns = TurnTimes()
    turns.on_output(said(0, 3), 1000)
    turns.on_output(said(0, 4), 8680)
    turns.on_control(TurnEnd(0, 0))
    turns.on_output(said(1, 9), 20_000)
    turns.on_output(said(1, 10), 27_680)
    turns.on_flush(25_000)
    turns.on_control(Interrupt(1, 0, "door"))
    turns.on_control(TurnEnd(1, 0))  # after the interruption: ignored
    first, second = turns.turns
    assert (first.start, first.end, first.answers_chunk, first.interrupted, first.over) == (1000, 16_360, 3, None, True)
    assert (second.start, second.end, second.interrupted, second.over) == (20_000, 25_000, "door", True)


def test_flush_before_the_turn_leaves_it_empty():
    turns = TurnTimes()
    turns.on_output(said(0, 3), 1000)
    turns.on_flush(900)
    assert (turns.turns[0].start, turns.turns[0].end) == (1000, 1000)


def test_keeps_the_latest_turns_and_counts_all():
    turns = TurnTimes()
    for turn in range(2500):
        turns.on_output(said(turn, turn), turn * 7680)
    assert (turns.begun, len(turns.turns), turns.turns[-1].turn_id) == (2500, 1000, 2499)


def test_report_leaves_out_audio_after_the_input(tmp_path):
    turns, stats = TurnTimes(), SessionStats(heard_samples=16_000)
    turns.on_output(said(0, 1), 20_000)
    turns.on_output(said(1, 2), 24_000)
    document = timing_report(EngineInfo("e", "s"), SessionConfig(session_id="x"), stats, turns)
    (turn,) = document["turns"]
    assert (turn["turn_id"], turn["start"], turn["end"], turn["end_s"]) == (0, 20_000, 24_000, 1.0)
    write_report(tmp_path / "deep" / "timing.json", document)
    assert json.loads((tmp_path / "deep" / "timing.json").read_text()) == document
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        write_report(tmp_path / "file" / "timing.json", document)


def test_transcript_has_one_line_per_turn(tmp_path):
    with Transcript(tmp_path / "t.tsv") as transcript:
        transcript.on_output(said(0, 0, "Hello "), 24_000)
        transcript.on_output(said(0, 1, "there\n friend"), 31_680)
        transcript.on_control(Lag(0, 0, 1, 0))
        transcript.on_control(TurnEnd(0, 0))
        transcript.on_output(said(1, 5, ""), 60_000)
        transcript.on_control(TurnEnd(1, 0))
        transcript.on_output(said(2, 6, "How are"), 72_000)
        transcript.on_control(Interrupt(2, 0))
        transcript.on_output(said(3, 7, "one"), 80_000)
        transcript.on_output(said(4, 8, "two"), 96_000)
    lines = (tmp_path / "t.tsv").read_text(encoding="utf-8").splitlines()
    assert lines == ["1.000\tHello there friend", "3.000\tHow are …", "3.333\tone", "4.000\ttwo"]


@pytest.mark.parametrize("with_text", [False, True])
def test_recording(tmp_path, with_text):
    with Recorder(tmp_path / "r", with_text=with_text) as recorder:
        recorder.on_input(np.full(5120, 0.5, np.float32), 0)
        recorder.on_output(said(0, 0, "secret"), 8000)
        recorder.on_packet(ThoughtPacket(None, "secret", (7, 8), 0))
        recorder.on_input(np.full(5121, 0.5, np.float32), 1)
        recorder.on_flush(9000)
        recorder.on_control(Interrupt(0, 10_241))
        recorder.on_control(ErrorFrame(0, 10_241, "the loudspeaker is disconnected"))
    heard, rate = soundfile.read(tmp_path / "r" / "heard.wav", dtype="int16")
    track, said_rate = soundfile.read(tmp_path / "r" / "said.wav", dtype="int16")
    assert (rate, len(heard), said_rate, len(track)) == (16_000, 10_241, 24_000, 15_362)
    assert np.flatnonzero(track).tolist() == list(range(8000, 9000))
    text = (tmp_path / "r" / "events.jsonl").read_text()
    events = [json.loads(line) for line in text.splitlines()]
    assert [event["event"] for event in events] == ["said", "thought", "cut", "interrupt", "error"]
    assert ("secret" in text) == with_text
    assert events[0] | {"turn_id": 0, "chunk": 0, "sample": 8000, "samples": 7680} == events[0]
    assert events[3] == {"event": "interrupt", "heard_sample": 10_241, "turn_id": 0, "by": "listener"}
    assert events[4]["message"] == "the loudspeaker is disconnected"


def test_events_can_be_read_during_the_session(tmp_path):
    with Recorder(tmp_path) as recorder:
        recorder.on_control(TurnEnd(0, 5))
        assert json.loads((tmp_path / "events.jsonl").read_text())["event"] == "turnend"


def test_failed_recording_leaves_no_file_open(tmp_path):
    (tmp_path / "events.jsonl").mkdir()
    with pytest.raises(OutputError):
        Recorder(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["events.jsonl"]


@pytest.mark.parametrize("name", ["events.jsonl", ".heard.wav.part", ".said.wav.part"])
def test_a_recording_is_not_written_through_a_link(tmp_path, name):
    theirs = tmp_path / "theirs"
    theirs.write_text("theirs")
    folder = tmp_path / "session"
    folder.mkdir()
    (folder / name).symlink_to(theirs)
    if name == "events.jsonl":
        with pytest.raises(OutputError, match=r"events\.jsonl is a link"):
            Recorder(folder)
    else:
        with Recorder(folder) as recorder:
            recorder.on_input(np.zeros(5120, np.float32), 0)
        assert soundfile.info(folder / "heard.wav").frames == 5120
    assert theirs.read_text() == "theirs"


@pytest.mark.parametrize("name", ["events.jsonl", "heard.wav", "said.wav"])
def test_a_recording_replaces_no_files_of_others(tmp_path, name):
    (tmp_path / name).write_text("theirs\n")
    with pytest.raises(OutputError, match="other files with the names of a recording"):
        Recorder(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "theirs\n"


def test_a_recording_replaces_an_earlier_one(tmp_path):
    for chunks in (2, 1):
        with Recorder(tmp_path) as recorder:
            for chunk in range(chunks):
                recorder.on_input(np.zeros(5120, np.float32), chunk)
            recorder.on_control(Interrupt(0, 0))
    assert soundfile.info(tmp_path / "heard.wav").frames == 5120
    (tmp_path / "events.jsonl").write_text("")  # killed before its first event
    Recorder(tmp_path).close()
