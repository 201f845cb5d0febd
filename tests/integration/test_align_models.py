"""Word times from models: the real classes with tiny weights, from the audio of an utterance to stored words and report."""

import ast
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

import sca
from sca.data.duplex.align.ctc import CtcAligner, best_path
from sca.data.duplex.align.track import TrackAligner
from sca.data.duplex.align.whisper import WhisperAligner
from sca.data.duplex.build.dataset import build_duplex
from sca.data.duplex.model.counters import AlignmentCounters
from sca.data.duplex.verify.dataset import verify
from sca.errors import InputError, UpstreamError
from sca.resources import demo_corpus
from sca.units import seconds_to_samples
from tests.helpers import corpus
from tests.helpers.tiny_whisper import scripted_whisper

HOP = 320


def samples(seconds):
    return seconds_to_samples(seconds, 16_000)


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


def test_ctc_words_follow_the_best_path(ctc_model):
    import torch
    from transformers import AutoFeatureExtractor, AutoModelForCTC

    audio = corpus.tone(2.0)
    spans = CtcAligner(str(ctc_model)).align("Hi, 42 you!", audio)
    vocabulary = json.loads((ctc_model / "vocab.json").read_text())
    inputs = AutoFeatureExtractor.from_pretrained(ctc_model)(audio, sampling_rate=16_000, return_tensors="pt")
    with torch.inference_mode():
        logits = AutoModelForCTC.from_pretrained(ctc_model).eval()(inputs.input_values).logits[0]
    path = best_path(torch.log_softmax(logits, -1).numpy(), [vocabulary[letter] for letter in "HI|YOU"], 0)
    assert spans == [(path[0][0] * HOP, path[1][1] * HOP), None, (path[3][0] * HOP, path[5][1] * HOP)]


def test_ctc_returns_none_if_nothing_can_be_aligned(ctc_model):
    aligner = CtcAligner(str(ctc_model))
    assert aligner.align("天气 42", corpus.tone(2.0)) is None
    assert aligner.align("far too many letters for this", corpus.tone(0.1)) is None


def test_builds_without_word_times_and_counts_fallbacks(tmp_path, ctc_model):
    source = corpus.pair(tmp_path / "c")
    summary = build_duplex(source, tmp_path / "data", corpus.settings(align="ctc", align_model=str(ctc_model)))
    found = summary.details.report.alignment
    assert (found.method, found.utterances) == ("ctc", 4)
    assert found.aligned + sum(found.fallbacks.values()) == 4
    assert sum(summary.details.report.align_source.values()) == summary.details.report.coverage.words
    assert verify(tmp_path / "data").holds


def test_given_times_take_precedence(tmp_path, ctc_model):
    source = corpus.demo(tmp_path / "c")
    summary = build_duplex(source, tmp_path / "data", corpus.settings(align="ctc", align_model=str(ctc_model)))
    assert summary.details.report.alignment.utterances == 0
    assert set(summary.details.report.align_source) == {"given"}


@pytest.fixture(scope="module")
def whisper_model(tmp_path_factory):
    return scripted_whisper(tmp_path_factory.mktemp("whisper"))


def test_whisper_words_are_matched_with_the_text(whisper_model):
    """The model always recognises its sentence; the text has one more word, one less, and another spelling."""
    aligner = WhisperAligner(str(whisper_model), language="en", suppressed=())
    heard = np.random.default_rng(0).normal(0, 0.1, 5 * 16_000).astype(np.float32)
    spans = aligner.align("HELLO there, really: this is a test of a system", heard)
    assert [span is not None for span in spans] == [True, True, False, True, True, True, True, True, False, True]
    starts = [span[0] for span in spans if span is not None]
    assert starts == sorted(starts)
    assert all(0 <= a <= b <= 5 * 16_000 for a, b in filter(None, spans))
    assert aligner.align("goodbye", heard) is None


def test_builds_with_whisper(tmp_path, whisper_model):
    source = corpus.pair(tmp_path / "c", audio=12.0)
    summary = build_duplex(
        source, tmp_path / "data", corpus.settings(align="whisper", align_model=str(whisper_model), align_language="en")
    )
    assert summary.details.report.alignment.utterances == 4
    assert verify(tmp_path / "data").holds


class _PerfectAligner:
    """Finds words exactly where the corpus has them."""

    def __init__(self, truth, start):
        self.truth, self.start = truth, start

    def align(self, text, audio):
        words = [w for w in self.truth if self.start <= samples(w[1]) < self.start + len(audio)]
        assert len(words) == len(text.split())
        return [(samples(a) - self.start, samples(b) - self.start) for _, a, b in words]


def test_accepts_right_times_and_rejects_wrong_ones(tmp_path):
    with demo_corpus() as shipped:
        name = sorted(path.stem for path in (shipped / "WORDS").iterdir())[0]
        truth = json.loads((shipped / "WORDS" / f"{name}.json").read_text())
        audio, rate = sf.read(next((shipped / "WAV").glob(f"{name}.*")), dtype="int16")
    assert rate == 16_000
    sf.write(tmp_path / "a.wav", audio, rate)
    start, end = samples(truth[0][1]), samples(truth[3][2])
    text = " ".join(word for word, _, _ in truth[:4])
    aligner = TrackAligner(_PerfectAligner(truth[:4], start), tmp_path / "a.wav", "ctc")
    words = aligner(text, start, end)
    assert [w.source for w in words] == ["ctc"] * 4
    assert [w.start for w in words] == [samples(a) for _, a, _ in truth[:4]]
    sf.write(tmp_path / "a.wav", np.zeros_like(audio), rate)
    assert {w.source for w in aligner(text, start, end)} == {"interpolated"}
    assert aligner.counters == AlignmentCounters(2, 1, Counter(not_in_speech=1))


def test_does_not_align_utterances_over_two_minutes(tmp_path):
    aligner = TrackAligner(_PerfectAligner([], 0), tmp_path / "none.wav", "ctc")
    aligner("hello", 0, 16_000 * 121)
    assert aligner.counters.fallbacks["too_long"] == 1


@pytest.mark.parametrize("method", ["ctc", "whisper"])
def test_missing_model_ends_the_run_before_writing(tmp_path, method):
    source = corpus.pair(tmp_path / "c")
    with pytest.raises((UpstreamError, InputError), match="nowhere/nothing"):
        build_duplex(source, tmp_path / "data", corpus.settings(align=method, align_model="nowhere/nothing"))
    assert not (tmp_path / "data").exists()


def test_code_of_a_model_is_never_run(tmp_path, capfd):
    """The folder asks for classes of its own, and nobody is asked whether they may run."""
    auto_map = {"AutoConfig": "configuration_own.OwnConfig", "AutoModelForCTC": "modeling_own.OwnForCTC"}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "own-ctc", "auto_map": auto_map}))
    for module, name in (("configuration_own", "OwnConfig"), ("modeling_own", "OwnForCTC")):
        code = f"import pathlib\npathlib.Path({str(tmp_path / 'ran')!r}).touch()\nclass {name}: pass\n"
        (tmp_path / f"{module}.py").write_text(code)
    with pytest.raises(InputError, match="is not a CTC model"):
        CtcAligner(str(tmp_path))
    assert not (tmp_path / "ran").exists()
    assert "[y/N]" not in capfd.readouterr().out


def test_every_load_of_a_hub_model_refuses_its_code():
    found = 0
    for file in Path(sca.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            owner = ast.unparse(node.func.value)
            # A class with a name of its own does not load code; the Auto classes and those found by name do.
            if node.func.attr == "from_pretrained" and (owner.startswith("Auto") or "getattr" in owner):
                found += 1
                options = {option.arg: ast.unparse(option.value) for option in node.keywords}
                allowed = {"False", "vision.trust_remote_code"}  # an option of the user, who is told what it does
                assert options.get("trust_remote_code") in allowed, f"{file}:{node.lineno}"
    assert found >= 6
