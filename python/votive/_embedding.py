"""What an `Embedder` is made of: its options against its model's files, its properties, and the steps of a call."""

from __future__ import annotations

import operator
import time
import warnings
from typing import TYPE_CHECKING, Any, overload

from votive import _core, _inputs
from votive._arguments import (
    OUTPUT_VALUES,
    PRECISIONS,
    check_choice,
    check_count,
    check_flag,
    check_numpy,
    check_out,
    check_priority,
    check_text,
    check_truncate_dim,
)
from votive._assumptions import of_embedder
from votive._model import Model
from votive._model_files import ModelFiles
from votive._progress import Progress
from votive._refused import refuse
from votive._steps import BatchRequest, Steps
from votive._stream import compute_stream
from votive._tracebacks import short_tracebacks
from votive._warnings import caller_stacklevel
from votive.embedder_info import EmbedderInfo
from votive.report import Report, warn_of_truncation
from votive.similarity_function import function_named, similarity_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from votive.backend import Backend
    from votive.similarity_function import SimilarityFunction
    from votive.typing import OutputValue, Precision, SimilarityName, Texts, TokenizedText


# Names of the prompts for what is searched with, and for what is searched, in the order in which they are looked for.
QUERY_PROMPTS = ("query",)
DOCUMENT_PROMPTS = ("document", "passage", "corpus")

# Tasks of the same, as sentence-transformers calls them.
QUERY_TASK, DOCUMENT_TASK = "query", "document"


@short_tracebacks
class EmbeddingModel(Model[_core.Embedder]):
    """A model that turns texts into vectors, without the methods that compute some."""

    def _load_core(self, options: dict[str, Any]) -> _core.Embedder:
        return _core.Embedder(options)

    def _apply_options(self, core: _core.Embedder) -> None:
        # Now, as the files may be others when somebody asks.
        self._files = ModelFiles.read(
            core.folder, has_modules=core.converted_from is None, find=core.file, gguf=core.gguf, made=core.made
        )
        assumptions = of_embedder(
            self._arguments["model_name_or_path"],
            converted_from=core.converted_from,
            base=self._arguments["base"],
            described_by=core.description_of,
            has_modules=core.file("modules.json") is not None or core.made("modules.json") is not None,
            made_modules=core.made("modules.json") is not None and bool(core.gguf),
            is_quantized=core.is_quantized,
            pooling=self._files.pooling,
        )
        self._assume(assumptions)
        similarity_fn_name = self._option("similarity_fn_name", core.similarity_fn_name)
        self._similarity_fn_name = similarity_name("similarity_fn_name", similarity_fn_name)
        of_files = None if core.truncate_dim is None else min(core.truncate_dim, core.dimension)
        truncate_dim = self._option("truncate_dim", of_files)
        check_truncate_dim(truncate_dim, core.dimension)
        self._truncate_dim: int | None = truncate_dim

    def _properties(self, core: _core.Embedder) -> dict[str, str]:
        return {"dimension": str(self._truncate_dim or core.dimension)}

    @property
    def info(self) -> EmbedderInfo:
        """Which model this is, for whoever keeps its embeddings: a store's manifest records it."""
        core = self._model
        kind, detail = core.origin
        return EmbedderInfo(
            self._arguments["model_name_or_path"],
            detail if kind in ("cache", "hub") else None,
            self._files.fingerprint,
            self._files.pooling,
            core.dtype,
            self._document_prompt(None, None),
        )

    @property
    def similarity_fn_name(self) -> SimilarityName:
        """How `similarity` compares: "cosine", "dot", "euclidean" or "manhattan". May be set; None for "cosine"."""
        _ = self._model
        return self._similarity_fn_name

    @similarity_fn_name.setter
    def similarity_fn_name(self, name: SimilarityName | SimilarityFunction | None) -> None:
        checked = similarity_name("similarity_fn_name", "cosine" if name is None else name)
        _ = self._model
        self._set_option("similarity_fn_name", checked)
        self._similarity_fn_name = checked

    @property
    def truncate_dim(self) -> int | None:
        """How many first elements of each embedding are kept; None for all. May be set."""
        _ = self._model
        return self._truncate_dim

    @truncate_dim.setter
    def truncate_dim(self, dimension: int | None) -> None:
        check_truncate_dim(dimension, self._model.dimension)
        self._set_option("truncate_dim", dimension)
        self._truncate_dim = dimension

    def get_embedding_dimension(self) -> int:
        """Width of an embedding, after `truncate_dim`."""
        return self._model.dimension if self.truncate_dim is None else self.truncate_dim

    def get_sentence_embedding_dimension(self) -> int:
        """Same as `get_embedding_dimension`, by its older name."""
        return self.get_embedding_dimension()

    def get_max_seq_length(self) -> int | None:
        """Same as `max_seq_length`."""
        return self.max_seq_length

    @overload
    def tokenize(self, sentences: str) -> TokenizedText: ...  # type: ignore[overload-overlap]
    @overload
    def tokenize(self, sentences: Iterable[str]) -> list[TokenizedText]: ...
    def tokenize(self, sentences: Texts) -> TokenizedText | list[TokenizedText]:
        """The tokens that the model sees of each text, special ones included, cut to `max_seq_length`.

        Returns:
            For each text a dict: `input_ids`, a list of int, and `tokens`, their strings. For one str one dict.
        """
        if isinstance(sentences, str):
            return self._model.tokenize([sentences], prompt="", max_length=self.max_seq_length)[0]
        return self._model.tokenize(_inputs.whole(_inputs.column(sentences)), prompt="", max_length=self.max_seq_length)

    def similarity(self, embeddings1: ArrayLike, embeddings2: ArrayLike) -> NDArray[np.float32]:
        """How similar each of `embeddings1 [n, dimension]` is to each of `embeddings2 [m, dimension]`.

        Returns:
            `[n, m]` float32, by `similarity_fn_name`; distances are negated, so that more is always more similar.
        """
        return function_named(self.similarity_fn_name)(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: ArrayLike, embeddings2: ArrayLike) -> NDArray[np.float32]:
        """How similar each row of `embeddings1 [n, dimension]` is to the same row of `embeddings2`.

        Returns:
            `[n]` float32, as `similarity`.
        """
        return function_named(self.similarity_fn_name, pairwise=True)(embeddings1, embeddings2)

    def _document_prompt(self, prompt_name: str | None, prompt: str | None) -> str:
        """The text that `encode_document` puts before others."""
        return self._prompt_text(self._task_prompt_name(DOCUMENT_PROMPTS, prompt_name, prompt), prompt)

    def _task_prompt_name(self, names: tuple[str, ...], prompt_name: str | None, prompt: str | None) -> str | None:
        """The name that was given, else, where no prompt was, the first of `names` that the model has."""
        if prompt_name is not None or prompt is not None:
            return prompt_name
        return next((name for name in names if name in self.prompts), None)

    def _task(self, task: str | None, usual: str | None = None) -> str | None:
        """The task that was given, else the `usual` one; None, and a warning about the former, without tasks."""
        if task is not None:
            check_text("task", task)
        if self._model.has_tasks:
            return usual if task is None else task
        if task is not None:
            message = f"task: {task!r:.200} changes nothing: the model computes the same for every task; leave it out"
            warnings.warn(message, stacklevel=caller_stacklevel())
        return None

    @property
    def _wanted_length(self) -> int | None:
        """The most tokens of a text, for the core; None for what the files say of the task."""
        core = self._model
        return self._arguments["max_seq_length"] if core.has_tasks else self.max_seq_length

    def _encode_steps(
        self,
        sentences: Texts | None,
        *,
        prompt_name: str | None,
        prompt: str | None,
        task: str | None,
        batch_size: int | None,
        show_progress_bar: bool | None,
        output_value: OutputValue,
        precision: Precision,
        convert_to_numpy: bool,
        convert_to_tensor: bool,
        device: str | Backend | None,
        normalize_embeddings: bool,
        truncate_dim: int | None,
        out: NDArray[np.float32] | None,
        ranges: ArrayLike | None,
        calibration_embeddings: ArrayLike | None,
        priority: float,
        seconds: list[str] | None = None,
        max_length: int | None = None,
        **refused: Any,
    ) -> Steps[Any]:
        """`encode`, with the arguments that it refuses. With `seconds`, of pairs whose first texts are a list.

        `max_length` is that of this call; None for `max_seq_length`.
        """
        single = isinstance(sentences, str)
        if single and out is not None:
            raise ValueError("out: one str gives a vector; pass [sentence] to fill a row of an array")
        refuse(**refused)
        check_numpy("encode", convert_to_numpy, convert_to_tensor)
        self._check_device(device)
        check_count("batch_size", batch_size)
        check_choice("precision", precision, PRECISIONS)
        check_choice("output_value", output_value, OUTPUT_VALUES)
        normalize_embeddings = check_flag("normalize_embeddings", normalize_embeddings)
        prompt = self._prompt_text(prompt_name, prompt)
        core = self._model
        task = self._task(task)
        if max_length is None:
            max_length = self._wanted_length
        check_truncate_dim(truncate_dim, core.dimension)
        width = truncate_dim or self.get_embedding_dimension()
        texts = [sentences] if isinstance(sentences, str) else _inputs.column(sentences)
        every_token = output_value != "sentence_embedding"
        if out is not None:
            if every_token:
                raise ValueError("out: only for output_value='sentence_embedding'")
            check_out(out, width, precision)
        if every_token:
            if precision != "float32":
                raise ValueError("precision: only float32 for token embeddings")
            texts = _inputs.whole(texts)

        start = time.monotonic()
        total = operator.length_hint(texts if isinstance(texts, list) else sentences) or None
        with Progress(show_progress_bar, total) as progress:
            request = BatchRequest(
                texts if isinstance(texts, list) else [],
                seconds,
                prompt,
                task,
                max_length,
                batch_size,
                width,
                check_priority(priority),
                self._current_profile(),
                normalize=normalize_embeddings,
                every_token=every_token,
                out=out,
                progress=progress,
            )
            states = None
            if isinstance(texts, list):
                vectors, tokens, truncated, halved, states = yield request
            else:
                chunks = ((texts, None) for texts in texts)
                vectors, tokens, truncated, halved = yield from compute_stream(request, chunks, out, progress)
        self.last_report = Report(len(vectors), tokens, truncated, time.monotonic() - start, halved, self._assumptions)
        if truncated:
            warn_of_truncation("texts", self.last_report, max_length or self.max_seq_length)
        if states is not None:
            results = _token_embeddings(*states, vectors, output_value is None)
            return results[0] if single else results
        if precision != "float32":
            from votive.quantization import quantize_embeddings

            vectors = quantize_embeddings(vectors, precision, ranges, calibration_embeddings)
        return vectors[0] if single else vectors


def _token_embeddings(
    hidden: NDArray[np.float32],
    ids: NDArray[np.int64],
    type_ids: NDArray[np.int64],
    lengths: list[int],
    embeddings: NDArray[np.float32],
    everything: bool,
) -> list[Any]:
    """For each text its rows of `hidden`, or a dict of its parts of all arrays."""
    import numpy as np

    ends = np.cumsum(lengths, dtype=np.int64).tolist()
    spans = [slice(end - length, end) for end, length in zip(ends, lengths, strict=True)]
    if not everything:
        return [hidden[span] for span in spans]
    return [
        {
            "input_ids": ids[span],
            "token_type_ids": type_ids[span],
            "attention_mask": np.ones(len(ids[span]), np.int64),
            "token_embeddings": hidden[span],
            "sentence_embedding": embeddings[row],
        }
        for row, span in enumerate(spans)
    ]
