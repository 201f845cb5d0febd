"""The correction of word times, and the profiles that have it."""

import json
from dataclasses import replace
from hashlib import sha256

import pytest

from sca.data.duplex.align.track import corrected_spans
from sca.errors import InputError
from sca.word_times.correction import Correction, corrected, lengths
from sca.word_times.profile import Profile, cached_path, find_profile, identity
from sca.word_times.weights import Weights, weights_of

EARLY = Correction(start_s=0.1, end_s=0.1)
SHIFT = Correction(start_s=0.1, end_s=0.1, at_onsets=False)


@pytest.mark.parametrize(
    ("words", "speech", "correction", "expected"),
    [
        ([], [(0, 1)], EARLY, []),
        ([(1.0, 1.3), (1.3, 1.8)], [], SHIFT, [(1.1, 1.4), (1.4, 1.9)]),
        ([(1.0, 1.3)], [(0.5, 2.0)], SHIFT, [(1.1, 1.4)]),
        # The first word after a pause starts where speech does, the next one is shifted.
        ([(1.0, 1.5), (1.5, 2.0)], [(1.25, 3.0)], EARLY, [(1.25, 1.6), (1.6, 2.1)]),
        # A word that lies in the pause before the onset belongs to the speech after it.
        ([(0.0, 0.4), (0.6, 1.2)], [(0.1, 0.5), (1.0, 2.0)], EARLY, [(0.1, 0.5), (1.0, 1.3)]),
        # Too far from the onset: shifted only.
        ([(0.0, 0.4)], [(4.0, 5.0)], EARLY, [(0.1, 0.5)]),
        # A shift back does not go below 0, and not below the word before.
        ([(0.1, 0.2), (0.2, 0.3)], [], Correction(-0.15, 0, at_onsets=False), [(0.0, 0.05), (0.05, 0.3)]),
    ],
)
def test_corrected_times(words, speech, correction, expected):
    found = corrected(words, speech, correction)
    assert [time for pair in found for time in pair] == pytest.approx([time for pair in expected for time in pair])


def test_starts_depend_on_the_lengths_of_words():
    """After 8 letters 0.04 s later; 3 letters that take 0.45 s begin 0.1 s later; a word after a gap has none before."""
    words = [(0.0, 0.5), (0.5, 0.95), (1.5, 1.75)]
    by_length = replace(SHIFT, before_letter_s=0.01, letter_s=0.0, length_share=0.5)
    found = corrected(words, [], by_length, ["everyone", "and", "so"])
    assert [start for start, _ in found] == pytest.approx([0.1 - 0.04 + 0.125, 0.6 + 0.04 + 0.1, 1.6 - 0.04])
    assert corrected(words, [], by_length) == corrected(words, [], SHIFT)


def test_lengths_of_words_in_other_scripts_are_not_corrected():
    words = [(0.0, 0.5), (0.5, 0.9), (0.9, 1.3)]
    assert lengths(words, ["你好", "a", "b"]) == [None, None, (-3, -3, pytest.approx(0.15))]
    assert lengths(words, ["…", "über", "1999."]) == [None, None, (0, 0, pytest.approx(0.15))]


def test_start_at_an_onset_does_not_depend_on_lengths():
    found = corrected([(1.0, 1.5)], [(1.25, 3.0)], replace(EARLY, length_share=0.5), ["everyone"])
    assert found[0][0] == 1.25


def test_aligned_spans_keep_words_that_were_not_found():
    spans = [(16_000, 24_000), None, (24_000, 32_000)]
    assert corrected_spans(["a", "b", "c"], spans, [], SHIFT, 32_000) == [(17_600, 25_600), None, (25_600, 32_000)]


def profile(weights, use="transcribe", **changes):
    numbers = {
        "start_s": 0.1,
        "end_s": 0.0,
        "onset_s": 0.0,
        "at_onsets": True,
        "early_weight": 0.5,
        "made_with": {"seed": 1},
    }
    return Profile(model="m", weights_sha256=weights.sha256, weights_bytes=weights.size, use=use, **(numbers | changes))


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.bin").write_bytes(b"weights")
    return folder


@pytest.fixture
def weights(model, tmp_path):
    found = weights_of(str(model), tmp_path)
    assert found == Weights(sha256(b"weights").hexdigest(), 7)
    return found


def save(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content.model_dump_json(), encoding="utf-8")
    return path


def test_profile_of_exactly_this_model_is_used(model, weights, tmp_path):
    assert find_profile("auto", str(model), "transcribe", tmp_path) is None
    mine = profile(weights)
    save(cached_path(weights, "transcribe", tmp_path), mine)
    assert find_profile("auto", str(model), "transcribe", tmp_path) == mine
    assert find_profile("none", str(model), "transcribe", tmp_path) is None
    assert find_profile("auto", str(model), "ctc", tmp_path) is None
    (model / "model.bin").write_bytes(b"Weights")
    assert find_profile("auto", str(model), "transcribe", tmp_path) is None


def test_given_profile_must_fit(model, weights, tmp_path):
    path = save(tmp_path / "p.json", profile(weights))
    assert find_profile(str(path), str(model), "transcribe", tmp_path) == profile(weights)
    with pytest.raises(InputError, match="measured for transcribe, not for ctc"):
        find_profile(str(path), str(model), "ctc", tmp_path)
    other = save(tmp_path / "o.json", profile(Weights("0" * 64, 7)))
    with pytest.raises(InputError, match="of other weights than") as caught:
        find_profile(str(other), str(model), "transcribe", tmp_path)
    assert "sca calibrate --model" in caught.value.hint
    with pytest.raises(InputError, match="cannot be read: No such file"):
        find_profile(str(tmp_path / "gone.json"), str(model), "transcribe", tmp_path)


@pytest.mark.parametrize("text", ["", "{", '{"version": 2}', "[]", "\x00"])
def test_corrupt_profile_is_named(model, weights, tmp_path, text):
    path = cached_path(weights, "transcribe", tmp_path)
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=f"{path.name} is not a profile of sca calibrate") as caught:
        find_profile("auto", str(model), "transcribe", tmp_path)
    assert "--profile none" in caught.value.hint


def test_identity_has_only_the_numbers(weights):
    assert identity(None) == {}
    changed = profile(weights, made_with={"seed": 2})
    assert identity(profile(weights)) == identity(changed)
    assert identity(profile(weights, start_s=0.2)) != identity(changed)
    assert json.loads(str(identity(changed)["word_times"])) == {
        "start_s": 0.1, "end_s": 0.0, "onset_s": 0.0, "at_onsets": True, "early_weight": 0.5
    }  # fmt: skip
    assert str(changed).startswith("word times corrected by +0.10 s, starts")
    by_length = profile(weights, length_share=0.4)
    assert '"length_share": 0.4' in str(identity(by_length)["word_times"])
    assert "by +0.10 s, by the lengths of words, starts after pauses" in str(by_length)


def test_models_of_the_catalogue_need_no_file(tmp_path):
    found = weights_of("whisper-base", tmp_path)
    assert found is not None
    assert found.size > 100e6
    assert weights_of("yamnet", tmp_path) is None
    assert weights_of(str(tmp_path), tmp_path) is None
