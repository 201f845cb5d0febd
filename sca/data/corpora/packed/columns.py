"""The columns of a table of conversations, found by type and name: recordings, transcripts, the id of the row.

    audio_left audio_right   user_audio assistant_audio   speaker1 speaker2   a recording of each speaker
    audio                                                                     a stereo recording
    text_left words_user transcript_a                                         the transcript of a speaker
    segments transcript alignments                                            a transcript of both

A recording is a struct with `bytes` and `path`, as `datasets` writes its `Audio`, bytes, or a path.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Columns", "find_columns", "side_named"]

_IDS = (
    *("id", "session_id", "conversation_id", "dialogue_id", "dialog_id", "call_id", "conv_id", "uid"),
    *("audio_id", "file_id", "segment_id", "sample_id"),
)
_SOUND = {"audio", "wav", "recording", "speech", "sound", "waveform", "flac", "mp3"}
_PATHS = {"file", "path", "filename", "filepath", "name"}
_TEXTS = (
    *("segments", "utterances", "turns", "chunks", "sentences", "dialogue", "dialog", "conversation"),
    *("alignments", "alignment", "words", "transcript", "transcripts", "transcription", "text", "asr", "timestamps"),
)
_NEUTRAL = {"speaker", "spk", "channel", "ch", "track", "side", "stream", "mic", "with", "level", "word", "data"}
# The pairs of names, the left channel first where there is one.
_PAIRS = (
    *(("left", "right"), ("l", "r"), ("a", "b"), ("0", "1"), ("1", "2"), ("main", "other")),
    *(("user", "assistant"), ("user", "agent"), ("user", "system"), ("user", "model"), ("user", "bot")),
    *(("human", "assistant"), ("human", "agent"), ("human", "machine"), ("customer", "agent"), ("client", "agent")),
    *(("caller", "callee"), ("caller", "agent"), ("input", "output"), ("source", "target"), ("first", "second")),
)


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a table that make a conversation.

    Attributes:
        audio: One column of stereo recordings, or one for each speaker.
        sides: The names of the two speakers in the names of the columns; empty with stereo recordings.
        whole: Columns with a transcript of both speakers, the preferred one first.
        own: Columns with the transcripts of each speaker.
        row_id: The column that names the row, if there is one.
    """

    audio: tuple[str, ...]
    sides: tuple[str, ...] = ()
    whole: tuple[str, ...] = ()
    own: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    row_id: str | None = None

    @property
    def used(self) -> list[str]:
        """All columns that are read."""
        texts = [name for names in self.own.values() for name in names]
        return [*self.audio, *self.whole, *texts, *([self.row_id] if self.row_id else [])]


def find_columns(schema: Any) -> Columns:
    """Find the columns of conversations.

    Args:
        schema: The schema of pyarrow.

    Raises:
        ValueError: The table does not have such a column; the message names its columns.
    """
    others = _other_features(schema)
    found = [entry.name for entry in schema if entry.name not in others and _has_sound(entry)]
    sound = {name: _key(name, _SOUND | _PATHS) for name in found}
    pair = _pair(sound)
    if pair is None and len(sound) != 1:
        raise ValueError(
            f"has the columns {', '.join(schema.names)[:200]}; expected one column of stereo recordings, or two such as "
            "audio_left and audio_right, audio_a and audio_b, user_audio and assistant_audio"
        )
    sides = tuple(sound[name] for name in pair or ())
    texts = [entry.name for entry in schema if entry.name not in sound and _tokens(entry.name) & set(_TEXTS)]
    texts.sort(key=lambda name: min(_TEXTS.index(token) for token in _tokens(name) & set(_TEXTS)))
    keys = {name: _key(name, set(_TEXTS)) for name in texts}
    known = sides or next((two for two in _PAIRS if set(two) <= set(keys.values())), ())
    row_id = next((name for name in _IDS if name in schema.names), None)
    own = {side: tuple(name for name in texts if keys[name] == side) for side in known}
    whole = tuple(name for name in texts if keys[name] == "")
    return Columns(tuple(pair or sound), tuple(known), whole, own, row_id)


def side_named(speaker: str | None, sides: Sequence[str]) -> int | None:
    """Return the index of the side that the name of a speaker names ("Speaker_0", "user"); None if it names none."""
    key = _key(speaker or "", set())
    return sides.index(key) if key in sides else None


def _pair(sound: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the columns of two speakers."""
    by_key = {key: name for name, key in sound.items() if key}
    for left, right in _PAIRS:
        if left in by_key and right in by_key:
            return by_key[left], by_key[right]
    return (names[0], names[1]) if len(names := list(by_key.values())) == 2 else None


def _other_features(schema: Any) -> set[str]:
    """Return the columns that `datasets` declares as something else than audio, such as images."""
    try:
        features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
        return {name for name, entry in features.items() if entry.get("_type") not in ("Audio", "Value")}
    except (ValueError, KeyError, TypeError, AttributeError):
        return set()


def _has_sound(entry: Any) -> bool:
    import pyarrow as pa

    kind = entry.type
    if pa.types.is_struct(kind):
        return any(kind.field(at).name in ("bytes", "path") for at in range(kind.num_fields))
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return True
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    tokens = _tokens(entry.name)
    return is_text and not tokens & {"id", *_TEXTS} and bool(tokens & _SOUND or {"file", "name"} <= tokens)


def _key(name: str, generic: set[str]) -> str:
    return "".join(token for token in _ordered(name) if token not in generic | _NEUTRAL)


def _tokens(name: str) -> set[str]:
    return set(_ordered(name))


def _ordered(name: str) -> list[str]:
    """Return the parts of a name: `speaker1_audio`, `SpeakerOneAudio` and `audio-1` are divided."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Za-z])(?=[0-9])|(?<=[0-9])(?=[A-Za-z])", " ", name)
    return re.findall(r"[a-z]+|[0-9]+", spaced.casefold())
