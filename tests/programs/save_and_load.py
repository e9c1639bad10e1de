"""Saves a model with its settings to a folder, and loads it from there."""

import json
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from sentence_transformers import CrossEncoder, SentenceTransformer

texts = ["Saved models load without the hub.", "Their settings are kept."]
folder = tempfile.mkdtemp()

model = SentenceTransformer("all-MiniLM-L6-v2", prompts={"query": "query: "}, truncate_dim=96)
model.similarity_fn_name = "euclidean"
model.default_prompt_name = "query"
model.save_pretrained(os.path.join(folder, "bi"))
loaded = SentenceTransformer(os.path.join(folder, "bi"), truncate_dim=96)
print(loaded.prompts, loaded.similarity_fn_name, loaded.default_prompt_name)

cross_encoder = CrossEncoder("cross-encoder/ms-marco-MiniLM-L6-v2")
cross_encoder.save(os.path.join(folder, "cross"))
scores = CrossEncoder(os.path.join(folder, "cross")).predict([texts])

embeddings = loaded.encode(texts)
results = {
    "settings": [loaded.prompts, loaded.default_prompt_name, loaded.similarity_fn_name, loaded.max_seq_length],
    "modules": os.path.exists(os.path.join(folder, "bi", "modules.json")),
    "same": bool(np.allclose(embeddings, model.encode(texts), atol=1e-6)),
    "embeddings": embeddings[:, :8].tolist(),
    "similarity": loaded.similarity(embeddings, embeddings)[0].tolist(),
    "scores": scores.tolist(),
    "same_scores": bool(np.allclose(scores, cross_encoder.predict([texts]), atol=1e-6)),
}
Path(sys.argv[1]).write_text(json.dumps(results), encoding="utf-8")
