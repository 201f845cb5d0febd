"""lhotse cuts, sca's own events and stereo files with transcripts become data sets that prove; what is bad is said line by line."""

import gzip
import json

import numpy as np
import pytest
import soundfile as sf
from typer.testing import CliRunner

from sca.cli.main import app
from sca.data.corpora.base import CorpusFormat
from sca.data.corpora.registry import layout_of, open_corpus
from sca.data.duplex.audio.stored_samples import read_samples
from sca.data.duplex.build.dataset import build_duplex
from sca.data.duplex.load.dataset import load
from sca.data.duplex.storage.tracks import stored_tracks
from sca.data.duplex.verify.dataset import verify
from sca.errors import InputError, UsageError
from tests.helpers import corpus

RATE = 24_000


def stereo(path, seconds=12.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    sound = np.stack([corpus.tone(seconds, RATE), corpus.tone(seconds, RATE, level=0.1)], 1)
    sf.write(path, sound, RATE, subtype="PCM_16")
    return path


def words_of(data, session, speaker):
    return [(w["word"], w["start"], w["end"], w["source"]) for w in data.words(session, speaker)]


def built(source, root, **named):
    summary = build_duplex(source, root, corpus.settings(window="4-20"), **named)
    assert (summary.failed, summary.dropped, summary.skipped) == ([], [], [])
    assert not verify(root).problems
    return load(root)


# lhotse


def supervision(name, start, duration, channel, text, speaker, *, words=()):
    alignment = {"word": [list(word) for word in words]} if words else None
    plain = {"id": name, "recording_id": "r", "start": start, "duration": duration, "channel": channel, "text": text}
    return plain | {"speaker": speaker} | ({"alignment": alignment} if alignment else {})


def cut(name="talk", kind="MultiCut", *, start=0.0, duration=12.0, channel=(0, 1), supervisions=None, **recording):
    plain = {
        "id": "r",
        "sources": [{"type": "file", "channels": [0, 1], "source": "r.wav"}],
        "sampling_rate": RATE,
        "num_samples": 12 * RATE,
        "duration": 12.0,
        **recording,
    }
    said = [
        supervision("s1", 1.0, 2.0, 0, "Hello, friend", "Nora", words=[("hello", 1.0, 0.5), ("friend", 2.0, 0.5, 0.9)]),
        supervision("s2", 4.0, 1.0, [1], "yes indeed", None),
    ]
    where = {"start": start, "duration": duration, "channel": list(channel) if kind == "MultiCut" else channel}
    found = said if supervisions is None else supervisions
    return {"id": name, "type": kind, **where, "supervisions": found, "recording": plain}


def cuts(root, *lines, name="cuts.jsonl.gz"):
    stereo(root / "r.wav")
    text = "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines).encode()
    (root / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    return root / name


def test_lhotse_cuts_become_rows(tmp_path):
    data = built(cuts(tmp_path / "l", cut()), tmp_path / "data")
    assert words_of(data, "talk", "Nora") == [("Hello,", 1.0, 1.5, "given"), ("friend", 2.0, 2.5, "given")]
    assert [word[3] for word in words_of(data, "talk", "talk.ch1")] == ["interpolated", "interpolated"]


def test_a_cut_is_its_section_of_the_recording(tmp_path):
    data = built(cuts(tmp_path / "l", cut(start=3.25, duration=6.5), name="cuts.jsonl"), tmp_path / "data")
    sound, _ = sf.read(tmp_path / "l" / "r.wav", dtype="int16")
    for channel, track in enumerate(stored_tracks(tmp_path / "data" / "storage" / "talk.arrow")):
        expected = sound[round(3.25 * RATE) :, channel][: round(6.5 * RATE)]
        np.testing.assert_array_equal(read_samples(track.spoken, 0, 12 * RATE, RATE), expected)
    assert words_of(data, "talk", "Nora")[0][1] == 1.0


def test_the_mono_cuts_of_a_recording_are_one_conversation(tmp_path):
    said = cut()["supervisions"]
    pair = [cut(f"c{n}", "MonoCut", channel=n, supervisions=[said[n]]) for n in (0, 1)]
    data = built(cuts(tmp_path / "l", *pair), tmp_path / "data")
    assert [word[0] for word in words_of(data, "r", "Nora")] == ["Hello,", "friend"]


def test_cuts_that_lhotse_itself_wrote(tmp_path):
    from lhotse import CutSet, Recording, RecordingSet, SupervisionSegment, SupervisionSet
    from lhotse.supervision import AlignmentItem

    wav = stereo(tmp_path / "l" / "r.wav")
    said = [
        SupervisionSegment("a", "r", 1.0, 1.5, 0, "so here we are", speaker="Max").with_alignment(
            "word", [AlignmentItem(word, 1.0 + 0.25 * n, 0.25) for n, word in enumerate(["so", "here", "we", "are"])]
        ),
        SupervisionSegment("b", "r", 3.0, 1.0, 1, "are we", speaker="Nora"),
    ]
    recordings = RecordingSet.from_recordings([Recording.from_file(wav, recording_id="r")])
    CutSet.from_manifests(recordings, SupervisionSet.from_segments(said)).to_file(tmp_path / "l" / "all.jsonl.gz")
    data = built(tmp_path / "l" / "all.jsonl.gz", tmp_path / "data")
    assert [word[:2] for word in words_of(data, "r-0", "Max")] == [
        ("so", 1.0),
        ("here", 1.25),
        ("we", 1.5),
        ("are", 1.75),
    ]


_ONE, _TWO = cut()["supervisions"]
BAD_CUTS = {
    "not JSON": ("{", "not a cut"),
    "a recording": ({"id": "r", "sources": []}, "a None is not one of MonoCut, MultiCut"),
    "mixed": (cut() | {"type": "MixedCut"}, "a MixedCut is not one of"),
    "no recording": ({k: v for k, v in cut().items() if k != "recording"}, "recording: field required"),
    "one channel": (cut(channel=[0]), "cut talk has one channel; two are needed"),
    "one speaker's two channels": (cut(supervisions=[_ONE, _TWO | {"speaker": "Nora"}]), "Nora is on two channels"),
    "two on a channel": (
        cut(supervisions=[_ONE, _TWO | {"channel": 0, "speaker": "Max"}]),
        "Max and Nora share channel 0",
    ),
    "on several channels": (cut(supervisions=[_ONE, _TWO | {"channel": [0, 1]}]), "s2 is on several channels"),
    "on another channel": (
        cut(supervisions=[_ONE, _TWO | {"channel": 5}]),
        "s2 is on channel 5, which cut talk does not",
    ),
    "nobody speaks": (cut(supervisions=[]), "cut talk has no supervision with words"),
    "from a command": (
        cut(sources=[{"type": "command", "channels": [0, 1], "source": "sox"}]),
        "is a command, not a file",
    ),
    "missing audio": (cut(sources=[{"type": "file", "channels": [0, 1], "source": "no.wav"}]), "does not exist"),
    "too few channels": (
        cut(sources=[{"type": "file", "channels": [3, 2, 0, 1], "source": "r.wav"}]),
        "has 2 channel(s)",
    ),
    "audio that is shorter": (
        cut(duration=40.0) | {"recording": cut(duration=40.0)["recording"] | {"duration": 40.0}},
        "lasts",
    ),
    "changed while read": (cut(transforms=[{"name": "Speed"}]), "is transformed while it is read"),
}


@pytest.mark.parametrize("case", BAD_CUTS)
def test_a_bad_cut_is_named_and_costs_no_other(tmp_path, case):
    line, reason = BAD_CUTS[case]
    source = cuts(tmp_path, cut("good"), line)
    found = open_corpus(source).scan(tmp_path / "texts")
    assert [session.session_id for session in found.sessions] == ["good"]
    (report,) = found.skipped
    assert (report.path, report.line) == (source, 2)
    assert reason in report.reason


def test_supervisions_past_the_cut_are_left_out_and_said(tmp_path):
    late = supervision("s3", 11.0, 5.0, 0, "too late", "Nora")
    source = cuts(tmp_path, cut(supervisions=[_ONE, _TWO, late, supervision("s4", 7.0, 1.0, 0, None, "Nora")]))
    reports = open_corpus(source).scan(tmp_path / "texts").skipped
    assert [report.reason for report in reports] == [
        "supervision s4 has no text",
        "supervision s3, 'too late' ends at 16.000 s, the recording at 12.000 s",
    ]


# What sca transcribe writes


def show(**changes):
    speech = [("comedian", 1.0, 3.0, "hello there people"), ("comedian", 6.0, 8.0, "good night")]
    timeline = [{"role": role, "start": a, "end": b, "content": text} for role, a, b, text in speech]
    timeline.append(
        {"role": "audience", "start": 2.5, "end": 5.0, "content": "(laughter)", "reaction_type": "laughter"}
    )
    words = [("hello", 1.0, 1.4), ("there", 1.5, 2.0), ("people", 2.2, 3.0), ("good", 6.0, 6.5), ("night", 6.6, 8.0)]
    plain = {"video_id": "show1", "timeline": timeline, "duration_s": 12.0}
    return plain | {"words": [{"word": w, "start": a, "end": b} for w, a, b in words]} | changes


def events(root, *shows, seconds=12.0):
    (root / "audio").mkdir(parents=True)
    sf.write(root / "audio" / "show1.wav", corpus.tone(seconds, RATE), RATE, subtype="PCM_16")
    (root / "shows.jsonl").write_text("".join(f"{s if isinstance(s, str) else json.dumps(s)}\n" for s in shows))
    return root / "shows.jsonl"


def test_a_show_is_a_comedian_and_the_room_without_him(tmp_path):
    source = events(tmp_path / "s", show())
    data = built(source, tmp_path / "data", audio_dir=tmp_path / "s" / "audio")
    assert {row.row_id.split(":")[1] for row in data} == {"show1.room>show1.comedian"}
    assert words_of(data, "show1", "show1.comedian")[-1] == ("night", 6.6, 8.0, "given")
    comedian, room = (
        read_samples(track.spoken, 0, 12 * RATE, RATE).astype(int)
        for track in stored_tracks(tmp_path / "data" / "storage" / "show1.arrow")
    )
    whole, _ = sf.read(tmp_path / "s" / "audio" / "show1.wav", dtype="int16")
    assert np.abs(comedian + room - whole).max() <= 1
    # The room is silent where he speaks and untouched where he does not, and the other way round.
    spoken, laughed = slice(round(1.0 * RATE), round(3.0 * RATE)), slice(round(3.5 * RATE), round(5.0 * RATE))
    assert not room[spoken].any()
    assert not comedian[laughed].any()
    np.testing.assert_array_equal(room[laughed], whole[laughed])


def test_what_is_lost_under_his_speech_is_said(tmp_path):
    found = open_corpus(events(tmp_path, show())).scan(tmp_path / "texts")
    (report,) = found.skipped
    assert report.reason == "kept: 0.6 of 2.5 s of reactions lie under his speech and stay on his track"


def test_words_that_a_recogniser_did_not_give_are_interpolated(tmp_path):
    data = built(events(tmp_path / "s", show(words=[])), tmp_path / "data")
    assert {word[3] for word in words_of(data, "show1", "show1.comedian")} == {"interpolated"}


BAD_SHOWS = {
    "not JSON": ("{", "not JSON"),
    "missing audio": (show(video_id="show2"), "no audio for show2"),
    "another recording": (show(duration_s=50.0), "show1 was transcribed from one of 50.000 s"),
    "nobody speaks": (show(timeline=[]), "show1 has no speech of the comedian"),
}


@pytest.mark.parametrize("case", BAD_SHOWS)
def test_a_bad_show_is_named(tmp_path, case):
    line, reason = BAD_SHOWS[case]
    source = events(tmp_path, line)
    with pytest.raises(InputError) as raised:
        open_corpus(source, CorpusFormat.events, tmp_path / "audio")
    assert f"{source}:1: " in raised.value.message
    assert reason in raised.value.message


# Stereo files with transcripts


def test_stereo_files_with_transcripts(tmp_path):
    root = tmp_path / "s"
    for name in ("both", "ctm", "stm", "srt", "vtt", "json"):
        stereo(root / "in" / f"{name}.wav")
    ctm = "a 1 1.0 0.5 hello\na 1 2.0 0.5 friend\na 2 3.0 0.25 yes\n"
    stm = "a 1 nora 1.0 2.5 Hello, friend.\na 2 max 3.0 3.25 Yes.\n"
    cue = "1\n00:00:01,000 --> 00:00:02,500\nHello, friend.\n"
    for name, text in {
        "both.ctm": ctm,
        "both.stm": stm,
        "ctm.ctm": ctm,
        "stm.stm": stm,
        "srt.left.srt": cue,
        "srt.right.srt": cue.replace(":01,", ":03,").replace(":02,", ":04,"),
        "vtt.right.vtt": "WEBVTT\n\n" + cue,
        "json.json": json.dumps({"alignments": [["hello", [1.0, 1.5], "SPEAKER_MAIN"]]}),
    }.items():
        (root / "in" / name).write_text(text, encoding="utf-8")
    data = built(root, tmp_path / "data")
    timed = [("hello", 1.0, 1.5, "given"), ("friend", 2.0, 2.5, "given")]
    assert words_of(data, "in-ctm", "in-ctm.left") == timed
    assert words_of(data, "in-both", "nora") == [("Hello,", *timed[0][1:]), ("friend.", *timed[1][1:])]
    assert words_of(data, "in-both", "max") == [("Yes.", 3.0, 3.25, "given")]
    assert [word[0] for word in words_of(data, "in-stm", "max")] == ["Yes."]
    assert [word[0] for word in words_of(data, "in-srt", "in-srt.right")] == ["Hello,", "friend."]
    assert words_of(data, "in-json", "in-json.left") == timed[:1]
    sides = {row.row_id.rsplit(":", 1)[0] for row in data}
    # One transcript, one side: the other channel is heard only.
    assert "in-vtt:in-vtt.left>in-vtt.right" in sides
    assert "in-vtt:in-vtt.right>in-vtt.left" not in sides
    assert "in-json:in-json.right>in-json.left" in sides
    assert len(sides) == 4 * 2 + 2


BAD_STEREO = {
    "no transcript": ({}, "no transcript of that name"),
    "two kinds": ({"a.ctm": "a 1 1 1 hm", "a.left.srt": ""}, "has a.ctm and a.left.srt; leave one of them"),
    "no words": ({"a.ctm": "oh"}, "a.ctm:1: not 'file channel start duration word'"),
    "two on a channel": ({"a.stm": "a 1 max 1 2 so\na 1 nora 3 4 no"}, "max and nora share a channel"),
    "on both channels": ({"a.stm": "a 1 max 1 2 so\na 2 max 3 4 no"}, "max is on both channels"),
    "past the end": ({"a.ctm": "a 1 30 1 late"}, "'late' ends at 31.000 s, the recording at 3.000 s"),
    "mono": ({"a.ctm": "a 1 1 1 hm", "mono": ""}, "a.wav has 1 channel(s); two are needed, a speaker each"),
    "broken JSON": ({"a.json": "{"}, "a.json is not JSON"),
}


@pytest.mark.parametrize("case", BAD_STEREO)
def test_bad_stereo_files_are_named(tmp_path, case):
    texts, reason = BAD_STEREO[case]
    stereo(tmp_path / "a.wav", 3.0)
    if "mono" in texts:
        sf.write(tmp_path / "a.wav", corpus.tone(3.0), 16_000)
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="no session with two speakers") as raised:
        open_corpus(tmp_path, CorpusFormat.stereo)
    assert reason in raised.value.message
    assert "a.wav" in raised.value.message


# Which is which


def test_layouts_are_told_apart_by_what_is_in_them(tmp_path):
    moshi = tmp_path / "moshi.jsonl"
    moshi.write_text('\n{"path": "a.wav"}\n')
    stereo(tmp_path / "s" / "a.wav", 1.0).with_suffix(".ctm").write_text("")
    assert layout_of(moshi) is CorpusFormat.moshi
    assert layout_of(cuts(tmp_path / "l", "", "{", cut())) is CorpusFormat.lhotse
    assert layout_of(events(tmp_path / "e", show())) is CorpusFormat.events
    assert layout_of(tmp_path / "s") is CorpusFormat.stereo
    assert layout_of(corpus.pair(tmp_path / "m")) is CorpusFormat.magichub
    assert layout_of(tmp_path) is CorpusFormat.stereo


def test_a_folder_is_read_by_the_list_in_it_unless_it_is_called_something_else(tmp_path):
    cuts(tmp_path, cut())
    stereo(tmp_path / "r.wav").with_suffix(".ctm").write_text("r 1 1.0 0.5 hello\n")

    def sessions(layout):
        return [found.session_id for found in open_corpus(tmp_path, layout).scan(tmp_path / "texts").sessions]

    assert sessions(CorpusFormat.auto) == sessions(CorpusFormat.lhotse) == ["talk"]
    assert sessions(CorpusFormat.stereo) == ["r"]
    with pytest.raises(InputError, match="has no WAV and TXT folder"):
        open_corpus(tmp_path, CorpusFormat.magichub)
    with pytest.raises(InputError, match="cannot be read"):
        open_corpus(tmp_path, CorpusFormat.moshi)


@pytest.mark.parametrize("text", ["", '{"id": 3}\n', "[1]\nwords\n"])
def test_a_file_of_another_kind_is_refused(tmp_path, text):
    (tmp_path / "x.jsonl").write_text(text)
    outcome = CliRunner().invoke(app, ["build-duplex", str(tmp_path / "x.jsonl"), "-o", str(tmp_path / "data")])
    assert outcome.exit_code == 5
    said, hint = outcome.stderr.splitlines()
    assert said == f"sca: {tmp_path}/x.jsonl is neither a folder nor a list that names recordings"
    assert "give a folder with WAV/ and TXT/" in hint
    assert not (tmp_path / "data").exists()


def test_a_torn_list_is_refused(tmp_path):
    source = cuts(tmp_path, *[cut(str(n)) for n in range(40)])
    source.write_bytes(source.read_bytes()[:200])
    with pytest.raises(InputError, match=r"cuts\.jsonl\.gz cannot be read"):
        open_corpus(source)


def test_audio_dir_is_for_events(tmp_path):
    with pytest.raises(UsageError, match="leave --audio-dir out"):
        open_corpus(cuts(tmp_path, cut()), audio_dir=tmp_path)
