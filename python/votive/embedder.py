"""Texts to vectors, with the names and defaults of sentence-transformers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, overload

from votive import _core, _inputs
from votive._embedding import DOCUMENT_TASK, QUERY_PROMPTS, QUERY_TASK, EmbeddingModel
from votive._model import active_profile
from votive._refused import check_code_and_backends, dtype_of, refuse, refuse_keys
from votive._steps import run, run_async
from votive._tracebacks import short_tracebacks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from os import PathLike

    import numpy as np
    from numpy.typing import ArrayLike, NDArray
    from typing_extensions import Unpack

    from votive.backend import Backend
    from votive.chunking import Chunk
    from votive.profile import Profile
    from votive.similarity_function import SimilarityFunction
    from votive.typing import (
        AsyncEncodeOptions,
        AsyncFloat32Options,
        AsyncNamedOptions,
        AsyncPromptedOptions,
        DtypeName,
        EncodedText,
        EncodeOptions,
        Float32Options,
        Matrix,
        NamedOptions,
        OutputValue,
        Precision,
        ProfileOptions,
        PromptedOptions,
        SignedPrecision,
        SimilarityName,
        Texts,
        UnsignedPrecision,
        Vector,
        WhenFull,
    )


@short_tracebacks
class Embedder(EmbeddingModel):
    """A model that turns texts into vectors.

    Shared freely between threads; a call releases the interpreter's lock. Pickling keeps the arguments alone: the
    weights are loaded on first use in the new process, unless a model with equal arguments has them there.

    Args:
        model_name_or_path: a folder, or a name on the Hugging Face Hub. Looked for in this order: folder, Hugging
            Face cache, hub, installed Python package that carries the model.
        device: "auto", "cpu", "metal" (or "mps", "mlx"), "cuda", "cuda:N", "vulkan", "dx12", "wgpu" (Metal by
            votive's own kernels), or a `Backend`. "auto", as None, is what `VOTIVE_DEVICE` names, else the first of
            Metal, CUDA, a discrete GPU that multiplies twice as fast as the CPU by "vulkan" or "dx12", and the CPU.
        dtype: how weights are held and multiplied; vectors are float32 with each. "auto" is "float32" on the CPU, and
            "float16" on a GPU, or "bfloat16" for models whose numbers are beyond float16; of a quantized checkpoint it
            is "int8" on the CPU. "int8", on the CPU, and of weights alone on "vulkan", "dx12" and "wgpu": matrices,
            those of a Dense after pooling too, take a quarter of the memory, embedding tables stay float32, and
            products are the fastest where the CPU has VNNI instructions; the model's ordinary files are quantized as
            they are loaded. "int4", on the CPU alone: as "int8", with 4.25 bits a weight in all matrices but those of
            values and out of MLPs, for models larger than the caches; below 100 million parameters a `UserWarning`
            advises "int8". "bfloat16" and "float16": half the memory of everything; on the CPU "bfloat16" is computed
            in bfloat16 with float32 sums where that is fast (AMD since Zen 4), and all else in float32.
        revision: branch, tag or commit on the hub.
        base: the model that a quantized one was made from, a folder or a name on the hub: what the quantized one's
            files lack of pooling, modules and prompts is read there. None for the one that its README.md names.
        gguf_file: name of the GGUF file with the weights, where a model has several, or weights of another kind too; of
            one that is split, that of any part.
        cache_folder: instead of the Hugging Face cache's folder.
        local_files_only: never ask the hub.
        token: for private models; True for the one that `huggingface-cli login` stored, False for none, None for the
            stored one if there is one. A pickle does not hold it: where it is loaded, the stored one is taken.
        max_seq_length: most tokens of a text, special ones included; None for what the model's files say.
        truncate_dim: keep so many first elements of each embedding.
        prompts: texts to put before others, by name; more than, and before, those of the model's files.
        default_prompt_name: which of them `encode` uses when it is given none.
        similarity_fn_name: "cosine", "dot", "euclidean" or "manhattan", or a `SimilarityFunction`; None for what the
            model's files say.
        num_threads: None for `VOTIVE_NUM_THREADS`, `RAYON_NUM_THREADS`, `OMP_NUM_THREADS`, or the CPUs that the process
            may use.
        fallback: where the device is not there or fails, also in the middle of work, warn once with a `FallbackWarning`
            and go on with the next one in the order Metal, CUDA, CPU.
        max_batch_tokens: the most tokens that are computed together; a longer text is alone. None for what fits the
            CPU's caches, and 16,384 on a GPU, less where it has no memory for those.
        max_batch_size: the most texts that are computed together; None for no limit but the tokens.
        max_wait_ms: how long a call waits for others to be computed with, in milliseconds. With 0 none waits for that,
            and calls that have to wait anyway are computed together.
        max_queue: the most texts of all calls that are not done, for back-pressure; a single call may have more. None
            for no limit.
        when_full: what a call beyond `max_queue` does: "wait" for room, or "raise" `QueueFull`.
        max_concurrency: the most passes through the network at a time. None for as many as there are threads, and one
            on a GPU.
        model_kwargs: only `dtype` or `torch_dtype`, a name or a `torch.dtype`: another way to give `dtype`.
        trust_remote_code: nothing happens: no code of models is run, and a model of a family that votive lacks is
            refused with it, too.
        backend: only "torch", and only None are the arguments below, which sentence-transformers has: each gets an
            error that says what to do instead.
        processor_kwargs: see there; {} is None.
        tokenizer_kwargs: see there; {} is None.
        config_kwargs: see there; {} is None.
        modules: see there.
        use_auth_token: see there.
        model_card_data: see there.

    Calls of several threads and tasks that find the machine busy wait in one queue per model, and what waits is
    computed together. The caller that has had the fewest tokens computed, by its priority, is next, so that a large
    call does not keep small ones waiting. Results are the same bits either way on the CPU.

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
        device: str | Backend | None = "auto",
        dtype: DtypeName = "auto",
        revision: str | None = None,
        base: str | PathLike[str] | None = None,
        gguf_file: str | None = None,
        cache_folder: str | PathLike[str] | None = None,
        local_files_only: bool = False,
        token: bool | str | None = None,
        max_seq_length: int | None = None,
        truncate_dim: int | None = None,
        prompts: dict[str, str] | None = None,
        default_prompt_name: str | None = None,
        similarity_fn_name: SimilarityName | SimilarityFunction | None = None,
        num_threads: int | None = None,
        fallback: bool = False,
        max_batch_tokens: int | None = None,
        max_batch_size: int | None = None,
        max_wait_ms: float = 0.0,
        max_queue: int | None = None,
        when_full: WhenFull = "wait",
        max_concurrency: int | None = None,
        model_kwargs: dict[str, Any] | None = None,
        trust_remote_code: bool = False,
        backend: Literal["torch"] = "torch",
        processor_kwargs: dict[str, Any] | None = None,
        tokenizer_kwargs: dict[str, Any] | None = None,
        config_kwargs: dict[str, Any] | None = None,
        modules: None = None,
        use_auth_token: None = None,
        model_card_data: None = None,
    ) -> None:
        refuse(modules=modules, use_auth_token=use_auth_token, model_card_data=model_card_data)
        check_code_and_backends(trust_remote_code, backend)
        refuse_keys(
            "max_seq_length",
            processor_kwargs=processor_kwargs,
            tokenizer_kwargs=tokenizer_kwargs,
            config_kwargs=config_kwargs,
        )
        super().__init__(
            {
                "model_name_or_path": model_name_or_path,
                "device": device,
                "dtype": dtype_of(dtype, model_kwargs),
                "revision": revision,
                "base": base,
                "gguf_file": gguf_file,
                "cache_folder": cache_folder,
                "local_files_only": local_files_only,
                "token": token,
                "max_seq_length": max_seq_length,
                "truncate_dim": truncate_dim,
                "prompts": prompts,
                "default_prompt_name": default_prompt_name,
                "similarity_fn_name": similarity_fn_name,
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
    def encode(  # type: ignore[overload-overlap]
        self, inputs: str, prompt_name: str | None = None, prompt: str | None = None, **options: Unpack[Float32Options]
    ) -> Vector[np.float32]: ...
    @overload
    def encode(
        self,
        inputs: Iterable[str],
        prompt_name: str | None = None,
        prompt: str | None = None,
        **options: Unpack[Float32Options],
    ) -> Matrix[np.float32]: ...
    @overload
    def encode(
        self, inputs: Texts, *, precision: SignedPrecision, **options: Unpack[PromptedOptions]
    ) -> NDArray[np.int8]: ...
    @overload
    def encode(
        self, inputs: Texts, *, precision: UnsignedPrecision, **options: Unpack[PromptedOptions]
    ) -> NDArray[np.uint8]: ...
    @overload
    def encode(  # type: ignore[overload-overlap]
        self, inputs: str, *, output_value: Literal["token_embeddings"], **options: Unpack[PromptedOptions]
    ) -> Matrix[np.float32]: ...
    @overload
    def encode(
        self, inputs: Iterable[str], *, output_value: Literal["token_embeddings"], **options: Unpack[PromptedOptions]
    ) -> list[Matrix[np.float32]]: ...
    @overload
    def encode(  # type: ignore[overload-overlap]
        self, inputs: str, *, output_value: None, **options: Unpack[PromptedOptions]
    ) -> EncodedText: ...
    @overload
    def encode(
        self, inputs: Iterable[str], *, output_value: None, **options: Unpack[PromptedOptions]
    ) -> list[EncodedText]: ...
    @overload
    def encode(  # type: ignore[overload-overlap]
        self, *, sentences: str, **options: Unpack[NamedOptions]
    ) -> Vector[np.float32]: ...
    @overload
    def encode(  # type: ignore[overload-overlap]
        self, *, texts: str, **options: Unpack[NamedOptions]
    ) -> Vector[np.float32]: ...
    @overload
    def encode(self, *, sentences: Iterable[str], **options: Unpack[NamedOptions]) -> Matrix[np.float32]: ...
    @overload
    def encode(self, *, texts: Iterable[str], **options: Unpack[NamedOptions]) -> Matrix[np.float32]: ...
    @overload
    def encode(
        self,
        inputs: Texts,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        output_value: OutputValue = "sentence_embedding",
        precision: Precision = "float32",
        convert_to_numpy: Literal[True] = True,
        convert_to_tensor: Literal[False] = False,
        device: str | Backend | None = None,
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
        pool: None = None,
        chunk_size: None = None,
        *,
        out: NDArray[np.float32] | None = None,
        ranges: ArrayLike | None = None,
        calibration_embeddings: ArrayLike | None = None,
        priority: float = 1.0,
        task: str | None = None,
        processing_kwargs: None = None,
    ) -> Any: ...
    def encode(
        self,
        inputs: Texts | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        output_value: OutputValue = "sentence_embedding",
        precision: Precision = "float32",
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: str | Backend | None = None,
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
        pool: None = None,
        chunk_size: None = None,
        *,
        out: NDArray[np.float32] | None = None,
        ranges: ArrayLike | None = None,
        calibration_embeddings: ArrayLike | None = None,
        priority: float = 1.0,
        sentences: Texts | None = None,
        texts: Texts | None = None,
        task: str | None = None,
        processing_kwargs: None = None,
    ) -> Any:
        """The embeddings of some texts. Positions and defaults are those of sentence-transformers 6.

        Args:
            inputs: one str; or a list, tuple, 1-D NumPy array, pandas Series, Arrow array of str; or any iterable of
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
            sentences: `inputs` by its older name.
            texts: `inputs` by the name that stores give it.
            task: what the texts are for, of a model whose modules.json has a Router: the name of a route. None for the
                default one. Prompts do not depend on it. Of other models it changes nothing, which a warning says.
            pool: only None, and so are those below, which sentence-transformers has: each gets an error that says what
                to do instead.
            chunk_size: see there.
            processing_kwargs: see there.

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
        steps = self._encode_steps(
            _inputs.one_of("encode", inputs=inputs, sentences=sentences, texts=texts),
            prompt_name=prompt_name,
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
            out=out,
            ranges=ranges,
            calibration_embeddings=calibration_embeddings,
            priority=priority,
            task=task,
            processing_kwargs=processing_kwargs,
        )
        return run(self, steps)

    @overload
    async def aencode(  # type: ignore[overload-overlap]
        self,
        inputs: str,
        prompt_name: str | None = None,
        prompt: str | None = None,
        **options: Unpack[AsyncFloat32Options],
    ) -> Vector[np.float32]: ...
    @overload
    async def aencode(
        self,
        inputs: Iterable[str],
        prompt_name: str | None = None,
        prompt: str | None = None,
        **options: Unpack[AsyncFloat32Options],
    ) -> Matrix[np.float32]: ...
    @overload
    async def aencode(
        self, inputs: Texts, *, precision: SignedPrecision, **options: Unpack[AsyncPromptedOptions]
    ) -> NDArray[np.int8]: ...
    @overload
    async def aencode(
        self, inputs: Texts, *, precision: UnsignedPrecision, **options: Unpack[AsyncPromptedOptions]
    ) -> NDArray[np.uint8]: ...
    @overload
    async def aencode(  # type: ignore[overload-overlap]
        self, inputs: str, *, output_value: Literal["token_embeddings"], **options: Unpack[AsyncPromptedOptions]
    ) -> Matrix[np.float32]: ...
    @overload
    async def aencode(
        self,
        inputs: Iterable[str],
        *,
        output_value: Literal["token_embeddings"],
        **options: Unpack[AsyncPromptedOptions],
    ) -> list[Matrix[np.float32]]: ...
    @overload
    async def aencode(  # type: ignore[overload-overlap]
        self, inputs: str, *, output_value: None, **options: Unpack[AsyncPromptedOptions]
    ) -> EncodedText: ...
    @overload
    async def aencode(
        self, inputs: Iterable[str], *, output_value: None, **options: Unpack[AsyncPromptedOptions]
    ) -> list[EncodedText]: ...
    @overload
    async def aencode(  # type: ignore[overload-overlap]
        self, *, sentences: str, **options: Unpack[AsyncNamedOptions]
    ) -> Vector[np.float32]: ...
    @overload
    async def aencode(  # type: ignore[overload-overlap]
        self, *, texts: str, **options: Unpack[AsyncNamedOptions]
    ) -> Vector[np.float32]: ...
    @overload
    async def aencode(
        self, *, sentences: Iterable[str], **options: Unpack[AsyncNamedOptions]
    ) -> Matrix[np.float32]: ...
    @overload
    async def aencode(self, *, texts: Iterable[str], **options: Unpack[AsyncNamedOptions]) -> Matrix[np.float32]: ...
    @overload
    async def aencode(
        self,
        inputs: Texts,
        prompt_name: str | None = None,
        prompt: str | None = None,
        **options: Unpack[AsyncEncodeOptions],
    ) -> Any: ...
    async def aencode(
        self,
        inputs: Texts | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        *,
        output_value: OutputValue = "sentence_embedding",
        precision: Precision = "float32",
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: str | Backend | None = None,
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
        pool: None = None,
        chunk_size: None = None,
        ranges: ArrayLike | None = None,
        calibration_embeddings: ArrayLike | None = None,
        priority: float = 1.0,
        sentences: Texts | None = None,
        texts: Texts | None = None,
        task: str | None = None,
        processing_kwargs: None = None,
    ) -> Any:
        """`encode` for asyncio: other tasks go on meanwhile, and no thread waits.

        Arguments and result are those of `encode`, but for `out` and `show_progress_bar`.

        Calls of many tasks are computed together. Where the task is cancelled, texts that are not computed yet will not
        be. An iterable is read in pieces, on the event loop's thread, each when the one before is computed.

        Raises:
            RuntimeError: no event loop of asyncio is running.
            TypeError, ValueError: as `encode` raises them, when awaited.
        """
        steps = self._encode_steps(
            _inputs.one_of("encode", inputs=inputs, sentences=sentences, texts=texts),
            prompt_name=prompt_name,
            prompt=prompt,
            batch_size=batch_size,
            show_progress_bar=None,
            output_value=output_value,
            precision=precision,
            convert_to_numpy=convert_to_numpy,
            convert_to_tensor=convert_to_tensor,
            device=device,
            normalize_embeddings=normalize_embeddings,
            truncate_dim=truncate_dim,
            pool=pool,
            chunk_size=chunk_size,
            out=None,
            ranges=ranges,
            calibration_embeddings=calibration_embeddings,
            priority=priority,
            task=task,
            processing_kwargs=processing_kwargs,
        )
        return await run_async(self, "encode", steps)

    @overload
    def encode_query(  # type: ignore[overload-overlap]
        self, inputs: str, prompt_name: str | None = None, prompt: str | None = None, **options: Unpack[Float32Options]
    ) -> Vector[np.float32]: ...
    @overload
    def encode_query(
        self,
        inputs: Iterable[str],
        prompt_name: str | None = None,
        prompt: str | None = None,
        **options: Unpack[Float32Options],
    ) -> Matrix[np.float32]: ...
    @overload
    def encode_query(
        self, inputs: Texts, *, precision: SignedPrecision, **options: Unpack[PromptedOptions]
    ) -> NDArray[np.int8]: ...
    @overload
    def encode_query(
        self, inputs: Texts, *, precision: UnsignedPrecision, **options: Unpack[PromptedOptions]
    ) -> NDArray[np.uint8]: ...
    @overload
    def encode_query(  # type: ignore[overload-overlap]
        self, *, sentences: str, **options: Unpack[NamedOptions]
    ) -> Vector[np.float32]: ...
    @overload
    def encode_query(  # type: ignore[overload-overlap]
        self, *, texts: str, **options: Unpack[NamedOptions]
    ) -> Vector[np.float32]: ...
    @overload
    def encode_query(self, *, sentences: Iterable[str], **options: Unpack[NamedOptions]) -> Matrix[np.float32]: ...
    @overload
    def encode_query(self, *, texts: Iterable[str], **options: Unpack[NamedOptions]) -> Matrix[np.float32]: ...
    @overload
    def encode_query(
        self, inputs: Texts, prompt_name: str | None = None, prompt: str | None = None, **options: Unpack[EncodeOptions]
    ) -> Any: ...
    def encode_query(
        self,
        inputs: Texts | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        output_value: OutputValue = "sentence_embedding",
        precision: Precision = "float32",
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: str | Backend | None = None,
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
        pool: None = None,
        chunk_size: None = None,
        *,
        out: NDArray[np.float32] | None = None,
        ranges: ArrayLike | None = None,
        calibration_embeddings: ArrayLike | None = None,
        priority: float = 1.0,
        sentences: Texts | None = None,
        texts: Texts | None = None,
        task: str | None = None,
        processing_kwargs: None = None,
    ) -> Any:
        """`encode` with the prompt "query" and the task "query", for what is searched with.

        Arguments and result are those of `encode`.
        """
        prompt_name = self._task_prompt_name(QUERY_PROMPTS, prompt_name, prompt)
        # Arguments are checked there.
        encode: Callable[..., Any] = self.encode
        return encode(
            _inputs.one_of("encode_query", inputs=inputs, sentences=sentences, texts=texts),
            prompt_name=prompt_name,
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
            out=out,
            ranges=ranges,
            calibration_embeddings=calibration_embeddings,
            priority=priority,
            task=self._task(task, QUERY_TASK),
            processing_kwargs=processing_kwargs,
        )

    @overload
    def encode_document(  # type: ignore[overload-overlap]
        self, inputs: str, prompt_name: str | None = None, prompt: str | None = None, **options: Unpack[Float32Options]
    ) -> Vector[np.float32]: ...
    @overload
    def encode_document(
        self,
        inputs: Iterable[str],
        prompt_name: str | None = None,
        prompt: str | None = None,
        **options: Unpack[Float32Options],
    ) -> Matrix[np.float32]: ...
    @overload
    def encode_document(
        self, inputs: Texts, *, precision: SignedPrecision, **options: Unpack[PromptedOptions]
    ) -> NDArray[np.int8]: ...
    @overload
    def encode_document(
        self, inputs: Texts, *, precision: UnsignedPrecision, **options: Unpack[PromptedOptions]
    ) -> NDArray[np.uint8]: ...
    @overload
    def encode_document(  # type: ignore[overload-overlap]
        self, *, sentences: str, **options: Unpack[NamedOptions]
    ) -> Vector[np.float32]: ...
    @overload
    def encode_document(  # type: ignore[overload-overlap]
        self, *, texts: str, **options: Unpack[NamedOptions]
    ) -> Vector[np.float32]: ...
    @overload
    def encode_document(self, *, sentences: Iterable[str], **options: Unpack[NamedOptions]) -> Matrix[np.float32]: ...
    @overload
    def encode_document(self, *, texts: Iterable[str], **options: Unpack[NamedOptions]) -> Matrix[np.float32]: ...
    @overload
    def encode_document(
        self, inputs: Texts, prompt_name: str | None = None, prompt: str | None = None, **options: Unpack[EncodeOptions]
    ) -> Any: ...
    def encode_document(
        self,
        inputs: Texts | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        output_value: OutputValue = "sentence_embedding",
        precision: Precision = "float32",
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: str | Backend | None = None,
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
        pool: None = None,
        chunk_size: None = None,
        *,
        out: NDArray[np.float32] | None = None,
        ranges: ArrayLike | None = None,
        calibration_embeddings: ArrayLike | None = None,
        priority: float = 1.0,
        sentences: Texts | None = None,
        texts: Texts | None = None,
        task: str | None = None,
        processing_kwargs: None = None,
    ) -> Any:
        """`encode` with the first prompt of "document", "passage" and "corpus", and the task "document".

        For what is searched. Arguments and result are those of `encode`.
        """
        prompt = self._document_prompt(prompt_name, prompt)
        # Arguments are checked there.
        encode: Callable[..., Any] = self.encode
        return encode(
            _inputs.one_of("encode_document", inputs=inputs, sentences=sentences, texts=texts),
            prompt_name=prompt_name,
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
            out=out,
            ranges=ranges,
            calibration_embeddings=calibration_embeddings,
            priority=priority,
            task=self._task(task, DOCUMENT_TASK),
            processing_kwargs=processing_kwargs,
        )

    def encode_chunks(
        self,
        texts: Texts,
        chunks: Iterable[Chunk],
        normalize_embeddings: bool = False,
        *,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        truncate_dim: int | None = None,
        priority: float = 1.0,
    ) -> Matrix[np.float32]:
        """The embeddings of chunks, each of which knows the text around it: late chunking (Günther et al. 2024).

        Each text goes through the model once, as `encode_document` has it go. A chunk's embedding is the mean of the
        hidden states of its tokens, and then what the model's modules after pooling make of it. The chunk with the
        text's first token has the special tokens and the prompt before it, too (the prompt unless pooling leaves it
        out), and the chunk with the last token the special ones after it, so that a chunk that is the whole text gets
        the embedding of the text. Tokens that are partly in a chunk count.

        Args:
            texts: those that `chunks` are of: one str, or a column or iterable of str.
            chunks: what `votive.chunk(texts, model, max_tokens)` gave, or some of it, in any order.
            normalize_embeddings: scale each embedding to length 1, after it is truncated.
            prompt_name: the name of the prompt to put before each text; None for that of `encode_document`.
            prompt: the prompt itself; beats `prompt_name`. "" for none at all.
            batch_size: most texts in one pass; None to let the number of tokens decide. Does not change results.
            show_progress_bar: None to show one on a terminal or in a notebook when it takes longer than 2 s.
            truncate_dim: keep so many first elements of each embedding; None for the model's own.
            priority: see `encode`.

        Returns:
            `[chunks, dimension]` float32, rows in the order of `chunks`.

        Raises:
            TypeError: an argument is not of its type.
            ValueError: a chunk is not of these texts, or is beyond the `max_seq_length` tokens that the model reads of
                its text. Longer texts are cut first: `sections = votive.chunk(texts, model)` gives texts that the model
                reads whole, and chunks of their texts are encoded together with these.
            ModelError: the model does not pool by the mean, or writes a chat around texts.
        """
        from votive._late_chunking import encode_chunks_steps

        steps = encode_chunks_steps(
            self,
            texts,
            chunks,
            prompt=self._document_prompt(prompt_name, prompt),
            batch_size=batch_size,
            show_progress_bar=show_progress_bar,
            normalize_embeddings=normalize_embeddings,
            truncate_dim=truncate_dim,
            priority=priority,
        )
        return run(self, steps)

    def profile(self, sentences: Texts, **options: Unpack[ProfileOptions]) -> Profile:
        """Where the time of `encode(sentences, **options)` goes, stage by stage.

        The first call of a model also starts its threads; a second one shows what the calls after it take. With
        `VOTIVE_PROFILE=1` in the environment, a table of all calls of each model goes to standard error at exit.

        Returns:
            A `votive.profile.Profile`: a table to look at, and numbers to compute with. The peaks in it are measured
            once in a process, in about 0.3 s; that time is not in it.
        """
        from votive.profile import finish

        profile = _core.Profile()
        before = active_profile.set(profile)
        try:
            self.encode(sentences, **options)
        finally:
            active_profile.reset(before)
        core = self._model
        return finish(profile, core.num_threads, core.device, core.dtype, core.kernels)
