"""Rows of the server as Arrow streams, against those that pyarrow writes."""

import io

import numpy as np
import pyarrow as pa
import pytest
from conftest import FIXTURES
from serving import JSON, ask
from votive import Embedder, serve

ARROW = JSON | {"Accept": "application/vnd.apache.arrow.stream"}


def written(rows: np.ndarray) -> bytes:
    """The stream as pyarrow writes it."""
    numbers = pa.array(rows.ravel(), pa.float32())
    lists = pa.list_(pa.field("item", pa.float32(), nullable=False), rows.shape[1])
    column = pa.FixedSizeListArray.from_arrays(numbers, type=lists)
    schema = pa.schema([pa.field("embedding", lists, nullable=False)])
    file = io.BytesIO()
    with pa.ipc.new_stream(file, schema) as writer:
        writer.write_batch(pa.record_batch([column], schema=schema))
    return file.getvalue()


@pytest.mark.parametrize("count", [1, 2, 3, 17])
@pytest.mark.parametrize("dimensions", [1, 7, None])
def test_streams_are_those_of_pyarrow(count: int, dimensions: int | None) -> None:
    embedder = Embedder(FIXTURES / "bert_40")
    texts = [f"text number {i}" for i in range(count)]
    rows = embedder.encode(texts, normalize_embeddings=True, truncate_dim=dimensions)
    body = {"input": texts} | ({} if dimensions is None else {"dimensions": dimensions})
    with serve({"bert": embedder}) as server:
        answer = ask(server, "/v1/embeddings", body, ARROW)
        refused = ask(server, "/v1/embeddings", {"input": []}, ARROW)
    assert answer.headers["content-type"] == "application/vnd.apache.arrow.stream"
    assert answer.body == written(rows)
    column = pa.ipc.open_stream(answer.body).read_all()["embedding"]
    np.testing.assert_array_equal(np.stack(column.to_numpy()), rows)
    assert refused.json["error"]["param"] == "input"
