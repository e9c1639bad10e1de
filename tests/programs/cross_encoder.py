"""Scores pairs of texts, and ranks passages for a query."""

import json
import sys
from pathlib import Path

from sentence_transformers import CrossEncoder

query = "How many people live in Berlin?"
passages = [
    "Berlin had a population of 3,520,031 registered inhabitants.",
    "Berlin is well known for its museums.",
    "In 2014, the city state Berlin had 37,368 live births.",
    "The urban area of Berlin comprised about 4.1 million people in 2014.",
    "New York City is well known for the Metropolitan Museum of Art.",
]

model = CrossEncoder("cross-encoder/ms-marco-MiniLM-L6-v2", max_length=64)
scores = model.predict([(query, passage) for passage in passages], batch_size=2, show_progress_bar=False)
one = model.predict([query, passages[0]])
ranks = model.rank(query, passages, return_documents=True)
top = model.rank(query, passages, top_k=2)

print("Query:", query)
for rank in ranks:
    print(f"- #{rank['corpus_id']} ({rank['score']:.2f}): {rank['text']}")

results = {"scores": scores.tolist(), "one": float(one), "ranks": ranks, "top": top, "labels": model.config.num_labels}
Path(sys.argv[1]).write_text(json.dumps(results), encoding="utf-8")
