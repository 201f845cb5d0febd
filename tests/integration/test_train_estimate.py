"""What a training run needs, counted without memory: equal to what torch allocates and computes in a real step."""

import json

import pytest
import torch
from transformers import Qwen3OmniMoeThinkerConfig, Qwen3OmniMoeThinkerForConditionalGeneration

from sca.config import load_settings
from sca.data.duplex.build.dataset import build_duplex
from sca.tokenizer import load_tokenizer
from sca.train.estimate.counter import WorkCounter
from sca.train.estimate.estimate import Estimate, optimizer_bytes
from sca.train.estimate.machine import Machine
from sca.train.estimate.step import BatchShape, step_work
from sca.train.model.load import empty_thinker
from sca.train.model.prepare import make_trainable
from sca.train.objective.kinds import Kind
from sca.train.objective.label_logits import labelled_places, logits_at_labels
from sca.train.objective.loss import DuplexLoss
from sca.train.tiny import save, tiny_thinker
from scripts.released_omni import released_config
from tests.helpers import corpus
from tests.helpers.command import sca

SEQUENCES, TOKENS, VOCABULARY = 2, 192, 3000
LABELLED = TOKENS // 4


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)  # on a busy machine several threads are slower than one


def learner(device, tmp_path, **train):
    """Return a thinker whose layers weigh as much as its head, float32, made trainable."""
    sizes = tiny_thinker(hidden=192, layers=5)
    sizes["text_config"]["vocab_size"] = VOCABULARY
    config = Qwen3OmniMoeThinkerConfig(**sizes)
    with torch.device(device):
        thinker = Qwen3OmniMoeThinkerForConditionalGeneration._from_config(config, dtype=torch.float32)
    thinker.model.visual = None
    values = {f"train.{name}": value for name, value in train.items()}
    settings = load_settings(overrides=values, env={})
    return make_trainable(thinker, load_tokenizer("builtin:qwen"), config, settings, tmp_path)


def labelled():
    """Return tokens, and labels at the last quarter of each sequence."""
    ids = torch.arange(SEQUENCES * TOKENS).reshape(SEQUENCES, TOKENS) % VOCABULARY
    labels = torch.full((SEQUENCES, TOKENS, 2), -100)
    labels[:, -LABELLED:, 0], labels[:, -LABELLED:, 1] = ids[:, -LABELLED:], Kind.TEXT
    return ids, labels


def real_step(trained, checkpointing):
    """Train a batch, and return the counter of what it allocated and computed."""
    if checkpointing:
        trained.thinker.gradient_checkpointing_enable({"use_reentrant": False})
    trained.learner.train()
    logits_at_labels(trained.thinker)
    ids, labels = labelled()
    loss = DuplexLoss(dict.fromkeys(Kind, 1.0))
    with WorkCounter([*trained.learner.parameters(), *trained.learner.buffers()]) as counter:
        outputs = trained.learner(input_ids=ids, use_cache=False, predicts_label=labelled_places(labels))
        value = loss(outputs, labels)
        del outputs
        value.backward()
    return counter


@pytest.mark.parametrize(
    ("checkpointing", "train"),
    [(True, {"rank": 8}), (False, {"rank": 8}), (True, {"method": "full"}), (False, {"rank": 4, "targets": "experts"})],
)
def test_counted_step_is_the_real_step(tmp_path, checkpointing, train):
    trained = learner("cpu", tmp_path, **train)
    real = real_step(trained, checkpointing)
    shape = BatchShape(SEQUENCES, TOKENS, SEQUENCES * LABELLED, masked=False)
    work = step_work(learner("meta", tmp_path, **train).learner, shape, checkpointing=checkpointing)
    grads = [weight.grad for weight in trained.learner.parameters() if weight.grad is not None]
    assert work.gradient_bytes == sum(grad.numel() * grad.itemsize for grad in grads)
    assert work.peak_bytes == pytest.approx(real.peak_bytes, rel=0.02)
    assert work.flops == pytest.approx(real.flops, rel=0.001)


def test_counter_forgets_what_is_freed():
    held = torch.ones(100, 100)
    with WorkCounter([held]) as counter:
        product = held @ held.T
        assert counter.live_bytes == counter.peak_bytes == 40_000
        del product
        assert (counter.live_bytes, counter.peak_bytes) == (0, 40_000)
    assert counter.flops == 2 * 100**3


def test_parameters_of_the_released_size(tmp_path):
    """The numbers of the model card, and 53.5 M weights of an adapter of rank 64 for attention."""
    config = released_config()
    thinker = empty_thinker(config, torch.bfloat16)
    assert 62.2e9 < sum(weight.numel() * weight.itemsize for weight in thinker.parameters()) < 62.5e9
    trained = make_trainable(thinker, load_tokenizer("builtin:qwen"), config, load_settings(env={}), tmp_path)
    assert trained.trainable_count == 48 * 64 * (2 * (2048 + 4096) + 2 * (2048 + 512)) == 53_477_376


def test_shards_of_several_devices():
    shape = BatchShape(1, 100, 10, masked=False)
    found = Estimate(10, 2, shape, 800, 160, 80, 1000, 50, 5000, layer_bytes=100, root_bytes=30)
    assert found.total_bytes == found.sharded_bytes(1) == 800 + 160 + 80 + 1000 + 50
    assert found.sharded_bytes(8) == (800 + 160 + 80) // 8 + 2 * 100 + 30 + 1000 + 50
    assert found.flops_per_token == 50
    assert Machine("GPU", 2, 10**9, 10**8, 1e12, 0.2, measured=False).seconds(1e12) == 5


def test_states_of_optimisers():
    trained = [(10, 4), (5, 4)]
    sizes = {name: optimizer_bytes(name, trained) for name in ("adamw_torch_fused", "adamw_bnb_8bit", "sgd")}
    assert sizes == {"adamw_torch_fused": 120, "adamw_bnb_8bit": 30, "sgd": 0}


def test_dry_run_prints_what_a_run_needs(tmp_path):
    model = save(tmp_path / "tiny")
    build_duplex(corpus.short_demo(tmp_path / "corpus"), tmp_path / "data", corpus.settings(window="4-6"))
    options = ["--model-path", str(model), "--set", "qwen.device_map=cpu", "--batch-size", "2", "--epochs", "3"]
    found = json.loads(sca("train", str(tmp_path / "data"), "--dry-run", "--json", *options).stdout)
    assert found["schema"] == "sca.train.plan/1"
    assert found["trainable"] == 4 * 64 * (2 * (64 + 64) + 2 * (64 + 32))
    assert found["steps"] == 3 * -(-found["rows"] // 2)
    assert sum(found["labels"].values()) == pytest.approx(1, abs=1e-5)
    assert found["loss"]["turn_start"] > 2 * found["labels"]["turn_start"] > 0
    memory = found["memory_bytes"]
    assert memory["device"] == sum(memory[part] for part in ("weights", "optimizer", "gradients", "activations"))
    assert found["fits"]
    shown = sca("train", str(tmp_path / "data"), "--dry-run", *options).stdout
    assert "of them trained" in shown
    assert "computed: " in shown
    assert (
        list(tmp_path.iterdir()) == [tmp_path / name for name in ("tiny", "corpus", "data")]
        or len(list(tmp_path.iterdir())) == 3
    )
