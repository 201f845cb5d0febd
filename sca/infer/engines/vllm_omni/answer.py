"""An answer of the server: what was received of it, what was played, and what the server knows of that."""

import time

__all__ = ["Answer"]


class Answer:
    """An answer that is requested, being generated, or being played.

    Args:
        pieces: The audio of the turn that it answers, in pieces; empty if the model has started it.

    Attributes:
        is_requested: Whether the server was asked for it.
        is_committed: Whether the server has the turn.
        response_id: Its id on the server; None until the server starts it.
        item_id: Its item on the server.
        audio: Received audio that is not played yet.
        text: Received text of the audio that is not played yet.
        played_samples: Samples handed out to be played so far, at 24 kHz.
        done: No more audio will be received.
        is_cut: Whether it was interrupted.
        updated_s: When something of it was last received.
    """

    def __init__(self, pieces: tuple[bytes, ...] = (), response_id: str | None = None) -> None:
        self.pieces = pieces
        self.is_requested = False
        self.is_committed = False
        self.response_id = response_id
        self.item_id: str | None = None
        self.audio = bytearray()
        self.text = ""
        self.played_samples = 0
        self.done = False
        self.is_cut = False
        self.updated_s = time.monotonic()
        self._handed_samples = self._heard_samples = self._reported_samples = 0

    def touch(self) -> None:
        """Note that something of it was received, or requested."""
        self.updated_s = time.monotonic()

    def take(self, size: int) -> tuple[bytes, str]:
        """Return the next `size` bytes to play, filled up with silence at the end, and the text of them."""
        piece = bytes(self.audio[:size]).ljust(size, b"\0")
        del self.audio[:size]
        text, self.text = self.text, ""
        self.played_samples += size // 2
        return piece, text

    def heard(self) -> int | None:
        """Return how much was surely played, once per step; None if that is not more than at the last call.

        A chunk that a step returns is played while the next two steps are made.
        """
        self._heard_samples, self._handed_samples = self._handed_samples, self.played_samples
        if self._heard_samples == self._reported_samples:
            return None
        self._reported_samples = self._heard_samples
        return self._heard_samples
