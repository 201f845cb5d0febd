"""Count the bytes that a chunk of the released Qwen3-Omni reads on a GPU, by the number of sessions. Without a GPU.

    python -m scripts.bench.qwen_traffic

All sessions speak and have full caches; the weights are bfloat16. Each weight outside of the experts is read once for each
forward pass. With `grouped_mm` an expert that some row selects is read once; rows select at random and without each other,
so of `n` experts, of which each row selects `k`, `n · (1 - (1 - k/n)^rows)` are read. `batched_mm` reads, writes and reads
again the experts of each row. Attention reads the whole cache in each pass. Activations are not counted.

`ms` is the time at a bandwidth; a chunk lasts 320 ms. The last line is one JSON document.
"""

import argparse
import json

from sca.infer.engines.qwen_omni.loading.flops import cache_values, parameters, skeleton, vocoder_cache_values
from sca.units import Grid
from scripts.released_omni import released_config

BFLOAT16 = 2
BANDWIDTHS = {"A100 80 GB": 2.0e12, "H100": 3.35e12, "H200": 4.8e12}
"""Bytes per second, by the data sheets of the SXM modules."""


def stack_bytes(stack, rows: int, *, gathers: bool) -> int:
    """Return the bytes of the weights of one forward pass of decoder layers over `rows` of all sessions."""
    text = stack.config
    experts = sum(weight.numel() for name, weight in stack.named_parameters() if ".experts." in name)
    rest = parameters(stack) - parameters(stack.get_input_embeddings()) - experts
    share = text.num_experts_per_tok / text.num_experts
    copies = 3 * rows * share if gathers else 1 - (1 - share) ** rows
    return round(BFLOAT16 * (rest + experts * copies))


def chunk_bytes(model, sessions: int, *, gathers: bool, tokens: int = 2) -> dict[str, int]:
    """Return the bytes of a chunk by part.

    Args:
        model: A skeleton.
        sessions: Number of sessions.
        gathers: Whether the experts are those of `batched_mm`.
        tokens: Text tokens of each session.
    """
    frames, thinker, talker = Grid().frames_per_chunk, model.thinker, model.talker
    passes = [sessions * frames] + [sessions] * tokens
    layers, predictor = thinker.model.language_model, talker.code_predictor
    thinking, speaking = cache_values(model.config, 16_384, 4096)
    one_pass = parameters(predictor.model.layers) + parameters(predictor.lm_head[0])
    return {
        "thinker": sum(stack_bytes(layers, rows, gathers=gathers) for rows in passes)
        + BFLOAT16 * (tokens * parameters(thinker.lm_head) + parameters(thinker.model.audio_tower)),
        "cache of the thinker": BFLOAT16 * sessions * thinking * len(passes),
        "talker": frames
        * (stack_bytes(talker.model, sessions, gathers=gathers) + BFLOAT16 * parameters(talker.codec_head)),
        "cache of the talker": BFLOAT16 * sessions * speaking * frames,
        "code predictor": frames * (talker.config.num_code_groups - 1) * BFLOAT16 * one_pass,
        "vocoder": 4 * (parameters(model.code2wav) + sessions * vocoder_cache_values(model.config)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    given = parser.parse_args()
    model, report = skeleton(released_config()), []
    for gathers in (False, True):
        for sessions in given.sessions:
            parts = chunk_bytes(model, sessions, gathers=gathers)
            whole = sum(parts.values())
            times_ms = {name: round(1000 * whole / speed) for name, speed in BANDWIDTHS.items()}
            kernel = "batched_mm" if gathers else "grouped_mm"
            report.append({"experts": kernel, "sessions": sessions, "bytes": whole, "ms": times_ms, **parts})
            print(f"{kernel}  {sessions:3} sessions  {whole / 1e9:6.1f} GB  {times_ms}")
    print(json.dumps(report))


if __name__ == "__main__":
    main()
