"""MiniCPM-V with the classes of transformers: pictures and text in, streamed text out.

The pictures of a request are whole images without slices. The prompt is that of the processor of transformers, which is not
used itself: it also loads a video processor, which needs torchvision.
"""

import threading
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from typing_extensions import override

from sca.config import VisionConfig
from sca.errors import InputError, ScaError, UpstreamError
from sca.textutil import first_line
from sca.watch.engines.base import Piece, WatchEngine, WatchEngineInfo, WatchRequest, WatchSession
from sca.watch.engines.minicpm.checkpoint import Checkpoint, complete_quantization, weights_dtype
from sca.watch.engines.pictures import scaled
from sca.watch.engines.prompt import marked_pieces, system_text, user_text
from sca.watch.frames import VideoFrame

__all__ = ["NativeMiniCpm", "load_native"]

_PLACE = "<sca-pictures>"


class _Stop(Protocol):
    def is_set(self) -> bool: ...


def load_native(checkpoint: Checkpoint, vision: VisionConfig, device: str) -> "NativeMiniCpm":
    """Load the weights.

    Args:
        checkpoint: The checkpoint.
        vision: The section `vision`.
        device: Where it runs, such as `cpu` or `cuda:0`.

    Raises:
        InputError: A file is damaged.
        ConfigError: The number format does not fit.
    """
    import torch
    from transformers import AutoConfig, AutoModelForImageTextToText, AutoTokenizer
    from transformers.models.minicpmv4_6.image_processing_pil_minicpmv4_6 import MiniCPMV4_6ImageProcessorPil

    dtype = getattr(torch, weights_dtype(checkpoint, vision.dtype, device))
    folder = str(checkpoint.folder)
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        if checkpoint.is_awq:
            config.quantization_config = complete_quantization(checkpoint.config, checkpoint.shapes)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        images = MiniCPMV4_6ImageProcessorPil.from_pretrained(folder, local_files_only=True)
        model = AutoModelForImageTextToText.from_pretrained(
            folder, config=config, dtype=dtype, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # those of safetensors, torch and transformers have no common base class
        raise InputError(f"the checkpoint {folder} cannot be loaded: {first_line(error)}") from error
    return NativeMiniCpm(model.to(device).eval(), tokenizer, images, vision)


class NativeMiniCpm(WatchEngine):
    """See the module.

    Args:
        model: The `MiniCPMV4_6ForConditionalGeneration`, or that of 4.7.
        tokenizer: Its tokenizer.
        images: Its image processor.
        vision: The limits of a request, and the temperature.
    """

    def __init__(self, model: Any, tokenizer: Any, images: Any, vision: VisionConfig) -> None:
        self.model, self.tokenizer, self.images, self.vision = model, tokenizer, images, vision
        self.lock = threading.Lock()

    @property
    @override
    def info(self) -> WatchEngineInfo:
        return WatchEngineInfo(
            name="minicpm",
            summary=f"{self.vision.checkpoint} ({self.model.config.model_type}) on this machine",
            device=str(self.model.device),
            asks=True,
            max_side=self.vision.picture_side,
        )

    @override
    def open(self) -> WatchSession:
        return _NativeSession(self)

    def inputs(self, request: WatchRequest) -> dict[str, Any]:
        """Return the inputs of the model. The oldest pictures that do not fit in the context are left out.

        Args:
            request: The request.

        Raises:
            InputError: The text alone does not fit.
        """
        frames = list(request.frames)
        room = self.vision.context_tokens - request.max_tokens
        while True:
            found = self._inputs(request, frames)
            if found["input_ids"].shape[1] <= room:
                return found
            if len(frames) == 1:
                raise InputError(
                    f"the request has {found['input_ids'].shape[1]} tokens, and {room} fit",
                    hint="vision.context_tokens gives more room",
                )
            frames = frames[1:]

    def _inputs(self, request: WatchRequest, frames: Sequence[VideoFrame]) -> dict[str, Any]:
        seen = self.images(
            [scaled(one.pixels, self.vision.picture_side) for one in frames], slice_mode=False, return_tensors="pt"
        )
        messages = [
            {"role": "system", "content": system_text(request)},
            {"role": "user", "content": f"{_PLACE}\n{user_text(request)}"},
        ]
        prompt = self.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, enable_thinking=False
        )
        prompt = prompt.replace(_PLACE, self._places(seen["target_sizes"].prod(-1).tolist()), 1)
        text = self.tokenizer(prompt, return_tensors="pt", add_special_tokens=False)
        inputs = {key: text[key] for key in ("input_ids", "attention_mask")}
        inputs |= {key: seen[key] for key in ("pixel_values", "target_sizes")}
        return {key: value.to(self.model.device) for key, value in inputs.items()}

    def _places(self, patches: Sequence[int]) -> str:
        """Return the tokens that the features of pictures replace. Source: `MiniCPMV4_6Processor.replace_image_token`."""
        words, divisor = self.tokenizer, 4 if self.images.downsample_mode == "4x" else 16
        places = []
        for number, count in enumerate(patches):
            name = f"{words.image_id_start_token}{number}{words.image_id_end_token}" if self.images.use_image_id else ""
            places.append(
                f"{name}{words.image_start_token}{words.image_token * (count // divisor)}{words.image_end_token}"
            )
        return "\n".join(places)

    def generate(self, inputs: dict[str, Any], max_tokens: int, stop: _Stop) -> Iterator[str]:
        """Yield the text of an answer as it is generated.

        Args:
            inputs: See `inputs`.
            max_tokens: The most tokens.
            stop: Ends the answer when it is set.

        Raises:
            UpstreamError: The generation failed.
        """
        from transformers import StoppingCriteriaList, TextIteratorStreamer

        streamer = TextIteratorStreamer(self.tokenizer, skip_prompt=True, skip_special_tokens=True)
        failures: list[Exception] = []
        heat = self.vision.temperature
        sampling = {"do_sample": True, "temperature": heat} if heat > 0 else {"do_sample": False}

        def run() -> None:
            try:
                with self.lock:
                    self.model.generate(
                        **inputs,
                        **sampling,
                        max_new_tokens=max_tokens,
                        streamer=streamer,
                        stopping_criteria=StoppingCriteriaList([lambda ids, scores, **_: _all(ids, stop.is_set())]),
                    )
            except Exception as error:  # noqa: BLE001 - raised below, in the thread that waits
                failures.append(error)
                streamer.end()

        thread = threading.Thread(target=run, name="sca minicpm", daemon=True)
        thread.start()
        yield from (text for text in streamer if text)
        thread.join()
        if failures:
            error = failures[0]
            if isinstance(error, ScaError):
                raise error
            raise UpstreamError(f"the model {self.vision.checkpoint} failed: {first_line(error)}") from error


def _all(ids: Any, value: bool) -> Any:
    """Return `value` for each row, as stopping criteria do."""
    import torch

    return torch.full((ids.shape[0],), value, dtype=torch.bool, device=ids.device)


class _NativeSession(WatchSession):
    def __init__(self, engine: NativeMiniCpm) -> None:
        self._engine, self._is_closed = engine, False
        self._stop = threading.Event()

    @override
    def see(self, frame: VideoFrame) -> bool:
        return False

    @override
    def answer(self, request: WatchRequest) -> Iterator[Piece]:
        if self._is_closed:
            raise RuntimeError("the session is closed")
        stop = self._stop = threading.Event()
        inputs = self._engine.inputs(request)
        try:
            for piece in marked_pieces(self._engine.generate(inputs, request.max_tokens, stop)):
                if stop.is_set():
                    return
                yield piece
        finally:
            stop.set()

    @override
    def cancel(self) -> None:
        self._stop.set()

    @override
    def close(self) -> None:
        self._is_closed = True
        self.cancel()
