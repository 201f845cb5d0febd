"""Parts of a conversation that follow a script: a recognizer, a language model, and a voice whose words can be seen."""

import threading
import zlib

import numpy as np

from sca.infer.conversation.parts import ConversationParts
from sca.infer.messages import DEFAULT_OPTIONS
from sca.infer.recognition.base import CommittedWord, Recognition
from sca.infer.speech.base import UnitSound, UnitVoice, WordTime


class ScriptedRecognizer:
    """Recognizes `text(samples)`, the length by default. `ready` is awaited before the final result."""

    def __init__(self, engine):
        self.engine, self.closed = engine, False
        self.samples = None

    def start_processing(self):
        self.samples, self.finished = [], False

    def put_audio_chunk(self, samples):
        assert self.samples is not None
        assert not self.finished
        if self.engine.error is not None:
            raise self.engine.error
        self.samples.append(samples.copy())

    def finish(self):
        self.finished = True

    def result(self, *, final):
        heard = np.concatenate(self.samples) if self.samples else np.zeros(0, np.float32)
        text = self.engine.text(heard)
        words = tuple(CommittedWord(word, 0, 0, 1.0) for word in text.split())
        pause = self.engine.pause_samples
        is_settled = not final and pause is not None and bool(np.any(heard)) and not np.any(heard[-pause:])
        return Recognition(words, "", len(heard) - self.engine.unread, final, is_settled)

    def get_latest_partial(self):
        return self.result(final=False)

    def get_final(self, timeout_s=None):
        assert self.finished
        if not self.engine.ready.wait(timeout_s):
            raise TimeoutError
        return self.result(final=True)

    def close(self):
        self.closed = True


class ScriptedRecognizers:
    """Opens them. A result is settled after `pause_samples` of digital silence, and leaves out `unread` samples."""

    name = "scripted ears"

    def __init__(self, text=None, *, pause_samples=None):
        self.text = text or (lambda samples: f"{len(samples)} samples")
        self.ready = threading.Event()
        self.ready.set()
        self.error = None
        self.pause_samples = pause_samples
        self.unread = 0
        self.opened = []

    def open(self):
        self.opened.append(ScriptedRecognizer(self))
        return self.opened[-1]


class ScriptedReply:
    def __init__(self, pieces):
        self.pieces, self.cancelled = pieces, threading.Event()

    def __iter__(self):
        for piece in self.pieces:
            if self.cancelled.is_set():
                return
            if isinstance(piece, threading.Event):
                while not piece.wait(0.01) and not self.cancelled.is_set():
                    pass
            elif isinstance(piece, Exception):
                raise piece
            else:
                yield piece

    def cancel(self):
        self.cancelled.set()


def echo(messages):
    """Answer with what the user said, and the number of messages."""
    text = f"You said: {messages[-1].text}. That is message {len(messages)}, and this is the rest of the answer to it."
    return [text[i : i + 7] for i in range(0, len(text), 7)]


class ScriptedLanguage:
    """Answers with `answer(messages)`: pieces of text, tool calls, events to wait for, or an exception to raise."""

    name = "scripted mind"
    context_tokens = None

    def __init__(self, answer=echo):
        self.answer = answer
        self.asked, self.tools, self.options = [], [], []

    def reply(self, messages, tools=(), options=DEFAULT_OPTIONS):
        self.asked.append(list(messages))
        self.tools.append(list(tools))
        self.options.append(options)
        return ScriptedReply(self.answer(messages))

    def close(self):
        pass


LEVELS = 200


def level_of(word):
    """Return the level of the sound of a word; different words differ."""
    return (zlib.crc32(word.encode()) % LEVELS + 20) / (LEVELS + 40)


class ScriptedVoice(UnitVoice):
    """Speaks each word as a constant level for 30 to 330 ms, depending on the word, and 20 ms of silence after it."""

    def __init__(self, rate_hz=24_000, *, sentences=False):
        super().__init__(rate_hz, sentences=sentences)
        self.units = []

    def synthesise(self, text):
        self.units.append(text)
        pieces, words, at, char = [], [], 0, 0
        for word in text.split():
            char = text.index(word, char)
            samples = self.sample_rate * (30 + zlib.crc32(word.encode()) % 300) // 1000
            words.append(WordTime(word, char, char + len(word), at, at + samples))
            pieces += [np.full(samples, level_of(word), np.float32), np.zeros(self.sample_rate // 50, np.float32)]
            at += samples + self.sample_rate // 50
            char += len(word)
        return UnitSound(np.concatenate(pieces) if pieces else np.zeros(0, np.float32), tuple(words))


def scripted_parts(answer=echo, *, recognizer=None, voice=ScriptedVoice, **others):
    """Return parts that follow a script. `voice` is a function that makes a voice."""
    return ConversationParts(
        recognizer or ScriptedRecognizers(), ScriptedLanguage(answer), voice, "scripted voice", **others
    )
