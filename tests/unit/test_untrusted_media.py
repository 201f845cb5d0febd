"""Files that make FFmpeg open other files or addresses are refused, whatever their names are."""

import io

import numpy as np
import pytest
import soundfile

from sca.audio.coded.containers import SelectedTrack
from sca.audio.decode import probe, read_audio
from sca.audio.decoder.sndfile import open_stored
from sca.data.media.ffmpeg import FfmpegRunner, find_ffmpeg
from sca.data.media.transcode_formats import AudioFormat
from sca.errors import InputError

PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nnear.wav\n#EXT-X-ENDLIST\n"
DASH = (
    b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT1S">'
    b'<Period><AdaptationSet mimeType="audio/wav"><Representation id="0" bandwidth="1"><BaseURL>near.wav</BaseURL>'
    b"</Representation></AdaptationSet></Period></MPD>"
)
SDP = b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 9 RTP/AVP 0\n"
OTHERS = {
    "concat.webm": (b"ffconcat version 1.0\nfile near.wav\n", "a list of files for FFmpeg"),
    "itself.webm": (b"ffconcat version 1.0\nfile itself.webm\n", "a list of files for FFmpeg"),
    "marked.wav": (b"\xef\xbb\xbfffconcat version 1.0\nfile near.wav\n", "a list of files for FFmpeg"),
    "hls.m3u8": (PLAYLIST, "an HLS or M3U playlist"),
    "hls.webm": (PLAYLIST, "an HLS or M3U playlist"),
    "dash.mp4": (DASH, "a DASH manifest"),
    "session.wav": (SDP, "a description of a stream (SDP)"),
}


@pytest.fixture
def folder(tmp_path):
    soundfile.write(tmp_path / "near.wav", np.full(8000, 0.5, np.float32), 8000)
    for name, (content, _) in OTHERS.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


@pytest.mark.parametrize("name", OTHERS)
def test_files_that_name_other_files_are_refused(folder, name):
    for read in (probe, read_audio):
        with pytest.raises(InputError) as caught:
            read(folder / name)
        assert caught.value.message == (
            f"{folder / name} is not a sound file but {OTHERS[name][1]}, which names other files"
        )


@pytest.mark.parametrize("name", ["concat.webm", "hls.m3u8", "hls.webm"])
def test_the_ffmpeg_program_refuses_them_too(folder, name):
    command = AudioFormat().transcode_command(
        folder / name, folder / "out.flac", SelectedTrack(0, (1.0,), None), soxr=False
    )
    with pytest.raises(InputError, match="ffmpeg: "):
        FfmpegRunner(find_ffmpeg()).run(command)
    assert not (folder / "out.flac").exists()


@pytest.mark.parametrize(("kind", "is_read"), [("FLAC", True), ("WAV", True), ("VOC", False), ("CAF", False)])
def test_cells_of_data_sets_have_one_of_few_formats(kind, is_read):
    cell = io.BytesIO()
    soundfile.write(cell, np.zeros(800, np.float32), 8000, format=kind)
    cell.seek(0)
    if is_read:
        with open_stored(cell) as file:
            assert file.frames == 800
    else:
        with pytest.raises(soundfile.LibsndfileError, match="not recognised"):
            open_stored(cell)
