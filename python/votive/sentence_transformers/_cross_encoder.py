"""`CrossEncoder`: a `Reranker` that takes sentence-transformers' arguments and gives its types."""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING, Any

from votive._pairs import is_one_pair
from votive._steps import run
from votive.activation import ACTIVATIONS, resolve_activation
from votive.reranker import Reranker
from votive.sentence_transformers._inputs import as_list, batch_size_of
from votive.sentence_transformers._loading import (
    check_backend,
    check_key,
    device_of,
    dtype_of,
    length_of,
    path_of,
    prompts_of,
    token_of,
)
from votive.sentence_transformers._modules import TransformerView
from votive.sentence_transformers._older_arguments import (
    cross_encoder_init_args_decorator,
    cross_encoder_predict_rank_args_decorator,
)
from votive.sentence_transformers._shared import Pool, SharedMethods
from votive.sentence_transformers._tensors import as_array, to_tensor

if TYPE_CHECKING:
    from os import PathLike

    import numpy as np
    from numpy.typing import NDArray

    from votive import _core
    from votive.typing import DtypeName


class CrossEncoder(SharedMethods, Reranker):  # type: ignore[misc]
    """A model that says of two texts how well they belong together, with the arguments of sentence-transformers 6.

    Args:
        model_name_or_path: a folder, or a name on the hub; a bare name is one of "cross-encoder/".
        num_labels: how many scores a pair is to get; None for as many as the model gives.
        max_length: most tokens of a pair.
        activation_fn: what logits go through; a module of PyTorch, or a function.
        device: see `SentenceTransformer`, and so are the others.

    Raises:
        TypeError: there is no such argument.
        FileNotFoundError, NotADirectoryError, ModelError, Unsupported, ValueError: see `SentenceTransformer`.
    """

    model_type = "CrossEncoder"

    @cross_encoder_init_args_decorator
    def __init__(
        self,
        model_name_or_path: str | PathLike[str] | None = None,
        *,
        modules: Any = None,
        device: Any = None,
        prompts: dict[str, str | None] | None = None,
        default_prompt_name: str | None = None,
        cache_folder: str | PathLike[str] | None = None,
        trust_remote_code: bool = False,
        revision: str | None = None,
        local_files_only: bool = False,
        token: bool | str | None = None,
        model_kwargs: dict[str, Any] | None = None,
        processor_kwargs: dict[str, Any] | None = None,
        config_kwargs: dict[str, Any] | None = None,
        model_card_data: Any = None,
        backend: str = "torch",
        num_labels: int | None = None,
        max_length: int | None = None,
        activation_fn: Any = None,
        keep_in_fp32_modules: list[str] | None = None,
        dtype: DtypeName = "auto",
        num_threads: int | None = None,
    ) -> None:
        check_backend(backend)
        for key, value in (config_kwargs or {}).items():
            if key == "num_labels":
                num_labels = value if num_labels is None else num_labels
            else:
                check_key("config_kwargs", key, value)
        super().__init__(
            path_of(model_name_or_path, modules, self.model_type),
            device=device_of(device),
            dtype=dtype_of(dtype, model_kwargs),  # type: ignore[arg-type]
            revision=revision,
            cache_folder=cache_folder,
            local_files_only=local_files_only,
            token=token_of(token, None),
            max_length=length_of(processor_kwargs) if max_length is None else max_length,
            num_labels=num_labels,
            activation_fn=on_arrays(activation_fn),
            prompts=prompts_of(prompts),
            num_threads=num_threads,
            fallback=True,
        )
        self._finish_loading(prompts, default_prompt_name, config_kwargs)

    def _apply_options(self, core: _core.Reranker) -> None:
        super()._apply_options(core)
        if (given := self._option("activation_fn", None)) is not None:
            self._activation_fn = resolve_activation(given)

    def is_singular_input(self, inputs: Any) -> bool:
        """Whether `predict` takes it as one pair."""
        return is_one_pair(inputs)

    @cross_encoder_predict_rank_args_decorator
    def predict(
        self,
        inputs: Any,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        activation_fn: Any = None,
        apply_softmax: bool | None = False,
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: Any = None,
        pool: Pool | None = None,
        chunk_size: int | None = None,
        *,
        processing_kwargs: dict[str, Any] | None = None,
        out: NDArray[np.float32] | None = None,
        priority: float = 1.0,
    ) -> Any:
        """The scores of some pairs, as `CrossEncoder.predict` of sentence-transformers 6 gives them.

        Args:
            inputs: one pair of str, or a list, tuple or 2-D array of pairs.
            prompt_name: the name of the prompt to put before the first text of each pair.
            prompt: the prompt itself; beats `prompt_name`.
            batch_size: most pairs in one pass.
            show_progress_bar: None to show one on a terminal or in a notebook when it takes longer than 2 s.
            activation_fn: what logits go through; None for the model's own.
            apply_softmax: take shares of the labels after that.
            convert_to_numpy: False for a list of tensors.
            convert_to_tensor: one tensor.
            device: only the model's own, or a list, for which nothing happens.
            pool: nothing happens.
            chunk_size: nothing happens.
            processing_kwargs: only `{"text": {"max_length": n}}`, for the length of this call's pairs.
            out: as for `Reranker.predict`.
            priority: as for `Reranker.predict`.

        Returns:
            Float32 `[pairs]`, or `[pairs, labels]`; of one pair a scalar, or `[labels]`.
        """
        batch_size_bound = batch_size_of(batch_size)
        self._check_chunk_size(chunk_size)
        single = self.is_singular_input(inputs)
        steps = self._predict_steps(
            inputs if single else as_list(inputs),
            None,
            prompt_name=None,
            prompt=self._resolve_prompt(prompt, prompt_name),
            batch_size=batch_size_bound,
            show_progress_bar=show_progress_bar,
            activation_fn=on_arrays(activation_fn),
            apply_softmax=apply_softmax,
            convert_to_numpy=True,
            convert_to_tensor=False,
            device=None if isinstance(device, list) else device,
            out=out,
            priority=priority,
            max_length=self._length_of_call(processing_kwargs),
        )
        scores = run(self, steps)
        if convert_to_tensor:
            return to_tensor(scores)
        if not convert_to_numpy:
            return to_tensor(scores) if single else list(to_tensor(scores))
        return scores

    @cross_encoder_predict_rank_args_decorator
    def rank(
        self,
        query: str,
        documents: list[str],
        top_k: int | None = None,
        return_documents: bool = False,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        activation_fn: Any = None,
        device: Any = None,
        pool: Pool | None = None,
        chunk_size: int | None = None,
    ) -> list[dict[str, Any]]:
        """Documents by how well they answer a query, the best first: dicts of "corpus_id", "score" and "text".

        Raises:
            ValueError: the model has several labels.
        """
        if self.num_labels != 1:
            raise ValueError(
                "CrossEncoder.rank() only works for models with num_labels=1. "
                "Consider using CrossEncoder.predict() with input pairs instead."
            )
        scores = self.predict(
            [(query, document) for document in documents],
            prompt_name=prompt_name,
            prompt=prompt,
            batch_size=batch_size,
            show_progress_bar=show_progress_bar,
            activation_fn=activation_fn,
            device=device,
            pool=pool,
            chunk_size=chunk_size,
        ).tolist()
        ranked: list[dict[str, Any]] = [{"corpus_id": row, "score": score} for row, score in enumerate(scores)]
        if return_documents:
            for hit, document in zip(ranked, documents, strict=True):
                hit["text"] = document
        ranked.sort(key=lambda hit: hit["score"], reverse=True)
        return ranked[:top_k]

    @property
    def activation_fn(self) -> Any:
        """What logits go through: what was given, else what the model's files say. May be set.

        Where the process has imported torch, what the files say is PyTorch's module of that name.
        """
        _ = self._model
        given = self._option("activation_fn", None)
        if given is not None:
            return given.module if isinstance(given, OnArrays) else given
        torch, name = sys.modules.get("torch"), self._activation_fn.__name__
        return self._activation_fn if torch is None else getattr(torch.nn, name.capitalize())()

    @activation_fn.setter
    def activation_fn(self, function: Any) -> None:
        given = on_arrays(function)
        resolved = resolve_activation(given)
        _ = self._model
        self._set_option("activation_fn", given)
        self._activation_fn = resolved

    @property
    def default_activation_function(self) -> Any:
        """`activation_fn` by its older name."""
        warnings.warn(
            "The `default_activation_function` property was renamed and is now deprecated. Please use `activation_fn` "
            "instead.",
            DeprecationWarning,
            stacklevel=2,
        )
        return self.activation_fn

    @property
    def model(self) -> TransformerView:
        """The network, without its weights."""
        return self.transformers_model


class OnArrays:
    """A module of PyTorch as a function of arrays."""

    def __init__(self, module: Any) -> None:
        self.module = module

    def __call__(self, logits: NDArray[np.float32]) -> Any:
        return as_array(self.module(to_tensor(logits)))


def on_arrays(function: Any) -> Any:
    """The function itself; of a module of PyTorch that votive has not, a function of arrays."""
    kind = type(function)
    if kind.__module__.startswith("torch.") and kind.__name__.lower() not in ACTIVATIONS:
        return OnArrays(function)
    return function
