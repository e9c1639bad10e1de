"""What those who are new to votive do wrong, and all that they are told: whole messages, below one frame of votive."""

import os
import re
import traceback
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import votive
from conftest import FIXTURES
from votive import Embedder, EmbeddingStore, ModelError, Reranker, StoreError, get_backend

# A mistake, and its whole message; `...` stands for what differs from machine to machine.
Case = tuple[Callable[[Any], Any], type[Exception], str]

MODELS: dict[str, Case] = {
    "no model": (
        lambda t: t.Embedder(),
        TypeError,
        "Embedder.__init__() missing 1 required positional argument: 'model_name_or_path'",
    ),
    "None for a model": (
        lambda t: t.Embedder(None),
        TypeError,
        "model_name_or_path: expected a model's name or the path of its folder, found NoneType",
    ),
    "a name that is nowhere": (
        lambda t: t.Embedder("no/such", local_files_only=True),
        FileNotFoundError,
        'model "no/such" was not found:\n'
        '- folder "no/such": does not exist\n'
        '- cache ...models--no--such: has no revision "main"\n'
        "- https://huggingface.co: not asked, for ...\n"
        "- installed packages: none carries no/such",
    ),
    "a name without its owner": (
        lambda t: t.Embedder("no-such", local_files_only=True),
        FileNotFoundError,
        'model "no-such" was not found:\n'
        '- folder "no-such": does not exist\n'
        '- cache ...models--sentence-transformers--no-such: has no revision "main"\n'
        '- cache ...models--no-such: has no revision "main"\n'
        "- https://huggingface.co: not asked, for ...\n"
        "- installed packages: none carries sentence-transformers/no-such\n"
        "- installed packages: none carries no-such",
    ),
    "a reranker as an embedder": (
        lambda t: t.Embedder(FIXTURES / "bert_rerank"),
        ModelError,
        "config.json: architectures: BertForSequenceClassification is a cross-encoder or another classifier; use "
        "Reranker",
    ),
    "an embedder as a reranker": (
        lambda t: t.Reranker(t.folder),
        ModelError,
        "modules.json: describes an embedding model, not a cross-encoder; use Embedder",
    ),
    "a device by another name": (
        lambda t: t.Embedder(t.folder, device="gpu"),
        ValueError,
        'device: "gpu" is not a device; accepted: auto, cpu, metal (mps, mlx), cuda, cuda:N, vulkan, vulkan:N, dx12, '
        "dx12:N, wgpu, wgpu:N",
    ),
    "a type by another name": (
        lambda t: t.Embedder(t.folder, dtype="fp16"),
        ValueError,
        'dtype: "fp16" is not a type; accepted: auto, float32, bfloat16, float16, int8, int4',
    ),
    "an int to encode": (
        lambda t: t.model.encode(123),
        TypeError,
        "sentences: expected a str, a list or another column or iterable of str, found int",
    ),
    "bytes to encode": (
        lambda t: t.model.encode(b"x"),
        TypeError,
        "sentences: expected a str, a list or another column or iterable of str, found bytes",
    ),
    "None among texts": (
        lambda t: t.model.encode(["a", None]),
        TypeError,
        "sentences[1]: expected a str, found NoneType",
    ),
    "lists of texts": (
        lambda t: t.model.encode([["a", "b"]]),
        TypeError,
        "sentences[0]: expected a str, found list",
    ),
    "another library's keyword": (
        lambda t: t.model.encode("a", normalize=True),
        TypeError,
        "Embedder.encode() got an unexpected keyword argument 'normalize'; did you mean 'normalize_embeddings'?",
    ),
    "a misspelt keyword": (
        lambda t: t.model.encode("a", batchsize=2),
        TypeError,
        "Embedder.encode() got an unexpected keyword argument 'batchsize'; did you mean 'batch_size'?",
    ),
    "a keyword of nothing": (
        lambda t: t.model.tokenize("a", padding=True),
        TypeError,
        "EmbeddingModel.tokenize() got an unexpected keyword argument 'padding'; accepted: sentences",
    ),
    "a precision that is none": (
        lambda t: t.model.encode("a", precision="float16"),
        ValueError,
        "precision: expected one of ('float32', 'int8', 'uint8', 'binary', 'ubinary'), found 'float16'",
    ),
    "tensors": (
        lambda t: t.model.encode("a", convert_to_tensor=True),
        ValueError,
        "convert_to_tensor, convert_to_numpy: votive gives NumPy arrays; torch.from_numpy(model.encode(...)) makes a "
        "tensor of one without a copy",
    ),
    "a prompt that is not there": (
        lambda t: t.model.encode("a", prompt_name="qurey"),
        ValueError,
        "prompt_name: 'qurey' is not one of ['document', 'plain', 'query']",
    ),
    "a model that is called": (lambda t: t.model("a"), TypeError, "'Embedder' object is not callable"),
    "another library's method of models": (
        lambda t: t.model.embed_documents(["a"]),
        AttributeError,
        "'Embedder' object has no attribute 'embed_documents'; use encode_document",
    ),
    "a property of another type": (
        lambda t: setattr(t.model, "max_seq_length", "x"),
        TypeError,
        "max_seq_length: expected an int or None, found str",
    ),
    "one text to score": (
        lambda t: t.ranker.predict("a"),
        TypeError,
        "inputs: expected a pair of str or an iterable of pairs, found str",
    ),
    "documents before the query": (
        lambda t: t.ranker.rank(["a", "b"], "q"),
        TypeError,
        "query, documents: found list and str; the query comes first",
    ),
    "one document": (
        lambda t: t.ranker.rank("q", "a"),
        TypeError,
        "documents: expected a list or another iterable of str, found one str",
    ),
    "another library's method of rerankers": (
        lambda t: t.ranker.compute_score([("a", "b")]),
        AttributeError,
        "'Reranker' object has no attribute 'compute_score'; use predict",
    ),
    "another library's name of a device": (
        lambda t: get_backend("gpu"),
        ValueError,
        "name: 'gpu' is not a device; accepted: auto, cpu, numpy, metal, mps, mlx, cuda, vulkan, dx12, wgpu, torch, "
        "cuda:N, vulkan:N, dx12:N, wgpu:N",
    ),
    "texts to compare": (
        lambda t: t.model.similarity("a", "b"),
        TypeError,
        "a: expected floats or integers, found <U1",
    ),
}

CHUNKS: dict[str, Case] = {
    "a name in place of a model": (
        lambda t: votive.chunk("a b", "all-MiniLM-L6-v2"),
        TypeError,
        "model: expected an Embedder or a Reranker, found str; votive.Embedder(name) loads one",
    ),
    "chunks of no tokens": (
        lambda t: votive.chunk("a b", t.model, max_tokens=0),
        ValueError,
        "max_tokens: expected 1 or more, or None, found 0",
    ),
    "an overlap of all": (
        lambda t: votive.chunk("a b", t.model, max_tokens=8, overlap=8),
        ValueError,
        "overlap: expected less than max_tokens, which is 8, found 8",
    ),
    "chunks in place of their texts": (
        lambda t: t.model.encode_chunks(["other"], votive.chunk("a b", t.model)),
        ValueError,
        "chunks[0]: its text is not at 0:3 of texts[0]; give the texts that were cut into chunks",
    ),
}

STORES: dict[str, Case] = {
    "a dimension first": (
        lambda t: EmbeddingStore(384),  # type: ignore[arg-type]
        TypeError,
        "backend: expected str, Backend or None, found int; a dimension is dimension=384",
    ),
    "a folder first": (
        lambda t: EmbeddingStore("./here"),
        ValueError,
        "backend: './here' is not a device; EmbeddingStore.open('./here') opens a folder",
    ),
    "another library's name of a dimension": (
        lambda t: EmbeddingStore(dim=384),  # type: ignore[call-arg]
        TypeError,
        "EmbeddingStore.__init__() got an unexpected keyword argument 'dim'; did you mean 'dimension'?",
    ),
    "a folder that is not there": (
        lambda t: EmbeddingStore.open("missing"),
        FileNotFoundError,
        "[Errno 2] no store here, and no folder; save_to_disk(folder) of a store makes one: '...missing'",
    ),
    "open to write anew": (
        lambda t: EmbeddingStore.open("missing", "w"),  # type: ignore[arg-type]
        ValueError,
        "mode: expected 'r' or 'a', found 'w'; save_to_disk(folder) of a store makes a new one",
    ),
    "commit in memory": (
        lambda t: t.store.commit(),
        StoreError,
        'commit: not open for writing; EmbeddingStore.open(folder, mode="a") opens a store so',
    ),
    "add": (
        lambda t: t.store.add(["a"]),
        AttributeError,
        "'EmbeddingStore' object has no attribute 'add'; use add_texts, or add_embeddings for vectors",
    ),
    "another library's method of stores": (
        lambda t: t.store.similarity_search("a"),
        AttributeError,
        "'EmbeddingStore' object has no attribute 'similarity_search'; use search_text, or search for vectors",
    ),
    "texts without a model": (
        lambda t: t.store.add_texts(["a"]),
        TypeError,
        "EmbeddingStore.add_texts() missing 1 required positional argument: 'embedder'",
    ),
    "the model before the texts": (
        lambda t: t.store.add_texts(t.model, ["a"]),
        TypeError,
        "texts, embedder: found Embedder and list; the texts come first",
    ),
    "the model before the query": (
        lambda t: t.store.search_text(t.model, "a"),
        TypeError,
        "texts, embedder: found Embedder and str; the texts come first",
    ),
    "the name of a model": (
        lambda t: t.store.add_texts(["a"], "all-MiniLM-L6-v2"),
        TypeError,
        "embedder: expected a votive.Embedder, or another object with its encode, found str; "
        "votive.Embedder('all-MiniLM-L6-v2') loads one",
    ),
    "texts in dicts": (
        lambda t: t.store.add_texts(["a", {"text": "a", "year": 1}], t.model),
        TypeError,
        "texts[1]: expected a str, found dict; what belongs to a text is given as metadata=",
    ),
    "None among texts": (
        lambda t: t.store.add_texts(iter(["a", None]), t.model),
        TypeError,
        "texts[1]: expected a str, found NoneType",
    ),
    "ids that are too many": (
        lambda t: t.store.add_texts(["a"], t.model, [1, 2]),
        ValueError,
        "ids: expected 1, as many as texts, found 2",
    ),
    "metadata that is too little": (
        lambda t: t.store.add_texts(["a", "b"], t.model, metadata=[{"year": 1}]),
        ValueError,
        "metadata['year']: expected 2, as many as texts, found 1",
    ),
    "metadata of one row": (
        lambda t: t.store.add_texts(["a"], t.model, metadata={"year": 1}),
        TypeError,
        "metadata['year']: expected a column, which is a list or an array of one value for each row, found int; values "
        "of one row stand in a mapping, and the mappings of rows in a list",
    ),
    "another library's name of metadata": (
        lambda t: t.store.add_texts(["a"], t.model, metadatas=[{"year": 1}]),
        TypeError,
        "EmbeddingStore.add_texts() got an unexpected keyword argument 'metadatas'; did you mean 'metadata'?",
    ),
    "texts as vectors": (
        lambda t: t.store.add_embeddings(["a", "b"]),
        TypeError,
        "vectors: expected floats or integers, found <U1; add_texts, query and search_text take texts",
    ),
    "vectors of another model": (
        lambda t: t.store.add_embeddings(np.zeros((2, 47))),
        ValueError,
        "vectors: expected dimension 48, found 47",
    ),
    "NaN": (
        lambda t: t.store.add_embeddings(np.full((2, 48), np.nan)),
        ValueError,
        "vectors: row 0 has NaN or infinity",
    ),
    "ids that are too few": (
        lambda t: t.store.add_embeddings(np.ones((2, 48)), ids=[1]),
        ValueError,
        "ids: expected 2, as many as vectors, found 1",
    ),
    "ids of another kind": (
        lambda t: t.store.add_embeddings(np.ones((1, 48)), ids=["a"]),
        TypeError,
        "ids: expected int64, as the store has, found str",
    ),
    "a text to search with": (
        lambda t: t.store.search("a"),
        TypeError,
        "queries: expected an array of floats or integers, found str; add_texts, query and search_text take texts",
    ),
    "a query of another model": (
        lambda t: t.store.search(np.ones(3)),
        ValueError,
        "queries: expected dimension 48, found 3",
    ),
    "no results": (lambda t: t.store.search(t.vector, k=0), ValueError, "k: expected 1 or more, found 0"),
    "a number in a str": (lambda t: t.store.search(t.vector, k="5"), TypeError, "k: expected an int, found str"),
    "another library's name of k": (
        lambda t: t.store.search(t.vector, n_results=3),
        TypeError,
        "EmbeddingStore.search() got an unexpected keyword argument 'n_results'; did you mean 'k'?",
    ),
    "a column that is not there": (
        lambda t: t.store.search(t.vector, filter={"color": 1}),
        KeyError,
        "\"filter: no column 'color'; there are ['id', 'year', 'text']\"",
    ),
    "a misspelt column": (
        lambda t: t.store.search(t.vector, filter={"yaer": 1}),
        KeyError,
        "\"filter: no column 'yaer'; there are ['id', 'year', 'text']; did you mean 'year'?\"",
    ),
    "an operator without its $": (
        lambda t: t.store.search(t.vector, filter={"year": {"gt": 1}}),
        TypeError,
        "filter: column 'year', $eq: expected a number, as the column holds int64, found dict; operators are written "
        "with $, as '$gt'",
    ),
    "a filter in a str": (
        lambda t: t.store.search(t.vector, filter="year > 1"),
        TypeError,
        "filter: expected a dict as {'year': {'$gt': 2020}}, a boolean array, or int64 ids as the store has, found the "
        "str 'year > 1'",
    ),
    "a model before a query": (
        lambda t: t.store.query(t.model, "a"),
        TypeError,
        "query: expected a text or a vector, found Embedder; the model comes second: query(text, model)",
    ),
    "a query without a model": (
        lambda t: t.store.query("a"),
        TypeError,
        "embedder: expected a model, as query is a text, found None; query(text, model) embeds it, and a vector needs "
        "no model",
    ),
    "two names of k": (
        lambda t: t.store.query("a", t.model, k=3, top_k=5),
        TypeError,
        "query: k and top_k are two names of one argument; give one of them",
    ),
    "a query by another model": (
        lambda t: t.store.query("a", t.other),
        StoreError,
        "embedder: the vectors of the store are of '...bert_modules' (fingerprint ...), and this is '...bert_plain' "
        "(fingerprint ...): vectors of two models cannot be compared; use that model, or make a store with this one; "
        "allow_other_model=True takes it all the same",
    ),
    "an id that is not there": (
        lambda t: t.store.delete(17),
        KeyError,
        "'ids[0]: 17 is not in the store'",
    ),
    "nothing to delete": (
        lambda t: t.store.delete(),
        TypeError,
        "delete: expected either ids or filter; clear() forgets all rows",
    ),
}


@pytest.fixture(scope="module")
def things(folder: str, model: Embedder) -> SimpleNamespace:
    """What mistakes are made with: classes as any type, two models, and a store of two rows."""
    store = EmbeddingStore()
    store.add_texts(["a", "b"], model, metadata={"year": [1, 2]})
    ranker = Reranker(FIXTURES / "bert_rerank")
    return SimpleNamespace(
        Embedder=Embedder,
        Reranker=Reranker,
        folder=folder,
        model=model,
        other=Embedder(FIXTURES / "bert_plain"),
        ranker=ranker,
        store=store,
        vector=model.encode("a"),
    )


def own_frames(error: BaseException) -> int:
    package = os.path.join(os.path.dirname(votive.__file__), "")
    return sum(frame.filename.startswith(package) for frame in traceback.extract_tb(error.__traceback__))


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in (MODELS | CHUNKS | STORES).items()])
def test_a_mistake_is_told_in_full_and_in_short(
    case: Case, things: SimpleNamespace, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VOTIVE_TRACEBACK")
    mistake, kind, message = case
    rows = len(things.store)
    with pytest.raises(kind) as raised:
        mistake(things)
    assert raised.type is kind
    pattern = ".*".join(map(re.escape, message.split("...")))
    assert re.fullmatch(pattern, str(raised.value)), str(raised.value)
    assert own_frames(raised.value) <= 1
    # No second traceback stands above it.
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__ or raised.value.__context__ is None
    assert len(things.store) == rows
