"""A log handler that leaves progress bars whole."""

from __future__ import annotations

import logging
import sys
from typing import Any

from votive.sentence_transformers._unsupported import Unsupported

__all__ = ["LoggingHandler", "install_logger"]


class LoggingHandler(logging.Handler):
    """Writes to the terminal beside progress bars: through tqdm where the program has imported it, else to stdout."""

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one record."""
        try:
            line = self.format(record)
            tqdm = sys.modules.get("tqdm")
            if tqdm is None:
                print(line)
            else:
                tqdm.tqdm.write(line)
            self.flush()
        except Exception:
            self.handleError(record)


def install_logger(*args: Any, **kwargs: Any) -> None:
    """Raises `Unsupported`."""
    raise Unsupported("install_logger: colours are not votive's; use logging.basicConfig, or the package coloredlogs")
