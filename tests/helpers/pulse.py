"""A private PulseAudio daemon with a virtual loudspeaker that can be recorded and a virtual microphone that can be fed."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile

TOOLS = ("pulseaudio", "pactl", "paplay", "parec")
SCRIPT = """
load-module module-native-protocol-unix auth-anonymous=1
load-module module-null-sink sink_name=vspk rate={rate} channels={channels} sink_properties=device.description=VirtualSpeaker
load-module module-null-sink sink_name=vmic_in rate={rate} channels={channels} sink_properties=device.description=VirtualMicInput
load-module module-remap-source source_name=vmic master=vmic_in.monitor source_properties=device.description=VirtualMic
set-default-sink vspk
set-default-source vmic
"""


class Pulse:
    """Starts, kills and restarts the daemon. `env` contains the variables with which a program finds it."""

    def __init__(self, folder: Path, rate: int = 48_000, channels: int = 2) -> None:
        missing = [tool for tool in TOOLS if shutil.which(tool) is None]
        if missing:
            pytest.fail(
                f"{', '.join(missing)} missing: run apt-get install pulseaudio pulseaudio-utils (scripts/test does)"
            )
        self.folder = folder
        folder.mkdir(mode=0o700)
        (folder / "pulse").mkdir(mode=0o700)
        self.env = os.environ | {
            "XDG_RUNTIME_DIR": str(folder),
            "HOME": str(folder),
            "PULSE_SERVER": f"unix:{folder}/pulse/native",
        }
        (folder / "pulse.pa").write_text(SCRIPT.format(rate=rate, channels=channels))
        self._daemon: subprocess.Popen | None = None

    def start(self) -> None:
        (self.folder / "pulse" / "native").unlink(missing_ok=True)
        options = ["-n", "-F", str(self.folder / "pulse.pa"), "--exit-idle-time=-1", "--daemonize=no"]
        options += [
            "--use-pid-file=no",
            "--realtime=no",
            "--high-priority=no",
            "--log-target=file:" + str(self.folder / "log"),
        ]
        self._daemon = subprocess.Popen(
            ["pulseaudio", *options],
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 60
        while subprocess.run(["pactl", "info"], env=self.env, capture_output=True).returncode:
            if time.monotonic() > deadline:
                pytest.fail(f"pulseaudio does not start: {(self.folder / 'log').read_text()}")
            time.sleep(0.05)

    def stop(self) -> None:
        if self._daemon is not None:
            self._daemon.kill()
            self._daemon.wait()
            self._daemon = None

    def pactl(self, *arguments: str) -> str:
        return subprocess.run(["pactl", *arguments], env=self.env, check=True, capture_output=True, text=True).stdout

    def speak(self, wav: Path) -> None:
        """Play a file into the microphone and return at its end."""
        subprocess.run(self.first("paplay", "--device=vmic_in", str(wav)), env=self.env, check=True, timeout=60)

    def first(self, *command: str) -> list[str]:
        """Return the command, with a higher priority where that is allowed."""
        return [*(["nice", "-n", "-10"] if os.geteuid() == 0 else []), *command]

    @contextmanager
    def listening(self) -> Iterator["Listener"]:
        """Record the loudspeaker, 24 kHz mono, for the duration of the block."""
        raw = self.folder / "heard.raw"
        options = [
            "--device=vspk.monitor",
            "--rate=24000",
            "--channels=1",
            "--format=s16le",
            "--raw",
            "--latency-msec=20",
        ]
        with raw.open("wb") as file:
            recording = subprocess.Popen(
                self.first("parec", *options), env=self.env, stdout=file, stderr=subprocess.DEVNULL
            )
            try:
                while recording.poll() is None and raw.stat().st_size == 0:
                    time.sleep(0.02)
                yield Listener(raw)
            finally:
                recording.terminate()
                recording.wait()


class Listener:
    def __init__(self, raw: Path) -> None:
        self._raw = raw

    @property
    def samples(self) -> np.ndarray:
        """The recording so far, float32 at 24 kHz."""
        pcm = self._raw.read_bytes()
        return np.frombuffer(pcm[: len(pcm) // 2 * 2], "<i2").astype(np.float32) / 32768

    def hear(self, seconds: float) -> None:
        """Continue to record for this many seconds of the loudspeaker's clock."""
        enough = self._raw.stat().st_size + round(seconds * 24_000) * 2
        deadline = time.monotonic() + 60 + seconds
        while self._raw.stat().st_size < enough:
            assert time.monotonic() < deadline, "the loudspeaker does not play"
            time.sleep(0.02)


@contextmanager
def pulse_server(folder: Path, rate: int = 48_000, channels: int = 2) -> Iterator[Pulse]:
    server = Pulse(folder / "x", rate, channels)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def write_wav(path: Path, samples: np.ndarray, rate: int) -> Path:
    soundfile.write(path, samples, rate, subtype="PCM_16")
    return path


def aligned(expected: np.ndarray, heard: np.ndarray) -> tuple[float, int]:
    """Return the highest correlation of `expected` with any part of `heard`, and the first sample of that part."""
    size = 1 << (len(expected) + len(heard)).bit_length()
    cross = np.fft.irfft(np.fft.rfft(heard, size) * np.fft.rfft(expected, size).conj(), size)[: len(heard)]
    start = int(np.argmax(cross))
    found = heard[start : start + len(expected)]
    return float(np.corrcoef(expected[: len(found)], found)[0, 1]), start


def fit(expected: np.ndarray, heard: np.ndarray, rate: int = 24_000) -> float:
    """Return how well `heard` contains `expected`: the median correlation of pieces of 0.25 s, each aligned separately.

    The correlation of the whole would measure the virtual devices, which leave gaps between perfect pieces on a busy
    machine.
    """
    size = rate // 4
    pieces = [expected[i : i + size] for i in range(0, len(expected) - size, size)]
    return float(np.median([aligned(piece, heard)[0] for piece in pieces if np.std(piece) > 0.01]))
