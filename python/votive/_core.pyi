"""votive's compiled core. Programs use the classes of `votive`, which check arguments and say what they mean."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import disjoint_base

from votive._steps import BatchRequest, BatchResult
from votive.typing import TokenizedText

__all__ = [
    "CallHandle",
    "CorruptStoreError",
    "Credential",
    "DeviceError",
    "Embedder",
    "Model",
    "ModelError",
    "Peaks",
    "Profile",
    "QueueFull",
    "Reranker",
    "Server",
    "Stats",
    "Store",
    "StoreError",
    "Tokenizer",
    "VotiveError",
    "__version__",
    "are_bytes_in",
    "bin_bytes",
    "bin_numbers",
    "compare_bytes",
    "contain_bytes",
    "cpu",
    "crc32c",
    "devices",
    "features",
    "find_device",
    "gpus",
    "inspect",
    "map_file",
    "model_families",
    "next_device",
    "product_rate",
    "quantize",
    "select_codes",
    "split_bytes",
    "split_texts",
    "take_bytes",
]

__version__: str

class VotiveError(Exception):
    """What all errors of votive's own have in common."""

class ModelError(VotiveError):
    """A model's file is damaged, contradicts another, or is not supported."""

    file: str | None
    """The file, relative to the model's folder."""
    key: str | None
    """The path of the JSON key that the error is about."""
    tensor: str | None
    """The name of the tensor that the error is about."""

class DeviceError(VotiveError):
    """A device is not there, not built in, or failed."""

class QueueFull(VotiveError):
    """More texts wait than `max_queue` allows."""

class StoreError(VotiveError):
    """A store, or its folder, cannot do what it is asked for.

    Attributes:
        argument: the array of `Store.attach` that is refused: "vectors", "codes", "bounds", "coarse", "ids" or
            "deleted". None where another than `Store.attach` raised the error, as for the others.
        row: the first row that is refused, counted within the array; None where no row is.
        reason: the message without the argument's name.
    """

    argument: str | None
    row: int | None
    reason: str | None

class CorruptStoreError(StoreError):
    """A store's folder is damaged, or contradicts itself."""

@final
class CallHandle:
    """A step that was submitted."""

    def cancel(self) -> None:
        """Texts that are not computed yet will not be."""

@final
class Stats:
    """Counts calls, in this process, without locks."""

    def __new__(cls) -> Stats: ...
    def reset(self) -> None:
        """Begins at zero."""

    def add_error(self, kind: str) -> None:
        """A call failed."""

    def add_search(self, queries: int, seconds: float) -> None:
        """A store was searched."""

    def numbers(self) -> dict[str, Any]:
        """All of them, by the names of the attributes of `votive.stats.Stats`.

        In place of the throughput of the last minute: `recent_seconds`, `recent_texts` and `recent_tokens`. Spreads are
        tuples: count, mean, and percentiles 50, 95 and 99.
        """

@final
class Credential:
    """A token that Python does not see. A copy holds it, and a pickle does not."""

    def __new__(cls, token: str | None = None) -> Credential:
        """With None: one that was lost, in place of which the environment's is taken."""

    def __copy__(self) -> Credential: ...
    def __deepcopy__(self, _memo: dict[int, Any], /) -> Credential: ...

@disjoint_base
class Model:
    """A loaded model. Shared freely between threads; every method releases the interpreter's lock while it computes."""

    @property
    def prompts(self) -> dict[str, str]:
        """Prompts of the model's files, by name."""

    @property
    def default_prompt_name(self) -> str | None:
        """Default prompt of the model's files."""

    def max_length(self, argument: str, wanted: int | None) -> int | None:
        """The most tokens of an input, special ones included: `wanted`, else what the files allow; None for no limit.

        Raises:
            ValueError: the model has fewer positions, or `wanted` leaves no room for text. It begins with `argument`.
        """

    @property
    def description_of(self) -> str | None:
        """The model whose files say how vectors are made, where a quantized model's own do not."""

    def made(self, name: str) -> bytes | None:
        """What a GGUF file says, or is known of a base model, in the form of the file `name` that the folder lacks."""

    @property
    def gguf(self) -> list[Path]:
        """The GGUF file with the weights, or its parts; [] where they are in others."""

    @property
    def notes(self) -> list[str]:
        """What was put in the place of something that the files say: each goes on from the model's name."""

    @property
    def is_quantized(self) -> bool:
        """Whether the model's files hold its weights as codes."""

    @property
    def has_tasks(self) -> bool:
        """Whether what an input goes through depends on what it is for."""

    @property
    def position_limit(self) -> int | None:
        """How many tokens of an input the network has positions for; None for no limit."""

    @property
    def num_threads(self) -> int:
        """Threads that compute."""

    @property
    def folder(self) -> Path:
        """Where the model's files are."""

    def file(self, name: str) -> Path | None:
        """Where the file of the model's folder is that has this name there; of an adapter's base model, elsewhere."""

    @property
    def origin(self) -> tuple[str, str | None]:
        """Where it was found: "folder", "cache", "hub" or "package", and the commit or the package's name."""

    @property
    def dtype(self) -> str:
        """How matrices are held and multiplied: "float32", "bfloat16", "float16", "int8" or "int4"."""

    @property
    def parameters(self) -> int:
        """Numbers that the network is made of; of several networks those of the main one."""

    @property
    def memory(self) -> tuple[int, int]:
        """Bytes of the weights, and of what the CPU's kernels keep between calls for all models of the process."""

    @property
    def device(self) -> str:
        """What computes: "cpu", "metal" or "cuda:N"."""

    @property
    def kernels(self) -> str:
        """The instruction set of the kernels, or "portable" for candle's operations."""

    def compute(self, request: BatchRequest) -> BatchResult:
        """The rows of `request.texts`, embeddings or scores before any activation, in `request.out` or a new array.

        Returns:
            Rows `[texts, width]`, the number of tokens, the rows of texts that were cut (from 0), and how often texts
            that were to be computed together were cut in two because the device had no memory for all of them. With
            `every_token` also hidden states `[all tokens, hidden]`, ids and type ids `[all tokens]`, and the number of
            tokens of each text, else None. With `chunks`, their rows `[chunks, width]` stand in place of hidden states.

        Raises:
            TypeError: an element is no str.
            ValueError: a text holds a lone surrogate, or `out` does not fit.
        """

    def submit(self, request: BatchRequest, future: Any, deliver: Callable[[list[Any]], Any]) -> CallHandle:
        """As `compute`, into a new array, while no thread waits.

        Args:
            request: what is computed.
            future: stands for the request in what `deliver` gets.
            deliver: called by another thread with a list of futures that ended, what was found or None, and what failed
                or None.
        """

    def chunk(
        self,
        texts: list[str],
        *,
        start: int,
        limits: tuple[int | None, int, int | None],
        prompt: str,
        task: str | None = None,
    ) -> list[tuple[str, int, int, int, int]]:
        """The fields of the `votive.Chunk`s of all texts.

        Args:
            texts: the texts.
            start: position of the first, which is added to each chunk's.
            limits: `max_tokens`, the most tokens of a chunk, without special ones, or None for what the model reads
                after the prompt; `overlap`, the most tokens of a chunk that the next one begins with again; and the
                most tokens that the model reads, special ones included, which matters where `max_tokens` is None.
            prompt: with which the chunks will be encoded; likewise.
            task: what the texts are for, of a model that `has_tasks`.

        Raises:
            TypeError: an element is no str.
            ValueError: a text holds a lone surrogate, `overlap` is not less than `max_tokens`, or a single character
                has more tokens than that.
        """

    def chunk_tokens(
        self,
        texts: list[str],
        chunks: list[list[tuple[int, int]]],
        *,
        prompt: str,
        max_length: int | None,
        task: str | None = None,
    ) -> list[list[tuple[int, int] | None]]:
        """The tokens of chunks, each from the first to behind the last, special ones and prompt counted.

        Args:
            texts: the texts.
            chunks: of each text, from a chunk's first character to behind its last.
            prompt: what stands before each text.
            max_length: the most tokens that the model reads, special ones included.
            task: what the texts are for, of a model that `has_tasks`.

        Returns:
            For each text and chunk its tokens; None for one that is not all among those that the model reads.

        Raises:
            ModelError: embeddings are not plain means of hidden states, or the model writes a chat around texts.
        """

    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer."""

    def tokenize(
        self, texts: list[str], seconds: list[str] | None = None, *, prompt: str, max_length: int | None
    ) -> list[TokenizedText]:
        """For each text, or for each pair of a text and a second one, `input_ids` and `tokens`."""

@final
class Tokenizer:
    """A model's tokenizer, as its files describe it, for programs that look at tokens."""

    @property
    def base_size(self) -> int:
        """Number of tokens, without those that were added to the vocabulary."""

    def encode(
        self, text: str, pair: str | None = None, *, special_tokens: bool, max_length: int | None
    ) -> tuple[list[int], list[int]]:
        """Ids and type ids of a text, or of two, with special tokens or without, cut to `max_length`."""

    def decode(self, ids: list[int], special_tokens: bool) -> str:
        """The text of some ids, with special tokens or without; ids that no token has are passed over."""

    def vocabulary(self) -> dict[str, int]:
        """The ids of all tokens."""

    def token(self, id: int) -> str | None:
        """A token; None where none has that id."""

    def id(self, token: str) -> int | None:
        """The id of a token; None where there is no such token."""

@final
class Embedder(Model):
    """A model that turns texts into vectors."""

    def __new__(cls, options: dict[str, Any]) -> Embedder:
        """Finds a model and loads it.

        Args:
            options: those that `votive._options` marks for the core; `refuse_when_full`; `stats`, which is told of
                calls; `packaged`, which gives the installed package that carries a hub name's model, and the model's
                folder; and `download`, which is told of downloads by `start(file, size, resumed_at)`, `advance(size)`
                and `finish()`, all in bytes.

        Raises:
            FileNotFoundError: the model, or a file that it must have, is missing.
            ModelError: a file is damaged or not supported, or the hub refused it.
            DeviceError: the device is not there.
            ValueError: an argument has a value that is not accepted.
        """

    @property
    def dimension(self) -> int:
        """Width of an embedding, before it is truncated."""

    @property
    def similarity_fn_name(self) -> str:
        """Similarity function of the model's files; "cosine" where they name none."""

    @property
    def truncate_dim(self) -> int | None:
        """Width that the model's files truncate embeddings to."""

    @property
    def converted_from(self) -> str | None:
        """Class that the folder was saved from, where it is not the one of embedding models."""

@final
class Reranker(Model):
    """A model that says of two texts how well they belong together."""

    def __new__(cls, options: dict[str, Any], *, num_labels: int | None) -> Reranker:
        """Finds a model and loads it, as `Embedder`.

        Args:
            options: see there.
            num_labels: how many scores a pair is to get; None for as many as the model gives.

        Raises:
            ValueError: see there; or the model gives another number of scores.
            ModelError: see there; or the model gives no scores.
        """

    @property
    def num_labels(self) -> int:
        """How many scores a pair gets."""

    @property
    def label_names(self) -> list[str]:
        """What the scores are called: by config.json, else "LABEL_0" and so on."""

    @property
    def activation_fn(self) -> str | None:
        """The dotted path in PyTorch of the model's activation; None where its files name none."""

@final
class Server:
    """A running HTTP server. In a child of a fork it is not: there `stop` does nothing."""

    def __new__(cls, models: list[dict[str, Any]], options: dict[str, Any]) -> Server:
        """Listens, and begins to load: requests for what is not loaded yet get 503.

        Args:
            models: for each a dict: `name`, `aliases`, `load` (gives a dict: `core`, `prompts`, `default_prompt_name`,
                `max_length`, `dimension` of an embedder, `labels` and `activation` of a reranker, `normalize`,
                `stats`), `preload` and `keep_alive` in seconds or None.
            options: `host`, `port`, `uds`, `tls_cert`, `tls_key`, `keys`, `allowed_hosts`, `cors_origins`,
                `max_body_bytes`, `body_bytes_in_flight`, `max_inputs`, `max_connections`, `timeout` in seconds,
                `max_model_bytes`, `access_log` (a path or "-"), `objectives` (warning and critical of each rule of
                `votive._objectives.OBJECTIVES`) and `on_alert` (a program and its arguments).

        Raises:
            ValueError: two models have one name, or the address or the certificate cannot be used.
            OSError: a file or a socket cannot be opened.
        """

    @property
    def address(self) -> tuple[str, int | None]:
        """Host and port, or the path of a unix socket and None."""

    @property
    def not_ready(self) -> str | None:
        """Why it is not ready: None where all models are loaded that are loaded at the start."""

    @property
    def requests_in_flight(self) -> int:
        """Requests that are not answered yet."""

    def reload(self) -> None:
        """Begins to load all models again that are loaded."""

    def stop(self, patience: float) -> None:
        """Takes no more requests; returns when those that came are answered, or after so many seconds."""

@final
class Profile:
    """Where the time of the calls goes that it is given to, and of no others."""

    def __new__(cls) -> Profile: ...
    @property
    def texts(self) -> int:
        """Texts of all calls."""

    @property
    def tokens(self) -> int:
        """Tokens of all calls, after cutting."""

    @property
    def seconds(self) -> float:
        """From the start of each call to its end."""

    @property
    def idle_seconds(self) -> float:
        """What the calls' threads spent in no stage."""

    def stages(self, peaks: Peaks | None) -> list[tuple[str, float, int, int, float | None]]:
        """What each stage took.

        Returns:
            Its name; seconds, summed over threads; additions and multiplications; bytes read and written; and the share
            of its seconds that the work would take at the nearer of the peaks, None where none limits it
            or is given.
        """

@final
class Peaks:
    """What some threads can do together at most with the instruction set in use."""

    def __new__(cls, threads: int, *, trial: float) -> Peaks:
        """Measures, five times for `trial` seconds for each figure; the best counts.

        Raises:
            ValueError: `VOTIVE_ISA` is no instruction set of this CPU.
        """

    @property
    def threads(self) -> int:
        """How many worked."""

    @property
    def float32(self) -> float | None:
        """Additions and multiplications in a second."""

    @property
    def bfloat16(self) -> float | None:
        """Those of products of bfloat16; None where the instruction set has none."""

    @property
    def int8(self) -> float | None:
        """Those of products of bytes."""

    @property
    def memory(self) -> float:
        """Bytes read in a second."""

    @property
    def memory_bytes(self) -> int:
        """How many were read, again and again: more than the caches hold, where memory allows."""

def cpu() -> tuple[str, str, int, list[tuple[int, int]]]:
    """What computes.

    Returns:
        The CPU's name, or ""; the instruction set in use; how many CPUs this process may use; level and bytes of each
        cache, the nearest first.

    Raises:
        ValueError: `VOTIVE_ISA` is no instruction set of this CPU.
    """

def find_device(name: str) -> tuple[str, str | None, int | None, list[str]]:
    """A device that is there. It is not initialised.

    Args:
        name: "auto", "cpu", "metal" ("mps", "mlx"), "cuda", "vulkan", "dx12", "wgpu", and the last four with ":N".

    Returns:
        Its name, "cpu", "metal", "cuda:N", "vulkan:N" and so on; what its maker calls it; bytes of its own memory; and
        the types in which weights are held there. None for what is not known before it is used.

    Raises:
        DeviceError: it is not there; the message says why, and what is.
        ValueError: `name`, or the value of `VOTIVE_DEVICE`, names no device.
    """

def next_device(name: str) -> str | None:
    """The device to go on with when the one of that name fails; None after the last.

    Raises:
        ValueError: see `find_device`.
    """

def inspect(model: dict[str, Any]) -> str:
    """What a model's files say of it, as a JSON object: see `votive.inspection`, which reads it.

    `model` holds what `Embedder` is given to find it: `model_name_or_path`, `revision`, `base`, `gguf_file`,
    `cache_folder`, `local_files_only`, `token`, `packaged` and `download`.

    Raises:
        FileNotFoundError: there is no such model.
        ModelError: its files are damaged, contradict each other, or are not supported.
    """

def model_families() -> list[tuple[str, list[str], list[str], list[str], str]]:
    """The families that load: name, model types, embedders and rerankers by name, and what they need or lack."""

def devices() -> tuple[list[tuple[str, str | None, int | None, list[str]]], list[tuple[str, str]]]:
    """The devices that are there, as `find_device` gives them, in the order of "auto", and why others are not."""

def gpus() -> list[dict[str, Any]]:
    """The GPUs that drivers offer votive's own kernels, also those that it does not take.

    Returns:
        Of each: `device`, its name; `name`, its maker's; `driver`; `kind`, "discrete", "integrated", "virtual",
        "software" or "other"; `memory_bytes`, None where the interface does not say; `float16`, whether it computes in
        that; `subgroup_lanes`, the fewest and the most; `matrix_units`, their shapes and types; `unusable`, None or why
        votive does not take it; and `not_automatic`, why "auto" does not, None where it was not tried.
    """

def product_rate(device: str) -> float | None:
    """Multiplications and additions of a second in products of matrices, measured for about a second.

    None of devices that votive's own kernels for GPUs do not compute on.

    Raises:
        DeviceError: it is not there, or failed.
    """

def features() -> list[str]:
    """What the core is built with beyond the CPU's kernels: "metal", "cuda", "accelerate"."""

def quantize(
    embeddings: NDArray[np.float32],
    precision: str,
    ranges: NDArray[np.float32] | None,
    calibration_embeddings: NDArray[np.float32] | None,
) -> tuple[NDArray[np.uint8], str | None]:
    """Embeddings `[texts, dimension]` as bytes `[texts, columns]`, and what a user should be warned of.

    See `votive.quantize_embeddings`. int8 values come as the bytes of the same bits.
    """

@final
class Store:
    """Vectors with their ids, as a value: what changes a store gives another one.

    Both share the memory of the rows that they have in common. Every row that was ever added has a number, from 0 on.
    Deleted rows keep theirs until `compact`; an id that is added again deletes its row and gets a new one, at the end.
    Shared freely between threads; methods release the interpreter's lock while they work.
    """

    def __new__(cls, dimension: int, metric: str, dtype: str, device: str, num_threads: int | None) -> Store:
        """An empty store.

        Args:
            dimension: numbers in a vector, up to 65536.
            metric: "cosine", "dot", "l2" or "hamming".
            dtype: how vectors are kept: "float32", "float16", "int8", which is codes of a byte per number alone, or
                "ubinary", which is a bit per number. "hamming" and "ubinary" go together, and `dimension` is then a
                multiple of 8.
            device: where searches begin, by its name as for an `Embedder`; bits are compared on the CPU always.
            num_threads: threads that compute; None for as many as an `Embedder` takes.

        Raises:
            DeviceError: the device is not there.
            ValueError: an argument has a value that is not accepted.
        """

    @property
    def dimension(self) -> int:
        """Numbers in a vector."""

    @property
    def metric(self) -> Literal["cosine", "dot", "l2", "hamming"]:
        """One of "cosine", "dot", "l2" and "hamming"."""

    @property
    def dtype(self) -> Literal["float32", "float16", "int8", "ubinary"]:
        """One of "float32", "float16", "int8" and "ubinary"."""

    @property
    def device(self) -> str:
        """Where searches begin: "cpu", "metal" or "cuda:N"."""

    def on(self, device: str) -> Store:
        """The same rows in the same memory, for searches on another device. The first of these copies vectors there.

        Copies that this store has on its device stay with it and go with it.

        Raises:
            DeviceError: the device is not there.
        """

    @property
    def num_threads(self) -> int:
        """Threads that compute."""

    @property
    def id_kind(self) -> Literal["int64", "str"] | None:
        """What ids are, "int64" or "str"; None while there was never a row."""

    @property
    def largest_id(self) -> int | None:
        """The largest number that was ever an id; None while there was none."""

    def numbered_after(self, id: int) -> Store:
        """A store with the same rows, which numbers new ones as if `id` had been an id that was deleted."""

    @property
    def rows(self) -> int:
        """Rows that have a number, deleted ones included."""

    def __len__(self) -> int:
        """Rows that are not deleted."""

    def size_of(self, rows: int) -> int:
        """Bytes that adding so many rows would allocate: for vectors, both codes and bounds, and 8 for each id.

        Where few rows make a new segment, it has room for more. Nothing is allocated now.
        """

    @property
    def memory(self) -> dict[str, int]:
        """Bytes that the store takes.

        `vectors`; `codes`, with bounds and coarse codes; `ids`, with what finds them and what says which rows are
        deleted; `reserved`, which is allocated for rows to come; `mapped`, of attached arrays, and `device`, of copies
        on a device that is not the CPU, which are in none of the others.
        """

    def add(
        self,
        vectors: NDArray[np.float32] | NDArray[np.uint8],
        ids: NDArray[np.int64] | list[str] | None,
        expected: int,
        first: int,
    ) -> tuple[Store, NDArray[np.int64] | list[str]]:
        """A store with more rows, and their ids.

        Args:
            vectors: `[n, dimension]`, C-contiguous; of "ubinary" uint8 `[n, dimension / 8]`. They are copied.
            ids: one for each row, numbers from 0 or strings, one kind in a store; None for numbers after the largest
                that was ever an id, from 0 on. Of rows with the same id the last counts, the others are deleted.
            expected: rows to come, these included: a new segment has room for all of them.
            first: what messages call the first row.

        Raises:
            ValueError: a row has NaN or infinity, is longer than 1e18, or does not fit into float16; an id is negative
                or of the other kind.
            MemoryError: there is no memory.
        """

    def find(self, ids: NDArray[np.int64] | list[str]) -> NDArray[np.int64]:
        """The row of each id, -1 where there is none."""

    def without(self, rows: NDArray[np.int64]) -> Store:
        """A store in which these rows are deleted. Those that are deleted already are passed over."""

    def live(self) -> NDArray[np.int64]:
        """Rows that are not deleted, ascending."""

    def deleted(self) -> NDArray[np.int64]:
        """Rows that are deleted, ascending."""

    def ids(self, rows: NDArray[np.int64] | None = None) -> NDArray[np.int64] | list[str]:
        """The ids of rows, deleted ones too; None for all that are not deleted."""

    def id_slice(self, start: int, stop: int) -> NDArray[np.int64] | tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """The ids of the rows from `start` to before `stop`, deleted ones too.

        For strings the places where they begin and where the last ends, `[n + 1]`, and their bytes in UTF-8.
        """

    def vectors(self) -> list[NDArray[Any]]:
        """The vectors of rows that are not deleted, in runs as long as can be.

        Read-only views `[n, dimension]` of float32, float16 or int8 (codes), or `[n, dimension / 8]` of uint8 (bits),
        which stay as they are whatever becomes of the store.
        """

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Copies of vectors of rows that are not deleted, float32 `[n, dimension]`; bits in uint8 `[n, dimension / 8]`.

        Of int8 they are about what was added.
        """

    def search(
        self,
        queries: NDArray[np.float32],
        k: int,
        mask: NDArray[np.uint8] | None,
        exact: bool,
    ) -> tuple[NDArray[np.float32], NDArray[np.int64], dict[str, int]]:
        """The best rows for each query, best first; of rows with equal scores the lower one.

        Args:
            queries: C-contiguous `[n, dimension]`.
            k: rows wanted, from 1.
            mask: `[rows]`: 0 where a row does not count; None where all live ones do.
            exact: rank by scores, each summed in float64 from the stored vector: number i into partial sum i mod 16,
                then the partial sums in order, on every CPU. Otherwise rows are chosen by their codes alone, or by
                float32 scores on a device that is not the CPU.

        Returns:
            Scores and row numbers, both `[n, c]`, where c is k or the rows that count where they are fewer; and what
            was done: "rows" that counted, scores "rescored" of all queries, "bytes" read, and the queries that
            "closed_early" with rows in question left, since the k-th score was above their bounds. A larger score is
            better; under "l2" it is the Euclidean distance, negative.

        Raises:
            ValueError: a query has NaN or infinity, or is longer than 1e18 under "l2"; k is 0; the mask has another
                length.
            DeviceError: the device failed, has no memory for the vectors, or is another process's, this one being a
                child of its `fork()`.
        """

    def search_bits(
        self, queries: NDArray[np.uint8], k: int, mask: NDArray[np.uint8] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64], dict[str, int]]:
        """As `search`, among rows of bits, for queries `[n, dimension / 8]`.

        Scores are minus the number of bits that differ. Nothing is rescored.
        """

    def rescore(
        self, queries: NDArray[np.float32], rows: NDArray[np.int64], k: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64], dict[str, int]]:
        """The best of some rows of bits for each query, as `search` gives them.

        Args:
            queries: C-contiguous `[n, dimension]`.
            rows: `[n, candidates]`, none of them deleted.
            k: rows wanted, from 1.

        Returns:
            Scores and rows `[n, c]`, where c is the lesser of k and the candidates, and what was done. A score is the
            product of the query with the row's bits as 1 and -1, summed in float64.

        Raises:
            ValueError: rows are no bits, a query has NaN or infinity, k is 0, or a row is not there.
        """

    def search_range(
        self,
        queries: NDArray[np.float32],
        min_score: float,
        k: int | None,
        mask: NDArray[np.uint8] | None,
        exact: bool,
    ) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64], dict[str, int]]:
        """As `search`, of the rows whose scores are at least `min_score`; memory is taken for what is found alone.

        Args:
            queries: as for `search`.
            min_score: compared with scores in float64, before they are rounded to the float32 that is given.
            k: rows wanted at most, from 1; None for all.
            mask: as for `search`.
            exact: as for `search`. Otherwise rows that are near the least score by their codes may be missing.

        Returns:
            Scores and row numbers, those of one query after those of another; how many each query has, `[n]`; and what
            was done.

        Raises:
            ValueError, DeviceError: see `search`; or `min_score` is NaN.
        """

    def lacks_coarse_codes(self, queries: int) -> bool:
        """Whether a search for so many queries reads coarse codes, and rows in memory have none.

        Fewer than 4 queries do, among rows of "float32" and "float16" whose codes are 32 MB or more.
        """

    def extend_coarse_codes(self, max_bytes: int) -> None:
        """Makes coarse codes for a part of the rows in memory that have none; after some calls all have theirs.

        All stores with the same rows share what is made.

        Args:
            max_bytes: most bytes to be made.
        """

    def drop_coarse_codes(self) -> None:
        """Gives the memory of what `extend_coarse_codes` made back."""

    def coarse_codes(self, vectors: NDArray[Any]) -> NDArray[np.uint8]:
        """The coarse codes `[n, 16 + stride / 2]` of vectors, as they are saved with rows.

        Args:
            vectors: `[n, dimension]` in the store's type, C-contiguous and read-only.

        Raises:
            CorruptStoreError: a row has NaN or infinity.
        """

    def compact(self) -> Store:
        """The rows that are not deleted, in one segment. They get new numbers, and keep their order and ids."""

    def segments(
        self,
    ) -> list[
        tuple[int, NDArray[Any] | None, NDArray[np.int8] | None, NDArray[np.float32] | None, NDArray[np.uint8] | None]
    ]:
        """For each segment its first row and read-only views of its vectors, codes, bounds and coarse codes.

        Deleted rows are among them.

        Vectors are `[n, dimension]`, or None for "int8"; codes `[n, stride]`, where stride is the dimension rounded up
        to a multiple of 64; bounds `[n, 6]`; coarse codes `[n, 16 + stride / 2]` where rows were attached with them,
        else None. Of "ubinary" vectors are uint8 `[n, dimension / 8]`, and there is nothing else. A segment
        whose rows are all deleted has no memory and is left out.
        """

    def attach(
        self,
        vectors: NDArray[Any] | None,
        codes: NDArray[np.int8] | None,
        bounds: NDArray[np.float32] | None,
        coarse: NDArray[np.uint8] | None,
        ids: NDArray[np.int64] | tuple[NDArray[np.int64], NDArray[np.uint8]],
        deleted: NDArray[np.int64] | None = None,
    ) -> Store:
        """A store with more rows, as `segments` and `id_slice` gave them.

        The arrays must be read-only: all but ids are held, not copied, and no program may write to what they show.

        Args:
            vectors: `[n, dimension]` in the store's type; None for "int8"; uint8 `[n, dimension / 8]` for "ubinary".
            codes: `[n, stride]`. None, with bounds: made anew, but of "ubinary", which has none.
            bounds: `[n, 6]`.
            coarse: `[n, 16 + stride / 2]`, beside codes of "float32" and "float16". None: codes are read first.
            ids: `[n]`, or `[n + 1]` and bytes.
            deleted: rows that are deleted, ascending, by their numbers in the store. Those that are not among these `n`
                are passed over. With neither vectors nor codes all `n` rows are deleted ones.

        Raises:
            StoreError: an array has not the size or type that it must have. Its `argument` is the array's name here.
            CorruptStoreError: two rows that are not deleted have the same id, bounds are not what bounds can be, or
                vectors that codes are to be made of have NaN or infinity.
        """

    def attach_deferred(
        self,
        vectors: NDArray[Any] | None,
        codes: NDArray[np.int8] | None,
        bounds: NDArray[np.float32] | None,
        coarse: NDArray[np.uint8] | None,
        ids: NDArray[np.int64] | tuple[NDArray[np.int64], NDArray[np.uint8]],
        deleted: NDArray[np.int64] | None = None,
    ) -> Store:
        """As `attach`, but the index of the ids is made when it is first needed.

        That two rows have the same id is for `refuse_duplicate_ids` to find out.
        """

    def refuse_duplicate_ids(self) -> None:
        """Accepts rows of which no two that are not deleted have the same id.

        Raises:
            CorruptStoreError: two have.
        """

def crc32c(data: NDArray[np.uint8] | bytes, crc: int = 0) -> int:
    """The CRC-32C (Castagnoli) of bytes that come after those with the checksum `crc`."""

def compare_bytes(
    comparison: Literal["equal", "less", "less_or_equal"],
    offsets: NDArray[np.int64],
    data: NDArray[np.uint8],
    bytes: bytes,
) -> NDArray[np.uint8]:
    """1 for each value of a column that is so to `bytes`, in the order of bytes; 0 for others.

    Args:
        comparison: "equal", "less" or "less_or_equal".
        offsets: contiguous `[rows + 1]`, as of the functions below: value `row` is
            `data[offsets[row]:offsets[row + 1]]`.
        data: contiguous.
        bytes: what each value is compared with.

    Raises:
        ValueError: offsets do not ascend, or are outside of `data`. So do the functions below.
    """

def contain_bytes(offsets: NDArray[np.int64], data: NDArray[np.uint8], bytes: bytes) -> NDArray[np.uint8]:
    """1 for each value of a column that has `bytes` within it; 0 for others."""

def are_bytes_in(
    offsets: NDArray[np.int64],
    data: NDArray[np.uint8],
    value_offsets: NDArray[np.int64],
    values: NDArray[np.uint8],
) -> NDArray[np.uint8]:
    """1 for each value of a column that is one of other values; 0 for others."""

def take_bytes(
    offsets: NDArray[np.int64], data: NDArray[np.uint8], rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Copies of some values of a column, in the order asked for: offsets from 0 on, and bytes.

    Raises:
        ValueError: a row is not there, too.
    """

def map_file(descriptor: int, length: int) -> NDArray[np.uint8]:
    """The first bytes of an open file as a read-only array, which reads them in place.

    The map needs no descriptor, and lasts as long as the array and its views. What other programs write to the file
    shows in it. Where one cuts the file, the operating system ends the process that reads beyond its end.

    Args:
        descriptor: of a regular file that can be read; it may be closed afterwards.
        length: bytes, from 1 to those of the file.

    Raises:
        OSError: the descriptor is not open, or the file cannot be mapped.
        ValueError: the file is empty, or `length` is out of range.
    """

def split_bytes(offsets: NDArray[np.int64], data: NDArray[np.uint8]) -> list[bytes]:
    """The values of a column."""

def split_texts(offsets: NDArray[np.int64], data: NDArray[np.uint8]) -> list[str]:
    """The values of a column as str.

    Raises:
        UnicodeDecodeError: one is no UTF-8.
    """

def bin_bytes(
    offsets: NDArray[np.int64],
    data: NDArray[np.uint8],
    bound_offsets: NDArray[np.int64],
    bounds: NDArray[np.uint8],
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.int64]]:
    """In which bin each value of a column is: how many bounds, 1 to 253 that ascend, are not above it.

    Returns:
        Numbers of bins; for each bin 1 where all its values are equal to the last of these bounds; and the first 1024
        rows whose values are not.

    Raises:
        ValueError: bounds are too many, none, or do not ascend, too.
    """

def bin_numbers(
    values: NDArray[Any], bounds: NDArray[Any]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.int64]]:
    """As `bin_bytes` for a contiguous array of floats, or of integers of 32 or 64 bits; NaN is in bin 254.

    Raises:
        TypeError: values are of another type, or bounds are not of the same.
        ValueError: an array is not contiguous; bounds are too many, none, or do not ascend.
    """

def select_codes(codes: NDArray[np.uint8], selected: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """1 for each code that is 1 in `selected`, which says 1 or 0 of 256 codes; 0 for others."""
