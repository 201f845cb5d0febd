"""Word times and guards with real weights: the shipped profile on other speech, and fast speech of short words."""

import subprocess
from collections import Counter

import pytest

from sca.audio.decode import read_audio
from sca.calibrate.material import Piece
from sca.calibrate.measure import measure
from sca.calibrate.subjects import heard_tracks, load_subject
from sca.config import Settings, SynthConfig
from sca.data.transcription.transcriber import corrected_transcription, timeline_of
from sca.data.transcription.whisper import Recognizer, RecognizerOptions
from sca.synth.script import shipped_script
from sca.word_times.profile import find_profile

pytestmark = pytest.mark.weights

FAST = (
    "Okay.",
    "Exactly!",
    "Thank you for calling,",
    "Absolutely.",
    "I told her she could stay until she feels better.",
)


@pytest.fixture(scope="module")
def recognizer(weights):
    return Recognizer(RecognizerOptions(str(weights("whisper-tiny-en")), "cpu", language="en"), cpu_threads=1)


@pytest.fixture(scope="module")
def correction(weights, tmp_path_factory):
    model = str(weights("whisper-tiny-en"))
    profile = find_profile("auto", model, "transcribe", tmp_path_factory.mktemp("empty"))
    assert profile is not None  # it ships with sca
    return profile.correction


def test_shipped_profile_corrects_other_speech(recognizer, correction):
    sound = SynthConfig(seed=4321, voices="espeak:en-us+f4,espeak:en-gb+m7", rate_hz=16_000, snr_db=20)
    piece = Piece(0, shipped_script("lost-keys"), "pink", sound)
    tracks = heard_tracks(piece.spoken(), "pink", load_subject("transcribe", "", Settings(), recognizer))
    before, after = (measure([(track, one) for track in tracks], "pink") for one in (None, correction))
    assert after.matched > 50
    assert after.start_mean_abs_s < min(0.06, 0.8 * before.start_mean_abs_s)
    assert abs(after.start_bias_s) < min(0.03, abs(before.start_bias_s))


@pytest.mark.parametrize("words_a_minute", [230, 300])
def test_fast_speech_of_short_words_loses_nothing(recognizer, correction, tmp_path, words_a_minute):
    """At 1.3 and 1.7 times the usual 175 words a minute."""
    path = tmp_path / "fast.wav"
    subprocess.run(
        ["espeak-ng", "-v", "en-us+m3", "-g", "60", "-s", str(words_a_minute), "-w", path, "\n\n".join(FAST)],
        check=True,
    )
    check_nothing_is_lost(recognizer, correction, path)


def test_short_phrases_alone_lose_nothing(recognizer, correction, trial_data, tmp_path):
    cases = sorted((trial_data / "cases" / "voices").glob("*.flac"))
    if not cases:
        for text in FAST[:3]:
            path = tmp_path / f"{len(cases)}.wav"
            subprocess.run(["espeak-ng", "-w", path, text], check=True)
            cases.append(path)
    for path in cases:
        check_nothing_is_lost(recognizer, correction, path)


def check_nothing_is_lost(recognizer, correction, path):
    samples = read_audio(path, 16_000)
    found = corrected_transcription(recognizer.transcribe(samples), correction)
    recognized = [word.text for segment in found.segments for word in segment]
    words, _ = timeline_of(found, [], len(samples) / 16_000, Counter(), with_words=True)
    assert recognized
    assert [word.text for word in words] == recognized
    assert "too_fast" not in {word.doubt for word in words}
