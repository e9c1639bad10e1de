"""Finds the pairs of sentences that mean the same among all pairs."""

import json
import sys
from pathlib import Path

from sentence_transformers import SentenceTransformer, util

sentences = [
    "The cat sits outside",
    "A man is playing guitar",
    "I love pasta",
    "The new movie is awesome",
    "The cat plays in the garden",
    "A woman watches TV",
    "The new movie is so great",
    "Do you like pizza?",
    "A man plays the guitar",
    "Pasta is what I love",
]

model = SentenceTransformer("all-MiniLM-L6-v2")
paraphrases = util.paraphrase_mining(model, sentences, top_k=5)
for score, i, j in paraphrases[:5]:
    print(f"{sentences[i]} \t\t {sentences[j]} \t\t Score: {score:.4f}")

embeddings = model.encode(sentences)
few = util.paraphrase_mining_embeddings(embeddings, max_pairs=6, query_chunk_size=4, corpus_chunk_size=3)

Path(sys.argv[1]).write_text(
    json.dumps({"paraphrases": [list(pair) for pair in paraphrases], "few": [list(pair) for pair in few]}),
    encoding="utf-8",
)
