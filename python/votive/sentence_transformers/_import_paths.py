"""The modules that programs import sentence-transformers' names from, in the places of today and of earlier versions.

What votive has stands there; every other name is a class that refuses when it is made, since many programs import names
for training at the top which they use only if they train.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Mapping
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

# Modules that are imported when somebody asks for a name in them.
_LATER = {
    name: module
    for module, names in {
        "util.logging": ["LoggingHandler"],
        "util.similarity": ["SimilarityFunction"],
        "util.hard_negatives": ["mine_hard_negatives"],
        "util.quantization": ["quantize_embeddings"],
        "util.dataset": ["resolve_ids"],
        "_evaluation.evaluator": ["BaseEvaluator", "SentenceEvaluator"],
        "_evaluation.sequential": ["SequentialEvaluator"],
        "_evaluation.binary_classification": ["BinaryClassificationEvaluator"],
        "_evaluation.embedding_similarity": ["EmbeddingSimilarityEvaluator"],
        "_evaluation.information_retrieval": ["InformationRetrievalEvaluator"],
        "_evaluation.mse": ["MSEEvaluator", "MSEEvaluatorFromDataFrame"],
        "_evaluation.paraphrase_mining": ["ParaphraseMiningEvaluator"],
        "_evaluation.reranking": ["RerankingEvaluator"],
        "_evaluation.translation": ["TranslationEvaluator"],
        "_evaluation.triplet": ["TripletEvaluator"],
        "_evaluation.cross_encoder": [
            "CEBinaryAccuracyEvaluator",
            "CEBinaryClassificationEvaluator",
            "CECorrelationEvaluator",
            "CEF1Evaluator",
            "CERerankingEvaluator",
            "CESoftmaxAccuracyEvaluator",
            "CrossEncoderClassificationEvaluator",
            "CrossEncoderCorrelationEvaluator",
            "CrossEncoderRerankingEvaluator",
        ],
    }.items()
    for name in names
}


class _NamesModule(ModuleType):
    """A module that is no file: names that are there, and `later` ones; or all names of the module `source`."""

    def __init__(
        self, name: str, values: Mapping[str, Any], later: Collection[str] = (), source: str | None = None
    ) -> None:
        super().__init__(name, "Names of sentence-transformers; see `votive.sentence_transformers`.")
        self.__spec__ = ModuleSpec(name, None, is_package=True)
        self.__path__: list[str] = []
        self._source = source
        self._later = frozenset(later)
        if source is None:
            self.__all__ = [*values, *later]
        self.__dict__.update(values)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if self._source is not None:
            return getattr(import_module(self._source), name)
        if name not in self._later:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
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
    listed = paths["modules"]
    for path, now in ({path: path for path in listed} | paths["older"]).items():
        if not path:
            continue
        if now in listed:
            values = {name: made[name] for name in listed[now] if name in made}
            _add(_NamesModule(f"{PACKAGE}.{path}", values, [name for name in listed[now] if name not in made]))
        else:
            _add(_NamesModule(f"{PACKAGE}.{path}", {}, source=f"{PACKAGE}.{now}"))
    return {name: made[name] for name in listed[""] if name in made}


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
