"""Picks the sentences of a text that stand for the whole: those that are most like the others."""

import json
import sys
from pathlib import Path

import numpy as np
from sentence_transformers import SentenceTransformer

document = """New York City is the most populous city in the United States. It is a center of finance and culture.
The city lies at the mouth of the Hudson River. Its harbor is one of the largest natural harbors of the world.
More than eight million people live in the city. Many of them were born outside the United States.
The subway runs all day and all night. Pigeons are common."""
sentences = [sentence.strip() for sentence in document.replace("\n", " ").split(". ")]

model = SentenceTransformer("all-MiniLM-L6-v2")
embeddings = model.encode(sentences)
similarity_scores = np.asarray(model.similarity(embeddings, embeddings))

# Centrality: where a walk from sentence to sentence, by likeness, ends up.
transitions = np.clip(similarity_scores, 0, None)
transitions /= transitions.sum(axis=1, keepdims=True)
centrality = np.full(len(sentences), 1 / len(sentences))
for _ in range(100):
    centrality = centrality @ transitions
most_central = np.argsort(-centrality)
for row in most_central[:3]:
    print(sentences[row])

Path(sys.argv[1]).write_text(
    json.dumps({"order": most_central.tolist(), "centrality": centrality.tolist()}), encoding="utf-8"
)
