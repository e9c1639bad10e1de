"""Makes embeddings smaller: int8 with ranges of other texts, and bits."""

import json
import sys
from pathlib import Path

import numpy as np
from sentence_transformers import SentenceTransformer
from sentence_transformers.quantization import quantize_embeddings

texts = [
    "The weather is lovely today.",
    "It's so sunny outside!",
    "He drove to the stadium.",
    "She walks the dog in the rain.",
    "Interest rates rise again.",
    "The bank raised its rates.",
    "Tomatoes grow best in full sun.",
    "The train to Vienna is late.",
]

model = SentenceTransformer("all-MiniLM-L6-v2")
embeddings = model.encode(texts)
bits = model.encode(texts, precision="ubinary")
# Wider than these texts need, so that no value lies at the edge of two steps.
ranges = 1.1 * np.stack([embeddings.min(axis=0), embeddings.max(axis=0)])
int8 = quantize_embeddings(embeddings, precision="int8", ranges=ranges)
calibrated = quantize_embeddings(embeddings[:2], precision="uint8", calibration_embeddings=1.1 * embeddings)
signed = quantize_embeddings(embeddings, precision="binary")
print(embeddings.nbytes, int8.nbytes, bits.nbytes)

differing = np.unpackbits(bits[:1] ^ bits, axis=1).sum(axis=1)
results = {
    "nearest": np.argsort(differing, kind="stable").tolist(),
    "differing": differing.tolist(),
    "int8": int8[0].tolist(),
    "calibrated": calibrated[0].tolist(),
    "binary": signed.tolist(),
    "types": [str(array.dtype) for array in (embeddings, int8, calibrated, bits, signed)],
    "shapes": [array.shape for array in (embeddings, int8, calibrated, bits, signed)],
}
Path(sys.argv[1]).write_text(json.dumps(results), encoding="utf-8")
