"""An HLS stream: `sca download` joins its segments, and every command reads the result to its end."""

import functools
import http.server
import json
import threading

import av
import pytest
import soundfile
from typer.testing import CliRunner

from sca.audio.decode import read_with_notes
from sca.cli.main import app
from tests.helpers.coded_parts import Part, pitch, write_part
from tests.helpers.show_lines import event, line
from tests.helpers.tiny_whisper import scripted_whisper

SECONDS = 2.0
PADDING_S = 0.05  # packets of AAC have 1024 samples, and a delay of as many


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def stream(tmp_path_factory):
    """Serve a playlist with transport stream segments; return its URL."""
    folder = tmp_path_factory.mktemp("hls")
    whole = write_part(folder / "whole.ts", "ts", Part(seconds=SECONDS))
    options = {"hls_time": "0.5", "hls_list_size": "0", "hls_segment_filename": str(folder / "part%d.ts")}
    with av.open(str(whole)) as source, av.open(str(folder / "show.m3u8"), "w", format="hls", options=options) as out:
        copy = out.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(source.streams.audio[0]):
            if packet.size:
                packet.stream = copy
                out.mux(packet)
    assert len(list(folder.glob("part*.ts"))) >= 4
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/show.m3u8"
        server.shutdown()
        thread.join()


def sca(*arguments):
    done = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.mark.parametrize("options", [["--only-audio"], []])
def test_hls_stream_is_downloaded_and_read_whole(stream, tmp_path, monkeypatch, options):
    monkeypatch.setenv("SCA_CACHE_DIR", str(tmp_path / "cache"))
    videos = tmp_path / "videos"
    sca("download", "--output-path", videos, "--sleep-interval", "0", *options, stream)
    (video,) = videos.glob("*.mp4")
    x, notes = read_with_notes(video, 16_000)
    assert (pitch(x, 16_000), notes) == (pytest.approx(440, abs=5), ())
    assert len(x) / 16_000 == pytest.approx(SECONDS, abs=PADDING_S)
    if not options:
        return
    sca("transcode", videos, tmp_path / "sound", "any", "flac", "--sample-rate", "16000")
    (sound,) = (tmp_path / "sound").glob("*.flac")
    assert soundfile.info(sound).duration == pytest.approx(len(x) / 16_000, abs=0.001)
    model = scripted_whisper(tmp_path)
    sca("transcribe", videos, "--save-file", tmp_path / "lines.jsonl", "--model", model, "--device", "cpu")
    (shown,) = map(json.loads, (tmp_path / "lines.jsonl").read_text().splitlines())
    assert shown["duration_s"] == pytest.approx(len(x) / 16_000, abs=0.001)
    (tmp_path / "shows.jsonl").write_text(line("show", event(0.2, 1.8, "Less than two seconds.")) + "\n")
    folders = ["--input-file", tmp_path / "shows.jsonl", "--audio-dir", videos, "--output-dir", tmp_path / "converted"]
    limits = ["--cut-start", "0", "--cut-end", "0", "--min-duration", "1", "--min-speech-duration", "1"]
    assert sca("convert", *folders, *limits)["seconds"] == pytest.approx(len(x) / 16_000, abs=0.01)
