"""The engine csm with a tiny random model: streamed = at once = `generate` of transformers, limits and cancellation."""

import threading

import numpy as np
import pytest
import torch

from sca.audio.resample import resample
from sca.config import CsmConfig, Settings
from sca.errors import InputError, MissingToolError, UsageError
from sca.infer.speech.csm.engine import CsmEngine
from sca.infer.speech.csm.frames import FrameLoop
from sca.infer.speech.csm.load import load_csm
from sca.infer.speech.csm.prompt import Segment
from sca.infer.speech.csm.sampling import Sampling
from sca.infer.speech.csm.speech import CsmSpeech
from sca.infer.speech.registry import engine_state, load_speech_engine
from scripts.make_tiny_csm import save
from tests.helpers.spoken import whole

TEXT = "Hello there, how are you?"
NO_SPECIALS = {"suppress_tokens": [2048, 2049, 2050], "depth_decoder_suppress_tokens": [2048, 2049, 2050]}
GREEDY = {"do_sample": False, "depth_decoder_do_sample": False}
SAMPLED = {
    "do_sample": True,
    "temperature": 0.9,
    "top_k": 50,
    "depth_decoder_do_sample": True,
    "depth_decoder_temperature": 0.9,
    "depth_decoder_top_k": 50,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save(tmp_path_factory.mktemp("csm") / "tiny", positions=256)


@pytest.fixture(scope="module")
def loaded(folder):
    return load_csm(CsmConfig(model_id=str(folder)))


@pytest.fixture(scope="module")
def speech(loaded):
    return CsmSpeech(*loaded)


def segment(seconds=0.7, rate_hz=24_000, speaker=1, text="And how are you?"):
    tone = 0.3 * np.sin(np.arange(int(seconds * rate_hz)) * 2 * np.pi * 220 / rate_hz)
    return Segment(speaker, text, tone.astype(np.float32), rate_hz)


def reference(loaded, frames, seed=0, context=(), **options):
    """What `generate` of transformers returns for the same prompt: codes and audio."""
    model, tokenizer = loaded
    ids, waves = [], []
    for one in context:
        waves.append(torch.from_numpy(resample(one.samples, one.sample_rate, 24_000)))
        count = -(-len(waves[-1]) // 1920)
        ids += [*tokenizer.encode(f"[{one.speaker}]{one.text}"), *[258] * count, 259]
    ids = torch.tensor([[*ids, *tokenizer.encode(f"[0]{TEXT}")]])
    heard = {}
    if waves:
        ends = torch.tensor([[len(wave) for wave in waves]]).cumsum(-1)
        heard = {"input_values": torch.cat(waves)[None, None], "input_values_cutoffs": ends}
    torch.manual_seed(seed)
    with torch.no_grad():
        made = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=frames,
            output_audio=True,
            return_dict_in_generate=True,
            **heard,
            **NO_SPECIALS,
            **options,
        )
    return made.sequences[0], made.audio[0].numpy()


@pytest.mark.parametrize(
    ("options", "temperature", "context"),
    [(GREEDY, 0.0, ()), (SAMPLED, 0.9, ()), (GREEDY, 0.0, (segment(), segment(0.5, 16_000, 0, "Fine.")))],
    ids=["greedy", "sampled", "context"],
)
def test_streamed_speech_is_that_of_generate(loaded, speech, options, temperature, context):
    codes, audio = reference(loaded, 8, seed=3, context=context, **options)
    stream = speech.generate_streaming(
        TEXT, 0, context, 8 * 80, temperature=temperature, topk=50, first_chunk_frames=2, seed=3
    )
    chunks = [chunk.numpy() for chunk in stream]
    assert [len(chunk) for chunk in chunks] == [2 * 1920, 6 * 1920]
    assert np.abs(np.concatenate(chunks) - audio).max() <= 1e-5
    assert codes.shape == (8, 32)


def test_codes_are_those_of_generate(loaded):
    model, tokenizer = loaded
    codes, _ = reference(loaded, 6, seed=5, **SAMPLED)
    loop = FrameLoop(model, graphs=True)
    prompt = model.embed_text_tokens(torch.tensor([tokenizer.encode(f"[0]{TEXT}")])).detach()
    for _ in range(2):  # caches are used again
        assert torch.equal(torch.stack(list(loop.run(prompt, 6, Sampling(0.9, 50, 2048), 5))), codes)


@pytest.mark.gpu
def test_graphs_give_the_same_codes(folder):
    model, tokenizer = load_csm(CsmConfig(model_id=str(folder), device="cuda", dtype="float32"))
    prompt = model.embed_text_tokens(torch.tensor([tokenizer.encode(f"[0]{TEXT}")], device="cuda")).detach()
    plain, graphs = FrameLoop(model, graphs=False), FrameLoop(model, graphs=True)
    for sampling in (Sampling(0, 50, 2048), Sampling(0.9, 50, 2048)):
        found = [torch.stack(list(loop.run(prompt, 20, sampling, 1))) for loop in (plain, graphs)]
        assert torch.equal(*found)
    assert graphs.captured == 2


def test_any_chunk_size_gives_the_same_sound(speech):
    sizes = ((6, None), (1, None), (5, 3), (9, 9))
    whole_ones = [
        torch.cat(list(speech.generate_streaming(TEXT, 0, (), 720, chunk_frames=later, first_chunk_frames=first)))
        for later, first in sizes
    ]
    assert all((one - whole_ones[0]).abs().max() <= 1e-5 for one in whole_ones)
    assert len(whole_ones[0]) == 9 * 1920


def test_the_end_of_the_speech_is_not_heard(speech, monkeypatch):
    frames = iter([*torch.full((7, 32), 5), torch.zeros(32, dtype=torch.long)])
    monkeypatch.setattr(speech._loop, "_next", lambda *given: next(frames))
    chunks = list(speech.generate_streaming(TEXT))
    assert [len(chunk) // 1920 for chunk in chunks] == [6, 1]


def test_closing_ends_within_a_frame(speech, monkeypatch):
    made, closings, go_on = [], [], threading.Semaphore(0)
    original, chunks = speech._loop._next, speech._chunks

    def counted(*given):
        go_on.acquire()
        made.append(1)
        return original(*given)

    def watched(plan, sampling, seed, closed):
        closings.append(closed)
        return chunks(plan, sampling, seed, closed)

    monkeypatch.setattr(speech._loop, "_next", counted)
    monkeypatch.setattr(speech, "_chunks", watched)
    stream = speech.generate_streaming(TEXT, first_chunk_frames=1, chunk_frames=5)
    go_on.release()
    next(stream)
    closer = threading.Thread(target=stream.close)
    closer.start()
    assert closings[0].wait(60)  # the stream is being closed
    go_on.release()
    closer.join(60)
    assert not closer.is_alive()
    assert len(made) <= 2
    monkeypatch.undo()
    assert len(next(speech.generate_streaming(TEXT, max_audio_length_ms=80))) == 1920  # the model is free


def test_a_slow_reader_bounds_the_queue(speech, monkeypatch):
    made, done = [], threading.Event()
    original = speech._loop._next

    def counted(*given):
        made.append(1)
        if len(made) == 6 + 5 * 6:  # in hand, in the queue, and waiting for the queue
            done.set()
        return original(*given)

    monkeypatch.setattr(speech._loop, "_next", counted)
    stream = speech.generate_streaming(TEXT, max_audio_length_ms=80_000)
    next(stream)
    assert done.wait(60)
    stream.close()
    assert len(made) <= 6 * (1 + 5 + 2)


@pytest.mark.parametrize(
    ("context", "text", "message"),
    [
        ([Segment(1, "Hi", np.zeros(0, np.float32))], TEXT, "context segment 1: the audio is empty"),
        ([Segment(1, "Hi", np.full(99, np.nan, np.float32))], TEXT, "values that are not finite"),
        ([Segment(1, "Hi", np.zeros((9, 2), np.float32))], TEXT, r"float mono \(n,\)"),
        ([Segment(1, "Hi", np.zeros(9, np.int16))], TEXT, "float mono"),
        ([Segment(1, "Hi", np.zeros(9, np.float32), 100)], TEXT, "sample rate should be 4000"),
        ([segment(speaker=100)], TEXT, "speaker should be 0 to 99"),
        ([segment(text=" ")], TEXT, "context segment 1 has no text"),
        ([], "  ", "the speech has no text"),
        ([segment(20.0)], TEXT, "the model has 256 positions"),
    ],
)
def test_bad_input_has_one_clear_line(speech, context, text, message):
    with pytest.raises(InputError, match=message):
        speech.generate_streaming(text, 0, context)


def test_numbers_out_of_range(speech):
    with pytest.raises(UsageError):
        speech.generate_streaming(TEXT, chunk_frames=0)


@pytest.fixture(scope="module")
def engine(folder):
    settings = Settings(csm=CsmConfig(model_id=str(folder), max_audio_length_ms=400, temperature=0))
    return load_speech_engine("csm", settings)


def test_the_voice_speaks_with_estimated_word_times(engine):
    text = "Hello there, my friends. It is late 👍 today."
    voice = engine.open("3")
    samples, words = whole(voice, text)
    assert [word.text for word in words] == text.replace(" 👍", "").split()
    assert all(word.is_estimated for word in words)
    assert all(text[word.start_char : word.end_char] == word.text for word in words)
    assert all(word.start_sample < len(samples) for word in words)
    assert np.abs(samples).max() <= 1
    again, found = whole(voice, iter([text[:3], text[3:20], text[20:]]))
    np.testing.assert_array_equal(samples, again)
    assert words == found


def test_cancel_ends_the_speech(engine):
    voice = engine.open()
    chunks = voice.speak("One sentence. And another one, which is longer.")
    next(chunks)
    voice.cancel()
    assert list(chunks) == []


def test_a_recording_of_the_settings_changes_the_voice(folder, tmp_path, engine):
    import soundfile

    one = segment(0.5, 16_000)
    soundfile.write(tmp_path / "voice.wav", one.samples, 16_000)
    csm = CsmConfig(
        model_id=str(folder),
        max_audio_length_ms=400,
        temperature=0,
        prompt_audio=tmp_path / "voice.wav",
        prompt_text="Hello.",
    )
    own, _ = whole(CsmEngine(csm).open(), "Good morning to you.")
    other, _ = whole(engine.open(), "Good morning to you.")
    assert not np.array_equal(own, other)


def test_missing_and_foreign_models_have_one_clear_line(tmp_path):
    with pytest.raises(MissingToolError, match="nobody/csm is not on this machine"):
        CsmEngine(CsmConfig(model_id="nobody/csm")).open()
    with pytest.raises(InputError, match=r"config\.json is missing"):
        CsmEngine(CsmConfig(model_id=str(tmp_path))).open()
    (tmp_path / "config.json").write_text('{"model_type": "mimi"}')
    with pytest.raises(InputError, match="of type mimi, not csm"):
        CsmEngine(CsmConfig(model_id=str(tmp_path))).open()
    with pytest.raises(UsageError, match="has no voice joe"):
        CsmEngine(CsmConfig()).open("joe")
    assert engine_state("csm").problem == "the model sesame/csm-1b is not on this machine"


def test_prompt_needs_both_settings():
    with pytest.raises(ValueError, match="given together"):
        CsmConfig(prompt_text="Hello.")


def test_bfloat16_keeps_the_codec_in_float32(folder):
    model, tokenizer = load_csm(CsmConfig(model_id=str(folder), dtype="bfloat16"))
    chunks = list(CsmSpeech(model, tokenizer).generate_streaming(TEXT, max_audio_length_ms=640, temperature=0))
    assert model.lm_head.weight.dtype == torch.bfloat16
    assert chunks[0].dtype == torch.float32
    assert sum(map(len, chunks)) == 8 * 1920
