"""Records a session while it runs: an MP4 file, a JSON Lines file of its events, or both."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from sca.errors import ScaError, check_target, writing
from sca.files.atomic import create_new, publish, temporary_of
from sca.watch.documents import EventDocuments
from sca.watch.events import CycleEnd, Event, Speech, Text
from sca.watch.recording.movie import SOUND_HZ, Movie
from sca.watch.recording.timeline import Timeline, Utterance
from sca.watch.running.opening import WatchRun
from sca.watch.running.speech_track import SpeechTrack

__all__ = ["EVENTS_SCHEMA", "EventsFile", "Recorder"]

EVENTS_SCHEMA = "sca.watch.events/1"
_LISTENED = 16_384
_WAIT_S, _PAUSE_S = 0.2, 0.05
_MARGIN_US = 300_000
"""Speech that is known this late still gets its place."""


class EventsFile:
    """A JSON Lines file of events. It appears when it is whole.

    Args:
        path: The file.

    Raises:
        OutputError: It cannot be written.
    """

    def __init__(self, path: Path) -> None:
        check_target(path)
        self._path, self._temporary = path, temporary_of(path)
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            create_new(self._temporary)
            self._file: TextIO = self._temporary.open("w", encoding="utf-8")
        self._is_empty = True

    def add(self, document: dict[str, object]) -> None:
        """Write a line."""
        self._is_empty = False
        with writing(self._path):
            self._file.write(json.dumps({"schema": EVENTS_SCHEMA, **document}, ensure_ascii=False) + "\n")

    def close(self) -> None:
        """Finish the file. There is none without an event."""
        try:
            with writing(self._path):
                self._file.close()
                if not self._is_empty:
                    publish(self._temporary, self._path)
        finally:
            self._temporary.unlink(missing_ok=True)


class Recorder:
    """Records in a thread, from `start` to `close`.

    Args:
        run: The session, with pictures for display and before its start.
        movie: The MP4 file; None for none.
        events: The events file; None for none.

    Attributes:
        error: Why the recording stopped; None if it did not.
        lost_events: Events that were not recorded because writing was too slow.

    Raises:
        OutputError: A file cannot be written.
    """

    def __init__(self, run: WatchRun, movie: Path | None, events: Path | None) -> None:
        self.error: ScaError | None = None
        self._run = run
        self._has_sound = run.voice is not None
        self._events = None if events is None else EventsFile(events)
        self._movie = None if movie is None else Movie(movie, has_sound=self._has_sound)
        self._listener = run.commentary.listen(_LISTENED)
        self._timeline = Timeline(run.commentary.delay_us)
        self._track = SpeechTrack(SOUND_HZ)
        self._documents = EventDocuments()
        self._index = -1
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._record, name="sca watch recording", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """Finish the files, with what was recorded so far.

        Raises:
            OutputError: A file cannot be written.
        """
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        closes: list[Callable[[], object]] = [part.close for part in (self._movie, self._events) if part is not None]
        errors = [] if self.error is None else [self.error]
        for close in closes:
            try:
                close()
            except ScaError as error:
                errors.append(error)
        self._movie = self._events = None
        if errors:
            raise errors[0]

    @property
    def lost_events(self) -> int:
        """Events that were not recorded because writing was too slow."""
        return self._listener.dropped

    # The thread

    def _record(self) -> None:
        try:
            while not self._ended.is_set():
                self._take_pictures()
                self._take_events()
                shown_us = self._timeline.shown_us(self._run.clock()) - _MARGIN_US
                self._write_sound(shown_us * SOUND_HZ // 1_000_000)
            self._take_pictures(most_wait_s=0.0)
            self._take_events()
            self._track.flush()
            self._write_sound(self._track.end)  # also what was not shown yet
        except ScaError as error:
            self.error = error

    def _take_pictures(self, most_wait_s: float = _WAIT_S) -> None:
        """Write the pictures that are there, at most a second of them between two looks at the events."""
        for _ in range(30 if most_wait_s else 100_000):
            picture = self._run.display.wait_newer(self._index, most_wait_s)
            if picture is None:
                if most_wait_s:
                    self._ended.wait(_PAUSE_S)  # a closed buffer does not wait
                return
            self._index = picture.index
            place_us = self._timeline.picture_us(picture)
            if self._movie is not None:
                self._movie.add_picture(picture, place_us)

    def _take_events(self) -> None:
        while (event := self._listener.take(0.0)) is not None:
            self._note(event)

    def _note(self, event: Event) -> None:
        document = self._documents.of(event)
        if document is not None and self._events is not None:
            self._events.add(document)
        match event:
            case Text():
                self._timeline.text(event)
            case Speech():
                self._track.add(event, self._timeline.speech_shift(event))
            case CycleEnd():
                self._track.flush()
                utterance = self._timeline.end(event)
                if utterance is not None:
                    self._add(utterance)

    def _add(self, utterance: Utterance) -> None:
        if self._movie is not None:
            self._movie.add_title(utterance.text, utterance.start_us, utterance.end_us)
        if self._events is not None:
            times = {"start": utterance.start_us / 1e6, "end": utterance.end_us / 1e6}
            about = {"cycle": utterance.cycle, "about_s": utterance.about_us / 1e6, "spoken": utterance.is_spoken}
            words = {"speaker": "commentator", "text": " ".join(utterance.text.split())}
            self._events.add({"type": "utterance", **about, **times, **words})

    def _write_sound(self, until: int) -> None:
        if self._movie is None or not self._has_sound:
            return
        start = self._movie.sound_samples
        if until > start:
            self._movie.add_sound(self._track.read(start, until - start))
