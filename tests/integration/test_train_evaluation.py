"""Evaluation while a tiny model is trained: it changes nothing, measures the live loop, and keeps the best weights."""

import json
import logging
import random
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from transformers import TrainerControl, TrainerState

from sca.config import load_settings
from sca.control_tokens import Grammar
from sca.data.duplex.build.dataset import build_duplex
from sca.data.duplex.load.dataset import load
from sca.errors import InputError
from sca.infer.engine import SessionConfig
from sca.infer.engines.qwen_omni.streaming.engine import QwenOmni
from sca.infer.frames import NO_FEATURES, AudioInput, ThoughtPacket
from sca.tokenizer import load_tokenizer
from sca.train.batches.collate import TrainCollator
from sca.train.evaluation import evaluate
from sca.train.evaluation.callback import EvaluationCallback
from sca.train.evaluation.evaluate import Evaluation, Evaluator
from sca.train.evaluation.live import SilentOmni, free_run, undisturbed
from sca.train.evaluation.runs import answers_of
from sca.train.evaluation.samples import keep_last, marker_sound
from sca.train.objective.loss import DuplexLoss, kind_weights
from sca.train.tiny import build
from tests.helpers import corpus

TOKENIZER = load_tokenizer("builtin:qwen")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)  # on a busy machine several threads are slower than one


@pytest.fixture(scope="module")
def model():
    return build(books=3, vocoder_width=16)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("evaluation")
    build_duplex(corpus.short_demo(root / "corpus"), root / "data", corpus.settings(window="3-5", system_prompt="Hi."))
    return load(root / "data")


@pytest.fixture(scope="module")
def trained(model):
    return SimpleNamespace(
        thinker=model.thinker, learner=model.thinker, config=model.config, tokenizer=TOKENIZER, autocast=None
    )


def settings_of(**train):
    named = {f"train.{name}": value for name, value in {"eval_rows": 2, **train}.items()}
    return load_settings(
        overrides={"duplex.model_path": "builtin:qwen", "duplex.system_prompt": "Hi.", **named}, env={}
    )


def evaluator_of(trained, data, output, rows=None, **train):
    settings = settings_of(**train)
    collate = TrainCollator(TOKENIZER, settings.train, Grammar(151646))
    return Evaluator(trained, data if rows is None else rows, collate, settings, output)


def test_an_evaluation_leaves_the_training_as_it_was(trained, data, tmp_path):
    thinker = trained.thinker
    thinker.train()
    thinker.model.audio_tower.eval()
    modes = [module.training for module in thinker.modules()]
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    found = evaluator_of(trained, data, tmp_path)(3)
    assert [module.training for module in thinker.modules()] == modes
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert (np.random.get_state()[1] == states[2]).all()
    weight = thinker.lm_head.weight
    thinker(
        input_ids=torch.tensor([[1, 2, 3]])
    ).logits.sum().backward()  # no tensor of the evaluation is left in a module
    assert weight.grad is not None
    thinker.zero_grad()
    thinker.eval()
    assert found.rows == found.free_rows == 2
    assert found.alarm == "stuck_talking"  # a random model hardly ever chooses silence
    assert found.metrics["silence_kept"] < 0.5 < found.metrics["talk_ratio"]
    pages = sorted(one.name for one in (tmp_path / "samples" / "step-0000003").iterdir())
    assert [name.rpartition(".")[2] for name in pages] == ["html", "wav"] * 2
    page = found.samples[0].read_text(encoding="utf-8")
    assert "the model (right ear)" in page
    sound, rate = soundfile.read(found.samples[0].with_suffix(".wav"))
    assert (rate, sound.shape[1]) == (16_000, 2)
    assert np.abs(sound[:, 1]).max() == pytest.approx(0.1, abs=0.01)


def test_the_loss_is_that_of_the_training(trained, data, tmp_path):
    settings = settings_of()
    collate = TrainCollator(TOKENIZER, settings.train, Grammar(151646))
    found = evaluator_of(trained, data, tmp_path, eval_rows=1, eval_samples=0)(1)
    loss = DuplexLoss(kind_weights(settings.train))
    batch = dict(collate([data[0]]))
    labels = batch.pop("labels")
    with torch.no_grad():
        expected = loss(trained.thinker(**batch), labels).item()
    assert found.metrics["loss"] == pytest.approx(expected, abs=1e-3)
    for name, value in loss.pop_by_kind().items():
        if name.startswith("loss_"):
            assert found.metrics[name] == pytest.approx(value, abs=1e-3)


def test_the_model_runs_as_in_the_live_engine(model, data):
    """The same tokens as the engine with talker and vocoder."""
    settings, row = settings_of(), data[0]
    silent = SilentOmni(model.thinker, model.config, TOKENIZER, settings.qwen, settings.duplex)
    session = QwenOmni(model, TOKENIZER, settings.qwen, settings.duplex).open(SessionConfig(prompt="Hi."))
    heard = [AudioInput(NO_FEATURES, samples, k, k * 5120) for k, samples in enumerate(row.heard[:4])]
    said = [next(one for one in session.step(chunk) if isinstance(one, ThoughtPacket)).token_ids for chunk in heard]
    session.close()
    assert free_run(silent, row, settings.grid, "Hi.")[:4] == said


def test_rows_that_cannot_be_read_are_left_out(trained, data, tmp_path, caplog):
    class Damaged:
        def __len__(self):
            return 2

        def __getitem__(self, index):
            if index == 0:
                raise InputError("the file is cut")
            return data[0]

    found = evaluator_of(trained, data, tmp_path, rows=Damaged(), eval_samples=0)(1)
    assert (found.rows, found.failed) == (1, 1)
    assert "row 0 is left out of the evaluation: the file is cut" in caplog.text


def test_free_runs_end_with_their_time(trained, data, tmp_path):
    found = evaluator_of(trained, data, tmp_path, eval_minutes=1e-9, eval_samples=0)(1)
    assert (found.rows, found.free_rows) == (2, 1)


def test_divided_weights_are_only_compared_with_the_row(trained, data, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(evaluate, "is_sharded", lambda module: True)
    found = evaluator_of(trained, data, tmp_path)(1)
    assert (found.rows, found.free_rows, found.alarm) == (2, 0, None)
    assert "turn_f1" not in found.metrics
    assert "turn-taking is not measured" in caplog.text


def test_several_processes_share_the_rows(trained, data, tmp_path, monkeypatch):
    parts = []
    for rank in (0, 1):
        monkeypatch.setattr(evaluate, "_process", lambda rank=rank: (rank, 2))
        monkeypatch.setattr(evaluate, "_over_processes", lambda part: parts.append(part) or [part])
        evaluator_of(trained, data, tmp_path, eval_samples=0)(1)
    assert [part.forced["rows"] for part in parts] == [1, 1]
    monkeypatch.setattr(evaluate, "_process", lambda: (0, 1))
    monkeypatch.setattr(evaluate, "_over_processes", lambda part: parts)
    together = evaluator_of(trained, data, tmp_path, eval_samples=0, eval_rows=1)(1)
    monkeypatch.setattr(evaluate, "_over_processes", lambda part: [part])
    assert together.metrics == evaluator_of(trained, data, tmp_path, eval_samples=0)(1).metrics


def evaluations(*found):
    """Return an evaluator with given results: (F1, loss, alarm) of each."""
    results = iter(found)

    def evaluator(step):
        f1, loss, alarm = next(results)
        return Evaluation({"turn_f1": f1, "loss": loss, "talk_ratio": 0.0, "silence_kept": 0.0}, alarm, 4, 4, 0, 0.1)

    return evaluator


def run(callback, steps):
    """Call a callback as the Trainer does, and return the step at which the training stops."""
    state, control = TrainerState(is_world_process_zero=True), TrainerControl()
    callback.on_train_begin(None, state, control)
    for step in range(1, steps + 1):
        state.global_step = step
        callback.on_step_end(None, state, control)
        if control.should_training_stop:
            break
    callback.on_train_end(None, state, control)
    return state.global_step


def test_the_callback_keeps_the_best_weights(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    results = [(0.2, 3.0, None), (0.8, 2.0, None), (0.8, 1.0, None), (0.1, 0.5, None)]
    saved, logged = [], []

    def save(folder):
        saved.append(len(logged))
        (folder / "weights").write_text(str(len(saved)))

    callback = EvaluationCallback(evaluations(*results), settings_of(eval_every=2).train, tmp_path, save)
    callback.log_metrics = logged.append
    assert run(callback, 7) == 7  # evaluations at 2, 4, 6 and at the end
    lines = [json.loads(line) for line in (tmp_path / "evaluations.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4, 6, 7]
    assert saved == [0, 1, 2]
    assert json.loads((tmp_path / "best" / "evaluation.json").read_text())["step"] == 6
    assert logged[1]["eval/turn_f1"] == 0.8
    assert "evaluation at step 4: turn F1 0.80, silence kept 0%, loss 2.000 (4 rows" in caplog.text
    assert (tmp_path / "report.html").is_file()


@pytest.mark.parametrize(("limit", "end"), [(0, 5), (2, 4)])
def test_a_stuck_model_ends_the_training_on_request(tmp_path, caplog, limit, end):
    results = [(0, 9, "stuck_talking"), (0, 7, None), *[(0, 6, "stuck_silent")] * 4]
    train = settings_of(eval_every=1, stop_when_stuck=limit).train
    assert run(EvaluationCallback(evaluations(*results), train, tmp_path, lambda folder: None), 5) == end
    assert "the model is stuck silent" in caplog.text
    assert ("the training ends: 2 evaluations" in caplog.text) == bool(limit)


def test_a_resumed_run_forgets_later_evaluations(tmp_path):
    train = settings_of(eval_every=1).train
    run(EvaluationCallback(evaluations(*[(0.5, 1.0, None)] * 3), train, tmp_path, lambda folder: None), 3)
    state, control = TrainerState(global_step=1, is_world_process_zero=True), TrainerControl()
    again = EvaluationCallback(evaluations((0.9, 1.0, None)), train, tmp_path, lambda folder: None)
    again.on_train_begin(None, state, control)
    state.global_step = 2
    again.on_step_end(None, state, control)
    lines = [json.loads(line) for line in (tmp_path / "evaluations.jsonl").read_text().splitlines()]
    assert [(line["step"], line["metrics"]["turn_f1"]) for line in lines] == [(1, 0.5), (2, 0.9)]


def test_only_the_last_conversations_are_kept(tmp_path):
    for step in (5, 10, 1000):
        (tmp_path / f"step-{step:07d}").mkdir()
    keep_last(tmp_path, 2)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["step-0000010", "step-0001000"]


def test_the_model_is_heard_where_it_has_text():
    sound = marker_sound(np.array([False, True, False]), 5120)
    assert sound.shape == (3 * 5120,)
    assert np.abs(sound[5120:10240]).max() > 0.09
    assert not sound[:5000].any()
    assert not sound[-5000:].any()


def test_a_mode_is_restored_after_an_error():
    module, seen = torch.nn.Dropout().train(), []

    def fail():
        with undisturbed(module):
            seen.append(module.training)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert (seen, module.training) == ([False], True)


def test_answers_are_the_tokens_of_each_chunk(data):
    row = data[0]
    joined = [token for answer in answers_of(row) for token in (*[row.placeholder] * 4, *answer)]
    prompt = len(row.input_ids) - len(joined)
    assert joined == row.input_ids[prompt:].tolist()
    assert row.placeholder not in row.input_ids[:prompt]
