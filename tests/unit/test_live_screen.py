"""What a live session shows: drawn to a console and read back, and the keys of a pseudo-terminal."""

import asyncio
import io
import os
import pty
import sys
import termios

import pytest
from rich.console import Console

from sca.cli.live.screen import LiveScreen, PlainLog, keys, meter
from sca.infer.frames import AudioOutput, ErrorFrame, Interrupt, Lag, ThoughtPacket, TurnEnd
from sca.infer.runners.mic import MicStatus


class Hand:
    def __init__(self, **values):
        self.values = {
            "heard_s": 12.4, "input_level": 0.1, "output_level": 0.0, "playing": False, "interruptions": 1, "latency_p50_ms": 41.6,
            "latency_p95_ms": 80.2, "dropped_chunks": 3, "lost_samples": 17, "underruns": 2, "clipped": 0, "input_name": "Desk",
            "output_name": "Box", "backend": "miniaudio", "echo": "gate",
        }  # fmt: skip
        self.values |= values

    def status(self):
        return MicStatus(**self.values)


def drawn(view):
    console = Console(file=io.StringIO(), width=100, record=True, force_terminal=True)
    console.print(view.render())
    return console.export_text()


def said(text, turn_id=0):
    return AudioOutput(bytes(2), 24_000, text, 0, turn_id)


@pytest.fixture
def clock():
    return [100.0]


@pytest.fixture
def view(clock):
    view = LiveScreen("parrot", lambda: clock[0])
    view.attach(Hand())
    return view


def test_everything_that_is_promised_is_shown(view):
    view.on_output(said("hello "), 0)
    view.on_output(said("there"), 0)
    view.on_packet(ThoughtPacket(None, "[they ask the way]", (1,), 0))
    view.notify("the input device Desk is back")
    shown = drawn(view)
    for part in (
        "sca live · parrot", "listening", "12 s", "-20 dB", "silent", "hello there", "[they ask the way]", "p50 42 ms · p95 80 ms",
        "3 chunks", "17 samples", "2 gaps", "Desk → Box", "miniaudio", "echo gate", "is back", "q ends", "space interrupts",
    ):  # fmt: skip
        assert part in shown, part


def test_the_state_is_speaking_or_interrupted_for_a_moment(view, clock):
    view.attach(Hand(playing=True, latency_p50_ms=None, clipped=5))
    assert "speaking" in drawn(view)
    assert "no answer yet" in drawn(view)
    assert "CLIPPED" in drawn(view)
    view.on_output(said("I was saying"), 0)
    view.on_control(Interrupt(0, 0))
    assert "state           interrupted" in drawn(view).replace("  ", "  ") or "interrupted ·" in drawn(view)
    assert "I was saying …" in drawn(view)
    clock[0] += 5
    assert "speaking" in drawn(view)


def test_a_new_turn_replaces_the_text_of_the_last(view):
    view.on_output(said("one", 0), 0)
    view.on_output(said("two", 1), 0)
    assert "two" in drawn(view)
    assert "one" not in drawn(view).replace("one\n", "").split("says")[1].splitlines()[0]


def test_markup_and_control_characters_of_others_are_text(view):
    view.on_output(said("[red]not red[/]"), 0)
    assert "[red]not red[/]" in drawn(view)


def test_a_screen_without_a_session_can_be_drawn():
    assert "sca live" in drawn(LiveScreen("parrot", lambda: 0.0))


def test_meters_go_from_silence_to_full_scale():
    assert meter(0).startswith("·" * 30)
    assert meter(1).startswith("█" * 30)
    assert "0 dB" in meter(1)
    assert meter(0.0316, 10).startswith("█████·····")
    assert meter(2).count("█") == 30


def test_the_plain_log_says_what_happens_and_nothing_of_what_is_said():
    lines = []
    log = PlainLog(lines.append)
    log.notify("ready")
    log.on_output(said("a secret"), 48_000)
    log.on_output(said("goes on"), 50_000)
    log.on_control(TurnEnd(0, 0))
    log.on_control(Interrupt(1, 0, "door"))
    log.on_control(Lag(1, 0, 4, 3))
    log.on_control(ErrorFrame(1, 0, "the engine coughs", fatal=False))
    assert lines == [
        "sca: ready\n",
        "sca: turn 0: speaks from 2.00 s\n",
        "sca: turn 0: said\n",
        "sca: turn 1: interrupted by the door\n",
        "sca: behind by 4 chunks (backlog), 3 dropped\n",
        "sca: the engine coughs\n",
    ]


def test_keys_are_passed_on_and_the_terminal_is_as_it_was(monkeypatch):
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
