"""Evaluates a bi-encoder on pairs, triplets and search, and a cross-encoder on ranking."""

import json
import sys
from pathlib import Path

from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.cross_encoder.evaluation import CrossEncoderRerankingEvaluator
from sentence_transformers.evaluation import (
    BinaryClassificationEvaluator,
    EmbeddingSimilarityEvaluator,
    InformationRetrievalEvaluator,
    TripletEvaluator,
)

first = ["A man is eating food.", "A plane is taking off.", "A woman plays violin.", "It rains.", "He sleeps."]
second = ["Someone eats.", "An air plane takes off.", "A man plays chess.", "The sun shines.", "The child is asleep."]
scores = [0.8, 1.0, 0.3, 0.2, 0.6]
queries = {"q1": "Which river is the longest?", "q2": "What do bees make?", "q3": "Who wrote Hamlet?"}
corpus = {
    "d1": "The Nile is the longest river of Africa.",
    "d2": "Bees make honey.",
    "d3": "Hamlet is a play by William Shakespeare.",
    "d4": "The Amazon is a river in South America.",
    "d5": "Wasps build nests of paper.",
}
relevant = {"q1": {"d1", "d4"}, "q2": {"d2"}, "q3": {"d3"}}
samples = [
    {
        "query": queries[query],
        "positive": [corpus[d] for d in sorted(relevant[query])],
        "documents": list(corpus.values()),
    }
    for query in queries
]

model = SentenceTransformer("all-MiniLM-L6-v2")
evaluators = [
    EmbeddingSimilarityEvaluator(first, second, scores, name="sts"),
    BinaryClassificationEvaluator(first, second, [1, 1, 0, 0, 1], similarity_fn_names=["cosine", "euclidean"]),
    TripletEvaluator(first, second, second[::-1], name="triplets"),
    InformationRetrievalEvaluator(queries, corpus, relevant, name="facts", ndcg_at_k=[3, 10]),
]
results = [model.evaluate(evaluator) for evaluator in evaluators]
names = [evaluator.primary_metric for evaluator in evaluators]
results.append(
    CrossEncoderRerankingEvaluator(samples, name="rank")(CrossEncoder("cross-encoder/ms-marco-MiniLM-L6-v2"))
)
for result, name in zip(results, names, strict=False):
    print(name, result[name])

Path(sys.argv[1]).write_text(json.dumps({"results": results, "primary": names}), encoding="utf-8")
