"""`sca calibrate`: a profile is measured, used, resumed; bad input is one line."""

import json

import pytest
import soundfile
from typer.testing import CliRunner

from sca.calibrate.measure import fit, measure
from sca.calibrate.tracks import FoundSegment, HeardTrack
from sca.cli.main import app
from sca.data.transcription.transcribe import ledger_of
from sca.timeline import read_shows
from sca.word_times.correction import Correction
from sca.word_times.profile import read_profile
from tests.helpers.tiny_whisper import scripted_whisper

VOICES = "espeak:en-us+m3,espeak:en-gb-x-rp+f2"


@pytest.fixture(scope="module")
def whisper(tmp_path_factory):
    return scripted_whisper(tmp_path_factory.getbasetemp())


def sca(*words, code=0):
    done = CliRunner().invoke(app, list(map(str, words)))
    assert done.exit_code == code, done.output
    return done


def calibrate(whisper, cache, *words, code=0):
    options = ("--set", f"paths.cache_dir={cache}", "--minutes", 0.1, "--voices", VOICES)
    return sca("calibrate", "--model", whisper, *options, *words, code=code)


def track(shift_s, *, noise="clean"):
    """Return a track whose words are found `shift_s` too late, and after the pause 0.3 s earlier than that."""
    truth = [(f"w{n}", n * 0.3, n * 0.3 + 0.25) for n in range(1, 6)]
    truth += [(f"w{n}", n * 0.3 + 2, n * 0.3 + 2.25) for n in range(6, 11)]
    found = [(f" {text}", start + shift_s, end + shift_s, 0.9) for text, start, end in truth]
    found[5] = (found[5][0], found[5][1] - 0.3, found[5][2], 0.9)
    segment = FoundSegment(words=tuple(found), evidence=(-0.2, 0.0, 1.2))
    voiced = ((0.3, 1.75), (3.8, 5.25))
    return HeardTrack(noise=noise, voice="v", audio_s=6.0, truth=tuple(truth), found=(segment,), voiced=voiced)


def test_fit_removes_what_is_constant_and_the_pause():
    tracks = [track(0.12), track(0.12)]
    correction = fit(tracks)
    assert (correction.start_s, correction.at_onsets) == (-0.12, True)
    before, after = (measure([(one, c) for one in tracks], "all") for c in (None, correction))
    assert before.start_bias_s == pytest.approx(0.09)
    assert (after.start_bias_s, after.start_mean_abs_s, after.wer) == (0.0, 0.0, 0.0)


def test_fit_finds_the_part_that_depends_on_lengths():
    """Starts that are 0.02 s too early per letter of the word before, beyond four."""
    texts = ["it", "was", "seen", "often", "before", "or", "longer"] * 20
    truth = [(text, n * 0.3, n * 0.3 + 0.3) for n, text in enumerate(texts)]
    starts = [0.0, *(start - 0.02 * (len(texts[n]) - 4) for n, (_, start, _) in enumerate(truth[1:]))]
    ends = [*starts[1:], truth[-1][2]]
    words = [(f" {text}", start, end, 0.9) for text, start, end in zip(texts, starts, ends, strict=True)]
    segment = FoundSegment(words=tuple(words), evidence=(-0.2, 0.0, 1.2))
    one = HeardTrack(
        noise="clean", voice="v", audio_s=43.0, truth=tuple(truth), found=(segment,), voiced=((0.0, 42.0),)
    )
    correction = fit([one])
    shift = Correction(correction.start_s, correction.end_s, at_onsets=False)
    before, after = (measure([(one, c)], "all").start_mean_abs_s for c in (shift, correction))
    assert (before > 0.02, after < 0.005) == (True, True)


def test_errors_of_seconds_are_not_corrected():
    assert fit([track(5.0)]) == Correction(at_onsets=False)


def test_words_are_counted_as_lost_unsure_and_invented():
    one = track(0.0)
    words = one.found[0].words[:-2]
    noise = FoundSegment(words=((" Thanks", 30.0, 30.3, 0.9),), evidence=(-0.2, 0.0, 1.2))
    changed = one.model_copy(update={"found": (FoundSegment(words=words, evidence=(-0.2, 0.0, 1.2)), noise)})
    found = measure([(changed, None)], "all")
    assert (found.words, found.matched, found.lost, found.unsure) == (10, 8, 1, 1)
    assert (found.invented, found.invented_sure) == (1, 0)  # the VAD finds no speech there


def test_profile_is_made_used_and_made_again(whisper, tmp_path):
    cache = tmp_path / "cache"
    first = json.loads(calibrate(whisper, cache, "--json").stdout)
    path = cache / "calibration"
    (made,) = path.glob("transcribe-*.json")
    profile = read_profile(made)
    assert first["profile"] == str(made)
    assert [row["noise"] for row in first["before"]] == ["all", "clean"]
    assert first["before"][0]["words"] > 60
    ledger = next(path.glob("*/ledger.jsonl"))
    content, stamp = made.read_bytes(), ledger.read_bytes()
    made.unlink()
    done = calibrate(whisper, cache)
    assert "1 of 1 done" not in done.stderr  # the ledger has the conversation
    assert (made.read_bytes(), ledger.read_bytes()) == (content, stamp)
    assert str(profile) in done.stdout
    assert profile.made_with["conversations"] == 1
    ledger.write_bytes(b"")  # as after an interruption before the first conversation
    made.unlink()
    calibrate(whisper, cache, "-o", tmp_path / "mine.json")
    assert (tmp_path / "mine.json").read_bytes() == content
    assert not made.exists()


def transcribed(whisper, source, save_file, *words):
    options = ("--model", whisper, "--device", "cpu", "--language", "en", "--reactions", "none", *words)
    done = sca("transcribe", source, "--save-file", save_file, *options, "-q", "--json")
    (show,) = (show for _, show in read_shows(save_file))
    return json.loads(done.stdout), [word.start for word in show.words]


def test_transcribe_applies_the_profile_and_records_it(whisper, trial_data, tmp_path):
    cache = ("--set", f"paths.cache_dir={tmp_path / 'cache'}")
    source = tmp_path / "jfk.wav"
    samples, rate = soundfile.read(trial_data / "clips" / "jfk.flac")
    soundfile.write(source, samples, rate)
    lines = tmp_path / "lines.jsonl"
    summary, plain = transcribed(whisper, source, lines, *cache)
    assert summary["word_times"] is None
    calibrate(whisper, tmp_path / "cache")
    (path,) = (tmp_path / "cache" / "calibration").glob("*.json")
    document = json.loads(path.read_text())
    path.write_text(json.dumps(document | {"start_s": 0.2, "end_s": 0.2, "at_onsets": False}))
    summary, shifted = transcribed(whisper, source, lines, *cache)
    assert summary["made"] == 1
    assert summary["word_times"].startswith("word times corrected by +0.20 s (profile ")
    assert shifted != plain
    assert shifted[1] - plain[1] == pytest.approx(0.2, abs=0.01)
    assert "word times corrected by +0.20 s" in ledger_of(lines).read_text()
    assert transcribed(whisper, source, lines, *cache)[0]["already"] == 1
    summary, again = transcribed(whisper, source, lines, *cache, "--profile", "none")
    assert (summary["made"], again) == (1, plain)
    summary, given = transcribed(whisper, source, lines, "--profile", path)
    assert (summary["made"], given) == (1, shifted)


def test_bad_input_is_one_line(whisper, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    monkeypatch.setenv("SCA_CACHE_DIR", str(cache))  # has no model in it
    assert "unknown use dance" in calibrate(whisper, cache, "--use", "dance", code=2).stderr.replace("'", "")
    assert "--minutes should be" in calibrate(whisper, cache, "--minutes", 0, code=2).stderr
    missing = calibrate("whisper-base", cache, code=4).stderr
    assert "the model whisper-base is not on this machine" in missing
    assert "sca models get whisper-base" in missing
    (tmp_path / "file").write_text("")
    assert "is not a folder" in calibrate(whisper, cache, "-o", tmp_path / "file" / "p.json", code=5).stderr
    (tmp_path / "bad.json").write_text("{}")
    wrong = sca("transcribe", tmp_path, "--model", whisper, "--profile", tmp_path / "bad.json", code=5).stderr
    assert "bad.json is not a profile of sca calibrate" in wrong
