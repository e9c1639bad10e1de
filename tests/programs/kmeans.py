"""Sorts sentences into clusters with k-means."""

# needs: sklearn
import json
import sys
from pathlib import Path

from sentence_transformers import SentenceTransformer
from sklearn.cluster import KMeans

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

clustering_model = KMeans(n_clusters=5, n_init=10, random_state=0)
clustering_model.fit(corpus_embeddings)

clustered_sentences = [[] for _ in range(5)]
for sentence, cluster in zip(corpus, clustering_model.labels_, strict=True):
    clustered_sentences[cluster].append(sentence)
for number, cluster in enumerate(clustered_sentences, start=1):
    print("Cluster", number, cluster)

results = {"clusters": sorted(clustered_sentences), "inertia": float(clustering_model.inertia_)}
Path(sys.argv[1]).write_text(json.dumps(results), encoding="utf-8")
