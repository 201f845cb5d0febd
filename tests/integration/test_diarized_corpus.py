"""`sca build-duplex` of diarized lines: one channel becomes a track for each speaker."""

import json

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from sca.cli.main import app
from sca.data.corpora.base import Issue
from sca.data.corpora.diarized.spans import alone, overlaps, speaking
from sca.data.corpora.registry import open_corpus
from sca.data.duplex.storage.tracks import stored_tracks
from sca.errors import InputError, MissingToolError, UsageError
from sca.timeline import SpeakerTurn
from tests.helpers.tiny_separator import write_separator

RATE = 16_000
LOW, HIGH = "SPEAKER_00", "SPEAKER_01"
TURNS = [(1.0, 4.0, LOW), (3.0, 6.0, HIGH), (7.0, 9.0, LOW), (9.0, 11.0, HIGH)]
WORDS = [
    ("low", 1.2, 1.8, LOW),
    ("voice", 2.0, 2.6, LOW),
    ("both", 3.2, 3.8, LOW),
    ("high", 4.4, 5.0, HIGH),
    ("voice", 5.2, 5.8, HIGH),
    ("again", 7.2, 8.8, LOW),
    ("answer", 9.2, 10.8, HIGH),
]


def tones():
    """Return a low and a high voice: tones that sound during the turns."""
    time = np.arange(12 * RATE) / RATE
    voices = {LOW: 0.2 * np.sin(2 * np.pi * 125 * time), HIGH: 0.2 * np.sin(2 * np.pi * 4_000 * time)}
    for name, voice in voices.items():
        sounds = np.zeros(len(time), bool)
        for start, end, speaker in TURNS:
            sounds[round(start * RATE) : round(end * RATE)] |= speaker == name
        voice[~sounds] = 0
    return {name: voice.astype(np.float32) for name, voice in voices.items()}


def events_of(words):
    for word, start, end, speaker in words:
        role = "comedian" if speaker == LOW else "other_speaker"
        kind = {"event_type": "unsure", "doubt": "overlapping"} if word == "both" else {}
        yield {"start": start, "end": end, "role": role, "content": word, "speaker": speaker, **kind}


def line(**changes):
    plain = {
        "video_id": "talk",
        "duration_s": 12.0,
        "timeline": list(events_of(WORDS)),
        "words": [{"word": w, "start": a, "end": b, "speaker": s} for w, a, b, s in WORDS],
        "turns": [{"start": a, "end": b, "speaker": s} for a, b, s in TURNS],
    }
    return plain | changes


@pytest.fixture
def corpus(tmp_path):
    def write(**changes):
        soundfile.write(tmp_path / "talk.wav", sum(tones().values()), RATE, subtype="FLOAT")
        (tmp_path / "talk.jsonl").write_text(json.dumps(line(**changes)) + "\n")
        return tmp_path / "talk.jsonl"

    return write


def conversation(source, **options):
    (found,) = [one for one in open_corpus(source, **options).conversations() if not isinstance(one, Issue)]
    return found


def build(source, root, *options):
    plain = ["build-duplex", source, "-o", root, "--json", "-q", "--jobs", 1]
    done = CliRunner().invoke(app, [str(word) for word in (*plain, *options)])
    assert done.exit_code == 0, done.output
    return json.loads((root / "report.json").read_text())


def samples_of(root):
    found = {}
    for track in stored_tracks(root / "storage" / "talk.arrow"):
        with (
            soundfile.SoundFile(str(track.heard))
            if not hasattr(track.heard, "to_pybytes")
            else _opened(track.heard) as file
        ):
            found[track.record["speaker_id"].removeprefix("talk.")] = file.read(dtype="float32")
    return found


def _opened(buffer):
    import io

    return soundfile.SoundFile(io.BytesIO(buffer.to_pybytes()))


def test_each_speaker_has_what_it_says_alone(corpus, tmp_path):
    report = build(corpus(), tmp_path / "data")
    assert report["unlabelled"]["by_reason"]["overlap"] == pytest.approx(2.0)
    tracks = samples_of(tmp_path / "data")
    assert list(tracks) == [LOW, HIGH]
    voices = tones()
    for name, track in tracks.items():
        for start, end, speaker in ((1.1, 2.9, LOW), (4.1, 5.9, HIGH), (7.1, 8.9, LOW), (9.1, 10.9, HIGH)):
            part = slice(round(start * RATE), round(end * RATE))
            if speaker == name:
                np.testing.assert_allclose(track[part], voices[name][part], atol=0.01)
            else:
                assert not track[part].any()
        assert not track[round(3.05 * RATE) : round(3.95 * RATE)].any()
    assert CliRunner().invoke(app, ["verify", str(tmp_path / "data")]).exit_code == 0


def test_overlap_is_no_target_and_is_masked(corpus):
    source = corpus()
    found = conversation(source)
    low, high = found.tracks
    assert [utterance.text for utterance in low.utterances] == ["low", "voice", "again"]
    assert [utterance.text for utterance in high.utterances] == ["high", "voice", "answer"]
    assert low.unlabelled == high.unlabelled == ((3 * RATE, 4 * RATE),)
    (note,) = [one for one in open_corpus(source).conversations() if isinstance(one, Issue)]
    assert note.reason == "1.0 s of overlapping speech: 0.0 s separated, 1.0 s on no track and not labelled"


def test_separated_overlap_is_on_both_tracks(corpus, tmp_path):
    model = write_separator(tmp_path / "separator.onnx")
    report = build(corpus(), tmp_path / "data", "--separate", model)
    assert "overlap" not in report["unlabelled"]["by_reason"]
    tracks, voices = samples_of(tmp_path / "data"), tones()
    part = slice(round(3.1 * RATE), round(3.9 * RATE))
    for name, track in tracks.items():
        other = voices[HIGH if name == LOW else LOW][part]
        own = voices[name][part]
        assert np.abs(track[part] @ own) / (own @ own) > 0.7
        assert np.abs(track[part] @ other) / (other @ other) < 0.15
    source = tmp_path / "talk.jsonl"
    again = ["verify", tmp_path / "data", "--source", source, "--separate", model]
    assert CliRunner().invoke(app, [*map(str, again)]).exit_code == 0
    low = conversation(source, separate=model, cache_dir=tmp_path / "cache").tracks[0]
    assert [utterance.text for utterance in low.utterances] == ["low", "voice", "both", "again"]
    first = low.audio.read_bytes()
    assert conversation(source, separate=tmp_path, cache_dir=tmp_path / "cache").tracks[0].audio.read_bytes() == first


def test_overlap_whose_voices_are_unclear_is_left_out(corpus, tmp_path):
    model = write_separator(tmp_path / "separator.onnx")
    turns = [{"start": a, "end": b, "speaker": s} for s in (LOW, HIGH) for a, b in ((1.0, 4.0), (1.0, 4.0))]
    words = [WORDS[0], WORDS[-1]]
    apart = {"start": 9.0, "end": 11.0, "speaker": HIGH}
    source = corpus(turns=[*turns, apart], timeline=list(events_of(words)))
    notes = [
        one.reason
        for one in open_corpus(source, separate=model, cache_dir=tmp_path / "c").conversations()
        if isinstance(one, Issue)
    ]
    assert notes[0] == "3.0 s of overlapping speech: 0.0 s separated, 3.0 s on no track and not labelled"


def test_reactions_get_a_room_and_one_speaker_stays_a_show(corpus):
    laughter = {"role": "audience", "start": 11.2, "end": 11.8, "content": "laughter", "reaction_type": "laughter"}
    found = conversation(corpus(timeline=[*line()["timeline"], laughter]))
    assert [track.speaker_id for track in found.tracks] == ["talk.SPEAKER_00", "talk.SPEAKER_01", "talk.room"]
    assert found.tracks[2].transcript is None
    alone_line = {"turns": [{"start": 1.0, "end": 4.0, "speaker": LOW}], "timeline": list(events_of(WORDS[:2]))}
    assert [track.speaker_id for track in conversation(corpus(**alone_line)).tracks] == ["talk.comedian", "talk.room"]


def test_spans_of_speakers_are_disjoint_and_complete():
    turns = [SpeakerTurn(start=a, end=b, speaker=s) for a, b, s in TURNS]
    stretches = speaking(turns, 12.0)
    assert [(s.start_s, s.end_s, len(s.speakers)) for s in stretches] == [
        (1.0, 3.0, 1), (3.0, 4.0, 2), (4.0, 6.0, 1), (7.0, 9.0, 1), (9.0, 11.0, 1),
    ]  # fmt: skip
    assert overlaps(stretches) == ((3.0, 4.0),)
    assert alone(stretches, LOW, 12.0) == ((0.85, 3.0), (6.85, 9.0))
    assert alone(stretches, HIGH, 12.0) == ((4.0, 6.15), (9.0, 11.15))


def test_bad_models_and_corpora_without_use_for_one(corpus, tmp_path):
    source = corpus()
    with pytest.raises(MissingToolError):
        open_corpus(source, separate=tmp_path / "no.onnx")
    with pytest.raises(InputError, match=r"returns \(1, 1, 16000\) for 16000 samples"):
        open_corpus(source, separate=write_separator(tmp_path / "one.onnx", voices=1))
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(InputError, match="cannot be loaded"):
        open_corpus(source, separate=tmp_path / "text.onnx")
    from sca.resources import demo_corpus

    with demo_corpus() as demo, pytest.raises(UsageError, match="leave --separate out"):
        open_corpus(demo, separate=tmp_path / "text.onnx")
