"""Types of what votive's models take and give: for annotations, and for overloads of their methods."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict

if TYPE_CHECKING:
    from typing import TypeAlias, TypeVar

    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from votive.backend import Backend

    Number = TypeVar("Number", bound=np.generic)
    Vector: TypeAlias = np.ndarray[tuple[int], np.dtype[Number]]
    Matrix: TypeAlias = np.ndarray[tuple[int, int], np.dtype[Number]]

DtypeName = Literal["auto", "float32", "bfloat16", "float16", "int8", "int4"]
Precision = Literal["float32", "int8", "uint8", "binary", "ubinary"]
SignedPrecision = Literal["int8", "binary"]
UnsignedPrecision = Literal["uint8", "ubinary"]
OutputValue = Literal["sentence_embedding", "token_embeddings", None]
SimilarityName = Literal["cosine", "dot", "euclidean", "manhattan"]
WhenFull = Literal["wait", "raise"]

Texts = str | Iterable[str]
"""One text, or any column or stream of them."""

Pair = tuple[str, str] | list[str]
"""Two texts. A list of two str is a pair, too."""

Pairs = Iterable[Sequence[str]]
"""Any column or stream of pairs."""

Activation = str | Callable[[Any], Any]
"""A name, a dotted path in PyTorch, or a function of logits `[pairs, labels]` that gives an array of that shape."""


class TokenizedText(TypedDict):
    """What `tokenize` gives of a text or pair: ids of its tokens, and their strings."""

    input_ids: list[int]
    tokens: list[str]


class EncodedText(TypedDict):
    """What `encode(output_value=None)` gives of a text: arrays `[tokens]`, `[tokens, hidden]` and `[dimension]`."""

    input_ids: NDArray[np.int64]
    token_type_ids: NDArray[np.int64]
    attention_mask: NDArray[np.int64]
    token_embeddings: Matrix[np.float32]
    sentence_embedding: Vector[np.float32]


class RankedDocument(TypedDict):
    """What `rank` gives of a document: its place among the documents, and its score."""

    corpus_id: int
    score: float


class RankedText(RankedDocument):
    """What `rank(return_documents=True)` gives of a document."""

    text: str


# Keyword arguments in overloads: those of `aencode`, then those of `encode`. Methods themselves name all of theirs.


class CallOptions(TypedDict, total=False):
    """Arguments of all methods that compute."""

    batch_size: int | None
    device: str | Backend | None
    pool: None
    chunk_size: None
    priority: float


class AsyncCommonOptions(CallOptions, total=False):
    """Arguments but for inputs and prompts that the type of a result does not depend on."""

    convert_to_numpy: Literal[True]
    convert_to_tensor: Literal[False]
    normalize_embeddings: bool
    truncate_dim: int | None
    ranges: ArrayLike | None
    calibration_embeddings: ArrayLike | None
    task: str | None
    processing_kwargs: None


class AsyncPromptedOptions(AsyncCommonOptions, total=False):
    """Those, and prompts."""

    prompt_name: str | None
    prompt: str | None


class AsyncFloat32Options(AsyncCommonOptions, total=False):
    """Arguments that give embeddings in float32, but for inputs and prompts."""

    output_value: Literal["sentence_embedding"]
    precision: Literal["float32"]


class AsyncNamedOptions(AsyncPromptedOptions, AsyncFloat32Options, total=False):
    """Those, and prompts."""


class AsyncEncodeOptions(AsyncCommonOptions, total=False):
    """All arguments but for inputs and prompts."""

    output_value: OutputValue
    precision: Precision


class PromptedOptions(AsyncPromptedOptions, total=False):
    """Arguments but for inputs that the type of a result does not depend on."""

    show_progress_bar: bool | None


class Float32Options(AsyncFloat32Options, total=False):
    """Arguments that give embeddings in float32, but for inputs and prompts."""

    show_progress_bar: bool | None
    out: NDArray[np.float32] | None


class NamedOptions(AsyncNamedOptions, total=False):
    """Those, and prompts."""

    show_progress_bar: bool | None
    out: NDArray[np.float32] | None


class EncodeOptions(AsyncEncodeOptions, total=False):
    """All arguments but for inputs and prompts."""

    show_progress_bar: bool | None
    out: NDArray[np.float32] | None


class ProfileOptions(EncodeOptions, total=False):
    """Those, and prompts."""

    prompt_name: str | None
    prompt: str | None


class ScoreOptions(CallOptions, total=False):
    """Arguments of all methods of a `Reranker` that compute."""

    prompt_name: str | None
    prompt: str | None
    activation_fn: Activation | None


class AsyncRankOptions(ScoreOptions, total=False):
    """Arguments of `arank` but for query, documents, and what the type of its result depends on."""

    k: int | None


class RankOptions(AsyncRankOptions, total=False):
    """Those of `rank`."""

    show_progress_bar: bool | None


class AsyncPredictOptions(ScoreOptions, total=False):
    """Arguments of `apredict` but for inputs."""

    apply_softmax: bool | None
    convert_to_numpy: Literal[True]
    convert_to_tensor: Literal[False]


class PredictOptions(AsyncPredictOptions, total=False):
    """Those of `predict`."""

    show_progress_bar: bool | None
    out: NDArray[np.float32] | None
