"""The Qwen3-Omni engine on a tiny random model: streamed results equal those of the library in one call; invalid input."""

import copy

import numpy as np
import pytest
import soundfile
import torch
from transformers import Qwen3OmniMoeForConditionalGeneration
from typer.testing import CliRunner

from sca.audio.mel import log_mel
from sca.audio.pcm import INT16_MAX, pcm16_bytes
from sca.cli.main import app
from sca.config import DuplexConfig, QwenConfig
from sca.errors import ConfigError
from sca.infer.engine import SessionConfig
from sca.infer.engines.qwen_omni.streaming.code2wav import Code2WavStream
from sca.infer.engines.qwen_omni.streaming.engine import QwenOmni
from sca.infer.engines.qwen_omni.streaming.sampling import Sampler
from sca.infer.engines.qwen_omni.streaming.talker import TalkerStream, predict_residuals
from sca.infer.engines.qwen_omni.streaming.thinker import ThinkerStream
from sca.infer.frames import NO_FEATURES, AudioInput, AudioOutput, TurnEnd
from sca.tokenizer import system_turn
from sca.train.tiny import build
from sca.units import Grid
from tests.helpers.engine_contract import comparable, demo_speech, inputs_of
from tests.helpers.omni import OmniContract, qwen_tokenizer

GRID = Grid()
GREEDY = Sampler(0, 1, 0)
TTS_PAD, TTS_BOS, TTS_EOS = 151671, 151672, 151673


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def model(tiny_omni):
    torch.set_num_threads(1)  # more threads are slower on a busy machine
    return Qwen3OmniMoeForConditionalGeneration.from_pretrained(tiny_omni, local_files_only=True).eval()


@pytest.fixture(scope="module")
def mels():
    """Ten chunks of different sounds, `(10, 128, 32)`."""
    speech = demo_speech(seconds=4)[: 8 * GRID.heard_samples].reshape(8, -1)
    tone = np.sin(np.arange(GRID.heard_samples) * 2 * np.pi * 300 / 16_000) * 0.3
    noise = np.random.default_rng(0).standard_normal(GRID.heard_samples) * 0.1
    return torch.from_numpy(log_mel(np.concatenate([speech, tone[None], noise[None]]).astype(np.float32)))


# The thinker


def whole_forward(model, embeds, **more):
    places = torch.arange(embeds.shape[1]).view(1, 1, -1).expand(3, 1, -1)
    return model.thinker(inputs_embeds=embeds, position_ids=places, use_cache=False, **more)


def steps_of(stream, mels, seed):
    """Chunks as pieces of embeddings: a prompt, then four audio tokens and one or two text tokens, one at a time."""
    draw = np.random.default_rng(seed)
    yield stream.embed(draw.integers(0, 151_643, 11).tolist())
    for i, mel in enumerate(mels):
        yield stream.listen(mel[None])
        for token in draw.integers(0, 151_643, 1 + i % 2).tolist():
            yield stream.embed([token])


def test_thinking_stepwise_equals_one_forward(model, mels):
    stream = ThinkerStream(model.thinker)
    pieces = list(steps_of(stream, mels, 0))
    stepped = [stream.push(piece, hidden_layer=2) for piece in pieces]
    logits, hidden = (torch.cat(one, 1) for one in zip(*stepped, strict=True))
    whole = whole_forward(model, torch.cat(pieces, 1), output_hidden_states=True)
    assert stream.window.position == logits.shape[1] == 11 + 10 * 4 + 15
    assert (logits - whole.logits).abs().max() <= 1e-5 * max(1, whole.logits.abs().max())
    assert torch.equal(logits.argmax(-1), whole.logits.argmax(-1))
    assert (hidden - whole.hidden_states[2]).abs().max() <= 1e-5 * max(1, hidden.abs().max())


def test_interleaved_thinkers_equal_separate_ones(model, mels):
    halves, alone = (mels[:5], mels[5:]), []
    for seed, half in enumerate(halves):
        stream = ThinkerStream(model.thinker)
        alone.append([stream.push(piece)[0] for piece in steps_of(stream, half, seed)])
    model.thinker.model.rope_deltas = torch.tensor([[1234]])  # the state that a session with an image leaves
    streams = [ThinkerStream(model.thinker) for _ in halves]
    together = [[], []]
    walks = [steps_of(stream, half, seed) for seed, (stream, half) in enumerate(zip(streams, halves, strict=True))]
    for pair in zip(*walks, strict=False):
        for stream, piece, kept in zip(streams, pair, together, strict=True):
            kept.append(stream.push(piece)[0])
    model.thinker.model.rope_deltas = None
    for one, other in zip(alone, together, strict=True):
        assert len(other) > 10
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=False))


def test_encodes_a_chunk_alone_as_in_a_batch(model, mels):
    """As in the training collator: one encoder item per chunk."""
    mask = torch.ones(len(mels), mels.shape[-1], dtype=torch.long)
    batch = model.thinker.get_audio_features(mels, feature_attention_mask=mask).last_hidden_state.view(10, 4, -1)
    stream = ThinkerStream(model.thinker)
    alone = torch.cat([stream.listen(mel[None]) for mel in mels])
    assert (alone - batch).abs().max() <= 1e-5


# The talker


def project(model, ids):
    return model.talker.text_projection(model.thinker.get_input_embeddings()(torch.tensor([ids])))


def test_code_predictor_equals_generate(model):
    draw = torch.Generator().manual_seed(0)
    hidden = torch.randn(1, 1, 48, generator=draw)
    first = torch.tensor([[77]])
    made = model.talker.code_predictor.generate(
        inputs_embeds=torch.cat((hidden, model.talker.get_input_embeddings()(first)), 1),
        max_new_tokens=15,
        do_sample=False,
    )
    codes = predict_residuals(model.talker, hidden, first, GREEDY)
    assert codes.tolist() == [[77, *made[0].tolist()]]
    assert len(set(codes[0].tolist())) > 5


def test_talker_frames_equal_generate(model):
    pad, bos = project(model, [TTS_PAD, TTS_BOS]).chunk(2, 1)
    text = project(model, [9707, 11, 1879, 0, 100, 2000, 30000, 4, 55555])
    frames = text.shape[1]
    stream = TalkerStream(model.talker, 2302, pad, bos, GREEDY)
    streamed = torch.stack([stream.frame(text[:, i : i + 1]) for i in range(frames)], -1)
    vocab = model.config.talker_config.text_config.vocab_size
    opening = TalkerStream.opening(model.talker, 2302, pad, bos)
    made = model.talker.generate(
        inputs_embeds=opening,
        attention_mask=torch.ones(opening.shape[:2], dtype=torch.long),
        talker_input_ids=torch.full(opening.shape[:2], TTS_PAD),
        trailing_text_hidden=text,
        tts_pad_embed=pad,
        max_new_tokens=frames + 1,
        do_sample=False,
        suppress_tokens=list(range(vocab - 1024, vocab)),
        output_hidden_states=True,
        return_dict_in_generate=True,
    )
    expected = torch.stack([step[-1] for step in made.hidden_states if step[-1] is not None], -1)
    assert expected.shape == (1, 16, frames)
    assert torch.equal(streamed, expected)
    assert len(set(streamed[0, 0].tolist())) > 2  # the conditioning matters


def test_control_codes_are_never_selected(model):
    """The logits of control codes are far above all others, and still none is selected."""
    pad, bos = project(model, [TTS_PAD, TTS_BOS]).chunk(2, 1)
    vocab = model.config.talker_config.text_config.vocab_size
    raise_marks = model.talker.codec_head.register_forward_hook(
        lambda _module, _inputs, logits: logits + 1e4 * (torch.arange(vocab) >= vocab - 1024)
    )
    try:
        stream = TalkerStream(model.talker, 2302, pad, bos, GREEDY)
        codes = torch.cat([stream.frame(pad) for _ in range(4)])
    finally:
        raise_marks.remove()
    assert codes.max() < 2048


# The vocoder


def test_streamed_wave_equals_the_whole(model):
    """Over 86 frames the attention window of 72 moves; pushes can have any size."""
    sizes = [4, 60, 8, 4, 1, 1, 4, 4]
    codes = torch.randint(2048, (1, 16, sum(sizes)), generator=torch.Generator().manual_seed(0))
    vocoder = copy.deepcopy(model.code2wav).double()
    pieces = list(map(Code2WavStream(vocoder).push, codes.split(sizes, -1)))
    lengths = [piece.shape[-1] for piece in pieces]
    assert lengths == [7125, *(1920 * n for n in sizes[1:])]
    assert lengths[3] == 7680
    assert (torch.cat(pieces, -1) - vocoder(codes)).abs().max() <= 1e-12


@pytest.mark.parametrize("gain", [0.8, 1], ids=["as loud as speech", "clipping"])
def test_streamed_wave_in_float32(model, gain):
    """At full gain 1 of 40 samples clips, and sums in another order differ by 5e-6.

    Nothing is, where the kernels are those of the log's machine; other processors have others.
    """
    near = 1e-6 if gain < 1 else 1e-5
    sizes = [4, 60, 8, 4, 1, 1, 4, 4, 10]
    codes = torch.randint(2048, (1, 16, sum(sizes)), generator=torch.Generator().manual_seed(0))
    vocoder = copy.deepcopy(model.code2wav)
    for part in (vocoder.upsample, vocoder.decoder):
        for weight in part.parameters():
            weight.mul_(gain if weight.dim() >= 2 else 1)
    streamed = torch.cat(list(map(Code2WavStream(vocoder).push, codes.split(sizes, -1))), -1)
    whole = vocoder(codes)
    exact = copy.deepcopy(vocoder).double()(codes)
    assert 0.2 < whole.abs().max() <= 1
    assert (streamed - whole).abs().max() <= near
    assert (streamed - exact).abs().max() <= 2 * (whole - exact).abs().max()
    # Decoding at once is not that reproducible: the last frames round differently if they are not a multiple of 16.
    shorter = vocoder(codes[..., :86])
    ends = 80 * 1920 - 555
    assert (shorter - streamed[..., : shorter.shape[-1]])[..., :ends].abs().max() <= near
    assert (shorter - streamed[..., : shorter.shape[-1]]).abs().max() <= 1e-5


def test_vocoder_never_runs_out_of_positions(model):
    """The positions start again every hundred frames; the output equals that of the whole, which continues to count."""
    sizes = [4, 60, 20, 17, 16, 4, 30, 1, 48]
    codes = torch.randint(2048, (1, 16, sum(sizes)), generator=torch.Generator().manual_seed(1))
    vocoder = copy.deepcopy(model.code2wav).double()
    streamed = torch.cat(list(map(Code2WavStream(vocoder, positions=100).push, codes.split(sizes, -1))), -1)
    assert (streamed - vocoder(codes)).abs().max() <= 1e-5  # rotations are float32 in the model


# Sampling


def test_seed_selects_the_sample_from_the_top_k():
    logits = torch.randn(200, 1, 50, generator=torch.Generator().manual_seed(0))
    one, same, other = ([Sampler(0.9, 5, seed)(row).item() for row in logits] for seed in (3, 3, 4))
    pick = Sampler(0.9, 5, 3)
    drawn = [pick(row).item() for row in logits]
    assert one == same
    assert one != other
    assert all(token in row.topk(5).indices for token, row in zip(drawn, logits, strict=True))
    assert drawn != [GREEDY(row).item() for row in logits]


# The engine


def engine_of(model, duplex=None, **qwen):
    return QwenOmni(model, qwen_tokenizer(), QwenConfig(model_id="tiny", **qwen), duplex or DuplexConfig())


@pytest.fixture(scope="module")
def omni(model):
    return engine_of(model)


class TestContract(OmniContract):
    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls):
        return engine_of(build(books=3, vocoder_width=16))


@pytest.fixture(scope="module")
def heard():
    return list(inputs_of(demo_speech(seconds=1), features=True))


def test_tokens_match_the_order_of_training_rows(omni, model, heard):
    """Prompt, then per chunk four audio tokens and the answer: one forward of that row gives the same answer."""
    session = omni.open(SessionConfig(prompt="Be brief."))
    answers = [session.step(one)[0].token_ids for one in heard]
    stream = ThinkerStream(model.thinker)
    pieces, asked = [stream.embed(list(system_turn(omni.tokenizer, "Be brief.")))], []
    for one, answer in zip(heard, answers, strict=True):
        pieces.append(stream.listen(torch.from_numpy(one.features)))
        for token in answer:
            asked.append((sum(piece.shape[1] for piece in pieces) - 1, token))
            pieces.append(stream.embed([token]))
    logits = whole_forward(model, torch.cat(pieces, 1)).logits[0].masked_fill(omni.forbidden, float("-inf"))
    assert [(at, int(logits[at].argmax())) for at, _ in asked] == asked


def test_silence_is_one_token_and_ends_the_turn(omni, model, heard):
    silent = {"now": False}

    def only_silence(_module, _inputs, logits):
        return logits + 1e4 * (torch.arange(logits.shape[-1]) == omni.silence) if silent["now"] else logits

    hook = model.thinker.lm_head.register_forward_hook(only_silence)
    try:
        session = omni.open(SessionConfig())
        spoken = session.step(heard[0])
        silent["now"] = True
        later = [session.step(AudioInput(h.features, h.samples, 1 + i, 0)) for i, h in enumerate(heard)]
    finally:
        hook.remove()
    assert len(spoken[0].token_ids) == 2
    assert {frames[0].token_ids for frames in later} == {(omni.silence,)}
    assert [[f.turn_id for f in frames if isinstance(f, TurnEnd)] for frames in later] == [[], [0], []]
    assert [f.turn_id for frames in later for f in frames if isinstance(f, AudioOutput)] == [0, 0, 1]
    assert all(not f.text_log for frames in later for f in frames if isinstance(f, AudioOutput))


def test_audio_is_continuous(omni, heard):
    session = omni.open(SessionConfig())
    said = [np.frombuffer(session.step(one)[1].audio_bytes, "<i2") for one in heard]
    assert [len(one) for one in said] == [7680] * len(heard)
    assert not said[0][:555].any()
    assert said[0][555:].any()


def test_uses_given_features_and_replaces_nan(omni, heard):
    samples = heard[0].samples.copy()
    samples[100:110] = np.nan
    samples[200] = np.inf
    clean = np.where(np.isfinite(samples), samples, np.float32(0))
    one, other, third = (omni.open(SessionConfig()) for _ in range(3))
    expected = comparable(one.step(AudioInput(log_mel(clean)[None], clean, 0, 0)))
    assert comparable(other.step(AudioInput(NO_FEATURES, clean, 0, 0))) == expected
    with np.errstate(invalid="ignore"):  # invalid input
        broken = log_mel(samples)[None]
    assert comparable(third.step(AudioInput(broken, samples, 0, 0))) == expected
    assert (one.non_finite, third.non_finite) == (0, 11)
    fourth = omni.open(SessionConfig())
    assert comparable(fourth.step(AudioInput(np.full_like(broken, np.nan), clean, 0, 0))) == expected


def test_conditioning_is_a_setting(model, omni, heard):
    deep = engine_of(model, conditioning="hidden:2")
    by_embed, by_hidden = (engine.open(SessionConfig()).step(heard[0]) for engine in (omni, deep))
    assert by_embed[0].token_ids == by_hidden[0].token_ids
    embedded = model.thinker.get_input_embeddings()(torch.tensor([by_embed[0].token_ids]))
    assert torch.equal(by_embed[0].hidden_states, embedded)
    assert not torch.equal(by_hidden[0].hidden_states, embedded)
    assert by_embed[1].audio_bytes != by_hidden[1].audio_bytes


@pytest.mark.parametrize(
    ("qwen", "duplex", "match"),
    [
        ({"speaker": "nobody"}, {}, "does not have a speaker nobody"),
        ({"conditioning": "hidden:9"}, {}, "the thinker has 4 layers"),
        ({}, {"silence_token_id": 152_000}, "which is not a token of"),
        ({}, {"hold_id": 151_646}, "duplex.hold_id and duplex.silence_token_id are both 151646"),
        ({}, {"start_id": 9707}, "duplex.start_id is 9707, which builtin:qwen uses for the text"),
        ({}, {"stop_id": 151_675}, "duplex.stop_id is 151675, which is a placeholder of the model"),
        ({}, {"stop_id": 151_672}, "duplex.stop_id is 151672, <tts_text_bos>, which has another meaning for the model"),
        ({}, {"backchannel_id": 152_000}, "duplex.backchannel_id is 152000, which is not a token of builtin:qwen"),
    ],
)
def test_rejects_settings_that_do_not_fit_the_model(model, qwen, duplex, match):
    with pytest.raises(ConfigError, match=match):
        engine_of(model, DuplexConfig(**duplex), **qwen)


def test_warns_about_a_silence_token_that_is_text(model, caplog):
    engine_of(model, DuplexConfig(silence_token_id=9707))
    assert "is a token of ordinary text" in caplog.text


def test_uses_the_audio_token_of_the_checkpoint(model, omni, monkeypatch):
    """Another audio token, here a word, is not spoken, and the input is the same. The silence token is rejected."""
    assert omni.forbidden[151_675]
    assert not omni.forbidden[9707]
    monkeypatch.setattr(model.config.thinker_config, "audio_token_id", 9707)
    other = engine_of(model)
    assert other.forbidden[9707]
    speech = list(inputs_of(demo_speech(seconds=1), features=True))
    one, two = (engine.open(SessionConfig()).step(speech[0]) for engine in (omni, other))
    assert comparable(one) == comparable(two)
    monkeypatch.setattr(model.config.thinker_config, "audio_token_id", 151_646)  # the default of the class
    with pytest.raises(ConfigError, match="is 151646, which is a placeholder of the model"):
        engine_of(model)


def test_rejects_audio_of_another_rate(omni):
    """0.32 s at 24 kHz has another length."""
    with pytest.raises(ValueError, match=r"takes float32 \(5120,\) at 16 kHz, got float32 \(7680,\)"):
        omni.open(SessionConfig()).step(AudioInput(NO_FEATURES, np.zeros(7680, np.float32), 0, 0))


def test_thought_packets_are_sufficient_for_the_voice(model, heard):
    """As in two processes: the output of the voice for the packets equals that of the session."""
    for conditioning in ("embed", "hidden:2"):
        engine = engine_of(model, conditioning=conditioning)
        session = engine.open(SessionConfig())
        marks = model.thinker.get_input_embeddings()(torch.tensor([[TTS_PAD, TTS_BOS, TTS_EOS]]))
        voice = engine.voice(GRID, marks, engine.qwen)
        for one in heard:
            thought, said, *_ = session.step(one)
            assert thought.hidden_states.shape == (1, len(thought.token_ids), 64)
            assert pcm16_bytes(voice.speak(thought.token_ids, thought.hidden_states), INT16_MAX) == said.audio_bytes


def test_control_tokens_do_not_reach_the_talker(model, heard):
    """A word sounds the same next to silence and next to each control token."""
    start, word = 151_648, 9707
    engine = engine_of(model, DuplexConfig(start_id=start))
    marks = model.thinker.get_input_embeddings()(torch.tensor([[TTS_PAD, TTS_BOS, TTS_EOS]]))
    sounds = {}
    for tokens in ((start, word), (engine.silence, word), (word, word)):
        hidden = model.thinker.get_input_embeddings()(torch.tensor([tokens]))
        sounds[tokens[0]] = engine.voice(GRID, marks, engine.qwen).speak(tokens, hidden)
    assert np.array_equal(sounds[start], sounds[engine.silence])
    assert not np.array_equal(sounds[start], sounds[word])


def test_default_conditioning_equals_generate(model, omni):
    """The input of the talker in `generate` of the model, recorded by a hook."""
    tokenizer = omni.tokenizer
    start, end = (tokenizer.token_to_id(mark) for mark in ("<|im_start|>", "<|im_end|>"))
    line = tokenizer.encode("\n")
    said = [start, *tokenizer.encode("user"), *line, *tokenizer.encode("Hello, world!"), end, *line]
    prompt = torch.tensor([[*said, start, *tokenizer.encode("assistant"), *line]])
    caught = []

    def record_conditioning(_module, _args, given):
        caught.append(given["trailing_text_hidden"])

    hook = model.talker.register_forward_pre_hook(record_conditioning, with_kwargs=True)
    try:
        tokens, _ = model.generate(
            input_ids=prompt,
            thinker_max_new_tokens=6,
            thinker_do_sample=False,
            talker_max_new_tokens=3,
            talker_repetition_penalty=1.0,
        )
    finally:
        hook.remove()
    words = tokens[0, prompt.shape[1] :].tolist()
    assert len(set(words[1:5])) > 2
    assert QwenConfig().conditioning == "embed"
    stream = ThinkerStream(model.thinker)
    _, ours = stream.push(stream.embed(words[1:]), hidden_layer=omni.layer)
    # The first word is in the prompt of the talker. The last one was not fed back to the thinker; a marker replaces it.
    torch.testing.assert_close(model.talker.text_projection(ours)[:, :4], caught[0][:, :4])
    assert caught[0].shape[1] == 5


# The command


def on_file(tiny_omni, heard, out, *options):
    """Run `sca live` in this process, which has imported torch and transformers already."""
    command = ["live", "--file", heard, "--out", out, "--engine", "qwen-omni", "--set", f"qwen.model_id={tiny_omni}"]
    done = CliRunner().invoke(app, [str(word) for word in (*command, *options)])
    assert done.exit_code == 0, done.output
    return done


def test_command_on_a_recording(tiny_omni, trial_data, tmp_path):
    clip = trial_data / "clips" / "jfk.flac"
    samples, rate = soundfile.read(clip, frames=3 * soundfile.info(clip).samplerate)
    soundfile.write(tmp_path / "in.flac", samples, rate)
    done = on_file(tiny_omni, tmp_path / "in.flac", tmp_path / "out.wav", "--set", "qwen.torch_dtype=float32")
    assert "qwen-omni: Qwen3-Omni, " in done.stderr
    assert done.stdout.startswith("heard 3.00 s, spoke ")
    said, rate = soundfile.read(tmp_path / "out.wav")
    assert (len(said), rate) == (72_000, 24_000)
    assert np.abs(said[-48_000:]).max() > 0


def test_command_with_other_rate_nan_and_short_context(tiny_omni, tmp_path):
    """Stereo at 44.1 kHz is resampled; NaN samples are counted; dropped context is reported. In bfloat16."""
    sound = np.random.default_rng(0).uniform(-0.1, 0.1, (44_100, 2)).astype(np.float32)
    sound[1000:1005, 0] = np.nan
    soundfile.write(tmp_path / "in.wav", sound, 44_100, subtype="FLOAT")
    done = on_file(tiny_omni, tmp_path / "in.wav", tmp_path / "out.wav", "--set", "qwen.context_tokens=64")
    assert "in the input: 5 samples without a number (replaced by 0)" in done.stdout
    assert "is dropped (qwen.context_tokens is 64)" in done.stderr
    said, rate = soundfile.read(tmp_path / "out.wav")
    assert (len(said), rate) == (24_000, 24_000)
