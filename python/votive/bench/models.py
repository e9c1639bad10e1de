"""Where the models of experiments are, and where what backends make of them is kept."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from votive.bench.experiment import BackendChoice, Experiment, Model
from votive.bench.log import RunError

# Name and revision.
ModelKey = tuple[str, str | None]


def cache_folder(model: Path, task: str) -> Path:
    """Of what backends make of this model once, in `VOTIVE_BENCH_CACHE`, or in a folder of the user's cache.

    A model whose files were changed has another one.
    """
    user = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    base = Path(os.environ.get("VOTIVE_BENCH_CACHE") or Path(user) / "votive-bench")
    files = sorted(model.rglob("*")) if model.is_dir() else []
    facts = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files if path.is_file()]
    digest = hashlib.sha256(repr((str(model), task, facts)).encode()).hexdigest()[:12]
    return base / "experiments" / f"{model.name}-{digest}"


def find_models(experiments: Iterable[Experiment]) -> tuple[dict[ModelKey, Path], dict[ModelKey, str]]:
    """Folders of the models that some backend loads from one, and why others are not found.

    Raises `RunError` for all of them where none is found.
    """
    from votive import VotiveError, inspect_model

    found: dict[ModelKey, Path] = {}
    absent: dict[ModelKey, str] = {}
    for model in _needed(experiments):
        key = key_of(model)
        if key in found or key in absent:
            continue
        if Path(model.name).is_dir():
            found[key] = Path(model.name).absolute()
            continue
        try:
            found[key] = Path(inspect_model(model.name, revision=model.revision).folder)
        except (OSError, ValueError, VotiveError) as error:
            absent[key] = str(error)
    if absent and not found:
        raise RunError("\n".join(dict.fromkeys(absent.values())))
    return found, absent


def key_of(model: Model) -> ModelKey:
    """What it is known by in a run."""
    return model.name, model.revision


def needs_folder(choice: BackendChoice) -> bool:
    """Whether the backend loads the model's folder."""
    return not (choice.skip or choice.url or choice.file)


def _needed(experiments: Iterable[Experiment]) -> list[Model]:
    return [
        model
        for experiment in experiments
        if experiment.task != "search" and any(map(needs_folder, experiment.backends))
        for model in experiment.models
    ]
