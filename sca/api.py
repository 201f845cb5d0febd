"""The data half of the public API: functions with plain arguments over the packages of `sca.data` and `sca.synth`.

Every function does what the command of the same name does, and raises the same errors. Import them from `sca`.
"""

from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from sca.config import Settings, load_settings

if TYPE_CHECKING:
    from sca.data.corpora.base import Conversation, Issue
    from sca.data.duplex.build.dataset import BuildDetails
    from sca.data.duplex.verify.check_table import Verification
    from sca.data.export.run import ExportDetails
    from sca.data.runs.progress import ProgressListener
    from sca.data.runs.summary import RunSummary
    from sca.data.transcription.transcribe import TranscribeDetails
    from sca.synth.run import SynthDetails

__all__ = ["build", "export", "read_corpus", "synthesize", "transcribe", "verify"]

AnyPath = str | PathLike[str]
SettingsLike = Settings | Mapping[str, object] | None


def read_corpus(
    source: AnyPath, *, layout: str = "auto", audio_dir: AnyPath | None = None
) -> "Iterator[Conversation | Issue]":
    """Read a two-speaker corpus of any known layout, one conversation at a time.

    Args:
        source: The file or folder of the corpus.
        layout: The layout: `auto`, `magichub`, `moshi`, `lhotse`, `events`, `stereo`, `kaldi`, `nemo`, `spokenwoz`,
            `table`, or the name of a plugin.
        audio_dir: Folder of the recordings, if the layout is `events` and they are not beside it.

    Yields:
        Each conversation, without its audio, and an `Issue` for each item that does not make one.

    Raises:
        InputError: The corpus does not exist, has an unknown layout, or cannot be read at all.

    Example:
        >>> import sca
        >>> from sca.resources import demo_corpus
        >>> with demo_corpus() as folder:
        ...     conversations = list(sca.read_corpus(folder))
        >>> [track.speaker_id for track in conversations[0].tracks]
        ['G0001', 'G0002']
    """
    from sca.data.corpora.registry import open_corpus

    return open_corpus(Path(source), layout, _path(audio_dir), _settings(None).paths.resolved_cache_dir).conversations()


def build(
    source: AnyPath,
    output: AnyPath,
    *,
    settings: SettingsLike = None,
    layout: str = "auto",
    audio_dir: AnyPath | None = None,
    jobs: int = 0,
    force: bool = False,
    retry_failed: bool = True,
    listener: "ProgressListener | None" = None,
) -> "RunSummary[BuildDetails]":
    """Build a duplex data set from a two-speaker corpus. A second call builds only the sessions that are missing.

    Args:
        source: The file or folder of the corpus; see `read_corpus`.
        output: The folder of the data set.
        settings: Settings, or a mapping such as `{"duplex.lead_chunks": 2}`. The environment and the configuration file
            apply to settings that the mapping does not name.
        layout: The layout of the corpus.
        audio_dir: Folder of the recordings of an `events` file.
        jobs: Worker processes; 0 uses one per core for large corpora.
        force: Rebuild a folder that was built with other settings.
        retry_failed: Whether to try sessions again that failed in an earlier run.
        listener: Receives the progress.

    Returns:
        The summary of the run. `details.report` is the report of the data set.

    Raises:
        ConfigError: A setting is invalid.
        InputError: The corpus cannot be read, or none of its sessions can be used.
        OutputError: The folder cannot be written to, or contains something else.

    Example:
        >>> import tempfile, sca
        >>> from sca.resources import demo_corpus
        >>> with demo_corpus() as folder, tempfile.TemporaryDirectory() as output:
        ...     summary = sca.build(folder, output, settings={"duplex.window": "session"})
        >>> summary.made, len(summary.failed)
        (1, 0)
    """
    from sca.data.duplex.build.dataset import build_duplex

    return build_duplex(
        Path(source),
        Path(output),
        _settings(settings),
        jobs=jobs,
        force=force,
        layout=layout,
        audio_dir=_path(audio_dir),
        retry_failed=retry_failed,
        listener=listener,
    )


def verify(
    data: AnyPath, *, source: AnyPath | None = None, settings: SettingsLike = None, jobs: int = 1
) -> "Verification":
    """Recompute the report of a data set from its files.

    Args:
        data: A data set of `build`, or an export that keeps its rows.
        source: Its corpus, to compare words and samples with; in a layout that is detected.
        settings: As in `build`; only `paths.cache_dir` is used.
        jobs: Worker processes; 0 uses one per core for large data sets.

    Returns:
        The recomputed report, and a list of everything that is broken; `holds` is true if that list is empty.

    Raises:
        InputError: The folder is not a data set, or the source is not a corpus.
        UpstreamError: The tokenizer of the data set cannot be loaded.

    Example:
        >>> import tempfile, sca
        >>> from sca.resources import demo_corpus
        >>> with demo_corpus() as folder, tempfile.TemporaryDirectory() as output:
        ...     _ = sca.build(folder, output)
        ...     verification = sca.verify(output)
        >>> verification.holds
        True
    """
    from sca.data.duplex.origin.rebuild import sessions_of_corpus
    from sca.data.duplex.storage.build_settings import read_settings, settings_of
    from sca.data.duplex.verify.dataset import verify as verify_dataset

    origin = None
    if source is not None:
        origin = sessions_of_corpus(Path(source), reading=settings_of(read_settings(Path(data))).audio.reading)
    cache_dir = _settings(settings).paths.resolved_cache_dir
    return verify_dataset(Path(data), cache_dir=cache_dir, origin=origin, jobs=jobs)


def export(
    data: AnyPath,
    output: AnyPath,
    format: str,  # noqa: A002 - the name of the concept
    *,
    shard_bytes: int = 500_000_000,
    jobs: int = 0,
    force: bool = False,
    retry_failed: bool = True,
    listener: "ProgressListener | None" = None,
) -> "RunSummary[ExportDetails]":
    """Export a data set of `build` in another format. The data set is verified first.

    Args:
        data: The data set.
        output: The folder of the export.
        format: `parquet`, `webdataset`, `moshi`, `lhotse`, `chat`, or the name of a plugin.
        shard_bytes: Approximate maximum size of a shard, in bytes.
        jobs: Worker processes; 0 uses one per core for large data sets.
        force: Overwrite another export.
        retry_failed: Whether to try shards again that failed in an earlier run.
        listener: Receives the progress.

    Returns:
        The summary of the run.

    Raises:
        UsageError: The format is unknown.
        InputError: The folder is not a data set.
        VerificationError: The data set does not match its report.
        OutputError: The output folder cannot be written to, or contains something else.

    Example:
        >>> import tempfile, sca
        >>> from pathlib import Path
        >>> from sca.resources import demo_corpus
        >>> with demo_corpus() as folder, tempfile.TemporaryDirectory() as output:
        ...     _ = sca.build(folder, Path(output, "data"))
        ...     summary = sca.export(Path(output, "data"), Path(output, "parquet"), "parquet")
        >>> summary.made > 0
        True
    """
    from sca.data.export.run import export as export_dataset

    return export_dataset(
        Path(data),
        Path(output),
        format,
        shard_bytes=shard_bytes,
        jobs=jobs,
        force=force,
        retry_failed=retry_failed,
        listener=listener,
    )


def transcribe(
    sources: AnyPath | Sequence[AnyPath],
    save_file: AnyPath,
    *,
    model: str = "large-v3-turbo",
    device: str = "auto",
    compute_type: str = "auto",
    batch_size: int = 8,
    language: str | None = None,
    multilingual: bool = False,
    vad: bool = True,
    word_timestamps: bool = True,
    beam_size: int = 5,
    hotwords: str | None = None,
    initial_prompt: str | None = None,
    diarize: bool = False,
    reactions: str | None = None,
    captions: str | None = None,
    output_format: str | Sequence[str] = (),
    output_dir: AnyPath | None = None,
    jobs: int = 0,
    retry_failed: bool = False,
    accept_damage_s: float | None = None,
    track: int | None = None,
    audio_language: str | None = None,
    settings: SettingsLike = None,
    listener: "ProgressListener | None" = None,
) -> "RunSummary[TranscribeDetails]":
    """Transcribe recordings into a JSONL file of timelines, one line per recording.

    A second call transcribes only the recordings that are missing or changed.

    Args:
        sources: Files and folders, or one of them.
        save_file: The file to write or to update.
        model: A Whisper model: a size, a hub id, or a folder in the format of CTranslate2.
        device: `auto`, `cpu` or `cuda`.
        compute_type: A type of CTranslate2, or `auto` for the type of the weights.
        batch_size: Segments of 30 s that are decoded together.
        language: The language, such as `en` or `English`; None detects it.
        multilingual: Whether the language is detected anew in every segment of 30 s.
        vad: Whether to decode only speech.
        word_timestamps: Whether words get times.
        beam_size: Hypotheses of the beam search; 1 is greedy and faster.
        hotwords: Words that are likely to occur, such as names.
        initial_prompt: Text whose style and spelling the result follows.
        diarize: Whether to find the speakers, with the settings `diarization.*`.
        reactions: The detector of audience reactions: `auto` for `yamnet` if it is on this machine and `none` otherwise,
            `none`, `energy`, or an audio tagging model. None is the setting `transcribe.reactions`.
        captions: Downloaded captions to compare the result with: `auto` for those beside the recordings, `none`, or a
            folder to search too. None is the setting `transcribe.captions`.
        output_format: Further files per recording: `srt`, `vtt`, `tsv`, `txt`, `json`, and `rttm` with `diarize`.
        output_dir: The folder of these files; None is that of the JSONL file.
        jobs: Recordings at a time; 0 is one per GPU, or one on a CPU.
        retry_failed: Whether to try recordings again that failed in an earlier run.
        accept_damage_s: Seconds of an hour of a recording that may be undecodable; they become silence. None is the
            setting `audio.accept_damage_s`.
        track: The audio track to read, from 1. None is the setting `audio.track`.
        audio_language: The language of the audio track to read, in recordings with several tracks.
        settings: As in `build`: the sections `transcribe`, `quality`, `diarization`, `audio` and `word_times`.
        listener: Receives the progress.

    Returns:
        The summary of the run. Failures of single recordings are in it and are not raised.

    Raises:
        ConfigError: A setting is invalid.
        UsageError: A language, a format or a model does not exist.
        InputError: No recording was found.
        OutputError: The file cannot be written.
        MissingToolError: The model or a package is not installed.
        UpstreamError: The hub does not provide the model.

    Example:
        >>> import sca
        >>> strict = {"quality.min_snr_db": 15}
        >>> summary = sca.transcribe("shows", "shows.jsonl", beam_size=1, settings=strict)  # doctest: +SKIP
        >>> summary.details.words  # doctest: +SKIP
        1234
    """
    from sca.audio.decode import Reading
    from sca.data.transcription.languages import language_code
    from sca.data.transcription.text_files import TextFiles, parse_formats
    from sca.data.transcription.transcribe import transcribe as transcribe_files
    from sca.data.transcription.whisper import RecognizerOptions
    from sca.word_times.profile import find_profile

    chosen = _settings(settings)
    default = chosen.audio.reading
    paths = [sources] if isinstance(sources, str | PathLike) else sources
    formats = parse_formats([output_format] if isinstance(output_format, str) else output_format)
    return transcribe_files(
        [Path(path) for path in paths],
        Path(save_file),
        RecognizerOptions(
            model,
            device,
            compute_type,
            batch_size,
            None if language is None else language_code(language),
            vad,
            word_timestamps,
            jobs,
            beam_size,
            hotwords,
            initial_prompt,
            multilingual,
        ),
        reactions=chosen.transcribe.reactions if reactions is None else reactions,
        captions=chosen.transcribe.captions if captions is None else captions,
        retry_failed=retry_failed,
        reading=Reading(
            default.accept_damage_s if accept_damage_s is None else accept_damage_s,
            default.track if track is None else track,
            audio_language or default.language,
        ),
        listener=listener,
        texts=TextFiles(Path(output_dir or Path(save_file).parent), formats),
        diarization=chosen.diarization if diarize else None,
        filters=chosen.quality,
        profile=find_profile(chosen.word_times.profile, model, "transcribe", chosen.paths.resolved_cache_dir),
    )


def synthesize(
    scripts: AnyPath | Sequence[AnyPath],
    output: AnyPath,
    *,
    settings: SettingsLike = None,
    conversations: int | None = None,
    hours: float | None = None,
    jobs: int = 0,
    force: bool = False,
    retry_failed: bool = True,
    listener: "ProgressListener | None" = None,
) -> "RunSummary[SynthDetails]":
    """Speak scripts with two voices, as a corpus of conversations with exact word times and labels.

    A second call makes only the conversations that are missing, and the same settings give the same bytes.

    Args:
        scripts: Files of scripts, names of scripts that ship with sca, or one of them.
        output: The folder of the corpus, which `build` reads.
        settings: Settings, or a mapping such as `{"synth.seed": 2}`.
        conversations: How many conversations; None is one of each script.
        hours: Or how many hours of conversation, at least.
        jobs: Worker processes; 0 is one per core.
        force: Replace conversations that other settings made.
        retry_failed: Whether to try conversations again that failed in an earlier run.
        listener: Receives the progress.

    Returns:
        The summary of the run. `details` has the timing and the number of words and turns.

    Raises:
        UsageError: A voice, a timing or a script does not exist.
        InputError: A script is not one of two speakers.
        OutputError: The folder has other files in it, or a corpus of other settings.
        MissingToolError: An engine needs something that is not installed.

    Example:
        >>> import tempfile, sca
        >>> with tempfile.TemporaryDirectory() as output:
        ...     summary = sca.synthesize("lost-keys", output, settings={"synth.seed": 1})
        ...     conversations = list(sca.read_corpus(output))
        >>> summary.made, len(conversations[0].tracks)
        (1, 2)
    """
    from sca.synth.run import synthesize as make
    from sca.synth.script import find_script

    names = [scripts] if isinstance(scripts, str | PathLike) else scripts
    return make(
        [find_script(name) for name in names],
        Path(output),
        _settings(settings).synth,
        conversations=conversations,
        hours=hours,
        jobs=jobs,
        force=force,
        retry_failed=retry_failed,
        listener=listener,
    )


def _settings(settings: SettingsLike) -> Settings:
    return settings if isinstance(settings, Settings) else load_settings(None, settings)


def _path(path: AnyPath | None) -> Path | None:
    return None if path is None else Path(path)
