"""The modules that programs import sentence-transformers' names from, in the places of today and of earlier versions.

What votive has stands there; every other name is a class that refuses when it is made, since many programs import names
for training at the top which they use only if they train.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from votive.sentence_transformers._unsupported import TRAINING, refusing_type

PACKAGE = "votive.sentence_transformers"

# By the beginning, or another part, of a module's path; the first that fits.
_ADVICE = {
    "sparse_encoder": "votive has no sparse encoders; use sentence-transformers for them",
    "multi_vector_encoder": "votive has no late-interaction models; use sentence-transformers for them",
    "evaluation": "run it with sentence-transformers: an evaluator takes any model that has encode, also one of votive",
    "modules": "votive loads whole models; save the modules to a folder with sentence-transformers, and load that",
    "backend": "votive needs no export; it loads the model's own files",
}


def register(names: Mapping[str, Any]) -> dict[str, Any]:
    """Makes every module that is not a file of this package, and returns what the package itself has.

    Args:
        names: what votive has, by its name, or by module and name where a name means several things.
    """
    paths = json.loads((Path(__file__).parent / "import_paths.json").read_text(encoding="utf-8"))
    made: dict[str, type] = {}

    def found(path: str, name: str) -> Any:
        if f"{path}.{name}" in names:
            return names[f"{path}.{name}"]
        if name in names:
            return names[name]
        if name not in made:
            # Of two places the longer one says more about what it is.
            at = max((path for path in paths["modules"] if name in paths["modules"][path]), key=len)
            advice = next((text for part, text in _ADVICE.items() if part in at.split(".")), TRAINING)
            made[name] = refusing_type(name, f"{PACKAGE}.{at}".rstrip("."), advice)
        return made[name]

    contents = {path: {name: found(path, name) for name in listed} for path, listed in paths["modules"].items()}
    own = contents.pop("")
    for path, values in contents.items():
        _module(path, values)
    for path, now in paths["older"].items():
        target = sys.modules.get(f"{PACKAGE}.{now}")
        if target is not None:
            _module(path, {name: value for name, value in vars(target).items() if not name.startswith("__")})
    return own


def _module(path: str, values: Mapping[str, Any]) -> None:
    name = f"{PACKAGE}.{path}"
    if name in sys.modules:
        return
    module = ModuleType(name, "Names of sentence-transformers; see `votive.sentence_transformers`.")
    module.__spec__ = ModuleSpec(name, None, is_package=True)
    module.__path__ = []
    module.__dict__.update(values)
    sys.modules[name] = module
    parent, _, last = name.rpartition(".")
    above = sys.modules.get(parent)
    # The class of that name, which programs import from above, stays.
    if above is not None and not hasattr(above, last):
        setattr(above, last, module)
