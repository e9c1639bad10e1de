"""Changing a model's JSON files."""

import json
from pathlib import Path
from typing import Any


def change(path: Path, **keys: Any) -> None:
    """Writes the object at `path` anew, with other keys."""
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | keys), encoding="utf-8")
