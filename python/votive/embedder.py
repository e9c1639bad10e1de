"""Texts to vectors, with the names and defaults of sentence-transformers."""

from __future__ import annotations

import operator
import time
import warnings
from collections.abc import Callable, Iterable
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

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
    check_truncate_dim,
    refuse,
)
from votive._model import Model, recorder
from votive._progress import Progress
from votive._steps import Step, Steps, attend, blocking
from votive._stream import fill
from votive._warnings import outside
from votive.backend import device_name
from votive.report import Report, warn_of_truncation
from votive.sharing import Sharing, sharing_options

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray
    from typing_extensions import Unpack

    from votive.backend import Backend
    from votive.profile import Profile
    from votive.quantization import Precision


class Embedder(Model[_core.Embedder]):
    """A model that turns texts into vectors.

    Shared freely between threads; a call releases the interpreter's lock. Pickling keeps the arguments alone: the
    weights are loaded again on first use in the new process.

    Args:
        model_name_or_path: a folder, or a name on the Hugging Face Hub. Looked for in this order: folder, Hugging
            Face cache, hub, installed Python package that carries the model.
        device: "auto", "cpu", "metal" (or "mps", "mlx"), "cuda", "cuda:N", or a `Backend`. "auto" is what
            `VOTIVE_DEVICE` names, else the first of Metal, CUDA and the CPU that is there.
        dtype: how weights are held and multiplied; vectors are float32 with each. "auto" is "float32" on the CPU, and
            "float16" on a GPU, or "bfloat16" for models whose numbers are beyond float16. "int8", on the CPU alone:
            matrices take a quarter of the memory, embedding tables stay float32, and products are the fastest where the
            CPU has VNNI instructions; the model's ordinary files are quantized as they are loaded. "bfloat16" and
            "float16": half the memory of everything; on the CPU "bfloat16" is computed in bfloat16 with float32 sums
            where that is fast (AMD since Zen 4), and all else in float32.
        revision: branch, tag or commit on the hub.
        cache_folder: instead of the Hugging Face cache's folder.
        local_files_only: never ask the hub.
        token: for private models; True for the one that `huggingface-cli login` stored, False for none, None for the
            stored one if there is one. A pickle does not hold it: where it is loaded, the stored one is taken.
        max_seq_length: most tokens of a text, special ones included; None for what the model's files say.
        truncate_dim: keep so many first elements of each embedding.
        prompts: texts to put before others, by name; more than, and before, those of the model's files.
        default_prompt_name: which of them `encode` uses when it is given none.
        similarity_fn_name: "cosine", "dot", "euclidean" or "manhattan"; None for what the model's files say.
        num_threads: None for `VOTIVE_NUM_THREADS`, `RAYON_NUM_THREADS`, `OMP_NUM_THREADS`, or the CPUs that the process
            may use.
        fallback: where the device is not there or fails, also in the middle of work, warn once with a `FallbackWarning`
            and go on with the next one in the order Metal, CUDA, CPU.
        **sharing: how calls of several threads and tasks share the model: `max_batch_tokens`, `max_batch_size`,
            `max_wait_ms`, `max_queue`, `when_full` and `max_concurrency`; see `votive.sharing.Sharing`.

    Raises:
        FileNotFoundError: the model is nowhere to be found; the message says where it was looked for.
        ModelError: its files are damaged or not supported, or hold a number that is beyond the range of `dtype`.
        DeviceError: the device is not there, or failed; calls raise it too.
        ValueError: an argument has a value that is not accepted.
    """

    def __init__(
        self,
        model_name_or_path: str | PathLike[str],
        *,
        device: str | Backend = "auto",
        dtype: str = "auto",
        revision: str | None = None,
        cache_folder: str | PathLike[str] | None = None,
        local_files_only: bool = False,
        token: bool | str | None = None,
        max_seq_length: int | None = None,
        truncate_dim: int | None = None,
        prompts: dict[str, str] | None = None,
        default_prompt_name: str | None = None,
        similarity_fn_name: str | None = None,
        num_threads: int | None = None,
        fallback: bool = False,
        **sharing: Unpack[Sharing],
    ) -> None:
        arguments = {
            "model_name_or_path": fspath(model_name_or_path),
            "device": device_name(device),
            "dtype": dtype,
            "revision": revision,
            "cache_folder": None if cache_folder is None else fspath(cache_folder),
            "local_files_only": local_files_only,
            "token": token,
            "max_seq_length": max_seq_length,
            "truncate_dim": truncate_dim,
            "prompts": prompts,
            "default_prompt_name": default_prompt_name,
            "similarity_fn_name": similarity_fn_name,
            "num_threads": num_threads,
            "fallback": fallback,
        }
        super().__init__(arguments | sharing_options(type(self).__name__, dict(sharing)))

    def _new(self, options: dict[str, Any]) -> _core.Embedder:
        return _core.Embedder(options)

    def _take_over(self, core: _core.Embedder) -> None:
        given = self._arguments
        if core.converted_from is not None:
            warnings.warn(
                f"{given['model_name_or_path']!r} was saved from a {core.converted_from}, whose vectors votive does "
                "not make: its Transformer is used, with mean pooling (the last token of a causal language model), as "
                "sentence-transformers converts such a model",
                stacklevel=outside(),
            )
        similarity_fn_name = given["similarity_fn_name"] or core.similarity_fn_name
        _similarity_function(similarity_fn_name)
        truncate_dim = given["truncate_dim"]
        if truncate_dim is None and core.truncate_dim is not None:
            truncate_dim = min(core.truncate_dim, core.dimension)
        check_truncate_dim(truncate_dim, core.dimension)
        self._similarity_fn_name: str = similarity_fn_name
        self._truncate_dim: int | None = truncate_dim

    def _describe(self, core: _core.Embedder) -> str:
        return f"dimension={self._truncate_dim or core.dimension}"

    @property
    def similarity_fn_name(self) -> str:
        """How `similarity` compares: "cosine", "dot", "euclidean" or "manhattan"."""
        _ = self._model
        return self._similarity_fn_name

    @property
    def truncate_dim(self) -> int | None:
        """How many first elements of each embedding are kept; None for all."""
        _ = self._model
        return self._truncate_dim

    def get_embedding_dimension(self) -> int:
        """Width of an embedding, after `truncate_dim`."""
        return self._model.dimension if self.truncate_dim is None else self.truncate_dim

    def get_sentence_embedding_dimension(self) -> int:
        """Same as `get_embedding_dimension`, by its older name."""
        return self.get_embedding_dimension()

    def get_max_seq_length(self) -> int | None:
        """Same as `max_seq_length`."""
        return self.max_seq_length

    @blocking
    def encode(
        self,
        sentences: str | Iterable[str],
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        output_value: str | None = "sentence_embedding",
        precision: Precision = "float32",
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: str | None = None,
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
        *,
        out: NDArray[np.float32] | None = None,
        ranges: ArrayLike | None = None,
        calibration_embeddings: ArrayLike | None = None,
        priority: float = 1.0,
        **unsupported: Any,
    ) -> Steps[Any]:
        """The embeddings of some texts. Positions and defaults are those of sentence-transformers 6.

        Args:
            sentences: one str; or a list, tuple, 1-D NumPy array, pandas Series, Arrow array of str; or any iterable of
                str, which is read in pieces, so that memory stays bounded with `out`.
            prompt_name: the name of the prompt to put before each text; None for `default_prompt_name`.
            prompt: the prompt itself; beats `prompt_name`. "" for none at all.
            batch_size: most texts in one pass; None to let the number of tokens decide. Does not change results.
            show_progress_bar: None to show one on a terminal or in a notebook when it takes longer than 2 s.
            output_value: "sentence_embedding"; "token_embeddings" for the hidden states of every token; None for
                everything that is known.
            precision: "float32", or "int8", "uint8", "binary", "ubinary" (see `quantize_embeddings`).
            convert_to_numpy: only True.
            convert_to_tensor: only False: use `torch.from_numpy(model.encode(...))`.
            device: only None or the one that the model was loaded for.
            normalize_embeddings: scale each embedding to length 1, after it is truncated.
            truncate_dim: keep so many first elements of each embedding; None for the model's own.
            out: a C-contiguous, writable float32 array (or memmap) `[texts, dimension]` that is filled and returned.
                For an iterable of unknown length it may have more rows; those that were filled are returned.
            ranges: `[2, dimension]`, smallest and largest value of each dimension, for int8 and uint8.
            calibration_embeddings: `[rows, dimension]` to take the ranges from.
            priority: above 0. While several calls wait, one of priority 2 gets twice as many tokens computed as one
                of priority 1.
            **unsupported: arguments of sentence-transformers that have no meaning here; each gets an error that says
                what to do instead.

        Returns:
            For one str a vector `[dimension]`, else an array `[texts, dimension]`, rows in the order of the texts; no
            texts give shape `(0, dimension)`. Float32 unless `precision` says otherwise. "token_embeddings" gives an
            array `[tokens, hidden]` for each text, views of one buffer; None gives a dict for each text.

        Raises:
            TypeError: something that is not a text; the message says where.
            ValueError: an argument has a value that is not accepted; a text holds a lone surrogate, or has no tokens
                where the pooling is "cls" or "max" (others give zeros; most tokenizers leave no text without any).
            MemoryError: what the call gives does not fit; the message says what it asked for.

        `out` is as it was after a TypeError or ValueError, unless the texts come in pieces: those of the pieces before
        were written.
        """
        single = isinstance(sentences, str)
        if single and out is not None:
            raise ValueError("out: one str gives a vector; pass [sentence] to fill a row of an array")
        refuse("encode", unsupported)
        check_numpy("encode", convert_to_numpy, convert_to_tensor)
        self._check_device(device)
        check_count("batch_size", batch_size)
        check_choice("precision", precision, PRECISIONS)
        check_choice("output_value", output_value, OUTPUT_VALUES)
        normalize_embeddings = check_flag("normalize_embeddings", normalize_embeddings)
        prompt = self._resolve(prompt_name, prompt)
        core = self._model
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
            step = Step(
                texts if isinstance(texts, list) else [],
                None,
                prompt,
                batch_size,
                width,
                check_priority(priority),
                self._recorder(),
                normalize=normalize_embeddings,
                every_token=every_token,
                out=out,
                progress=progress,
            )
            states = None
            if isinstance(texts, list):
                vectors, tokens, truncated, halved, states = yield step
            else:
                chunks = ((texts, None) for texts in texts)
                vectors, tokens, truncated, halved = yield from fill(step, chunks, out, progress)
        self.last_report = Report(len(vectors), tokens, truncated, time.monotonic() - start, halved)
        if truncated:
            warn_of_truncation("texts", self.last_report, core.max_seq_length)
        if states is not None:
            results = _token_embeddings(*states, vectors, output_value is None)
            return results[0] if single else results
        if precision != "float32":
            from votive.quantization import quantize_embeddings

            vectors = quantize_embeddings(vectors, precision, ranges, calibration_embeddings)
        return vectors[0] if single else vectors

    async def aencode(
        self,
        sentences: str | Iterable[str],
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        **options: Any,
    ) -> Any:
        """`encode` for asyncio: other tasks go on meanwhile, and no thread waits.

        Calls of many tasks are computed together. Where the task is cancelled, texts that are not computed yet will not
        be. An iterable is read in pieces, on the event loop's thread, each when the one before is computed.

        Args:
            sentences: as for `encode`, and so are those below.
            prompt_name: see there.
            prompt: see there.
            batch_size: see there.
            **options: the others of `encode`, but for `out` and `show_progress_bar`.

        Returns:
            What `encode` returns.

        Raises:
            RuntimeError: no event loop of asyncio is running.
            TypeError, ValueError: as `encode` raises them, when awaited.
        """
        return await attend(self, Embedder.encode, sentences, prompt_name, prompt, batch_size, **options)

    def encode_query(
        self, sentences: str | Iterable[str], prompt_name: str | None = None, prompt: str | None = None, **options: Any
    ) -> Any:
        """`encode` with the prompt "query", for what is searched with. `options` are those of `encode`."""
        if prompt_name is None and prompt is None:
            prompt_name = "query" if "query" in self.prompts else None
        return self.encode(sentences, prompt_name, prompt, **options)

    def encode_document(
        self, sentences: str | Iterable[str], prompt_name: str | None = None, prompt: str | None = None, **options: Any
    ) -> Any:
        """`encode` with the first of the prompts "document", "passage" and "corpus", for what is searched."""
        if prompt_name is None and prompt is None:
            prompt_name = next((name for name in ("document", "passage", "corpus") if name in self.prompts), None)
        return self.encode(sentences, prompt_name, prompt, **options)

    def profile(self, sentences: str | Iterable[str], **options: Any) -> Profile:
        """Where the time of `encode(sentences, **options)` goes, stage by stage.

        The first call of a model also starts its threads; a second one shows what the calls after it take. With
        `VOTIVE_PROFILE=1` in the environment, a table of all calls of each model goes to standard error at exit.

        Returns:
            A `votive.profile.Profile`: a table to look at, and numbers to compute with. The peaks in it are measured
            once in a process, in about 0.3 s; that time is not in it.
        """
        from votive.profile import finish

        profile = _core.Profile()
        before = recorder.set(profile)
        try:
            self.encode(sentences, **options)
        finally:
            recorder.reset(before)
        core = self._model
        return finish(profile, core.num_threads, core.dtype, core.kernels)

    def tokenize(self, sentences: str | Iterable[str]) -> Any:
        """The tokens that the model sees of each text, special ones included, cut to `max_seq_length`.

        Returns:
            For each text a dict: `input_ids`, a list of int, and `tokens`, their strings. For one str one dict.
        """
        if isinstance(sentences, str):
            return self._model.tokenize([sentences], prompt="")[0]
        return self._model.tokenize(_inputs.whole(_inputs.column(sentences)), prompt="")

    def similarity(self, embeddings1: ArrayLike, embeddings2: ArrayLike) -> NDArray[np.float32]:
        """How similar each of `embeddings1 [n, dimension]` is to each of `embeddings2 [m, dimension]`.

        Returns:
            `[n, m]` float32, by `similarity_fn_name`; distances are negated, so that more is always more similar.
        """
        return _similarity_function(self.similarity_fn_name)(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: ArrayLike, embeddings2: ArrayLike) -> NDArray[np.float32]:
        """How similar each row of `embeddings1 [n, dimension]` is to the same row of `embeddings2`.

        Returns:
            `[n]` float32, as `similarity`.
        """
        return _similarity_function(self.similarity_fn_name, pairwise=True)(embeddings1, embeddings2)


def _similarity_function(name: str, pairwise: bool = False) -> Callable[[ArrayLike, ArrayLike], NDArray[np.float32]]:
    from votive import similarity

    functions = similarity.PAIRWISE_SIMILARITY_FUNCTIONS if pairwise else similarity.SIMILARITY_FUNCTIONS
    if name not in functions:
        raise ValueError(f"similarity_fn_name: expected one of {sorted(functions)}, found {name!r}")
    return functions[name]


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
