"""Conversations of clients that others wrote with a live server: the clients, how they are run, and what is checked.

The clients are the programs in `tests/clients`. Each runs all its conversations in one process.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from sca.audio.g711 import decode_g711
from sca.audio.pcm import INT16_MAX, pcm16_bytes
from sca.audio.resample import resample
from sca.infer.engines.cascade.engine import CascadeEngine
from sca.infer.engines.parrot import ParrotEngine
from sca.infer.speech.base import UnitSound, WordTime
from sca.units import HEARD_HZ, SPOKEN_HZ
from tests.helpers.engine_contract import demo_speech
from tests.helpers.live_servers import certificate, running
from tests.helpers.scripted_parts import ScriptedRecognizers, ScriptedVoice, scripted_parts

PROGRAMS = Path(__file__).resolve().parents[1] / "clients"
KEY = "a-key-of-41-characters-for-all-of-the-clients"
SLOW_S = 1.5  # from the end of a turn to the first sound, in wall time
SIMILAR = 0.85
LATE_S = 0.05  # of sound that a client still plays after an interruption
PHRASES_S = ((51.204, 53.9), (25.5946, 27.5163))  # of the first speaker of the demo


@dataclass(frozen=True, slots=True)
class Condition:
    """How a conversation is held.

    Attributes:
        piece_ms: The size of the pieces of sound; None for that of the client, or 20 ms.
        stall_s: A stall of the network in the middle of each phrase, after which the sound comes at once.
        slow: Whether the engine needs wall time before it speaks.
    """

    piece_ms: int | None = None
    stall_s: float = 0.0
    slow: bool = False


CONDITIONS = {
    "1 ms": Condition(piece_ms=1),
    "20 ms": Condition(piece_ms=20),
    "100 ms": Condition(piece_ms=100),
    "stall": Condition(stall_s=0.9),
    "slow engine": Condition(slow=True),
}


@dataclass(frozen=True, slots=True)
class Client:
    """A client.

    Attributes:
        command: Its program: an interpreter with options, and a file of `tests/clients`.
        arguments: Arguments of the program.
        skipped: The conditions that it cannot have.
        tls: Whether it connects over TLS only.
        piece_ms: The size of its pieces if the condition is not one of them.
        heard_s: How much of the first answer is played before the interruption.
    """

    command: tuple[str, ...]
    arguments: tuple[str, ...] = ()
    skipped: frozenset[str] = frozenset()
    tls: bool = False
    piece_ms: int | None = None
    heard_s: float = 0.4

    @property
    def missing(self):
        """What has to be installed for it, or None."""
        if self.command[0] == sys.executable and self.command[-1] != "wscat.py":
            return None
        return None if (cache() / "installed").exists() and shutil.which(self.command[0]) else str(cache())


OWN_PIECES = frozenset({"1 ms", "100 ms"})
"""For clients that send pieces of 20 ms, whatever their microphone does."""

SLOWER = frozenset({"1 ms"})
"""For clients that need longer than 1 ms to send a piece, or join small pieces."""


def cache():
    """Return the folder of clients that are not dependencies of sca."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "sca-clients"


def python(program, **options):
    return Client((sys.executable, program), **options)


def node(program, *arguments, flags=(), **options):
    return Client(("node", *flags, program), arguments, **options)


BROWSER = ("--experimental-websocket",)
"""Makes node have the WebSocket of browsers, which cannot send headers."""

COPIES = {"skipped": SLOWER | {"20 ms"}, "piece_ms": 100}
"""For a client that copies all earlier sound with each piece, sample by sample."""

LIVEKIT = (str(cache() / "livekit/bin/python"), "livekit_agents.py")

LIVEKIT_WARM_UP_S = 3.0
"""How long LiveKit sends silence in place of the user's sound, from the begin of the first answer on."""

CLIENTS = {
    "openai-python": python("openai_python.py", skipped=SLOWER),
    "openai npm": node("openai_npm.mjs", tls=True),
    "openai npm, browser": node("openai_npm.mjs", "browser", flags=BROWSER, tls=True),
    "@openai/agents": node("openai_agents.mjs"),
    "openai-realtime-api, headers": node("openai_beta.mjs", flags=("--no-experimental-websocket",), **COPIES),
    "openai-realtime-api, browser": node("openai_beta.mjs", flags=BROWSER, **COPIES),
    "livekit-agents": Client(LIVEKIT, skipped=SLOWER),
    "livekit-agents, defaults": Client(
        LIVEKIT, ("defaults",), skipped=SLOWER | {"100 ms", "stall"}, heard_s=LIVEKIT_WARM_UP_S + 0.3
    ),
    "pipecat": python("pipecat_service.py", skipped=OWN_PIECES),
    "Twilio media streams": python("twilio_stream.py", skipped=OWN_PIECES, tls=True),
    "Twilio with OpenAI Realtime": python("twilio_openai.py", skipped=OWN_PIECES),
    "wscat": python("wscat.py"),
    "WS /ws/pcm16": python("plain_pcm16.py"),
    "WS /ws/pcm16, JSON only": python("json_pcm16.py"),
}


class EchoVoice(ScriptedVoice):
    """Speaks the sound that the recognizer heard, whose number is in the text."""

    def __init__(self, heard, rate_hz=SPOKEN_HZ):
        super().__init__(rate_hz)
        self.heard = heard

    def synthesise(self, text):
        sound = resample(self.heard[int(re.findall(r"\d+", text)[-1])], HEARD_HZ, self.sample_rate)
        return UnitSound(sound, (WordTime(text, 0, len(text), 0, len(sound)),))


def slow_engine():
    """Return an engine that repeats each turn, `SLOW_S` of wall time after its end."""
    heard = []

    def recognize(samples):
        heard.append(samples)
        return f"turn {len(heard) - 1}"

    def answer(messages):
        threading.Event().wait(SLOW_S)
        return [f"{messages[-1].text}."]

    parts = scripted_parts(answer, recognizer=ScriptedRecognizers(recognize), voice=lambda: EchoVoice(heard))
    return CascadeEngine(parts)


@lru_cache
def phrases(hz):
    """Return the two phrases, float32 at a rate."""
    speech = resample(demo_speech(seconds=60), HEARD_HZ, hz)
    return [speech[int(start * hz) : int(end * hz)] for start, end in PHRASES_S]


def spoken(hz):
    """Return what a client says. The first phrase comes twice: its answer is still played after a late interruption."""
    first, second = phrases(hz)
    return [np.concatenate([first, first]), second]


def write_phrases(folder):
    """Write what a client says at several rates. Returns `phrases` of a run."""
    found = []
    for hz in (8_000, HEARD_HZ, SPOKEN_HZ):
        paths = [folder / f"phrase-{i}-{hz}.raw" for i in range(2)]
        for path, samples in zip(paths, spoken(hz), strict=True):
            path.write_bytes(pcm16_bytes(samples, INT16_MAX))
        found.append([hz, *map(str, paths)])
    return found


def run_clients(names, folder, conditions=CONDITIONS, at_once=2):
    """Let clients talk to a parrot and to a slow engine, all conditions of a client at the same time.

    Returns:
        Reports by client and condition.
    """
    written = write_phrases(folder)
    tls = certificate(folder)
    with ExitStack() as stack:
        urls = {
            (slow, secure): stack.enter_context(
                running(engine, tls=tls if secure else None, auth_key=KEY, twilio_auth_token=KEY)
            ).url
            for slow, engine in ((False, ParrotEngine()), (True, slow_engine()))
            for secure in (False, True)
        }

        def run(name):
            client = CLIENTS[name]
            runs = [
                {
                    "name": condition,
                    "url": urls[how.slow, client.tls],
                    "key": KEY,
                    "model": "cascade" if how.slow else "parrot",
                    "phrases": written,
                    "piece_ms": how.piece_ms or client.piece_ms or 20,
                    "stall_s": how.stall_s,
                    "heard_s": client.heard_s,
                    "out": str(folder / f"{name}-{condition}".replace(" ", "-").replace("/", "-")),
                }
                for condition, how in conditions.items()
                if condition not in client.skipped
            ]
            *command, program = client.command
            done = subprocess.run(
                [*command, str(PROGRAMS / program), *client.arguments, json.dumps({"runs": runs})],
                capture_output=True,
                text=True,
                timeout=170,
                env=os.environ
                | {"SCA_CLIENTS": str(cache()), "NODE_EXTRA_CA_CERTS": str(tls[0]), "SSL_CERT_FILE": str(tls[0])},
            )
            lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"client"')]
            return {line["run"]: line for line in lines} | {"stderr": done.stderr, "stdout": done.stdout}

        with ThreadPoolExecutor(at_once) as pool:
            return dict(zip(names, pool.map(run, names), strict=True))


@dataclass
class Cell:
    """What a conversation was.

    Attributes:
        faults: What was wrong.
        similarity: Of the second answer to the second phrase; None for text.
    """

    faults: list = field(default_factory=list)
    similarity: float = 0.0

    @property
    def summary(self):
        """The similarity, or that there were faults."""
        if self.faults:
            return "FAULT"
        return "text" if self.similarity is None else f"{self.similarity:.2f}"


def heard(report, answer):
    """Return the sound of an answer, float32 at 24 kHz."""
    data = Path(answer["sound"]).read_bytes()
    if report["width"] == 1:
        samples = decode_g711(data, "ulaw").astype(np.float32)
    else:
        samples = np.frombuffer(data, "<i2").astype(np.float32) / 32768
    return resample(samples, report["hz"], SPOKEN_HZ)


def similar(found, expected):
    """Return the highest correlation of two sounds over all delays."""
    size = 1 << (len(found) + len(expected)).bit_length()
    products = np.fft.irfft(np.fft.rfft(found, size) * np.conj(np.fft.rfft(expected, size)), size)
    return float(
        products.max() / np.sqrt(np.sum(found.astype(float) ** 2) * np.sum(expected.astype(float) ** 2) + 1e-9)
    )


def _text_faults(texts):
    """Check the texts of answers of a client without sound: the parrot's have the length of the phrase."""
    faults = [] if len(texts) == 2 and all(texts) else [f"the texts are {texts}"]
    for text, phrase in zip(texts, spoken(HEARD_HZ), strict=False):
        said = re.search(r"says back ([\d.]+) s", text)
        if said and abs(float(said[1]) - len(phrase) / HEARD_HZ) > 0.5:
            faults.append(f"{text} answers {len(phrase) / HEARD_HZ:.1f} s")
    return faults


def check(report):
    """Check one conversation."""
    cell = Cell()
    if report is None:
        return Cell(["no report"])
    cell.faults += report["problems"]
    ends = [answer["end"] for answer in report["answers"]]
    if ends != ["interrupted", "done"]:
        cell.faults.append(f"answers ended as {ends}, not interrupted and done")
    late_s = sum(answer["late"] for answer in report["answers"]) / report["width"] / report["hz"]
    if late_s > LATE_S:
        cell.faults.append(f"{late_s:.2f} s of sound after the end of an answer")
    if "texts" in report["notes"]:
        cell.faults += _text_faults(report["notes"]["texts"])
        cell.similarity = None
        return cell
    first, second = spoken(SPOKEN_HZ)
    if report["answers"]:
        part = heard(report, report["answers"][0])
        if (likeness := similar(part, first[: len(part)])) < SIMILAR - 0.2:
            cell.faults.append(f"the first answer is not the first phrase ({likeness:.2f})")
        last = heard(report, report["answers"][-1])
        cell.similarity = similar(last, second)
        if cell.similarity < SIMILAR:
            cell.faults.append(f"the second answer is not the second phrase ({cell.similarity:.2f})")
        if not 0.8 * len(second) < len(last) < 1.6 * len(second) + SPOKEN_HZ:
            cell.faults.append(f"the second answer is {len(last) / SPOKEN_HZ:.1f} s long")
    return cell
