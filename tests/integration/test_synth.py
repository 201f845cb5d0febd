"""Synthetic conversations with espeak-ng: exact labels, equal bytes, and the sound of rooms, noise and codecs."""

import json

import numpy as np
import pytest
import soundfile

import sca
from sca.config import SynthConfig
from sca.errors import InputError, MissingToolError, OutputError, UsageError
from sca.files.atomic import atomic_write
from sca.infer.speech import espeak_api
from sca.synth import layout
from sca.synth.conversation import make_conversation
from sca.synth.layout import conversation_files
from sca.synth.measure import find_timing, measure_timing
from sca.synth.run import synthesize
from sca.synth.script import Kind, shipped_script
from sca.synth.timing import TIMINGS
from sca.synth.voices import Voices
from tests.helpers.corpus import settings as duplex_settings

TIMING = TIMINGS["switchboard"]
SHORT = "lost-keys"
NAMES = ("cafe", "garden", SHORT, "train-delay")


def make(name=SHORT, number=0, **settings):
    return make_conversation(shipped_script(name), SynthConfig(**settings), TIMING, number)


def lag_of(piece, track, near, reach=400):
    """Return the samples by which `piece` is later in `track` than `near`, by normalised cross-correlation."""
    padded = np.pad(track, reach)[near : near + len(piece) + 2 * reach].astype(np.float64)
    energy = np.convolve(padded**2, np.ones(len(piece)), "valid")
    return int(np.argmax(np.correlate(padded, piece, "valid") / np.sqrt(energy + 1e-9))) - reach


def files_of(root):
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Return a corpus of some shipped scripts, with all kinds of turns."""
    root = tmp_path_factory.mktemp("synth") / "corpus"
    synthesize(list(map(shipped_script, NAMES)), root, SynthConfig(seed=1), jobs=2)
    return root


def test_every_word_is_where_its_label_is():
    found = make("cafe", interruptions=0.0, backchannels=0.0)
    script = shipped_script("cafe")
    checked = 0
    with Voices(found.rate_hz) as voices:
        again = {turn.line: voices.speak(found.voices[turn.speaker], turn) for turn in script.turns}
    for event in found.events:
        spoken, track = again[event.line], found.tracks[event.speaker]
        for word, (start, end) in zip(event.words, spoken.words, strict=False):
            if end - start > 0.05 * found.rate_hz:
                assert lag_of(spoken.sound[start:end], track, word.start) == 0
                checked += 1
    assert checked > 80


def test_the_truth_of_an_interruption_is_what_is_heard():
    found = make("garden", backchannels=0.0)
    cut = next(event for event in found.events if event.unspoken)
    after = next(event for event in found.events if event.kind is Kind.interruption)
    assert found.events[after.over] is cut
    assert after.start < cut.end
    fade = SynthConfig().fade_ms * found.rate_hz // 1000
    until = min(event.start for event in found.events if event.speaker == cut.speaker and event.start > cut.start)
    later = found.tracks[cut.speaker][cut.end + fade : until]
    assert len(later) > 0.2 * found.rate_hz
    assert np.abs(later).max() < 1e-3  # the noise floor alone: nothing of the words that were cut off


def test_a_conversation_does_not_depend_on_those_before_it():
    alone = make()
    make("chess")
    again = make()
    assert np.array_equal(alone.tracks[0], again.tracks[0])
    assert alone.events == again.events
    assert not np.array_equal(alone.tracks[0], make(seed=2).tracks[0][: len(alone.tracks[0])])


def test_same_bytes_with_any_jobs_and_after_an_interruption(corpus, tmp_path):
    scripts = list(map(shipped_script, NAMES))
    root = tmp_path / "again"
    synthesize(scripts, root, SynthConfig(seed=1), jobs=1, conversations=3)
    for path in conversation_files(root, "S00002-garden"):
        path.unlink()  # as after a kill between two conversations
        break
    summary = synthesize(scripts, root, SynthConfig(seed=1), jobs=1)
    assert (summary.made, summary.already) == (2, 2)
    assert files_of(root) == files_of(corpus)
    assert synthesize(scripts, root, SynthConfig(seed=1), jobs=1).made == 0


def test_labels_words_and_sound_agree(corpus):
    labels = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((corpus / "LABELS").iterdir())]
    assert {turn["kind"] for label in labels for turn in label["turns"]} == {kind.value for kind in Kind}
    for label in labels:
        for side, speaker in enumerate(label["speakers"]):
            name = f"{label['session']}_{speaker['id']}"
            words = json.loads((corpus / "WORDS" / f"{name}.json").read_text(encoding="utf-8"))
            said = " ".join(turn["text"] for turn in label["turns"] if turn["speaker"] == side)
            assert " ".join(word for word, *_ in words) == said
            assert soundfile.info(corpus / "WAV" / f"{name}.wav").duration == pytest.approx(label["seconds"], abs=1e-4)


def test_builds_and_verifies_with_every_word(corpus, tmp_path):
    summary = sca.build(corpus, tmp_path / "data", settings=duplex_settings(), jobs=1)
    report = summary.details.report
    assert (summary.made, summary.failed, summary.dropped) == (len(NAMES), [], [])
    verification = sca.verify(tmp_path / "data", source=corpus)
    assert verification.holds, verification
    assert report is not None


def test_a_timing_can_be_measured_from_a_corpus(corpus):
    found = measure_timing(corpus)
    labels = [json.loads(path.read_text(encoding="utf-8")) for path in (corpus / "LABELS").iterdir()]
    gaps = [
        t["offset_s"] for label in labels for t in label["turns"] if t["kind"] == "turn" and (t["offset_s"] or -1) >= 0
    ]
    assert found.gap_s.at(0.5) == pytest.approx(float(np.median(gaps)), rel=0.1)
    assert found.backchannels_a_minute > 1
    with pytest.raises(UsageError, match="does not exist"):
        find_timing("nowhere")


@pytest.mark.parametrize("codec", ["mulaw", "opus"])
def test_codecs_do_not_move_the_speech(codec):
    clean, heard = make(), make(codec=codec)
    assert heard.events == clean.events
    for side in (0, 1):
        assert abs(lag_of(clean.tracks[side][24_000:96_000], heard.tracks[side], 24_000)) <= 2
        assert not np.array_equal(clean.tracks[side], heard.tracks[side])


def test_noise_bleed_and_room_have_their_levels():
    clean = make()
    spans = [np.r_[tuple(slice(e.start, e.end) for e in clean.events if e.speaker == side)] for side in (0, 1)]
    power = [float(np.mean(clean.tracks[side][spans[side]] ** 2)) for side in (0, 1)]
    noise = [make(snr_db=20.0).tracks[side] - clean.tracks[side] for side in (0, 1)]
    assert [10 * np.log10(power[side] / np.mean(noise[side] ** 2)) for side in (0, 1)] == pytest.approx(
        [20, 20], abs=0.1
    )
    bled = make(bleed_db=-30.0).tracks[0] - clean.tracks[0]
    assert bled == pytest.approx(10 ** (-30 / 20) * clean.tracks[1], abs=1e-4)
    echo = make(room=0.4).tracks[0] - clean.tracks[0]
    assert 10 * np.log10(np.sum(clean.tracks[0] ** 2) / np.sum(echo**2)) == pytest.approx(6, abs=1.5)


def test_voices_by_name_by_persona_and_by_draw():
    named = "kim=espeak:en-gb+f2,espeak:en-us+m3"
    assert [str(voice) for voice in make(voices=named).voices] == ["espeak:en-us+m3", "espeak:en-gb+f2"]
    many = "espeak:en-us+m1,espeak:en-us+m2,espeak:en-us+m3,espeak:en-us+f2"
    pairs = {make(voices=many, number=number).voices for number in range(6)}
    assert len(pairs) > 2
    assert all(first != second for first, second in pairs)


@pytest.mark.parametrize(
    ("voices", "message"),
    [
        ("espeak", "needs two voices"),
        ("espeak:en-us,espeak:xx-nobody", "no voice xx-nobody"),
        ("espeak:en-us,loudly:en", "speech engine loudly does not exist"),
        ("tim=espeak,espeak:en-gb", "names tim, and the script has sam and kim"),
    ],
)
def test_unknown_voices(voices, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        make(voices=voices)


def test_a_bad_conversation_does_not_end_the_others(tmp_path):
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"speaker": "a", "text": "Hello."}\n{"speaker": "b", "text": "你好"}\n', encoding="utf-8")
    summary = sca.synthesize([bad, SHORT], tmp_path / "out", jobs=1)
    assert summary.made == 1
    assert "line 2: the voice espeak:en-gb-x-rp+f2 cannot speak" in summary.failed[0].reason


def test_other_settings_need_another_folder_or_force(tmp_path):
    sca.synthesize(SHORT, tmp_path / "out", jobs=1)
    with pytest.raises(OutputError, match="with other settings"):
        sca.synthesize(SHORT, tmp_path / "out", settings={"synth.seed": 5}, jobs=1)
    assert sca.synthesize("chess", tmp_path / "out", jobs=1, force=True).made == 1
    assert not list((tmp_path / "out" / "WAV").glob(f"*{SHORT}*"))


def test_only_finished_conversations_stay_in_the_corpus(tmp_path):
    root = tmp_path / "out"
    sca.synthesize(SHORT, root, jobs=1)
    line = json.loads((root / "ledger.jsonl").read_text(encoding="utf-8"))
    one = list(conversation_files(root, line["item"]))
    for path in one:  # one that a longer run finished, and one that was in progress when it was killed
        for name in ("S00002-lost-keys", "S00003-lost-keys"):
            if name == "S00002-lost-keys" or path.parent.name in ("WAV", "TXT"):
                path.with_name(path.name.replace(line["item"], name)).write_bytes(path.read_bytes())
    (root / "WAV" / "S3_mine.wav").write_bytes(b"")
    with (root / "ledger.jsonl").open("a", encoding="utf-8") as ledger:
        ledger.write(json.dumps(line | {"item": "S00002-lost-keys"}) + "\n")
    summary = sca.synthesize(SHORT, root, jobs=1)
    assert (summary.made, summary.already, summary.details.others) == (0, 1, 1)
    assert len(list(conversation_files(root, "S00002-lost-keys"))) == 7
    assert not list(conversation_files(root, "S00003-lost-keys"))
    assert (root / "WAV" / "S3_mine.wav").exists()


def test_transcripts_are_written_after_what_is_read_with_them(monkeypatch, tmp_path):
    written = []
    monkeypatch.setattr(layout, "atomic_write", lambda path: written.append(path.parent.name) or atomic_write(path))
    monkeypatch.setattr(layout, "write_json", lambda path, _: written.append(path.parent.name))
    layout.write_conversation(tmp_path, "S00001-x", make(), {"stereo": True})
    assert written == ["WAV", "WORDS", "WAV", "WORDS", "STEREO", "TXT", "TXT", "LABELS"]


def test_a_folder_of_other_files_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="other files"):
        sca.synthesize(SHORT, tmp_path, jobs=1)


def test_hours_make_enough_and_no_more_than_needed(tmp_path):
    summary = sca.synthesize(SHORT, tmp_path / "out", hours=0.02, jobs=1)
    assert 0.02 * 3600 <= summary.audio_s < 0.02 * 3600 + 60
    assert sca.synthesize(SHORT, tmp_path / "out", hours=0.02, jobs=1).made == 0


def test_a_missing_espeak_is_one_clear_error(monkeypatch, tmp_path):
    monkeypatch.setattr(espeak_api, "_FILES", ("libnothing.so",))
    with pytest.raises(MissingToolError, match="espeak-ng is not installed"):
        sca.synthesize(SHORT, tmp_path / "out", jobs=1)
    assert not (tmp_path / "out").exists()


def test_languages_and_styles_of_a_turn(tmp_path):
    path = tmp_path / "two.jsonl"
    lines = [{"speaker": "a", "text": "Guten Morgen.", "language": "de"}, {"speaker": "b", "text": "Good morning."}]
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    assert sca.synthesize(path, tmp_path / "out", jobs=1).made == 1
    lines[0]["language"] = "zz"
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    summary = sca.synthesize(path, tmp_path / "other", jobs=1)
    assert "does not speak zz" in summary.failed[0].reason
    with pytest.raises(InputError):
        list(sca.read_corpus(tmp_path / "other"))
