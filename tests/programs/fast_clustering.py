"""Finds groups of questions that are near each other, of any number and size."""

import json
import sys
from pathlib import Path

from sentence_transformers import SentenceTransformer, util

sentences = [
    "How do I learn Python?",
    "What is the best way to learn Python?",
    "How can I learn to program in Python?",
    "Where can I learn Python quickly?",
    "What is the capital of France?",
    "Which city is the capital of France?",
    "What's the capital city of France?",
    "How do I lose weight?",
    "What is the best way to lose weight?",
    "How can I lose weight fast?",
    "Why is the sky blue?",
    "How tall is the Eiffel Tower?",
]

model = SentenceTransformer("all-MiniLM-L6-v2")
corpus_embeddings = model.encode(sentences, batch_size=64, show_progress_bar=False)
clusters = util.community_detection(corpus_embeddings, min_community_size=3, threshold=0.75)
small = util.community_detection(corpus_embeddings, min_community_size=1, threshold=0.9, batch_size=4)

for number, cluster in enumerate(clusters, start=1):
    print(f"Cluster {number}, #{len(cluster)} elements:", [sentences[row] for row in cluster])

Path(sys.argv[1]).write_text(json.dumps({"clusters": clusters, "small": small}), encoding="utf-8")
