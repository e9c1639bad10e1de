"""Puts instructions before texts: by name, as a text, as a default, and for queries and documents."""

import json
import sys
from pathlib import Path

import numpy as np
from sentence_transformers import SentenceTransformer

model = SentenceTransformer(
    "all-MiniLM-L6-v2",
    prompts={
        "classification": "Classify the following text: ",
        "query": "Represent the question for retrieval: ",
        "passage": "Represent the passage: ",
    },
    default_prompt_name="classification",
)
text = "How does a heat pump work?"
by_default = model.encode(text)
by_name = model.encode(text, prompt_name="query")
as_text = model.encode(text, prompt="Represent the question for retrieval: ")
by_hand = model.encode("Represent the question for retrieval: " + text, prompt="")
query = model.encode_query(text)
documents = model.encode_document(
    ["A heat pump moves heat from outside into a house.", "Bananas are rich in potassium."]
)

try:
    model.encode(text, prompt_name="clustering")
except ValueError as error:
    refused = str(error)
    print(refused)

results = {
    "prompts": model.prompts,
    "default": model.default_prompt_name,
    "refused": refused,
    "same": [bool(np.allclose(by_name, other, atol=1e-6)) for other in (as_text, by_hand, query, by_default)],
    "sums": [float(vector.sum()) for vector in (by_default, by_name, *documents)],
    "scores": model.similarity(query, documents).tolist(),
}
Path(sys.argv[1]).write_text(json.dumps(results), encoding="utf-8")
