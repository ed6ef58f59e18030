"""What is logged: of each answer its time, path and status, and nothing of who asked or what they typed."""

from __future__ import annotations

import copy
import logging
from datetime import UTC, datetime
from typing import Any, cast

from uvicorn.config import LOGGING_CONFIG


class AccessFormatter(logging.Formatter):
    """Leaves out of uvicorn's access log the client's address and the query, which may hold a typed text."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        _client, method, target, _version, status = cast(tuple[Any, ...], record.args)
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        return f"{when} {method} {str(target).partition('?')[0]} {status}"


def logging_config() -> dict[str, Any]:
    """uvicorn's configuration of logging, with that access log and the application's own messages."""
    config = copy.deepcopy(LOGGING_CONFIG)
    config["formatters"]["access"] = {"()": "app.server.logs.AccessFormatter"}
    config["loggers"]["academy"] = {"handlers": ["default"], "propagate": False}
    return config
