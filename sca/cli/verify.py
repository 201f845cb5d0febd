"""`sca verify`: check a data set against its report, from its files."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sca.cli.shared.console import emit_json
from sca.cli.shared.options import Json, Quiet
from sca.cli.shared.progress import audio_progress
from sca.cli.shared.settings_options import settings_options
from sca.cli.shared.verification import show_verification
from sca.errors import VerificationError
from sca.textutil import counted

if TYPE_CHECKING:
    from sca.config import Settings
    from sca.data.duplex.verify.check_table import Verification

__all__ = ["verify"]


@settings_options()
def verify(
    data: Annotated[Path, typer.Argument(metavar="DIR", help="Data set made by sca build-duplex.")],
    *,
    settings: "Settings",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Check a duplex data set against its report, from its files.

    If a check fails, the problems are listed and the exit code is 5.
    """
    from sca.data.duplex.verify.dataset import verify as run

    with audio_progress("sessions", quiet=quiet) as progress:
        verification = run(data, cache_dir=settings.paths.resolved_cache_dir, listener=progress)
    if json:
        emit_json(_document(data, verification))
    else:
        show_verification(verification)
    if not verification.holds:
        raise VerificationError(
            f"{data} is broken in {counted(len(verification.problems), 'place')}: {verification.problems[0]}",
            hint="build it again with sca build-duplex --force, or restore the files",
        )


def _document(data: Path, verification: "Verification") -> dict[str, object]:
    return {
        "data": str(data),
        "holds": verification.holds,
        "problems": verification.problems,
        "checks": [{"name": check.name, "found": check.found, "holds": check.holds} for check in verification.checks],
        "report": verification.report.model_dump(mode="json"),
    }
