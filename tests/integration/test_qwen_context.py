"""Conversations longer than the cache: dropping equals masking, positions never run out, memory is constant, warnings appear."""

import numpy as np
import pytest
import torch

from sca.audio.mel import log_mel
from sca.config import DuplexConfig, QwenConfig
from sca.errors import ConfigError
from sca.infer.engine import SessionConfig
from sca.infer.engines.qwen_omni.streaming.engine import QwenOmni
from sca.infer.engines.qwen_omni.streaming.sampling import Sampler
from sca.infer.engines.qwen_omni.streaming.talker import TalkerStream
from sca.infer.engines.qwen_omni.streaming.thinker import ThinkerStream
from sca.infer.frames import AudioInput, ErrorFrame
from sca.train.tiny import build
from sca.units import Grid
from tests.helpers.omni import qwen_tokenizer

GRID = Grid()


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def model():
    torch.set_num_threads(1)  # more threads are slower on a busy machine
    return build()


class Masked:
    """The same tokens in one forward: absolute positions, and a mask that hides dropped tokens.

    Where the kept chunks move back to the first tokens, the first tokens come a second time instead, that much later:
    rotary attention knows only distances.
    """

    def __init__(self):
        self.embeds, self.places, self.sees = [], [], []
        self.cache, self.later, self.position, self.streamed = [], 0, 0, []

    def take(self, embeds, *, streamed=True):
        for i in range(embeds.shape[1]):
            self._add(embeds[:, i : i + 1], self.position, self.cache)
            self.cache = [*self.cache, len(self.embeds) - 1]
            self.position += 1
            if streamed:
                self.streamed.append(len(self.embeds) - 1)

    def change(self, change):
        del self.cache[change.first : change.first + change.drop]
        if change.back:
            self.later += change.back
            again = []
            for i in range(change.first):
                self._add(self.embeds[i], i + self.later, again)
                again.append(len(self.embeds) - 1)
            self.cache[: change.first] = again

    def _add(self, embed, place, sees):
        self.embeds.append(embed)
        self.places.append(place)
        self.sees.append([*sees, len(self.embeds) - 1])

    def inputs(self):
        n = len(self.embeds)
        mask = torch.full((1, 1, n, n), -torch.inf)
        for row, sees in enumerate(self.sees):
            mask[0, 0, row, sees] = 0
        places = torch.tensor(self.places).view(1, 1, -1).expand(3, 1, -1)
        return {"inputs_embeds": torch.cat(self.embeds, 1), "position_ids": places, "attention_mask": mask}


def close(one, other):
    return (one - other).abs().max() <= 1e-5 * max(1, other.abs().max())


@pytest.mark.parametrize("prompt", [(), tuple(range(100, 111))], ids=["no prompt", "prompt"])
@pytest.mark.parametrize("positions", [65_536, 70], ids=["positions enough", "positions run out"])
def test_dropped_thinker_tokens_are_as_if_masked(model, prompt, positions):
    """Twenty chunks, with room for six."""
    draw = torch.Generator().manual_seed(0)
    stream = ThinkerStream(model.thinker, prompt, budget=48)
    stream.window.positions = positions
    masked, logits, drops, backs = Masked(), [], 0, 0
    if prompt:
        masked.take(stream.embed(list(prompt)), streamed=False)
    opened = stream.window.open_chunk

    def watched(most):
        nonlocal drops, backs
        change = opened(most)
        masked.change(change)
        drops, backs = drops + bool(change.drop), backs + bool(change.back)
        return change

    stream.window.open_chunk = watched
    for chunk in range(20):
        stream.open_chunk(6)
        heard = torch.randn(1, 4, 64, generator=draw)
        for piece in (heard, *(stream.embed([t]) for t in torch.randint(150_000, (1 + chunk % 2,), generator=draw))):
            masked.take(piece)
            logits.append(stream.push(piece)[0])
    whole = model.thinker(**masked.inputs(), use_cache=False).logits[:, masked.streamed]
    streamed = torch.cat(logits, 1)
    assert drops > 5
    assert bool(backs) == (positions < 1000)
    assert close(streamed, whole)
    assert torch.equal(streamed.argmax(-1), whole.argmax(-1))


@pytest.mark.parametrize("positions", [65_536, 60], ids=["positions enough", "positions run out"])
def test_dropped_talker_frames_are_as_if_masked(model, positions):
    marks = model.talker.text_projection(model.thinker.get_input_embeddings()(torch.tensor([[151_671, 151_672]])))
    pad, bos = marks.chunk(2, 1)
    masked, hidden = Masked(), []

    def pushed(_module, _args, given, out):
        masked.take(given["inputs_embeds"])
        hidden.append(out.last_hidden_state)

    hook = model.talker.model.register_forward_hook(pushed, with_kwargs=True)
    try:
        stream = TalkerStream(model.talker, 2302, pad, bos, Sampler(0, 1, 0), budget=40)
        stream.window.positions = positions
        opened = stream.window.open_chunk
        changes = []

        def watched(most):
            changes.append(opened(most))
            masked.change(changes[-1])
            return changes[-1]

        stream.window.open_chunk = watched
        states = torch.randn(40, 1, 1, pad.shape[-1], generator=torch.Generator().manual_seed(0))
        for chunk in range(30):
            stream.open_chunk(4)
            for frame in range(4):
                stream.frame(states[(4 * chunk + frame) % 40])
    finally:
        hook.remove()
    whole = model.talker.model(**masked.inputs(), use_cache=False).last_hidden_state[:, masked.streamed]
    assert sum(bool(change.drop) for change in changes) > 10
    assert any(change.back for change in changes) == (positions < 1000)
    assert close(torch.cat(hidden, 1), whole)


def session_of(model, prompt="", **qwen):
    engine = QwenOmni(model, qwen_tokenizer(), QwenConfig(model_id="tiny", **qwen), DuplexConfig())
    return engine.open(SessionConfig(prompt=prompt))


def chunks(n):
    draw = np.random.default_rng(0)
    for i in range(n):
        samples = (draw.standard_normal(GRID.heard_samples) * 0.1).astype(np.float32)
        yield AudioInput(log_mel(samples)[None], samples, i, i * GRID.heard_samples)


def test_memory_is_constant(model):
    """Thinker, talker and vocoder: as many bytes after 45 chunks as after 25."""
    session = session_of(model, "Be brief.", context_tokens=64, talker_context_frames=64)
    held = [session.held_bytes for one in chunks(45) if session.step(one)]
    per_token, per_frame, per_code = 4 * 2 * 2 * 16 * 4, 2 * 2 * 2 * 16 * 4, 2 * 2 * 4 * 16 * 4
    assert max(held) <= 64 * per_token + 64 * per_frame + 71 * per_code
    assert max(held[25:]) == max(held[18:25])


def test_warns_before_dropping_and_before_positions_end(model, monkeypatch):
    def warnings(session, n):
        return [
            (one.chunk_index, frame.message)
            for one in chunks(n)
            for frame in session.step(one)
            if isinstance(frame, ErrorFrame) and not frame.fatal and frame.sample == one.timestamp + len(one.samples)
        ]

    # 60 s are 187.5 chunks of at most 6 tokens.
    ((at, message),) = warnings(session_of(model, context_tokens=187 * 6 + 20), 6)
    assert at == 2
    assert message == "in 60 s the oldest part of the conversation is dropped (qwen.context_tokens is 1142)"
    monkeypatch.setattr(model.config.thinker_config.text_config, "max_position_embeddings", 187 * 6 + 20)
    (_, drops), (at, message) = warnings(session_of(model, context_tokens=64), 6)
    assert "is dropped" in drops
    assert at == 2
    assert message.startswith("in 60 s the model's 1142 positions are used up")
    assert message.endswith("the session continues")


@pytest.mark.parametrize(
    ("prompt", "qwen", "match"),
    [
        ("word " * 70_000, {}, "70006 tokens, but the model's context ends at 65536"),
        ("word " * 100, {"context_tokens": 100}, "106 tokens, but qwen.context_tokens is 100"),
    ],
)
def test_rejects_a_prompt_longer_than_the_context(model, prompt, qwen, match):
    with pytest.raises(ConfigError, match=match):
        session_of(model, prompt, **qwen)
