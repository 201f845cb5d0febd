"""The sessions that need work. A session is done if its record has the key of its content, settings and models."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from sca.config import DuplexConfig, Settings
from sca.data.corpora.session_source import SessionSource
from sca.data.digests.file_facts import FileFacts
from sca.data.duplex.align.registry import aligner_model, aligner_profile
from sca.data.duplex.build.session import UNKNOWN, SessionJob
from sca.data.duplex.evidence.judge import judge
from sca.data.duplex.evidence.repair import REPAIRABLE, wanted_repairs
from sca.data.duplex.model.evidence import TrackEvidence
from sca.data.duplex.model.session import SessionPaths, SessionResult
from sca.data.duplex.storage.build_settings import made_with, without_others, without_repair
from sca.data.runs.files import Unchanged
from sca.data.runs.model_identity import model_identity
from sca.data.speakers.base import NO_SPEAKER_MODEL
from sca.data.speakers.registry import speaker_identity
from sca.errors import InputError, is_of_system
from sca.tokenizer.base import TextTokenizer
from sca.urls.cache import Addresses
from sca.word_times.profile import identity

__all__ = ["Plan", "plan_sessions", "read_record"]


@dataclass(frozen=True, slots=True)
class Plan:
    """The sessions that are done, and those to build."""

    done: list[SessionResult]
    todo: list[SessionJob]


def plan_sessions(
    sources: Iterable[SessionSource],
    root: Path,
    settings: Settings,
    tokenizer: TextTokenizer,
    drops: Mapping[str, tuple[str, ...]],
) -> Plan:
    """Compare the sessions of a corpus with those of a data set.

    Args:
        sources: The sessions of the corpus.
        root: The data set.
        settings: The settings.
        tokenizer: The tokenizer.
        drops: Ids of rows to leave out, by the id of their session. A session with others is built again.
    """
    models = _models(settings)
    # Whether sessions are repaired is not in their keys, so that another choice leaves good sessions as they are.
    # Nor is `others`: two speakers need no other rows, and sessions of more are built with one value.
    base = json.dumps([without_others(made_with(without_repair(settings), tokenizer)), *models], sort_keys=True)
    plan, facts = Plan([], []), FileFacts(root)
    addresses = Addresses()
    for source in sources:
        unchanged = tuple(map(Unchanged, source.files))
        stat = _stat(source, unchanged, addresses) + models
        before = read_record(SessionPaths(root, source.session_id))
        own = drops.get(source.session_id, ())
        if before is not None and (_is_affected(before, settings.duplex) or before.drops != list(own)):
            before = None
        if before is not None and before.stat == stat and not any(map(facts.may_differ, unchanged)):
            plan.done.append(before)
            continue
        key, sha256 = _key(source, base, unchanged, facts)
        if before is not None and before.key == key:
            plan.done.append(before)
        else:
            plan.todo.append(SessionJob(source, key, stat, sha256, drops=own, unchanged=unchanged))
    return plan


def _is_affected(before: SessionResult, duplex: DuplexConfig) -> bool:
    """Whether a finished session can become another one by the setting `repair`."""
    if duplex.repair != "apply":
        return before.repair_state in ("made", "refused")
    if before.repair_state:
        return False
    if duplex.on_bleed == "gate":
        return True  # the record has no evidence of the audio before the gate
    # Records of earlier versions lack what explains a finding.
    if before.evidence is None or any("explained" not in track.model_fields_set for track in before.evidence):
        return before.evidence is None or _may_be_repaired(before.evidence, duplex)
    return bool(wanted_repairs(before.evidence, judge(before.evidence, duplex).findings))


def _may_be_repaired(evidence: Sequence[TrackEvidence], duplex: DuplexConfig) -> bool:
    return any(finding.kind in REPAIRABLE for finding in judge(evidence, duplex).findings)


def read_record(paths: SessionPaths) -> SessionResult | None:
    """Return the record of a finished session, or None if the record or the files of the session are missing."""
    try:
        result = SessionResult.from_json(json.loads(paths.record.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if result.status == "kept" and not (paths.storage.exists() and paths.rows.exists()):
        return None
    return result


def _models(settings: Settings) -> list[list[str | int]]:
    """Return the models of a run by their content, because the settings have only their names."""
    models: list[list[str | int]] = []
    duplex = settings.duplex
    if duplex.speaker_model != NO_SPEAKER_MODEL:
        models.append(["voices", *speaker_identity(duplex.speaker_model)])
    aligner = aligner_model(duplex)
    if aligner is not None:
        corrections = map(str, identity(aligner_profile(settings)).values())
        models.append(["words", duplex.align, model_identity(aligner), *corrections])
    if duplex.codes != "none":
        models.append(["codes", duplex.codes, model_identity(duplex.codes_model)])
    return models


def _stat(source: SessionSource, files: Sequence[Unchanged], addresses: Addresses) -> list[list[str | int]]:
    """Return name, size and time of every file, and the digest of other content. Equal values mean equal content."""
    found = zip(source.files, files, strict=True)
    stat: list[list[str | int]] = [[addresses.of(path), *file.stat] for path, file in found]
    return stat + ([["content", source.fingerprint]] if source.fingerprint else [])


def _key(source: SessionSource, base: str, files: Sequence[Unchanged], facts: FileFacts) -> tuple[str, dict[Path, str]]:
    """Return the key of a session, and the SHA-256 of its files."""
    sha256 = {file.path: _sha256(file, facts) for file in files}
    content = "".join(f"\n{path.name} {digest}" for path, digest in sha256.items())
    if source.fingerprint:
        content += f"\n{source.fingerprint}"
    return blake2b((base + content).encode(), digest_size=16).hexdigest(), sha256


def _sha256(file: Unchanged, facts: FileFacts) -> str:
    try:
        return facts.sha256(file)
    except InputError as error:
        # The code that parses the file reports why it cannot be read, unless it can be read by then.
        cause = error.__cause__
        return UNKNOWN if isinstance(cause, OSError) and is_of_system(cause) else "unreadable"
