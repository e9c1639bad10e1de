"""`SentenceTransformer`: an `Embedder` that takes sentence-transformers' arguments and gives its types."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from votive._arguments import PRECISIONS
from votive._embedding import DOCUMENT_PROMPTS, QUERY_PROMPTS
from votive._steps import run
from votive.embedder import Embedder
from votive.sentence_transformers._inputs import as_item, as_list, batch_size_of, is_many
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
from votive.sentence_transformers._older_arguments import deprecated_kwargs
from votive.sentence_transformers._shared import Pool, SharedMethods
from votive.sentence_transformers._tensors import to_tensor, unasked
from votive.sentence_transformers._tokenizer import prompt_length
from votive.sentence_transformers._unsupported import Unsupported

if TYPE_CHECKING:
    from os import PathLike

    import numpy as np
    from numpy.typing import NDArray

    from votive import _core
    from votive.sentence_transformers.util import SimilarityFunction
    from votive.typing import DtypeName


class SentenceTransformer(SharedMethods, Embedder):  # type: ignore[misc]
    """A model that turns texts into vectors, with the arguments, types and errors of sentence-transformers 6.

    All that an `Embedder` has is there: `aencode`, `stats`, `last_report`, `out=`. What comes back is NumPy's, or a
    tensor where one is asked for; see `votive.sentence_transformers`.

    Args:
        model_name_or_path: a folder, or a name on the hub; a bare name is one of "sentence-transformers/".
        modules: refused.
        device: None for the best that is there; a str or a `torch.device`. Where it is not there, a warning says so.
        prompts: texts to put before others, by name, over those of the model's files.
        default_prompt_name: which of them `encode` uses when it is given none.
        cache_folder: instead of the Hugging Face cache's folder.
        trust_remote_code: nothing happens: no code of models is run, and a model that needs some is refused.
        revision: branch, tag or commit on the hub.
        local_files_only: never ask the hub.
        token: for private models.
        use_auth_token: `token` by its older name.
        model_kwargs: `dtype` or `torch_dtype`; keys that only choose how PyTorch computes do nothing.
        processor_kwargs: `model_max_length`; keys that only choose how PyTorch computes do nothing.
        config_kwargs: keys that only choose how PyTorch computes do nothing.
        model_card_data: nothing happens.
        backend: "torch", "onnx" or "openvino", for which votive's engine stands.
        similarity_fn_name: how `similarity` compares.
        truncate_dim: keep so many first elements of each embedding.
        tokenizer_kwargs: `processor_kwargs` by its older name.
        dtype: as for `Embedder`: "int8", "bfloat16" and so on.
        num_threads: as for `Embedder`.

    Raises:
        FileNotFoundError, NotADirectoryError: there is no such model.
        ModelError: its files are damaged or not supported.
        Unsupported: an argument asks for what votive does not do.
        ValueError: an argument has a value that is not accepted.
    """

    SUPPORTED_SIMILARITY_FN_NAMES = ("cosine", "dot", "euclidean", "manhattan")

    model_type = "SentenceTransformer"

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
        use_auth_token: bool | str | None = None,
        model_kwargs: dict[str, Any] | None = None,
        processor_kwargs: dict[str, Any] | None = None,
        config_kwargs: dict[str, Any] | None = None,
        model_card_data: Any = None,
        backend: str = "torch",
        similarity_fn_name: str | SimilarityFunction | None = None,
        truncate_dim: int | None = None,
        tokenizer_kwargs: dict[str, Any] | None = None,
        dtype: DtypeName = "auto",
        num_threads: int | None = None,
    ) -> None:
        check_backend(backend)
        for key, value in (config_kwargs or {}).items():
            check_key("config_kwargs", key, value)
        similarity_fn_name = self._similarity_name(similarity_fn_name)
        token = token_of(token, use_auth_token)
        super().__init__(
            path_of(model_name_or_path, modules, self.model_type),
            device=device_of(device),
            dtype=dtype_of(dtype, model_kwargs),  # type: ignore[arg-type]
            revision=revision,
            cache_folder=cache_folder,
            local_files_only=local_files_only,
            token=token,
            max_seq_length=length_of(processor_kwargs or tokenizer_kwargs),
            prompts=prompts_of(prompts),
            similarity_fn_name=similarity_fn_name,  # type: ignore[arg-type]
            num_threads=num_threads,
            fallback=True,
        )
        self._finish_loading(prompts, default_prompt_name, config_kwargs)
        if truncate_dim is not None:
            self.truncate_dim = truncate_dim

    def _apply_options(self, core: _core.Embedder) -> None:
        # A pickle keeps those that were set.
        if "prompts" not in self._arguments.get("assigned", {}):
            self._prompts = {"query": "", "document": ""} | self._prompts
        super()._apply_options(core)

    # A number above the dimension is the dimension.
    @Embedder.truncate_dim.setter  # type: ignore[attr-defined, untyped-decorator]
    def truncate_dim(self, dimension: int | None) -> None:
        kept = None if dimension is None else min(dimension, self._model.dimension)
        Embedder.truncate_dim.fset(self, kept)  # type: ignore[attr-defined]

    # Errors are the reference's.
    @Embedder.similarity_fn_name.setter  # type: ignore[attr-defined, untyped-decorator]
    def similarity_fn_name(self, name: Any) -> None:
        Embedder.similarity_fn_name.fset(self, self._similarity_name(name))  # type: ignore[attr-defined]

    def _similarity_name(self, name: Any) -> str | None:
        value: str | None = getattr(name, "value", name)
        if value is None or value in self.SUPPORTED_SIMILARITY_FN_NAMES:
            return value
        hint = " Use MultiVectorEncoder for MaxSim late-interaction scoring." if value == "maxsim" else ""
        raise ValueError(
            f"{type(self).__name__} only supports similarity_fn_name in {self.SUPPORTED_SIMILARITY_FN_NAMES}, "
            f"got {value!r}.{hint}"
        )

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """How similar each of `embeddings1 [n, dimension]` is to each of `embeddings2 [m, dimension]`.

        Args:
            embeddings1: lists of vectors, an array or a tensor; one vector counts as one row.
            embeddings2: likewise.

        Returns:
            `[n, m]` float32 by `similarity_fn_name`: a tensor by the rule of this package, else an array.
        """
        from votive.sentence_transformers.util import SimilarityFunction

        return SimilarityFunction.to_similarity_fn(self.similarity_fn_name)(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """How similar each row of `embeddings1` is to the same row of `embeddings2`: `[n]`, as `similarity`."""
        from votive.sentence_transformers.util import SimilarityFunction

        return SimilarityFunction.to_similarity_pairwise_fn(self.similarity_fn_name)(embeddings1, embeddings2)

    @contextmanager
    def truncate_embeddings(self, truncate_dim: int | None) -> Iterator[None]:
        """Within it, `encode` keeps so many first elements of each embedding; None for all. All threads see it."""
        before = self.truncate_dim
        try:
            self.truncate_dim = truncate_dim
            yield
        finally:
            self.truncate_dim = before

    def truncate_sentence_embeddings(self, truncate_dim: int | None) -> Any:
        """`truncate_embeddings` by its older name."""
        return self.truncate_embeddings(truncate_dim)

    @classmethod
    def load(cls, input_path: str) -> SentenceTransformer:
        """`SentenceTransformer(input_path)` by its older name."""
        return cls(input_path)

    def set_pooling_include_prompt(self, include_prompt: bool) -> None:
        """Nothing, where that is what the model's files say.

        Raises:
            Unsupported: it is not.
        """
        pooling = next((module for module in self if type(module).__name__ == "Pooling"), None)
        if pooling is not None and getattr(pooling, "include_prompt", True) != include_prompt:
            raise Unsupported(
                'set_pooling_include_prompt: set "include_prompt" in the config.json of the Pooling module'
            )

    def is_singular_input(self, inputs: Any) -> bool:
        """Whether `encode` takes it as one input."""
        return not is_many(inputs)

    @deprecated_kwargs(sentences="inputs")
    def encode(
        self,
        inputs: Any,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        output_value: Literal["sentence_embedding", "token_embeddings"] | None = "sentence_embedding",
        precision: str | None = "float32",
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: Any = None,
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
        pool: Pool | None = None,
        chunk_size: int | None = None,
        *,
        task: str | None = None,
        processing_kwargs: dict[str, Any] | None = None,
        out: NDArray[np.float32] | None = None,
        priority: float = 1.0,
        **kwargs: Any,
    ) -> Any:
        """The embeddings of some inputs, as `SentenceTransformer.encode` of sentence-transformers 6 gives them.

        Args:
            inputs: one str, or a list, tuple or array of str; an item may also be a pair of str, read together.
            prompt_name: the name of the prompt to put before each text.
            prompt: the prompt itself; beats `prompt_name`.
            batch_size: most texts in one pass; with 32, the default, the number of tokens decides.
            show_progress_bar: None to show one on a terminal or in a notebook when it takes longer than 2 s.
            output_value: "sentence_embedding"; "token_embeddings" for a matrix of each text; None for a dict of each.
            precision: "float32" or None, "int8", "uint8", "binary", "ubinary".
            convert_to_numpy: False for a list of tensors.
            convert_to_tensor: one tensor.
            device: only the model's own, or a list: one model uses all cores, so that no processes are started.
            normalize_embeddings: scale each embedding to length 1.
            truncate_dim: keep so many first elements; above the dimension is all.
            pool: what `start_multi_process_pool` gave; nothing happens.
            chunk_size: nothing happens.
            task: the name of a route, of a model with a Router; nothing happens for others.
            processing_kwargs: only `{"text": {"max_length": n}}`, for the length of this call's texts.
            out: as for `Embedder.encode`.
            priority: as for `Embedder.encode`.
            **kwargs: refused.

        Returns:
            Float32 `[texts, dimension]`, or `[dimension]` for one; no texts give `(0, dimension)`.

        Raises:
            ValueError: an argument has a value that is not accepted, or there is no such argument.
            Unsupported: something that votive does not do.
        """
        batch_size_bound = batch_size_of(batch_size)
        self._check_chunk_size(chunk_size)
        if kwargs:
            raise ValueError(
                f"{type(self).__name__}.encode() has been called with additional keyword arguments that this model "
                f"does not use: {list(kwargs)}. As per {type(self).__name__}.get_model_kwargs(), this model does not "
                "accept any additional keyword arguments."
            )
        if precision is not None and precision not in PRECISIONS:
            raise ValueError(f"Precision {precision!r} is not supported, must be one of {list(PRECISIONS)}")
        single = self.is_singular_input(inputs)
        items = [as_item(inputs)] if single else [as_item(item) for item in as_list(inputs)]
        text = self._resolve_prompt(prompt, prompt_name)
        found = self._encoded(
            items,
            prompt=text,
            batch_size=batch_size_bound,
            show_progress_bar=show_progress_bar,
            output_value=output_value,
            device=None if isinstance(device, list) else device,
            normalize_embeddings=normalize_embeddings and output_value == "sentence_embedding",
            truncate_dim=None if truncate_dim is None else min(truncate_dim, self._model.dimension),
            out=out,
            priority=priority,
            max_length=self._length_of_call(processing_kwargs),
            # sentence-transformers passes over a task that no module knows.
            task=task if self._model.has_tasks else None,
        )
        if output_value != "sentence_embedding":
            described = found if output_value else [self._described(each, text) for each in found]
            return self._as_tensors(described[0] if single else described)
        if precision not in (None, "float32") and len(items):
            from votive.sentence_transformers.util import quantize_embeddings

            found = quantize_embeddings(found, precision)  # type: ignore[arg-type]
        if convert_to_tensor:
            found = to_tensor(found)
        elif not convert_to_numpy:
            found = list(to_tensor(found))
        return found[0] if single else found

    @deprecated_kwargs(sentences="inputs")
    def encode_query(
        self,
        inputs: Any,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        output_value: Literal["sentence_embedding", "token_embeddings"] | None = "sentence_embedding",
        precision: str | None = "float32",
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: Any = None,
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
        pool: Pool | None = None,
        chunk_size: int | None = None,
        **kwargs: Any,
    ) -> Any:
        """`encode` with the prompt "query" where none is given, for what is searched with."""
        # With keywords alone: a library may have put a function of its own in the place of `encode`.
        return self.encode(
            inputs=inputs,
            prompt_name=self._task_prompt_name(QUERY_PROMPTS, prompt_name, prompt),
            prompt=prompt,
            batch_size=batch_size,
            show_progress_bar=show_progress_bar,
            output_value=output_value,
            precision=precision,
            convert_to_numpy=convert_to_numpy,
            convert_to_tensor=convert_to_tensor,
            device=device,
            normalize_embeddings=normalize_embeddings,
            truncate_dim=truncate_dim,
            pool=pool,
            chunk_size=chunk_size,
            **{"task": "query"} | kwargs,
        )

    @deprecated_kwargs(sentences="inputs")
    def encode_document(
        self,
        inputs: Any,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        output_value: Literal["sentence_embedding", "token_embeddings"] | None = "sentence_embedding",
        precision: str | None = "float32",
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: Any = None,
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
        pool: Pool | None = None,
        chunk_size: int | None = None,
        **kwargs: Any,
    ) -> Any:
        """`encode` with the first of the prompts "document", "passage" and "corpus", for what is searched."""
        # With keywords alone: a library may have put a function of its own in the place of `encode`.
        return self.encode(
            inputs=inputs,
            prompt_name=self._task_prompt_name(DOCUMENT_PROMPTS, prompt_name, prompt),
            prompt=prompt,
            batch_size=batch_size,
            show_progress_bar=show_progress_bar,
            output_value=output_value,
            precision=precision,
            convert_to_numpy=convert_to_numpy,
            convert_to_tensor=convert_to_tensor,
            device=device,
            normalize_embeddings=normalize_embeddings,
            truncate_dim=truncate_dim,
            pool=pool,
            chunk_size=chunk_size,
            **{"task": "document"} | kwargs,
        )

    def encode_multi_process(
        self,
        sentences: list[str],
        pool: Pool,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int = 32,
        chunk_size: int | None = None,
        show_progress_bar: bool | None = None,
        precision: str = "float32",
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
    ) -> Any:
        """`encode`: one model uses all cores, so that there are no processes."""
        return self.encode(
            sentences,
            prompt_name=prompt_name,
            prompt=prompt,
            batch_size=batch_size,
            show_progress_bar=show_progress_bar,
            precision=precision,
            normalize_embeddings=normalize_embeddings,
            truncate_dim=truncate_dim,
            pool=pool,
            chunk_size=chunk_size,
        )

    def _encoded(self, items: list[Any], **options: Any) -> Any:
        """What `Embedder.encode` gives for texts, and for pairs of texts."""
        import numpy as np

        options |= {"prompt_name": None, "precision": "float32", "convert_to_numpy": True, "convert_to_tensor": False}
        options |= {"ranges": None, "calibration_embeddings": None}
        pairs = [row for row, item in enumerate(items) if isinstance(item, (list, tuple)) and len(item) == 2]
        if not pairs:
            return run(self, self._encode_steps(items, **options))
        firsts, seconds = [items[row][0] for row in pairs], [items[row][1] for row in pairs]
        of_pairs = run(self, self._encode_steps(firsts, seconds=seconds, **options))
        if len(pairs) == len(items):
            return of_pairs
        texts = sorted(set(range(len(items))) - set(pairs))
        of_texts = run(self, self._encode_steps([items[row] for row in texts], **options))
        order = np.argsort([*pairs, *texts], kind="stable")
        if isinstance(of_texts, np.ndarray):
            return np.concatenate([of_pairs, of_texts])[order]
        return [[*of_pairs, *of_texts][place] for place in order]

    def _described(self, parts: dict[str, Any], prompt: str) -> dict[str, Any]:
        """What `output_value=None` gives of a text, beside its tokens."""
        described = parts | {"modality": "text"}
        if prompt:
            described["prompt_length"] = prompt_length(self.tokenizer, prompt)
        return described

    def _as_tensors(self, found: Any) -> Any:
        """With tensors in place of arrays, where the process has imported torch."""
        if not unasked():
            return found
        if isinstance(found, list):
            return [self._as_tensors(each) for each in found]
        if isinstance(found, dict):
            return {name: self._as_tensors(value) for name, value in found.items()}
        return to_tensor(found) if hasattr(found, "dtype") else found
