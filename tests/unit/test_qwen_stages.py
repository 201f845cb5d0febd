"""The parts of the stages of Qwen3-Omni that need no model: keys of graphs, kernel of the experts, gate of the voice."""

import numpy as np
import pytest
import torch

from sca.infer.engines.qwen_omni.slots.cuda_graphs import experts_for
from sca.infer.engines.qwen_omni.slots.graph_keys import GraphKey, KeyPlan
from sca.infer.engines.qwen_omni.streaming.voice import VoiceGate

SILENCE, HOLD, WORD = 151_646, 151_647, 9707
QUIET, LOUD = np.full(7680, 9e-4, np.float32), np.full(7680, 2e-3, np.float32)


def plan(slots=8, thinker=16_384, talker=4096, *, graphs=True, every_slot=False):
    return KeyPlan(slots, {"thinker": thinker, "talker": talker}, graphs=graphs, every_slot=every_slot)


def test_keys_of_the_default_settings_are_few():
    keys = list(plan())
    assert len(keys) == len(set(keys)) == 24
    assert {key.slots for key in keys} == {1, 2, 4, 8}
    assert {key.cells for key in keys if key.stage == "thinker"} == {1024, 2048, 4096, 8192, 16_384}
    assert {key.cells for key in keys if key.stage == "talker"} == {4096}
    assert keys[0] == GraphKey("thinker", 8, 16_384), "the largest first"


def test_keys_are_bounded_for_all_settings():
    """256 slots with all positions of the released model."""
    assert len(list(plan(256, 65_536, 65_536))) == 9 * (7 + 3)
    assert len(list(plan(1))) == 6


@pytest.mark.parametrize("graphs", [True, False])
@pytest.mark.parametrize("slots", [1, 3, 8])
def test_every_chunk_has_a_key_of_the_plan(slots, graphs):
    given = plan(slots, 5000, 70, graphs=graphs)
    every = set(given)
    for highest in range(slots):
        for cells in (1, 70, 256, 257, 1024, 1025, 4999, 5000):
            key = given.key("thinker", highest, cells)
            assert key in every
            assert key.slots > highest
            assert key.cells >= cells
        assert given.key("talker", highest, 70).cells == 70


def test_a_cpu_steps_all_slots():
    assert {key.slots for key in plan(5, graphs=False, every_slot=True)} == {5}


@pytest.mark.parametrize(
    ("dtype", "capability", "kernel"),
    [
        (torch.bfloat16, (9, 0), "grouped_mm"),
        (torch.bfloat16, (10, 0), "grouped_mm"),
        (torch.bfloat16, (8, 0), "batched_mm"),
        (torch.bfloat16, (10, 3), "batched_mm"),
        (torch.bfloat16, (12, 0), "batched_mm"),
        (torch.float16, (9, 0), "batched_mm"),
        (torch.float32, (9, 0), "batched_mm"),
    ],
)
def test_kernel_of_the_experts_can_be_captured(dtype, capability, kernel):
    assert experts_for(dtype, capability) == kernel


def follow(gate, *chunks):
    """Return in which chunks the voice runs."""
    ran = []
    for tokens, wave in chunks:
        ran.append(gate.runs(tokens))
        if ran[-1]:
            gate.follow(tokens, wave)
    return ran


def test_voice_runs_from_the_first_word_to_the_end_of_its_sound():
    still = ([SILENCE], QUIET)
    gate = VoiceGate(SILENCE, lead_chunks=1)
    assert follow(gate, still, ([SILENCE], LOUD)) == [False, False], "nothing was spoken yet"
    assert follow(gate, ([WORD, SILENCE], QUIET), still, ([SILENCE], LOUD)) == [True] * 3
    assert follow(gate, still, still, still, still, still) == [True, True, True, False, False]
    assert not gate.running
    assert follow(gate, ([HOLD], QUIET), still) == [True, True], "a hold continues to speak"


@pytest.mark.parametrize("lead", [0, 1, 4])
def test_voice_waits_for_sound_that_follows_the_words(lead):
    still = ([SILENCE], QUIET)
    ran = follow(VoiceGate(SILENCE, lead), ([WORD, WORD], QUIET), *[still] * 9)
    assert ran == [i <= lead + 2 for i in range(10)]


def test_wave_that_is_not_finite_is_no_silence():
    gate = VoiceGate(SILENCE, 0)
    broken = np.full(7680, np.nan, np.float32)
    assert follow(gate, ([WORD], QUIET), *[([SILENCE], broken)] * 5, ([SILENCE], QUIET)) == [True] * 7
