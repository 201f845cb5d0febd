"""Train a tiny random Qwen3-Omni thinker on a data set: its logits depend only on audio up to their chunk."""

import pytest
import torch
from torch.utils.data import DataLoader
from transformers import (
    PreTrainedTokenizerFast,
    Qwen3OmniMoeThinkerConfig,
    Qwen3OmniMoeThinkerForConditionalGeneration,
)

from sca.data.duplex.build.dataset import build_duplex
from sca.data.duplex.load.collate import DuplexCollator
from sca.data.duplex.load.dataset import load
from sca.data.duplex.load.sampler import ResumableSampler
from sca.errors import ConfigError
from sca.tokenizer import load_tokenizer
from sca.train.tiny import GAIN, THINKER_IDS, build, tiny_thinker
from tests.helpers import corpus

AUDIO = THINKER_IDS["audio_token_id"]
FED = ("input_ids", "attention_mask", "input_features", "feature_attention_mask")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)  # on a busy machine several threads are slower than one


@pytest.fixture(scope="module")
def thinker():
    return build().thinker


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The demo set in short rows without a prompt, because the vocabulary is the real one: every token has 152064 logits."""
    root = tmp_path_factory.mktemp("training")
    settings = corpus.settings(window="4-6", system_prompt="", audio_placeholder=-7)
    build_duplex(corpus.demo(root / "corpus"), root / "data", settings)
    return load(root / "data")


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer("builtin:qwen")


@pytest.fixture(scope="module")
def collate(tokenizer):
    return DuplexCollator(tokenizer)


def logits(thinker, batch, **changed):
    with torch.no_grad():
        return thinker(**{name: batch[name] for name in FED} | changed).logits


def test_audio_embeddings_match_placeholders(thinker, data, collate):
    for row in data:
        batch = collate([row])
        with torch.no_grad():
            heard = thinker.get_audio_features(
                batch["input_features"], feature_attention_mask=batch["feature_attention_mask"]
            ).last_hidden_state
        placeholders = int((batch["input_ids"] == AUDIO).sum())
        assert len(heard) == placeholders == data.grid.frames_per_chunk * len(row.heard), row.row_id


def test_later_audio_does_not_change_earlier_logits(thinker, data, collate):
    rows = sorted(data, key=lambda row: len(row.input_ids))[-2:]
    batch = collate(rows)
    before = logits(thinker, batch)
    chunks = len(rows[0].heard)
    for chunk in (0, chunks // 2, chunks - 2):
        features = batch["input_features"].clone()
        features[chunk + 1 : chunks] = 1.5 - features[chunk + 1 : chunks]
        after = logits(thinker, batch, input_features=features)
        # The position of the next chunk's audio; only logits from here on may change.
        heard = (batch["input_ids"][0] == AUDIO).nonzero().flatten()
        first = int(heard[(chunk + 1) * data.grid.frames_per_chunk])
        # Experts multiply their tokens in one batch, so the other tokens of the batch change the last bits.
        n, change = len(rows[0].input_ids), (before - after).abs().amax(-1)
        assert change[0, :first].max() < 1e-4
        assert change[1].max() < 1e-4
        assert change[0, first:n].min() > 1e-2


def test_positions_equal_those_of_the_live_loop(thinker, data, collate):
    batch = collate(list(data)[:2])
    length = batch["input_ids"].shape[1]
    counted = torch.arange(length).expand(3, 2, length)
    there = batch["attention_mask"].bool()
    torch.testing.assert_close(logits(thinker, batch)[there], logits(thinker, batch, position_ids=counted)[there])


def test_batching_does_not_change_a_row(thinker, data, collate):
    rows = sorted(data, key=lambda row: len(row.input_ids))
    short, long = rows[0], rows[-1]
    n = len(short.input_ids)
    together = logits(thinker, collate([long, short]))[1, :n]
    torch.testing.assert_close(together, logits(thinker, collate([short]))[0], rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def learner():
    """A smaller thinker, because here all 152064 logits have gradients. Its embeddings are not trained."""
    config = Qwen3OmniMoeThinkerConfig(**tiny_thinker(hidden=16, layers=2))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Qwen3OmniMoeThinkerForConditionalGeneration(config).float().train()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() >= 2:
                weight.mul_(GAIN)
    model.get_input_embeddings().requires_grad_(False)
    return model


def test_sixty_training_steps_halve_the_loss(learner, data, collate):
    def mean_loss():
        with torch.no_grad():
            losses = [loss_of(learner, collate([row])).item() for row in list(data)[::4]]
        return sum(losses) / len(losses)

    sampler = ResumableSampler(len(data), seed=0)
    loader = DataLoader(data, batch_size=1, sampler=sampler, collate_fn=collate)
    optimiser = torch.optim.AdamW([weight for weight in learner.parameters() if weight.requires_grad], lr=5e-3)
    before, steps = mean_loss(), 0
    while steps < 60:
        sampler.set_epoch(steps // len(data))
        for batch in loader:
            if steps == 60:
                break
            optimiser.zero_grad()
            loss_of(learner, batch).backward()
            torch.nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
            optimiser.step()
            steps += 1
    assert 11 < before < 14  # a uniform guess among 152064 tokens has a loss of 11.9
    assert mean_loss() < before / 2


def loss_of(thinker, batch):
    return thinker(**{name: batch[name] for name in (*FED, "labels")}).loss


@pytest.mark.parametrize("wrapped", [False, True], ids=["tokenizer", "processor"])
def test_accepts_a_transformers_tokenizer(data, tokenizer, collate, tmp_path, wrapped):
    tokenizer.save(tmp_path / "tokenizer.json")
    other = PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"))
    if wrapped:
        other = Processor(other)
    made = DuplexCollator(other)([data[0]])
    assert all(torch.equal(made[name], collate([data[0]])[name]) for name in FED)


class Processor:
    """Has a tokenizer, like every processor of transformers."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer


def test_rejects_a_tokenizer_of_another_family():
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    other = Tokenizer(WordLevel({"hello": 0, "[UNK]": 1}, unk_token="[UNK]"))
    with pytest.raises(ConfigError, match=r"no <\|audio_pad\|>"):
        DuplexCollator(PreTrainedTokenizerFast(tokenizer_object=other, unk_token="[UNK]"))
