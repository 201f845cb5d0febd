"""The log of a server on stderr: one line per event, as text or as one JSON object.

Text is for reading and for grep, with the fields of an event as `name=value`; JSON is for programs that collect logs. A
line has no line breaks: clients choose paths, and must not be able to write lines of their own.
"""

import json
import logging
import sys
import time
from collections.abc import Mapping
from typing import Literal

from typing_extensions import override

from sca.textutil import json_text, printable

__all__ = ["LogFormat", "LogLevel", "ServerLog", "log_event"]

LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]

_MAX_TEXT = 400  # characters of one field


class ServerLog:
    """The handler on stderr, whose format and level may change while the server runs.

    Only the loggers of sca follow the level. Other packages log warnings: below that level, uvicorn logs request heads,
    which contain keys.

    Args:
        name: The name of the server, which begins its notices.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._json = False
        self._handler = logging.StreamHandler(sys.stderr)

    def configure(self, log_format: LogFormat, level: LogLevel) -> None:
        """Set the format and the level. May be called again."""
        self._json = log_format == "json"
        self._handler.setFormatter(_JsonFormatter() if self._json else _TextFormatter())
        root = logging.getLogger()
        if self._handler not in root.handlers:
            root.addHandler(self._handler)
        root.setLevel(logging.WARNING)
        logging.getLogger("sca").setLevel(level.upper())

    def notice(self, message: str) -> None:
        """Write what an operator always sees, whatever the level: the address, the end, the result of a reload."""
        if self._json:
            line = json_text({"time": _timestamp(time.time()), "level": "info", "message": message})
        else:
            line = f"{self._name}: {printable(message)}"
        self._handler.stream.write(f"{line}\n")
        self._handler.flush()


def log_event(logger: logging.Logger, level: int, event: str, fields: Mapping[str, object]) -> None:
    """Log an event with its fields. Fields that are None are left out."""
    logger.log(level, event, extra={"fields": fields})


def _timestamp(created_s: float) -> str:
    whole_s = int(created_s)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole_s)) + f".{int((created_s - whole_s) * 1000):03d}Z"


def _fields(record: logging.LogRecord) -> dict[str, object]:
    given = getattr(record, "fields", {})
    return {
        name: printable(value)[:_MAX_TEXT] if isinstance(value, str) else value
        for name, value in given.items()
        if value is not None
    }


class _TextFormatter(logging.Formatter):
    @override
    def format(self, record: logging.LogRecord) -> str:
        head = f"{_timestamp(record.created)} {record.levelname.lower()} {printable(record.getMessage())}"
        line = " ".join([head, *(f"{name}={_text(value)}" for name, value in _fields(record).items())])
        return line if record.exc_info is None else f"{line}\n{self.formatException(record.exc_info)}"


class _JsonFormatter(logging.Formatter):
    @override
    def format(self, record: logging.LogRecord) -> str:
        document = {
            "time": _timestamp(record.created),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info is not None:
            document["traceback"] = self.formatException(record.exc_info)
        return json_text(document)


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    text = str(value)
    return text if text and " " not in text and '"' not in text and "=" not in text else json.dumps(text)
