"""The modules that programs import sentence-transformers' names from, in the places of today and of earlier versions.

What votive has stands there; every other name is a class that refuses when it is made, since many programs import names
for training at the top which they use only if they train.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from votive.sentence_transformers._unsupported import TRAINING, refusing_type

PACKAGE = "votive.sentence_transformers"

# By a part of a module's path; the first that fits.
_ADVICE = {
    "sparse_encoder": "votive has no sparse encoders; use sentence-transformers for them",
    "multi_vector_encoder": "votive has no late-interaction models; use sentence-transformers for them",
    "evaluation": "run it with sentence-transformers: an evaluator takes any model that has encode, also one of votive",
    "modules": "votive loads whole models; save the modules to a folder with sentence-transformers, and load that",
    "backend": "votive needs no export; it loads the model's own files",
}

# Names whose modules are imported when somebody asks for them.
_LATER = {
    "LoggingHandler": "util.logging",
    "SimilarityFunction": "util.similarity",
    "mine_hard_negatives": "util.hard_negatives",
    "quantize_embeddings": "util.quantization",
    "resolve_ids": "util.dataset",
}


class _NamesModule(ModuleType):
    """A module that is no file: names that are there, and names of other modules."""

    def __init__(self, name: str, values: Mapping[str, Any], source: str | None = None) -> None:
        super().__init__(name, "Names of sentence-transformers; see `votive.sentence_transformers`.")
        self.__spec__ = ModuleSpec(name, None, is_package=True)
        self.__path__: list[str] = []
        self._source = source
        self.__dict__.update(values)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if self._source is not None:
            return getattr(import_module(self._source), name)
        return later(self.__name__, name)


def later(module: str, name: str) -> Any:
    """What `module` has of that name in a module of `util`, or `util` itself.

    Raises:
        AttributeError: there is nothing of that name.
    """
    if name == "util":
        return import_module(f"{PACKAGE}.util")
    if name not in _LATER:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    return getattr(import_module(f"{PACKAGE}.{_LATER[name]}"), name)


def register(names: Mapping[str, Any]) -> dict[str, Any]:
    """Makes every module that is not a file of this package, and returns what the package itself has.

    Args:
        names: what votive has.
    """
    paths = json.loads((Path(__file__).parent / "import_paths.json").read_text(encoding="utf-8"))
    made: dict[str, Any] = dict(names)
    for path, listed in paths["modules"].items():
        advice = next((text for part, text in _ADVICE.items() if part in path.split(".")), TRAINING)
        for name in listed:
            # Where a name has several places, all but the first one, the package, say what it is.
            if name not in _LATER and path and name not in made:
                made[name] = refusing_type(name, f"{PACKAGE}.{path}", advice)
    contents = {
        path: {name: made[name] for name in listed if name not in _LATER} for path, listed in paths["modules"].items()
    }
    own = contents.pop("")
    for path, values in contents.items():
        _add(_NamesModule(f"{PACKAGE}.{path}", values))
    for path, now in paths["older"].items():
        _add(_NamesModule(f"{PACKAGE}.{path}", contents.get(now, {}), None if now in contents else f"{PACKAGE}.{now}"))
    return own


def _add(module: _NamesModule) -> None:
    name = module.__name__
    if name in sys.modules:
        return
    sys.modules[name] = module
    parent, _, last = name.rpartition(".")
    above = sys.modules.get(parent)
    # What has that name, which programs import from above, stays.
    if above is not None and last not in vars(above) and last not in _LATER:
        setattr(above, last, module)
