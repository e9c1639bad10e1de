"""Messages, on the logger that sentence-transformers gives most of its own on: what a program silences stays silent."""

from __future__ import annotations

import logging
from functools import cache

logger = logging.getLogger("sentence_transformers.base.model")


@cache
def warn_once(message: str) -> None:
    """Says something once in a process."""
    logger.warning("%s", message)
