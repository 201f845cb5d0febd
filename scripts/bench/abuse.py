"""The live server under abuse: does a session lose a chunk, and how much memory do the attacks cost?

    python scripts/bench/abuse.py [--quick] [--seconds 5]

Conditions: a real `sca serve` with the parrot in its own process on loopback. One session streams in real time from
127.0.0.1 through all attacks. These come from another process and 127.0.0.2: an upload of 36 bytes that names itself, a
request head of 64 MiB, 64 WebSocket clients that ask and do not read, 64 that send pings and do not read, 10,000
connections with a request each, and 600 connections with half a head. `/health` is asked during each attack, from
127.0.0.3. `--quick` does a small part of each.

Reported for each attack: the session's chunks, those that were dropped, the longest time between two replies, the time
of the slowest `/health`, and the growth of the server's largest resident set over the one before the attack. The exit
code is 1 if a chunk was lost, a probe failed, or the memory grew beyond its bound: 8 MiB for each client that does not
read, and 64 MiB for any other attack. The last line is JSON.
"""

import argparse
import asyncio
import base64
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

HEARD_HZ, CHUNK, PIECE = 16_000, 5120, 640
HOST = b"Host: 127.0.0.1\r\n"
UPLOAD = b"ffconcat version 1.0\nfile upload.txt\n"


def start():
    command = [sys.executable, "-m", "sca", "serve", "--port", "0", "--max-sessions", "80", "--log-level", "error"]
    env = os.environ | {"SCA_LIVE_ENGINE": "parrot"}
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env)
    for line in server.stderr:
        found = re.search(r"listening on http://127.0.0.1:(\d+)", line)
        if found:
            return server, int(found[1])
    raise SystemExit("the server did not start")


def resident_mib(pid, name="VmHWM"):
    return int(re.search(rf"{name}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024


def reset_peak(pid):
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def frame(payload, opcode=0x81):
    size = len(payload)
    length = bytes([128 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return bytes([opcode]) + length + bytes(4) + payload


def handshake(path):
    key = base64.b64encode(os.urandom(16))
    return (
        b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + b"\r\n\r\n"
    )


@dataclass
class Session:
    """The session of the honest client, and what it has got so far."""

    sent = replies = dropped = 0
    gap_s = last_s = 0.0

    async def talk(self, port):
        import websockets

        async with websockets.connect(f"ws://127.0.0.1:{port}/ws/pcm16", proxy=None) as ws:
            reading = asyncio.create_task(self._read(ws))
            began_s = time.monotonic()
            try:
                while not reading.done():
                    await ws.send(bytes(2 * PIECE))
                    self.sent += PIECE
                    await asyncio.sleep(max(0.0, began_s + self.sent / HEARD_HZ - time.monotonic()))
                await reading  # raises why it ended
            finally:
                reading.cancel()

    async def _read(self, ws):
        async for message in ws:
            if isinstance(message, bytes):
                continue
            document = json.loads(message)
            if "chunk_ms" in document:
                now_s = time.monotonic()
                self.gap_s, self.last_s = max(self.gap_s, now_s - (self.last_s or now_s)), now_s
                self.replies += 1
            elif document.get("type") == "lag":
                self.dropped += document["dropped_chunks"]


async def request(port, data, source="127.0.0.2", limit=4096):
    """Send bytes on a connection and return what comes back first."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    except OSError:
        return b""
    try:
        for at in range(0, len(data), 1 << 20):
            writer.write(data[at : at + (1 << 20)])
            await writer.drain()
        return await asyncio.wait_for(reader.read(limit), 30)
    except (OSError, TimeoutError):
        return b""
    finally:
        writer.close()


async def upload(port, scale):
    body = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="upload.txt"\r\n\r\n' + UPLOAD + b"\r\n--x--\r\n"
    )
    head = b"POST /infer_wav HTTP/1.1\r\n" + HOST + b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: "
    return await request(port, head + str(len(body)).encode() + b"\r\n\r\n" + body)


async def head(port, scale):
    return await request(port, b"GET /health HTTP/1.1\r\n" + HOST + b"X: " + bytes([65]) * (scale << 20))


ITEM = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a" * 30_000}]}
QUESTION = frame(json.dumps({"type": "conversation.item.create", "item": ITEM}).encode())


async def unread(port, scale, message=QUESTION):
    """Connect clients that send up to 16 MiB of messages, and read nothing."""

    async def one():
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0), limit=1024)
        try:
            writer.write(handshake(b"/v1/realtime"))
            await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
            for _ in range((16 << 20) // len(message)):
                writer.write(message)
                await asyncio.wait_for(writer.drain(), 2)
        except (OSError, EOFError, TimeoutError):
            pass  # the server reads no more of it, or has closed the connection
        return writer

    writers = await asyncio.gather(*(one() for _ in range(scale)))
    await asyncio.sleep(1)
    for writer in writers:
        writer.transport.abort()
    return f"{len(writers)} clients".encode()


async def connections(port, scale):
    limit = asyncio.Semaphore(1000)
    statuses = {}

    async def one():
        async with limit:
            got = await request(port, b"GET / HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
        status = got[9:12].decode() or "closed"
        statuses[status] = statuses.get(status, 0) + 1

    await asyncio.gather(*(one() for _ in range(scale)))
    return json.dumps(statuses).encode()


async def half_open(port, scale):
    opened = []
    for _ in range(scale):
        try:
            opened.append(await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0)))
            opened[-1][1].write(b"GET /health HTTP/1.1\r\n")
        except OSError:
            continue
    await asyncio.sleep(2)
    for _, writer in opened:
        writer.transport.abort()
    return f"{len(opened)} connections".encode()


ATTACKS = {"upload": (upload, 1, 1), "head": (head, 64, 8), "unread": (unread, 64, 8)}
ATTACKS |= {"pings": (partial(unread, message=4000 * frame(b"", 0x89)), 64, 8)}
ATTACKS |= {"connections": (connections, 10_000, 300), "half-open": (half_open, 600, 60)}


async def probe(port):
    """Ask `/health` until cancelled. Returns the slowest response in seconds; None if one failed."""
    slowest_s = 0.0
    try:
        while True:
            began_s = time.monotonic()
            got = await request(port, b"GET /health HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n", "127.0.0.3")
            slowest_s = max(slowest_s, time.monotonic() - began_s)
            if not got.startswith(b"HTTP/1.1 200"):
                return None
            await asyncio.sleep(0.2)
    except asyncio.CancelledError:
        return max(slowest_s, time.monotonic() - began_s - 0.2)


async def attacked(port, name, scale):
    """Run an attack in a process of its own, and return what it prints."""
    command = [sys.executable, __file__, "--attack", name, "--port", str(port), "--scale", str(scale)]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    return (await process.communicate())[0]


async def measure(port, pid, name, scale, session, seconds):
    base_mib = resident_mib(pid, "VmRSS")
    session.gap_s, sent, replies, dropped = 0.0, session.sent, session.replies, session.dropped
    reset_peak(pid)
    probing = asyncio.create_task(probe(port))
    began_s = time.monotonic()
    answer = await attacked(port, name, scale)
    await asyncio.sleep(max(0.0, seconds - (time.monotonic() - began_s)))
    probing.cancel()
    slowest_s = await probing
    return {
        "attack": name,
        "scale": scale,
        "answer": answer[:80].partition(b"\r\n")[0].decode("latin-1"),
        "seconds": round(time.monotonic() - began_s, 1),
        "chunks_sent": (session.sent - sent) // CHUNK,
        "replies": session.replies - replies,
        "dropped": session.dropped - dropped,
        "longest_gap_s": round(session.gap_s, 2),
        "slowest_health_s": None if slowest_s is None else round(slowest_s, 2),
        "growth_mib": round(resident_mib(pid) - base_mib, 1),
        "bound_mib": 8 * scale if name in ("unread", "pings") else 64,
    }


def is_good(row):
    """Return whether the session dropped nothing, the probes were answered, and the memory kept its bound."""
    return not row["dropped"] and row["slowest_health_s"] is not None and row["growth_mib"] <= row["bound_mib"]


async def run(options):
    server, port = start()
    try:
        reading = asyncio.create_task(asyncio.to_thread(server.stderr.read))  # a full pipe would stop the server
        session = Session()
        talking = asyncio.create_task(session.talk(port))
        await asyncio.sleep(1 if options.quick else 5)
        base_mib = resident_mib(server.pid, "VmRSS")
        rows = []
        for name, (_, full, quick) in ATTACKS.items():
            scale = quick if options.quick else full
            row = await measure(port, server.pid, name, scale, session, options.seconds)
            sys.stderr.write(f"{row}\n")
            rows.append(row)
        began_s = time.monotonic()
        while session.replies < session.sent // CHUNK - 2 and time.monotonic() - began_s < 20:  # some may be late
            await asyncio.sleep(0.1)
        missing = max(0, session.sent // CHUNK - 2 - session.replies)
        lost = repr(talking.exception()) if talking.done() else None
        talking.cancel()
        await asyncio.gather(talking, return_exceptions=True)
        alive = server.poll() is None
        server.terminate()
        log = await reading
        return {
            "base_mib": round(base_mib, 1),
            "alive": alive,
            "missing_replies": missing,
            "lost": lost,
            "tracebacks": log.count("Traceback"),
            "attacks": rows,
        }
    finally:
        server.kill()
        server.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small part of each attack")
    parser.add_argument("--seconds", type=float, default=5.0, help="least duration of an attack")
    for name, kind in (("--attack", str), ("--port", int), ("--scale", int)):
        parser.add_argument(name, type=kind, help=argparse.SUPPRESS)  # of the process that attacks
    options = parser.parse_args()
    if options.attack is not None:
        sys.stdout.buffer.write(asyncio.run(ATTACKS[options.attack][0](options.port, options.scale)))
        return 0
    report = asyncio.run(run(options))
    sys.stdout.write(f"{json.dumps(report)}\n")
    good = (
        report["alive"]
        and report["lost"] is None
        and not report["missing_replies"]
        and not report["tracebacks"]
        and all(map(is_good, report["attacks"]))
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
