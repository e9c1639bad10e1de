"""Searches bits with faiss, and rescores what it found with the query's float32 embedding."""

# needs: faiss
import json
import sys
from pathlib import Path

from sentence_transformers import SentenceTransformer
from sentence_transformers.quantization import quantize_embeddings, semantic_search_faiss

corpus = [
    "Mount Everest is the highest mountain on Earth.",
    "The Nile is the longest river of Africa.",
    "Whales are mammals that live in the sea.",
    "The heart pumps blood through the body.",
    "Bread is made of flour, water and yeast.",
    "K2 is the second highest mountain.",
    "Bees collect nectar and make honey.",
    "The Amazon carries more water than any other river.",
    "Dolphins breathe air.",
    "A sourdough needs time to rise.",
]
queries = ["Which mountain is the tallest?", "animals of the ocean", "baking bread"]

model = SentenceTransformer("all-MiniLM-L6-v2")
full_corpus_embeddings = model.encode(corpus, normalize_embeddings=True)
corpus_embeddings = quantize_embeddings(full_corpus_embeddings, precision="ubinary")
query_embeddings = model.encode(queries, normalize_embeddings=True)

results, search_time, corpus_index = semantic_search_faiss(
    query_embeddings,
    corpus_embeddings=corpus_embeddings,
    corpus_precision="ubinary",
    top_k=3,
    rescore=True,
    rescore_multiplier=4,
    exact=True,
    output_index=True,
)
again, _ = semantic_search_faiss(query_embeddings, corpus_index=corpus_index, corpus_precision="ubinary", top_k=2)
exact, _ = semantic_search_faiss(query_embeddings, corpus_embeddings=full_corpus_embeddings, top_k=3)
for query, hits in zip(queries, results, strict=True):
    print(query, "|", [corpus[hit["corpus_id"]] for hit in hits], f"({search_time:.4f} s)")


def plain(hits):
    return [[[int(hit["corpus_id"]), float(hit["score"])] for hit in of_query] for of_query in hits]


Path(sys.argv[1]).write_text(
    json.dumps({"results": plain(results), "again": plain(again), "exact": plain(exact)}), encoding="utf-8"
)
