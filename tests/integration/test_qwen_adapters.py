"""LoRA adapters as the trainers of others save them: every pair of weights is added where it belongs."""

import copy
import json
import re
from functools import cache

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file

from sca.errors import InputError
from sca.infer.engines.qwen_omni.loading.adapter import merge
from sca.train.tiny import build

PREFIX = "base_model.model."
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
EXPERT = re.compile(r"(?P<holder>.*experts)\.(?P<index>\d+)\.(?P<part>gate|up|down)_proj$")
built = cache(build)


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)  # more threads are slower on a busy machine


def fresh():
    return copy.deepcopy(built())


def of_today(name):
    """The name that a module of the adapter has in the model."""
    name = name if name.startswith(("thinker.", "talker.")) else f"thinker.{name}"
    return name.replace("thinker.model.layers.", "thinker.model.language_model.layers.")


def weight_of(model, name):
    """The matrix that a pair changes: a weight, or a part of the stacked weights of the experts."""
    expert = EXPERT.match(of_today(name))
    if not expert:
        return model.get_parameter(f"{of_today(name)}.weight").detach()
    if expert["part"] == "down":
        return model.get_parameter(f"{expert['holder']}.down_proj").detach()[int(expert["index"])]
    both = model.get_parameter(f"{expert['holder']}.gate_up_proj").detach()[int(expert["index"])]
    return both[: len(both) // 2] if expert["part"] == "gate" else both[len(both) // 2 :]


def attention(stack, layers):
    return [f"{stack}.layers.{i}.self_attn.{leaf}" for i in range(layers) for leaf in ATTENTION]


def experts(stack, layers):
    parts = ("gate_proj", "up_proj", "down_proj")
    return [f"{stack}.layers.{i}.mlp.experts.{e}.{part}" for i in range(layers) for e in range(4) for part in parts]


def saved(folder, names, more=None, **config):
    """Write an adapter with random pairs for these modules, and return the pairs."""
    generator = torch.Generator().manual_seed(0)
    pairs, model = {}, built()
    rank = config.get("rank_pattern", {})
    for name in names:
        outputs, inputs = weight_of(model, name).shape
        r = next((value for key, value in rank.items() if name.endswith(key)), 2)
        pairs[name] = torch.randn(r, inputs, generator=generator), torch.randn(outputs, r, generator=generator)
    weights = {f"{PREFIX}{name}.lora_{half}.weight": w for name, ab in pairs.items() for half, w in zip("AB", ab)}  # noqa: B905
    save_file({**weights, **(more or {})}, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    document = {"base_model_name_or_path": "x", "peft_type": "LORA", "r": 2, "lora_alpha": 2, "bias": "none", **config}
    (folder / "adapter_config.json").write_text(json.dumps(document), encoding="utf-8")
    return pairs


def proved(model, pairs, scale, replaced=()):
    """Each pair is added with its scale, and nothing else has changed."""
    expected = fresh()
    with torch.no_grad():
        for name, (a, b) in pairs.items():
            weight_of(expected, name).add_(scale(name) * (b @ a))
    for name, weight in model.named_parameters():
        if name not in replaced:
            torch.testing.assert_close(weight, expected.get_parameter(name), rtol=1e-5, atol=1e-5, msg=name)


REGEX = r".*(thinker|talker)\.model\.layers\.\d+\.self_attn\.(q|k|v|o)_proj$"
LEAVES = [*ATTENTION, "gate_proj", "up_proj", "down_proj"]
BOTH = [*attention("thinker.model", 4), *attention("talker.model", 2)]
ALL = [*attention("thinker.model", 4), *experts("thinker.model", 4)]
SHARED = [f"talker.model.layers.{i}.mlp.shared_expert.{leaf}" for i in range(2) for leaf in LEAVES[4:]]


@pytest.mark.parametrize(
    ("names", "config", "scale"),
    [
        (BOTH, {"target_modules": REGEX, "lora_dropout": 0.05}, 1),
        (ALL, {"target_modules": LEAVES, "lora_dropout": 0.05}, 1),
        (experts("model", 2)[1::3], {"target_modules": ["up_proj"], "lora_alpha": 8, "use_rslora": True}, 8 / 2**0.5),
        ([*attention("talker.model", 2), *SHARED], {"target_modules": "all-linear"}, 1),
        (attention("model.language_model", 4), {"target_modules": "^(language_model.*_proj)$"}, 1),
    ],
    ids=["regex", "experts", "up of experts, thinker", "shared experts", "regex of today"],
)
def test_every_pair_is_added_where_it_belongs(tmp_path, names, config, scale):
    pairs = saved(tmp_path, names, **config)
    model = fresh()
    merge(model, tmp_path)
    proved(model, pairs, lambda name: scale)


def test_ranks_and_alphas_by_names_of_transformers_4(tmp_path):
    patterns = {
        "rank_pattern": {"layers.1.self_attn.q_proj": 4},
        "alpha_pattern": {"model.layers.2.self_attn.v_proj": 6},
    }
    pairs = saved(tmp_path, ALL, target_modules=LEAVES, **patterns)
    model = fresh()
    merge(model, tmp_path)

    def scale(name):
        return 2 / 4 if "layers.1.self_attn.q_proj" in name else 6 / 2 if "layers.2.self_attn.v_proj" in name else 1

    proved(model, pairs, scale)


def test_dora_changes_directions_and_sets_norms(tmp_path):
    """The norm of each row is the trained magnitude (arXiv 2402.09353, equation 5); in names of transformers 4."""
    names = BOTH[::3]
    norms = {name: torch.linspace(0.5, 2, len(weight_of(built(), name))) for name in names}
    trained = {f"{PREFIX}{name}.lora_magnitude_vector": norm for name, norm in norms.items()}
    pairs = saved(tmp_path, names, trained, target_modules=REGEX, use_dora=True, lora_alpha=4)
    model, expected = fresh(), fresh()
    merge(model, tmp_path)
    with torch.no_grad():
        for name, (a, b) in pairs.items():
            weight = weight_of(expected, name)
            direction = torch.nn.functional.normalize(weight + 4 / 2 * (b @ a), dim=1)
            weight.copy_(norms[name][:, None] * direction)
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight, expected.get_parameter(name), rtol=1e-5, atol=1e-5, msg=name)


def test_dora_of_single_experts_is_refused(tmp_path):
    one = "thinker.model.layers.0.mlp.experts.1.up_proj"
    saved(
        tmp_path, [one], {f"{PREFIX}{one}.lora_magnitude_vector": torch.ones(32)}, target_modules=LEAVES, use_dora=True
    )
    with pytest.raises(
        InputError, match=r"1 of its weights do not exist in it: .*experts\.1\.up_proj\.lora_magnitude_vector"
    ):
        merge(fresh(), tmp_path)


def test_modules_to_save_replace_or_are_named(tmp_path, caplog):
    """`speaker_projection` is a module of the trainer, which the model does not have."""
    head = "talker.code_predictor.lm_head.0.weight"
    replaced = torch.randn_like(built().get_parameter(head))
    more = {f"{PREFIX}{head}": replaced, f"{PREFIX}speaker_projection.weight": torch.zeros(3, 2)}
    names = ["talker.code_predictor", "speaker_projection"]
    pairs = saved(tmp_path, BOTH, more, target_modules=REGEX, modules_to_save=names)
    model = fresh()
    merge(model, tmp_path)
    assert torch.equal(model.get_parameter(head), replaced)
    proved(model, pairs, lambda name: 1, replaced=[head])
    notes = " ".join(caplog.messages)
    assert (
        "1 weight for speaker_projection, a module of its trainer that this model does not have: they are left" in notes
    )
    assert f"replaces 1 weight, such as {head}" in notes


STACKED = ["down_proj", "gate_up_proj"]


@pytest.mark.parametrize("leaves", [STACKED, STACKED[:1], STACKED[1:]], ids=["both", "down", "gate and up"])
def test_stacked_experts_and_lm_head_as_peft_merges_them(tmp_path, caplog, leaves):
    """`target_parameters` is for experts of transformers 5. An adapted lm_head is saved with the weight below it."""
    model, expected = fresh(), fresh()
    parameters = [name for name, _ in model.thinker.named_parameters() if name.endswith(tuple(leaves))]
    names = [*attention("model.language_model", 4), *(["lm_head"] if len(leaves) == 2 else [])]
    config = LoraConfig(r=2, lora_alpha=6, target_modules=names, target_parameters=parameters)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        learner = get_peft_model(expected.thinker, config)
        for name, weight in learner.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight)
    learner.save_pretrained(tmp_path, save_embedding_layers="lm_head" in names)
    learner.merge_and_unload()
    merge(model, tmp_path)
    assert "replaces" not in caplog.text, "the stored lm_head is that of the model"
    changed = 0
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight, expected.get_parameter(name), rtol=0, atol=0, msg=name)
        changed += not torch.equal(weight, built().get_parameter(name))
    assert changed == len(names) + len(parameters)


def test_a_saved_lm_head_of_another_model_replaces_it(tmp_path, caplog):
    head = torch.zeros_like(built().thinker.lm_head.weight)
    saved(tmp_path, BOTH, {f"{PREFIX}thinker.lm_head.base_layer.weight": head}, target_modules=REGEX)
    model = fresh()
    merge(model, tmp_path)
    assert not model.thinker.lm_head.weight.any()
    assert "replaces 1 weight, such as thinker.lm_head.weight" in " ".join(caplog.messages)


def test_trained_rows_of_embeddings(tmp_path):
    model = fresh()
    rows = {"embed_tokens": [5, 151_646]}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = LoraConfig(r=2, target_modules=r"model\.language_model.*q_proj", trainable_token_indices=rows)
        wrapped = PeftModel(torch.nn.ModuleDict({"model": model.thinker.model}), config)
        for name, weight in wrapped.named_parameters():
            if "trainable_tokens_delta" in name:
                torch.nn.init.normal_(weight)
                delta = weight.detach().clone()
    wrapped.save_pretrained(tmp_path)
    merged = fresh()
    merge(merged, tmp_path)
    embeds = merged.thinker.get_input_embeddings().weight.detach()
    assert torch.equal(embeds[[5, 151_646]], delta)
    assert torch.equal(embeds[6:100], built().thinker.get_input_embeddings().weight[6:100])


def test_weights_without_a_place_are_listed(tmp_path):
    def weights(*modules):
        return {f"{PREFIX}{one}.lora_A.weight": torch.zeros(2, 64) for one in modules}

    many = [f"thinker.model.layers.{i}.self_attn.q_proj" for i in range(70, 77)]
    saved(tmp_path, BOTH, weights(*many), target_modules=REGEX)
    with pytest.raises(InputError, match=r"7 of its weights do not exist in it: .*layers\.70\..* and 2 more$"):
        merge(fresh(), tmp_path)
    saved(tmp_path, ALL, weights("thinker.model.layers.0.mlp.experts.9.up_proj"), target_modules=LEAVES)
    with pytest.raises(InputError, match=r"1 of its weights do not exist in it: .*experts\.9\.up_proj"):
        merge(fresh(), tmp_path)
    saved(tmp_path, BOTH, {f"{PREFIX}value_head.weight": torch.zeros(2)}, target_modules=REGEX)
    with pytest.raises(InputError, match=r"value_head\.weight"):
        merge(fresh(), tmp_path)
