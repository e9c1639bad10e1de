"""Names of similarity functions."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Any, get_args

from votive._arguments import check_text
from votive.typing import SimilarityName

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    Function = Callable[[ArrayLike, ArrayLike], NDArray[np.float32]]


class SimilarityFunction(Enum):
    """How embeddings are compared, as in sentence-transformers. Taken wherever a name is."""

    COSINE = "cosine"
    DOT_PRODUCT = "dot"
    DOT = "dot"
    EUCLIDEAN = "euclidean"
    MANHATTAN = "manhattan"

    @staticmethod
    def possible_values() -> list[str]:
        """All names."""
        return [function.value for function in SimilarityFunction]

    @staticmethod
    def to_similarity_fn(similarity_function: SimilarityName | SimilarityFunction) -> Function:
        """The function that compares each row with each.

        Raises:
            ValueError: there is none of that name.
        """
        return function_named(similarity_name("similarity_function", similarity_function))

    @staticmethod
    def to_similarity_pairwise_fn(similarity_function: SimilarityName | SimilarityFunction) -> Function:
        """The function that compares each row with the same row.

        Raises:
            ValueError: there is none of that name.
        """
        return function_named(similarity_name("similarity_function", similarity_function), pairwise=True)


def similarity_name(argument: str, given: Any) -> SimilarityName:
    """The name that `given` is, or has as its `value`: a member of an enumeration, of sentence-transformers' say.

    Raises:
        TypeError: it is no str, and has none.
        ValueError: there is no such function.
    """
    value = getattr(given, "value", given)
    if not isinstance(value, str):
        raise TypeError(f"{argument}: expected a str or a SimilarityFunction, found {type(given).__name__}")
    name: Any = check_text(argument, value)
    accepted = get_args(SimilarityName)
    if name not in accepted:
        raise ValueError(f"{argument}: expected one of {sorted(accepted)}, found {name!r}")
    found: SimilarityName = name
    return found


def function_named(name: SimilarityName, pairwise: bool = False) -> Function:
    """The function of that name. Its module computes with NumPy, and is imported here."""
    from votive import similarity

    return (similarity.PAIRWISE_SIMILARITY_FUNCTIONS if pairwise else similarity.SIMILARITY_FUNCTIONS)[name]
