"""Finds the nearest sentences with tensors, as the documentation of sentence-transformers shows it."""

# needs: torch
import json
import sys
from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer, util

corpus = [
    "A man is eating food.",
    "A man is eating a piece of bread.",
    "The girl is carrying a baby.",
    "A man is riding a horse.",
    "A woman is playing violin.",
    "A monkey is playing drums.",
    "A cheetah is running behind its prey.",
]
queries = ["A man is eating pasta.", "Someone makes music."]

embedder = SentenceTransformer("all-MiniLM-L6-v2", device="cpu")
corpus_embeddings = embedder.encode(corpus, convert_to_tensor=True)

results = []
for query in queries:
    query_embedding = embedder.encode(query, convert_to_tensor=True)
    similarity_scores = embedder.similarity(query_embedding, corpus_embeddings)[0]
    scores, indices = torch.topk(similarity_scores, k=3)
    for score, index in zip(scores, indices, strict=True):
        print(query, "|", corpus[index], f"(Score: {score:.4f})")
    results.append({"scores": scores.tolist(), "indices": indices.tolist()})

corpus_embeddings = util.normalize_embeddings(corpus_embeddings.to("cpu"))
one = embedder.encode([queries[0]], convert_to_numpy=False)
cosine = util.pytorch_cos_sim(one[0], corpus_embeddings[1]).item()
hits = util.semantic_search(torch.stack(one), corpus_embeddings, score_function=util.dot_score, top_k=2)

Path(sys.argv[1]).write_text(json.dumps({"results": results, "cosine": cosine, "hits": hits}), encoding="utf-8")
