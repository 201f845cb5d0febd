"""Words that a recogniser writes over the laughter or applause of a room, although they were not spoken.

Whisper was trained on subtitles and often writes "Thank you." or "Thanks for watching!" over applause. Real words over a
laugh are frequent too, so laughter alone is not a reason for doubt. A phrase is in doubt if a reaction covers most of it and two of
three signs agree: the VAD finds little speech; the words are improbable; they are a stock phrase of subtitles, or a laugh
that is written down.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from sca.data.transcription.hallucinations import RecognizedWord, mean_probability, phrases, text_of
from sca.spans import merge_spans
from sca.timeline import AudienceEvent, Event

__all__ = ["MAX_PROBABILITY", "MAX_SPEECH", "MIN_COVERED", "marked_over_reactions", "reaction_spans", "shared_s"]

MIN_COVERED = 0.5
"""The share of a phrase that a reaction must cover."""
MAX_SPEECH = 0.5
"""The VAD finds little speech if it is less than this share of the phrase."""
MAX_PROBABILITY = 0.6
"""Words are improbable below this mean probability, as in a window that Whisper's thresholds reject."""

# Frequent hallucinations, as lists of Whisper's users have them. They are also real sentences: see above.
_STOCK = frozenset(
    {
        "thank you",
        "thank you very much",
        "thank you so much",
        "thanks",
        "thanks for watching",
        "thank you for watching",
        "thank you for listening",
        "please subscribe",
        "bye",
        "bye bye",
        "you",
        "vielen dank",
        "vielen dank fürs zuschauen",
        "untertitel der amaraorg community",
        "merci",
        "merci davoir regardé",
        "sous titres réalisés par la communauté damaraorg",
        "gracias",
        "gracias por ver el video",
        "subtítulos por la comunidad de amaraorg",
        "obrigado",
        "grazie",
        "grazie per la visione",
        "спасибо",
        "спасибо за просмотр",
        "продолжение следует",
        "ご視聴ありがとうございました",
        "谢谢",
        "谢谢大家",
        "谢谢观看",
        "시청해주셔서 감사합니다",
    }
)
# A laugh that is written down: "hahaha", "ha ha", "jajaja", "хаха", "哈哈", "ㅋㅋ".
_LAUGH = re.compile(
    r"(?:a?(?:[hj][aeoiä]+h? ?){2,}|(?:х[аео]х? ?){2,}|[哈呵嘿]{2,}|[ㅋㅎ]{2,}|あはは+|はは+|laugh(?:s|ing|ter)?)"
)
_REACTIONS = ("laughter", "applause", "cheer")

Spans = Sequence[tuple[float, float]]


def reaction_spans(events: Sequence[Event]) -> list[tuple[float, float]]:
    """Return where the room laughs, applauds or cheers, in seconds, sorted and disjoint."""
    named = (event for event in events if isinstance(event, AudienceEvent) and event.reaction_type in _REACTIONS)
    return merge_spans((event.start, event.end) for event in named)


def marked_over_reactions(words: Sequence[RecognizedWord], reactions: Spans, voiced: Spans) -> list[RecognizedWord]:
    """Mark the phrases that are probably the sound of the room.

    Args:
        words: The words, sorted by time.
        reactions: Where the room reacts, as `reaction_spans` returns it.
        voiced: Where the VAD finds speech, without margins, in seconds, sorted and disjoint.

    Returns:
        The same words; those in doubt have the doubt `over_reaction`.
    """
    if not reactions:
        return list(words)
    marked: list[RecognizedWord] = []
    for phrase in phrases(words):
        is_room = phrase[0].doubt is None and _is_room(phrase, reactions, voiced)
        marked += [replace(word, doubt="over_reaction") for word in phrase] if is_room else phrase
    return marked


def _is_room(phrase: Sequence[RecognizedWord], reactions: Spans, voiced: Spans) -> bool:
    start, end = phrase[0].start, phrase[-1].end
    length = end - start
    if length <= 0 or shared_s(start, end, reactions) < MIN_COVERED * length:
        return False
    signs = (
        shared_s(start, end, voiced) < MAX_SPEECH * length,
        mean_probability(phrase) < MAX_PROBABILITY,
        _letters(text_of(phrase)) in _STOCK or _LAUGH.fullmatch(_letters(text_of(phrase))) is not None,
    )
    return sum(signs) >= 2


def shared_s(start: float, end: float, spans: Spans) -> float:
    """Return how much of `[start, end)` is in spans, which are sorted and disjoint."""
    return sum(max(0.0, min(end, high) - max(start, low)) for low, high in spans)


def _letters(text: str) -> str:
    """Return a text in lower case without punctuation."""
    words = text.casefold().replace("-", " ").split()
    return " ".join("".join(letter for letter in word if letter.isalnum()) for word in words).strip()
