"""What a call over WebRTC costs the live server, beside the same session over a WebSocket.

    python scripts/bench/calls.py SPEECH [--calls 4] [--seconds 10]

Conditions: a server process with the parrot; all clients in this process, in real time, with pieces of 20 ms: a phrase
of 2.3 s, its answer, 4 s of silence, and again. First as calls, then as sessions at `WS /v1/realtime`. Printed are the
processor time of the server as a part of one core for each session, without the first 2 s, and the
number of answers. The last line is JSON.
"""

import argparse
import asyncio
import base64
import json
import sys
import time
from pathlib import Path

import numpy as np
import psutil
from websockets.asyncio.client import connect

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sca.audio.decode import read_audio
from sca.audio.pcm import pcm16_bytes
from sca.audio.resample import resample
from tests.helpers.call_client import HZ, calling
from tests.helpers.live_servers import process

WARM_UP_S = 2
PIECE = 480  # samples at 24 kHz


async def hold_call(url, samples, seconds):
    async with calling(url, samples) as call:
        await asyncio.sleep(seconds)
        return len(call.all("output_audio_buffer.started"))


async def hold_session(url, samples, seconds):
    pcm = pcm16_bytes(resample(samples, HZ, 24_000))
    kinds = []
    async with connect(f"{url.replace('http', 'ws')}/v1/realtime", proxy=None, max_size=None) as ws:
        reading = asyncio.create_task(read_events(ws, kinds))
        begin = time.monotonic()
        for piece in range(int(seconds * 50)):
            data = base64.b64encode(pcm[piece * 2 * PIECE : (piece + 1) * 2 * PIECE]).decode()
            await ws.send(json.dumps({"type": "input_audio_buffer.append", "audio": data}))
            await asyncio.sleep(max(0, begin + (piece + 1) / 50 - time.monotonic()))
    await reading
    return kinds.count("response.created")


async def read_events(ws, kinds):
    async for message in ws:
        kinds.append(json.loads(message)["type"])


async def measure(hold, url, server, samples, options):
    """Return the cores of a session, and the number of answers."""
    tasks = []
    for number in range(options.calls):
        shifted = np.concatenate([np.zeros(number * HZ // 10, np.float32), samples])
        tasks.append(asyncio.create_task(hold(url, shifted, options.seconds + WARM_UP_S + 1)))
    await asyncio.sleep(WARM_UP_S)
    before, began = server.cpu_times(), time.monotonic()
    await asyncio.sleep(options.seconds)
    after, ended = server.cpu_times(), time.monotonic()
    answers = await asyncio.gather(*tasks)
    used = after.user + after.system - before.user - before.system
    return used / (ended - began) / options.calls, answers


async def run(url, server, samples, options):
    report = {"calls": options.calls, "seconds": options.seconds}
    for name, hold in (("call", hold_call), ("websocket", hold_session)):
        cores, answers = await measure(hold, url, server, samples, options)
        report[name] = {"cores": round(cores, 3), "answers": answers}
    return report


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("audio", type=Path, help="a recording of speech")
    parser.add_argument("--calls", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    phrase = read_audio(options.audio, HZ)[: int(2.3 * HZ)]
    samples = np.tile(np.concatenate([phrase, np.zeros(4 * HZ, np.float32)]), 10)
    with process() as (started, url):
        report = asyncio.run(run(url, psutil.Process(started.pid), samples, options))
    print(json.dumps(report))


if __name__ == "__main__":
    main()
