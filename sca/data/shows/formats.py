"""The shapes in which `easy_load` gives the lines of a show data set.

Messages are those of transformers' chat templates for audio models: a list of roles, each with a list of contents that are text or
audio (float32 arrays: 16 kHz where the model listens, 24 kHz where it speaks).
"""

from functools import partial
from pathlib import Path
from typing import Any

from sca.data.datasets.lazy_map import LazyMap
from sca.data.shows.load import ShowDataset
from sca.units import HEARD_HZ, SPOKEN_HZ

__all__ = ["chat", "raw", "talker_chat"]


def raw(root: Path, split: str) -> LazyMap:
    """A dict a line: its columns, `audio` (16 kHz, the whole line), `target_audio` (24 kHz) and `speaker_embedding`."""
    return LazyMap(ShowDataset(root, split), _raw)


def chat(root: Path, split: str) -> LazyMap:
    """A dict a line: `messages` (system, user with what was heard before, assistant with the text)."""
    return LazyMap(ShowDataset(root, split), partial(_chat, talks=False))


def talker_chat(root: Path, split: str) -> LazyMap:
    """As `chat`; the assistant's message also has the target's sound (24 kHz), and the dict the `speaker_embedding`."""
    return LazyMap(ShowDataset(root, split), partial(_chat, talks=True))


def _raw(data: ShowDataset, index: int) -> dict[str, Any]:
    line = data[index]
    return line.columns | {
        "audio": {"array": line.heard, "sampling_rate": HEARD_HZ},
        "target_audio": {"array": line.spoken, "sampling_rate": SPOKEN_HZ},
        "speaker_embedding": line.speaker_embedding,
    }


def _chat(data: ShowDataset, index: int, *, talks: bool) -> dict[str, Any]:
    line, system_prompt = data[index], data.settings["system_prompt"]
    asked: list[dict[str, Any]] = []
    if len(line.before):  # a target at the very start of its line has nothing before it
        asked.append({"type": "audio", "audio": line.before, "sampling_rate": HEARD_HZ})
    asked.append(_text(data.settings["instruction"]))
    said: list[dict[str, Any]] = [_text(line.columns["target_text"])]
    if talks:
        said.append({"type": "audio", "audio": line.spoken, "sampling_rate": SPOKEN_HZ})
    messages: list[dict[str, Any]] = [{"role": "system", "content": [_text(system_prompt)]}] if system_prompt else []
    messages += [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
    found = {"session_id": line.columns["session_id"], "event_index": line.columns["event_index"], "messages": messages}
    return found | {"speaker_embedding": line.speaker_embedding} if talks else found


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}
