"""lhotse cuts, transcribed shows and stereo files with transcripts become valid data sets; invalid lines are reported."""

import gzip
import json

import numpy as np
import pytest
import soundfile as sf
from typer.testing import CliRunner

from sca.cli.main import app
from sca.data.corpora.base import CorpusFormat, Issue
from sca.data.corpora.registry import detect_format, open_corpus
from sca.data.duplex.audio.stored_samples import read_samples
from sca.data.duplex.build.dataset import build_duplex
from sca.data.duplex.load.dataset import load
from sca.data.duplex.storage.tracks import stored_tracks
from sca.data.duplex.verify.dataset import verify
from sca.errors import InputError, UsageError
from sca.units import seconds_to_samples
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
    assert (summary.failed, summary.dropped, summary.details.skipped) == ([], [], [])
    assert not verify(root).problems
    return load(root)


# lhotse cuts


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
    both = [
        supervision("s1", 1.0, 2.0, 0, "Hello, friend", "Nora", words=[("hello", 1.0, 0.5), ("friend", 2.0, 0.5, 0.9)]),
        supervision("s2", 4.0, 1.0, [1], "yes indeed", None),
    ]
    where = {"start": start, "duration": duration, "channel": list(channel) if kind == "MultiCut" else channel}
    found = both if supervisions is None else supervisions
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


def test_cut_is_a_section_of_the_recording(tmp_path):
    data = built(cuts(tmp_path / "l", cut(start=3.25, duration=6.5), name="cuts.jsonl"), tmp_path / "data")
    sound, _ = sf.read(tmp_path / "l" / "r.wav", dtype="int16")
    for channel, track in enumerate(stored_tracks(tmp_path / "data" / "storage" / "talk.arrow")):
        start, length = seconds_to_samples(3.25, RATE), seconds_to_samples(6.5, RATE)
        expected = sound[start:, channel][:length]
        np.testing.assert_array_equal(read_samples(track.spoken, 0, 12 * RATE, RATE), expected)
    assert words_of(data, "talk", "Nora")[0][1] == 1.0


def test_mono_cuts_of_a_recording_are_one_conversation(tmp_path):
    supervisions = cut()["supervisions"]
    pair = [cut(f"c{n}", "MonoCut", channel=n, supervisions=[supervisions[n]]) for n in (0, 1)]
    data = built(cuts(tmp_path / "l", *pair), tmp_path / "data")
    assert [word[0] for word in words_of(data, "r", "Nora")] == ["Hello,", "friend"]


def test_reads_cuts_that_lhotse_wrote(tmp_path):
    from lhotse import CutSet, Recording, RecordingSet, SupervisionSegment, SupervisionSet
    from lhotse.supervision import AlignmentItem

    wav = stereo(tmp_path / "l" / "r.wav")
    supervisions = [
        SupervisionSegment("a", "r", 1.0, 1.5, 0, "so here we are", speaker="Max").with_alignment(
            "word", [AlignmentItem(word, 1.0 + 0.25 * n, 0.25) for n, word in enumerate(["so", "here", "we", "are"])]
        ),
        SupervisionSegment("b", "r", 3.0, 1.0, 1, "are we", speaker="Nora"),
    ]
    recordings = RecordingSet.from_recordings([Recording.from_file(wav, recording_id="r")])
    CutSet.from_manifests(recordings, SupervisionSet.from_segments(supervisions)).to_file(
        tmp_path / "l" / "all.jsonl.gz"
    )
    data = built(tmp_path / "l" / "all.jsonl.gz", tmp_path / "data")
    assert [word[:2] for word in words_of(data, "r-0", "Max")] == [
        ("so", 1.0),
        ("here", 1.25),
        ("we", 1.5),
        ("are", 1.75),
    ]


def test_truncated_cut_keeps_its_word_times(tmp_path):
    from lhotse import CutSet, Recording, RecordingSet, SupervisionSegment, SupervisionSet
    from lhotse.supervision import AlignmentItem

    wav = stereo(tmp_path / "l" / "r.wav")
    words = [AlignmentItem(word, 3.0 + 0.25 * n, 0.25) for n, word in enumerate(["so", "here", "we", "are"])]
    supervisions = [
        SupervisionSegment("a", "r", 3.0, 1.0, 0, "So here we are.", speaker="Max").with_alignment("word", words),
        SupervisionSegment("b", "r", 5.0, 1.0, 1, "are we", speaker="Nora"),
    ]
    recordings = RecordingSet.from_recordings([Recording.from_file(wav, recording_id="r")])
    whole = CutSet.from_manifests(recordings, SupervisionSet.from_segments(supervisions))[0]
    for name, offset, expected in (
        ("early", 1.0, [("So", 2.0), ("here", 2.25), ("we", 2.5), ("are.", 2.75)]),
        ("inside", 3.4, [("we", 0.1), ("are.", 0.35)]),
    ):
        cut = whole.truncate(offset=offset, duration=6.0).with_id(name)
        CutSet.from_cuts([cut]).to_file(tmp_path / "l" / f"{name}.jsonl.gz")
        data = built(tmp_path / "l" / f"{name}.jsonl.gz", tmp_path / name)
        found = words_of(data, name, "Max")
        assert [(word[0], round(word[1], 3), word[3]) for word in found] == [(*word, "given") for word in expected]


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
    "no supervisions": (cut(supervisions=[]), "cut talk has no supervision with words"),
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
    "transforms": (cut(transforms=[{"name": "Speed"}]), "has transforms"),
}


@pytest.mark.parametrize("case", BAD_CUTS)
def test_skips_an_invalid_cut_only(tmp_path, case):
    line, reason = BAD_CUTS[case]
    source = cuts(tmp_path, cut("good"), line)
    found = open_corpus(source).sessions()
    assert [session.session_id for session in found.sources] == ["good"]
    (report,) = found.issues
    assert (report.level, report.path, report.line) == ("skipped", source, 2)
    assert reason in report.reason


def test_reports_supervisions_past_the_cut(tmp_path):
    late = supervision("s3", 11.0, 5.0, 0, "too late", "Nora")
    source = cuts(tmp_path, cut(supervisions=[_ONE, _TWO, late, supervision("s4", 7.0, 1.0, 0, None, "Nora")]))
    issues = open_corpus(source).sessions().issues
    assert issues == (
        Issue("skipped", source, 1, "supervision s4 has no text"),
        Issue("skipped", source, 1, "supervision s3, 'too late' ends at 16.000 s, the recording at 12.000 s"),
    )


# Output of sca transcribe


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


def test_show_becomes_comedian_and_audience(tmp_path):
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
    # The audience's track is silent during the comedian's speech and unchanged elsewhere, the comedian's the opposite.
    spoken, laughed = slice(RATE, 3 * RATE), slice(seconds_to_samples(3.5, RATE), 5 * RATE)
    assert not room[spoken].any()
    assert not comedian[laughed].any()
    np.testing.assert_array_equal(room[laughed], whole[laughed])


def test_unsure_speech_is_in_no_room_and_has_no_words(tmp_path):
    plain = show()
    unsure = {"role": "comedian", "start": 9.0, "end": 10.0, "content": "exactly right", "event_type": "unsure"}
    words = [*plain["words"], {"word": "exactly", "start": 9.0, "end": 9.6}, {"word": "right", "start": 9.6, "end": 10}]
    source = events(tmp_path / "s", plain | {"timeline": [*plain["timeline"], unsure], "words": words})
    data = built(source, tmp_path / "data", audio_dir=tmp_path / "s" / "audio")
    assert words_of(data, "show1", "show1.comedian")[-1][0] == "night"
    comedian, room = (
        read_samples(track.spoken, 0, 12 * RATE, RATE).astype(int)
        for track in stored_tracks(tmp_path / "data" / "storage" / "show1.arrow")
    )
    assert not room[9 * RATE : 10 * RATE].any()
    assert comedian[9 * RATE : 10 * RATE].any()


def test_notes_reactions_during_speech(tmp_path):
    (issue,) = open_corpus(events(tmp_path, show())).sessions().issues
    assert (issue.level, issue.line) == ("note", 1)
    assert issue.reason == "0.6 of 2.5 s of reactions overlap the comedian's speech and stay on the comedian's track"


def test_interpolates_words_of_a_show_without_word_times(tmp_path):
    data = built(events(tmp_path / "s", show(words=[])), tmp_path / "data")
    assert {word[3] for word in words_of(data, "show1", "show1.comedian")} == {"interpolated"}


BAD_SHOWS = {
    "not JSON": ("{", "not JSON"),
    "missing audio": (show(video_id="show2"), "no audio for show2"),
    "another recording": (show(duration_s=50.0), "show1 was transcribed from one of 50.000 s"),
    "no speech": (show(timeline=[]), "show1 has no speech of the comedian"),
}


@pytest.mark.parametrize("case", BAD_SHOWS)
def test_reports_an_invalid_show(tmp_path, case):
    line, reason = BAD_SHOWS[case]
    source = events(tmp_path, line)
    with pytest.raises(InputError) as raised:
        open_corpus(source, CorpusFormat.events, tmp_path / "audio")
    assert f"{source}:1: " in raised.value.message
    assert reason in raised.value.message


# Stereo files with transcripts


def test_reads_stereo_files_with_transcripts(tmp_path):
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
    # With one transcript there is one side: the other channel is input audio only.
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
    "mono": ({"a.ctm": "a 1 1 1 hm", "mono": ""}, "a.wav has 1 channel(s); two are needed, one per speaker"),
    "broken JSON": ({"a.json": "{"}, "a.json is not JSON"),
}


@pytest.mark.parametrize("case", BAD_STEREO)
def test_reports_invalid_stereo_files(tmp_path, case):
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


# Detection of the layout


def test_hyphen_keeps_the_times_of_the_other_words(tmp_path):
    stereo(tmp_path / "s" / "a.wav")
    given = ["so 1.00 0.20", "night 1.75 0.25", "bus 2.05 0.35", "yes 4.40 0.30", "and 4.75 0.15", "stopped 5.10 0.50"]
    lines = [f"a 1 {' '.join(word.split()[1:])} {word.split()[0]}\n" for word in given]
    (tmp_path / "s" / "a.ctm").write_text("".join([*lines, "a 2 3.00 0.20 oh\n"]))
    (tmp_path / "s" / "a.stm").write_text("a 1 x 1.00 5.60 so night-bus yes and stopped\na 2 y 3.00 3.70 oh\n")
    data = built(tmp_path / "s", tmp_path / "data")
    assert words_of(data, "a", "x") == [
        ("so", 1.0, 1.2, "given"),
        ("night-bus", 1.75, 2.4, "given"),
        ("yes", 4.4, 4.7, "given"),
        ("and", 4.75, 4.9, "given"),
        ("stopped", 5.1, 5.6, "given"),
    ]


def test_detects_layouts_by_content(tmp_path):
    moshi = tmp_path / "moshi.jsonl"
    moshi.write_text('\n{"path": "a.wav"}\n')
    stereo(tmp_path / "s" / "a.wav", 1.0).with_suffix(".ctm").write_text("")
    assert detect_format(moshi) is CorpusFormat.moshi
    assert detect_format(cuts(tmp_path / "l", "", "{", cut())) is CorpusFormat.lhotse
    assert detect_format(events(tmp_path / "e", show())) is CorpusFormat.events
    assert detect_format(tmp_path / "s") is CorpusFormat.stereo
    assert detect_format(corpus.pair(tmp_path / "m")) is CorpusFormat.magichub
    assert detect_format(tmp_path) is CorpusFormat.stereo


def test_list_in_a_folder_and_explicit_layout(tmp_path):
    cuts(tmp_path, cut())
    stereo(tmp_path / "r.wav").with_suffix(".ctm").write_text("r 1 1.0 0.5 hello\n")

    def sessions(layout):
        return [source.session_id for source in open_corpus(tmp_path, layout).sessions().sources]

    assert sessions(CorpusFormat.auto) == sessions(CorpusFormat.lhotse) == ["talk"]
    assert sessions(CorpusFormat.stereo) == ["r"]
    with pytest.raises(InputError, match="has no WAV and TXT folder"):
        open_corpus(tmp_path, CorpusFormat.magichub)
    with pytest.raises(InputError, match=r"does not have the layout moshi; found 1 \.ctm file") as error:
        open_corpus(tmp_path, CorpusFormat.moshi)
    assert error.value.hint.startswith("it has the layout stereo: give that, or leave --format out; layouts: magichub,")


@pytest.mark.parametrize("text", ["", '{"id": 3}\n', "[1]\nwords\n"])
def test_rejects_a_file_of_another_kind(tmp_path, text):
    (tmp_path / "x.jsonl").write_text(text)
    outcome = CliRunner().invoke(app, ["build-duplex", str(tmp_path / "x.jsonl"), "-o", str(tmp_path / "data")])
    assert outcome.exit_code == 5
    message, hint = outcome.stderr.splitlines()
    assert message == f"sca: {tmp_path}/x.jsonl is neither a folder nor a list that names recordings"
    assert "layouts: magichub (WAV/ and TXT/)" in hint
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("names", "found", "hint"),
    [
        ([], "no files", "the folder is empty"),
        (["a.wav", "b/c.wav"], "2 .wav files", "the transcripts are missing"),
        (["a.docx", "b.docx"], "2 .docx files", "the recordings are missing"),
        (["a.tar", "notes"], "1 other file, 1 .tar file", "unpack the archives"),
        (["a.wav", "a.docx", ".hidden"], "1 .docx file, 1 .wav file", "in a format that is read"),
    ],
)
def test_names_what_an_unknown_folder_has(tmp_path, names, found, hint):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(InputError) as caught:
        open_corpus(tmp_path)
    assert str(caught.value) == f"{tmp_path} has the layout of no corpus that sca reads; found {found}"
    assert hint in caught.value.hint


def test_rejects_a_truncated_list(tmp_path):
    source = cuts(tmp_path, *[cut(str(n)) for n in range(40)])
    source.write_bytes(source.read_bytes()[:200])
    with pytest.raises(InputError, match=r"cuts\.jsonl\.gz cannot be read"):
        open_corpus(source)


def test_audio_dir_is_for_events_only(tmp_path):
    with pytest.raises(UsageError, match="leave --audio-dir out"):
        open_corpus(cuts(tmp_path, cut()), audio_dir=tmp_path)
