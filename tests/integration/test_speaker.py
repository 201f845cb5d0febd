"""Speaker embeddings: real speech, an ONNX model with random weights, the real VAD; features compared with lhotse."""

import os
import pickle

import numpy as np
import pytest

from sca.audio.decode import read_audio
from sca.audio.fbank import kaldi_fbank
from sca.data.speakers.onnx import OnnxSpeakerModel
from sca.data.speakers.registry import load_speaker
from sca.distribution import install_extra
from sca.errors import InputError, MissingToolError, UsageError
from tests.helpers.tiny_speaker import write_speaker


@pytest.fixture(scope="module")
def speech(trial_data):
    return read_audio(trial_data / "clips" / "jfk.flac", 16_000)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_speaker(tmp_path_factory.mktemp("speaker") / "tiny.onnx")


@pytest.mark.filterwarnings(
    "ignore:Setting snip_edges=True:UserWarning"
)  # lhotse's default frame count differs from Kaldi's
@pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning")
@pytest.mark.parametrize("window", ["povey", "hamming"])
def test_features_equal_kaldi(speech, window):
    import torch
    from lhotse.features.kaldi.layers import Wav2LogFilterBank

    reference = Wav2LogFilterBank(
        sampling_rate=16_000,
        window_type=window,
        dither=0.0,
        snip_edges=True,
        low_freq=20.0,
        high_freq=0.0,
        num_filters=80,
        use_energy=False,
        torchaudio_compatible_mel_scale=True,
        energy_floor=1e-10,
    )
    x = (speech * 32768).astype(np.float32)
    with torch.inference_mode():
        wanted = reference(torch.from_numpy(x)[None])[0].numpy()
    found = kaldi_fbank(x, window=window)
    assert found.shape == wanted.shape == (1 + (len(x) - 400) // 160, 80)
    # The reference computes float32 spectra, sca float64: they differ in nearly empty bands.
    assert np.abs(found - wanted).max() < 0.02
    assert np.abs(found - wanted).mean() < 1e-4


def test_no_features_below_one_frame():
    assert kaldi_fbank(np.zeros(399, np.float32)).shape == (0, 80)


def test_embedding_is_a_unit_vector_for_any_length(speech, model):
    embedder = load_speaker(str(model))
    for seconds in (3, 5.5, 11):
        vector = embedder.embed(speech[: int(seconds * 16_000)])
        assert vector is not None
        assert vector.shape == (192,)
        assert vector.dtype == np.float32
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    assert np.array_equal(embedder.embed(speech), load_speaker(str(model)).embed(speech))
    long = embedder.embed(np.tile(speech, 40))  # more than 30 pieces of 10 s
    assert float(long @ embedder.embed(speech)) > 0.95


def test_ignores_silence(speech, model):
    embedder = load_speaker(str(model))
    quiet = np.zeros(16_000 * 60, np.float32)
    whole = np.concatenate([quiet, speech, quiet])
    everything = OnnxSpeakerModel(model).embed_speech(whole)
    alone = embedder.embed(speech)
    assert float(embedder.embed(whole) @ alone) > 0.95  # the VAD's segments differ by a few frames
    assert float(everything @ alone) / np.linalg.norm(everything) < 0.5


def test_returns_none_without_speech_or_model(speech, model):
    embedder = load_speaker(str(model))
    assert embedder.embed(speech[: 3 * 16_000 - 1]) is None  # too short
    assert embedder.embed(np.zeros(16_000 * 10, np.float32)) is None  # no speech
    assert load_speaker(None).embed(speech) is None
    assert load_speaker("none").embed(speech) is None


def test_metadata_selects_the_window(speech, tmp_path, model):
    povey = write_speaker(tmp_path / "cam.onnx", metadata={"framework": "3d-speaker", "sample_rate": "16000"})
    assert not np.allclose(load_speaker(str(povey)).embed(speech), load_speaker(str(model)).embed(speech), atol=1e-4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: write_speaker(path, size=256), "returns 256 numbers per voice, and sca stores 192"),
        (lambda path: write_speaker(path, bins=40), r"feats \['B', 'T', 40\], not one input"),
        (lambda path: write_speaker(path, metadata={"sample_rate": "8000"}), "takes audio at 8000 Hz"),
        (lambda path: path.write_bytes(b"no model"), "cannot be loaded as an ONNX model"),
    ],
)
def test_rejects_unsuitable_models_on_loading(tmp_path, make, message):
    make(tmp_path / "m.onnx")
    with pytest.raises(InputError, match=message) as caught:
        load_speaker(str(tmp_path / "m.onnx"))
    assert caught.value.hint


def test_missing_model_and_unknown_name(tmp_path):
    with pytest.raises(MissingToolError, match=r"the speaker model .*none\.onnx does not exist"):
        load_speaker(str(tmp_path / "none.onnx"))
    with pytest.raises(UsageError, match="got 'xvector'"):
        load_speaker("xvector")
    with pytest.raises(MissingToolError, match="does not contain a speechbrain model"):
        load_speaker(f"ecapa:{tmp_path}")


@pytest.fixture
def ecapa_folder(tmp_path):
    """A folder in speechbrain's layout; its hyperparameters would run a command in speechbrain's own loader."""
    import torch

    torch.save({"fc.conv.weight": torch.zeros(192, 96, 1)}, tmp_path / "embedding_model.ckpt")
    (tmp_path / "hyperparams.yaml").write_text(f"x: !apply:os.system ['touch {tmp_path}/ran']\n")
    return tmp_path


def test_ecapa_without_speechbrain_names_the_extra(monkeypatch, ecapa_folder):
    import sys

    monkeypatch.setitem(sys.modules, "speechbrain", None)  # even if it is installed here
    with pytest.raises(MissingToolError, match="needs speechbrain") as caught:
        load_speaker(f"ecapa:{ecapa_folder}")
    assert install_extra("speaker") in caught.value.hint
    assert not (ecapa_folder / "ran").exists()


class Command:
    """An object that runs a command when it is unpickled."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def test_ecapa_weights_that_run_code_are_refused(ecapa_folder):
    (ecapa_folder / "embedding_model.ckpt").write_bytes(pickle.dumps(Command(f"touch {ecapa_folder}/ran")))
    with pytest.raises(InputError, match="does not hold weights"):
        load_speaker(f"ecapa:{ecapa_folder}")
    assert not (ecapa_folder / "ran").exists()
