"""A tiny Whisper of the real classes, converted to CTranslate2, that always returns one sentence.

Its residual outputs are zero and its decoder's position embeddings point at the next token of the script, so it ignores
the sound. Everything else is real: prompt, timestamps, alignment by cross-attention (random), batching, the Silero VAD.
Each window gets the sentence, from 0.00 to `end_s` of the window.

Use it with `condition_on_previous_text=False` and no `initial_prompt` (the script is indexed by position, after a
prompt of three).
"""

import shutil
from pathlib import Path
from typing import Any

SENTENCE = " Hello there, this is a test of the system."
END_S = 4.0

_made: dict[tuple[object, ...], Path] = {}


def scripted_whisper(
    folder: Path,
    sentence: str = SENTENCE,
    end_s: float = END_S,
    *,
    width: int = 64,
    layers: int = 2,
    heads: int = 4,
) -> Path:
    """Return the CTranslate2 folder of a Whisper with one sentence. It is made once per process.

    Args:
        folder: The folder to make it in.
        sentence: The sentence; it starts with a space, as the text of Whisper does.
        end_s: The end of the sentence, a multiple of 0.02 up to 30.
        width: The width of encoder and decoder. Benches need a model of a realistic size.
        layers: Their layers.
        heads: Their attention heads.
    """
    key = (sentence, end_s, width, layers, heads)
    if key not in _made or not _made[key].exists():
        _made[key] = _convert(folder / f"scripted-whisper-{len(_made)}", *key)
    return _made[key]


def default_model_in_cache(hub: Path, model: Path) -> None:
    """Fill a cache of the hub that has `model` under the name of the default model of `sca transcribe`."""
    from faster_whisper.utils import _MODELS

    from sca.data.transcription.whisper import DEFAULT_MODEL

    cached = hub / f"models--{_MODELS[DEFAULT_MODEL].replace('/', '--')}"
    commit = "0123456789abcdef0123456789abcdef01234567"  # the hub client finds snapshots by commits of this length only
    shutil.copytree(model, cached / "snapshots" / commit)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(commit)


def _convert(folder: Path, sentence: str, end_s: float, width: int, layers: int, heads: int) -> Path:
    from ctranslate2.converters import TransformersConverter

    source = folder / "transformers"
    source.mkdir(parents=True)
    _save(source, sentence, end_s, width, layers, heads)
    made = folder / "ctranslate2"
    TransformersConverter(str(source), copy_files=["tokenizer.json", "preprocessor_config.json"]).convert(str(made))
    return made


def _bytes_as_letters() -> dict[int, str]:
    """Return GPT-2's letters for the 256 bytes."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in plain]
    return {byte: chr(byte) for byte in plain} | {byte: chr(256 + n) for n, byte in enumerate(rest)}


def _tokenizer() -> tuple[Any, list[str]]:
    """Make a byte-level tokenizer with Whisper's special tokens in Whisper's order; return it and its languages."""
    from faster_whisper.tokenizer import _LANGUAGE_CODES
    from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import BPE

    letters = _bytes_as_letters()
    vocab = {letters[byte]: byte for byte in range(256)}
    # Whisper suppresses the first token of " -", " '" and " ♪". With these merges it is not the space.
    merges = [(letters[32], letters[byte]) for byte in b"-'\xe2"]
    vocab |= {"".join(pair): len(vocab) + n for n, pair in enumerate(merges)}
    vocab[""] = len(vocab)  # with the empty string in its vocabulary a model is multilingual for CTranslate2
    tokenizer = Tokenizer(BPE(vocab=vocab, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    languages = list(_LANGUAGE_CODES)
    tasks = ["translate", "transcribe", "startoflm", "startofprev", "nospeech", "notimestamps"]
    special = [f"<|{name}|>" for name in ("endoftext", "startoftranscript", *languages, *tasks)]
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in special])
    tokenizer.add_tokens([AddedToken(f"<|{n * 0.02:.2f}|>", special=False, normalized=False) for n in range(1501)])
    return tokenizer, languages


def _save(folder: Path, sentence: str, end_s: float, width: int, layers: int, heads: int) -> None:
    import torch
    from transformers import (
        GenerationConfig,
        PreTrainedTokenizerFast,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
    )

    tokenizer, languages = _tokenizer()
    number = tokenizer.token_to_id
    end, start = number("<|endoftext|>"), number("<|startoftranscript|>")
    script = [number("<|0.00|>"), *tokenizer.encode(sentence).ids, number(f"<|{end_s:.2f}|>"), end]
    assert None not in script, f"{end_s} s is not a timestamp of Whisper"
    ends = {"bos_token_id": end, "eos_token_id": end, "pad_token_id": end, "decoder_start_token_id": start}
    config = WhisperConfig(
        vocab_size=tokenizer.get_vocab_size(),
        num_mel_bins=80,
        d_model=width,
        encoder_layers=layers,
        decoder_layers=layers,
        encoder_attention_heads=heads,
        decoder_attention_heads=heads,
        encoder_ffn_dim=2 * width,
        decoder_ffn_dim=2 * width,
        suppress_tokens=None,
        begin_suppress_tokens=None,
        **ends,
    )
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = WhisperForConditionalGeneration(config).eval()
        _learn(model, script)
    generation = GenerationConfig(max_length=448, **ends)
    generation.suppress_tokens = []
    generation.begin_suppress_tokens = []
    generation.alignment_heads = [[1, 0], [1, 1]]
    generation.lang_to_id = {f"<|{code}|>": number(f"<|{code}|>") for code in languages}
    generation.task_to_id = {task: number(f"<|{task}|>") for task in ("transcribe", "translate")}
    generation.no_timestamps_token_id = number("<|notimestamps|>")
    generation.is_multilingual = True
    model.generation_config = generation
    model.save_pretrained(folder)
    text = "<|endoftext|>"
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=text, eos_token=text, unk_token=text, pad_token=text
    ).save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=80).save_pretrained(folder)


def _learn(model: Any, script: list[int]) -> None:
    """Make position p of the decoder return script[p - 2]; the prompt has positions 0 to 2."""
    import torch

    with torch.no_grad():
        tokens = model.model.decoder.embed_tokens.weight
        tokens.copy_(torch.nn.functional.normalize(torch.randn_like(tokens), dim=-1))
        for layer in model.model.decoder.layers:
            for out in (layer.self_attn.out_proj, layer.encoder_attn.out_proj, layer.fc2):
                out.weight.zero_()
                out.bias.zero_()
        model.model.decoder.layer_norm.weight.fill_(4.0)
        model.model.decoder.layer_norm.bias.zero_()
        places = model.model.decoder.embed_positions.weight
        for place in range(places.shape[0]):
            places[place] = 12 * tokens[script[min(max(place - 2, 0), len(script) - 1)]]
