"""The kinds of labels by hand, and the loss against its formula in numpy."""

import numpy as np
import pytest
import torch

from sca.config import load_settings
from sca.control_tokens import ControlTokens, Grammar
from sca.errors import ConfigError
from sca.train.objective.kinds import IGNORED, Kind, label_kinds
from sca.train.objective.label_logits import labelled_places
from sca.train.objective.loss import DuplexLoss, kind_weights
from sca.train.talker.codec import check_talker

SILENCE, HOLD, START, STOP, BACKCHANNEL, HEARD = 1, 2, 3, 4, 5, -7
LETTERS = {".": SILENCE, "h": HOLD, "(": START, "{": BACKCHANNEL, ")": STOP}
SHOWN = {Kind.SILENCE: ".", Kind.TURN_START: "S", Kind.TURN_END: "E", Kind.TEXT: "t", Kind.CONTROL: "c", IGNORED: " "}
PLAIN = Grammar(SILENCE)
HOLDING = Grammar(SILENCE, ControlTokens(hold=HOLD))
ALL = Grammar(SILENCE, ControlTokens(HOLD, START, STOP, BACKCHANNEL))


def kinds_of(answers, grammar, boundaries, segments=(), unlabelled=()):
    """Return the kinds of the answers of chunks, written as in `LETTERS`; segments are pairs of (chunk, k)."""
    ids = [90, 91]  # a prompt
    for answer in answers.split():
        ids += [HEARD, HEARD, *(LETTERS.get(letter, 100) for letter in answer)]
    stored = [{"first_chunk": a, "first_k": b, "last_chunk": c, "last_k": d} for (a, b), (c, d) in segments]
    ids = np.array(ids, np.int32)
    found = label_kinds(ids, HEARD, len(answers.split()), stored, unlabelled, grammar, boundaries)
    assert (found[:2] == IGNORED).all()
    assert (found[ids == HEARD] == IGNORED).all()
    shown = iter("".join(SHOWN[kind] for kind in found[2:][ids[2:] != HEARD]))
    return " ".join("".join(next(shown) for _ in answer) for answer in answers.split())


@pytest.mark.parametrize(
    ("answers", "kinds"),
    [
        (". . xx x. . xx .", ". . St tE . St E"),
        ("xx . . x.", "tt E . SE"),  # at the start of a row nobody knows whether a turn starts
        ("xx xx", "tt tt"),
    ],
)
def test_turns_between_silences(answers, kinds):
    assert kinds_of(answers, PLAIN, "silences") == kinds


@pytest.mark.parametrize(
    ("grammar", "answers", "segments", "kinds"),
    [
        (PLAIN, ". xx . x. . xx .", [((1, 0), (3, 0)), ((5, 0), (5, 1))], ". St . tE . St E"),
        (PLAIN, ". xx xx .", [((1, 0), (1, 1)), ((2, 0), (2, 1))], ". St tt E"),  # no silence between them
        (PLAIN, "x. . xx", [((0, 0), (0, 0)), ((2, 0), (2, 1))], "tE . St"),
        (PLAIN, ". xx", [((1, 0), (1, 1))], ". St"),  # the row ends first
        (HOLDING, ". xx h x. h .", [((1, 0), (3, 0))], ". St c tE c ."),
        (HOLDING, ". xx h xx h .", [((1, 0), (3, 1))], ". St c tt c E"),
        (ALL, ". (x h x. h ). . {x ).", [((1, 1), (3, 0)), ((7, 1), (7, 1))], ". St c t. c E. . St E."),
        (ALL, "h xx ). (x x)", [((1, 0), (1, 1)), ((3, 1), (4, 0))], "c tt E. St tE"),
    ],
)
def test_turns_at_segments(grammar, answers, segments, kinds):
    assert kinds_of(answers, grammar, "segments", segments) == kinds


def test_unlabelled_chunks_have_no_kind():
    assert kinds_of(". xx . .", PLAIN, "silences", unlabelled=[(1, 2), (3, 4)]) == ".    E  "


def random_labels(generator, shape=(2, 9)):
    """Return labels with gaps, in two rows of nine tokens with a vocabulary of 50."""
    tokens = torch.randint(0, 50, shape, generator=generator)
    kinds = torch.randint(0, len(Kind), shape, generator=generator)
    labels = torch.stack([tokens, kinds], -1)
    labels[torch.rand(shape, generator=generator) < 0.4] = IGNORED
    return labels


@pytest.fixture
def drawn():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 9, 50, generator=generator), random_labels(generator)


WEIGHTS = kind_weights(load_settings(env={}).train)


def reference(logits, labels):
    """The formula, in float64: the sum of weighted losses, and the sum of weights."""
    logits, labels = logits.double().numpy(), labels.numpy()
    total = weights = 0.0
    for row in range(len(labels)):
        for at in range(1, labels.shape[1]):
            token, kind = labels[row, at]
            if token != IGNORED:
                before = logits[row, at - 1]
                total -= WEIGHTS[Kind(kind)] * (before[token] - np.log(np.exp(before).sum()))
                weights += WEIGHTS[Kind(kind)]
    return total, weights


def test_loss_is_the_formula(drawn):
    logits, labels = drawn
    loss = DuplexLoss(WEIGHTS)
    total, weights = reference(logits, labels)
    assert loss({"logits": logits}, labels).item() == pytest.approx(total / weights, rel=1e-6)
    assert loss({"logits": logits}, labels, 7.0).item() == pytest.approx(total / 7, rel=1e-6)
    assert loss.weight_sum(labels).item() == pytest.approx(weights, rel=1e-6)
    kept = logits[labelled_places(labels)]
    assert len(kept) < logits[..., 0].numel()
    assert loss({"logits": kept}, labels).item() == pytest.approx(total / weights, rel=1e-6)


def test_accumulated_rows_equal_one_batch(drawn):
    logits, labels = drawn
    loss = DuplexLoss(WEIGHTS)
    whole = logits.clone().requires_grad_()
    loss({"logits": whole}, labels).backward()
    parts = logits.clone().requires_grad_()
    items = sum(loss.weight_sum(labels[i : i + 1]) for i in range(2))
    losses = [loss({"logits": parts[i : i + 1]}, labels[i : i + 1], items) for i in range(2)]
    sum(losses).backward()
    torch.testing.assert_close(parts.grad, whole.grad)


def test_log_has_losses_and_shares_by_kind(drawn):
    logits, labels = drawn
    loss = DuplexLoss(WEIGHTS)
    assert loss.pop_by_kind() == {}
    loss({"logits": logits[:1]}, labels[:1])
    loss({"logits": logits[1:]}, labels[1:])
    found = loss.pop_by_kind()
    shifted = labels[:, 1:][labels[:, 1:, 0] != IGNORED]
    for kind in Kind:
        count = int((shifted[:, 1] == kind).sum())
        assert found.get(f"share_{kind.name.lower()}", 0) == pytest.approx(count / len(shifted))
    kept = labels.clone()
    kept[labels[..., 1] != Kind.TEXT] = IGNORED
    total, weights = reference(logits, kept)
    assert found["loss_text"] == pytest.approx(total / weights, rel=1e-5)
    assert loss.pop_by_kind() == {}


def test_batch_without_labels_has_no_loss(drawn):
    logits, labels = drawn
    logits.requires_grad_()
    nothing = DuplexLoss(WEIGHTS)({"logits": logits}, torch.full_like(labels, IGNORED))
    nothing.backward()
    assert nothing.item() == 0
    assert not logits.grad.any()


@pytest.mark.parametrize(
    ("codes", "message"), [("none", "no codec codes"), ("mimi", "codes of Mimi, and the Qwen3-Omni talker")]
)
def test_talker_is_refused_codes_of_another_codec(codes, message):
    values = {"duplex.codes": codes, "train.talker": True}
    with pytest.raises(ConfigError, match=message):
        check_talker(load_settings(overrides=values, env={}))
    check_talker(load_settings(overrides=values | {"train.talker": False}, env={}))
