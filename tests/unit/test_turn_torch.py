"""Turn models in torch: v2 with tiny random weights, v3 with its own; batches, files, compilation, devices."""

import asyncio
import threading

import numpy as np
import pytest
import torch
from transformers import Wav2Vec2FeatureExtractor

from sca.audio.vad import find_silero_model
from sca.config import load_settings
from sca.errors import ConfigError, InputError, MissingToolError
from sca.infer.turn.models.model import DeviceLostError, DeviceMemoryError
from sca.infer.turn.models.smart_turn_v2 import V2_SAMPLES, SmartTurnV2
from sca.infer.turn.models.smart_turn_v3 import SmartTurnV3
from sca.infer.turn.models.smart_turn_v3_torch import SmartTurnV3Torch
from sca.infer.turn.models.stages import Stage
from sca.infer.turn.models.weights import bundled_file
from sca.infer.turn.serving.batcher import BatchPolicy, MicroBatcher
from sca.infer.turn.serving.model_pool import ModelError
from sca.infer.turn.serving.service import TurnService, load_service
from tests.helpers.smart_turn import WAVEFORMS
from tests.helpers.tiny_turn_v2 import tiny_v2

WINDOW = 8000
RNG = np.random.default_rng(3)
ITEMS = [(RNG.standard_normal(n) * 0.1).astype(np.float32) for n in (3000, 8000, 12_000, 700)]


@pytest.fixture(scope="module")
def network():
    return tiny_v2()


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
    with pytest.raises(MissingToolError, match="no GPU"):
        SmartTurnV2.load(folder, "cuda")
    model.capture_graphs([1, 2])
    assert model.captured == []
    assert "need a GPU" in model.notices[0]


def test_uncompiled_model_serves_during_compilation(model):
    gate, warmed = threading.Event(), []

    def compiler(network):
        def call(values, lengths):
            warmed.append(len(values))
            gate.wait(60)
            return network(values, lengths) * 0 + 0.125

        return call

    before = model(ITEMS[0])
    thread = model.compile_in_background([1, 2], compiler)
    assert model.compiled == "compiling"
    assert model(ITEMS[0]) == before != 0.125
    gate.set()
    thread.join(60)
    assert model.compiled is True
    assert warmed[:6] == [1, 1, 1, 2, 2, 2]  # with rows of three lengths
    assert model(ITEMS[0]) == 0.125


@pytest.mark.filterwarnings("ignore:Dynamo detected")  # torch, about itself
@pytest.mark.filterwarnings("ignore:Guards may run slower")  # the same, with Python 3.13.0
def test_compiler_front_end_gives_the_same(model):
    model.lengths = (WINDOW,)  # each shape is compiled
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


def test_batch_uses_the_shortest_rows_that_hold_it(model):
    assert model.lengths == (2400, 4400, 8000)
    seen, forward = [], model._stage.forward

    def record(samples, lengths):
        seen.append((tuple(samples.shape), lengths.tolist()))
        return forward(samples, lengths)

    model._stage = Stage(record)
    for items in ([ITEMS[3]], [ITEMS[3], ITEMS[0]], [ITEMS[3][:100], ITEMS[3]], [ITEMS[1], ITEMS[2]]):
        model.batch(items, len(items))
    assert seen == [((1, 2400), [700]), ((2, 4400), [700, 3000]), ((2, 8000), [100, 700]), ((2, 8000), [8000, 8000])]


@pytest.mark.parametrize("x", [np.zeros(0, np.float32), np.zeros((2, 5), np.float32), np.zeros(5)])
def test_rejects_what_is_no_audio(model, x):
    with pytest.raises(InputError, match=r"float32 \(n,\) with at least one sample"):
        model(x)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), DeviceMemoryError),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
            DeviceMemoryError,
        ),
        (torch.AcceleratorError("CUDA error: an illegal memory access was encountered"), DeviceLostError),
        (RuntimeError("CUDA error: unspecified launch failure\nCompile with TORCH_USE_CUDA_DSA"), DeviceLostError),
        (RuntimeError("shapes do not match"), RuntimeError),
    ],
)
def test_errors_of_a_device_are_told_apart(model, error, expected):
    def fail(samples, lengths):
        raise error

    model._stage = Stage(fail)
    with pytest.raises(expected) as raised:
        model(ITEMS[0])
    assert raised.type is expected
    assert "Compile with" not in str(raised.value)


def test_service_halves_a_batch_that_is_too_large(network):
    """The batcher and the model together: a device whose memory suffices for two rows."""
    model = SmartTurnV2(network, window_samples=WINDOW)
    expected, forward = model.batch(ITEMS, 4), model._stage.forward

    def small(samples, lengths):
        if len(samples) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(samples, lengths)

    model._stage = Stage(small)
    batcher = MicroBatcher(model, BatchPolicy((4,), 600.0), max_queue=0)
    futures = [batcher.submit(lambda item=item: item) for item in ITEMS]
    assert [future.result(60).probability for future in futures] == pytest.approx(expected, abs=1e-5)
    batcher.close(60)


def test_bad_requests_of_a_batch_fail_alone(network):
    """Audio that is not finite, not audio or at no rate is rejected; audio that is too long is cut to its end."""
    model = SmartTurnV2(network, window_samples=WINDOW)
    expected = model.batch(ITEMS, 4)
    batcher = MicroBatcher(model, BatchPolicy((8,), 0.2), max_queue=8)
    service = TurnService(batcher, threshold=0.5, window_samples=WINDOW, max_samples=WINDOW, facts={})
    nan, stereo = np.full(3000, np.nan, np.float32), np.zeros((2, 3000), np.float32)
    long = np.concatenate([np.ones(WINDOW, np.float32), ITEMS[1]])

    async def ask():
        asked = [service.predict(x) for x in (*ITEMS, nan, stereo, long)]
        return await asyncio.gather(*asked, service.predict(ITEMS[0], rate_hz=-1), return_exceptions=True)

    *good, not_finite, not_mono, cut, no_rate = asyncio.run(ask())
    service.close()
    assert [result.probability for result in (*good, cut)] == pytest.approx([*expected, expected[1]], abs=1e-5)
    assert isinstance(not_finite, ModelError)
    assert isinstance(not_mono, Exception)
    assert isinstance(no_rate, Exception)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_v3_in_16_bits_is_close_to_float32(dtype):
    half, full = (SmartTurnV3Torch.load(bundled_file(), "cpu", name) for name in (dtype, "float32"))
    assert (half.dtype, half.precision) == (dtype, "turn.dtype, from int8 weights")
    items = [WAVEFORMS["falling"], WAVEFORMS["long"]]
    assert half.batch(items, 2) == pytest.approx(full.batch(items, 2), abs=0.05)


def test_v3_in_torch_rejects_other_weights_and_int8():
    with pytest.raises(InputError, match="does not have the weights of smart-turn v3"):
        SmartTurnV3Torch.load(find_silero_model(), "cpu")
    with pytest.raises(ConfigError, match="smart-turn v3 in torch has no int8"):
        SmartTurnV3Torch.load(bundled_file(), "cpu", "int8")


def test_service_runs_v3_in_torch_for_16_bits():
    service = load_service(load_settings(overrides={"turn.dtype": "bfloat16"}, env={}).turn)
    try:
        result = asyncio.run(service.predict(WAVEFORMS["long"]))
        status = service.status()
    finally:
        service.close()
    assert result.probability > 0.9
    assert (status["version"], status["device"], status["dtype"]) == ("smart-turn-v3", "cpu", "bfloat16")
    assert status["precision"] == "bfloat16: turn.dtype, from int8 weights"


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_v3_on_a_gpu_equals_onnxruntime(dtype):
    model = SmartTurnV3Torch.load(bundled_file(), "cuda", dtype)
    model.warm_up([4])
    model.capture_graphs([4])
    assert model.captured == [4], model.notices
    reference = SmartTurnV3(bundled_file(), dtype="float32")
    items = list(WAVEFORMS.values())[:4]
    tolerance = 1e-4 if dtype == "float32" else 0.05
    assert model.batch(items, 4) == pytest.approx([reference(item) for item in items], abs=tolerance)


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
