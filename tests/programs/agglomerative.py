"""Sorts sentences into clusters by a threshold of distance, without a number of clusters."""

# needs: sklearn
import json
import sys
from pathlib import Path

import numpy as np
from sentence_transformers import SentenceTransformer
from sklearn.cluster import AgglomerativeClustering

corpus = [
    "A man is eating food.",
    "A man is eating a piece of bread.",
    "A man is eating pasta.",
    "The girl is carrying a baby.",
    "The baby is carried by the woman.",
    "A man is riding a horse.",
    "A man is riding a white horse on an enclosed ground.",
    "A monkey is playing drums.",
    "Someone in a gorilla costume is playing a set of drums.",
    "A cheetah is running behind its prey.",
    "A cheetah chases prey on across a field.",
]

embedder = SentenceTransformer("all-MiniLM-L6-v2")
corpus_embeddings = embedder.encode(corpus)
corpus_embeddings = corpus_embeddings / np.linalg.norm(corpus_embeddings, axis=1, keepdims=True)

clustering_model = AgglomerativeClustering(n_clusters=None, distance_threshold=1.5)
clustering_model.fit(corpus_embeddings)

clustered_sentences = {}
for sentence, cluster in zip(corpus, clustering_model.labels_.tolist(), strict=True):
    clustered_sentences.setdefault(cluster, []).append(sentence)
print(clustered_sentences)

results = {"labels": clustering_model.labels_.tolist(), "distances": clustering_model.distances_.tolist()}
Path(sys.argv[1]).write_text(json.dumps(results), encoding="utf-8")
