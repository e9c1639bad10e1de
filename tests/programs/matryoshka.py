"""Keeps the first elements of embeddings: for a model, for a while, and for one call."""

import json
import sys
from pathlib import Path

from sentence_transformers import SentenceTransformer
from sentence_transformers.util import cos_sim, truncate_embeddings

texts = ["The weather is so nice!", "It's so sunny outside!", "He drove to the stadium."]

model = SentenceTransformer("all-MiniLM-L6-v2", truncate_dim=64)
small = model.encode(texts)
with model.truncate_embeddings(16):
    smaller = model.encode(texts, normalize_embeddings=True)
    within = model.get_sentence_embedding_dimension()
once = model.encode(texts, truncate_dim=128)
model.truncate_dim = None
full = model.encode(texts)
print(small.shape, smaller.shape, once.shape, full.shape)

results = {
    "shapes": [array.shape for array in (small, smaller, once, full, truncate_embeddings(full, 32))],
    "dimensions": [within, model.get_sentence_embedding_dimension()],
    "similarities": [cos_sim(array[0], array[1:]).tolist() for array in (small, smaller, once, full)],
    "small": small[:, :8].tolist(),
    "smaller": smaller.tolist(),
}
Path(sys.argv[1]).write_text(json.dumps(results), encoding="utf-8")
