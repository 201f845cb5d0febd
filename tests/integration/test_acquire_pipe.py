"""Search, download and transcode in one pipe: the results are the media of the site."""

import json
import shlex
import subprocess
import sys

import numpy as np
import pytest
import soundfile as sf

from tests.helpers import fake_youtube

PITCHES = {"pipeVideo01": 330, "pipeVideo02": 440, "pipeVideo03": 550}


@pytest.fixture(scope="module")
def fake(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pipe")
    videos = [
        fake_youtube.Video(
            name,
            f"Open mic: {pitch} Hz",
            seconds,
            files=(fake_youtube.make_media(folder / f"{name}.webm", seconds, pitch),),
        )
        for (name, pitch), seconds in zip(PITCHES.items(), (4.0, 5.0, 6.0), strict=True)
    ]
    site = fake_youtube.Site()
    site.add([*videos, fake_youtube.Video("pipeTooLong", "Long", 4000)])
    with fake_youtube.FakeYouTube(site, folder) as served:
        yield served


def test_search_download_transcode(fake, tmp_path):
    sca = f"{shlex.quote(sys.executable)} -m sca"
    options = " ".join(map(shlex.quote, fake.options))
    pipe = (
        f"set -o pipefail; {sca} search stand up --max-length 60 --output-format json {options}"
        f" | {sca} download - --only-audio --output-path videos --sleep-interval 0 {options}"
        f" && {sca} transcode videos audio --json"
    )
    env = {"SCA_CACHE_DIR": str(tmp_path / "cache"), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run(["bash", "-c", pipe], cwd=tmp_path, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    made = sorted((tmp_path / "audio").glob("*.flac"))
    assert len(made) == 3
    for flac, (name, pitch), seconds in zip(made, PITCHES.items(), (4.0, 5.0, 6.0), strict=True):
        assert f"[{name}]" in flac.name
        info = sf.info(flac)
        assert (info.samplerate, info.channels, info.subtype) == (48_000, 1, "PCM_16")
        assert info.duration == pytest.approx(seconds, abs=0.05)
        samples, rate = sf.read(flac)
        spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
        assert np.argmax(spectrum) * rate / len(samples) == pytest.approx(pitch, abs=2)
        beside = json.loads((tmp_path / "videos" / f"{flac.stem}.info.json").read_text())
        assert beside["id"] == name
