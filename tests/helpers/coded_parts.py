"""Small recordings in many codings, to join byte by byte."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import soundfile
from av.stream import Disposition
from numpy.typing import NDArray

CONTAINERS = {
    "mp3": ("libmp3lame", "mp3"),
    "ogg": ("vorbis", "ogg"),
    "opus": ("libopus", "ogg"),
    "flac": ("flac", "flac"),
    "webm": ("libopus", "webm"),
    "mka": ("flac", "matroska"),
    "aac": ("aac", "adts"),
    "ts": ("aac", "mpegts"),
    "m4a": ("aac", "ipod"),
}
"""Extension: codec and format of FFmpeg."""
JOINABLE = tuple(extension for extension in CONTAINERS if extension != "m4a")
"""Formats whose files can be joined with `cat`."""


@dataclass(frozen=True)
class Part:
    """One recording: a tone.

    Attributes:
        layout: FFmpeg's name of the layout.
        rate_hz: The sample rate.
        hz: The pitch.
        seconds: The length.
        start_s: The first timestamp.
    """

    layout: str = "mono"
    rate_hz: int = 48_000
    hz: float = 440.0
    seconds: float = 1.0
    start_s: float = 0.0


def tone(part: Part) -> NDArray[np.float32]:
    """Return the tone of a part, float32 `(n,)`."""
    times = np.arange(round(part.seconds * part.rate_hz)) / part.rate_hz
    return (0.3 * np.sin(2 * np.pi * part.hz * times)).astype(np.float32)


def write_part(path: Path, extension: str, part: Part, bit_rate: int | None = None, **options: str) -> Path:
    """Write a part with the same tone on every channel.

    Args:
        path: The file.
        extension: A key of `CONTAINERS`.
        part: The part.
        bit_rate: Bits per second.
        options: Options of FFmpeg's muxer.
    """
    codec, container = CONTAINERS[extension]
    channels = av.AudioLayout(part.layout).nb_channels
    if codec == "vorbis":  # FFmpeg's own encoder is experimental
        soundfile.write(path, np.repeat(tone(part)[:, None], channels, axis=1), part.rate_hz, format="OGG")
        return path
    x = np.ascontiguousarray(np.repeat(tone(part)[None], channels, axis=0))
    with av.open(str(path), "w", format=container, options=options) as out:
        stream = out.add_stream(codec, rate=part.rate_hz)
        stream.layout = part.layout
        if bit_rate is not None:
            stream.codec_context.bit_rate = bit_rate
        out.start_encoding()
        context = stream.codec_context
        fifo = av.AudioResampler(context.format.name, part.layout, part.rate_hz, frame_size=context.frame_size or 1024)
        frame = av.AudioFrame.from_ndarray(x, "fltp", part.layout)
        frame.sample_rate, frame.pts = part.rate_hz, round(part.start_s * part.rate_hz)
        for ready in [*fifo.resample(frame), *fifo.resample(None)]:
            out.mux(stream.encode(ready))
        out.mux(stream.encode(None))
    return path


def remuxed(source: Path, path: Path, container: str) -> Path:
    """Copy the packets of a file into another container."""
    with av.open(str(source)) as given, av.open(str(path), "w", format=container) as out:
        stream = out.add_stream_from_template(given.streams.audio[0])
        for packet in given.demux(given.streams.audio[0]):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    return path


def join(path: Path, extension: str, *parts: Part) -> tuple[Path, list[Path]]:
    """Write parts and join their bytes; return the whole file, and the parts as files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files = [write_part(path.with_name(f"{path.stem}.{n}.{extension}"), extension, p) for n, p in enumerate(parts)]
    path.write_bytes(b"".join(file.read_bytes() for file in files))
    return path, files


def damaged_mp3(path: Path, seconds: float, packets: Iterable[int]) -> Path:
    """Write a long MP3 file with the headers of some packets overwritten."""
    write_part(path, "mp3", Part(seconds=seconds))
    content = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        places = [packet.pos for packet in container.demux(container.streams.audio[0]) if packet.size]
    for n in packets:
        # The header stays, so that the packet is found; the side information after it makes no sense.
        content[places[n] + 4 : places[n] + 36] = b"\xff" * 32
    path.write_bytes(content)
    return path


def write_tracks(path: Path, tracks: Mapping[str, Part], default: int) -> Path:
    """Write a file with one audio track per language.

    Args:
        path: The file, of a format with any number of PCM tracks, such as Matroska.
        tracks: A part per language.
        default: The index of the track that is flagged as default.
    """
    with av.open(str(path), "w") as out:
        streams = [out.add_stream("pcm_s16le", rate=part.rate_hz) for part in tracks.values()]
        for n, (stream, (language, part)) in enumerate(zip(streams, tracks.items(), strict=True)):
            stream.layout = part.layout
            stream.metadata["language"] = language
            stream.disposition = Disposition.default if n == default else Disposition(0)
        for stream, part in zip(streams, tracks.values(), strict=True):
            samples = np.repeat((tone(part) * 32767).astype(np.int16), av.AudioLayout(part.layout).nb_channels)
            frame = av.AudioFrame.from_ndarray(samples[None], "s16", part.layout)
            frame.sample_rate = part.rate_hz
            out.mux([*stream.encode(frame), *stream.encode(None)])
    return path


def pitch(x: NDArray[np.float32], rate_hz: int) -> float:
    """Return the strongest frequency in Hz."""
    return float(np.argmax(np.abs(np.fft.rfft(x * np.hanning(len(x))))) * rate_hz / len(x))
