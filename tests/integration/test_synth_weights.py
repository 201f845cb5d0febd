"""Synthetic conversations with real weights: Piper's voice, and a recognizer against the truth."""

import json

import numpy as np
import pytest

import sca
from sca.config import SynthConfig
from sca.synth.conversation import make_conversation
from sca.synth.score import score
from sca.synth.script import shipped_script
from sca.synth.timing import TIMINGS
from sca.timeline import read_shows

pytestmark = pytest.mark.weights

VOICES = "piper:joe,espeak:en-gb-x-rp+f2"


def test_a_recognizer_is_measured_against_the_truth(weights, tmp_path):
    weights("piper-joe")
    corpus = tmp_path / "talk"
    sca.synthesize("cafe", corpus, settings={"synth.voices": VOICES, "synth.seed": 1}, jobs=1)
    model = str(weights("whisper-tiny-en"))
    sca.transcribe(corpus / "WAV", tmp_path / "shows.jsonl", model=model, device="cpu", language="en", jobs=1)
    heard = {
        show.video_id: [(w.word, w.start, w.end) for w in show.words]
        for _, show in read_shows(tmp_path / "shows.jsonl")
    }
    truth = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in (corpus / "WORDS").iterdir()}
    assert heard.keys() == truth.keys()
    found = score((truth[name], heard[name]) for name in truth)
    table = found.document()
    assert found.error_rate < 0.25
    assert len(found.starts_s) > 90
    assert abs(table["start"]["bias_s"]) < 0.2  # truth and sound have one time line
    assert table["start"]["p95_abs_s"] < 0.8


def test_piper_speaks_the_same_conversation_again(weights):
    weights("piper-joe")
    first, again = (
        make_conversation(shipped_script("lost-keys"), SynthConfig(voices=VOICES), TIMINGS["switchboard"])
        for _ in range(2)
    )
    assert first.events == again.events
    assert all(np.array_equal(*tracks) for tracks in zip(first.tracks, again.tracks, strict=True))
