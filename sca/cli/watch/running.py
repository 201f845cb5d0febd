"""Runs `sca watch` in the terminal: events to the output and the loudspeaker, and the exit code at the end."""

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from sca.cli.shared.console import print_note, report
from sca.cli.watch.options import PlayOptions, RecordOptions
from sca.cli.watch.output import Output
from sca.cli.watch.typed import follow_typed
from sca.errors import MissingToolError, PartialFailure
from sca.textutil import counted

if TYPE_CHECKING:
    from sca.config import Settings
    from sca.watch.running.listeners import Listener
    from sca.watch.running.opening import WatchRun
    from sca.watch.running.player import Player
    from sca.watch.running.statistics import Statistics

__all__ = ["run"]


def run(
    source: str,
    settings: "Settings",
    play: PlayOptions,
    record: RecordOptions,
    output: Output,
    *,
    with_report: bool,
    quiet: bool,
) -> None:
    """Comment on a video until it ends.

    Raises:
        ScaError: Something cannot be opened, the source ended with an error, or cycles failed.
        Exit: All cycles failed.
    """
    from sca.watch.recording.recorder import Recorder
    from sca.watch.running.opening import OpenOptions, open_watch
    from sca.watch.running.statistics import Statistics

    statistics = Statistics()
    is_recorded = record.record is not None or record.events is not None
    with ExitStack() as opened:
        session = open_watch(source, settings, OpenOptions(muted=play.mute, displayed=is_recorded))
        recorder = Recorder(session, record.record, record.events) if is_recorded else None
        if recorder is not None:
            opened.callback(recorder.close)
        opened.callback(session.close)
        listener = session.commentary.listen()
        player = _player(session, play, is_recorded=is_recorded)
        if player is not None:
            opened.callback(player.close)
        session.start()
        if recorder is not None:
            recorder.start()
        if not quiet:
            print_note(f"sca watch: {session.engine.name}: {session.engine.summary}")
        if follow_typed(source, session.commentary.set_instruction) and not quiet:
            print_note("sca watch: type an instruction at any time; an empty line clears it")
        try:
            _follow(listener, output, statistics, play.seconds)
        finally:
            output.finish(statistics.report() if with_report else None)
        if player is not None and player.error is not None:
            report(player.error)
        _end(session, ended=play.seconds is None)


def _player(session: "WatchRun", play: PlayOptions, *, is_recorded: bool) -> "Player | None":
    """Return the loudspeaker; None without a voice. A recording needs no loudspeaker."""
    from sca.watch.running.player import Player

    if session.voice is None:
        return None
    speech = session.commentary.listen()
    try:
        return Player(speech, session.clock, backend=play.backend, device=play.output_device)
    except MissingToolError as error:
        session.commentary.forget(speech)
        if not is_recorded:
            raise
        print_note(f"sca watch: {error.message}; the speech is only recorded")
        return None


def _follow(listener: "Listener", output: Output, statistics: "Statistics", seconds: float | None) -> None:
    """Print events until the session ends, or its time is over."""
    end_s = None if seconds is None else time.monotonic() + seconds
    while True:
        left_s = None if end_s is None else end_s - time.monotonic()
        event = listener.take(None if left_s is None else max(left_s, 0.0))
        if event is None:
            return
        statistics.add(event)
        output.show(event)


def _end(session: "WatchRun", *, ended: bool) -> None:
    """Raise what went wrong."""
    commentary = session.commentary
    session.wait(None if ended else 0.0)
    failed = commentary.cycles["failed"]
    if not failed:
        return
    good = commentary.cycles["spoke"] + commentary.cycles["silent"]
    last = commentary.failures[-1]
    if not good:
        raise last
    raise PartialFailure(f"{counted(failed, 'cycle')} of {good + failed} failed", hint=last.message)
