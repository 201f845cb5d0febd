"""`sca chat` with typed text: a line of standard input is a turn."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import typer

from sca.cli.chat.options import AnswerOptions
from sca.cli.live.options import DeviceOptions
from sca.cli.shared.console import print_line, print_note, print_text, report
from sca.errors import PartialFailure, ScaError, UsageError
from sca.textutil import counted
from sca.units import SPOKEN_HZ

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sca.config import Settings
    from sca.infer.conversation.streaming import StreamingConversation
    from sca.infer.session.wav_writer import WavWriter

__all__ = ["run_typed"]

_PROMPT = "you: "


def run_typed(
    settings: "Settings", answers: AnswerOptions, devices: DeviceOptions, *, quiet: bool, as_json: bool
) -> Mapping[str, Any]:
    """Answer every line of standard input; return the turns and the latency.

    Raises:
        ScaError: The parts cannot be loaded, or some answers failed; the lines after them are answered first.
        Exit: All answers failed.
    """
    from sca.infer.conversation.streaming import StreamingConversation
    from sca.infer.session.wav_writer import WavWriter

    if answers.out is not None and answers.out.suffix.lower() != ".wav":
        raise UsageError(f"--output {answers.out}: the name should end in .wav")
    turns: list[dict[str, Any]] = []
    failures: list[ScaError] = []
    with ExitStack() as opened:
        wav = None if answers.out is None else opened.enter_context(WavWriter(answers.out, SPOKEN_HZ, keep=True))
        speaks = wav is not None or answers.play
        conversation = opened.enter_context(StreamingConversation(settings, speaks=speaks))
        if not quiet:
            print_note(f"sca chat: {conversation.parts.summary}")
        for line in _lines(show_prompt=not quiet):
            try:
                turn: dict[str, Any] = {"user": line}
                _spend(_sound(conversation, turn, wav, show=not as_json), devices if answers.play else None)
                turns.append(turn)
            except ScaError as error:
                failures.append(error)
                report(error)
        latency = conversation.latency
    if not quiet and not as_json and (summary := latency.line()):
        print_note(f"sca chat: {summary}")
    if failures:
        if not turns:
            raise typer.Exit(failures[0].exit_code)
        raise PartialFailure(f"{counted(len(failures), 'answer')} of {len(failures) + len(turns)} failed")
    if not turns:
        raise UsageError("there is no text to answer", hint="standard input was empty; --mic talks instead")
    return {"turns": turns, "latency_ms": latency.document()}


def _lines(*, show_prompt: bool) -> Iterator[str]:
    """Yield the lines of standard input that have text. A terminal shows a prompt before each."""
    asks = show_prompt and sys.stdin.isatty()
    while True:
        if asks:
            typer.echo(_PROMPT, nl=False, err=True)
        line = sys.stdin.readline()
        if not line:
            return
        if line.strip():
            yield line.strip()


def _sound(
    conversation: "StreamingConversation", turn: dict[str, Any], wav: "WavWriter | None", *, show: bool
) -> "Iterator[NDArray[np.float32]]":
    """Answer the line of a turn; print the text, complete the turn, and yield the sound as it is made."""
    from sca.audio.pcm import pcm16_samples

    has_text = False
    try:
        for event in conversation.process_streaming(turn["user"]):
            match event["type"]:
                case "llm_response" if show:
                    has_text = True
                    print_text(event["text"])
                case "audio_chunk":
                    if wav is not None:
                        wav.write(event["data"])
                    yield pcm16_samples(event["data"])
                case "complete":
                    turn |= {"assistant": event["text"], "total_s": round(event["total_time"], 3)}
                    first = event["time_to_first_audio"]
                    turn["first_audio_s"] = None if first is None else round(first, 3)
    finally:
        if has_text:
            print_line()


def _spend(blocks: "Iterator[NDArray[np.float32]]", loudspeaker: DeviceOptions | None) -> None:
    """Play the blocks, or only let them be made."""
    if loudspeaker is None:
        for _ in blocks:
            pass
        return
    from sca.infer.audio_io.playback import play

    play(blocks, SPOKEN_HZ, backend=loudspeaker.backend, device=loudspeaker.output_device)
