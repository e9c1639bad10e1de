"""Recommends papers like a given one, from titles and abstracts, and keeps embeddings on the disk between runs."""

import json
import os
import pickle
import sys
import tempfile
from pathlib import Path

from sentence_transformers import SentenceTransformer, util

papers = [
    ("Attention over documents", "We read long documents with sparse attention."),
    ("Learning to rank answers", "A cross-encoder ranks answers to questions."),
    ("Bees and pesticides", "We measure how pesticides change the flight of bees."),
    ("Dense retrieval of passages", "Two encoders retrieve passages for questions."),
    ("Pollen in cities", "Pollen counts of ten cities over twenty years."),
    ("Faster matrix products", "Kernels for products of small matrices."),
]
path = os.path.join(tempfile.mkdtemp(), "embeddings.pkl")


def load(model):
    if not os.path.exists(path):
        texts = [title + "[SEP]" + abstract for title, abstract in papers]
        with open(path, "wb") as file:
            pickle.dump({"texts": texts, "embeddings": model.encode(texts)}, file)
    with open(path, "rb") as file:
        return pickle.load(file)["embeddings"]


model = SentenceTransformer("all-MiniLM-L6-v2")
load(model)
embeddings = load(model)
results = []
for title, abstract in [
    ("Answering questions", "We find text that answers questions."),
    ("Insects", "Insects in fields."),
]:
    query = model.encode(title + "[SEP]" + abstract)
    hits = util.semantic_search(query, embeddings, top_k=3)[0]
    print(title, "|", [papers[hit["corpus_id"]][0] for hit in hits])
    results.append(hits)

Path(sys.argv[1]).write_text(json.dumps(results), encoding="utf-8")
