"""Pairs of texts to scores, with the names and defaults of sentence-transformers' CrossEncoder."""

from __future__ import annotations

import operator
import time
from collections.abc import Callable, Iterable, Sequence
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

from votive import _core, _inputs, _pairs
from votive._arguments import check_count, check_numpy, check_out, check_priority, check_text, refuse
from votive._model import Model
from votive._progress import Progress
from votive._steps import Step, Steps, attend, blocking
from votive._stream import fill
from votive.activation import activate, activation_named, resolve_activation, softmax
from votive.backend import device_name
from votive.report import Report, warn_of_truncation
from votive.sharing import Sharing, sharing_options

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from typing_extensions import Unpack

    from votive.backend import Backend

    Activation = str | Callable[[Any], Any]


class Reranker(Model[_core.Reranker]):
    """A model that says of two texts how well they belong together: a cross-encoder.

    Shared freely between threads; a call releases the interpreter's lock. Pickling keeps the arguments alone: the
    weights are loaded again on first use in the new process.

    Args:
        model_name_or_path: a folder, or a name on the Hugging Face Hub, looked for as `Embedder` does: of a classifier
            (`...ForSequenceClassification`), or of a causal language model that was trained to rerank (Qwen3-Reranker,
            mxbai-rerank-v2), whose template is built in.
        device: "auto", "cpu", "metal" (or "mps", "mlx"), "cuda", "cuda:N", or a `Backend`. "auto" is what
            `VOTIVE_DEVICE` names, else the first of Metal, CUDA and the CPU that is there.
        dtype: how weights are held and multiplied, as for `Embedder`; scores are float32 with each.
        revision: branch, tag or commit on the hub.
        cache_folder: instead of the Hugging Face cache's folder.
        local_files_only: never ask the hub.
        token: for private models; True for the one that `huggingface-cli login` stored, False for none, None for the
            stored one if there is one. A pickle does not hold it: where it is loaded, the stored one is taken.
        max_length: most tokens of a pair, special ones included; None for what the model's files say. Of a longer pair
            the longer text loses tokens first.
        num_labels: how many scores a pair is to get; None for as many as the model gives.
        activation_fn: what logits go through: "sigmoid", "identity", "softmax", "tanh", the dotted path of one of these
            in PyTorch, or a function of a NumPy array `[pairs, num_labels]` that gives one of that shape. None for what
            the model's files say, else "sigmoid" for one label and "identity" for more.
        prompts: texts to put before the first text of each pair, by name; more than, and before, those of the model's
            files. To a causal language model a prompt is its instruction.
        default_prompt_name: which of them is used when none is given.
        num_threads: None for `VOTIVE_NUM_THREADS`, `RAYON_NUM_THREADS`, `OMP_NUM_THREADS`, or the CPUs that the process
            may use.
        fallback: where the device is not there or fails, also in the middle of work, warn once with a `FallbackWarning`
            and go on with the next one in the order Metal, CUDA, CPU.
        **sharing: how calls of several threads and tasks share the model: `max_batch_tokens`, `max_batch_size`,
            `max_wait_ms`, `max_queue`, `when_full` and `max_concurrency`; see `votive.sharing.Sharing`.

    Raises:
        FileNotFoundError: the model is nowhere to be found; the message says where it was looked for.
        ModelError: its files are damaged or not supported, or it has no classification head.
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
        max_length: int | None = None,
        num_labels: int | None = None,
        activation_fn: Activation | None = None,
        prompts: dict[str, str] | None = None,
        default_prompt_name: str | None = None,
        num_threads: int | None = None,
        fallback: bool = False,
        **sharing: Unpack[Sharing],
    ) -> None:
        if activation_fn is not None:
            resolve_activation(activation_fn)
        check_count("max_length", max_length)
        arguments = {
            "model_name_or_path": fspath(model_name_or_path),
            "device": device_name(device),
            "dtype": dtype,
            "revision": revision,
            "cache_folder": None if cache_folder is None else fspath(cache_folder),
            "local_files_only": local_files_only,
            "token": token,
            "max_seq_length": max_length,
            "num_labels": num_labels,
            "activation_fn": activation_fn,
            "prompts": prompts,
            "default_prompt_name": default_prompt_name,
            "num_threads": num_threads,
            "fallback": fallback,
        }
        super().__init__(arguments | sharing_options(type(self).__name__, dict(sharing)))

    def _new(self, options: dict[str, Any]) -> _core.Reranker:
        return _core.Reranker(options, num_labels=self._arguments["num_labels"])

    def _take_over(self, core: _core.Reranker) -> None:
        given = self._arguments["activation_fn"]
        if given is None:
            given = core.activation_fn or ("sigmoid" if core.num_labels == 1 else "identity")
            try:
                self._activation_fn = activation_named(given)
            except ValueError as error:
                raise _core.ModelError(f"{core.folder}: {error}; give one as activation_fn=") from error
        else:
            self._activation_fn = resolve_activation(given)

    def _describe(self, core: _core.Reranker) -> str:
        activation = getattr(self._activation_fn, "__name__", repr(self._activation_fn))
        return f"num_labels={core.num_labels}, activation_fn={activation}"

    @property
    def num_labels(self) -> int:
        """How many scores a pair gets."""
        return self._model.num_labels

    @property
    def max_length(self) -> int | None:
        """Same as `max_seq_length`, by its older name."""
        return self.max_seq_length

    @max_length.setter
    def max_length(self, length: int | None) -> None:
        self.max_seq_length = length

    @property
    def activation_fn(self) -> Callable[[Any], Any]:
        """What logits go through when `predict` and `rank` are given nothing else."""
        _ = self._model
        return self._activation_fn

    @blocking
    def predict(
        self,
        inputs: Sequence[str] | Iterable[Sequence[str]],
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        activation_fn: Activation | None = None,
        apply_softmax: bool | None = False,
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: str | None = None,
        *,
        out: NDArray[np.float32] | None = None,
        priority: float = 1.0,
        **unsupported: Any,
    ) -> Steps[Any]:
        """The scores of some pairs. Positions and defaults are those of sentence-transformers 6.

        Args:
            inputs: one pair of str (a query and a document, say); or a list, tuple or 2-D NumPy array of pairs; or any
                iterable of them, which is read in pieces, so that memory stays bounded with `out`.
            prompt_name: the name of the prompt to put before the first text of each pair; None for
                `default_prompt_name`.
            prompt: the prompt itself; beats `prompt_name`. "" for none at all.
            batch_size: most pairs in one pass; None to let the number of tokens decide. Does not change results.
            show_progress_bar: None to show one on a terminal or in a notebook when it takes longer than 2 s.
            activation_fn: what logits go through, as for the class; None for the model's own.
            apply_softmax: take shares of the labels after that; nothing happens to one label.
            convert_to_numpy: only True.
            convert_to_tensor: only False: use `torch.from_numpy(model.predict(...))`.
            device: only None or the one that the model was loaded for.
            out: a C-contiguous, writable float32 array (or memmap) `[pairs]`, or `[pairs, num_labels]` for more labels
                than one, that is filled and returned. For an iterable of unknown length it may have more rows; those
                that were filled are returned.
            priority: above 0. While several calls wait, one of priority 2 gets twice as many tokens computed as one
                of priority 1.
            **unsupported: arguments of sentence-transformers that have no meaning here; each gets an error that says
                what to do instead.

        Returns:
            Float32. For one pair a scalar, else an array `[pairs]`, in the order of the pairs; where the model has more
            labels than one, `[num_labels]` and `[pairs, num_labels]`. Equal pairs are computed once.

        Raises:
            TypeError: something that is no pair of str; the message says where.
            ValueError: an argument has a value that is not accepted, a pair has not two texts, one of them holds a
                lone surrogate, or the pair has no tokens and the model no token for padding (which stands for it, as in
                sentence-transformers' batches).
            MemoryError: what the call gives does not fit; the message says what it asked for.

        `out` is as it was after a TypeError or ValueError, unless the pairs come in pieces: those of the pieces before
        were written.
        """
        single = _pairs.is_one_pair(inputs)
        if single and out is not None:
            raise ValueError("out: one pair gives a scalar; pass [pair] to fill an element of an array")
        pairs = _pairs.columns([inputs] if single else inputs)
        check_numpy("predict", convert_to_numpy, convert_to_tensor)
        refuse("predict", unsupported)
        self._check_device(device)
        total = len(pairs[0]) if isinstance(pairs, tuple) else operator.length_hint(inputs) or None
        scores = yield from self._score(
            pairs,
            total,
            self._resolve(prompt_name, prompt),
            batch_size,
            show_progress_bar,
            activation_fn,
            apply_softmax,
            out,
            priority,
        )
        return scores[0] if single else scores

    def _score(
        self,
        pairs: _pairs.Columns | Iterable[_pairs.Columns],
        total: int | None,
        prompt: str,
        batch_size: int | None,
        show_progress_bar: bool | None,
        activation_fn: Activation | None,
        apply_softmax: bool | None,
        out: NDArray[np.float32] | None,
        priority: float,
    ) -> Steps[NDArray[np.float32]]:
        """`[pairs]` or `[pairs, num_labels]`, as `predict` says."""
        check_count("batch_size", batch_size)
        function = self.activation_fn if activation_fn is None else resolve_activation(activation_fn)
        core = self._model
        labels = core.num_labels
        columns = None if out is None else _columns(out, labels)
        start = time.monotonic()
        with Progress(show_progress_bar, total) as progress:
            texts, seconds = pairs if isinstance(pairs, tuple) else ([], [])
            step = Step(
                texts,
                seconds,
                prompt,
                batch_size,
                labels,
                check_priority(priority),
                self._recorder(),
                out=columns,
                progress=progress,
            )
            if isinstance(pairs, tuple):
                logits, tokens, cut, halved, _ = yield step
            else:
                logits, tokens, cut, halved = yield from fill(step, pairs, columns, progress)
        scores = activate(function, logits)
        if apply_softmax and labels > 1:
            scores = softmax(scores)
        self.last_report = Report(len(scores), tokens, cut, time.monotonic() - start, halved)
        if cut:
            warn_of_truncation("pairs", self.last_report, core.max_seq_length)
        if columns is not None and scores is not logits:
            logits[:] = scores
            scores = logits
        return scores[:, 0] if labels == 1 else scores

    @blocking
    def rank(
        self,
        query: str,
        documents: Iterable[str],
        top_k: int | None = None,
        return_documents: bool = False,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        activation_fn: Activation | None = None,
        device: str | None = None,
        *,
        priority: float = 1.0,
        **unsupported: Any,
    ) -> Steps[list[dict[str, Any]]]:
        """Documents by how well they answer a query, best first; those of one score in their own order.

        Args:
            query: the query.
            documents: a list, tuple, 1-D NumPy array, pandas Series, Arrow array or other iterable of str.
            top_k: how many of them; None for all.
            return_documents: give their texts, too.
            prompt_name: as for `predict`, and so are those below.
            prompt: see there.
            batch_size: see there.
            show_progress_bar: see there.
            activation_fn: see there.
            device: see there.
            priority: see there.
            **unsupported: see there.

        Returns:
            For each document a dict: `corpus_id`, its place among the documents, `score`, and `text` if
            `return_documents`. No documents give an empty list.

        Raises:
            TypeError: the query or a document is not a str; the message says which.
            ValueError: the model has more labels than one, an argument has a value that is not accepted, or a text
                holds a lone surrogate; the message says which.
        """
        refuse("rank", unsupported)
        self._check_device(device)
        check_count("top_k", top_k)
        query = check_text("query", query)
        if isinstance(documents, str):
            raise TypeError("documents: expected a list or another iterable of str, found one str")
        texts = _inputs.whole(_inputs.column(documents, "documents"))
        texts = [check_text(f"documents[{i}]", text) for i, text in enumerate(texts)]
        if self.num_labels != 1:
            raise ValueError(f"rank: needs a model with one label, and this one has {self.num_labels}; use predict")
        scores = yield from self._score(
            ([query] * len(texts), texts),
            len(texts),
            self._resolve(prompt_name, prompt),
            batch_size,
            show_progress_bar,
            activation_fn,
            False,
            None,
            priority,
        )
        hits = [{"corpus_id": i, "score": float(scores[i])} for i in (-scores).argsort(kind="stable").tolist()[:top_k]]
        if return_documents:
            for hit in hits:
                hit["text"] = texts[hit["corpus_id"]]
        return hits

    async def apredict(
        self,
        inputs: Sequence[str] | Iterable[Sequence[str]],
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        **options: Any,
    ) -> Any:
        """`predict` for asyncio: other tasks go on meanwhile, and no thread waits.

        Calls of many tasks are computed together. Where the task is cancelled, pairs that are not computed yet will not
        be. An iterable is read in pieces, on the event loop's thread, each when the one before is computed.

        Args:
            inputs: as for `predict`, and so are those below.
            prompt_name: see there.
            prompt: see there.
            batch_size: see there.
            **options: the others of `predict`, but for `out` and `show_progress_bar`.

        Returns:
            What `predict` returns.

        Raises:
            RuntimeError: no event loop of asyncio is running.
            TypeError, ValueError: as `predict` raises them, when awaited.
        """
        return await attend(self, Reranker.predict, inputs, prompt_name, prompt, batch_size, **options)

    async def arank(
        self,
        query: str,
        documents: Iterable[str],
        top_k: int | None = None,
        return_documents: bool = False,
        **options: Any,
    ) -> list[dict[str, Any]]:
        """`rank` for asyncio, as `apredict` is `predict`.

        Args:
            query: as for `rank`, and so are those below.
            documents: see there.
            top_k: see there.
            return_documents: see there.
            **options: the others of `rank`, but for `show_progress_bar`.

        Returns:
            What `rank` returns.

        Raises:
            RuntimeError: no event loop of asyncio is running.
            TypeError, ValueError: as `rank` raises them, when awaited.
        """
        return await attend(self, Reranker.rank, query, documents, top_k, return_documents, **options)

    def tokenize(
        self, inputs: Sequence[str] | Iterable[Sequence[str]], prompt_name: str | None = None, prompt: str | None = None
    ) -> Any:
        """The tokens that the model sees of each pair, special ones included, cut to `max_seq_length`.

        Returns:
            For each pair a dict: `input_ids`, a list of int, and `tokens`, their strings. For one pair one dict.
        """
        single = _pairs.is_one_pair(inputs)
        first, second = _pairs.whole(_pairs.columns([inputs] if single else inputs))
        found = self._model.tokenize(first, second, prompt=self._resolve(prompt_name, prompt))
        return found[0] if single else found


def _columns(out: Any, labels: int) -> NDArray[np.float32]:
    """The caller's array as `[pairs, labels]`."""
    import numpy as np

    if labels == 1 and isinstance(out, np.ndarray) and out.ndim == 1:
        check_out(out.reshape(-1, 1) if out.flags.c_contiguous else out[:, None], 1, "float32")
        return out.reshape(-1, 1)
    check_out(out, labels, "float32")
    return out
