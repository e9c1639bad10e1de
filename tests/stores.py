"""What tests of the store share."""

import numpy as np
from votive import EmbeddingStore

# Of the fixtures `vectors` and `store`.
ROWS, DIMENSION = 300, 40


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


def few_rows(dimension: int) -> EmbeddingStore:
    """A store with ids, texts and a column."""
    store = EmbeddingStore()
    store.add_embeddings(np.ones((4, dimension)), [3, 5, 7, 9], ["a", "b", "c", "d"], {"year": [1, 2, 3, 4]})
    return store
