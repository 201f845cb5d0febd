"""Placement of text tokens on the grid. Pure: integers in, integers out.

A token belongs to the word it is part of. It should be in the chunk `lead` before the one in which its word starts;
with a lead of one chunk the model produces it before the word is audible. A chunk has room for `capacity` tokens and
the order is kept, so fast words push their neighbours: first backwards by at most `pull` chunks (a token must not run
ahead of its sound), then forwards, first in first out. No token is dropped.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sca.data.duplex.model.units import Unit

__all__ = ["Cursor", "Placement", "place_tokens", "token_words", "wanted_chunks"]


@dataclass(frozen=True, slots=True)
class Cursor:
    """The first free place: a chunk, and how many of its places are taken."""

    chunk: int
    used: int = 0


@dataclass(frozen=True, slots=True)
class Placement:
    """The chunks of placed tokens, in order, and the first free place after them."""

    chunks: tuple[int, ...]
    after: Cursor


def token_words(unit: Unit, offsets: Sequence[tuple[int, int]], shift: int) -> list[int]:
    """Return for each token the index of the word it belongs to.

    A token belongs to the word that contains its first character that is not a space; a token of spaces only belongs to
    the word after it. The parts of a character that takes several tokens all have the range of that character.

    Args:
        unit: The unit.
        offsets: Character range of each token in the tokenized text.
        shift: Characters of the tokenized text before the text of the unit (a leading space).
    """
    owners: list[int] = []
    word = 0
    words = unit.words
    for start, end in offsets:
        at = max(0, start - shift)
        stop = end - shift
        while at < stop and unit.text[at].isspace():
            at += 1
        # Words cover every character except spaces, so the owner is the first word that ends after `at`.
        while word < len(words) - 1 and words[word].char_end <= at:
            word += 1
        owners.append(word)
    return owners


def wanted_chunks(unit: Unit, owners: Sequence[int], chunk_samples: int, lead: int) -> list[int]:
    """Return for each token `floor(word start / chunk) - lead`, counted in the session. Can be negative.

    Args:
        unit: The unit.
        owners: Index of the word of each token.
        chunk_samples: Samples of a chunk at 16 kHz.
        lead: Lead in chunks.
    """
    chunks = [word.start // chunk_samples - lead for word in unit.words]
    for i in range(1, len(chunks)):  # onsets given by a corpus can repeat or even decrease; chunks must not decrease
        chunks[i] = max(chunks[i], chunks[i - 1])
    return [chunks[owner] for owner in owners]


def place_tokens(wanted: Sequence[int], free: Cursor, *, capacity: int, pull: int) -> Placement:
    """Place the tokens of a unit, none before `free`.

    Args:
        wanted: The chunk that each token should be in, non-decreasing.
        free: The first free place.
        capacity: Tokens that a chunk has room for.
        pull: Most chunks that a token is moved backwards to make room for those after it.
    """
    chunks: list[int] = []
    chunk, used = free.chunk, free.used
    for target in _pull_back(wanted, capacity, pull):
        if target > chunk:
            chunk, used = target, 0
        elif used == capacity:
            chunk, used = chunk + 1, 0
        chunks.append(chunk)
        used += 1
    return Placement(tuple(chunks), Cursor(chunk, used))


def _pull_back(wanted: Sequence[int], capacity: int, pull: int) -> list[int]:
    """Move tokens backwards, from the last to the first: to the latest free chunk, at most `pull` before the wanted one."""
    targets = [0] * len(wanted)
    chunk, used = None, 0
    for i in range(len(wanted) - 1, -1, -1):
        latest = wanted[i]
        if chunk is not None and latest >= chunk:
            latest = chunk if used < capacity else chunk - 1
        # At the limit of the pull the token stays, even if its chunk is now too full: the forward pass distributes it.
        target = max(latest, wanted[i] - pull)
        if target != chunk:
            chunk, used = target, 0
        used += 1
        targets[i] = target
    return targets
