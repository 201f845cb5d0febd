"""Word times from models: real classes with tiny weights, from the audio of an utterance to the stored words and the report."""

import json
from collections import Counter

import numpy as np
import pytest
import soundfile as sf

from sca.data.duplex.align.ctc import CtcWords, best_path
from sca.data.duplex.align.match import CTC, INTERPOLATED
from sca.data.duplex.align.track import TrackAligner
from sca.data.duplex.align.whisper import WhisperWords
from sca.data.duplex.build.dataset import build_duplex
from sca.data.duplex.model.counters import AlignmentCounters
from sca.data.duplex.verify.dataset import verify
from sca.errors import InputError, UpstreamError
from sca.resources import demo_corpus
from tests.helpers import corpus
from tests.helpers.tiny_whisper import scripted_whisper

HOP = 320


@pytest.fixture(scope="module")
def ctc_model(tmp_path_factory):
    """A Wav2Vec2ForCTC with random weights and a vocabulary of letters."""
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

    folder = tmp_path_factory.mktemp("ctc")
    letters = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ'"]
    (folder / "vocab.json").write_text(json.dumps({letter: i for i, letter in enumerate(letters)}))
    torch.manual_seed(0)
    config = Wav2Vec2Config(
        vocab_size=len(letters),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=(16,) * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
        pad_token_id=0,
    )
    Wav2Vec2ForCTC(config).save_pretrained(folder)
    Wav2Vec2CTCTokenizer(str(folder / "vocab.json")).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    return folder


def test_words_stand_where_the_best_path_through_the_emissions_has_them(ctc_model):
    import torch
    from transformers import AutoFeatureExtractor, AutoModelForCTC

    audio = corpus.tone(2.0)
    spans = CtcWords(str(ctc_model)).spans("Hi, 42 you!", audio)
    vocabulary = json.loads((ctc_model / "vocab.json").read_text())
    inputs = AutoFeatureExtractor.from_pretrained(ctc_model)(audio, sampling_rate=16_000, return_tensors="pt")
    with torch.inference_mode():
        logits = AutoModelForCTC.from_pretrained(ctc_model).eval()(inputs.input_values).logits[0]
    path = best_path(torch.log_softmax(logits, -1).numpy(), [vocabulary[letter] for letter in "HI|YOU"], 0)
    assert spans == [(path[0][0] * HOP, path[1][1] * HOP), None, (path[3][0] * HOP, path[5][1] * HOP)]


def test_what_cannot_be_aligned_has_no_spans(ctc_model):
    finder = CtcWords(str(ctc_model))
    assert finder.spans("天气 42", corpus.tone(2.0)) is None
    assert finder.spans("far too many letters for this", corpus.tone(0.1)) is None


def test_a_corpus_without_word_times_is_built_and_every_fallback_is_counted(tmp_path, ctc_model):
    source = corpus.pair(tmp_path / "c")
    summary = build_duplex(source, tmp_path / "data", corpus.settings(align="ctc", align_model=str(ctc_model)))
    found = summary.report.alignment
    assert (found.method, found.utterances) == ("ctc", 4)
    assert found.aligned + sum(found.fallbacks.values()) == 4
    assert sum(summary.report.align_source.values()) == summary.report.coverage.words
    assert verify(tmp_path / "data").holds


def test_given_times_are_used_before_any_model(tmp_path, ctc_model):
    source = corpus.demo(tmp_path / "c")
    summary = build_duplex(source, tmp_path / "data", corpus.settings(align="ctc", align_model=str(ctc_model)))
    assert summary.report.alignment.utterances == 0
    assert set(summary.report.align_source) == {"given"}


@pytest.fixture(scope="module")
def whisper_model(tmp_path_factory):
    return scripted_whisper(tmp_path_factory.mktemp("whisper"))


def test_whispers_words_lend_their_times_to_the_given_text(whisper_model):
    """It always hears its sentence; the given text has a word more, one less, and its own spelling."""
    finder = WhisperWords(str(whisper_model), language="en", suppressed=())
    heard = np.random.default_rng(0).normal(0, 0.1, 5 * 16_000).astype(np.float32)
    spans = finder.spans("HELLO there, really: this is a test of a system", heard)
    assert [span is not None for span in spans] == [True, True, False, True, True, True, True, True, False, True]
    starts = [span[0] for span in spans if span is not None]
    assert starts == sorted(starts)
    assert all(0 <= a <= b <= 5 * 16_000 for a, b in filter(None, spans))
    assert finder.spans("goodbye", heard) is None


def test_a_corpus_is_built_with_whisper(tmp_path, whisper_model):
    source = corpus.pair(tmp_path / "c", audio=12.0)
    summary = build_duplex(
        source, tmp_path / "data", corpus.settings(align="whisper", align_model=str(whisper_model), align_language="en")
    )
    assert summary.report.alignment.utterances == 4
    assert verify(tmp_path / "data").holds


class _Knows:
    """Finds words where a corpus says they are: what a perfect model would."""

    def __init__(self, truth, start):
        self.truth, self.start = truth, start

    def spans(self, text, heard):
        words = [w for w in self.truth if self.start <= round(w[1] * 16_000) < self.start + len(heard)]
        assert len(words) == len(text.split())
        return [(round(a * 16_000) - self.start, round(b * 16_000) - self.start) for _, a, b in words]


def test_right_times_of_real_speech_pass_the_gate_and_wrong_ones_do_not(tmp_path):
    with demo_corpus() as shipped:
        name = sorted(path.stem for path in (shipped / "WORDS").iterdir())[0]
        truth = json.loads((shipped / "WORDS" / f"{name}.json").read_text())
        audio, rate = sf.read(next((shipped / "WAV").glob(f"{name}.*")), dtype="int16")
    assert rate == 16_000
    sf.write(tmp_path / "a.wav", audio, rate)
    start, end = round(truth[0][1] * rate), round(truth[3][2] * rate)
    text = " ".join(word for word, _, _ in truth[:4])
    aligner = TrackAligner(_Knows(truth[:4], start), tmp_path / "a.wav", CTC)
    words = aligner(text, start, end)
    assert [w.source for w in words] == [CTC] * 4
    assert [w.start for w in words] == [round(a * rate) for _, a, _ in truth[:4]]
    sf.write(tmp_path / "a.wav", np.zeros_like(audio), rate)
    assert {w.source for w in aligner(text, start, end)} == {INTERPOLATED}
    assert aligner.counts == AlignmentCounters(2, 1, Counter(not_in_speech=1))


def test_an_utterance_over_two_minutes_is_not_given_to_the_model(tmp_path):
    aligner = TrackAligner(_Knows([], 0), tmp_path / "none.wav", CTC)
    aligner("hello", 0, 16_000 * 121)
    assert aligner.counts.fallbacks["too_long"] == 1


@pytest.mark.parametrize("method", ["ctc", "whisper"])
def test_a_model_that_is_not_there_ends_the_run_before_anything_is_written(tmp_path, method):
    source = corpus.pair(tmp_path / "c")
    with pytest.raises((UpstreamError, InputError), match="nowhere/nothing"):
        build_duplex(source, tmp_path / "data", corpus.settings(align=method, align_model="nowhere/nothing"))
    assert not (tmp_path / "data").exists()
