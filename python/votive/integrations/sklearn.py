"""A transformer for scikit-learn: texts to embeddings, in pipelines and searches.

from votive.integrations.sklearn import TextEncoder
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin  # type: ignore[import-untyped,import-not-found,unused-ignore]

from votive import _inputs
from votive.embedder import Embedder
from votive.integrations._models import check_model, given, load

if TYPE_CHECKING:
    from os import PathLike

    from numpy.typing import NDArray
    from typing_extensions import Self

    from votive.backend import Backend
    from votive.typing import DtypeName

__all__ = ["TextEncoder"]

# Parameters of the model; the others are those of `encode`.
_OF_MODEL = (
    "device",
    "dtype",
    "revision",
    "cache_folder",
    "local_files_only",
    "max_seq_length",
    "prompts",
    "num_threads",
)


class TextEncoder(TransformerMixin, BaseEstimator):  # type: ignore[misc,unused-ignore]
    """Texts to embeddings `[texts, dimension]` of float32, one row each.

    Nothing is learned: `fit` loads the model and checks the parameters, which `transform` does where it was not called.
    Clones and pickles hold the parameters alone, and load the model again. Clones share an `Embedder` that was given.

    Args:
        model_name_or_path: a model's name or folder, or an `Embedder`.
        prompt_name: the name of the prompt to put before each text; None for the model's default one.
        prompt: the prompt itself; beats `prompt_name`.
        normalize_embeddings: scale each embedding to length 1.
        truncate_dim: keep so many first elements of each embedding; None for the model's own.
        batch_size: most texts in one pass; None to let the number of tokens decide. Does not change results.
        show_progress_bar: None to show one on a terminal when it takes longer than 2 s.
        device: as for `Embedder`, and so are those below. With an `Embedder` they must be left at their defaults.
        dtype: see there.
        revision: see there.
        cache_folder: see there.
        local_files_only: see there.
        max_seq_length: see there.
        prompts: see there.
        num_threads: see there.

    Attributes:
        embedder_: the `Embedder`, after `fit` or `transform`.
    """

    def __init__(
        self,
        model_name_or_path: str | PathLike[str] | Embedder = "sentence-transformers/all-MiniLM-L6-v2",
        *,
        prompt_name: str | None = None,
        prompt: str | None = None,
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        device: str | Backend | None = "auto",
        dtype: DtypeName = "auto",
        revision: str | None = None,
        cache_folder: str | PathLike[str] | None = None,
        local_files_only: bool = False,
        max_seq_length: int | None = None,
        prompts: dict[str, str] | None = None,
        num_threads: int | None = None,
    ) -> None:
        self.model_name_or_path = model_name_or_path
        self.prompt_name = prompt_name
        self.prompt = prompt
        self.normalize_embeddings = normalize_embeddings
        self.truncate_dim = truncate_dim
        self.batch_size = batch_size
        self.show_progress_bar = show_progress_bar
        self.device = device
        self.dtype = dtype
        self.revision = revision
        self.cache_folder = cache_folder
        self.local_files_only = local_files_only
        self.max_seq_length = max_seq_length
        self.prompts = prompts
        self.num_threads = num_threads

    def fit(self, X: Any, y: Any = None) -> Self:
        """Loads the model, and checks the parameters. Texts are not read.

        Raises:
            TypeError, ValueError: a parameter is not accepted, or `X` is no column; the message names it.
            FileNotFoundError, ModelError, DeviceError: as `Embedder` raises them.
        """
        _inputs.column(_texts(X), "X")
        self._encode([])
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """The embeddings of texts.

        Args:
            X: a list, an array `[texts]` or `[texts, 1]`, a Series, or a frame of one column.

        Returns:
            `[texts, dimension]` float32; a frame, where `set_output` says so.

        Raises:
            TypeError: a text is no str, or a parameter is not accepted; the message says which.
            ValueError: `X` has more than one column, or a parameter has a value that is not accepted.
        """
        return self._encode(_texts(X))

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """The names of the columns: "votive0", "votive1", ..., whatever `input_features` are."""
        width = self.truncate_dim or self._embedder().get_embedding_dimension()
        return np.array([f"votive{i}" for i in range(width)], dtype=object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.string = True
        tags.input_tags.one_d_array = True
        # Of one column alone, and none of numbers.
        tags.input_tags.two_d_array = False
        tags.transformer_tags.preserves_dtype = []
        return tags

    def _embedder(self) -> Embedder:
        """The model of the present parameters, which may have been set since it was loaded."""
        defaults = inspect.signature(Embedder).parameters
        options = {name: getattr(self, name) for name in _OF_MODEL}
        options = {name: value for name, value in options.items() if value != defaults[name].default}
        loaded_with = (self.model_name_or_path, options)
        if getattr(self, "_loaded_with", None) != loaded_with:
            check_model(Embedder, "model_name_or_path", *loaded_with)
            self.embedder_ = load(Embedder, *loaded_with)
            self._loaded_with = loaded_with
        return self.embedder_

    def _encode(self, texts: Any) -> NDArray[np.float32]:
        arguments = given(
            prompt_name=self.prompt_name,
            prompt=self.prompt,
            batch_size=self.batch_size,
            show_progress_bar=self.show_progress_bar,
            truncate_dim=self.truncate_dim,
        )
        return self._embedder().encode(texts, normalize_embeddings=self.normalize_embeddings, **arguments)


def _texts(X: Any) -> Any:
    """The one column of `X`."""
    if isinstance(X, str):
        raise TypeError("X: expected a list or another column of str, found a str; put it into a list")
    shape: Any = getattr(X, "shape", ())
    if len(shape) != 2:
        return X
    if shape[1] != 1:
        raise ValueError(f"X: expected one column of str, found {shape[1]}; a ColumnTransformer can choose one")
    if hasattr(X, "iloc"):
        return X.iloc[:, 0]
    return X[:, 0]
