"""Pairs of texts to scores, with the names and defaults of sentence-transformers' CrossEncoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, overload

from votive._arguments import check_count
from votive._refused import check_code_and_backends, dtype_of, refuse, refuse_keys
from votive._reranking import RerankingModel
from votive._steps import run, run_async
from votive._tracebacks import short_tracebacks

if TYPE_CHECKING:
    from collections.abc import Iterable
    from os import PathLike

    import numpy as np
    from numpy.typing import NDArray
    from typing_extensions import Unpack

    from votive.backend import Backend
    from votive.typing import (
        Activation,
        AsyncPredictOptions,
        AsyncRankOptions,
        DtypeName,
        Pair,
        Pairs,
        PredictOptions,
        RankedDocument,
        RankedText,
        RankOptions,
        Vector,
        WhenFull,
    )


@short_tracebacks
class Reranker(RerankingModel):
    """A model that says of two texts how well they belong together: a cross-encoder.

    Shared freely between threads; a call releases the interpreter's lock. Pickling keeps the arguments alone: the
    weights are loaded on first use in the new process, unless a model with equal arguments has them there.

    Args:
        model_name_or_path: a folder, or a name on the Hugging Face Hub, looked for as `Embedder` does: of a classifier
            (`...ForSequenceClassification`), or of a causal language model that was trained to rerank (Qwen3-Reranker,
            mxbai-rerank-v2), whose template is built in.
        device: "auto", "cpu", "metal" (or "mps", "mlx"), "cuda", "cuda:N", "vulkan", "dx12", "wgpu" (Metal by
            votive's own kernels), or a `Backend`. "auto", as None, is what `VOTIVE_DEVICE` names, else the first of
            Metal, CUDA, a discrete GPU that multiplies twice as fast as the CPU by "vulkan" or "dx12", and the CPU.
        dtype: how weights are held and multiplied, as for `Embedder`; scores are float32 with each.
        revision: branch, tag or commit on the hub.
        gguf_file: name of the GGUF file with the weights, where a model has several, or weights of another kind too; of
            one that is split, that of any part.
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
        max_batch_tokens: how calls of several threads and tasks share the model, as for `Embedder`, and so are those
            below; pairs count as one text.
        max_batch_size: see there.
        max_wait_ms: see there.
        max_queue: see there.
        when_full: see there.
        max_concurrency: see there.
        model_kwargs: only `dtype` or `torch_dtype`, as for `Embedder`.
        default_activation_function: `activation_fn` by its older name.
        trust_remote_code: nothing happens: no code of models is run, and a model of a family that votive lacks is
            refused with it, too.
        backend: only "torch", and only None are the arguments below, which sentence-transformers has: each gets an
            error that says what to do instead.
        processor_kwargs: see there; {} is None.
        tokenizer_kwargs: see there; {} is None.
        config_kwargs: see there; {} is None.
        modules: see there.
        model_card_data: see there.
        keep_in_fp32_modules: see there.

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
        device: str | Backend | None = "auto",
        dtype: DtypeName = "auto",
        revision: str | None = None,
        gguf_file: str | None = None,
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
        max_batch_tokens: int | None = None,
        max_batch_size: int | None = None,
        max_wait_ms: float = 0.0,
        max_queue: int | None = None,
        when_full: WhenFull = "wait",
        max_concurrency: int | None = None,
        model_kwargs: dict[str, Any] | None = None,
        default_activation_function: Activation | None = None,
        trust_remote_code: bool = False,
        backend: Literal["torch"] = "torch",
        processor_kwargs: dict[str, Any] | None = None,
        tokenizer_kwargs: dict[str, Any] | None = None,
        config_kwargs: dict[str, Any] | None = None,
        modules: None = None,
        model_card_data: None = None,
        keep_in_fp32_modules: None = None,
    ) -> None:
        refuse(modules=modules, model_card_data=model_card_data, keep_in_fp32_modules=keep_in_fp32_modules)
        check_code_and_backends(trust_remote_code, backend)
        refuse_keys(
            "max_length",
            processor_kwargs=processor_kwargs,
            tokenizer_kwargs=tokenizer_kwargs,
            config_kwargs=config_kwargs,
        )
        if default_activation_function is not None:
            if activation_fn is not None:
                raise TypeError("activation_fn and default_activation_function are two names of one argument")
            activation_fn = default_activation_function
        check_count("max_length", max_length)
        super().__init__(
            {
                "model_name_or_path": model_name_or_path,
                "device": device,
                "dtype": dtype_of(dtype, model_kwargs),
                "revision": revision,
                "gguf_file": gguf_file,
                "cache_folder": cache_folder,
                "local_files_only": local_files_only,
                "token": token,
                "max_seq_length": max_length,
                "num_labels": num_labels,
                "activation_fn": activation_fn,
                "prompts": prompts,
                "default_prompt_name": default_prompt_name,
                "num_threads": num_threads,
                "fallback": fallback,
                "max_batch_tokens": max_batch_tokens,
                "max_batch_size": max_batch_size,
                "max_wait_ms": max_wait_ms,
                "max_queue": max_queue,
                "when_full": when_full,
                "max_concurrency": max_concurrency,
            }
        )

    @overload
    def predict(  # type: ignore[overload-overlap]
        self,
        inputs: Pair,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        activation_fn: Activation | None = None,
        apply_softmax: bool | None = False,
        convert_to_numpy: Literal[True] = True,
        convert_to_tensor: Literal[False] = False,
        device: str | Backend | None = None,
        pool: None = None,
        chunk_size: None = None,
        *,
        out: NDArray[np.float32] | None = None,
        priority: float = 1.0,
    ) -> np.float32 | Vector[np.float32]: ...
    @overload
    def predict(
        self,
        inputs: Pairs,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        activation_fn: Activation | None = None,
        apply_softmax: bool | None = False,
        convert_to_numpy: Literal[True] = True,
        convert_to_tensor: Literal[False] = False,
        device: str | Backend | None = None,
        pool: None = None,
        chunk_size: None = None,
        *,
        out: NDArray[np.float32] | None = None,
        priority: float = 1.0,
    ) -> NDArray[np.float32]: ...
    @overload
    def predict(  # type: ignore[overload-overlap]
        self, *, sentences: Pair, **options: Unpack[PredictOptions]
    ) -> np.float32 | Vector[np.float32]: ...
    @overload
    def predict(self, *, sentences: Pairs, **options: Unpack[PredictOptions]) -> NDArray[np.float32]: ...
    def predict(
        self,
        inputs: Pair | Pairs | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        activation_fn: Activation | None = None,
        apply_softmax: bool | None = False,
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: str | Backend | None = None,
        pool: None = None,
        chunk_size: None = None,
        *,
        out: NDArray[np.float32] | None = None,
        priority: float = 1.0,
        sentences: Pair | Pairs | None = None,
    ) -> Any:
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
            sentences: `inputs` by its older name.
            pool: only None, as `chunk_size`: sentence-transformers has them, and each gets an error that says what to
                do instead.
            chunk_size: see there.

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
        steps = self._predict_steps(
            inputs,
            sentences,
            prompt_name=prompt_name,
            prompt=prompt,
            batch_size=batch_size,
            show_progress_bar=show_progress_bar,
            activation_fn=activation_fn,
            apply_softmax=apply_softmax,
            convert_to_numpy=convert_to_numpy,
            convert_to_tensor=convert_to_tensor,
            device=device,
            out=out,
            priority=priority,
            pool=pool,
            chunk_size=chunk_size,
        )
        return run(self, steps)

    @overload
    async def apredict(  # type: ignore[overload-overlap]
        self,
        inputs: Pair,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        *,
        activation_fn: Activation | None = None,
        apply_softmax: bool | None = False,
        convert_to_numpy: Literal[True] = True,
        convert_to_tensor: Literal[False] = False,
        device: str | Backend | None = None,
        pool: None = None,
        chunk_size: None = None,
        priority: float = 1.0,
    ) -> np.float32 | Vector[np.float32]: ...
    @overload
    async def apredict(
        self,
        inputs: Pairs,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        *,
        activation_fn: Activation | None = None,
        apply_softmax: bool | None = False,
        convert_to_numpy: Literal[True] = True,
        convert_to_tensor: Literal[False] = False,
        device: str | Backend | None = None,
        pool: None = None,
        chunk_size: None = None,
        priority: float = 1.0,
    ) -> NDArray[np.float32]: ...
    @overload
    async def apredict(  # type: ignore[overload-overlap]
        self, *, sentences: Pair, **options: Unpack[AsyncPredictOptions]
    ) -> np.float32 | Vector[np.float32]: ...
    @overload
    async def apredict(self, *, sentences: Pairs, **options: Unpack[AsyncPredictOptions]) -> NDArray[np.float32]: ...
    async def apredict(
        self,
        inputs: Pair | Pairs | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        *,
        activation_fn: Activation | None = None,
        apply_softmax: bool | None = False,
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: str | Backend | None = None,
        pool: None = None,
        chunk_size: None = None,
        priority: float = 1.0,
        sentences: Pair | Pairs | None = None,
    ) -> Any:
        """`predict` for asyncio: other tasks go on meanwhile, and no thread waits.

        Arguments and result are those of `predict`, but for `out` and `show_progress_bar`.

        Calls of many tasks are computed together. Where the task is cancelled, pairs that are not computed yet will not
        be. An iterable is read in pieces, on the event loop's thread, each when the one before is computed.

        Raises:
            RuntimeError: no event loop of asyncio is running.
            TypeError, ValueError: as `predict` raises them, when awaited.
        """
        steps = self._predict_steps(
            inputs,
            sentences,
            prompt_name=prompt_name,
            prompt=prompt,
            batch_size=batch_size,
            show_progress_bar=None,
            activation_fn=activation_fn,
            apply_softmax=apply_softmax,
            convert_to_numpy=convert_to_numpy,
            convert_to_tensor=convert_to_tensor,
            device=device,
            out=None,
            priority=priority,
            pool=pool,
            chunk_size=chunk_size,
        )
        return await run_async(self, "predict", steps)

    @overload
    def rank(
        self,
        query: str,
        documents: Iterable[str],
        top_k: int | None = None,
        *,
        return_documents: Literal[True],
        **options: Unpack[RankOptions],
    ) -> list[RankedText]: ...
    @overload
    def rank(
        self,
        query: str,
        documents: Iterable[str],
        top_k: int | None = None,
        return_documents: Literal[False] = False,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        activation_fn: Activation | None = None,
        device: str | Backend | None = None,
        pool: None = None,
        chunk_size: None = None,
        *,
        priority: float = 1.0,
        k: int | None = None,
    ) -> list[RankedDocument]: ...
    @overload
    def rank(
        self,
        query: str,
        documents: Iterable[str],
        top_k: int | None = None,
        *,
        return_documents: bool,
        **options: Unpack[RankOptions],
    ) -> list[RankedText] | list[RankedDocument]: ...
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
        device: str | Backend | None = None,
        pool: None = None,
        chunk_size: None = None,
        *,
        priority: float = 1.0,
        k: int | None = None,
    ) -> list[RankedText] | list[RankedDocument]:
        """Documents by how well they answer a query, best first; those of one score in their own order.

        Args:
            query: the query.
            documents: a list, tuple, 1-D NumPy array, pandas Series, Arrow array or other iterable of str.
            top_k: how many of them; None for all.
            k: `top_k` by its other name.
            return_documents: give their texts, too.
            prompt_name: as for `predict`, and so are those below.
            prompt: see there.
            batch_size: see there.
            show_progress_bar: see there.
            activation_fn: see there.
            device: see there.
            priority: see there.
            pool: see there.
            chunk_size: see there.

        Returns:
            For each document a dict: `corpus_id`, its place among the documents, `score`, and `text` if
            `return_documents`. No documents give an empty list.

        Raises:
            TypeError: the query or a document is not a str; the message says which.
            ValueError: the model has more labels than one, an argument has a value that is not accepted, or a text
                holds a lone surrogate; the message says which.
        """
        steps = self._rank_steps(
            query,
            documents,
            k=k,
            top_k=top_k,
            return_documents=return_documents,
            prompt_name=prompt_name,
            prompt=prompt,
            batch_size=batch_size,
            show_progress_bar=show_progress_bar,
            activation_fn=activation_fn,
            device=device,
            priority=priority,
            pool=pool,
            chunk_size=chunk_size,
        )
        return run(self, steps)

    @overload
    async def arank(
        self,
        query: str,
        documents: Iterable[str],
        top_k: int | None = None,
        *,
        return_documents: Literal[True],
        **options: Unpack[AsyncRankOptions],
    ) -> list[RankedText]: ...
    @overload
    async def arank(
        self,
        query: str,
        documents: Iterable[str],
        top_k: int | None = None,
        return_documents: Literal[False] = False,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        *,
        activation_fn: Activation | None = None,
        device: str | Backend | None = None,
        pool: None = None,
        chunk_size: None = None,
        priority: float = 1.0,
        k: int | None = None,
    ) -> list[RankedDocument]: ...
    @overload
    async def arank(
        self,
        query: str,
        documents: Iterable[str],
        top_k: int | None = None,
        *,
        return_documents: bool,
        **options: Unpack[AsyncRankOptions],
    ) -> list[RankedText] | list[RankedDocument]: ...
    async def arank(
        self,
        query: str,
        documents: Iterable[str],
        top_k: int | None = None,
        return_documents: bool = False,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        *,
        activation_fn: Activation | None = None,
        device: str | Backend | None = None,
        pool: None = None,
        chunk_size: None = None,
        priority: float = 1.0,
        k: int | None = None,
    ) -> list[RankedText] | list[RankedDocument]:
        """`rank` for asyncio, as `apredict` is `predict`. Arguments and result are those of `rank`.

        Raises:
            RuntimeError: no event loop of asyncio is running.
            TypeError, ValueError: as `rank` raises them, when awaited.
        """
        steps = self._rank_steps(
            query,
            documents,
            k=k,
            top_k=top_k,
            return_documents=return_documents,
            prompt_name=prompt_name,
            prompt=prompt,
            batch_size=batch_size,
            show_progress_bar=None,
            activation_fn=activation_fn,
            device=device,
            priority=priority,
            pool=pool,
            chunk_size=chunk_size,
        )
        return await run_async(self, "rank", steps)
