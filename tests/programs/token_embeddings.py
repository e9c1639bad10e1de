"""Looks at the embeddings of tokens, and at all that a model computes for a text."""

import json
import sys
from pathlib import Path

from sentence_transformers import SentenceTransformer

texts = ["The bank of the river", "A bank gives loans to people"]

model = SentenceTransformer("all-MiniLM-L6-v2")
token_embeddings = model.encode(texts, output_value="token_embeddings")
outputs = model.encode(texts, output_value=None)

results = []
for text, tokens, output in zip(texts, token_embeddings, outputs, strict=True):
    # A text may be padded to the length of others.
    length = int(output["attention_mask"].sum())
    ids = [int(token) for token in output["input_ids"][:length]]
    words = model.tokenizer.convert_ids_to_tokens(ids)
    print(text, "|", words, tokens.shape)
    results.append(
        {
            "ids": ids,
            "words": words,
            "shape": list(tokens.shape),
            "first": [float(value) for value in tokens[1][:8]],
            "sentence": [float(value) for value in output["sentence_embedding"][:8]],
            "length": length,
        }
    )
Path(sys.argv[1]).write_text(json.dumps(results), encoding="utf-8")
