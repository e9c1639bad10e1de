"""The classes of LangChain and LlamaIndex for sentence-transformers, with `votive.sentence_transformers` in its place.

Each in a process of its own, so that this one stays as it is, and without PyTorch.
"""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
from conftest import FIXTURES

START = """
import sys, warnings
sys.modules["torch"] = sys.modules["transformers"] = None  # importing them fails
# Other packages' warnings are theirs.
warnings.simplefilter("ignore")
import votive.sentence_transformers
votive.sentence_transformers.install()
from votive import Embedder, Reranker
from votive.sentence_transformers import CrossEncoder, SentenceTransformer
MODEL, RERANKER = sys.argv[1:]
TEXTS = ["Rye bread needs a sourdough", "Hamburg has a large port", "Knead the dough well"]
PAIRS = [("bread", text) for text in TEXTS]
"""

PROGRAMS = {
    "langchain_huggingface": """
from langchain_huggingface import HuggingFaceEmbeddings

model = Embedder(MODEL)
given = {"device": "cpu", "truncate_dim": 16}
found = HuggingFaceEmbeddings(
    model_name=MODEL, model_kwargs=given, encode_kwargs={"normalize_embeddings": True, "batch_size": 2}
)
assert type(found._client) is SentenceTransformer
expected = model.encode(TEXTS, truncate_dim=16, normalize_embeddings=True)
assert found.embed_documents(TEXTS) == expected.tolist()
assert found.embed_query(TEXTS[0]) == expected[0].tolist()
found = HuggingFaceEmbeddings(
    model=MODEL, encode_kwargs={"prompt_name": "document"}, query_encode_kwargs={"prompt_name": "query"}
)
assert found.embed_documents(TEXTS) == model.encode_document(TEXTS).tolist()
assert found.embed_query(TEXTS[0]) == model.encode_query(TEXTS[0]).tolist()
# What it does to texts is its own.
assert found.embed_query("a\\nb") == model.encode_query("a b").tolist()
pooled = HuggingFaceEmbeddings(model_name=MODEL, multi_process=True)
assert pooled.embed_documents(TEXTS) == model.encode(TEXTS).tolist()
""",
    "langchain_community.cross_encoders": """
from langchain_community.cross_encoders import HuggingFaceCrossEncoder

found = HuggingFaceCrossEncoder(model_name=RERANKER, model_kwargs={"device": "cpu"})
assert type(found.client) is CrossEncoder
assert list(found.score(PAIRS)) == Reranker(RERANKER).predict(PAIRS).tolist()
""",
    "langchain_classic.retrievers.document_compressors": """
from langchain_classic.retrievers.document_compressors import CrossEncoderReranker
from langchain_community.cross_encoders import HuggingFaceCrossEncoder
from langchain_core.documents import Document

found = CrossEncoderReranker(model=HuggingFaceCrossEncoder(model_name=RERANKER), top_n=2)
assert type(found.model.client) is CrossEncoder
documents = found.compress_documents([Document(text) for text in TEXTS], "bread")
best = Reranker(RERANKER).rank("bread", TEXTS, top_k=2, return_documents=True)
assert [document.page_content for document in documents] == [entry["text"] for entry in best]
""",
    "langchain_text_splitters": """
from langchain_text_splitters import SentenceTransformersTokenTextSplitter

found = SentenceTransformersTokenTextSplitter(model_name=MODEL, chunk_overlap=4, tokens_per_chunk=16)
assert type(found._model) is SentenceTransformer
assert found.maximum_tokens_per_chunk == 48
# As sentence-transformers 6.2.0 gives them.
assert found.count_tokens(text="Rye bread " * 300) == 2402
assert found.split_text("Rye bread needs a Sourdough, isn't it? Gr\\u00f6\\u00dfe 3.5! ") == [
    "r ##y ##e b ##r ##e ##a ##d n ##e ##ed ##s a so ##u ##r",
    "a so ##u ##r ##d ##o ##u ##g ##h , is ##n ' t it ?",
    "' t it ? g ##r ##o ##\\u00df ##e 3 . 5 !",
]
""",
    "llama_index.embeddings.huggingface": """
from llama_index.core import Settings
from llama_index.embeddings.huggingface import HuggingFaceEmbedding

model = Embedder(MODEL)
# Without a device it asks PyTorch for one.
found = HuggingFaceEmbedding(model_name=MODEL, device="cpu", query_instruction="q: ", text_instruction="t: ")
Settings.embed_model = found
assert Settings.embed_model is found
assert type(found._model) is SentenceTransformer
assert found.max_length == 48
expected = model.encode(TEXTS, prompt="t: ", normalize_embeddings=True)
assert found.get_text_embedding_batch(TEXTS) == expected.tolist()
expected = model.encode(TEXTS[0], prompt="q: ", normalize_embeddings=True)
assert found.get_query_embedding(TEXTS[0]) == expected.tolist()
short = HuggingFaceEmbedding(model_name=MODEL, device="cpu", max_length=8, normalize=False)
assert short._model.max_seq_length == 8
assert short.get_text_embedding(TEXTS[0]) == Embedder(MODEL, max_seq_length=8).encode(TEXTS[0]).tolist()
pooled = HuggingFaceEmbedding(MODEL, device="cpu", parallel_process=True, target_devices=["cpu"] * 2)
assert pooled.get_text_embedding_batch(TEXTS) == model.encode(TEXTS, normalize_embeddings=True).tolist()
""",
    "llama_index.postprocessor.sbert_rerank": """
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.postprocessor.sbert_rerank import SentenceTransformerRerank

# Of itself it asks for 512 tokens, which the tiny model has not.
found = SentenceTransformerRerank(model=RERANKER, device="cpu", top_n=2, cross_encoder_kwargs={"max_length": 64})
assert type(found._model) is CrossEncoder
nodes = found.postprocess_nodes([NodeWithScore(node=TextNode(text=text)) for text in TEXTS], query_str="bread")
best = Reranker(RERANKER).rank("bread", TEXTS, top_k=2)
assert [node.score for node in nodes] == [entry["score"] for entry in best]
assert [node.node.text for node in nodes] == [TEXTS[entry["corpus_id"]] for entry in best]
""",
}


def is_there(name: str) -> bool:
    """Whether a module can be imported, as far as can be told without importing sentence-transformers."""
    try:
        return find_spec(name) is not None
    except ImportError:
        return False


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("library", PROGRAMS)
def test_class_of_the_library_has_our_model(library, folder):
    if not is_there(library):
        pytest.skip(f"{library} is not installed")
    command = [sys.executable, "-c", START + PROGRAMS[library], folder, str(FIXTURES / "bert_rerank")]
    done = subprocess.run(command, env=os.environ | {"HF_HUB_OFFLINE": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
