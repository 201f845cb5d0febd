"""Small synthetic corpora for tests."""

import json
import shutil
from pathlib import Path

import numpy as np
import soundfile as sf

from sca.config import load_settings
from sca.resources import demo_corpus
from sca.units import seconds_to_samples

RATE = 16_000


def settings(**overrides):
    """Return the default settings with the built-in tokenizer. Overrides are names of `duplex` settings."""
    named = {f"duplex.{name}": value for name, value in overrides.items()}
    return load_settings(overrides={"duplex.model_path": "builtin:qwen", **named}, env={})


def demo(folder: Path) -> Path:
    """Copy the demo conversation of the package."""
    with demo_corpus() as shipped:
        shutil.copytree(shipped, folder)
    return folder


def short_demo(folder: Path, seconds: float = 30.0) -> Path:
    """Copy the first seconds of the demo conversation: whole lines, their words, and the recordings cut."""
    demo(folder)
    for wav in (folder / "WAV").iterdir():
        samples, rate = sf.read(wav, dtype="int16")
        sf.write(wav, samples[: seconds_to_samples(seconds, rate)], rate)
    for transcript in (folder / "TXT").iterdir():
        lines = transcript.read_text(encoding="utf-8").splitlines(keepends=True)
        whole = [line for line in lines if float(line.partition("]")[0].partition(",")[2]) <= seconds]
        transcript.write_text("".join(whole), encoding="utf-8")
        last = float(whole[-1].partition("]")[0].partition(",")[2])
        timed = folder / "WORDS" / f"{transcript.stem}.json"
        words = [word for word in json.loads(timed.read_text(encoding="utf-8")) if word[2] <= last + 0.01]
        timed.write_text(json.dumps(words), encoding="utf-8")
    return folder


def tone(seconds: float, rate: int = RATE, level: float = 0.2) -> np.ndarray:
    """Return a sound that resembles a voice: audible, and different at every moment."""
    t = np.arange(seconds_to_samples(seconds, rate)) / rate
    return (level * np.sin(2 * np.pi * (150 + 20 * np.sin(t)) * t) * (0.6 + 0.4 * np.sin(7 * t))).astype(np.float32)


def write_track(
    root: Path, name: str, lines, audio=None, *, words=None, rate: int = RATE, subtype: str = "PCM_16"
) -> Path:
    """Write one speaker: lines of (start, end, text), audio as samples or its length in seconds.

    Return the recording.
    """
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
    """Write a session of two speakers in turn."""
    write_track(root, f"{session}_G0001", [(1.0, 3.0, "hello there my friend"), (8.0, 10.5, "no, not at all")], audio)
    write_track(root, f"{session}_G0002", [(4.0, 7.0, "are you in a hurry today"), (11.0, 11.5, "good")], audio)
    return root


def copy_of(root: Path, folder: Path) -> Path:
    """Copy a data set, to be damaged."""
    return shutil.copytree(root, folder)


def tree_bytes(root: Path) -> dict[str, bytes]:
    """Return the content of all files of a data set that must be equal in every run."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and ".sca" not in path.parts and path.name != ".lock"
    }
