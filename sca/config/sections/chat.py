"""Settings of a conversation from parts: the voice that speaks the answers."""

from typing import Annotated

from pydantic import Field

from sca.config.sections.base import Flag, Section

__all__ = ["ChatConfig"]


class ChatConfig(Section):
    """The parts of `sca chat` and of the engine cascade besides the recognizer and the language model."""

    voice: Annotated[str | None, Flag("--voice", "ENGINE[:VOICE]")] = Field(
        None,
        min_length=1,
        description="Voice of the answers: a speech engine of sca say, or an engine and a voice of it. Not set: the best one on "
        "this machine.",
    )
