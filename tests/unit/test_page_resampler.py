"""The JavaScript resampler of the page, run by the deno that sca installs, compared with soxr."""

import json
import os
import subprocess
from pathlib import Path

import deno
import numpy as np
import pytest

import sca.resources
from sca.audio.resample import resample

MODULE = Path(sca.resources.__file__).parent / "page" / "resample.js"
SCRIPT = """
import { Resampler } from %s;
const { jobs } = JSON.parse(new TextDecoder().decode(Deno.readFileSync(Deno.args[0])));
const results = jobs.map(({ rate, samples, cut }) => {
  const resampler = new Resampler(rate);
  const all = Float32Array.from(samples);
  const out = [];
  for (let at = 0, i = 0; at < all.length; i++) {
    const end = at + cut[i %% cut.length];
    out.push(...resampler.push(all.subarray(at, end)));
    at = end;
  }
  return out;
});
console.log(JSON.stringify(results));
"""
RATES = (8000, 11025, 16000, 22050, 32000, 44100, 48000, 96000)


def run(jobs, folder):
    (folder / "run.js").write_text(SCRIPT % json.dumps(MODULE.as_uri()))
    (folder / "jobs.json").write_text(json.dumps({"jobs": jobs}))
    done = subprocess.run(
        [deno.find_deno_bin(), "run", "--no-remote", f"--allow-read={folder}", folder / "run.js", folder / "jobs.json"],
        capture_output=True, text=True, env=os.environ | {"DENO_DIR": str(folder / "deno"), "DENO_NO_UPDATE_CHECK": "1"},
        timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [np.array(one, np.float32) for one in json.loads(done.stdout)]


def tone(hz, rate, seconds=0.3):
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    noise = np.random.default_rng(1).standard_normal(4800).astype(np.float32) * np.float32(0.1)
    jobs = {("tone", rate): (rate, tone(700, rate), [128]) for rate in RATES}
    jobs |= {("alias", rate): (rate, tone(9500, rate), [128]) for rate in RATES if rate > 19000}
    jobs |= {("cut", i): (44100, noise, cut) for i, cut in enumerate(([128], [4800], [1], [7, 300, 2]))}
    listed = [{"rate": rate, "samples": x.tolist(), "cut": cut} for rate, x, cut in jobs.values()]
    return dict(zip(jobs, run(listed, tmp_path_factory.mktemp("page")), strict=True))


@pytest.mark.parametrize("rate", RATES)
def test_tone_equals_that_of_soxr(results, rate):
    found = results["tone", rate]
    expected = resample(tone(700, rate), rate, 16000)
    held_back = 16000 * 60 // min(rate, 16000)
    assert len(expected) - held_back <= len(found) <= len(expected)
    inner = slice(400, len(found) - 50)  # both filters ring at the start of the tone
    assert np.abs(found[inner] - expected[inner]).max() < 1e-3


@pytest.mark.parametrize("rate", [rate for rate in RATES if rate > 19000])
def test_no_aliasing(results, rate):
    assert np.abs(results["alias", rate][400:]).max() < 0.5 * 10 ** (-70 / 20)


def test_result_does_not_depend_on_block_sizes(results):
    whole = results["cut", 0]
    for i in (1, 2, 3):
        np.testing.assert_array_equal(results["cut", i][: len(whole)], whole[: len(results["cut", i])])
