"""sentence-transformers' names, classes and functions on votive's engine.

    from votive.sentence_transformers import SentenceTransformer, CrossEncoder, util

is the one import to change. `install()` puts the package in the place of sentence_transformers, for libraries and
programs that stay as they are; `votive run script.py` does so for a whole program.

Results are NumPy arrays; tensors where `convert_to_tensor=True` or `convert_to_numpy=False` ask for them, and where
sentence-transformers gives them unasked if an argument is one or the process has imported torch. What trains is there
to be imported, and raises `Unsupported` when it is used.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from votive.sentence_transformers import util
from votive.sentence_transformers._cross_encoder import CrossEncoder
from votive.sentence_transformers._install import install, uninstall
from votive.sentence_transformers._names import REFUSING
from votive.sentence_transformers._sentence_transformer import SentenceTransformer
from votive.sentence_transformers._unsupported import Unsupported
from votive.sentence_transformers.util import LoggingHandler, quantize_embeddings
from votive.similarity_function import SimilarityFunction

# Libraries compare it: it is the version whose behaviour this is.
__version__ = "6.2.0+votive"

__all__ = [
    "CrossEncoder",
    "LoggingHandler",
    "SentenceTransformer",
    "SimilarityFunction",
    "Unsupported",
    "install",
    "quantize_embeddings",
    "uninstall",
    "util",
]

_TOP = ("datasets", "model_card", "multi_vector_encoder", "readers", "sparse_encoder", "trainer", "training_args")


def __getattr__(name: str) -> Any:
    for module in (*_TOP, "cross_encoder.trainer", "cross_encoder.training_args", "cross_encoder.model_card"):
        if name in REFUSING[module]:
            return REFUSING[module][name]
    if name == "mine_hard_negatives":
        return REFUSING["util.hard_negatives"][name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class _Package(ModuleType):
    def __setattr__(self, name: str, value: Any) -> None:
        # Importing the module of that name, as older programs do, must not take the place of the class.
        if not (isinstance(value, ModuleType) and name == "SentenceTransformer"):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
