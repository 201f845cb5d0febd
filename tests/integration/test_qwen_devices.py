"""Qwen3-Omni on one and two GPUs that do not exist: tensors that meet are on one device, and the host rarely waits.

Widths, heads and experts are the released ones; there are two layers in each stack, two codebooks, and one frame in a chunk.
"""

import copy
import re
import traceback
from functools import cache, partial

import numpy as np
import pytest
import torch
from accelerate.hooks import attach_align_device_hook_on_blocks

from sca.config import DuplexConfig, QwenConfig
from sca.infer.engine import SessionConfig
from sca.infer.engines.qwen_omni.loading.flops import skeleton
from sca.infer.engines.qwen_omni.slots.audio_encoder import AudioEncoder
from sca.infer.engines.qwen_omni.slots.engine import SlotOmni
from sca.infer.engines.qwen_omni.streaming import engine as streaming
from sca.infer.engines.qwen_omni.streaming.engine import QwenOmni
from sca.infer.engines.qwen_omni.streaming.talker import TalkerStream
from sca.infer.engines.qwen_omni.streaming.thinker import ThinkerStream
from sca.infer.engines.qwen_omni.streaming.token_mask import TokenMask
from sca.infer.frames import NO_FEATURES, AudioInput
from sca.units import Grid
from scripts.released_omni import released_config
from tests.helpers.fake_gpu import Watch, in_process, place, register
from tests.helpers.omni import qwen_tokenizer

WORD, SILENCE = 9707, 151_646
BOOKS = 2
GRID = Grid(frames_per_chunk=1)

ONE = {"": "gpu:0"}
STACKS = {"thinker": "gpu:0", "talker": "gpu:1", "code2wav": "gpu:1"}
LAYERS = {
    "thinker.model.audio_tower": "gpu:0",
    "thinker.model.visual": "gpu:0",
    "thinker.model.language_model.embed_tokens": "gpu:0",
    "thinker.model.language_model.layers.0": "gpu:0",
    "thinker.model.language_model.layers.1": "gpu:1",
    "thinker.model.language_model.norm": "gpu:1",
    "thinker.model.language_model.rotary_emb": "gpu:1",
    "thinker.lm_head": "gpu:1",
    "talker.model.codec_embedding": "gpu:0",
    "talker.model.layers.0": "gpu:0",
    "talker.model.layers.1": "gpu:1",
    "talker.model.norm": "gpu:1",
    "talker.model.rotary_emb": "gpu:1",
    "talker.text_projection": "gpu:1",
    "talker.hidden_projection": "gpu:1",
    "talker.codec_head": "gpu:0",
    "talker.code_predictor": "gpu:1",
    "code2wav": "gpu:0",
}


@cache
def released():
    config = released_config(layers=2)
    config.talker_config.num_code_groups = config.talker_config.code_predictor_config.num_code_groups = BOOKS
    config.code2wav_config.num_quantizers = BOOKS
    return skeleton(config).to(torch.bfloat16)


def model_on(mode, devices):
    """The model on fake GPUs, with the hooks of accelerate if layers are split."""
    model = place(mode, copy.deepcopy(released()), devices)
    if len(devices) > len(STACKS):
        skip = model._skip_keys_device_placement
        attach_align_device_hook_on_blocks(model, devices, dict.fromkeys(devices, False), skip_keys=skip)
    return model


def heard(chunk=0):
    return AudioInput(NO_FEATURES, np.zeros(GRID.heard_samples, np.float32), chunk, chunk * GRID.heard_samples)


def listen(self, features):
    """As `ThinkerStream.listen`; the encoder of the library reads the lengths of its input."""
    tower, table = self._thinker.model.audio_tower, self._thinker.get_input_embeddings()
    return AudioEncoder(tower)(features.to(tower.conv2d1.weight.device)).to(streaming.device_of(table))


def stream(devices, token=WORD):
    """One chunk of a session that is stepped alone: where the host waits, and where the states of the thinker are."""
    mode, watch = register(), Watch(lambda: token)
    model = model_on(mode, devices)
    with pytest.MonkeyPatch.context() as patch, mode, watch:
        patch.setattr(ThinkerStream, "listen", listen)
        engine = QwenOmni(model, qwen_tokenizer(), QwenConfig(), DuplexConfig())
        session = engine.open(SessionConfig(grid=GRID, prompt="Be brief."))
        watch.waits.clear()
        thought, *_ = session.step(heard())
    return dict(watch.waits), str(thought.hidden_states.device)


def slots(devices, whole=2):
    """One chunk of two sessions in slots: where the host waits. An answer of twos is two words."""
    mode, watch = register(whole), Watch()
    model = model_on(mode, devices)
    with mode, watch:
        qwen = QwenConfig(slots=2, context_tokens=512, talker_context_frames=512)
        engine = SlotOmni(model, qwen_tokenizer(), qwen, DuplexConfig())
        sessions = [engine.open(SessionConfig(grid=GRID, prompt="Be brief.")) for _ in range(2)]
        watch.waits.clear()
        for result in engine.step_batch(sessions, [heard()] * 2):
            if isinstance(result, Exception):
                raise result
    return dict(watch.waits), engine.runner.waits


def mask_not_moved():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TokenMask, "on", lambda self, _device: self)
        return slots(STACKS)


def mask_elsewhere():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streaming, "device_of", lambda _module: torch.device("gpu:0"))  # the logits are on gpu:1
        return stream(LAYERS)


def code_read():
    frame = TalkerStream.frame
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TalkerStream, "frame", lambda self, text: [codes := frame(self, text), codes[0, 0].item()][0])
        return stream(ONE)


CASES = {
    "one GPU, silent": partial(stream, ONE, SILENCE),
    "whole stacks": partial(stream, STACKS),
    "layer by layer": partial(stream, LAYERS),
    "slots on one GPU, silent": partial(slots, ONE, 0),
    "slots on whole stacks": partial(slots, STACKS),
    "slots, layer by layer": partial(slots, LAYERS),
    "mask not moved": mask_not_moved,
    "mask elsewhere": mask_elsewhere,
    "code read": code_read,
}


def every_case():
    """The results of all cases; the traceback of a case that raises."""
    results = {}
    for name, run in CASES.items():
        try:
            results[name] = run()
        except Exception as error:
            results[name] = "".join(traceback.format_exception(error))
    return results


@pytest.fixture(scope="module")
def results():
    """In one process, because the first model is the expensive one."""
    released()
    qwen_tokenizer()
    return in_process(every_case, limit_s=600)


TOKEN_READ = "engine.py: more = [int(token)]"
SLOT_READ = "stage_runner.py: array: np.ndarray = self._tensor.cpu().numpy()"
AUDIO_READ = "voice.py: wave: np.ndarray = self._vocoder.push(torch.stack(codes, -1))[0, 0].float().cpu().numpy()"


@pytest.mark.parametrize(
    ("case", "tokens", "waves"), [("one GPU, silent", 1, 0), ("whole stacks", 2, 1), ("layer by layer", 2, 1)]
)
def test_stream_on_fake_gpus(results, case, tokens, waves):
    """A read for each token that is chosen, and one for the audio, which silence does not have."""
    waits = {TOKEN_READ: tokens} | ({AUDIO_READ: waves} if waves else {})
    assert results[case] == (waits, "gpu:0")


@pytest.mark.parametrize(
    ("case", "reads", "waits"), [("slots on one GPU, silent", 1, 1), ("slots on whole stacks", 3, 2)]
)
def test_slots_on_fake_gpus(results, case, reads, waits):
    """The host waits for the answer of the thinker, and if a slot speaks for the wave, with which the answer is read again."""
    assert results[case] == ({SLOT_READ: reads}, waits)


def test_slots_refuse_a_split_layer_by_layer(results):
    assert "splits the model layer by layer" in results["slots, layer by layer"]


def test_fake_gpu_finds_a_wrong_device_and_a_read(results):
    """Mutants of the engine fail the tests above."""
    assert re.search(r"(?s)is_text.*at least two devices", results["mask not moved"])
    assert re.search(r"(?s)choose_text.*found at least two devices", results["mask elsewhere"])
    waits, _ = results["code read"]
    assert sum(waits.values()) == 2 + 1 + 1
