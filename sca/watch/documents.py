"""Events as JSON documents, the same for `sca watch --json`, the event stream of the server and recorded events."""

from dataclasses import asdict

from sca.watch.events import CycleEnd, Event, InstructionSet, Notice, SourceState, Speech, Text

__all__ = ["EventDocuments"]


class EventDocuments:
    """Makes the documents of one session. Times are seconds of the session, `about_s` is a time of the video."""

    def __init__(self) -> None:
        self._spoken = -1

    def of(self, event: Event) -> dict[str, object] | None:
        """Return the document of an event; None for speech that continues an utterance."""
        match event:
            case Speech():
                if event.cycle == self._spoken:
                    return None  # one document for each utterance, and not for its pieces
                self._spoken = event.cycle
                return {"type": "speech", "cycle": event.cycle, "play_s": event.play_us / 1e6}
            case CycleEnd():
                fields = {"cycle": event.cycle, "outcome": event.outcome, "text": event.text, "reason": event.reason}
                times = {"about_s": event.about_us / 1e6, "at_s": event.at_us / 1e6, "delay_s": event.delay_s}
                return {"type": "cycle_end", **fields, **times, **asdict(event.timings)}
            case Text():
                times = {"about_s": event.about_us / 1e6, "at_s": event.at_us / 1e6}
                return {"type": "text", "cycle": event.cycle, "text": event.text, **times}
            case InstructionSet():
                return {"type": "instruction", "instruction": event.instruction, "at_s": event.at_us / 1e6}
            case SourceState():
                return {"type": "source", "state": event.state, "detail": event.detail, "at_s": event.at_us / 1e6}
            case Notice():
                return {"type": "notice", "text": event.text, "at_s": event.at_us / 1e6}
