"""What a model's folder says of itself: for which task it was made, and whether it brings code of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from votive.bench.backends.unavailable import Unavailable
from votive.bench.experiment import Task

# What class names in config.json end with.
CLASSIFIER = "ForSequenceClassification"
LANGUAGE_MODEL = "ForCausalLM"


def check_task(model: Path, task: Task) -> None:
    """Accepts a model that was made for the task: a library gives others a head of random numbers, in silence.

    Accepts what is no folder, and a folder of which neither votive nor config.json knows what it was made for.

    Raises:
        Unavailable: it is an embedder that would rerank, or a reranker that would embed.
    """
    from votive import VotiveError, inspect_model

    if not model.is_dir():
        return
    try:
        inspection = inspect_model(model)
    except (FileNotFoundError, VotiveError):
        (name, *_) = config(model).get("architectures") or [LANGUAGE_MODEL]
        if not name.endswith(LANGUAGE_MODEL):
            check_kind(model, "reranker" if name.endswith(CLASSIFIER) else "embedder", task)
    else:
        if not (task == "rerank" and inspection.is_reranker_too):
            check_kind(model, inspection.kind, task)


def check_kind(model: Path, kind: str, task: Task) -> None:
    """`check_task` of a model that is known to be an "embedder" or a "reranker"."""
    if (task == "rerank") != (kind == "reranker"):
        article = "a" if kind == "reranker" else "an"
        raise Unavailable(f"{model.name} is {article} {kind}, which does not {task}")


def has_own_code(model: Path) -> bool:
    """Whether it names Python files that compute the network."""
    return "auto_map" in config(model)


def config(model: Path) -> dict[str, Any]:
    """config.json; empty where the folder has none."""
    file = model / "config.json"
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return found
