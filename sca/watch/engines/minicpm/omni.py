"""MiniCPM-o 4.5 with the code of its checkpoint: pictures and text in; text, and with `vision.own_voice` speech, out.

The calls are those of the README of the checkpoint: `init_tts(streaming=True)`, `init_token2wav_cache`, `streaming_prefill`
and `streaming_generate`. Source: MiniCPMO45/modeling_minicpmo.py of OpenBMB/minicpm-o-4_5-pytorch-simple-demo.
"""

import filecmp
import inspect
import re
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import override

from sca.audio.decode import read_audio
from sca.config import VisionConfig
from sca.errors import ConfigError, InputError, MissingToolError, ScaError, UpstreamError
from sca.textutil import first_line
from sca.units import HEARD_HZ, SPOKEN_HZ
from sca.watch.engines.base import AudioPiece, Piece, WatchEngine, WatchEngineInfo, WatchRequest, WatchSession
from sca.watch.engines.minicpm.checkpoint import Checkpoint, check_voice_files, complete_quantization, weights_dtype
from sca.watch.engines.pictures import scaled
from sca.watch.engines.prompt import MarkedAnswer, system_text, user_text

__all__ = ["MiniCpmOmni", "check_code", "load_omni", "voice_files"]

_VOCODER_FILES = ("campplus.onnx", "flow.pt", "flow.yaml", "hift.pt", "speech_tokenizer_v2_25hz.onnx")
"""Source: `Token2wav` of the package stepaudio2."""
_FETCH = 'hf download openbmb/MiniCPM-o-4_5 --include "assets/*" --local-dir {folder}'
_SPECIAL = re.compile(r"<\|[a-z_]+\|>")


def voice_files(checkpoint: Checkpoint, vision: VisionConfig) -> tuple[Path, Path]:
    """Return the folder of the vocoder and the recording of the voice.

    Args:
        checkpoint: The checkpoint.
        vision: The section `vision`.

    Raises:
        MissingToolError: One of them is missing. The hint is the command that fetches it.
    """
    assets, fetch = checkpoint.folder / "assets", _FETCH.format(folder=checkpoint.folder)
    vocoder = vision.vocoder or assets / "token2wav"
    check_voice_files(vocoder, _VOCODER_FILES, "the vocoder", fetch)
    recording = vision.ref_audio or next(iter(sorted(assets.glob("*ref_audio*.wav"))), None)
    if recording is None or not recording.is_file():
        where = assets / "*ref_audio*.wav" if recording is None else recording
        raise MissingToolError(f"the reference voice {where} does not exist", hint=f"{fetch}, or set vision.ref_audio")
    return vocoder, recording


def check_code(model_class: type, folder: Path) -> None:
    """Check that the code that runs is the code of the checkpoint, not an older copy in the cache of transformers.

    Args:
        model_class: A class of the loaded code.
        folder: The checkpoint.

    Raises:
        ConfigError: A file differs.
    """
    cached = Path(inspect.getfile(model_class)).parent
    for path in sorted(cached.glob("*.py")):
        source = folder / path.name
        if source.is_file() and not filecmp.cmp(path, source, shallow=False):
            raise ConfigError(f"{path} is an old copy of {source}", hint=f"delete {cached} and start again")


def load_omni(checkpoint: Checkpoint, vision: VisionConfig, device: str) -> "MiniCpmOmni":
    """Run the code of the checkpoint and load its weights.

    Args:
        checkpoint: The checkpoint.
        vision: The section `vision`, with `trust_remote_code`.
        device: Where it runs, such as `cuda:0`.

    Raises:
        MissingToolError: A file of the voice or a package of the code is missing.
        ConfigError: The cached code is old, or the number format does not fit.
        InputError: The weights cannot be loaded.
    """
    import torch
    from transformers import AutoConfig
    from transformers.dynamic_module_utils import get_class_from_dynamic_module

    assert vision.trust_remote_code
    voice = voice_files(checkpoint, vision) if vision.own_voice else None
    dtype = getattr(torch, weights_dtype(checkpoint, vision.dtype, device))
    folder, entries = str(checkpoint.folder), checkpoint.config["auto_map"]
    assert isinstance(entries, dict)
    try:
        name = str(entries["AutoModel"]).split("--")[-1]
        model_class: Any = get_class_from_dynamic_module(name, folder, local_files_only=True)
        check_code(model_class, checkpoint.folder)
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=vision.trust_remote_code)
        config.init_vision, config.init_audio, config.init_tts = True, False, voice is not None
        if checkpoint.is_awq:
            config.quantization_config = complete_quantization(checkpoint.config, checkpoint.shapes)
        model = model_class.from_pretrained(folder, config=config, dtype=dtype, local_files_only=True)
        model = model.eval() if checkpoint.is_awq else model.to(device).eval()
        if voice is not None:
            model.init_tts(streaming=True, model_dir=str(voice[0]), enable_float16=vision.vocoder_float16)
            model.init_token2wav_cache(prompt_speech_16k=read_audio(voice[1], HEARD_HZ))
    except ScaError:
        raise
    except ImportError as error:
        raise MissingToolError(
            f"the code of {folder} cannot be imported: {first_line(error)}", hint="pip install minicpmo-utils[all]"
        ) from error
    except Exception as error:  # code of the checkpoint can raise anything
        raise InputError(f"the checkpoint {folder} cannot be loaded: {first_line(error)}") from error
    return MiniCpmOmni(model, vision, device)


class MiniCpmOmni(WatchEngine):
    """See the module.

    Args:
        model: The model of the checkpoint.
        vision: The temperature, and whether it speaks.
        device: Where it runs.
    """

    def __init__(self, model: Any, vision: VisionConfig, device: str) -> None:
        self.model, self.vision, self._device = model, vision, device
        self.lock = threading.Lock()

    @property
    @override
    def info(self) -> WatchEngineInfo:
        return WatchEngineInfo(
            name="minicpm",
            summary=f"{self.vision.checkpoint} with its own code, on this machine",
            device=self._device,
            speaks=self.vision.own_voice,
            asks=True,
            max_side=self.vision.picture_side,
        )

    @override
    def open(self) -> WatchSession:
        return _OmniSession(self)


class _OmniSession(WatchSession):
    def __init__(self, engine: MiniCpmOmni) -> None:
        self._engine, self._is_closed = engine, False
        self._stop = threading.Event()

    @override
    def answer(self, request: WatchRequest) -> Iterator[Piece]:
        if self._is_closed:
            raise RuntimeError("the session is closed")
        stop = self._stop = threading.Event()
        try:
            with self._engine.lock:
                yield from self._pieces(request, stop)
        except ScaError:
            raise
        except Exception as error:  # code of the checkpoint can raise anything
            raise UpstreamError(f"the model {self._engine.vision.checkpoint} failed: {first_line(error)}") from error

    def _pieces(self, request: WatchRequest, stop: threading.Event) -> Iterator[Piece]:
        from PIL import Image

        model, vision, answer = self._engine.model, self._engine.vision, MarkedAnswer()
        pictures = [Image.fromarray(scaled(one.pixels, vision.picture_side)) for one in request.frames]
        session = uuid.uuid4().hex  # the pictures of a request are its whole context
        model.reset_session(reset_token2wav_cache=False)
        for role, content in (("system", [system_text(request)]), ("user", [*pictures, user_text(request)])):
            model.streaming_prefill(session, [{"role": role, "content": content}], omni_mode=True, max_slice_nums=1)
        heat = (
            {"do_sample": True, "temperature": vision.temperature} if vision.temperature > 0 else {"do_sample": False}
        )
        parts = model.streaming_generate(
            session, generate_audio=vision.own_voice, max_new_tokens=request.max_tokens, **heat
        )
        for part in parts:
            if stop.is_set():
                return
            sound, text = part if vision.own_voice else (None, part[0])  # without speech: the text, and whether it ends
            yield from answer.add(_SPECIAL.sub("", text or ""))
            if sound is not None and sound.numel():
                yield AudioPiece(np.ascontiguousarray(sound.float().cpu().numpy().reshape(-1)), SPOKEN_HZ)
        yield from answer.end()

    @override
    def cancel(self) -> None:
        self._stop.set()

    @override
    def close(self) -> None:
        self._is_closed = True
        self.cancel()
