"""The live loop and the training rows are equal: a row replayed as a session gives its tokens, features and logits."""

import numpy as np
import pytest
import torch

import sca.audio.mel
import sca.data.duplex.load.collate
import sca.infer.engines.qwen_omni.streaming.engine
import sca.infer.session.engine_runner
from sca.config import QwenConfig
from sca.data.duplex.build.dataset import build_duplex
from sca.data.duplex.load.collate import DuplexCollator
from sca.data.duplex.load.dataset import load
from sca.infer.engine import SessionConfig
from sca.infer.engines.qwen_omni.slots.engine import SlotOmni
from sca.infer.engines.qwen_omni.streaming.engine import QwenOmni
from sca.infer.frames import AudioInput, AudioOutput, ThoughtPacket, TurnEnd
from sca.train.tiny import THINKER_IDS, build
from tests.helpers import corpus
from tests.helpers.omni import qwen_tokenizer

AUDIO = THINKER_IDS["audio_token_id"]
PROMPT = "Be brief."
SILENCE, HOLD, START, STOP, NOD = range(151_646, 151_651)
CONTROLS = {"hold_id": HOLD, "start_id": START, "stop_id": STOP, "backchannel_id": NOD}


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def model():
    torch.set_num_threads(1)  # more threads are slower on a busy machine
    return build()


@pytest.fixture(scope="module")
def settings():
    return corpus.settings(window="2-4", system_prompt=PROMPT)


@pytest.fixture(scope="module")
def row(tmp_path_factory, settings):
    """A row with text and silence."""
    root = tmp_path_factory.mktemp("rows")
    build_duplex(corpus.demo(root / "corpus"), root / "data", settings)
    return min(load(root / "data"), key=lambda row: (abs(np.sum(row.input_ids == SILENCE) - 5), len(row.input_ids)))


@pytest.fixture(scope="module")
def with_controls():
    return corpus.settings(window="2-4", system_prompt=PROMPT, **CONTROLS)


@pytest.fixture(scope="module")
def marked(tmp_path_factory, with_controls):
    """The shortest row with control tokens of each kind, by content."""
    root = tmp_path_factory.mktemp("marked")
    build_duplex(corpus.demo(root / "corpus"), root / "data", with_controls)
    rows = sorted(load(root / "data"), key=lambda row: len(row.input_ids))
    wanted = {
        "a turn": ["start", "hold", "stop"],
        "a nod": ["backchannel", "stop"],
        "the end of one": ["hold", "stop"],
    }
    return {
        name: next(row for row in rows if [mark.name for mark in row.controls] == marks)
        for name, marks in wanted.items()
    }


class Fed:
    """Record the input of the thinker and of the audio encoder and the output of the thinker, while it selects `choices`.

    A choice a forward; None leaves the logits as they are.
    """

    def __init__(self, model, choices):
        self.embeds, self.logits, self.features, self._choices = [], [], [], choices
        self._hooks = [
            model.thinker.register_forward_pre_hook(self._thought, with_kwargs=True),
            model.thinker.model.audio_tower.register_forward_pre_hook(self._heard, with_kwargs=True),
            model.thinker.lm_head.register_forward_hook(self._chosen),
        ]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for hook in self._hooks:
            hook.remove()

    def _thought(self, _module, _args, given):
        self.embeds.append(given["inputs_embeds"][0])

    def _heard(self, _module, args, given):
        self.features.append(args[0] if args else given["input_features"])

    def _chosen(self, _module, _inputs, logits):
        self.logits.append(logits[0])
        choice = self._choices.pop(0)
        return logits if choice is None else logits + 1e6 * (torch.arange(logits.shape[-1]) == choice)


def answers_of(settings, row):
    """The text tokens of each chunk of a row."""
    frames = settings.grid.frames_per_chunk
    chunks = np.split(row.input_ids, np.flatnonzero(row.input_ids == row.placeholder)[::frames])[1:]
    return [chunk[frames:].tolist() for chunk in chunks]


def replay(model, settings, row, *, features, steps=None):
    """Replay a row; return the answers of the session and the input of the thinker.

    `steps` receives the frames of each step.
    """
    qwen = QwenConfig(model_id="tiny", talker_temperature=0)
    engine = QwenOmni(model, qwen_tokenizer(), qwen, settings.duplex)
    texts = answers_of(settings, row)
    # The first forward is the prompt. Every forward of a chunk but the last selects a token; silence after text is not
    # selected.
    choices = [None]
    for text in texts:
        asked = [token for i, token in enumerate(text) if i == 0 or text[i - 1] != SILENCE]
        choices += [*asked, None]
    steps = [] if steps is None else steps
    heard = [AudioInput(features(chunk)[None], chunk, i, i * len(chunk)) for i, chunk in enumerate(row.heard)]
    with Fed(model, choices) as fed:
        session = engine.open(SessionConfig(grid=settings.grid, prompt=PROMPT))
        for one in heard:
            steps.append(session.step(one))
    said = [list(frames[0].token_ids) for frames in steps]
    assert choices == []
    return said, texts, fed


def test_replay_gives_tokens_features_and_logits(model, settings, row):
    said, texts, fed = replay(model, settings, row, features=sca.audio.mel.log_mel)
    assert said == texts
    assert {len(text) for text in texts} == {1, 2}
    check_as_trained(model, row, fed)


@pytest.mark.parametrize("kind", ["a turn", "a nod", "the end of one"])
def test_replay_with_control_tokens(model, with_controls, marked, kind):
    """Each has the place of the row, none is text, and a turn ends after the audio before its stop token."""
    row, steps = marked[kind], []
    said, texts, fed = replay(model, with_controls, row, features=sca.audio.mel.log_mel, steps=steps)
    assert said == texts
    check_as_trained(model, row, fed)
    words = [token for text in texts for token in text if token not in (SILENCE, *CONTROLS.values())]
    text = "".join(frame.text_log for frames in steps for frame in frames if isinstance(frame, AudioOutput))
    assert text == qwen_tokenizer().decode(words)
    assert text == "".join(f.text_token_str for frames in steps for f in frames if isinstance(f, ThoughtPacket))
    ended = [chunk for chunk, frames in enumerate(steps) if any(isinstance(frame, TurnEnd) for frame in frames)]
    assert ended == [mark.chunk + 1 for mark in row.controls if mark.name == "stop"]


def test_slots_replay_rows_with_control_tokens(model, with_controls, marked):
    """Two rows at once. Every forward selects for both, and tokens after the end of an answer are ignored."""
    tokenizer, rows = qwen_tokenizer(), [marked["a turn"], marked["the end of one"]]
    engine = SlotOmni(model, tokenizer, QwenConfig(model_id="tiny", slots=2), with_controls.duplex)
    sessions = [engine.open(SessionConfig(grid=with_controls.grid, prompt=PROMPT)) for _ in rows]
    texts, asked = [answers_of(with_controls, row) for row in rows], [0, 0]

    def chosen(_module, _inputs, logits):
        chunk, place = asked
        wanted = [(*text[chunk], SILENCE)[place] for text in texts]
        asked[:] = (chunk, 1) if place == 0 else (chunk + 1, 0)
        return logits + 1e6 * torch.nn.functional.one_hot(torch.tensor(wanted), logits.shape[-1])

    hook = model.thinker.lm_head.register_forward_hook(chosen)
    try:
        said = [[], []]
        for i, chunks in enumerate(zip(rows[0].heard, rows[1].heard, strict=False)):
            inputs = [AudioInput(sca.audio.mel.log_mel(one)[None], one, i, i * len(one)) for one in chunks]
            for kept, frames in zip(said, engine.step_batch(sessions, inputs), strict=True):
                kept.append(list(frames[0].token_ids))
    finally:
        hook.remove()
    assert said == [text[: len(said[0])] for text in texts]
    assert {START, HOLD, STOP} <= {token for answers in said for answer in answers for token in answer}


def check_as_trained(model, row, fed):
    """The input of the thinker equals the collated row, and its output equals that of training."""
    batch = DuplexCollator(qwen_tokenizer())([row])
    # Features, bit for bit. The encoder gets (128, frames) of one chunk.
    live = torch.stack([features.reshape(128, -1) for features in fed.features])
    assert torch.equal(live, batch["input_features"])
    # Tokens: every embedding that is not from the encoder is that of the token of the row, and the counts are equal.
    embeds, ids = torch.cat(fed.embeds), batch["input_ids"][0]
    assert ids.tolist() == np.where(row.input_ids == row.placeholder, AUDIO, row.input_ids).tolist()
    assert len(embeds) == len(ids)
    words = ids != AUDIO
    assert torch.equal(embeds[words], model.thinker.get_input_embeddings().weight[ids[words]])
    # So a model that is trained on the row gets the same input in the live loop.
    fields = ("input_ids", "attention_mask", "input_features", "feature_attention_mask")
    trained = model.thinker(**{name: batch[name] for name in fields}, use_cache=False).logits[0]
    assert (torch.cat(fed.logits) - trained).abs().max() <= 1e-5 * trained.abs().max()


def test_features_come_from_one_function():
    one = sca.audio.mel.log_mel
    assert sca.data.duplex.load.collate.log_mel is one
    assert sca.infer.session.engine_runner.log_mel is one
    assert sca.infer.engines.qwen_omni.streaming.engine.log_mel is one


def test_uses_precomputed_features(model, settings, row):
    """As from a server: the encoder gets the given features, not those of the samples."""
    other = np.random.default_rng(0).standard_normal((128, 32)).astype(np.float32)
    _, _, fed = replay(model, settings, row, features=lambda _chunk: other)
    assert all(np.array_equal(features.reshape(128, -1), other) for features in fed.features)
