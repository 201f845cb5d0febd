"""The fused layers of the slots: few launches, no memory of their own, and the results of the library's modules."""

import copy

import pytest
import torch

from sca.infer.engines.qwen_omni.slots.decoder import Decoder, SlotCache
from sca.infer.engines.qwen_omni.slots.fused import mlp as fused_mlp
from sca.infer.engines.qwen_omni.slots.fused.mlp import Mixture, add_mlp_of
from sca.infer.engines.qwen_omni.slots.fused.predictor import CodePredictor
from sca.infer.engines.qwen_omni.slots.fused.weights import Joined, add_product, is_plain, join
from sca.infer.engines.qwen_omni.streaming.talker import predict_residuals
from sca.infer.engines.qwen_omni.streaming.thinker import ThinkerStream
from sca.train.tiny import build
from scripts.bench.qwen_launches import chunk_launches, counted, part_launches, step_of

RELEASED_LAYERS = {
    "audio tower": 32,
    "thinker, 4 tokens": 48,
    "thinker, 1 token": 48,
    "talker": 20,
    "code predictor": 5,
    "vocoder": 8,
}
IN_A_CHUNK = {
    "audio tower": 1,
    "thinker, 4 tokens": 1,
    "thinker, 1 token": 2,
    "talker": 4,
    "code predictor": 4,
    "vocoder": 1,
}
SILENT = ("audio tower", "thinker, 4 tokens", "thinker, 1 token")


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def model():
    torch.set_num_threads(1)
    return build(books=4)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def separate(step):
    """The launches of the parts without those of another part in them."""
    parts = part_launches(step, slots=1)
    predictor = parts.pop("code predictor in it")
    return parts | {"talker": parts.pop("talker, 1 frame") - predictor, "code predictor": predictor}


def test_launches_of_the_released_size():
    """The layers of a stack launch the same operations, so one and two layers of each give the number for all of them."""
    steps = [step_of(layers, slots=1) for layers in (1, 2)]
    one, two = (separate(step) for step in steps)
    parts = {name: one[name] + (two[name] - one[name]) * (n - 1) for name, n in RELEASED_LAYERS.items()}
    chunks = chunk_launches(steps[0], slots=1)
    for chunk, names, most in (("chunk of silence", SILENT, 4200), ("chunk", IN_A_CHUNK, 11_600)):
        between = chunks[chunk] - sum(one[name] * IN_A_CHUNK[name] for name in names)
        assert sum(parts[name] * IN_A_CHUNK[name] for name in names) + between <= most
    assert parts["code predictor"] <= 1150


def test_views_are_not_launches():
    x, weight = torch.ones(4, 8, device="meta"), torch.ones(8, device="meta")
    assert counted(lambda: x.view(8, 4).t()[1:].unsqueeze(0)).total() == 0
    assert counted(lambda: torch.nn.functional.rms_norm(x @ x.t(), (4,), weight[:4])) == {"mm": 1, "rms_norm": 1}
    assert counted(lambda: x.t().reshape(-1)).total() == 1, "a copy"


def bytes_of(module):
    """The memory of all parameters; shared memory counts once."""
    storages = {weight.untyped_storage()._cdata: weight.untyped_storage() for weight in module.parameters()}
    return sum(storage.nbytes() for storage in storages.values())


def test_joined_weights_use_no_memory(model):
    blocks = copy.deepcopy(model.talker.model.layers[:1])
    before, values = bytes_of(blocks), {name: weight.clone() for name, weight in blocks.state_dict().items()}
    cache = SlotCache(model.talker.config.text_config, 1, 8, model.talker.codec_head.weight)
    cache.keys, cache.values = cache.keys[:1], cache.values[:1]
    stack = torch.nn.Module()
    stack.layers, stack.norm, stack.rotary_emb = blocks, model.talker.model.norm, model.talker.model.rotary_emb
    Decoder(stack, cache)
    assert bytes_of(blocks) == before
    assert all(torch.equal(weight, values[name]) for name, weight in blocks.state_dict().items())
    part = blocks[0].self_attn
    weight = join([part.q_proj, part.k_proj, part.v_proj])
    place = part.q_proj.weight.data_ptr()
    assert weight.data_ptr() == place, "a second engine joins nothing"
    part.k_proj.weight.fill_(3)
    assert (weight[part.q_proj.out_features :][: part.k_proj.out_features] == 3).all()


class Scaled(torch.nn.Linear):
    """A module whose weight is not its matrix, like those of quantised models."""

    def forward(self, x):
        return super().forward(x) * 2


def test_other_modules_are_called():
    plain, scaled = torch.nn.Linear(4, 6), Scaled(4, 6)
    assert is_plain(plain)
    assert not is_plain(scaled)
    x, hidden = draw(3, 4), draw(3, 6)
    for pair in ([plain, scaled], [plain, torch.nn.Linear(4, 6, bias=False)]):
        joined, expected = Joined(pair), torch.cat([one(x) for one in pair], -1)
        assert torch.allclose(joined(x), expected, atol=1e-6)
        assert torch.allclose(joined.into(torch.empty(3, 12), x), expected, atol=1e-6)
    for one in (plain, scaled, torch.nn.Linear(4, 6, bias=False)):
        changed = hidden.clone()
        add_product(changed, one, x)
        assert torch.allclose(changed, hidden + one(x), atol=1e-6)


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize(
    ("experts", "dtype", "error"),
    [("grouped_mm", "float32", 1e-5), ("batched_mm", "float32", 1e-5), ("batched_mm", "float64", 1e-12)],
)
def test_mixture_equals_the_library(model, experts, dtype, error, normalised, monkeypatch):
    """Of thinker and talker, which has a shared expert. Twenty rows are more than one copy of experts."""
    monkeypatch.setattr(fused_mlp, "GATHERED_BYTES", 1 << 18)
    for stack in (model.thinker.model.language_model, model.talker.model):
        mlp = copy.deepcopy(stack.layers[0].mlp).to(getattr(torch, dtype))
        mlp.experts.config = copy.copy(mlp.experts.config)
        mlp.experts.config._experts_implementation, mlp.gate.norm_topk_prob = experts, normalised
        x, hidden = (draw(20, stack.config.hidden_size, seed=seed).to(getattr(torch, dtype)) for seed in range(2))
        expected = hidden + mlp(x[None])[0]
        add = add_mlp_of(mlp)
        assert isinstance(add, Mixture)
        assert 1 < add._rows < 20
        add(hidden, x)
        assert (hidden - expected).abs().max() <= error * expected.abs().max()
        mlp.experts.config._experts_implementation = "eager"
        left = torch.zeros_like(x)
        add(left, x)
        assert torch.equal(left, mlp(x[None])[0])


def test_predictor_equals_its_stream_in_any_batch(model):
    """Its caches are for three slots; one and three of them give the codes and embeddings of each alone."""
    talker = model.talker

    def pick(logits, _noise):
        return logits.argmax(-1, keepdim=True)

    predictor, noise = CodePredictor(talker, 3, pick), torch.zeros(3, 4)
    hidden, first = draw(3, 1, talker.codec_head.in_features), torch.tensor([[5], [900], [2000]])
    for b in (3, 1):
        codes, embeds = predictor(hidden[:b], first[:b], noise[:b])
        for i in range(b):
            alone = predict_residuals(talker, hidden[i : i + 1], first[i : i + 1], lambda logits: pick(logits, None))
            assert torch.equal(codes[i : i + 1], alone)
            tables = [talker.get_input_embeddings(), *talker.code_predictor.model.codec_embedding]
            summed = sum(table(code) for table, code in zip(tables, alone[0], strict=True))
            assert (embeds[i, 0] - summed).abs().max() <= 1e-5 * summed.abs().max()


def test_bfloat16_is_as_exact_as_the_library(model):
    """The error against float32 is not larger than that of the library's layers in bfloat16."""
    thinker, half = model.thinker, copy.deepcopy(model.thinker).to(torch.bfloat16)
    embeds = thinker.get_input_embeddings()(torch.arange(1000, 1012)[None])
    expected = ThinkerStream(thinker).push(embeds)[0]
    library = ThinkerStream(half).push(embeds.bfloat16())[0]
    places = torch.arange(12)[None]
    cache = SlotCache(half.config.text_config, 1, 16, half.get_input_embeddings().weight)
    last, _ = Decoder(half.model.language_model, cache)(embeds.bfloat16(), places, places, 16)
    fused = half.lm_head(last)
    errors = [(logits.float() - expected).pow(2).mean().sqrt() for logits in (fused, library)]
    assert fused.dtype is torch.bfloat16
    assert errors[0] <= 1.2 * errors[1]
