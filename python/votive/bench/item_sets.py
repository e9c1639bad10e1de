"""The items of an experiment, made when they are first asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from votive.bench.data import Count, Items, items, model_tokens
from votive.bench.experiment import Experiment, Model


class ItemSets:
    """Items by model and set of texts: models count tokens in ways of their own.

    Args:
        experiment: what is computed.
        folder: of a model; where there is none, words stand for tokens.
    """

    def __init__(self, experiment: Experiment, folder: Callable[[Model], Path]) -> None:
        self._experiment = experiment
        self._folder = folder
        self._counts: dict[str, Count | None] = {}
        self._items: dict[tuple[str, str], Items] = {}

    def of(self, model: Model, data_set: str) -> Items:
        """Those of the set of this name for the model."""
        key = (model.name, data_set)
        if key not in self._items:
            task = self._experiment.task
            if task != "search" and model.name not in self._counts:
                folder = self._folder(model)
                self._counts[model.name] = model_tokens(folder) if folder.exists() else None
            self._items[key] = items(task, self._experiment.data, data_set, self._counts.get(model.name))
        return self._items[key]
