"""Write config/default.toml and the tables of docs/configuration.md from the fields of the settings."""

from pathlib import Path

from sca.config import known_keys
from sca.config.describe import default_toml, documentation_table

ROOT = Path(__file__).resolve().parents[1]
HEADING = "## Every setting\n\n"


def main() -> None:
    """Write both files."""
    (ROOT / "config" / "default.toml").write_text(default_toml(known_keys()), encoding="utf-8")
    guide = ROOT / "docs" / "configuration.md"
    text, heading, _ = guide.read_text(encoding="utf-8").partition(HEADING)
    guide.write_text(text + heading + documentation_table(known_keys()), encoding="utf-8")


if __name__ == "__main__":
    main()
