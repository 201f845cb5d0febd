"""Where the stacks of Qwen3-Omni are placed, and what they need, on GPUs of the size of real ones."""

import logging
from functools import cache

import pytest
import torch

from sca.config import QwenConfig
from sca.errors import ConfigError
from sca.infer.engines.qwen_omni.loading import memory
from sca.infer.engines.qwen_omni.loading.demand import Demand, Workload, demands
from sca.infer.engines.qwen_omni.loading.flops import skeleton
from sca.infer.engines.qwen_omni.loading.memory import place
from sca.infer.engines.qwen_omni.loading.placement import Gpu, slot_numbers
from sca.units import Grid
from scripts.released_omni import released_config

H100, H200, L40S = 84_500_000_000, 150_000_000_000, 47_000_000_000
STACKS = {"thinker": "cuda:0", "talker": "cuda:1", "code2wav": "cuda:1"}

released = cache(lambda: skeleton(released_config()))


@pytest.fixture(autouse=True)
def _one_skeleton(monkeypatch):
    monkeypatch.setattr(memory, "skeleton", lambda _config: released())


@pytest.fixture
def machine(monkeypatch):
    """A machine with GPUs of the given free memory."""

    def has(*free, capability=(9, 0)):
        gpus = [Gpu(i, size, capability) for i, size in enumerate(free)]
        monkeypatch.setattr(memory, "free_gpus", lambda _device_map: gpus)

    return has


def placed(**qwen):
    return place(released().config, QwenConfig(**qwen), Grid(), 2).device_map


def slots_of(sessions, **qwen):
    return place(released().config, QwenConfig(**qwen), Grid(), 2, sessions).slots


@pytest.mark.parametrize(
    ("free", "device_map", "expected"),
    [
        ((H100,), "auto", "cuda:0"),
        ((H200, H200), "auto", "cuda:0"),
        ((H100, H200), "auto", "cuda:1"),
        ((72_000_000_000, 72_000_000_000), "auto", STACKS),
        ((H200, H200), "stacks", STACKS),
        ((H200, H200), "layers", "auto"),
        ((H200, H200), "balanced_low_0", "balanced_low_0"),
    ],
)
def test_stacks_stay_whole_unless_a_split_is_asked_for(machine, free, device_map, expected):
    machine(*free)
    assert placed(device_map=device_map) == expected


def test_too_small_gpus_are_refused_with_a_way_out(machine):
    machine(L40S, L40S)
    with pytest.raises(
        ConfigError, match=r"does not fit: cuda:0 needs [67][0-9.]+ GB .*has 47 GB free; cuda:1"
    ) as refused:
        placed()
    assert "qwen.device_map=layers" in refused.value.hint


def test_a_refusal_names_the_gpus_with_the_most_memory(machine):
    machine(1_000_000_000, L40S, 2_000_000_000, L40S)
    with pytest.raises(ConfigError, match=r"cuda:1 needs .*; cuda:3 needs "):
        placed()


def test_slots_that_do_not_fit_are_refused_with_a_number(machine):
    """32 conversations of 16384 tokens on a GPU of 80 GB; the number that is named fits, and one more does not."""
    machine(H100)
    with pytest.raises(ConfigError, match=r"32 conversations 5[0-9.]+ GB") as refused:
        placed(device_map="cuda:0", slots=32)
    most = int(refused.value.hint.split()[3])
    assert placed(device_map="cuda:0", slots=most) == "cuda:0"
    with pytest.raises(ConfigError, match=f"{most + 1} conversations"):
        placed(device_map="cuda:0", slots=most + 1)


def test_needed_and_free_memory_are_printed(machine, caplog):
    machine(H100)
    with caplog.at_level(logging.WARNING):
        placed()
    (line,) = [record.message for record in caplog.records]
    assert line.startswith("cuda:0 needs ")
    assert "weights 69.9 GB, 1 conversation 1.7 GB, CUDA 1.34 GB, graphs up to" in line
    assert line.endswith(", 84.5 GB are free")


def test_graphs_that_may_not_fit_are_announced(machine, caplog):
    """What cannot be captured runs without a graph, so they are no reason to refuse."""
    machine(74_000_000_000)
    assert placed() == "cuda:0"
    assert "the CUDA graphs may not fit" in caplog.text


def test_demand_of_the_released_size():
    """By hand: 96 KiB of the thinker for each token and 20 KiB of the talker for each frame; weights without pictures."""
    qwen = QwenConfig(vocoder_dtype="bfloat16")
    thinker, talker = demands(released(), qwen, Grid(), Workload(2), torch.bfloat16)
    assert thinker.caches == 2 * 16_384 * 96 * 1024
    assert talker.caches - 2 * 4096 * 20 * 1024 == 2 * 2 * 72 * 8 * 1024 * 2
    assert round(thinker.weights / 1e9, 1) == 62.4
    assert round(talker.weights / 1e9, 1) == 7.1
    gathering = demands(released(), qwen, Grid(), Workload(2, gathers=True), torch.bfloat16)[0]
    assert gathering.work == 16 * 8 * 3 * 2048 * 768 * 2  # of a prompt of 128 tokens, in pieces
    double = demands(released(), qwen, Grid(), Workload(2, gathers=True), torch.float32)[0]
    assert double.work == 8 * 8 * 3 * 2048 * 768 * 4
    assert Demand(1, 2, 3, 4) + Demand(10, 20, 30, 40) == Demand(11, 22, 30, 44)


@pytest.mark.parametrize(
    ("free", "capability", "sessions", "slots", "reason"),
    [
        ((H200,), (9, 0), 64, 8, "8 sessions at a time, because qwen.slots is not set: the most that are chosen"),
        ((H200,), (9, 0), 8, 8, "as many as there may be sessions"),
        ((H200,), (9, 0), 3, 3, "as many as there may be sessions"),
        ((H200,), (8, 0), 64, 4, "the most that are chosen"),
        (
            (H100,),
            (9, 0),
            64,
            4,
            "4 sessions at a time, because qwen.slots is not set: 8 do not fit into the free memory",
        ),
        ((74_000_000_000,), (9, 0), 64, 1, "1 session at a time, because qwen.slots is not set: 2 do not fit"),
        ((H100, 40_000_000_000), (9, 0), 64, 8, "the most that are chosen"),
        ((H200,), (9, 0), 1, 1, None),
    ],
)
def test_server_has_the_slots_that_fit(machine, caplog, free, capability, sessions, slots, reason):
    """Of H200, H100, a card of 80 GB that is used otherwise, and an H100 with a smaller card for talker and vocoder."""
    machine(*free, capability=capability)
    with caplog.at_level(logging.WARNING):
        assert slots_of(sessions) == slots
    said = [record.message for record in caplog.records if "qwen.slots is not set" in record.message]
    assert len(said) == (reason is not None)
    assert all(reason in line for line in said)


def test_given_slots_are_taken_without_a_reason(machine, caplog):
    machine(H200)
    assert slots_of(64, slots=2) == 2
    assert slots_of(64, slots=0) == 0
    assert slots_of(64, device_map="layers") == 0
    assert "qwen.slots is not set" not in caplog.text


def test_numbers_of_slots_to_choose_from():
    assert slot_numbers(QwenConfig(), cuda=True, most=1) == (1,)
    assert slot_numbers(QwenConfig(), cuda=True, most=8) == (8, 4, 2, 1)
    assert slot_numbers(QwenConfig(), cuda=True, most=6) == (6, 4, 2, 1)
    assert slot_numbers(QwenConfig(), cuda=False, most=8) == (0,)
    assert slot_numbers(QwenConfig(slots=3), cuda=False, most=8) == (3,)
    assert slot_numbers(QwenConfig(talker_process=True), cuda=True, most=8) == (0,)
    assert slot_numbers(QwenConfig(silence_bias=1.0, tell="once"), cuda=True, most=2) == (2, 1)
    assert slot_numbers(QwenConfig(voice="per-segment"), cuda=True, most=2) == (2, 1)
