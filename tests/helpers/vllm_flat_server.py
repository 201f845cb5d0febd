"""A server for client tests with the flat protocol of vLLM-Omni 0.20 to 0.30 (Qwen3-Omni without a duplex deployment).

Written after vllm_omni/entrypoints/openai/realtime_connection.py of the wheels 0.20.0, 0.28.0 and 0.30.0, and its base
class, vllm/entrypoints/speech_to_text/realtime/{connection,protocol}.py. 0.30 renamed `response.audio.*` to
`response.output_audio.*`. Nothing answers `session.update`, and nothing cancels. Some time after the last event of a
generation, its end empties the queue; commits are ignored until then.
"""

import base64
import queue
import threading
import time

from websockets.exceptions import ConnectionClosed

from tests.helpers.socket_server import SocketServer, SocketSession, encoded, pieces_of, spoken_again


class FlatSession(SocketSession):
    """One connection. `turns` has the audio of every generation, at 16 kHz."""

    def __init__(self, server, socket):
        super().__init__(server, socket)
        self.turns, self.queue, self.is_valid, self.generation = [], queue.SimpleQueue(), False, None

    def error(self, line, code):
        self.write({"type": "error", "error": line, "code": code})

    def run(self):
        self.write({"type": "session.created", "id": f"sess-{id(self)}", "created": int(time.time())})
        for message in self.socket:
            self.handle(self.read(message))

    def handle(self, event):
        match event["type"]:
            case "session.update":
                self.update(event)
            case "input_audio_buffer.append":
                pcm = base64.b64decode(event["audio"], validate=True)
                if pcm:
                    self.queue.put(pcm)
                else:
                    self.error("Invalid audio data", "invalid_audio")
            case "input_audio_buffer.commit":
                if not self.is_valid:
                    self.error("Model not validated.", "model_not_validated")
                elif event.get("final"):
                    self.queue.put(None)
                elif self.generation is None or not self.generation.is_alive():
                    self.generation = threading.Thread(target=self.generate, daemon=True)
                    self.generation.start()
                else:
                    self.server.problems.append("a commit during a generation, which the server ignores")
            case other:
                self.error(f"Unknown event type: {other}", "unknown_event")

    def update(self, event):
        if "model" not in event:
            self.error("'model'", "processing_error")
        elif event["model"] not in ("", "tiny"):
            self.error(f"The model `{event['model']}` does not exist.", "model_not_found")
        else:
            self.is_valid = True

    def generate(self):
        try:
            self._generate()
        except (ConnectionClosed, OSError):
            pass
        except Exception as error:
            self.server.problems.append(repr(error))

    def _generate(self):
        turn = b"".join(iter(self.queue.get, None))
        self.turns.append(turn)
        act = self.server.next_act()
        if self.wait(act, self.stopped):
            self.answer(act, turn)

    def answer(self, act, turn):
        prefix = "response.output_audio" if self.server.version >= (0, 30) else "response.audio"
        words = f"{len(turn) // 2} samples"
        if act == "fail":
            self.error("CUDA out of memory", "processing_error")
        else:
            self.write({"type": "transcription.delta", "delta": words})
            for i, piece in enumerate(pieces_of(spoken_again(turn))):
                if act == "slow":
                    self.server.go.acquire()
                if act == "die" and i == 2:
                    self.drop()
                    return
                sound = {"audio": encoded(piece), "format": "pcm16", "sample_rate_hz": 24_000}
                self.write({"type": f"{prefix}.delta", **sound})
            usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
            self.write({"type": "transcription.done", "text": words, "usage": usage})
        self.write({"type": f"{prefix}.done", "has_audio": act != "fail"})
        while not self.queue.empty():
            if self.queue.get() is not None:
                self.server.problems.append("the end of a generation discarded audio of the client")


class FlatServer(SocketServer):
    """See the module.

    Args:
        version: The version whose names are used.
        acts: See `SocketServer`, and `fail`: an error instead of an answer.
    """

    session_class = FlatSession

    def __init__(self, version=(0, 30), acts=()):
        super().__init__(acts)
        self.version = version
