"""Mistakes in the use of models: type checkers find one in each line that says so, and in no other."""

from votive import Embedder, Reranker, SimilarityFunction, chunk, quantize_embeddings


def load(name: str) -> None:
    Embedder(name, dtype="fp16")  # error
    Embedder(name, dtype="float64")  # error
    Embedder(name, similarity_fn_name="cos")  # error
    Embedder(name, when_full="drop")  # error
    Embedder(name, device=0)  # error
    Embedder(name, "cpu")  # error
    Embedder()  # error
    Embedder(name, max_lenght=3)  # error
    Embedder(name, max_length=3)  # error
    Embedder(name, trust_remote_code="yes")  # error
    Embedder(name, backend="onnx")  # error
    Embedder(name, modules=[])  # error
    Reranker(name, truncate_dim=3)  # error
    Reranker(name, dtype="fp16")  # error
    Reranker(name, activation_fn=3)  # error
    Reranker(name, max_seq_length=3)  # error


def encode(model: Embedder, texts: list[str]) -> None:
    model.encode(texts, normalise_embeddings=True)  # error
    model.encode(texts, precision="int4")  # error
    model.encode(texts, output_value="tokens")  # error
    model.encode(texts, convert_to_tensor=True)  # error
    model.encode(texts, pool={})  # error
    model.encode(texts, chunk_size=3)  # error
    model.encode(texts, batch_size="32")  # error
    model.encode(texts, precision="int8", normalise=True)  # error
    model.encode(3)  # error
    model.encode()  # error
    model.encode(texts, sentences=texts)  # error
    model.encode_query(texts, normalise_embeddings=True)  # error
    model.encode_query(texts, task=3)  # error
    model.encode_document(texts, precision="int4")  # error
    model.encode_document(texts=3)  # error
    model.encode_document(texts, texts=texts)  # error
    model.tokenize(3)  # error
    model.profile(texts, batchsize=3)  # error
    quantize_embeddings([[1.0]], "int4")  # error
    model.encode(texts).append(3)  # error
    model.encode("a", output_value=None)["ids"]  # error
    model.tokenize("a")["input_idx"]  # error


async def await_vectors(model: Embedder, texts: list[str]) -> None:
    await model.aencode(texts, out=None)  # error
    await model.aencode(texts, show_progress_bar=True)  # error
    await model.aencode(texts, normalise_embeddings=True)  # error
    model.aencode(texts).shape  # error


def cut(model: Embedder, ranker: Reranker, texts: list[str]) -> None:
    chunk(texts, "a name")  # error
    chunk(texts, model, overlap=None)  # error
    chunk(texts, ranker, max_token=3)  # error
    chunk(3, model)  # error
    chunk(texts, model)[0].start = 3  # error
    model.encode_chunks(texts, texts)  # error
    model.encode_chunks(texts)  # error
    model.encode_chunks(texts, chunk(texts, model), output_value=None)  # error
    ranker.encode_chunks(texts, chunk(texts, model))  # error


def assign(model: Embedder) -> None:
    model.similarity_fn_name = "cos"  # error
    model.truncate_dim = "7"  # error
    model.default_prompt_name = 7  # error
    model.device = "cpu"  # error
    SimilarityFunction.to_similarity_fn("cos")  # error


def rerank(model: Reranker, pairs: list[tuple[str, str]]) -> None:
    model.predict(pairs, batchsize=3)  # error
    model.predict(pairs, convert_to_numpy=False)  # error
    model.predict(3)  # error
    model.predict()  # error
    model.rank("a", ["b"], apply_softmax=True)  # error
    model.rank("a", ["b"], top_k="3")  # error
    model.rank("a", ["b"], k="3")  # error
    model.rank("a", 3)  # error
    model.rank("a")  # error
    model.rank("a", ["b"])[0]["text"]  # error
    model.rank("a", ["b"], return_documents=True)[0]["document"]  # error


async def await_scores(model: Reranker, pairs: list[tuple[str, str]]) -> None:
    await model.apredict(pairs, out=None)  # error
    await model.apredict(pairs, 3)  # error
    await model.arank("a", ["b"], show_progress_bar=True)  # error
