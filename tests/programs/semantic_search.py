"""Finds, for each query, the sentences of a corpus that are nearest in meaning."""

import json
import sys
from pathlib import Path

from sentence_transformers import SentenceTransformer, util

corpus = [
    "A man is eating food.",
    "A man is eating a piece of bread.",
    "The girl is carrying a baby.",
    "A man is riding a horse.",
    "A woman is playing violin.",
    "Two men pushed carts through the woods.",
    "A man is riding a white horse on an enclosed ground.",
    "A monkey is playing drums.",
    "A cheetah is running behind its prey.",
    "Someone in a gorilla costume is playing a set of drums.",
]
queries = ["A man is eating pasta.", "An ape makes music.", "A big cat chases an animal across a field."]

embedder = SentenceTransformer("all-MiniLM-L6-v2")
corpus_embeddings = embedder.encode_document(corpus)
query_embeddings = embedder.encode_query(queries)

hits = util.semantic_search(query_embeddings, corpus_embeddings, top_k=5)
by_dot = util.semantic_search(query_embeddings, corpus_embeddings, top_k=3, score_function=util.dot_score)
in_chunks = util.semantic_search(
    query_embeddings[0], corpus_embeddings, query_chunk_size=1, corpus_chunk_size=3, top_k=4
)

for query, found in zip(queries, hits, strict=True):
    print(f"\n{query}")
    for hit in found:
        print(f"  {corpus[hit['corpus_id']]} (Score: {hit['score']:.4f})")

Path(sys.argv[1]).write_text(json.dumps({"hits": hits, "by_dot": by_dot, "in_chunks": in_chunks}), encoding="utf-8")
