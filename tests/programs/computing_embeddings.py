"""Computes embeddings: of one text, of many, of none, of an array and of pairs; normalized, and of long texts."""

import json
import sys
from pathlib import Path

import numpy as np
from sentence_transformers import SentenceTransformer

sentences = [
    "This framework generates embeddings for each input sentence",
    "Sentences are passed as a list of strings.",
]

model = SentenceTransformer("all-MiniLM-L6-v2", device="cpu")
print("Max Sequence Length:", model.max_seq_length)
one = model.encode(sentences[0])
many = model.encode(sentences, show_progress_bar=False, convert_to_numpy=True)
of_array = model.encode(np.array(sentences))
pairs = model.encode([(sentences[0], sentences[1])])
normalized = model.encode(sentences, normalize_embeddings=True)
long_text = "word after word " * 100
model.max_seq_length = 20
short = model.encode(long_text)
for sentence, embedding in zip(sentences, many, strict=True):
    print("Sentence:", sentence, "Embedding:", embedding[:3])

results = {
    "shapes": [array.shape for array in (one, many, of_array, pairs, normalized, short)],
    "size": model.encode([]).size,
    "sums": [float(array.sum()) for array in (one, many, of_array, pairs, normalized, short)],
    "norms": np.linalg.norm(normalized, axis=1).tolist(),
    "first": many[:, :8].tolist(),
    "length": model.get_max_seq_length(),
    "tokens": len(model.tokenizer(sentences[0])["input_ids"]),
    "device": model.device.type,
}
Path(sys.argv[1]).write_text(json.dumps(results), encoding="utf-8")
