"""Audio devices without hardware: selection, errors, and the queues between the driver's thread and the event loop."""

import asyncio
import sys
import threading

import anyio
import numpy as np
import pytest

from sca.config import LiveConfig
from sca.distribution import install_extra
from sca.errors import InputError, MissingToolError, UsageError
from sca.infer.audio_io import miniaudio
from sca.infer.audio_io.base import AudioDevice, device_to_dict, is_headphones, select_device
from sca.infer.audio_io.capture import QUEUE_MS, MicrophoneSource
from sca.infer.audio_io.miniaudio import MiniaudioBackend, opening_error
from sca.infer.audio_io.output import LoudspeakerSink
from sca.infer.audio_io.registry import load_backend
from sca.infer.clock import TICK_HZ, TICKS_PER_HEARD_SAMPLE, LoopClock, simulate
from sca.infer.frames import AudioOutput, TurnEnd


def device(index, name, direction="input", default=False):
    return AudioDevice(index, name, direction, "miniaudio", "PulseAudio", 48_000, 2, default, object())


MICS = [
    device(0, "Monitor of Desk"),
    device(1, "Desk", default=True),
    device(2, "USB Headset"),
    device(3, "Out", "output"),
]


def test_selects_by_default_index_name_or_part_of_a_name():
    assert select_device(MICS, "input", None).index == 1
    assert select_device(MICS, "input", "0").index == 0
    assert select_device(MICS, "input", "Desk").index == 1
    assert select_device(MICS, "input", "headset").index == 2
    assert is_headphones(MICS[2])
    assert "handle" not in device_to_dict(MICS[0])


@pytest.mark.parametrize("requested", ["3", "7", "studio", "s"])
def test_ambiguous_or_unknown_device_lists_the_available(requested):
    with pytest.raises(UsageError) as refusal:
        select_device(MICS, "input", requested)
    assert "Desk" in refusal.value.hint


def test_no_device_of_a_direction():
    with pytest.raises(MissingToolError, match="no loudspeaker"):
        select_device(MICS[:3], "output", None)


def test_null_backend_is_an_error(monkeypatch):
    monkeypatch.setattr(miniaudio, "_SYSTEMS", ("NULL",))
    with pytest.raises(MissingToolError, match="Null backend") as refusal:
        MiniaudioBackend().devices()
    assert "libpulse0" in refusal.value.hint
    assert "libasound2" in refusal.value.hint


def test_missing_client_library(monkeypatch):
    monkeypatch.setattr(miniaudio, "_SYSTEMS", ("SNDIO" if sys.platform == "linux" else "ALSA",))
    with pytest.raises(MissingToolError) as refusal:
        MiniaudioBackend().devices()
    assert "libpulse0" in refusal.value.hint


@pytest.mark.parametrize(
    ("code", "error_type", "word"),
    [
        ("MA_BUSY", InputError, "busy"),
        ("MA_ALREADY_IN_USE", InputError, "busy"),
        ("MA_ACCESS_DENIED", InputError, "permission denied"),
        ("MA_NO_DEVICE", InputError, "disconnected"),
        ("MA_CONNECTION_REFUSED", MissingToolError, "no sound server"),
        ("MA_ERROR", InputError, "cannot be opened"),
    ],
)
def test_opening_errors_name_the_cause(code, error_type, word):
    from miniaudio import lib

    error = opening_error(MICS[1], getattr(lib, code), lib)
    assert type(error) is error_type
    assert word in error.message
    assert "Desk" in error.message
    assert error.hint


def test_missing_sounddevice(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(MissingToolError) as refusal:
        load_backend("sounddevice")
    assert install_extra("mic") in refusal.value.hint


def test_unknown_backend():
    with pytest.raises(UsageError, match="oss"):
        load_backend("oss")


# The queues. A thread acts as the driver.


def in_thread(work):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


async def captured(microphone, blocks, rate_hz, samples):
    """Push blocks as a driver does; return at least `samples` at 16 kHz, and the ticks of their blocks."""
    got, ticks = [], []
    stream = microphone.blocks()

    async def push():
        await asyncio.sleep(0.01)
        for block in blocks:
            in_thread(lambda block=block: microphone.on_samples(block))
            await asyncio.sleep(0)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(push)
        async for block in stream:
            got.append(block.samples)
            ticks.append(block.end_tick)
            if sum(map(len, got)) >= samples:
                break
    await stream.aclose()
    return np.concatenate(got), ticks


def test_converts_any_rate_and_channels():
    async def main(rate_hz, channels):
        microphone = MicrophoneSource(LoopClock())
        microphone.on_open(rate_hz)
        tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate_hz // 2) / rate_hz).astype(np.float32)
        sound = np.repeat(tone[:, None], channels, axis=1)
        blocks = np.array_split(sound, 37)
        return await captured(microphone, blocks, rate_hz, 6500)

    for rate_hz, channels in ((44_100, 2), (48_000, 1), (16_000, 6), (8_000, 1), (96_000, 2)):
        samples, _ = anyio.run(main, rate_hz, channels)
        expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(len(samples)) / 16_000)
        assert np.corrcoef(expected[500:], samples[500:])[0, 1] > 0.999


def test_counts_non_finite_and_clipped_samples():
    async def main():
        microphone = MicrophoneSource(LoopClock())
        microphone.on_open(16_000)
        block = np.zeros((320, 2), np.float32)
        block[:5] = np.nan
        block[5:7, 0] = np.inf
        block[10:14, 1] = 1.5
        samples, _ = await captured(microphone, [block], 16_000, 320)
        return samples, microphone.stats

    samples, stats = anyio.run(main)
    assert np.isfinite(samples).all()
    assert np.abs(samples).max() <= 1
    assert (stats.non_finite, stats.clipped) == (12, 4)


def test_full_queue_drops_and_counts_the_oldest():
    async def main():
        microphone = MicrophoneSource(LoopClock())
        microphone.on_open(16_000)
        stream = microphone.blocks()
        first = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        most = 16_000 * QUEUE_MS // 1000
        # The event loop does not run meanwhile.
        for i in range(10 + most // 320):
            in_thread(lambda i=i: microphone.on_samples(np.full((320, 1), i / 1000, np.float32)))
        block = await first
        await stream.aclose()
        return block.samples, microphone.stats.dropped

    samples, dropped = anyio.run(main)
    assert dropped == 10 * 320
    assert samples[0] == pytest.approx(0.010)


def test_block_time_is_the_capture_time():
    async def main():
        clock = LoopClock()
        microphone = MicrophoneSource(clock)
        microphone.on_open(16_000)
        stream = microphone.blocks()
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        before = clock.now()
        in_thread(lambda: microphone.on_samples(np.zeros((320, 1), np.float32)))
        after = clock.now()
        await asyncio.sleep(0)
        import time

        time.sleep(0.05)  # the loop is busy
        block = await waiting
        await stream.aclose()
        return block.end_tick - before, after - before

    captured_at, most = anyio.run(main)
    assert -TICKS_PER_HEARD_SAMPLE <= captured_at <= most + TICKS_PER_HEARD_SAMPLE


def frame(turn_id, level=0.5, samples=7680):
    return AudioOutput(np.full(samples, int(level * 32767), "<i2").tobytes(), 24_000, "", 0, turn_id)


def test_flush_silences_the_next_callback():
    async def main():
        speaker = LoudspeakerSink(LoopClock(), LiveConfig())
        speaker.on_open(24_000)
        await speaker.play(frame(0))
        played = np.concatenate([speaker.fill(480) for _ in range(12)])
        speaker.flush()
        after = speaker.fill(480)
        return played, after, speaker

    played, after, speaker = simulate(main)
    assert np.count_nonzero(played) > 2000
    assert np.count_nonzero(after) == 0
    assert not speaker.playing
    assert speaker.stats.underruns == 0


def test_only_gaps_inside_a_turn_are_underruns():
    async def main():
        speaker = LoudspeakerSink(LoopClock(), LiveConfig())
        speaker.on_open(48_000)
        await speaker.play(frame(0))
        speaker.fill(48_000)
        await speaker.play(frame(0))
        speaker.on_control(TurnEnd(0, 0))
        inside = speaker.stats.underruns
        speaker.fill(48_000)
        await speaker.play(frame(1))
        return inside, speaker.stats.underruns

    assert simulate(main) == (1, 1)


def test_plays_a_turn_to_its_last_sample_at_any_rate():
    async def main(rate_hz):
        speaker = LoudspeakerSink(LoopClock(), LiveConfig(playout_delay_ms=0))
        speaker.on_open(rate_hz)
        await speaker.play(frame(0))
        speaker.on_control(TurnEnd(0, 0))
        return np.count_nonzero(np.abs(speaker.fill(rate_hz)) > 0.25)

    for rate_hz in (24_000, 44_100, 48_000):
        assert simulate(main, rate_hz) == pytest.approx(0.32 * rate_hz, abs=4)


def test_disconnected_loudspeaker_does_not_stop_the_session():
    async def main():
        clock = LoopClock()
        speaker = LoudspeakerSink(clock, LiveConfig())
        speaker.on_open(48_000)
        await anyio.sleep(5)
        began = clock.now()
        for _ in range(2):
            await speaker.play(frame(0, samples=1200))
        return clock.now() - began, speaker.stats.lost

    ticks, lost = simulate(main)
    assert lost == 2400
    assert ticks >= 0.1 * TICK_HZ * 0.99


def test_waits_for_room_and_accepts_nothing_when_cancelled():
    async def main():
        speaker = LoudspeakerSink(LoopClock(), LiveConfig(speak_buffer_ms=320))
        speaker.on_open(24_000)
        for _ in range(2):
            await speaker.play(frame(0))
        queued = speaker._queued_samples
        with anyio.move_on_after(0.02) as scope:
            await speaker.play(frame(0))
        return scope.cancelled_caught, speaker._queued_samples == queued

    assert simulate(main) == (True, True)
