"""A log handler that leaves progress bars whole."""

from __future__ import annotations

import logging
import sys

__all__ = ["LoggingHandler"]


class LoggingHandler(logging.Handler):
    """Writes to the terminal beside progress bars: through tqdm where the program has imported it, else to stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one record."""
        try:
            line = self.format(record)
            tqdm = sys.modules.get("tqdm")
            if tqdm is None:
                print(line, file=sys.stderr)
            else:
                tqdm.tqdm.write(line)
            self.flush()
        except Exception:
            self.handleError(record)
