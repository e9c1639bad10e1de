"""Compares embeddings with the four similarity functions, each with each and pair by pair."""

import json
import sys
from pathlib import Path

from sentence_transformers import SentenceTransformer, SimilarityFunction, util

sentences1 = ["The new movie is awesome", "The cat sits outside", "A man is playing guitar"]
sentences2 = ["The dog plays in the garden", "The new movie is so great", "A woman watches TV"]

model = SentenceTransformer("all-MiniLM-L6-v2", similarity_fn_name=SimilarityFunction.DOT_PRODUCT)
embeddings1 = model.encode(sentences1)
embeddings2 = model.encode(sentences2)

results = {"first": model.similarity_fn_name, "possible": SimilarityFunction.possible_values()[:4]}
for name in ["cosine", "dot", "euclidean", "manhattan"]:
    model.similarity_fn_name = name
    similarities = model.similarity(embeddings1, embeddings2)
    pairwise = model.similarity_pairwise(embeddings1, embeddings2)
    results[name] = {"all": similarities.tolist(), "pairs": pairwise.tolist()}
    for i, sentence in enumerate(sentences1):
        print(name, "|", sentence, "|", [f"{similarities[i][j]:.4f}" for j in range(len(sentences2))])

results["cos_sim"] = util.cos_sim(embeddings1[0], embeddings2).tolist()
results["pairwise_cos_sim"] = util.pairwise_cos_sim(embeddings1, embeddings2).tolist()
results["by_function"] = SimilarityFunction.to_similarity_fn("euclidean")(embeddings1, embeddings2).tolist()
Path(sys.argv[1]).write_text(json.dumps(results), encoding="utf-8")
