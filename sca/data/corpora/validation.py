"""Checks of the conversations that readers return, so that a reader of another package cannot break a build."""

from dataclasses import replace
from pathlib import Path

from sca.data.corpora.base import Conversation, Issue, Track, Utterance
from sca.data.corpora.overlaps import resolve_overlaps
from sca.data.corpora.timed_text import file_safe_name

__all__ = ["validated"]


def validated(conversation: Conversation) -> Conversation:
    """Return a conversation with tracks, utterances and words in order, and without overlaps in a track.

    Args:
        conversation: As a reader returned it.

    Returns:
        The conversation. Its issues include what was left out.

    Raises:
        ValueError: The conversation cannot be used; the message is the reason.
    """
    name = conversation.session_id
    if name != file_safe_name(name):
        raise ValueError(f"session id {name!r} cannot be the name of a file")
    if not conversation.tracks:
        raise ValueError(f"session {name} has no tracks")
    speakers = [track.speaker_id for track in conversation.tracks]
    if twice := next((speaker for speaker in speakers if speakers.count(speaker) > 1), None):
        raise ValueError(f"session {name} has two tracks of {twice}")
    issues = list(conversation.issues)
    tracks = [_ordered(track, issues) for track in sorted(conversation.tracks, key=lambda track: track.speaker_id)]
    return replace(conversation, tracks=tuple(tracks), issues=tuple(issues))


def _ordered(track: Track, issues: list[Issue]) -> Track:
    """Return a track with its utterances and words in order; `issues` gets what was left out or changed."""
    if track.transcript is None:
        return replace(track, utterances=(), words=None)
    usable = [utterance for utterance in track.utterances if _is_usable(utterance, track.transcript, issues)]
    utterances, overlaps = resolve_overlaps(usable, track.transcript)
    issues += overlaps
    words = None if track.words is None else tuple(sorted(track.words, key=lambda word: word.start))
    return replace(track, utterances=utterances, words=words)


def _is_usable(utterance: Utterance, path: Path, issues: list[Issue]) -> bool:
    if 0 <= utterance.start < utterance.end:
        return True
    reason = f"lasts from sample {utterance.start} to {utterance.end}, which is not a length of time"
    issues.append(utterance.issue("skipped", path, reason))
    return False
