"""`sca watch --record` and `--events`: the files, what they say about each other, and a data set made of them."""

import json
from dataclasses import replace

import av
import numpy as np
import pytest
import soundfile as sf

from sca.audio.decode import read_audio
from sca.cli.watch import running
from sca.data.duplex.build.dataset import build_duplex
from sca.data.duplex.load.dataset import load
from sca.errors import OutputError
from sca.watch.engines import registry
from sca.watch.events import CycleEnd, CycleTimings, Speech, Text
from sca.watch.frames import JpegFrame
from sca.watch.recording.recorder import Recorder
from sca.watch.recording.timeline import Timeline
from sca.watch.running.opening import OpenOptions, open_watch
from sca.watch.running.speech_track import SpeechTrack
from tests.helpers import corpus, watch_engines
from tests.helpers.command import sca
from tests.helpers.video import make_video
from tests.helpers.watch_engines import ScriptedEngine
from tests.helpers.watch_server import RATE_HZ, host_of, says, tone

NO_TIMINGS = CycleTimings(None, None, None, None)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("clip") / "clip.avi", 75, fps=25, size=(321, 240))


@pytest.fixture(scope="module")
def recorded(clip, tmp_path_factory):
    """The recording of a whole session, and its events."""
    folder = tmp_path_factory.mktemp("recorded")
    settings = host_of(clip, watch__loop="false").settings
    run = open_watch(str(clip), settings, OpenOptions(), engine=ScriptedEngine(says, speaks=True))
    recorder = Recorder(run, folder / "out.mp4", folder / "out.jsonl")
    run.start()
    recorder.start()
    run.wait()
    run.close()
    recorder.close()
    assert {path.name for path in folder.iterdir()} == {"out.mp4", "out.jsonl"}
    assert recorder.lost_events == 0
    lines = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    return folder / "out.mp4", lines


def titles_of(path):
    """Start, end and text of the subtitles."""
    with av.open(str(path)) as movie:
        packets = [packet for packet in movie.demux(movie.streams.subtitles[0]) if packet.size > 2]
        return [
            (float(p.pts * p.time_base), float((p.pts + p.duration) * p.time_base), bytes(p)[2:].decode())
            for p in packets
        ]


def test_recording_has_pictures_speech_and_subtitles(recorded):
    path, lines = recorded
    with av.open(str(path)) as movie:
        assert [stream.codec_context.name for stream in movie.streams] == ["h264", "aac", "mov_text"]
        frames = list(movie.decode(video=0))
    assert (len(frames), frames[0].width, frames[0].height) == (75, 320, 240)
    assert frames[0].time == 0
    utterances = [line for line in lines if line["type"] == "utterance"]
    assert utterances
    titles = titles_of(path)
    assert [text for _, _, text in titles] == [line["text"] for line in utterances]
    samples = read_audio(path, RATE_HZ)
    for line, (start, end, _) in zip(utterances, titles, strict=True):
        assert start == pytest.approx(line["start"], abs=0.001)
        assert start < end <= line["end"] + 0.001
        spoken = samples[round((line["start"] + 0.1) * RATE_HZ) : round((line["end"] - 0.1) * RATE_HZ)]
        assert np.sqrt(np.mean(spoken**2)) == pytest.approx(0.3 / np.sqrt(2), rel=0.2)
        before = samples[round(max(start - 0.15, 0) * RATE_HZ) : round(max(start - 0.05, 0) * RATE_HZ)]
        assert not len(before) or np.abs(before).max() < 0.05


def test_events_have_the_lines_of_json_and_utterances(recorded):
    _, lines = recorded
    assert {line["schema"] for line in lines} == {"sca.watch.events/1"}
    assert {line["type"] for line in lines} >= {"source", "text", "speech", "cycle_end", "utterance"}
    for line in lines:
        if line["type"] == "utterance":
            end = next(one for one in lines if one["type"] == "cycle_end" and one["cycle"] == line["cycle"])
            assert (line["text"], line["spoken"]) == (end["text"], True)
            assert 0 <= line["about_s"] <= 3


def test_events_become_a_data_set(recorded, tmp_path):
    path, lines = recorded
    samples = read_audio(path, RATE_HZ)
    (tmp_path / "corpus").mkdir()
    sf.write(tmp_path / "corpus" / "match_1.wav", samples, RATE_HZ)
    sf.write(tmp_path / "corpus" / "match_2.wav", np.zeros_like(samples), RATE_HZ)  # what the commentator hears
    turns = [
        {name: line[name] for name in ("speaker", "start", "end", "text")}
        for line in lines
        if line["type"] == "utterance"
    ]
    (tmp_path / "corpus" / "match_1.json").write_text(json.dumps(turns))
    (tmp_path / "corpus" / "match_2.json").write_text("[]")
    build_duplex(tmp_path / "corpus", tmp_path / "data", corpus.settings(tags="keep"))
    data = load(tmp_path / "data")
    text = json.dumps([data.record(index) for index in range(len(data))], default=str)
    assert turns[0]["text"].split()[0].lower() in text.lower()


def test_interrupted_command_leaves_whole_files(clip, tmp_path, monkeypatch):
    monkeypatch.setitem(registry._BUILTIN_MODULES, "scripted", watch_engines.__name__)
    follow = running._follow

    def interrupted(listener, output, statistics, seconds):
        follow(listener, output, statistics, 1.0)
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "_follow", interrupted)
    names = ("--record", tmp_path / "a.mp4", "--events", tmp_path / "a.jsonl")
    done = sca("watch", clip, "--engine", "scripted", "--mute", *names)
    assert done.returncode != 0
    with av.open(str(tmp_path / "a.mp4")) as movie:
        assert len(movie.streams) == 2
        assert len(list(movie.decode(video=0))) > 5
    assert titles_of(tmp_path / "a.mp4")[0][2] == "Number 0 runs and shoots."
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_files_that_cannot_be_written_are_named(clip, tmp_path):
    (tmp_path / "folder").mkdir()
    done = sca("watch", clip, "--mute", "--record", tmp_path / "folder")
    assert (done.returncode, "folder" in done.stderr) == (OutputError("").exit_code, True), done.stderr
    done = sca("watch", tmp_path / "missing.mp4", "--mute", "--events", tmp_path / "a.jsonl")
    assert done.returncode == 5
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_speech_is_placed_by_the_delay_at_its_start():
    timeline = Timeline(5_000_000)
    picture = JpegFrame(0, 0, 1_000_000, 2, 2, b"")
    assert timeline.picture_us(picture) == 0
    assert timeline.picture_us(replace(picture, index=1, time_us=2_000_000, at_us=3_000_000)) == 2_000_000
    timeline.text(Text(0, "Goal", 2_000_000, 4_000_000))
    assert timeline.speech_shift(Speech(0, tone(), RATE_HZ, 8_000_000)) == -6_000_000
    spoke = timeline.end(CycleEnd(0, "spoke", "Goal.", None, 2_000_000, 8_000_000, NO_TIMINGS, 4.0))
    assert (spoke.start_us, spoke.end_us, spoke.is_spoken) == (2_000_000, 2_400_000, True)
    assert timeline.delay_us == 4_000_000
    silent = timeline.end(CycleEnd(1, "spoke", "Again.", None, 2_100_000, 8_000_000, NO_TIMINGS, 4.0))
    assert (silent.start_us, silent.is_spoken) == (2_000_000, False)
    assert timeline.end(CycleEnd(2, "skipped", "", "no change", 0, 0, NO_TIMINGS, 4.0)) is None


def test_speech_track_joins_pieces_and_pads_gaps():
    track = SpeechTrack(48_000, most_s=10.0)
    whole = tone(0.4)
    for n in range(4):  # times rounded to microseconds, as the policy gives them
        track.add(Speech(0, whole[n * 2400 : (n + 1) * 2400], RATE_HZ, 1_000_000 + n * 100_000 - n))
    track.flush()
    heard = track.read(0, 96_000)
    assert not heard[:47_900].any()
    assert np.abs(np.diff(heard[48_200:67_000])).max() < 0.02  # a tone without a click
    track.add(Speech(1, whole, RATE_HZ, 3_000_000))
    track.flush()
    assert track.end == 3 * 48_000 + 19_200
