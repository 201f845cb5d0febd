"""A speaker for the clients of this folder: says a phrase, interrupts the answer with another, and waits for the second answer.

A client is a program with one argument, a JSON document:

    {"runs": [{"name", "url", "key", "phrases": [[rate, path, path], ...], "piece_ms", "stall_s", "heard_s", "out"}, ...]}

`phrases` has the two phrases as PCM16 at several rates; the first answer is interrupted after `heard_s`. All runs are
conversations at the same time. For each of them the program prints one line of JSON, a `Conversation.report`. This
module needs the standard library only, because some clients have an environment of their own.
"""

import asyncio
import itertools
import json
import sys
import time
from pathlib import Path

LEAD_S = 0.4  # of silence before the first phrase
PATIENCE_S = 30.0  # without any sound of an answer


class Conversation:
    """One conversation of a client.

    Args:
        run: An element of `runs`.
        hz: The sample rate of the microphone.
        answer_hz: The sample rate of the loudspeaker; that of the microphone by default.
        width: The bytes of a sample.
        encode: Encodes PCM16 for the client.
        quiet: A sample of silence, encoded.

    Attributes:
        answers: Sound and end (`done`, `interrupted`) of each answer.
        problems: Messages of errors.
    """

    def __init__(self, run, hz=24_000, width=2, encode=bytes, quiet=b"\0\0", answer_hz=None):
        self.run, self.hz, self.answer_hz, self.width = run, hz, answer_hz or hz, width
        paths = next(paths for rate, *paths in run["phrases"] if rate == hz)
        self.phrases = [encode(Path(path).read_bytes()) for path in paths]
        self.quiet = quiet
        self.answers, self.problems, self.notes = [], [], {}
        self.ended = asyncio.Event()
        self._last, self._plays_until = None, 0.0

    # The loudspeaker

    def play(self, sound, answer=None):
        """Play sound of an answer. `answer` is an id; without one, an answer lasts until its end was reported."""
        if self.ended.is_set():
            return
        current = self.answers[-1] if self.answers else None
        if current is None or (current["end"] is not None if answer is None else current["id"] != answer):
            self._end("replaced")
            current = {"id": answer, "sound": bytearray(), "end": None, "late": 0}
            self.answers.append(current)
        elif current["end"] is not None:
            current["late"] += len(sound)
        current["sound"] += sound
        self._last = time.monotonic()
        self._plays_until = max(self._plays_until, self._last) + self._seconds(sound)

    def _seconds(self, sound):
        return len(sound) / self.width / self.answer_hz

    def played_ms(self):
        """How much of the current answer was played."""
        left_s = max(0.0, self._plays_until - time.monotonic())
        return int(1000 * max(0.0, self._seconds(self.answers[-1]["sound"]) - left_s))

    @property
    def is_playing(self):
        """Whether an answer is being played, or not complete."""
        return bool(self.answers) and self.answers[-1]["end"] is None

    def interrupt(self):
        """The client was told to stop playing. Ends the current answer, if it is not over."""
        self._end("interrupted")
        self._plays_until = 0.0

    def complete(self):
        """All sound of the answer has arrived. It is over when it was played."""
        if self.is_playing:
            left_s = self._plays_until - time.monotonic()
            asyncio.get_running_loop().call_later(max(0.0, left_s), self._end, "done", self.answers[-1])

    def done(self):
        """The answer was played."""
        self._end("done")

    def fail(self, problem):
        """Report an error of the client or of the server."""
        self.problems.append(str(problem)[:500])

    def _end(self, how, answer=None):
        if self.is_playing and answer in (None, self.answers[-1]):
            self.answers[-1]["end"] = how

    # The microphone

    async def microphone(self):
        """Yield pieces of sound in real time until the conversation is over."""
        first, second = self.phrases
        sounds = [self.quiet * int(LEAD_S * self.hz), first, lambda: self._interruptible(), second, self._is_over]
        async for piece in _paced(self._pieces(sounds), self.run["piece_ms"] / 1000, self.run["stall_s"]):
            yield piece
        self.ended.set()

    def _pieces(self, sounds):
        """Yield pieces and whether the speaker stalls there; a function means silence until it returns True."""
        size, left = self.hz * self.run["piece_ms"] // 1000 * self.width, b""
        silence = self.quiet * (size // self.width)
        for sound in sounds:
            if callable(sound):
                yield from ((piece, False) for piece in iter(lambda until=sound: None if until() else silence, None))
                continue
            sound, stalls = left + sound, len(sound) > self.hz * self.width
            middle = len(sound) // size // 2 * size
            for at in range(0, len(sound) - size + 1, size):
                yield sound[at : at + size], stalls and at == middle
            left = sound[len(sound) // size * size :]

    def _waited_too_long(self):
        if time.monotonic() - self._last > PATIENCE_S:
            self.fail(f"no sound of an answer for {PATIENCE_S:g} s")
            return True
        return False

    def _interruptible(self):
        self._last = self._last or time.monotonic()
        return (bool(self.answers) and self.played_ms() > 1000 * self.run["heard_s"]) or self._waited_too_long()

    def _is_over(self):
        if len(self.answers) > 1 and self.answers[-1]["end"] == "done":
            return True
        return self._waited_too_long()

    def report(self, client, version):
        """Write the sound of the answers and return what happened."""
        answers = []
        for i, answer in enumerate(self.answers):
            path = Path(f"{self.run['out']}-{i}.raw")
            path.write_bytes(answer["sound"])
            answers.append({"sound": str(path), "end": answer["end"], "late": answer["late"]})
        return {
            "client": client,
            "version": version,
            "run": self.run["name"],
            "hz": self.answer_hz,
            "width": self.width,
            "answers": answers,
            "problems": self.problems,
            "notes": self.notes,
        }


class Loudspeaker:
    """Plays sound in real time, in order. A mark calls a function when the sound before it was played.

    Args:
        conversation: Receives the sound when it is played.
        played: A coroutine function that is called with each mark.
    """

    def __init__(self, conversation, played):
        self._conversation, self._played = conversation, played
        self._queue, self._added = [], asyncio.Event()
        self.task = asyncio.create_task(self._run())

    def add(self, sound=b"", mark=None):
        self._queue.append((sound, mark))
        self._added.set()

    def clear(self):
        """Discard what was not played yet. Returns the marks in it."""
        marks = [mark for _, mark in self._queue if mark is not None]
        self._queue.clear()
        return marks

    async def _run(self):
        conversation, free = self._conversation, 0.0
        while True:
            while not self._queue:
                self._added.clear()
                await self._added.wait()
            sound, mark = self._queue.pop(0)
            if mark is not None:
                await self._played(mark)
                continue
            conversation.play(sound)
            now = time.monotonic()
            free = max(free, now) + len(sound) / conversation.width / conversation.answer_hz
            await asyncio.sleep(free - now)


async def _paced(pieces, piece_s, stall_s):
    """Yield pieces when their last sample was recorded. A stall delays the pieces of its time, which then come at once."""
    begin, free = time.monotonic(), 0.0
    for count, (piece, stalls) in enumerate(pieces, 1):
        count += 1
        if stalls:
            free = time.monotonic() + stall_s
        due = max(begin + count * piece_s, free)
        while (wait := due - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        yield piece


def speak(path, hz):
    """Yield pieces of 20 ms of a file of PCM16 in real time, then silence."""
    sound, size = Path(path).read_bytes(), hz // 50 * 2
    pieces = (sound[at : at + size].ljust(size, b"\0") for at in range(0, len(sound), size))
    return _paced(((piece, False) for piece in itertools.chain(pieces, itertools.repeat(bytes(size)))), 0.02, 0.0)


def main(client, version, converse, **format_):
    """Run all conversations of a client at the same time, and print their reports.

    Args:
        client: The name of the client.
        version: Its version.
        converse: A coroutine function that holds a `Conversation`.
        **format_: The format of its sound.
    """

    async def one(run):
        conversation = Conversation(run, **format_)
        try:
            async with asyncio.timeout(4 * PATIENCE_S):
                await converse(conversation)
        except Exception as error:
            conversation.fail(f"{type(error).__name__}: {error}")
        print(json.dumps(conversation.report(client, version)), flush=True)

    async def all_runs():
        await asyncio.gather(*map(one, json.loads(sys.argv[-1])["runs"]))

    asyncio.run(all_runs())
