"""The formats in which `sca.easy_load` returns the rows of a show data set.

Messages have the structure of transformers' chat templates for audio models: a list of roles, each with a list of
contents that are text or audio. Audio is a float32 array, at 16 kHz for the model's input and at 24 kHz for its output.
"""

from typing import Literal, NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

from sca.config import load_settings
from sca.data.datasets.folder import DataFolder
from sca.data.datasets.lazy_map import LazyMap
from sca.data.datasets.local_copy import local_copy
from sca.data.shows.dataset import Prompts, ShowDataset, ShowExample
from sca.data.shows.model import TrainColumns
from sca.units import HEARD_HZ, SPOKEN_HZ

__all__ = [
    "AudioArray",
    "AudioContent",
    "ChatExample",
    "Message",
    "RawExample",
    "TextContent",
    "chat",
    "raw",
    "talker_chat",
]


class AudioArray(TypedDict):
    """Audio as `datasets` represents it: float32 `(n,)`."""

    array: NDArray[np.float32]
    sampling_rate: int


class RawExample(TrainColumns):
    """A row of the format `raw`: the columns of `train` and the audio.

    Attributes:
        audio: The whole row, context and target, at 16 kHz.
        target_audio: The target speech at 24 kHz.
        speaker_embedding: float32 `(192,)`, or None.
    """

    audio: AudioArray
    target_audio: AudioArray
    speaker_embedding: NDArray[np.float32] | None


class TextContent(TypedDict):
    """A text of a message."""

    type: Literal["text"]
    text: str


class AudioContent(TypedDict):
    """Audio of a message: float32 `(n,)`."""

    type: Literal["audio"]
    audio: NDArray[np.float32]
    sampling_rate: int


class Message(TypedDict):
    """What one role contributes to a chat."""

    role: Literal["system", "user", "assistant"]
    content: list[TextContent | AudioContent]


class ChatExample(TypedDict):
    """A row of the formats `chat` and `talker_chat`.

    Attributes:
        session_id: The id of the show.
        event_index: The index of the target in the show.
        messages: The system prompt (if it is not empty), the user's message with the context and the instruction, and
            the assistant's message with the target.
        speaker_embedding: float32 `(192,)`, or None; only in `talker_chat`.
    """

    session_id: str
    event_index: int
    messages: list[Message]
    speaker_embedding: NotRequired[NDArray[np.float32] | None]


def raw(folder: DataFolder, split: str) -> LazyMap[ShowDataset, RawExample]:
    """Open a split as dicts of columns and audio."""
    return LazyMap(_open(folder, split), _raw)


def chat(
    folder: DataFolder, split: str, *, system_prompt: str | None = None, instruction_prompt: str | None = None
) -> LazyMap[ShowDataset, ChatExample]:
    """Open a split as chats with an answer of text."""
    return LazyMap(_open(folder, split, system_prompt, instruction_prompt), _chat)


def talker_chat(
    folder: DataFolder, split: str, *, system_prompt: str | None = None, instruction_prompt: str | None = None
) -> LazyMap[ShowDataset, ChatExample]:
    """Open a split as chats with an answer of text and speech, and with the speaker embedding."""
    return LazyMap(_open(folder, split, system_prompt, instruction_prompt), _talker_chat)


def _open(
    folder: DataFolder, split: str, system_prompt: str | None = None, instruction: str | None = None
) -> ShowDataset:
    data = ShowDataset(local_copy(folder, load_settings().paths.resolved_cache_dir), split)
    stored = data.prompts
    data.prompts = Prompts(
        stored.system_prompt if system_prompt is None else system_prompt,
        stored.instruction if instruction is None else instruction,
    )
    return data


def _raw(data: ShowDataset, index: int) -> RawExample:
    example = data[index]
    return {
        **example.columns,
        "audio": {"array": example.heard, "sampling_rate": HEARD_HZ},
        "target_audio": {"array": example.spoken, "sampling_rate": SPOKEN_HZ},
        "speaker_embedding": example.speaker_embedding,
    }


def _chat(data: ShowDataset, index: int) -> ChatExample:
    example = data[index]
    return _chat_example(data, example, [_text(example.columns["target_text"])])


def _talker_chat(data: ShowDataset, index: int) -> ChatExample:
    example = data[index]
    answer: list[TextContent | AudioContent] = [
        _text(example.columns["target_text"]),
        {"type": "audio", "audio": example.spoken, "sampling_rate": SPOKEN_HZ},
    ]
    return {**_chat_example(data, example, answer), "speaker_embedding": example.speaker_embedding}


def _chat_example(data: ShowDataset, example: ShowExample, answer: list[TextContent | AudioContent]) -> ChatExample:
    messages: list[Message] = []
    if data.prompts.system_prompt:
        messages.append({"role": "system", "content": [_text(data.prompts.system_prompt)]})
    question: list[TextContent | AudioContent] = []
    if len(example.before):  # a target at the start of its row has no context
        question.append({"type": "audio", "audio": example.before, "sampling_rate": HEARD_HZ})
    question.append(_text(data.prompts.instruction))
    messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    columns = example.columns
    return {"session_id": columns["session_id"], "event_index": columns["event_index"], "messages": messages}


def _text(text: str) -> TextContent:
    return {"type": "text", "text": text}
