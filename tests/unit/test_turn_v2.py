"""smart-turn v2 with tiny random weights: the published network, batches, files, compilation, devices."""

import threading

import numpy as np
import pytest
import torch
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor

from sca.config import load_settings
from sca.errors import ConfigError, InputError
from sca.infer.turn.models.smart_turn_v2 import V2_SAMPLES, SmartTurnV2, network_class
from sca.infer.turn.serving.service import load_service

WINDOW = 8000
RNG = np.random.default_rng(3)
ITEMS = [(RNG.standard_normal(n) * 0.1).astype(np.float32) for n in (3000, 8000, 12_000, 700)]


def tiny():
    torch.manual_seed(0)
    config = Wav2Vec2Config(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=37,
        conv_dim=(16,) * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
    )
    network = network_class()(config)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if name.startswith(("classifier", "pool_attention")) and weight.ndim > 1:
                weight.normal_(std=0.5)
    return network


@pytest.fixture(scope="module")
def network():
    return tiny()


@pytest.fixture
def model(network):
    return SmartTurnV2(network, window_samples=WINDOW)


@pytest.fixture(scope="module")
def folder(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("v2")
    network.save_pretrained(path)
    Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(path)
    return path


def test_batch_equals_single_runs(model):
    together = model.batch(ITEMS, 4)
    assert together == pytest.approx([model(item) for item in ITEMS], abs=1e-5)
    assert len(set(together.round(4))) > 1
    assert model.batch(ITEMS[:3], 16) == pytest.approx(together[:3], abs=1e-5)


def test_uses_the_end_of_long_audio(model):
    assert model(ITEMS[2]) == model(ITEMS[2][-WINDOW:])


def test_network_equals_the_published_one(network, folder):
    from pipecat.audio.turn.smart_turn.local_smart_turn_v2 import _Wav2Vec2ForEndpointing

    theirs = _Wav2Vec2ForEndpointing(network.config).eval()
    theirs.load_state_dict(network.state_dict())
    extractor = Wav2Vec2FeatureExtractor.from_pretrained(folder)
    ours = SmartTurnV2.load(folder, device="cpu")
    assert ours.window_samples == V2_SAMPLES
    for item in ITEMS[:2]:
        inputs = extractor(
            item,
            sampling_rate=16_000,
            padding="max_length",
            truncation=True,
            max_length=V2_SAMPLES,
            return_attention_mask=True,
            return_tensors="pt",
        )
        with torch.no_grad():
            expected = theirs(**inputs)["logits"][0].item()
        assert ours(item) == pytest.approx(expected, abs=1e-5)


def test_loaded_model_equals_the_saved_one(network, folder):
    loaded = SmartTurnV2.load(folder, device="cpu", dtype="float32")
    assert loaded.dtype == "float32"
    again = loaded._network.state_dict()
    assert all(torch.equal(again[name], weight) for name, weight in network.state_dict().items())
    # The weights are identical. A float32 sum depends on their memory layout, on some processors by 1e-6.
    assert loaded(ITEMS[0]) == pytest.approx(SmartTurnV2(network)(ITEMS[0]), abs=1e-5)


def test_bfloat16_is_close_to_float32(folder):
    half, full = (SmartTurnV2.load(folder, "cpu", dtype) for dtype in ("bfloat16", "float32"))
    assert half.dtype == "bfloat16"
    assert half(ITEMS[0]) == pytest.approx(full(ITEMS[0]), abs=0.05)


def test_rejects_other_weights(tmp_path, network):
    network.wav2vec2.save_pretrained(tmp_path)
    with pytest.raises(InputError, match="weights are missing, such as classifier"):
        SmartTurnV2.load(tmp_path, "cpu")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(InputError, match="no smart-turn v2 model"):
        SmartTurnV2.load(tmp_path, "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="tests the behavior without a GPU")
def test_without_a_gpu(folder, model):
    with pytest.raises(ConfigError, match="no GPU"):
        SmartTurnV2.load(folder, "cuda")
    model.capture_graphs([1, 2])
    assert model.captured == []
    assert "need a GPU" in model.notices[0]


def test_uncompiled_model_serves_during_compilation(model):
    gate, warmed = threading.Event(), []

    def compiler(network):
        def call(values, mask):
            warmed.append(len(values))
            gate.wait(60)
            return network(values, mask) * 0 + 0.125

        return call

    before = model(ITEMS[0])
    thread = model.compile_in_background([1, 2], compiler)
    assert model.compiled == "compiling"
    assert model(ITEMS[0]) == before != 0.125
    gate.set()
    thread.join(60)
    assert model.compiled is True
    assert warmed[:2] == [1, 2]
    assert model(ITEMS[0]) == 0.125


@pytest.mark.filterwarnings("ignore:Dynamo detected")  # torch, about itself
@pytest.mark.filterwarnings("ignore:Guards may run slower")  # the same, with Python 3.13.0
def test_compiler_front_end_gives_the_same(model):
    before = model.batch(ITEMS, 4)
    model.compile_in_background([4], lambda net: torch.compile(net, dynamic=False, backend="eager")).join(60)
    assert model.compiled is True, model.notices
    assert model.batch(ITEMS, 4) == pytest.approx(before, abs=1e-5)


def test_failed_compilation_keeps_the_model(model):
    def compiler(network):
        raise RuntimeError("no C++ here")

    before = model(ITEMS[0])
    model.compile_in_background([1], compiler).join(60)
    assert model.compiled is False
    assert model(ITEMS[0]) == before
    assert "no C++ here" in model.notices[0]


def test_service_loads_a_folder(folder):
    import asyncio

    overrides = {"turn.model_id": str(folder), "turn.device": "cpu", "turn.cuda_graphs": True}
    service = load_service(load_settings(overrides=overrides, env={}).turn)
    try:
        result = asyncio.run(service.predict(ITEMS[0]))
        status = service.status()
    finally:
        service.close()
    assert 0 < result.probability < 1
    assert (status["version"], status["buckets"], status["pool"]) == ("smart-turn-v2", [1], 1)
    assert "need a GPU" in status["notices"][0]


@pytest.mark.gpu
def test_cuda_graphs_and_compiler_give_the_same(folder):
    model = SmartTurnV2.load(folder, "cuda", "float32")
    before = model.batch(ITEMS, 4)
    model.warm_up([4, 8])
    model.capture_graphs([4, 8])
    assert model.captured == [4, 8], model.notices
    assert model.batch(ITEMS, 4) == pytest.approx(before, abs=1e-4)
    assert model.batch(ITEMS[:2], 8) == pytest.approx(before[:2], abs=1e-4)
    model.compile_in_background([4]).join(110)
    assert model.compiled is True, model.notices
    assert model.batch(ITEMS, 4) == pytest.approx(before, abs=1e-3)
