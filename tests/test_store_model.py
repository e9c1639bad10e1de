"""Any sequence of changes and searches, beside a dict of rows that is searched by computing every score."""

import copy
import pickle
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import brute
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from power import QuickDisk
from row_values import METADATA, VALUES, Row, assert_holds, filters, keeps, known_columns, records, texts
from votive import EmbeddingStore
from votive._store.files import writer as _writer

DIMENSION = 4

# Of small integers scores are exact in float64, so that ties are ties.
VECTOR = st.lists(st.integers(-3, 3), min_size=DIMENSION, max_size=DIMENSION)
VECTORS = st.lists(VECTOR, max_size=8)
QUERIES = st.lists(VECTOR, min_size=1, max_size=3)
NUMBERS = st.integers(0, 30)
COUNT = st.integers(1, 12)

# Stores beside the one, which must not change with it.
MAX_OTHERS = 2

Rows = dict[int | str, Row]


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """No sequence has a power failure in it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_writer, "DISK", QuickDisk())
        yield


class StoreMachine(RuleBasedStateMachine):
    """A store, and what it must hold: vector, text and metadata by id, in the order of rows."""

    @initialize(
        metric=st.sampled_from(["cosine", "dot", "l2"]),
        dtype=st.sampled_from(["float32", "float16"]),
        kind=st.sampled_from(["int64", "str"]),
        spilling=st.booleans(),
    )
    def start(self, metric: str, dtype: str, kind: str, spilling: bool) -> None:
        self.metric, self.kind, self.spilling = metric, kind, spilling
        # A limit of one byte: all that is added goes to files.
        self.options: dict[str, Any] = {"num_threads": 1}
        if spilling:
            self.options |= {"max_memory_gb": 1e-9, "spill_to": tempfile.gettempdir()}
        self.store = EmbeddingStore(metric=metric, dtype=dtype, **self.options)
        self.rows: Rows = {}
        self.next = 0
        self.place = tempfile.TemporaryDirectory()
        self.folder = Path(self.place.name) / "store"
        # What the folder holds, and whether the store may commit to it.
        self.saved: tuple[Rows, int] | None = None
        self.writing = False
        # Other stores, and what each holds.
        self.others: list[tuple[EmbeddingStore, Rows]] = []

    def teardown(self) -> None:
        if hasattr(self, "place"):
            self.store.close()
            del self.store, self.others
            self.place.cleanup()

    def named(self, numbers: list[int]) -> list:
        return numbers if self.kind == "int64" else [f"id {number}" for number in numbers]

    def draw_ids(self, data: st.DataObject, count: int) -> list:
        return self.named(data.draw(st.lists(NUMBERS, min_size=count, max_size=count)))

    def draw_known(self, data: st.DataObject) -> list:
        """Ids of rows, of which some may come twice."""
        return [id for id in data.draw(st.lists(st.sampled_from([*self.rows, None]), max_size=8)) if id is not None]

    def draw_columns(self, data: st.DataObject, count: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Texts and metadata of so many rows, as they are given and as the rows have them; of a form of its own."""
        form = data.draw(st.sampled_from(["none", "records", "iterator", "dict"]))
        rows: list[dict[str, Any]] = [{} for _ in range(count)]
        given: dict[str, Any] = {}
        if form == "dict":
            names = data.draw(st.lists(st.sampled_from(METADATA), unique=True, max_size=4))
            sized = {name: st.lists(st.none() | VALUES[name], min_size=count, max_size=count) for name in names}
            given["metadata"] = {name: data.draw(values) for name, values in sized.items()}
            rows = [{name: values[row] for name, values in given["metadata"].items()} for row in range(count)]
        elif form != "none":
            rows = data.draw(st.lists(records, min_size=count, max_size=count))
            given["metadata"] = rows if form == "records" else iter(rows)
        if form == "none" or data.draw(st.booleans()):
            given["texts"] = data.draw(st.lists(texts, min_size=count, max_size=count))
            rows = [{**row, "text": text} for row, text in zip(rows, given["texts"], strict=True)]
        return given, rows

    def put(self, ids: list, rows: list[Row]) -> None:
        """Adds rows to the dict, the last of an id at its end."""
        for id, row in zip(ids, rows, strict=True):
            self.rows.pop(id, None)
            self.rows[id] = row
            if self.kind == "int64":
                self.next = max(self.next, id + 1)

    @rule(vectors=VECTORS, data=st.data())
    def add(self, vectors: list[list[int]], data: st.DataObject) -> None:
        ids = self.draw_ids(data, len(vectors))
        given, rows = self.draw_columns(data, len(vectors))
        self.store.add_embeddings(np.reshape(vectors, (-1, DIMENSION)), ids, **given)
        self.put(ids, [{**row, "vector": vector} for row, vector in zip(rows, vectors, strict=True)])

    @rule(vectors=VECTORS, data=st.data())
    @precondition(lambda self: self.kind == "int64")
    def add_numbered(self, vectors: list[list[int]], data: st.DataObject) -> None:
        given, rows = self.draw_columns(data, len(vectors))
        blocks = iter([np.reshape(vectors[:2], (-1, DIMENSION)), np.reshape(vectors[2:], (-1, DIMENSION))])
        ids = self.store.add_embeddings(blocks, None, **given)
        assert ids.tolist() == list(range(self.next, self.next + len(vectors)))
        self.put(ids.tolist(), [{**row, "vector": vector} for row, vector in zip(rows, vectors, strict=True)])

    @rule(vectors=VECTORS, data=st.data())
    def upsert(self, vectors: list[list[int]], data: st.DataObject) -> None:
        ids = self.draw_ids(data, len(vectors))
        given, rows = self.draw_columns(data, len(vectors))
        self.store.upsert(np.reshape(vectors, (-1, DIMENSION)), ids, **given)
        # A column that is given is given to all rows.
        nulls = dict.fromkeys(name for row in rows for name in row)
        before = dict(self.rows)
        changed = zip(ids, rows, vectors, strict=True)
        self.put(ids, [{**before.get(id, {}), **nulls, **row, "vector": vector} for id, row, vector in changed])

    @rule(data=st.data())
    def update(self, data: st.DataObject) -> None:
        ids = self.draw_known(data)
        given, rows = self.draw_columns(data, len(ids))
        assert self.store.update(ids, **given) == len({*ids})
        for id, row in zip(ids, rows, strict=True):
            self.rows[id] = {**self.rows[id], **row}

    @rule(data=st.data(), row=records, text=texts)
    def update_all_of_a_filter(self, data: st.DataObject, row: dict[str, Any], text: str | None) -> None:
        given = {"metadata": row} | ({} if text is None else {"texts": text})
        changed = row | ({} if text is None else {"text": text})
        names = known_columns(self.store)
        if names and data.draw(st.booleans()):
            filter = data.draw(filters(names))
            ids = [id for id, held in self.rows.items() if keeps(filter, held)]
            assert self.store.update(filter=filter, **given) == len(ids)
        elif self.rows:
            ids = [data.draw(st.sampled_from([*self.rows]))]
            assert self.store.update(ids[0], **given) == 1
        else:
            ids = []
        for id in ids:
            self.rows[id] = {**self.rows[id], **changed}

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        ids = self.draw_known(data)
        assert self.store.delete(ids) == len({*ids})
        for id in {*ids}:
            del self.rows[id]

    @rule(data=st.data())
    @precondition(lambda self: known_columns(self.store))
    def delete_by_filter(self, data: st.DataObject) -> None:
        filter = data.draw(filters(known_columns(self.store)))
        ids = [id for id, row in self.rows.items() if keeps(filter, row)]
        assert self.store.delete(filter=filter) == len(ids)
        for id in ids:
            del self.rows[id]

    @rule(vectors=VECTORS, data=st.data(), fault=st.integers(0, 8))
    def fail(self, vectors: list[list[int]], data: st.DataObject, fault: int) -> None:
        """What is wrong in its last row changes nothing."""
        vectors = [*vectors, [0] * DIMENSION]
        ids = self.draw_ids(data, len(vectors))
        given, _ = self.draw_columns(data, len(vectors))
        known, [unknown] = [*self.rows], self.named([99])
        wrong = [*vectors[:-1], [0, 0, float("nan"), 0]]
        texts = ["t"] * len(known)
        change = self.store.add_embeddings if data.draw(st.booleans()) else self.store.upsert
        bad = ["x"] * (len(ids) - 1) + [object()]
        calls = [
            lambda: change(wrong, ids, **given),
            lambda: change(iter(wrong), ids, **given),
            lambda: change(vectors, ids[:-1], **given),
            lambda: change(vectors, ids, metadata={"new": range(len(ids)), "bad": bad}),
            lambda: self.store.update([*known, unknown], texts=[*texts, "t"]),
            lambda: self.store.update(known, texts=[*texts, "t"], metadata={"new": texts}),
            lambda: self.store.update(filter={"missing": 1}, texts="t"),
            lambda: self.store.delete([*known, unknown]),
        ]
        if any(row.get("integer") is not None for row in self.rows.values()):
            columns = {"new": texts, "integer": [*texts[1:], "t"]}
            calls.append(lambda: self.store.update(known, texts=texts, metadata=columns))
        with pytest.raises((ValueError, TypeError, KeyError)):
            calls[fault % len(calls)]()

    @rule(queries=QUERIES, k=COUNT, data=st.data())
    def search(self, queries: list[list[int]], k: int, data: st.DataObject) -> None:
        """Among all rows, or those of each kind of filter."""
        given: Any = None
        ids = list(self.rows)
        names = known_columns(self.store)
        kind = data.draw(st.sampled_from(["none", "ids", "booleans", "dict", "function"]))
        if kind == "ids":
            given = self.draw_ids(data, 20)
            ids = [id for id in ids if id in given]
        elif kind == "booleans":
            given = np.array(data.draw(st.lists(st.booleans(), min_size=len(ids), max_size=len(ids))), bool)
            ids = [id for id, keep in zip(ids, given, strict=True) if keep]
        elif kind == "dict" and names:
            given = data.draw(filters(names))
            ids = [id for id in ids if keeps(given, self.rows[id])]
        elif (
            kind == "function" and "integer" in names and any(r.get("integer") is not None for r in self.rows.values())
        ):
            given = lambda columns: columns["integer"] > 0  # noqa: E731
            ids = [id for id in ids if (self.rows[id].get("integer") or 0) > 0]
        assert self.store.count(given) == len(ids)
        limit, offset = data.draw(st.none() | st.integers(0, 5)), data.draw(st.integers(0, 5))
        expected = ids[offset : None if limit is None else offset + limit]
        assert self.store.get(filter=given, columns=["id"], limit=limit, offset=offset)["id"].tolist() == expected
        self.compare(self.store.search(queries, k, filter=given), ids, queries, k)

    def compare(self, found: tuple[np.ndarray, np.ndarray], ids: list, queries: list[list[int]], k: int) -> None:
        """Holds an answer against the scores of the rows with these ids, in the order of rows."""
        scores, found_ids = found
        assert scores.shape == found_ids.shape == (len(queries), min(k, len(ids)))
        vectors = np.reshape([self.rows[id]["vector"] for id in ids], (-1, DIMENSION))
        expected, rows = brute.search(vectors, np.array(queries), k, self.metric)
        np.testing.assert_allclose(scores, expected, rtol=1e-6, atol=1e-6)
        if self.metric == "cosine":
            # Quotients of lengths: what is a tie here may be none there, in the last bits.
            places = {id: place for place, id in enumerate(ids)}
            every = brute.scores(vectors, np.array(queries), self.metric)
            for query, row in enumerate(found_ids.tolist()):
                assert len({*row}) == len(row)
                np.testing.assert_allclose(every[query, [places[id] for id in row]], expected[query], atol=1e-6)
        else:
            assert found_ids.tolist() == [[ids[row] for row in best] for best in rows.tolist()]

    @rule()
    def compact(self) -> None:
        self.store.compact()
        assert not isinstance(self.store.vectors, list)

    @rule()
    def clear(self) -> None:
        self.store.clear()
        self.rows, self.next = {}, 0

    @rule()
    def save(self) -> None:
        self.store.save_to_disk(self.folder)
        self.saved = dict(self.rows), self.next

    @rule(mode=st.sampled_from(["r", "a", "a"]), mmap=st.booleans(), compact_at=st.sampled_from([None, 0.2]))
    @precondition(lambda self: self.saved is not None)
    def open(self, mode: str, mmap: bool, compact_at: float | None) -> None:
        """What was not committed is gone."""
        self.store.close()
        options = self.options | ({} if mode == "r" else {"compact_at": compact_at})
        self.store = EmbeddingStore.open(self.folder, mode, mmap or self.spilling, **options)
        self.writing = mode == "a"
        self.back()

    @rule(mmap=st.booleans())
    @precondition(lambda self: self.saved is not None and not self.writing)
    def load(self, mmap: bool) -> None:
        self.store.load_from_disk(self.folder, mmap or self.spilling)
        self.back()

    def back(self) -> None:
        """Rows are those of the folder."""
        assert self.saved is not None
        self.rows, self.next = dict(self.saved[0]), self.saved[1]

    @rule()
    @precondition(lambda self: self.writing)
    def commit(self) -> None:
        self.store.commit()
        self.saved = dict(self.rows), self.next

    @rule(mmap=st.booleans())
    @precondition(lambda self: self.saved is not None)
    def read_beside(self, mmap: bool) -> None:
        assert self.saved is not None
        other = EmbeddingStore.open(self.folder, mmap=mmap, num_threads=1)
        other.verify()
        self.keep(other, self.saved[0])

    @rule(how=st.sampled_from([copy.copy, copy.deepcopy, lambda store: pickle.loads(pickle.dumps(store))]))
    def copy(self, how: Any) -> None:
        self.keep(how(self.store), self.rows)

    def keep(self, other: EmbeddingStore, rows: Rows) -> None:
        assert_holds(other, rows)
        self.others = [*self.others, (other, dict(rows))][-MAX_OTHERS:]

    @rule()
    @precondition(lambda self: self.others and not self.writing)
    def go_on_with_another(self) -> None:
        """Changes are made to the copy, and the one that was copied stays as it is."""
        self.others.append((self.store, self.rows))
        self.store, rows = self.others.pop(0)
        self.rows = dict(rows)
        largest = self.store._state.contents.core.largest_id if self.store.dimension is not None else None
        self.next = 0 if largest is None else largest + 1

    @invariant()
    def holds_the_rows(self) -> None:
        assert_holds(self.store, self.rows)
        for other, rows in self.others:
            assert_holds(other, rows)
        numbers = self.named(list(range(31)))
        assert self.store.contains(numbers).tolist() == [id in self.rows for id in numbers]


TestStore = pytest.mark.filterwarnings("ignore:.*not committed:ResourceWarning", "ignore:.*mode='r':UserWarning")(
    StoreMachine.TestCase
)
TestStore.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
