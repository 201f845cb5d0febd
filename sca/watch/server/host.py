"""The session of the server: started, stopped and changed by requests; at most one at a time."""

import base64
import logging
import threading
from collections.abc import Callable
from typing import Literal

from sca.audio.pcm import pcm16_bytes
from sca.config import Settings
from sca.config.sections.watch import MAX_INSTRUCTION_CHARS
from sca.errors import ScaError, UsageError
from sca.infer.recognition.registry import load_recognizer
from sca.textutil import first_line
from sca.watch.capture.address import shown_address
from sca.watch.documents import EventDocuments
from sca.watch.events import CycleEnd, Event, SourceState, Speech
from sca.watch.frames import JpegFrame
from sca.watch.profiles.model import Profile
from sca.watch.profiles.store import ProfileStore
from sca.watch.running.listeners import Listener
from sca.watch.running.opening import OpenOptions, WatchRun, monotonic_clock, open_watch
from sca.watch.running.speech_track import SpeechTrack
from sca.watch.server.delay import ShownDelay
from sca.watch.server.feed import Feed
from sca.watch.server.sources import AllowedSources
from sca.watch.server.spoken import MAX_SPEECH_S, LoadRecognizer, SpokenInstructions

__all__ = ["STREAM_HZ", "Session", "SessionBusyError", "WatchHost"]

logger = logging.getLogger(__name__)

STREAM_HZ = 48_000
"""The rate of audio streams."""

State = Literal["idle", "starting", "running", "ended"]
Open = Callable[..., WatchRun]


class SessionBusyError(ScaError):
    """Another request is starting or stopping the session."""


class Session:
    """What the streams of the server read of a running session, or of one that has ended.

    Attributes:
        run: The session.
        source: Its video, without passwords.
        track: Its speech; None without a voice.
        is_over: Whether it has ended.
    """

    def __init__(self, run: WatchRun, source: str) -> None:
        self.run, self.source, self.is_over = run, source, False
        self.track = None if run.voice is None else SpeechTrack(STREAM_HZ)
        self.source_state = "open"
        self.last_cycle: dict[str, object] | None = None
        self._delay = ShownDelay(run.commentary.delay_us)
        self._cycle = -1

    def delay_us(self, now_us: int) -> int:
        """Return by how much the shown picture is delayed."""
        return self._delay.at(now_us)

    def shown(self, now_us: int) -> tuple[JpegFrame, int | None] | None:
        """Return the picture that is shown at a time, and when the next one is shown; None before the first one."""
        delay_us = self.delay_us(now_us)
        found = self.run.display.shown(now_us - delay_us)
        if found is None:
            return None
        frame, next_us = found
        return frame, None if next_us is None else next_us + delay_us

    def note(self, event: Event, now_us: int) -> None:
        """Take an event into account."""
        match event:
            case Speech():
                if event.cycle != self._cycle:
                    self._cycle = event.cycle
                    self._delay.expect_speech(event.play_us)
                if self.track is not None:
                    self.track.add(event)
            case CycleEnd():
                self._delay.set_target(round(event.delay_s * 1e6), now_us)
                if self.track is not None:
                    self.track.flush()
            case SourceState():
                self.source_state = event.state


class WatchHost:
    """Runs sessions for the endpoints. All methods may be called from any thread; `start` and `stop` take their time.

    Args:
        settings: The settings.
        sources: What clients may start.
        muted: Whether the commentary is text only.
        open_run: Opens a session, as `open_watch`.
        load: Loads the recognizer of spoken instructions, as `load_recognizer`.

    Attributes:
        settings: The settings.
        sources: What clients may start.
        spoken: Recognizes spoken instructions.
        feed: The events.
        clock: The time of all sessions, in microseconds.
        session: The session; None before the first one and after `stop`.
    """

    def __init__(
        self,
        settings: Settings,
        sources: AllowedSources,
        *,
        muted: bool = False,
        open_run: Open = open_watch,
        load: LoadRecognizer = load_recognizer,
    ) -> None:
        self.settings, self.sources = settings, sources
        self.spoken = SpokenInstructions(settings, load)
        self.feed = Feed()
        self.clock = monotonic_clock()
        self.session: Session | None = None
        self.is_closed = False
        self._open, self._muted = open_run, muted
        self._store = ProfileStore(settings.watch.profiles)
        self._profile_name = settings.watch.profile
        self._profile = self._store.get(self._profile_name)
        self._instruction = settings.watch.instruction or ""
        self._state: State = "idle"
        self._error: str | None = None
        self._changing = threading.Lock()
        self._cycles = dict.fromkeys(("spoke", "silent", "skipped", "cancelled", "failed"), 0)

    # What requests do

    def start(self, name: str | None = None) -> None:
        """Start a session; one that runs is ended first.

        Args:
            name: The source, see `AllowedSources.find`.

        Raises:
            SourceRefusedError: It is not allowed.
            SessionBusyError: Another request is starting or stopping a session.
            ScaError: The session cannot be opened.
        """
        source = self.sources.find(name)
        self._take_turn()
        try:
            self._end_session()
            self._set_state("starting", None)
            try:
                self._begin(source)
            except ScaError as error:
                self._set_state("idle", error.message)
                raise
            except BaseException as error:
                self._set_state("idle", first_line(error))
                raise
        finally:
            self._changing.release()

    def _begin(self, source: str) -> None:
        options = OpenOptions(muted=self._muted, profile=self._profile, instruction=self._instruction)
        run = self._open(source, self.settings, options, clock=self.clock)
        session = Session(run, shown_address(source))
        listener = run.commentary.listen()
        try:
            run.start()
        except BaseException:
            run.close()
            raise
        self.session = session
        self._set_state("running", None)
        threading.Thread(target=self._follow, args=(session, listener), name="sca watch events", daemon=True).start()
        # What was changed while the session was opened.
        if run.commentary.instruction != self._instruction:
            run.commentary.set_instruction(self._instruction)
        if run.profile is not self._profile:
            run.set_profile(self._profile)

    def stop(self) -> None:
        """End the session; without one, nothing happens.

        Raises:
            SessionBusyError: Another request is starting or stopping a session.
        """
        self._take_turn()
        try:
            if self._end_session():
                self._set_state("idle", None)
        finally:
            self._changing.release()

    def close(self) -> None:
        """End the session and all streams."""
        self.is_closed = True
        self.feed.wake()
        with self._changing:
            self._end_session()

    def set_instruction(self, text: str) -> None:
        """Set the instruction, or clear it with empty text; it stays for later sessions.

        Raises:
            UsageError: It is too long.
        """
        text = text.strip()
        if len(text) > MAX_INSTRUCTION_CHARS:
            raise UsageError(
                f"an instruction has at most {MAX_INSTRUCTION_CHARS} characters, and this one has {len(text)}"
            )
        self._instruction = text
        session = self.session
        if session is not None and not session.is_over:
            session.run.commentary.set_instruction(text)

    def choose_profile(self, name: str, profile: Profile | None = None) -> None:
        """Use a profile, in the running session too.

        Args:
            name: Its name.
            profile: What it is from now on, for as long as the server runs; None if it exists.

        Raises:
            UsageError: It does not exist, or the name is not one.
        """
        if profile is not None:
            self._store.put(name, profile)
        self._profile = self._store.get(name)
        self._profile_name = name
        session = self.session
        if session is not None and not session.is_over:
            session.run.set_profile(self._profile)
        self.feed.put("profile", {"type": "profile", "profile": name, "at_s": self.clock() / 1e6})

    # What requests read

    def profiles(self) -> dict[str, object]:
        """Return all profiles and the name of the one in use."""
        documents = {name: profile.model_dump() for name, profile in self._store.profiles.items()}
        return {"profile": self._profile_name, "profiles": documents}

    def status(self) -> dict[str, object]:
        """Return what the page shows first."""
        session, now_us = self.session, self.clock()
        info = None if session is None else session.run.capture.info
        return {
            "state": self._state,
            "error": self._error,
            "now_s": now_us / 1e6,
            "sources": self.sources.names,
            "source": None if session is None else session.source,
            "source_state": None if session is None else session.source_state,
            "video": None if info is None else {"width": info.width, "height": info.height, "live": info.live},
            "engine": None if session is None else session.run.engine.name,
            "voice": session is not None and session.track is not None,
            "instruction": self._instruction,
            "profile": self._profile_name,
            "delay_s": None if session is None else session.delay_us(now_us) / 1e6,
            "cycles": dict(self._cycles),
            "last_cycle": None if session is None else session.last_cycle,
            "max_instruction_chars": MAX_INSTRUCTION_CHARS,
            "recognizer": self.settings.recognition.engine if self.spoken.problem is None else None,
            "max_speech_s": MAX_SPEECH_S,
        }

    @property
    def cycles(self) -> dict[str, int]:
        """How many cycles ended since the server started, by outcome."""
        return dict(self._cycles)

    # Inside

    def _take_turn(self) -> None:
        if not self._changing.acquire(blocking=False):
            raise SessionBusyError("a session is being started or stopped", hint="try again when that is done")

    def _set_state(self, state: State, error: str | None) -> None:
        self._state, self._error = state, error
        self.feed.put("state", {"type": "state", "state": state, "error": error, "at_s": self.clock() / 1e6})

    def _end_session(self) -> bool:
        session, self.session = self.session, None
        if session is None:
            return False
        session.is_over = True
        session.run.close()
        return True

    def _follow(self, session: Session, listener: Listener) -> None:
        """Hand the events of a session on until it has ended."""
        documents = EventDocuments()
        for event in listener:
            session.note(event, self.clock())
            document = documents.of(event)
            if isinstance(event, CycleEnd):
                self._cycles[event.outcome] += 1
                if event.outcome != "skipped":
                    session.last_cycle = document
            if document is not None:
                self.feed.put(str(document["type"]), document)
            if isinstance(event, Speech):
                self.feed.put("sound", _sound(event))
        if not session.is_over:
            self._ended(session)

    def _ended(self, session: Session) -> None:
        """Note that a session ended because of its video, or with an error. Its last picture stays."""
        error: str | None = None
        try:
            session.run.wait(0)
        except ScaError as failure:
            error = failure.message
            logger.warning("the session ended: %s", error)
        with self._changing:
            if self.session is session:
                session.is_over = True
                session.run.close()
                self._set_state("ended", error)


def _sound(speech: Speech) -> dict[str, object]:
    """Return samples as a document: int16 little-endian mono, as base64."""
    pcm = base64.b64encode(pcm16_bytes(speech.samples)).decode("ascii")
    times = {"cycle": speech.cycle, "play_s": speech.play_us / 1e6, "rate": speech.sample_rate}
    return {"type": "sound", **times, "pcm": pcm}
