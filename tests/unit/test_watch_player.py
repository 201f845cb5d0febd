"""The loudspeaker of commentary, on a backend that records what a driver would play."""

import threading

import numpy as np
import pytest

from sca.errors import InputError, MissingToolError
from sca.infer.audio_io import playback
from sca.infer.audio_io.base import AudioDevice
from sca.watch.events import Speech, Text
from sca.watch.running import player
from sca.watch.running.listeners import Broadcast
from sca.watch.running.player import Player

RATE_HZ = 8000
BLOCK = RATE_HZ // 50


class Driver:
    """A backend with one loudspeaker, whose driver asks for a block every 2 ms until it is closed, or fails."""

    name = "driver"
    stopped = False
    rate_hz, channels = RATE_HZ, 1

    def __init__(self, *, speakers=1, fails=False):
        self.speakers, self.fails = speakers, fails
        self.played, self.closed = [], threading.Event()

    def devices(self):
        return [AudioDevice(n, "Speaker", "output", "driver", "test", RATE_HZ, 1, True) for n in range(self.speakers)]

    def open_output(self, device, callback, buffer_ms=60):
        if self.fails:
            raise InputError("the loudspeaker is busy")
        self._thread = threading.Thread(target=self._run, args=(callback,))
        self._thread.start()
        return self

    def _run(self, callback):
        while not self.closed.wait(0.002):
            self.played.append(callback(BLOCK))

    def close(self):
        self.closed.set()
        self._thread.join()


@pytest.fixture
def use(monkeypatch):
    def use_driver(driver):
        for module in (player, playback):
            monkeypatch.setattr(module, "load_backend", lambda name: driver)
        return driver

    return use_driver


def speech(cycle, level, play_us):
    return Speech(cycle, np.full(RATE_HZ // 10, level, np.float32), RATE_HZ, play_us)


def test_utterances_are_played_in_order_with_silence_between(use):
    driver, broadcast, times = use(Driver()), Broadcast(), iter(range(0, 10_000_000, 40_000))
    playing = Player(broadcast.add(), lambda: next(times), backend="driver", device=None)
    for event in (Text(0, "One", 0, 0), speech(0, 0.25, 50_000), speech(1, 0.5, 300_000)):
        broadcast.put(event)
    broadcast.close()
    playing._thread.join()
    playing.close()
    heard = np.concatenate(driver.played)
    one, two = np.flatnonzero(np.isclose(heard, 0.25)), np.flatnonzero(np.isclose(heard, 0.5))
    assert (len(one), len(two)) == (RATE_HZ // 10, RATE_HZ // 10)
    assert two[0] > one[-1] + 1
    assert playing.error is None


def test_a_missing_loudspeaker_is_reported_at_once(use):
    use(Driver(speakers=0))
    with pytest.raises(MissingToolError) as error:
        Player(Broadcast().add(), lambda: 0, backend="driver", device=None)
    assert error.value.hint.endswith("--mute needs none")


def test_a_loudspeaker_that_fails_is_remembered(use):
    use(Driver(fails=True))
    broadcast = Broadcast()
    playing = Player(broadcast.add(), lambda: 0, backend="driver", device=None)
    broadcast.put(speech(0, 0.5, 0))
    broadcast.close()
    playing._thread.join()
    playing.close()
    assert playing.error.message == "the loudspeaker is busy"
