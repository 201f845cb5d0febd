"""`sca train --check`: a model whose batch has the future in it, or whose live loop differs, is named before the first step."""

from types import SimpleNamespace

import pytest
import torch

from sca.config import load_settings
from sca.control_tokens import Grammar
from sca.data.duplex.build.dataset import build_duplex
from sca.data.duplex.load.dataset import load
from sca.errors import ConfigError, InputError
from sca.tokenizer import load_tokenizer
from sca.train.batches.collate import TrainCollator
from sca.train.check.run import check_training
from sca.train.check.sample import MOST_CHUNKS, piece_of, two_pieces
from sca.train.evaluation.runs import answers_of
from sca.train.tiny import build
from tests.helpers import corpus


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)  # on a busy machine several threads are slower than one


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    root = tmp_path_factory.mktemp("check")
    build_duplex(corpus.short_demo(root / "corpus"), root / "data", corpus.settings(window="4-6", system_prompt="Hi."))
    return list(load(root / "data"))


@pytest.fixture(scope="module")
def model():
    return build(books=3, vocoder_width=16)


def collate(**train):
    settings = load_settings(overrides={f"train.{name}": value for name, value in train.items()}, env={})
    return TrainCollator(load_tokenizer("builtin:qwen"), settings.train, Grammar(151646))


def check(model, rows, learner=None, autocast=None, **train):
    trained = SimpleNamespace(
        thinker=model.thinker,
        learner=learner or model.thinker,
        config=model.config,
        tokenizer=None,
        autocast=autocast,
    )
    return check_training(trained, rows, collate(**train), "sdpa")


class Wrapped(torch.nn.Module):
    """A learner that changes the arguments of the thinker."""

    def __init__(self, thinker, change):
        super().__init__()
        self.inner, self.change = thinker, change

    def forward(self, **batch):
        return self.inner(**self.change(batch))


def positions_of(batch):
    return torch.arange(batch["input_ids"].shape[1]).expand(3, *batch["input_ids"].shape).clone()


@pytest.mark.parametrize("packing", [False, True], ids=["padded", "packed"])
def test_a_right_model_passes(model, rows, packing):
    model.thinker.train()
    state = torch.get_rng_state()
    found = check(model, rows, packing=packing)
    assert found.leak < 1e-5
    assert found.live < 1e-5
    assert found.heard > 1e-2
    assert "later audio changes earlier logits" in str(found)
    assert all(module.training for module in model.thinker.modules())
    assert torch.equal(state, torch.get_rng_state())
    model.thinker.eval()


def test_float32_weights_are_checked_as_they_compute(model, rows):
    found = check(model, rows, autocast=torch.bfloat16)
    assert found.tolerance == 4e-2
    assert 1e-4 < found.live < found.tolerance  # of rounding to bfloat16, which float32 does not have


def test_an_open_mask_hears_the_future(model, rows):
    def open_mask(batch):
        size = batch["input_ids"].shape[1]
        mask = torch.zeros(len(batch["input_ids"]), 1, size, size)
        return {**batch, "attention_mask": mask, "position_ids": positions_of(batch)}

    with pytest.raises(ConfigError, match=r"hears the future with the attention kernel sdpa in float32.*at token \d+"):
        check(model, rows, Wrapped(model.thinker, open_mask))


def test_rows_that_hear_each_other_are_found(model, rows):
    def one_row(batch):
        return {**batch, "position_ids": positions_of(batch)}

    with pytest.raises(ConfigError, match="another row of the batch"):
        check(model, rows, Wrapped(model.thinker, one_row), packing=True)


def test_other_positions_than_in_the_live_loop_are_found(model, rows):
    def stretched(batch):
        return {**batch, "position_ids": positions_of(batch) * 2}

    with pytest.raises(ConfigError, match=r"other logits than the training.*first in chunk 0, after its audio"):
        check(model, rows, Wrapped(model.thinker, stretched))


def test_a_tower_that_mixes_chunks_is_named(model, rows):
    norm = model.thinker.model.audio_tower.layers[1].self_attn_layer_norm
    hook = norm.register_forward_hook(lambda module, inputs, out: out + 0.05 * out.mean(0, keepdim=True))
    try:
        with pytest.raises(ConfigError, match="the audio tower of transformers"):
            check(model, rows)
    finally:
        hook.remove()


def test_a_deaf_model_is_named(model, rows):
    def deaf(batch):
        return {**batch, "input_features": torch.zeros_like(batch["input_features"])}

    with pytest.raises(ConfigError, match="does not hear"):
        check(model, rows, Wrapped(model.thinker, deaf))


def test_pieces_have_the_chunks_of_their_row(rows):
    row = max(rows, key=lambda one: len(one.heard))
    piece = piece_of(row, 2, 9)
    assert answers_of(piece) == answers_of(row)[2:9]
    assert (piece.heard == row.heard[2:9]).all()
    both = two_pieces(rows)
    assert all(4 <= len(one.heard) <= MOST_CHUNKS for one in both)


def test_rows_without_text_cannot_be_checked(rows):
    with pytest.raises(InputError, match="text and silence"):
        two_pieces([piece_of(rows[0], 0, 3)])
