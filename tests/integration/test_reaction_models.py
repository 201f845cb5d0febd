"""Audience reactions by taggers: ONNX files of every input shape, the real AST class, missing and wrong files."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from sca.audio.vad import SileroVad, speech_segments
from sca.data.reactions.mel import ced_mel, limit_range
from sca.data.reactions.registry import load_detector
from sca.distribution import install_extra
from sca.errors import InputError, MissingToolError, UpstreamError, UsageError
from sca.resources import demo_corpus
from sca.timeline import AudienceEvent
from tests.helpers import tiny_tagger
from tests.helpers.tiny_speaker import write_speaker
from tests.helpers.tiny_tagger import HZ, noise


def with_laughter(samples: np.ndarray, *times: tuple[float, float]) -> np.ndarray:
    mixed = samples.copy()
    for start, end in times:
        mixed[int(start * HZ) : int(start * HZ) + int((end - start) * HZ)] += noise(end - start)
    return mixed


def find_events(model: Path, samples: np.ndarray, speech=()):
    detector = load_detector(str(model))
    assert detector is not None
    return detector.find(samples, speech)


@pytest.fixture(scope="module")
def talk() -> np.ndarray:
    """20 s of the demo's first speaker."""
    with demo_corpus() as folder:
        samples, rate = sf.read(sorted((folder / "WAV").glob("*.flac"))[0], dtype="float32")
    assert rate == HZ
    return samples[: 20 * HZ]


SHAPES = {
    "CED": ("batch", 64, "time"),
    "sherpa's CED": ("batch", "time", 64),
    "one window of 2 s": (1, 64, 200),
    "four windows at once": (4, "time", 64),
    "sound": ("batch", "samples"),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("logits", [False, True], ids=["probabilities", "logits"])
def test_finds_laughter_with_every_input_shape(tmp_path, shape, logits):
    model = tiny_tagger.write(tmp_path / "model.onnx", shape, logits=logits)
    found = find_events(model, with_laughter(np.zeros(20 * HZ, np.float32), (4, 7), (12, 14.5)))
    assert [(event.role, event.content) for event in found] == [("audience", "laughter")] * 2
    assert [event.reaction_type for event in found if isinstance(event, AudienceEvent)] == ["laughter"] * 2
    for event, (start, end) in zip(found, [(4, 7), (12, 14.5)], strict=True):
        assert (event.start, event.end) == pytest.approx((start, end), abs=0.5)


def test_finds_laughter_over_speech(tmp_path, talk):
    model = tiny_tagger.write(tmp_path / "model.onnx")
    padded = np.concatenate([talk, np.zeros(512, np.float32)])
    speech = speech_segments(SileroVad().probabilities(padded), total_samples=len(talk))
    first, last = max(speech, key=lambda span: span[1] - span[0])
    middle = (first + last) / 2 / HZ
    at = (middle - 1.0, middle + 1.0)
    assert first / HZ < middle < last / HZ, "the laughter is during speech"
    assert find_events(model, talk, speech) == []
    [event] = find_events(model, with_laughter(talk, at), speech)
    assert (event.start, event.end) == pytest.approx(at, abs=0.5)
    energy = load_detector("energy")
    assert energy is not None
    assert all(event.end <= middle or event.start >= middle for event in energy.find(with_laughter(talk, at), speech))


@pytest.mark.parametrize("length", [1, 300, 3839, 3841, 30720, 50001])
def test_recordings_of_any_length(tmp_path, length):
    model = tiny_tagger.write(tmp_path / "model.onnx")
    for event in find_events(model, noise(4)[:length]):
        assert 0 <= event.start < event.end <= length / HZ
    assert len(find_events(model, noise(4)[:length])) == int(length > HZ), "two windows of a second are half full"
    assert find_events(model, np.zeros(0, np.float32)) == []


def test_mel_spectrogram_equals_reference():
    from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

    samples = np.random.default_rng(0).normal(0, 0.1, 32001).astype(np.float32)
    filters = mel_filter_bank(257, 64, 0.0, 8000.0, HZ, norm=None, mel_scale="htk")
    hann = window_function(512, "hann", periodic=True)
    wanted = spectrogram(
        samples, hann, 512, 160, 512, power=2.0, mel_filters=filters, log_mel="dB", mel_floor=1e-10, db_range=120.0
    )
    assert limit_range(ced_mel(samples)[None])[0] == pytest.approx(wanted.T, abs=1e-3)
    assert ced_mel(np.zeros(4800, np.float32)).max() == -100
    loud = np.array([[[30.0, -100.0]]], np.float32)
    assert limit_range(loud).tolist() == [[[30.0, -90.0]]]


# --- class names ---


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("labels.txt", "Speech\nLaughter\nApplause\nMusic\n"),
        ("config.json", json.dumps({"id2label": {"1": "Laughter", "0": "Speech", "2": "Applause", "3": "Music"}})),
    ],
)
def test_class_names_beside_the_model(tmp_path, file, text):
    model = tiny_tagger.write(tmp_path / "model.onnx", names=False)
    (tmp_path / file).write_text(text)
    assert [event.content for event in find_events(tmp_path, noise(5))] == ["laughter"]
    assert load_detector(str(model)).name == str(model)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("labels", "Speech\nLaughter\nApplause\nMusic"),
        ("classes", '["Speech", "Laughter", "Applause", "Music"]'),
        ("id2label", '{"0": "Speech", "1": "Laughter", "2": "Applause", "3": "Music"}'),
    ],
)
def test_class_names_in_the_metadata(tmp_path, key, value):
    model = tiny_tagger.write(tmp_path / "model.onnx", names=False, metadata={key: value})
    assert [event.content for event in find_events(model, noise(5))] == ["laughter"]


# --- missing and wrong files ---


def assert_rejected(name: Path | str, kind: type[Exception], *words: str) -> None:
    with pytest.raises(kind) as raised:
        load_detector(str(name))
    error = raised.value
    assert "\n" not in error.message
    assert error.hint
    for word in words:
        assert word in error.message


def test_error_names_what_is_missing(tmp_path):
    assert_rejected(tmp_path / "no.onnx", MissingToolError, "no.onnx")
    assert_rejected(tmp_path, MissingToolError, str(tmp_path), ".onnx")
    model = tiny_tagger.write(tmp_path / "model.onnx", names=False)
    assert_rejected(model, MissingToolError, "class_labels_indices.csv")
    (tmp_path / "ast").mkdir()
    (tmp_path / "ast" / "config.json").write_text('{"model_type": "audio-spectrogram-transformer"}')
    assert_rejected(tmp_path / "ast", MissingToolError, "preprocessor_config.json, model.safetensors")
    assert_rejected("loud", UsageError, "'loud'")
    assert_rejected("owner/no-such-tagger", UpstreamError, "owner/no-such-tagger")


def test_rejects_files_that_are_not_taggers(tmp_path):
    def model(name: str, *arguments, **options) -> Path:
        return tiny_tagger.write(tmp_path / name / "model.onnx", *arguments, **options)

    (tmp_path / "text.onnx").write_text("hello")
    assert_rejected(tmp_path / "text.onnx", InputError, "text.onnx")
    (tmp_path / "a.wav").write_bytes(b"")
    assert_rejected(tmp_path / "a.wav", InputError, "a.wav")
    assert_rejected(write_speaker(tmp_path / "speaker.onnx"), InputError, "speaker.onnx", "80")
    few = model("few")
    few.with_name("class_labels_indices.csv").write_text("index,mid,display_name\n0,/m/0,Laughter\n")
    assert_rejected(few, InputError, "4 classes", "1 names")
    broken = model("broken")
    broken.with_name("class_labels_indices.csv").write_text("index,name\n0,Laughter\n")
    assert_rejected(broken, InputError, "class_labels_indices.csv")
    bad = model("bad", names=False, metadata={"id2label": '{"0": "Laughter", "7": "Speech"}'})
    assert_rejected(bad, InputError, "id2label")
    other = model("other", names=False, metadata={"labels": "cat\ndog\ncar\nbus"})
    assert_rejected(other, InputError, "4 classes")
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text('{"model_type": "bert"}')
    assert_rejected(tmp_path / "bert", InputError, "'bert'")


# --- AST ---


@pytest.fixture(scope="module")
def ast_folder(tmp_path_factory) -> Path:
    """A random AST of the real class, in a folder with the files of the hub, that finds applause everywhere."""
    import torch
    from transformers import ASTConfig, ASTFeatureExtractor, ASTForAudioClassification

    torch.manual_seed(0)
    names = dict(enumerate(tiny_tagger.LABELS))
    config = ASTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_length=256,
        id2label=names,
        label2id={name: i for i, name in names.items()},
    )
    network = ASTForAudioClassification(config)
    with torch.no_grad():
        network.classifier.dense.bias.copy_(torch.tensor([0.0, -20.0, 20.0, -20.0]))
    folder = tmp_path_factory.mktemp("ast")
    network.save_pretrained(folder)
    with pytest.warns(UserWarning, match="mel filter"):
        ASTFeatureExtractor(max_length=256).save_pretrained(folder)
    return folder


def test_finds_applause_with_ast(ast_folder):
    [event] = find_events(ast_folder, np.concatenate([noise(3), np.zeros(HZ, np.float32)]))
    assert (event.start, event.end, event.content) == (0, 4, "applause")


def test_ast_scores_equal_transformers(ast_folder):
    import torch
    from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

    from sca.data.reactions.ast import AstTagger

    samples = with_laughter(np.zeros(10 * HZ, np.float32), (2, 5))
    starts = [i * 8000 for i in range(11)]
    tagger = AstTagger(ast_folder)
    scores = tagger.scores(samples, starts)
    assert scores.shape == (11, 4)
    with pytest.warns(UserWarning, match="mel filter"):
        extractor = AutoFeatureExtractor.from_pretrained(ast_folder)
    network = AutoModelForAudioClassification.from_pretrained(ast_folder).eval()
    for start, row in zip(starts, scores, strict=True):
        features = extractor(samples[start : start + 30720], sampling_rate=HZ, return_tensors="pt")
        with torch.no_grad():
            wanted = torch.sigmoid(network(**features).logits)[0].numpy()
        assert row == pytest.approx(wanted, abs=1e-5)
    assert len({round(float(row[0]), 4) for row in scores}) > 3, "different windows have different scores"


def test_ast_without_torch_names_the_extra(ast_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingToolError) as raised:
        load_detector(str(ast_folder))
    assert install_extra("live") in raised.value.hint


def test_rejects_ast_with_missing_weights(ast_folder, tmp_path):
    from safetensors.torch import load_file, save_file

    for file in ast_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    del weights["classifier.dense.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match="it lacks 1 weight, such as"):
        load_detector(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(InputError, match="cannot be loaded"):
        load_detector(str(tmp_path))
