"""llama.cpp by llama-cpp-python's bindings."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np

from votive.bench.backends import gguf_files
from votive.bench.backends.engines import Batch, Choice, EngineSetup, Runtime
from votive.bench.backends.unavailable import Unavailable

# Attention of a llama.cpp batch is computed across all of its texts and masked: larger ones are slower yet.
LEAST_ROOM = 512  # tokens of a text in a context
LLAMA_CHOICES = (*(Choice(size) for size in (1, 4, 8)), *(Choice(size, batch_per_core=True) for size in (1, 2, 4)))


class LlamaCpp(Runtime):
    """llama.cpp by llama-cpp-python's bindings: its own tokenizer, and the texts of a batch in one pass."""

    modules = ("llama_cpp",)

    def __init__(
        self, setup: EngineSetup, kind: str | None = None, file: Path | None = None, normalizes: bool = True
    ) -> None:
        super().__init__(setup, LLAMA_CHOICES)
        self.kind, self.file, self.normalizes = kind, file, normalizes

    def load(self) -> None:
        self.load_runtime()

    def load_runtime(self) -> None:
        import llama_cpp

        gguf_files.quiet()
        file = self.file or gguf_files.file(self.setup.model, self.setup.cache, self.kind or "Q8_0")
        self.library = llama_cpp
        self.model = llama_cpp.llama_model_load_from_file(bytes(file), llama_cpp.llama_model_default_params())
        if not self.model:
            raise Unavailable(f"llama.cpp does not load {file}: {gguf_files.last_error()}")
        # A longer text than the model has positions for would end the process.
        trained = llama_cpp.llama_model_n_ctx_train(self.model)
        self.longest = min(trained, self.setup.longest or (trained if self.file else self.setup.max_tokens))
        self.vocabulary = llama_cpp.llama_model_get_vocab(self.model)
        self.pool = ThreadPoolExecutor(self.setup.threads)
        self.contexts: dict[tuple[int, int, int], SimpleQueue[LlamaContext]] = {}
        self.contexts_for(self.setup.threads, 1, 1)

    def compute(self, items: list[str]) -> np.ndarray:
        vectors = super().compute(items)
        return unit(vectors) if self.normalizes else vectors

    def batches(self, items: list[str]) -> Iterator[Batch]:
        ids = list(self.pool.map(self.tokens, items)) if len(items) > 1 else [self.tokens(items[0])]
        lengths = np.array([len(each) for each in ids])
        order = np.argsort(-lengths, kind="stable")
        for start in range(0, len(order), self.choice.batch_size):
            rows = order[start : start + self.choice.batch_size]
            yield Batch(rows, {"ids": np.concatenate([ids[row] for row in rows]), "lengths": lengths[rows]})

    def tokens(self, text: str) -> np.ndarray:
        """Ids, special ones included, of which the last is kept where the text is cut."""
        stored = text.encode()
        ids = np.empty(len(stored) + 2, np.int32)  # a token has a byte at least
        pointer = ids.ctypes.data_as(ctypes.POINTER(self.library.llama_token))
        found = self.library.llama_tokenize(self.vocabulary, stored, len(stored), pointer, len(ids), True, False)
        ids = ids[:found]
        return ids if found <= self.longest else np.append(ids[: self.longest - 1], ids[-1])

    def run(self, batch: Batch) -> np.ndarray:
        return self.in_context(batch, self.contexts_for(self.setup.threads, 1, batch.inputs["lengths"].max()))

    def run_per_core(self, batches: list[Batch]) -> Iterable[np.ndarray]:
        longest = max(batch.inputs["lengths"].max() for batch in batches)
        contexts = self.contexts_for(1, self.setup.threads, longest)
        return self.pool.map(lambda batch: self.in_context(batch, contexts), batches)

    def contexts_for(self, threads: int, count: int, longest: int) -> SimpleQueue[LlamaContext]:
        """So many contexts with so many threads each, with room for the chosen batches. They share the weights.

        `longest` is the most tokens of a text; a model may read more than there is memory for.
        """
        room = min(self.longest, max(LEAST_ROOM, 1 << (int(longest) - 1).bit_length()))
        key = threads, self.choice.batch_size, room
        if key not in self.contexts:
            self.contexts[key] = SimpleQueue()
            for _ in range(count):
                context = LlamaContext(self.library, self.model, self.choice.batch_size, room, threads)
                self.contexts[key].put(context)
        return self.contexts[key]

    @staticmethod
    def in_context(batch: Batch, contexts: SimpleQueue[LlamaContext]) -> np.ndarray:
        context = contexts.get()
        try:
            return context.vectors(batch.inputs["ids"], batch.inputs["lengths"])
        finally:
            contexts.put(context)


class LlamaContext:
    """Room for the texts of one batch."""

    def __init__(self, library: Any, model: Any, texts: int, longest: int, threads: int) -> None:
        self.library = library
        self.dimension = library.llama_model_n_embd(model)
        options = library.llama_context_default_params()
        # All tokens of a batch in one pass, which pooling needs, and one cache for all texts, so that they share it.
        options.n_ctx = options.n_batch = options.n_ubatch = texts * longest
        options.n_seq_max = texts
        options.kv_unified = True
        options.embeddings = True
        options.n_threads = options.n_threads_batch = threads
        self.context = library.llama_init_from_model(model, options)
        if not self.context:
            raise RuntimeError(f"llama.cpp made no context: {gguf_files.last_error()}")
        self.memory = library.llama_get_memory(self.context)  # encoders have none
        self.batch = library.llama_batch_init(texts * longest, 0, 1)

    def vectors(self, ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Of texts whose ids follow each other: `[texts, dimension]`, not normalized."""
        count, batch = len(ids), self.batch
        batch.n_tokens = count
        np.ctypeslib.as_array(batch.token, (count,))[:] = ids
        np.ctypeslib.as_array(batch.pos, (count,))[:] = np.concatenate([np.arange(length) for length in lengths])
        np.ctypeslib.as_array(batch.n_seq_id, (count,))[:] = 1
        np.ctypeslib.as_array(batch.logits, (count,))[:] = 1
        for token, text in enumerate(np.repeat(np.arange(len(lengths)), lengths).tolist()):
            batch.seq_id[token][0] = text
        compute = self.library.llama_encode
        if self.memory:
            self.library.llama_memory_clear(self.memory, False)
            compute = self.library.llama_decode
        if compute(self.context, batch):
            raise RuntimeError("llama.cpp failed")
        vectors = [self.library.llama_get_embeddings_seq(self.context, text) for text in range(len(lengths))]
        return np.stack([np.ctypeslib.as_array(vector, (self.dimension,)) for vector in vectors])


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
