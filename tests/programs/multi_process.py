"""Encodes with a pool of processes, one for each device."""

import json
import sys
from pathlib import Path

import numpy as np
from sentence_transformers import SentenceTransformer

sentences = [f"Sentence {number} is about the number {number * number}." for number in range(20)]

if __name__ == "__main__":
    model = SentenceTransformer("all-MiniLM-L6-v2", device="cpu")

    pool = model.start_multi_process_pool(target_devices=["cpu", "cpu"])
    embeddings = model.encode(sentences, pool=pool, chunk_size=5)
    normalized = model.encode_multi_process(sentences, pool, batch_size=8, normalize_embeddings=True)
    SentenceTransformer.stop_multi_process_pool(pool)
    print("Embeddings computed. Shape:", embeddings.shape)

    alone = model.encode(sentences)
    results = {
        "shape": embeddings.shape,
        "sums": embeddings.sum(axis=1).tolist(),
        "norms": np.linalg.norm(normalized, axis=1).tolist(),
        "same": bool(np.allclose(embeddings, alone, atol=1e-5)),
    }
    Path(sys.argv[1]).write_text(json.dumps(results), encoding="utf-8")
