"""Small corpora made on the spot, for tests that need one of their own shape."""

import json
import shutil
from pathlib import Path

import numpy as np
import soundfile as sf

from sca.config import load_settings
from sca.resources import demo_corpus

RATE = 16_000


def settings(**overrides):
    """The defaults with the built-in tokenizer; overrides by duplex name."""
    named = {f"duplex.{name}": value for name, value in overrides.items()}
    return load_settings(overrides={"duplex.model_path": "builtin:qwen", **named}, env={})


def demo(folder: Path) -> Path:
    """A copy of the shipped conversation."""
    with demo_corpus() as shipped:
        shutil.copytree(shipped, folder)
    return folder


def tone(seconds: float, rate: int = RATE, level: float = 0.2) -> np.ndarray:
    """A voice-like buzz: audible, and different at every moment."""
    t = np.arange(round(seconds * rate)) / rate
    return (level * np.sin(2 * np.pi * (150 + 20 * np.sin(t)) * t) * (0.6 + 0.4 * np.sin(7 * t))).astype(np.float32)


def write_track(
    root: Path, name: str, lines, audio=None, *, words=None, rate: int = RATE, subtype: str = "PCM_16"
) -> Path:
    """One speaker: lines of (start, end, text), audio as samples or seconds. Returns the recording."""
    for kind in ("WAV", "TXT"):
        (root / kind).mkdir(parents=True, exist_ok=True)
    samples = tone(30.0 if audio is None else audio, rate) if audio is None or np.isscalar(audio) else audio
    wav = root / "WAV" / f"{name}.wav"
    sf.write(wav, samples, rate, subtype=subtype)
    speaker = name.rsplit("_", 1)[1]
    text = "".join(f"[{a},{b}]\t{speaker}\tmale,none\t{t}\n" for a, b, t in lines)
    (root / "TXT" / f"{name}.txt").write_text(text, encoding="utf-8")
    if words is not None:
        (root / "WORDS").mkdir(exist_ok=True)
        (root / "WORDS" / f"{name}.json").write_text(json.dumps(words), encoding="utf-8")
    return wav


def pair(root: Path, session: str = "A0001_S0001_0", audio: float = 30.0) -> Path:
    """A session of two speakers who take turns."""
    write_track(root, f"{session}_G0001", [(1.0, 3.0, "hello there my friend"), (8.0, 10.5, "no, not at all")], audio)
    write_track(root, f"{session}_G0002", [(4.0, 7.0, "are you in a hurry today"), (11.0, 11.5, "good")], audio)
    return root


def copy_of(root: Path, folder: Path) -> Path:
    """A copy of a data set, to be damaged."""
    return shutil.copytree(root, folder)


def tree_bytes(root: Path) -> dict[str, bytes]:
    """Every file of a data set that is meant to be the same from run to run."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and ".sca" not in path.parts and path.name != ".lock"
    }
