"""Finds passages with a bi-encoder, and ranks what it found anew with a cross-encoder."""

import json
import sys
from pathlib import Path

from sentence_transformers import CrossEncoder, SentenceTransformer, util

passages = [
    "London is the capital and largest city of England and the United Kingdom.",
    "Paris is the capital and most populous city of France.",
    "The Thames flows through London, Oxford and Reading.",
    "Berlin has 3.7 million inhabitants, which makes it the largest city of Germany.",
    "Python is a programming language that lets you work quickly.",
    "The Eiffel Tower was completed in 1889.",
    "The mitochondrion is the powerhouse of the cell.",
    "France has 68 million inhabitants.",
    "Rome was not built in a day.",
    "The Louvre is the most visited museum of the world.",
]
queries = ["What is the capital of France?", "How many people live in Berlin?", "Which river flows through London?"]

bi_encoder = SentenceTransformer("all-MiniLM-L6-v2")
bi_encoder.max_seq_length = 256
cross_encoder = CrossEncoder("cross-encoder/ms-marco-MiniLM-L6-v2")
corpus_embeddings = bi_encoder.encode(passages, show_progress_bar=False)

results = []
for query in queries:
    hits = util.semantic_search(bi_encoder.encode(query), corpus_embeddings, top_k=5)[0]
    scores = cross_encoder.predict([[query, passages[hit["corpus_id"]]] for hit in hits])
    for hit, score in zip(hits, scores, strict=True):
        hit["cross-score"] = float(score)
    hits.sort(key=lambda hit: hit["cross-score"], reverse=True)
    print(query, "|", passages[hits[0]["corpus_id"]])
    results.append(hits)

Path(sys.argv[1]).write_text(json.dumps(results), encoding="utf-8")
