"""Saving a model: its files, as they were read, with the settings as they are."""

from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

from votive.sentence_transformers._modules import read_json

_logger = logging.getLogger("votive.sentence_transformers")

_SETTINGS = "config_sentence_transformers.json"


def save(model: Any, path: str | os.PathLike[str] | None) -> None:
    """Copies the folder of a model, and writes its prompts, similarity and width. Nothing happens for None.

    Raises:
        OSError: a file cannot be written.
    """
    if path is None:
        return
    folder, target = Path(model._model.folder), Path(path)
    target.mkdir(parents=True, exist_ok=True)
    _logger.info("Saving model to %s", target)
    if target.resolve() != folder.resolve():
        shutil.copytree(folder, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".git", ".cache"))
    settings = read_json(folder / _SETTINGS) | _settings(model)
    temporary = target / f"{_SETTINGS}.tmp"
    temporary.write_text(json.dumps(settings, indent=2, sort_keys=True), encoding="utf-8")
    temporary.replace(target / _SETTINGS)


def _settings(model: Any) -> dict[str, Any]:
    names = ("prompts", "default_prompt_name", "similarity_fn_name", "truncate_dim")
    found = {name: getattr(model, name) for name in names if hasattr(model, name)}
    return {"model_type": type(model).__name__} | {name: value for name, value in found.items() if value is not None}
