"""The server of `sca watch --serve` in a thread, with an engine for tests."""

import threading
from contextlib import contextmanager
from functools import partial

import numpy as np
import uvicorn

from sca.config import load_settings
from sca.infer.recognition.registry import load_recognizer
from sca.infer.server.app import connection_limits
from sca.infer.server.transport.uvicorn_server import listen, server_config
from sca.watch.engines.base import AudioPiece, TextPiece
from sca.watch.running.opening import open_watch
from sca.watch.server.app import make_app
from sca.watch.server.host import WatchHost
from sca.watch.server.sources import AllowedSources
from tests.helpers.timeouts import until
from tests.helpers.watch_engines import ScriptedEngine

__all__ = ["RATE_HZ", "host_of", "says", "served", "tone"]

RATE_HZ = 24_000
QUICK = {
    "watch.inference_interval": "0.3",
    "watch.capture_fps": "10",
    "watch.tts_pause_after": "0.2",
    "watch.change_threshold": "0",
    "watch.stream_delay_init": "0.5",
    "watch.stream_delay_ema_alpha": "0",
    "watch.repeat_s": "0",
    "watch.loop": "true",
    "watch.engine": "scripted",
}


def tone(seconds=0.4):
    """Return a tone, float32."""
    return (0.3 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * RATE_HZ)) / RATE_HZ)).astype(np.float32)


def says(request, cancelled):
    """Say a sentence with a tone as its sound."""
    yield TextPiece(f"{request.instruction or 'Number'} {request.cycle} runs.")
    yield AudioPiece(tone(), RATE_HZ)


def host_of(clip, *, answer=says, muted=False, sources=(), load=load_recognizer, **settings):
    """Return a host whose sessions have an engine that speaks."""
    overrides = QUICK | {name.replace("__", "."): str(value) for name, value in settings.items()}

    def opened(source, loaded, options, *, clock):
        return open_watch(source, loaded, options, clock=clock, engine=ScriptedEngine(answer, speaks=True))

    loaded = load_settings(overrides=overrides, env={})
    return WatchHost(loaded, AllowedSources([str(clip), *sources]), muted=muted, open_run=opened, load=load)


@contextmanager
def served(host):
    """Yield the URL of a server."""
    config = host.settings.serve
    with listen("127.0.0.1", 0) as listener:
        server = uvicorn.Server(
            server_config(make_app(host), connection_limits(config, lambda status: None), extra="serve")
        )
        thread = threading.Thread(target=partial(server.run, sockets=[listener]), daemon=True)
        thread.start()
        until(lambda: server.started)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            host.close()
            server.should_exit = True
            thread.join()
