"""sentence-transformers' names, classes and functions on votive's engine.

    from votive.sentence_transformers import SentenceTransformer, CrossEncoder, util

is the one import to change. `install()` puts the package in the place of sentence_transformers, for libraries and
programs that stay as they are; `votive run script.py` does so for a whole program.

Results are NumPy arrays; tensors where `convert_to_tensor=True` or `convert_to_numpy=False` ask for them, and where
sentence-transformers gives them unasked if an argument is one or the process has imported torch. What trains is there
to be imported, and raises `Unsupported` when it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from votive.sentence_transformers._cross_encoder import CrossEncoder
from votive.sentence_transformers._import_paths import later, register
from votive.sentence_transformers._input_example import InputExample
from votive.sentence_transformers._install import install, uninstall
from votive.sentence_transformers._sentence_transformer import SentenceTransformer
from votive.sentence_transformers._unsupported import Unsupported

if TYPE_CHECKING:
    from votive.sentence_transformers import util
    from votive.sentence_transformers.util import LoggingHandler, SimilarityFunction, quantize_embeddings

# Libraries compare it: it is the version whose behaviour this is.
__version__ = "6.2.0+votive"

__all__ = [
    "CrossEncoder",
    "InputExample",
    "LoggingHandler",
    "SentenceTransformer",
    "SimilarityFunction",
    "Unsupported",
    "install",
    "quantize_embeddings",
    "uninstall",
    "util",
]

# Names that refuse join those above.
globals().update(register({has.__name__: has for has in (CrossEncoder, InputExample, SentenceTransformer)}))


def __getattr__(name: str) -> Any:
    # Of `util`, which imports NumPy and the store.
    return later(__name__, name)
