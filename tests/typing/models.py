"""Programs that use all of the models' surface: type checkers find no error, and the types that are asserted."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import assert_type
from votive import (
    Backend,
    Chunk,
    Embedder,
    Reranker,
    SimilarityFunction,
    available_backends,
    chunk,
    get_backend,
    quantize_embeddings,
    shared,
)
from votive.profile import Profile
from votive.report import Report
from votive.stats import Stats
from votive.typing import (
    DtypeName,
    EncodedText,
    Matrix,
    OutputValue,
    Precision,
    RankedDocument,
    RankedText,
    SimilarityName,
    TokenizedText,
    Vector,
    WhenFull,
)


def load(name: str, dtype: DtypeName, similarity: SimilarityName, when_full: WhenFull) -> Embedder:
    Embedder(name)
    Embedder(Path(name), device=None)
    Embedder(model_name_or_path=name, device=get_backend("cpu"), trust_remote_code=True, backend="torch")
    Embedder(name, model_kwargs={"torch_dtype": "bfloat16"}, processor_kwargs={}, tokenizer_kwargs={}, config_kwargs={})
    with Embedder(name, similarity_fn_name=SimilarityFunction.DOT_PRODUCT) as model:
        assert_type(model, Embedder)
    assert_type(shared(Embedder, Path(name), num_threads=2), Embedder)
    assert_type(shared(Reranker, name), Reranker)
    return Embedder(
        name,
        device="cuda:0",
        dtype=dtype,
        revision="main",
        cache_folder=Path("models"),
        local_files_only=True,
        token=True,
        max_seq_length=256,
        truncate_dim=128,
        prompts={"query": "query: "},
        default_prompt_name="query",
        similarity_fn_name=similarity,
        num_threads=4,
        fallback=True,
        max_batch_tokens=4096,
        max_batch_size=64,
        max_wait_ms=2,
        max_queue=1000,
        when_full=when_full,
        max_concurrency=2,
    )


def encode(model: Embedder, text: str, texts: list[str], either: str | list[str], stream: Iterator[str]) -> None:
    assert_type(model.encode(text), Vector[np.float32])
    assert_type(model.encode(texts), Matrix[np.float32])
    assert_type(model.encode(stream), Matrix[np.float32])
    assert_type(model.encode(np.array(texts)), Matrix[np.float32])
    assert_type(model.encode(inputs=text), Vector[np.float32])
    assert_type(model.encode(inputs=texts), Matrix[np.float32])
    assert_type(model.encode(sentences=text), Vector[np.float32])
    assert_type(model.encode(texts=text), Vector[np.float32])
    assert_type(model.encode_query(texts=texts, batch_size=8), Matrix[np.float32])
    assert_type(model.encode(sentences=texts, batch_size=8, prompt_name="query"), Matrix[np.float32])
    assert_type(model.encode(texts, "query"), Matrix[np.float32])
    assert_type(model.encode(text, prompt="query: ", normalize_embeddings=True), Vector[np.float32])
    out = np.empty((2, 384), np.float32)
    rows = model.encode(
        texts,
        prompt_name="query",
        prompt=None,
        batch_size=8,
        show_progress_bar=False,
        output_value="sentence_embedding",
        precision="float32",
        convert_to_numpy=True,
        convert_to_tensor=False,
        device=None,
        normalize_embeddings=True,
        truncate_dim=128,
        pool=None,
        chunk_size=None,
        out=out,
        priority=2,
        task=None,
        processing_kwargs=None,
    )
    assert_type(rows, Matrix[np.float32])
    array: NDArray[np.float32] = model.encode(either)
    array += 1


def encode_otherwise(model: Embedder, text: str, texts: list[str], precision: Precision, value: OutputValue) -> None:
    assert_type(model.encode(texts, precision="int8", ranges=np.zeros((2, 384))), NDArray[np.int8])
    assert_type(model.encode(text, precision="binary", prompt_name="query"), NDArray[np.int8])
    assert_type(model.encode(texts, precision="uint8", calibration_embeddings=[[1.0]]), NDArray[np.uint8])
    assert_type(model.encode(texts, precision="ubinary"), NDArray[np.uint8])
    assert_type(model.encode(text, output_value="token_embeddings"), Matrix[np.float32])
    assert_type(model.encode(texts, output_value="token_embeddings"), list[Matrix[np.float32]])
    everything = model.encode(text, output_value=None)
    assert_type(everything, EncodedText)
    assert_type(everything["input_ids"], NDArray[np.int64])
    assert_type(everything["sentence_embedding"], Vector[np.float32])
    assert_type(model.encode(texts, output_value=None), list[EncodedText])
    np.asarray(model.encode(texts, precision=precision, output_value=value))
    assert_type(model.encode(texts, "query", None, 32, False, "sentence_embedding", "int8"), Any)


def encode_for_search(model: Embedder, text: str, texts: list[str], precision: Precision) -> None:
    assert_type(model.encode_query(text), Vector[np.float32])
    assert_type(model.encode_query(texts, normalize_embeddings=True), Matrix[np.float32])
    assert_type(model.encode_query(sentences=text), Vector[np.float32])
    assert_type(model.encode_query(texts, precision="int8"), NDArray[np.int8])
    np.asarray(model.encode_query(texts, precision=precision))
    assert_type(model.encode_document(text, show_progress_bar=True), Vector[np.float32])
    assert_type(model.encode_document(inputs=texts), Matrix[np.float32])
    assert_type(model.encode_document(sentences=texts), Matrix[np.float32])
    assert_type(model.encode_document(texts, precision="ubinary"), NDArray[np.uint8])


async def await_vectors(model: Embedder, text: str, texts: list[str], precision: Precision) -> None:
    assert_type(await model.aencode(text), Vector[np.float32])
    assert_type(await model.aencode(texts, "query", batch_size=8), Matrix[np.float32])
    assert_type(await model.aencode(sentences=texts), Matrix[np.float32])
    assert_type(await model.aencode(texts, precision="binary"), NDArray[np.int8])
    assert_type(await model.aencode(text, output_value="token_embeddings"), Matrix[np.float32])
    assert_type(await model.aencode(texts, output_value=None), list[EncodedText])
    np.asarray(await model.aencode(texts, precision=precision))
    one, two = await asyncio.gather(model.aencode(text), model.aencode(texts))
    assert_type(one, Vector[np.float32])
    assert_type(two, Matrix[np.float32])


def inspect(model: Embedder) -> None:
    assert_type(model.tokenize("a")["tokens"], list[str])
    assert_type(model.tokenize(["a"]), list[TokenizedText])
    assert_type(model.similarity([[1.0]], np.ones((1, 1))), NDArray[np.float32])
    assert_type(model.similarity_pairwise([[1.0]], np.ones((1, 1))), NDArray[np.float32])
    assert_type(model.get_embedding_dimension(), int)
    assert_type(model.get_sentence_embedding_dimension(), int)
    assert_type(model.get_max_seq_length(), int | None)
    assert_type(model.profile(["a"], batch_size=2, precision="int8"), Profile)
    assert_type(model.similarity_fn_name, SimilarityName)
    model.similarity_fn_name = "dot"
    model.similarity_fn_name = SimilarityFunction.EUCLIDEAN
    model.similarity_fn_name = None
    assert_type(model.truncate_dim, int | None)
    model.truncate_dim = 7
    model.truncate_dim = None
    assert_type(model.default_prompt_name, str | None)
    model.default_prompt_name = "query"
    model.max_seq_length = 100
    assert_type(model.prompts, dict[str, str])
    assert_type(model.device, str)
    assert_type(model.dtype, str)
    assert_type(model.num_threads, int)
    assert_type(model.last_report, Report | None)
    assert_type(model.stats(), Stats)
    model.reset_stats()
    model.close()
    assert_type(available_backends(), list[Backend])
    assert_type(SimilarityFunction.possible_values(), list[str])
    SimilarityFunction.to_similarity_fn("dot")([1.0], [1.0])


def cut(model: Embedder, ranker: Reranker, texts: list[str]) -> None:
    assert_type(chunk("a text", model), list[Chunk])
    chunks = chunk(iter(texts), ranker, max_tokens=256, overlap=32)
    assert_type(chunks[0].text, str)
    assert_type(chunks[0].document + chunks[0].start + chunks[0].end + chunks[0].tokens, int)
    assert_type(model.encode_chunks(texts, chunks), Matrix[np.float32])
    rows = model.encode_chunks("a", iter(chunks), True, prompt_name="query", prompt=None, truncate_dim=7, priority=2)
    assert_type(rows, Matrix[np.float32])
    assert_type(model.encode_chunks(texts, chunks, batch_size=8, show_progress_bar=False), Matrix[np.float32])


def quantize(embeddings: NDArray[np.float32], precision: Precision) -> None:
    assert_type(quantize_embeddings(embeddings, "float32"), NDArray[np.float32])
    assert_type(quantize_embeddings(embeddings, "int8", ranges=[[0.0], [1.0]]), NDArray[np.int8])
    assert_type(quantize_embeddings(embeddings, precision="ubinary"), NDArray[np.uint8])
    assert_type(quantize_embeddings(embeddings, precision), NDArray[Any])


def halved(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    return logits / np.float32(2)


def load_reranker(name: str, when_full: WhenFull) -> Reranker:
    Reranker(name, default_activation_function="sigmoid", trust_remote_code=False, backend="torch")
    Reranker(Path(name), model_kwargs={"dtype": "float16"}, processor_kwargs=None)
    return Reranker(
        name,
        device="cpu",
        dtype="int8",
        revision="main",
        cache_folder="models",
        local_files_only=True,
        token="hf_x",
        max_length=512,
        num_labels=1,
        activation_fn=halved,
        prompts={"query": "query: "},
        default_prompt_name="query",
        num_threads=4,
        fallback=True,
        max_batch_tokens=4096,
        max_batch_size=64,
        max_wait_ms=0.5,
        max_queue=1000,
        when_full=when_full,
        max_concurrency=2,
    )


def rerank(model: Reranker, pairs: list[tuple[str, str]], documents: list[str], with_texts: bool) -> None:
    assert_type(model.predict(("a", "b")), np.float32 | Vector[np.float32])
    assert_type(model.predict(["a", "b"]), np.float32 | Vector[np.float32])
    assert_type(model.predict(pairs), NDArray[np.float32])
    assert_type(model.predict([["a", "b"]], None, "prompt: ", 8, False, "sigmoid", True), NDArray[np.float32])
    assert_type(model.predict(iter(pairs), out=np.empty(2, np.float32), priority=2), NDArray[np.float32])
    assert_type(model.predict(inputs=pairs, activation_fn=halved), NDArray[np.float32])
    assert_type(model.predict(sentences=pairs, convert_to_numpy=True), NDArray[np.float32])
    assert_type(model.predict(sentences=("a", "b")), np.float32 | Vector[np.float32])
    ranked = model.rank("a", documents, 3)
    assert_type(model.rank("a", documents, k=3), list[RankedDocument])
    assert_type(model.rank("a", documents, k=3, return_documents=True), list[RankedText])
    assert_type(ranked, list[RankedDocument])
    assert_type(ranked[0]["score"], float)
    assert_type(ranked[0]["corpus_id"], int)
    texts = model.rank("a", documents, top_k=3, return_documents=True, batch_size=8)
    assert_type(texts, list[RankedText])
    assert_type(texts[0]["text"], str)
    assert_type(model.rank("a", documents, return_documents=with_texts), list[RankedText] | list[RankedDocument])
    assert_type(model.rank(query="a", documents=iter(documents), show_progress_bar=None), list[RankedDocument])
    assert_type(model.tokenize(("a", "b")), TokenizedText)
    assert_type(model.tokenize(pairs, "query"), list[TokenizedText])
    assert_type(model.num_labels, int)
    assert_type(model.max_length, int | None)
    model.max_length = 100
    assert_type(model.activation_fn, Callable[[Any], Any])


async def await_scores(model: Reranker, pairs: list[tuple[str, str]], documents: list[str]) -> None:
    assert_type(await model.apredict(("a", "b")), np.float32 | Vector[np.float32])
    assert_type(await model.apredict(pairs, batch_size=8, apply_softmax=True), NDArray[np.float32])
    assert_type(await model.apredict(sentences=pairs), NDArray[np.float32])
    assert_type(await model.arank("a", documents), list[RankedDocument])
    assert_type(await model.arank("a", documents, return_documents=True), list[RankedText])
