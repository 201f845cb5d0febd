"""A server for client tests with the video chat protocol of vLLM-Omni 0.30.

Written after the wheel 0.30.0: vllm_omni/entrypoints/openai/video_stream_base.py (`StreamingVideoSessionConfig`, the session
loop, `_process_query_engine`, `_sample_frame_indices`) and serving_video_stream.py (`QwenOmniStreamingVideoHandler`).
"""

import base64
import io
import json
import wave

from tests.helpers.chat_server import decoded
from tests.helpers.socket_server import SocketServer

FIELDS = {
    "model": str,
    "modalities": list,
    "num_frames": int,
    "max_frames": int,
    "system_prompt": str,
    "use_audio_in_video": bool,
    "sampling_params_list": list,
    "enable_frame_filter": bool,
    "frame_filter_threshold": float,
}


def wav(samples=2400, rate=24_000):
    """Return a WAV file, as the server sends a part of the speech."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(b"\x10\x20" * samples)
    return base64.b64encode(file.getvalue()).decode("ascii")


class VideoSession:
    """One connection. `seen` has, per query, the mean levels of the pictures that the model is given."""

    def __init__(self, server, socket):
        self.server, self.socket = server, socket
        self.config, self.frames, self.seen, self.queries, self.received = {}, [], [], [], []

    def write(self, kind, **fields):
        self.socket.send(json.dumps({"type": kind, **fields}))

    def run(self):
        first = json.loads(self.socket.recv())
        if first.get("type") != "session.config":
            self.write("error", message=f"Expected session.config, got: {first.get('type')}")
            return
        self.config = {key: value for key, value in first.items() if key != "type"}
        for key, value in self.config.items():  # pydantic ignores unknown fields; a test should not
            assert isinstance(value, FIELDS[key])
        assert 1 <= self.config["num_frames"] <= 128
        assert 1 <= self.config["max_frames"] <= 256
        for message in self.socket:
            event = json.loads(message)
            self.received.append(event["type"])
            if event["type"] == "video.frame":
                self.add(event)
            elif event["type"] == "video.query":
                self.query(event["text"])
            elif event["type"] == "video.done":
                self.write("session.done")
                return
            else:
                self.write("error", message=f"Unknown type: {event['type']}")

    def add(self, event):
        jpeg = base64.b64decode(event["data"], validate=True)
        self.frames = [*self.frames, float(decoded(jpeg).mean())][-self.config["max_frames"] :]
        self.write(
            "video.frame.ack",
            frame_id=event["frame_id"],
            pts_ms=event["pts_ms"],
            capture_ts_ms=None,
            accepted=True,
            buffered_frames=len(self.frames),
            server_receive_ts_ms=1.0,
        )

    def query(self, text):
        if not self.frames:
            self.write("error", message="No frames buffered")
            return
        self.queries.append(text)
        count, most = len(self.frames), self.config["num_frames"]
        stride = max(1, count // most)
        chosen = range(count) if count <= most else [*(i * stride for i in range(most - 1)), count - 1]
        self.seen.append([round(self.frames[index] / 10) * 10 for index in chosen])
        act = self.server.next_act()
        if act == "refuse":
            self.write("error", message="Preprocess failed: too many pictures")
            return
        if act == "gone":
            self.socket.close()
            return
        self.write("response.start")
        parts = ["It is ", "bright. " if self.frames[-1] > 128 else "dark. ", "<ask>Which lamp?</ask>"]
        for part in parts:
            self.write("response.text.delta", delta=part)
            if act == "wait":
                self.server.go.acquire()
        if act == "fail":
            self.write("error", message="Query processing failed")
        self.write("response.text.done", text="".join(parts))
        if "audio" in self.config["modalities"] and act != "mute":
            for _ in range(2):
                self.write("response.output_audio.delta", data=wav(), format="wav")
            self.write("response.output_audio.done")


class VideoServer(SocketServer):
    """See the module. Acts: `refuse` and `gone` before the answer begins, `fail`, `wait` for `go`, `mute` without sound."""

    session_class = VideoSession

    def check_request(self, connection, request):
        if request.path != "/v1/video/chat/stream":
            return connection.respond(404, "no such path\n")
        return None

    def _serve(self, socket):
        session = self.session_class(self, socket)
        self.sessions.append(session)
        try:
            session.run()
        except self.ends:
            pass
        except Exception as error:
            self.problems.append(repr(error))
            raise

    def drop(self):
        for session in self.sessions:
            session.socket.close()
