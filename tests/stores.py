"""What tests of the store share."""

import numpy as np
from votive import EmbeddingStore


def snapshot(store: EmbeddingStore) -> dict:
    """All that can be seen of a store."""
    vectors = store.vectors
    return {
        "repr": repr(store),
        "ids": store.ids.tolist(),
        "vectors": np.concatenate(vectors if isinstance(vectors, list) else [vectors]).tolist(),
        "texts": store.texts,
        "metadata": {name: values.tolist() for name, values in store.metadata.items()},
    }
