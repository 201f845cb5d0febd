"""Sessions that were found in a corpus and are read later, possibly in another process."""

import pickle
import zlib
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from hashlib import blake2b
from pathlib import Path

from sca.data.corpora.base import Conversation, Track, require_two_tracks

__all__ = ["SessionSource", "packed_source"]


@dataclass(frozen=True, slots=True)
class SessionSource:
    """A session of a corpus that can be read. Picklable.

    Attributes:
        session_id: The name of the session.
        files: The files that decide the content of the session, in a fixed order.
        load: Returns the conversation.
        fingerprint: A digest of content outside of `files`; empty if `files` has all of it.
    """

    session_id: str
    files: tuple[Path, ...]
    load: Callable[[], Conversation]
    fingerprint: str = ""

    def read(self) -> Conversation:
        """Read the conversation.

        Raises:
            InputError: Fewer than two of its speakers can be read.
        """
        return require_two_tracks(self.load())


def packed_source(conversation: Conversation) -> SessionSource:
    """Return a source for a conversation that was read already.

    It holds the conversation compressed: a corpus of 2,000 hours has some 20 million timed words, which take a few
    gigabytes as objects.
    """
    files = dict.fromkeys(track.audio for track in conversation.tracks)
    packed = zlib.compress(pickle.dumps(conversation), 1)
    return SessionSource(conversation.session_id, tuple(files), partial(_unpack, packed), _fingerprint(conversation))


def _unpack(packed: bytes) -> Conversation:
    conversation = pickle.loads(zlib.decompress(packed))  # noqa: S301 - pickled by this process or its parent
    assert isinstance(conversation, Conversation), "packed by packed_source"
    return conversation


def _fingerprint(conversation: Conversation) -> str:
    """Return a digest of all content except line numbers, which change when a list gets a new line."""
    digest = blake2b(digest_size=16)
    for track in conversation.tracks:
        digest.update(repr(_track_content(track)).encode(errors="surrogatepass"))
    for issue in conversation.issues:
        digest.update(f"\n{issue.path.name} {issue.level} {issue.line} {issue.reason}".encode(errors="surrogatepass"))
    return digest.hexdigest()


def _track_content(track: Track) -> tuple[object, ...]:
    part = [(field.name, getattr(track.part, field.name)) for field in fields(track.part)]
    texts = [(utterance.start, utterance.end, utterance.text) for utterance in track.utterances]
    words = None if track.words is None else [(word.start, word.end, word.text) for word in track.words]
    named = track.origin or track.transcript
    content = (track.speaker_id, track.audio.name, named and named.name, part, texts, words)
    # Left out if empty, so that sessions of earlier versions are not built again.
    return (*content, track.unlabelled) if track.unlabelled else content
