"""The display of a live session, rendered to a console, and the keys of a pseudo-terminal."""

import asyncio
import io
import os
import pty
import sys
import termios

import pytest
from rich.console import Console

from sca.cli.live.screen import LiveScreen, PlainLog, keys, meter
from sca.infer.frames import (
    AnswerTiming,
    AudioOutput,
    ErrorFrame,
    Interrupt,
    Lag,
    ThoughtPacket,
    TurnEnd,
    UserText,
)
from sca.infer.runners.mic import MicStatus


class Session:
    def __init__(self, **values):
        self.values = {
            "heard_s": 12.4, "input_level": 0.1, "output_level": 0.0, "playing": False, "interruptions": 1, "latency_p50_ms": 41.6,
            "latency_p95_ms": 80.2, "dropped_chunks": 3, "lost_samples": 17, "underruns": 2, "clipped": 0, "input_name": "Desk",
            "output_name": "Box", "backend": "miniaudio", "echo": "gate",
        }  # fmt: skip
        self.values |= values

    def status(self):
        return MicStatus(**self.values)


def rendered(view):
    console = Console(file=io.StringIO(), width=100, record=True, force_terminal=True)
    console.print(view.render())
    return console.export_text()


def output(text, turn_id=0):
    return AudioOutput(bytes(2), 24_000, text, 0, turn_id)


@pytest.fixture
def clock():
    return [100.0]


@pytest.fixture
def view(clock):
    view = LiveScreen("parrot", lambda: clock[0])
    view.attach(Session())
    return view


def test_shows_every_row(view):
    view.on_output(output("hello "), 0)
    view.on_output(output("there"), 0)
    view.on_packet(ThoughtPacket(None, "[they ask the way]", (1,), 0))
    view.notify("the input device Desk is back")
    shown = rendered(view)
    for part in (
        "sca live · parrot", "listening", "12 s", "-20 dB", "silent", "hello there", "[they ask the way]", "p50 42 ms · p95 80 ms",
        "3 chunks", "17 samples", "2 gaps", "Desk → Box", "miniaudio", "echo gate", "is back", "q ends", "space interrupts",
    ):  # fmt: skip
        assert part in shown, part


def test_shows_interrupted_for_a_moment(view, clock):
    view.attach(Session(playing=True, latency_p50_ms=None, clipped=5))
    assert "speaking" in rendered(view)
    assert "no answer yet" in rendered(view)
    assert "CLIPPED" in rendered(view)
    view.on_output(output("I was saying"), 0)
    view.on_control(Interrupt(0, 0))
    assert "state           interrupted" in rendered(view).replace("  ", "  ") or "interrupted ·" in rendered(view)
    assert "I was saying …" in rendered(view)
    clock[0] += 5
    assert "speaking" in rendered(view)


def test_turns_of_both_sides_stay_with_their_times(view):
    view = LiveScreen("parrot", lambda: 0.0, "Talk now.")
    view.attach(Session(muted=True))
    assert "Talk now." in rendered(view)
    view.on_user_text(UserText("what is", 16_000, is_final=False))
    assert "what is …" in rendered(view)
    view.on_user_text(UserText("what is it", 16_000 * 61))
    view.on_output(output("one", 0), 24_000 * 63)
    view.on_output(output(" word", 0), 24_000 * 64)
    view.on_output(output("two", 1), 24_000 * 70)
    shown = [" ".join(line.strip("│ ").split()) for line in rendered(view).splitlines()]
    assert shown[1:4] == ["1:01 you what is it", "1:03 parrot one word", "1:10 parrot two"]
    assert "Talk now." not in rendered(view)
    assert "muted" in rendered(view)


def test_help_and_the_latency_of_an_answer(view):
    assert "hides this help" not in rendered(view)
    view.toggle_help()
    assert "hides this help" in rendered(view)
    view.on_control(AnswerTiming(0, 0, (("endpoint", 640.0), ("recognizer", 300.4), ("voice", 59.6))))
    shown = " ".join(rendered(view).replace("│", "").split())
    assert "first sound 1000 ms after the end of speech (turn decided 640 + text 300 + first sound 60)" in shown


def test_markup_in_text_is_not_interpreted(view):
    view.on_output(output("[red]not red[/]"), 0)
    assert "[red]not red[/]" in rendered(view)


def test_renders_without_a_session():
    assert "sca live" in rendered(LiveScreen("parrot", lambda: 0.0))


def test_meters_go_from_silence_to_full_scale():
    assert meter(0).startswith("·" * 30)
    assert meter(1).startswith("█" * 30)
    assert "0 dB" in meter(1)
    assert meter(0.0316, 10).startswith("█████·····")
    assert meter(2).count("█") == 30


def test_plain_log_has_events_but_no_text():
    lines = []
    log = PlainLog(lines.append)
    log.notify("ready")
    log.on_output(output("a secret"), 48_000)
    log.on_output(output("goes on"), 50_000)
    log.on_control(TurnEnd(0, 0))
    log.on_control(Interrupt(1, 0, "door"))
    log.on_control(Lag(1, 0, 4, 3))
    log.on_control(ErrorFrame(1, 0, "the engine coughs", fatal=False))
    assert lines == [
        "sca: ready",
        "sca: turn 0: speaks from 2.00 s",
        "sca: turn 0: complete",
        "sca: turn 1: interrupted by the door",
        "sca: behind by 4 chunks (backlog), 3 dropped",
        "sca: the engine coughs",
    ]


def test_keys_are_reported_and_the_terminal_is_restored(monkeypatch):
    primary, secondary = pty.openpty()
    before = termios.tcgetattr(secondary)
    pressed = []

    async def main():
        with keys(pressed.append):
            assert termios.tcgetattr(secondary) != before
            os.write(primary, b" q")
            while len(pressed) < 2:
                await asyncio.sleep(0.01)
            raise KeyError

    with os.fdopen(secondary, "r") as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        with pytest.raises(KeyError):
            asyncio.run(main())
        after = termios.tcgetattr(secondary)
    os.close(primary)
    assert pressed == [" ", "q"]
    assert after == before
