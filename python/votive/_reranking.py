"""What a `Reranker` is made of: its options against its model's files, its properties, and the steps of a call."""

from __future__ import annotations

import operator
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, overload

from votive import _core, _inputs, _pairs
from votive._arguments import check_count, check_numpy, check_out, check_priority, check_text, one_count
from votive._assumptions import of_activation, usual_activation
from votive._model import Model
from votive._progress import Progress
from votive._refused import refuse
from votive._steps import BatchRequest, Steps
from votive._stream import compute_stream
from votive._tracebacks import short_tracebacks
from votive.activation import activate, activation_named, resolve_activation, softmax
from votive.report import Report, warn_of_truncation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from votive.backend import Backend
    from votive.typing import Activation, Pair, Pairs, RankedDocument, RankedText, TokenizedText


@short_tracebacks
class RerankingModel(Model[_core.Reranker]):
    """A model that says of two texts how well they belong together, without the methods that compute scores."""

    _length_argument = "max_length"

    def _load_core(self, options: dict[str, Any]) -> _core.Reranker:
        return _core.Reranker(options, num_labels=self._arguments["num_labels"])

    def _apply_options(self, core: _core.Reranker) -> None:
        given = self._arguments["activation_fn"]
        if given is None:
            given = core.activation_fn or usual_activation(core.num_labels)
            assumption = of_activation(core.folder, core.activation_fn, core.num_labels)
            self._assume([] if assumption is None else [assumption])
            try:
                self._activation_fn = activation_named(given)
            except ValueError as error:
                raise _core.ModelError(f"{core.folder}: {error}; give one as activation_fn=") from error
        else:
            self._activation_fn = resolve_activation(given)

    def _properties(self, core: _core.Reranker) -> dict[str, str]:
        activation = getattr(self._activation_fn, "__name__", repr(self._activation_fn))
        return {"num_labels": str(core.num_labels), "activation_fn": activation}

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

    @overload
    def tokenize(  # type: ignore[overload-overlap]
        self, inputs: Pair, prompt_name: str | None = None, prompt: str | None = None
    ) -> TokenizedText: ...
    @overload
    def tokenize(
        self, inputs: Pairs, prompt_name: str | None = None, prompt: str | None = None
    ) -> list[TokenizedText]: ...
    def tokenize(
        self, inputs: Pair | Pairs, prompt_name: str | None = None, prompt: str | None = None
    ) -> TokenizedText | list[TokenizedText]:
        """The tokens that the model sees of each pair, special ones included, cut to `max_seq_length`.

        Returns:
            For each pair a dict: `input_ids`, a list of int, and `tokens`, their strings. For one pair one dict.
        """
        single = _pairs.is_one_pair(inputs)
        first, second = _pairs.whole(_pairs.columns([inputs] if single else inputs))
        found = self._model.tokenize(
            first, second, prompt=self._prompt_text(prompt_name, prompt), max_length=self.max_seq_length
        )
        return found[0] if single else found

    def _predict_steps(
        self,
        inputs: Pair | Pairs | None,
        sentences: Pair | Pairs | None,
        *,
        prompt_name: str | None,
        prompt: str | None,
        batch_size: int | None,
        show_progress_bar: bool | None,
        activation_fn: Activation | None,
        apply_softmax: bool | None,
        convert_to_numpy: bool,
        convert_to_tensor: bool,
        device: str | Backend | None,
        out: NDArray[np.float32] | None,
        priority: float,
        max_length: int | None = None,
        **refused: Any,
    ) -> Steps[Any]:
        """`predict`, with the arguments that it refuses; `max_length` for this call in place of `max_seq_length`."""
        inputs = _inputs.one_of("predict", inputs=inputs, sentences=sentences)
        single = _pairs.is_one_pair(inputs)
        if single and out is not None:
            raise ValueError("out: one pair gives a scalar; pass [pair] to fill an element of an array")
        pairs = _pairs.columns([inputs] if single else inputs)
        check_numpy("predict", convert_to_numpy, convert_to_tensor)
        refuse(**refused)
        self._check_device(device)
        total = len(pairs[0]) if isinstance(pairs, tuple) else operator.length_hint(inputs) or None
        scores = yield from self._score_steps(
            pairs,
            total,
            self._prompt_text(prompt_name, prompt),
            batch_size,
            show_progress_bar,
            activation_fn,
            apply_softmax,
            out,
            priority,
            max_length,
        )
        return scores[0] if single else scores

    def _rank_steps(
        self,
        query: str,
        documents: Iterable[str],
        *,
        k: int | None,
        top_k: int | None,
        return_documents: bool,
        prompt_name: str | None,
        prompt: str | None,
        batch_size: int | None,
        show_progress_bar: bool | None,
        activation_fn: Activation | None,
        device: str | Backend | None,
        priority: float,
        **refused: Any,
    ) -> Steps[list[RankedText] | list[RankedDocument]]:
        """`rank`, with the arguments that it refuses."""
        refuse(**refused)
        self._check_device(device)
        check_count("top_k", top_k)
        check_count("k", k)
        top_k = one_count("rank", k, top_k)
        if isinstance(documents, str) and not isinstance(query, str):
            raise TypeError(f"query, documents: found {type(query).__name__} and str; the query comes first")
        query = check_text("query", query)
        if isinstance(documents, str):
            raise TypeError("documents: expected a list or another iterable of str, found one str")
        texts = _inputs.whole(_inputs.column(documents, "documents"))
        texts = [check_text(f"documents[{i}]", text) for i, text in enumerate(texts)]
        if self.num_labels != 1:
            raise ValueError(f"rank: needs a model with one label, and this one has {self.num_labels}; use predict")
        scores = yield from self._score_steps(
            ([query] * len(texts), texts),
            len(texts),
            self._prompt_text(prompt_name, prompt),
            batch_size,
            show_progress_bar,
            activation_fn,
            False,
            None,
            priority,
        )
        best: list[int] = (-scores).argsort(kind="stable").tolist()[:top_k]
        if return_documents:
            ranked: list[RankedText] = [{"corpus_id": i, "score": float(scores[i]), "text": texts[i]} for i in best]
            return ranked
        places: list[RankedDocument] = [{"corpus_id": i, "score": float(scores[i])} for i in best]
        return places

    def _score_steps(
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
        max_length: int | None = None,
    ) -> Steps[NDArray[np.float32]]:
        """`[pairs]` or `[pairs, num_labels]`, as `predict` says."""
        check_count("batch_size", batch_size)
        core = self._model
        if max_length is None:
            max_length = self.max_seq_length
        function = self._activation_fn if activation_fn is None else resolve_activation(activation_fn)
        labels = core.num_labels
        columns = None if out is None else _columns(out, labels)
        start = time.monotonic()
        with Progress(show_progress_bar, total) as progress:
            texts, seconds = pairs if isinstance(pairs, tuple) else ([], [])
            request = BatchRequest(
                texts,
                seconds,
                prompt,
                None,
                max_length,
                batch_size,
                labels,
                check_priority(priority),
                self._current_profile(),
                out=columns,
                progress=progress,
            )
            if isinstance(pairs, tuple):
                logits, tokens, cut, halved, _ = yield request
            else:
                logits, tokens, cut, halved = yield from compute_stream(request, pairs, columns, progress)
        scores = activate(function, logits)
        if apply_softmax and labels > 1:
            scores = softmax(scores)
        self.last_report = Report(len(scores), tokens, cut, time.monotonic() - start, halved, self._assumptions)
        if cut:
            warn_of_truncation("pairs", self.last_report, max_length)
        if columns is not None and scores is not logits:
            logits[:] = scores
            scores = logits
        return scores[:, 0] if labels == 1 else scores


def _columns(out: Any, labels: int) -> NDArray[np.float32]:
    """The caller's array as `[pairs, labels]`."""
    import numpy as np

    if labels == 1 and isinstance(out, np.ndarray) and out.ndim == 1:
        check_out(out.reshape(-1, 1) if out.flags.c_contiguous else out[:, None], 1, "float32")
        return out.reshape(-1, 1)
    check_out(out, labels, "float32")
    return out
