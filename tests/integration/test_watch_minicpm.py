"""The vision engine minicpm: tiny random weights of the classes of transformers, and a checkpoint with its own code."""

import shutil
from typing import ClassVar

import numpy as np
import pytest
import torch

from sca.config import Settings, VisionConfig
from sca.errors import ConfigError, InputError, UpstreamError
from sca.watch.engines.base import AudioPiece, TextPiece, WatchRequest
from sca.watch.engines.registry import load_watch_engine
from scripts.make_tiny_minicpm import save
from tests.helpers import tiny_minicpmo
from tests.helpers.watch_contract import WatchContract, frames_of


def load(folder, **fields):
    vision = VisionConfig(checkpoint=str(folder), device="cpu", temperature=0.0, **fields)
    return load_watch_engine("minicpm", Settings(vision=vision))


def grey(*levels):
    return tuple(frames_of([np.full((56, 56, 3), level, np.uint8) for level in levels]))


def text_of(engine, frames, **fields):
    pieces = list(engine.open().answer(WatchRequest(0, frames, max_tokens=6, **fields)))
    return "".join(p.text for p in pieces if isinstance(p, TextPiece)), pieces


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save(tmp_path_factory.mktemp("minicpm") / "tiny")


@pytest.fixture(scope="module")
def native(folder):
    return load(folder, picture_side=64)


@pytest.fixture(scope="module")
def omni_folder(tmp_path_factory):
    return tiny_minicpmo.save(tmp_path_factory.mktemp("minicpmo") / "tiny_o")


class TestNativeMiniCpm(WatchContract):
    fields: ClassVar[dict] = {"max_tokens": 4}

    @pytest.fixture
    def engine(self, native):
        return native

    @pytest.fixture
    def pictures(self):
        return [np.full((56, 56, 3), level, np.uint8) for level in (40, 220)]


class TestMiniCpmOmni(WatchContract):
    @pytest.fixture
    def engine(self, omni_folder):
        return load(omni_folder, trust_remote_code=True)


def test_answer_streams_and_is_that_of_generate(native):
    request = WatchRequest(0, grey(40, 200), "What is it?", max_tokens=12)
    inputs = native.inputs(request)
    ids = native.model.generate(**inputs, do_sample=False, max_new_tokens=12)[0, inputs["input_ids"].shape[1] :]
    pieces = list(native.open().answer(request))
    assert "".join(p.text for p in pieces) == native.tokenizer.decode(ids, skip_special_tokens=True)
    assert len(pieces) > 1


def test_pictures_change_the_logits(native):
    def logits(*levels):
        inputs = native.inputs(WatchRequest(0, grey(*levels), max_tokens=6))
        with torch.inference_mode():
            return native.model(**inputs).logits[0, -1]

    torch.testing.assert_close(logits(40, 200), logits(40, 200))
    assert (logits(40, 200) - logits(40, 90)).abs().max() > 1e-3
    assert (logits(40, 200) - logits(90, 200)).abs().max() > 1e-3


def test_prompt_has_a_place_for_each_feature(native):
    inputs = native.inputs(WatchRequest(0, grey(10, 20, 30), "Count."))
    words = native.tokenizer
    prompt = words.decode(inputs["input_ids"][0])
    places = inputs["target_sizes"].prod(-1) // 16
    assert prompt.count("<|image_pad|>") == int(places.sum())
    assert "<image_id>2</image_id><image>" in prompt
    assert prompt.rstrip().endswith("<|im_start|>assistant")


def test_oldest_pictures_are_left_out_if_they_do_not_fit(folder):
    small = load(folder, context_tokens=760, picture_side=64)
    many = small.inputs(WatchRequest(0, grey(*range(0, 250, 5)), max_tokens=6))
    assert many["input_ids"].shape[1] <= 754
    assert 1 <= len(many["target_sizes"]) < 50
    with pytest.raises(InputError, match="tokens, and 754 fit"):
        small.inputs(WatchRequest(0, grey(10), "word " * 400, max_tokens=6))


def test_damaged_weights_are_one_line(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match="cannot be loaded") as caught:
        load(copy)
    assert "\n" not in caught.value.message
    with pytest.raises(
        ConfigError, match="this machine has 0 NVIDIA GPUs" if not torch.cuda.is_available() else "GPUs"
    ):
        load_watch_engine("minicpm", Settings(vision=VisionConfig(checkpoint=str(folder), device="cuda:99")))


def test_code_of_the_checkpoint_runs_with_permission_only(omni_folder):
    with pytest.raises(ConfigError, match="needs its own Python code"):
        load(omni_folder)
    engine = load(omni_folder, trust_remote_code=True)
    text, pieces = text_of(engine, grey(40, 200))
    assert text == "Levels: 40 200"
    assert engine.model.roles == ["system", "user"]
    assert not any(isinstance(p, AudioPiece) for p in pieces)
    with pytest.raises(UpstreamError, match="failed: out of memory"):
        text_of(engine, grey(13))


def test_model_speaks_with_the_voice_of_a_recording(omni_folder, tmp_path):
    from sca.resources import demo_corpus

    vocoder = tmp_path / "vocoder"
    vocoder.mkdir()
    for name in ("campplus.onnx", "flow.pt", "flow.yaml", "hift.pt", "speech_tokenizer_v2_25hz.onnx"):
        (vocoder / name).touch()
    with demo_corpus() as corpus:
        recording = next(corpus.glob("WAV/*.flac"))
        engine = load(omni_folder, trust_remote_code=True, own_voice=True, vocoder=vocoder, ref_audio=recording)
    assert engine.info.speaks
    assert engine.model.voice == (True, str(vocoder), False)
    assert engine.model.reference > 16_000
    text, pieces = text_of(engine, grey(40))
    sound = [p for p in pieces if isinstance(p, AudioPiece)]
    assert text == "Levels: 40"
    assert [(p.sample_rate, p.samples.shape, p.samples.dtype) for p in sound] == [(24_000, (2400,), np.float32)] * 3
