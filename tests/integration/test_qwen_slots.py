"""Qwen3-Omni in fixed shapes: slots equal separate sessions in any combination, and a chunk does not synchronise."""

import copy
import dataclasses
import gc

import numpy as np
import pytest
import torch

from sca.config import DuplexConfig, QwenConfig
from sca.control_tokens import ControlTokens, Grammar
from sca.errors import ConfigError, ScaError
from sca.infer.engine import BatchEngine, SessionConfig
from sca.infer.engines.qwen_omni.loading.flops import chunk_work, parameters, skeleton
from sca.infer.engines.qwen_omni.slots.decoder import Decoder, SlotCache
from sca.infer.engines.qwen_omni.slots.engine import SlotOmni
from sca.infer.engines.qwen_omni.slots.step import ChunkStep, Shape, TalkerState, ThinkerState
from sca.infer.engines.qwen_omni.streaming.engine import QwenOmni
from sca.infer.engines.qwen_omni.streaming.sampling import REPEATED, TEXT_OPTIONS
from sca.infer.engines.qwen_omni.streaming.thinker import ThinkerStream
from sca.infer.engines.qwen_omni.streaming.token_mask import TokenMask
from sca.infer.engines.qwen_omni.streaming.voice import VoicePhase
from sca.infer.frames import AudioInput, AudioOutput, ThoughtPacket
from sca.infer.generation import GenerationOptions
from sca.train.tiny import build
from sca.units import Grid
from scripts.released_omni import released_config
from tests.helpers.engine_contract import demo_speech, inputs_of
from tests.helpers.omni import OmniContract, qwen_tokenizer

GRID = Grid()
BRIEF = SessionConfig(prompt="Be brief.")


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def model():
    """In float64: sums in another order differ too little to change a selection, so a difference is an error.

    Of three codebooks and a thin vocoder; all 16 and the usual one are in `single`.
    """
    torch.set_num_threads(1)  # more threads are slower on a busy machine
    model = build(books=3, vocoder_width=16).double()
    model.set_experts_implementation("batched_mm")  # the grouped products do not support float64
    return model


@pytest.fixture(scope="module")
def single():
    """In float32."""
    torch.set_num_threads(1)
    return build()


@pytest.fixture(scope="module")
def tokenizer():
    return qwen_tokenizer()


def engine_of(model, tokenizer, *, slots=0, duplex=None, **qwen):
    kind = SlotOmni if slots else QwenOmni
    return kind(model, tokenizer, QwenConfig(model_id="tiny", slots=slots, **qwen), duplex or DuplexConfig())


@pytest.fixture(scope="module")
def heard():
    return list(inputs_of(demo_speech(seconds=6), features=True))


def same(frames, expected, lsb=0):
    """Equal tokens, text and turns; equal states except for rounding; audio within `lsb` of 32767."""
    assert [type(one) for one in frames] == [type(one) for one in expected]
    for one, other in zip(frames, expected, strict=True):
        if isinstance(one, ThoughtPacket):
            assert (one.token_ids, one.text_token_str) == (other.token_ids, other.text_token_str)
            assert (one.hidden_states - other.hidden_states).abs().max() <= 1e-12 * other.hidden_states.abs().max()
        elif isinstance(one, AudioOutput):
            assert (one.text_log, one.chunk_index, one.turn_id) == (other.text_log, other.chunk_index, other.turn_id)
            wave, expected_wave = (np.frombuffer(f.audio_bytes, "<i2").astype(int) for f in (one, other))
            assert np.abs(wave - expected_wave).max() <= lsb
        else:
            assert one == other


class TestContract(OmniContract):
    @pytest.fixture(scope="class")
    @classmethod
    def engine(
        cls, model, tokenizer
    ):  # in float64, because the sums of a mixture of experts depend on the other tokens of an expert
        return engine_of(model, tokenizer, slots=2)

    @pytest.fixture(autouse=True)
    def _slots_of_sessions_nobody_closed(self):
        """A caught error references the session that raised it until garbage collection."""
        gc.collect()


# One slot equals a separate session


@pytest.fixture(scope="module")
def alone(model, tokenizer, heard):
    """The answers of a separate session that is interrupted before chunk 5, computed once per setting."""
    answers: dict = {}

    def answer(chunks, **qwen):
        key = (chunks, *qwen.items())
        if key not in answers:
            session = engine_of(model, tokenizer, **qwen).open(BRIEF)
            answers[key] = walk(session, heard[:chunks])
        return answers[key]

    return answer


def walk(session, inputs):
    steps = []
    for one in inputs:
        if one.chunk_index == 5:
            session.interrupt(5)
        steps.append(session.step(one))
    return steps


@pytest.mark.parametrize(
    ("chunks", "qwen", "carry"),
    [
        (7, {}, False),
        (7, {}, True),
        (5, {"conditioning": "hidden:2", "talker_temperature": 0.0}, False),
        (3, {"conditioning": "hidden:4"}, False),
        (3, {"max_new_tokens": 1}, False),
        (3, {"max_new_tokens": 1}, True),
        (11, {"context_tokens": 64, "talker_context_frames": 64}, True),
    ],
)
def test_slot_equals_a_separate_session(model, tokenizer, heard, alone, chunks, qwen, carry):
    """With an interruption; a small context drops the oldest chunks; `carry` processes the last token with the next chunk."""
    engine = engine_of(model, tokenizer, slots=2, carry_second_token=carry, **qwen)
    engine.open(BRIEF)  # deleted at once, so its slot is free again
    slot = engine.open(BRIEF)
    for frames, expected in zip(walk(slot, heard[:chunks]), alone(chunks, **qwen), strict=True):
        same(frames, expected)
    # Once per chunk; and at the begin of speech, also of that after the interruption, for answer and for wave.
    assert engine.runner.waits == chunks + 1 + (chunks > 5)
    assert (slot.window.length < slot.window.position) == ("context_tokens" in qwen), "the oldest chunks were dropped"


def test_slot_in_float32(single, tokenizer, heard):
    alone = engine_of(single, tokenizer, talker_temperature=0.0).open(BRIEF)
    slot = engine_of(single, tokenizer, slots=2, talker_temperature=0.0).open(BRIEF)
    for one in heard[:4]:
        same(slot.step(one), alone.step(one), lsb=1)


def test_positions_run_out_in_slots(model, tokenizer, heard):
    """All three caches move back, because the model has few positions. Before, the oldest chunks are dropped."""
    small = copy.deepcopy(model)
    small.config.thinker_config.text_config.max_position_embeddings = 80
    small.config.talker_config.text_config.max_position_embeddings = 66
    small.code2wav.config.max_position_embeddings = 76
    caches = {"context_tokens": 64, "talker_context_frames": 64}
    alone = engine_of(small, tokenizer, **caches).open(SessionConfig())
    slot = engine_of(small, tokenizer, slots=1, **caches).open(SessionConfig())
    for i in range(21):
        one = heard[i % len(heard)]
        one = AudioInput(one.features, one.samples, i, i * GRID.heard_samples)
        if i == 5:
            slot.interrupt(5)
            alone.interrupt(5)
        same(slot.step(one), alone.step(one))
        assert i != 10 or slot.window.length < slot.window.position, "the oldest chunks were dropped"
    assert slot.window.position < 21 * 5


def test_silent_thinker_in_a_slot(model, tokenizer, heard):
    """Silence is one token, although the fixed shape has two."""
    silence = 151_646
    quiet = {"now": False}
    hook = model.thinker.lm_head.register_forward_hook(
        lambda _module, _inputs, logits: (
            logits + 1e4 * (torch.arange(logits.shape[-1]) == silence) if quiet["now"] else logits
        )
    )
    try:
        alone = engine_of(model, tokenizer).open(BRIEF)
        slots = [engine_of(model, tokenizer, slots=1, carry_second_token=carry).open(BRIEF) for carry in (False, True)]
        counts = []
        for one in heard[:6]:
            quiet["now"] = one.chunk_index % 4 in (1, 2)
            expected = alone.step(one)
            counts.append(len(expected[0].token_ids))
            for slot in slots:
                same(slot.step(one), expected)
        assert counts == [2, 1, 1, 2, 2, 1]
    finally:
        hook.remove()


def test_talker_does_not_run_in_silence(model, tokenizer, heard):
    """Two sessions that speak in turn, with sound below -60 dBFS; a voice that stopped continues where it was."""
    silence, quiet = torch.arange(152_064) == 151_646, {"now": [False]}
    spoken = {0: (0, 6), 1: (1,)}
    ran, last = [], model.code2wav.decoder[-1].conv
    loud = copy.deepcopy(last.state_dict())
    last.load_state_dict({name: 3e-2 * one for name, one in loud.items()})
    hooks = [
        model.thinker.lm_head.register_forward_hook(
            lambda _module, _inputs, logits: (
                logits + 1e4 * silence * torch.tensor(quiet["now"]).view(-1, *[1] * (logits.dim() - 1))
            )
        ),
        model.talker.codec_head.register_forward_hook(lambda _module, inputs, _out: ran.append(len(inputs[0]))),
    ]
    try:
        engine = engine_of(model, tokenizer, slots=2)
        alone = [engine_of(model, tokenizer).open(BRIEF) for _ in spoken]
        slots = [engine.open(BRIEF) for _ in spoken]
        waits, talked = [], []
        for one in heard[:8]:
            flags = [one.chunk_index not in spoken[who] for who in spoken]
            expected = []
            for session, flag in zip(alone, flags, strict=True):
                quiet["now"] = [flag]
                expected.append(session.step(one))
            quiet["now"], before = flags, engine.runner.waits
            ran.clear()
            for frames, others in zip(engine.step_batch(slots, [one] * 2), expected, strict=True):
                same(frames, others)
            waits.append(engine.runner.waits - before)
            talked.append((len(ran), [int(np.frombuffer(frames[1].audio_bytes, "<i2").any()) for frames in expected]))
    finally:
        last.load_state_dict(loud)
        for hook in hooks:
            hook.remove()
    assert waits == [2, 1, 1, 1, 1, 1, 2, 1], "twice if the host must know whether to run the talker, and it runs"
    assert [count for count, _ in talked] == [4, 4, 4, 4, 4, 0, 4, 4]
    assert [sound for _, sound in talked] == [[1, 0], [1, 1], [1, 1], [1, 1], [0, 1], [0, 0], [1, 0], [1, 0]]


def test_control_tokens_in_a_slot(model, tokenizer, heard):
    """All control tokens, selected among each other and text as the grammar allows."""
    ids = {"hold_id": 151_647, "start_id": 151_648, "stop_id": 151_649, "backchannel_id": 151_650}
    duplex = DuplexConfig(**ids)
    marks = torch.tensor([151_646, *ids.values(), ids["hold_id"]])

    def louder(_module, _inputs, logits):
        """One of them, or none in two of eight cases, by a digit of the output of the thinker."""
        which = (logits[..., 9707] * 44).floor().long() % 8
        louder = torch.nn.functional.one_hot(which, 8)[..., :6].to(logits.dtype)
        return logits.index_add(-1, marks, 1e4 * louder)

    hook = model.thinker.lm_head.register_forward_hook(louder)
    try:
        alone = engine_of(model, tokenizer, duplex=duplex).open(BRIEF)
        slots = [
            engine_of(model, tokenizer, slots=1, duplex=duplex, carry_second_token=carry).open(BRIEF)
            for carry in (False, True)
        ]
        said = []
        for one in heard[:8]:
            expected = alone.step(one)
            said.append(expected[0].token_ids)
            for slot in slots:
                same(slot.step(one), expected)
    finally:
        hook.remove()
    assert set(marks.tolist()) <= {token for tokens in said for token in tokens}
    assert any(len(tokens) == 2 and not set(tokens) & set(marks.tolist()) for tokens in said)


# Many slots


def test_sessions_start_end_and_are_interrupted_together(model, tokenizer, heard):
    engine = engine_of(model, tokenizer, slots=3)
    assert isinstance(engine, BatchEngine)
    plain = engine_of(model, tokenizer)
    prompts = ["Be brief.", "", "A prompt that is a good deal longer than that of the others, and goes on for a while."]
    pairs: dict = {}
    at = {}
    plan = {0: [0], 1: [0, 1], 3: [0, 1, 2], 6: [1, 2], 8: [0, 2]}  # active sessions from each round on
    there: list = []
    for round_ in range(10):
        for who in plan.get(round_, there):
            if who not in there:
                config = SessionConfig(session_id=str(who), prompt=prompts[who])
                pairs[who] = engine.open(config), plain.open(config)
                at[who] = 0
        for who in there:
            if who not in plan.get(round_, there):
                pairs[who][0].close()
        there = plan.get(round_, there)
        if round_ == 5:
            for one in pairs[1]:
                one.interrupt(3)
        # Each gets other input; session 2 skips some rounds.
        now = [who for who in there if not (who == 2 and round_ % 4 == 3)]
        inputs = []
        for who in now:
            one = heard[(at[who] + 5 * who) % len(heard)]
            inputs.append(AudioInput(one.features, one.samples, at[who], at[who] * GRID.heard_samples))
            at[who] += 1
        steps = engine.step_batch([pairs[who][0] for who in now], inputs)
        for who, one, frames in zip(now, inputs, steps, strict=True):
            same(frames, pairs[who][1].step(one))
    assert engine.runner.waits == 11


def test_logits_of_slots_equal_those_of_streams(single):
    """Three conversations of different lengths in joint forwards, compared with a stream each."""
    thinker = single.thinker
    cache = SlotCache(thinker.config.text_config, 3, 64, thinker.get_input_embeddings().weight)
    decoder = Decoder(thinker.model.language_model, cache)
    draw = torch.Generator().manual_seed(0)
    streams = [ThinkerStream(thinker) for _ in range(3)]
    lengths = torch.tensor([[0], [0], [0]])
    for n in (5, 1, 4, 1, 1, 4, 7):
        embeds = thinker.get_input_embeddings()(torch.randint(151_643, (3, n), generator=draw))
        counts = torch.randint(0, n + 1, (3, 1), generator=draw)  # number of valid rows of each, the first ones
        row = torch.arange(n)
        places = torch.where(row < counts, lengths + row, cache.trash)
        last, _ = decoder(embeds, places, lengths + row, 64)
        logits = thinker.lm_head(last)
        for i, stream in enumerate(streams):
            if count := int(counts[i]):
                expected = stream.push(embeds[i : i + 1, :count])[0]
                assert (logits[i : i + 1, :count] - expected).abs().max() <= 1e-5 * max(1, expected.abs().max())
        lengths = lengths + counts
    assert len(set(lengths.flatten().tolist())) > 1


def test_invalid_input_does_not_affect_other_sessions(model, tokenizer, heard):
    engine = engine_of(model, tokenizer, slots=3)
    plain = engine_of(model, tokenizer).open(BRIEF)
    good, bad, closed = (engine.open(BRIEF) for _ in range(3))
    closed.close()
    wrong = AudioInput(heard[0].features, heard[0].samples[:7], 0, 0)
    first = engine.step_batch([bad, good, closed], [wrong, heard[0], heard[0]])
    assert [type(one) for one in first] == [ValueError, list, RuntimeError]
    same(first[1], plain.step(heard[0]))
    second = engine.step_batch([good, bad], [heard[1], heard[0]])
    same(second[0], plain.step(heard[1]))
    same(second[1], engine_of(model, tokenizer).open(BRIEF).step(heard[0]))


def test_slots_are_limited_and_released(model, tokenizer):
    engine = engine_of(model, tokenizer, slots=2)
    one, _other = engine.open(BRIEF), engine.open(BRIEF)
    with pytest.raises(ScaError, match="all 2 slots of the engine are in use"):
        engine.open(BRIEF)
    one.close()
    one.close()
    third = engine.open(BRIEF)
    with pytest.raises(ScaError, match="all 2 slots"):
        engine.open(BRIEF)
    third.close()
    for _ in range(3):
        with pytest.raises(ConfigError, match="the prompt has"):
            engine.open(SessionConfig(prompt="word " * 70_000))
    gc.collect()
    assert engine.open(BRIEF)  # the rejected session released its slot


@pytest.mark.parametrize(
    ("qwen", "match"),
    [
        ({"carry_second_token": True, "conditioning": "hidden:2"}, "would arrive a chunk late"),
        ({"conditioning": "hidden:9"}, "the thinker has 4 layers"),
    ],
)
def test_rejects_contradictory_settings(model, tokenizer, qwen, match):
    with pytest.raises(ConfigError, match=match):
        engine_of(model, tokenizer, slots=1, **qwen)


def test_one_grid_per_engine_and_whole_pieces(model, tokenizer, monkeypatch):
    engine = engine_of(model, tokenizer, slots=1)
    with monkeypatch.context() as patch:
        patch.setattr(model.thinker.model.audio_tower, "n_window", 10)
        with pytest.raises(ConfigError, match="a chunk of 32 mel frames does not give 4 tokens"):
            engine.open(BRIEF)
    engine.open(BRIEF).close()
    with pytest.raises(ConfigError, match="another grid"):
        engine.open(SessionConfig(grid=Grid(frames_per_chunk=8)))


# No host synchronisation


@pytest.mark.parametrize("size", ["tiny", "released"])
def test_chunk_does_not_synchronise(single, size):
    """The meta device has shapes but no values, so reading one fails. Two layers of each kind."""
    ghost = copy.deepcopy(single).to("meta") if size == "tiny" else skeleton(released_config(layers=2))
    ghost = ghost.to(torch.bfloat16)
    tiny = size == "tiny"
    shape = Shape(
        frames=4, tokens=2, most=2, unused=151_675, layer=0, carry=tiny, temperature=0.9, top_k=50, segments=tiny
    )
    forbidden = torch.zeros(152_064, dtype=torch.bool, device="meta")
    mask = TokenMask(Grammar(151_646, ControlTokens(hold=151_647, start=151_648)), forbidden)
    step = ChunkStep(ghost, mask, shape, slots=3, room=512, said_room=256)
    numbers = [torch.zeros(3, len(one.names()), dtype=torch.long, device="meta") for one in (ThinkerState, TalkerState)]
    recent = torch.zeros(3, REPEATED, dtype=torch.long, device="meta")
    options = torch.zeros(3, TEXT_OPTIONS + 2, device="meta")
    answer, hidden = step.think([torch.zeros(3, 128, 32, device="meta"), numbers[0], options, recent], 256)
    (wave,) = step.speak([numbers[1], torch.zeros(3, 4, 16, device="meta"), answer, hidden], 256)
    assert (answer.shape, wave.shape) == ((3, 3), (3, 7680 + shape.segments))
    assert hidden.shape == (3, 2, ghost.config.thinker_config.text_config.hidden_size)
    with pytest.raises((RuntimeError, NotImplementedError)):
        answer[0, 0].item()


def test_released_size_matches_its_weights():
    """As published: 35.3 billion weights, including a text model of 30,532,122,624 (with 151,936 rows instead of 152,064 in two
    tables), 650 million of the audio tower, 540 million for pictures, 3 billion of the talker, 200 million of the
    vocoder.
    """
    ghost = skeleton(released_config()).to(torch.bfloat16)
    thinker, talker = ghost.thinker, ghost.talker
    text = parameters(thinker.model.language_model) + parameters(thinker.lm_head)
    assert text == 30_532_122_624 + 2 * 128 * 2048
    assert round(parameters(thinker.model.audio_tower) / 1e6, -1) == 650
    assert round(parameters(thinker.model.visual) / 1e6, -1) == 540
    assert round(parameters(talker) / 1e9, 1) == 3.3
    assert round(parameters(talker.code_predictor.model.layers) / 1e6) == 79
    assert round(parameters(ghost.code2wav) / 1e6) == 216
    assert round(parameters(ghost) / 1e9, 1) == 35.3
    assert sum(one.numel() * one.element_size() for one in ghost.parameters()) == 2 * parameters(ghost)
    heads = thinker.model.language_model.layers[0].self_attn
    assert (heads.q_proj.out_features, heads.k_proj.out_features, heads.head_dim) == (32 * 128, 4 * 128, 128)
    assert (len(talker.code_predictor.lm_head), ghost.code2wav.config.num_quantizers) == (15, 16)
    assert ghost.code2wav.total_upsample == 1920


def test_minimum_work_of_the_published_size():
    """Weights read and operations of a chunk, counted independently: transformers by hand, convolutions one by one."""
    ghost = skeleton(released_config())
    thinker = 48 * (2048 * 128 * (32 + 4 + 4 + 32) + 2 * 128 + 2 * 2048 + 128 * 2048 + 8 * 3 * 2048 * 768)
    thinker += 2048 + 152_064 * 2048
    talker = 20 * (1024 * 128 * (16 + 2 + 2 + 16) + 2 * 128 + 2 * 1024 + 128 * 1024 + 6 * 3 * 1024 * 384)
    talker += 20 * (3 * 1024 * 768 + 1024) + 1024 + 3072 * 1024
    predictor = 5 * (1024 * 128 * (16 + 8 + 8 + 16) + 2 * 128 + 2 * 1024 + 3 * 1024 * 3072) + 1024 + 2048 * 1024
    tower, transformer = parameters(ghost.thinker.model.audio_tower), parameters(ghost.code2wav.pre_transformer)
    vocoder = parameters(ghost.code2wav) - 16 * 2048 * 1024
    convolved = []

    def count(module, inputs, out):
        if isinstance(module, torch.nn.ConvTranspose1d):
            convolved.append(inputs[0].numel() * module.weight.numel() // module.in_channels)
        elif isinstance(module, torch.nn.Conv1d | torch.nn.Linear):
            convolved.append(out.numel() * module.weight.numel() // module.weight.shape[0])

    states = torch.empty(1, 1024, 14, device="meta")
    for blocks in (*ghost.code2wav.upsample, ghost.code2wav.decoder):
        for block in blocks:
            hooks = [part.register_forward_hook(count) for part in block.modules()]
            states = block(states)
            for hook in hooks:
                hook.remove()
    work = chunk_work(ghost, GRID, 2)
    assert work.weights == 3 * thinker + 4 * talker + 60 * predictor + tower + vocoder
    alone = 6 * thinker + 4 * talker + 60 * predictor + 4 * tower + 4 * transformer
    assert work.flops == 2 * (alone + sum(convolved))


def test_slots_use_given_features(model, tokenizer, heard):
    """`AudioInput.features` can be precomputed; samples alone are sufficient too."""
    engine = engine_of(model, tokenizer, slots=2, conditioning="hidden:2")
    one, other = engine.open(BRIEF), engine.open(BRIEF)
    first = heard[0]
    bare = AudioInput(first.features[:, :, :0], first.samples, 0, 0)
    other_sound = AudioInput(heard[3].features, first.samples, 0, 0)
    with_features, without = engine.step_batch([one, other], [first, bare])
    assert with_features[1].audio_bytes == without[1].audio_bytes
    one.reset()
    assert (one.step(other_sound)[0].hidden_states != with_features[0].hidden_states).any()


# Options of a session


def test_slots_follow_every_option_as_streams(model, tokenizer, heard):
    """Sessions with other options than their neighbours, with and without `carry_second_token`.

    Silence is likely enough for a bias to matter.
    """
    duplex = DuplexConfig(hold_id=151_647, start_id=151_648, stop_id=151_649)
    chosen = [
        GenerationOptions(
            text_temperature=0.8,
            text_top_p=0.9,
            text_top_k=7,
            text_repetition_penalty=1.5,
            silence_bias=0.5,
            tell="once",
        ),
        GenerationOptions(
            force_listen_s=0.64, max_turn_s=0.64, turn_pause_s=0.32, silence_bias=-1, yield_to_speech=False
        ),
        GenerationOptions(yield_to_speech=True, text_temperature=2),
    ]
    marks = torch.tensor([151_646, 151_648, 151_649])
    hook = model.thinker.lm_head.register_forward_hook(
        lambda _module, _inputs, logits: logits.index_add(
            -1, marks, logits[..., :3] + logits.amax(-1, keepdim=True) - 1
        )
    )
    try:
        plain = engine_of(model, tokenizer, duplex=duplex)
        engines = [
            engine_of(model, tokenizer, slots=3, duplex=duplex, carry_second_token=carry) for carry in (False, True)
        ]
        configs = [SessionConfig(prompt="Be brief.", generation=one) for one in chosen]
        alone, *slots = ([engine.open(one) for one in configs] for engine in (plain, *engines))
        assert engines[0].info.follows_generation
        said = [[] for _ in chosen]
        for one in heard[:6]:
            expected = [session.step(one) for session in alone]
            for engine, sessions in zip(engines, slots, strict=True):
                for i, frames in enumerate(engine.step_batch(sessions, [one] * 3)):
                    same(frames, expected[i])
                    said[i].append(frames[0].token_ids)
    finally:
        hook.remove()
    assert said[1][:4] == [(151_646,)] * 4  # both must listen in the first two chunks
    assert len({str(tokens) for tokens in said}) == 3


def test_slots_end_segments_as_streams(model, tokenizer, heard):
    """Turns of two chunks at most; in one of seven frames in which it may, the talker chooses its end token."""
    duplex = DuplexConfig(hold_id=151_647, start_id=151_648, stop_id=151_649)
    segments = GenerationOptions(voice="per-segment", max_turn_s=0.64, turn_pause_s=0.64, text_temperature=1)
    chosen = [segments, GenerationOptions(voice="continuous"), dataclasses.replace(segments, tell="once")]
    end, ended = model.talker.config.codec_eos_token_id, []

    def often_end(_module, inputs, logits):
        logits[..., end] = torch.where((1000 * inputs[0].sum(-1)).cos() > 0.9, 100, -100)
        return logits

    hook = model.talker.codec_head.register_forward_hook(often_end)
    try:
        plain = engine_of(model, tokenizer, duplex=duplex)
        engine = engine_of(model, tokenizer, slots=3, duplex=duplex, voice="per-segment")
        configs = [SessionConfig(prompt="Be brief.", generation=one) for one in chosen]
        alone, slots = [plain.open(one) for one in configs], [engine.open(one) for one in configs]
        for n, one in enumerate(heard[:12]):
            for i, (frames, session) in enumerate(zip(engine.step_batch(slots, [one] * 3), alone, strict=True)):
                same(frames, session.step(one))
                if i != 1:
                    ended.append(VoicePhase(session.voice._phase))
            if n == 9:
                for session in (*slots, *alone):
                    session.interrupt(5)
    finally:
        hook.remove()
    assert set(ended) == set(VoicePhase)


def test_a_continuous_engine_refuses_segments_in_slots(model, tokenizer):
    engine = engine_of(model, tokenizer, slots=1)
    with pytest.raises(ConfigError, match=r"the slots of the engine are continuous"):
        engine.open(SessionConfig(generation=GenerationOptions(voice="per-segment")))
    assert engine.open(BRIEF)
