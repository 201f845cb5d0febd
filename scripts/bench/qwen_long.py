"""Measure a long conversation with the Qwen3-Omni engine on the tiny model: bytes of keys and values, memory, time per step.

Prints one line for every sixth of the conversation, and a last one with the growth after the caches were full.
Positions end early enough to move back about ten times per hour, so the measurement includes this.

    uv run python -m scripts.bench.qwen_long [--minutes 60] [--context-tokens 2048] [--positions 8192]
"""

import argparse
import json
import os
import resource
import time
from pathlib import Path

import torch

from sca.audio.decode import read_audio
from sca.audio.mel import log_mel
from sca.config import DuplexConfig, QwenConfig
from sca.infer.engine import SessionConfig
from sca.infer.engines.qwen_omni.streaming.engine import QwenOmni
from sca.infer.frames import AudioInput, ErrorFrame
from sca.resources import demo_corpus
from sca.tokenizer import BUILTIN_QWEN, load_tokenizer
from sca.train.tiny import build
from sca.units import HEARD_HZ, Grid

CHUNK = Grid().heard_samples
CHUNKS_A_MINUTE = 60 * HEARD_HZ / CHUNK


def rss_mib():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def session_of(given):
    model = build()
    model.config.thinker_config.text_config.max_position_embeddings = given.positions
    qwen = QwenConfig(
        model_id="tiny", context_tokens=given.context_tokens, talker_context_frames=given.context_tokens // 2
    )
    engine = QwenOmni(model, load_tokenizer(BUILTIN_QWEN), qwen, DuplexConfig())
    return engine.open(SessionConfig(prompt="You are a helpful assistant."))


def main():
    parser = argparse.ArgumentParser(
        description="Measure a long conversation with the Qwen3-Omni engine on the tiny model."
    )
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--context-tokens", type=int, default=2048)
    parser.add_argument("--positions", type=int, default=8192)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with demo_corpus() as folder:
        speech = read_audio(folder / "WAV" / "D0001_S0001_0_G0001.flac", HEARD_HZ)
    speech = speech[: len(speech) // CHUNK * CHUNK].reshape(-1, CHUNK)
    session = session_of(given)
    lines, notices, cpu = [], 0, time.process_time()
    sixth = round(given.minutes * CHUNKS_A_MINUTE / 6)
    for i in range(6 * sixth):
        samples = speech[i % len(speech)]
        frames = session.step(AudioInput(log_mel(samples)[None], samples, i, i * CHUNK))
        notices += sum(isinstance(frame, ErrorFrame) for frame in frames)
        if (i + 1) % sixth == 0:
            now = time.process_time()
            line = {
                "minutes": round((i + 1) / CHUNKS_A_MINUTE, 2),
                "held_kib": session.held_bytes // 1024,
                "rss_mib": round(rss_mib(), 1),
                "cpu_ms_a_chunk": round((now - cpu) / sixth * 1000, 1),
                "notices": notices,
            }
            lines.append(line)
            print(json.dumps(line), flush=True)
            cpu = now
    if lines:
        full = lines[1:]
        held = [line["held_kib"] for line in full]
        document = {
            "bench": "qwen_long",
            "machine": f"{os.cpu_count()} cores",
            "context_tokens": given.context_tokens,
            "held_kib": [min(held), max(held)],
            "rss_mib_grown": round(full[-1]["rss_mib"] - full[0]["rss_mib"], 1),
            "cpu_ms_a_chunk": [full[0]["cpu_ms_a_chunk"], full[-1]["cpu_ms_a_chunk"]],
        }
        print(json.dumps(document))


if __name__ == "__main__":
    main()
