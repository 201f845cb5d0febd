"""Batches of training on a tiny thinker: packed rows equal rows alone, and logits at labels give the loss of all logits."""

import pickle
from itertools import groupby
from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig, get_peft_model

from sca.config import load_settings
from sca.data.duplex.build.dataset import build_duplex
from sca.data.duplex.load.dataset import load
from sca.errors import UsageError
from sca.tokenizer import load_tokenizer
from sca.train.batches.collate import TrainCollator
from sca.train.batches.loader import train_loader
from sca.train.objective.kinds import IGNORED
from sca.train.objective.label_logits import LABELLED, logits_at_labels
from sca.train.objective.loss import DuplexLoss, kind_weights
from sca.train.tiny import build
from tests.helpers import corpus

WEIGHTS = kind_weights(load_settings(env={}).train)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)  # on a busy machine several threads are slower than one


@pytest.fixture
def thinker():
    return build(books=3, vocoder_width=16).thinker


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Short rows without a prompt, because every token has 152064 logits."""
    root = tmp_path_factory.mktemp("batches")
    build_duplex(corpus.short_demo(root / "corpus"), root / "data", corpus.settings(window="4-6", system_prompt=""))
    return load(root / "data")


@pytest.fixture(scope="module")
def rows(data):
    return data[:3]


def collator(data, **train):
    settings = load_settings(overrides={f"train.{name}": value for name, value in train.items()}, env={})
    return TrainCollator(load_tokenizer("builtin:qwen"), settings.train, data.grammar)


def fed(batch):
    return {name: value for name, value in batch.items() if name != "labels"}


def logits(thinker, batch, **changed):
    """Return all logits of a batch: of a thinker without hooks, which passes the places of labels on to nothing."""
    with torch.no_grad():
        return thinker(**fed(batch) | changed).logits


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_packed_rows_equal_rows_alone(thinker, data, rows, attention):
    thinker.set_attn_implementation(attention)
    batch = collator(data, packing=True)(rows)
    packed = logits(thinker, batch)[0]
    alone = torch.cat([logits(thinker, collator(data)([row]))[0] for row in rows])
    assert len(packed) == sum(len(row.input_ids) for row in rows)
    torch.testing.assert_close(packed, alone, atol=1e-5, rtol=0)
    # Another sound in the first row changes no logit of the others.
    features, first = batch["input_features"].clone(), len(rows[0].input_ids)
    features[: len(rows[0].heard)] = 1.5 - features[: len(rows[0].heard)]
    after = logits(thinker, batch, input_features=features)[0]
    assert (after[:first] - packed[:first]).abs().max() > 0.1
    assert after[first:].equal(packed[first:])
    # A cache would hide from transformers that rows are packed.
    assert (logits(thinker, batch, use_cache=True)[0] - alone).abs().max() > 0.1


def test_packed_labels_are_those_of_the_rows(data, rows):
    batch = collator(data, packing=True)(rows)
    padded = collator(data)(rows)
    inside = padded["attention_mask"].bool()
    assert batch["labels"][0].equal(padded["labels"][inside])
    assert batch["input_features"].equal(padded["input_features"])
    for start in torch.where(batch["position_ids"][0] == 0)[0].tolist():
        assert (batch["labels"][0, start] == IGNORED).all()  # no row predicts the first token of the next
    assert "attention_mask" not in batch
    with pytest.raises(UsageError):
        collator(data)([])


def test_collator_moves_to_workers(data, rows):
    collate = collator(data, packing=True)
    there = pickle.loads(pickle.dumps(collate))(rows)
    assert there["labels"].equal(collate(rows)["labels"])


def test_workers_read_the_same_batches(data):
    settings = {"train.batch_size": 2, "train.seed": 5}
    read = []
    for workers in (0, 2):
        train = load_settings(overrides=settings | {"train.workers": workers}, env={}).train
        loader = train_loader(data, TrainCollator(load_tokenizer("builtin:qwen"), train, data.grammar), train)
        loader.set_epoch(1)
        read.append([batch["input_ids"] for batch in loader])
        assert len(read[-1]) == len(loader) == -(-len(data) // 2)
    assert all(here.equal(there) for here, there in zip(*read, strict=True))
    loader.set_epoch(0)
    assert not all(here.equal(there["input_ids"]) for here, there in zip(read[0], loader, strict=True))


def test_rows_at_a_url_are_read_by_sessions(data):
    """Four sessions at a time, if no number is given: a worker fetches the audio of a session as a whole."""
    far = SimpleNamespace(lengths=[10] * 60, sessions=[f"s{row // 5:02}" for row in range(60)], root="s3://bucket/rows")
    train = load_settings(overrides={"train.workers": 0, "train.batch_size": 5}, env={}).train
    groups = [
        {int(far.sessions[row][1:]) // 4 for row in batch} for batch in train_loader(far, None, train).batch_sampler
    ]
    assert all(len(group) == 1 for group in groups)
    assert [group for group, _ in groupby(groups)] == [groups[0], groups[4], groups[8]]


def gradients(learner, batch, loss):
    """Return the loss, the gradients of what is trained, and the number of logits."""
    learner.zero_grad()
    outputs = learner(**fed(batch))
    value = loss(outputs, batch["labels"])
    value.backward()
    found = {name: weight.grad.clone() for name, weight in learner.named_parameters() if weight.grad is not None}
    return value.detach(), found, outputs.logits.shape


@pytest.mark.parametrize("packing", [False, True])
@pytest.mark.parametrize("hooks_first", [False, True])
def test_logits_at_labels_give_the_same_gradients(thinker, data, rows, packing, hooks_first):
    batch, loss = collator(data, packing=packing)(rows[:2]), DuplexLoss(WEIGHTS)
    thinker.requires_grad_(False)
    hooks = logits_at_labels(thinker) if hooks_first else None
    names = ["model.language_model.layers.0.self_attn.q_proj", "model.language_model.layers.3.self_attn.v_proj"]
    torch.manual_seed(0)
    learner = get_peft_model(
        thinker, LoraConfig(r=2, target_modules=[*names, "lm_head"], init_lora_weights=False)
    ).train()
    hooks = hooks or logits_at_labels(thinker)
    value, found, shape = gradients(learner, batch, loss)
    labels = int((batch["labels"][..., 0] != IGNORED).sum())
    assert shape == (labels, 152_064)
    assert labels == int(batch[LABELLED].sum())
    learner.gradient_checkpointing_enable()
    again, checkpointed, _ = gradients(learner, batch, loss)
    learner.gradient_checkpointing_disable()
    hooks.remove()
    full, every, shape = gradients(learner, batch, loss)
    assert shape == (*batch["input_ids"].shape, 152_064)
    torch.testing.assert_close(value, full)
    torch.testing.assert_close(again, value)
    assert len(every) == 6
    torch.testing.assert_close(found, every)
    torch.testing.assert_close(checkpointed, found)
