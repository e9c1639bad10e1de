"""Any sequence of changes and searches, beside a dictionary that is searched by computing every score."""

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
from votive import EmbeddingStore
from votive._store import writer as _writer

DIMENSION = 4

# Of small integers scores are exact in float64, so that ties are ties.
VECTOR = st.lists(st.integers(-3, 3), min_size=DIMENSION, max_size=DIMENSION)
VECTORS = st.lists(VECTOR, max_size=12)
NUMBERS = st.integers(0, 30)
COUNT = st.integers(1, 12)


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """No sequence has a power failure in it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_writer, "DISK", QuickDisk())
        yield


class StoreMachine(RuleBasedStateMachine):
    """A store, and what it must hold: vector, text and year by id, in the order of rows."""

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
        self.rows: dict[int | str, tuple[list[int], str, int]] = {}
        self.next = 0
        self.place = tempfile.TemporaryDirectory()
        self.folder = Path(self.place.name) / "store"
        # What the folder holds, and whether the store may commit to it.
        self.saved: tuple[dict[int | str, tuple[list[int], str, int]], int] | None = None
        self.writing = False

    def teardown(self) -> None:
        if hasattr(self, "place"):
            self.store.close()
            del self.store
            self.place.cleanup()

    def named(self, numbers: list[int]) -> list:
        return numbers if self.kind == "int64" else [f"id {number}" for number in numbers]

    def put(self, ids: list, vectors: list[list[int]], label: str) -> None:
        """Adds rows to the store, then to the dictionary, the last of an id at its end."""
        texts = [f"{label} {id}" for id in ids]
        years = list(range(len(ids)))
        self.store.add_embeddings(np.reshape(vectors, (-1, DIMENSION)), ids, texts, {"year": years})
        for id, vector, text, year in zip(ids, vectors, texts, years, strict=True):
            self.rows.pop(id, None)
            self.rows[id] = (vector, text, year)
            if self.kind == "int64":
                self.next = max(self.next, id + 1)

    @rule(vectors=VECTORS, data=st.data())
    def add(self, vectors: list[list[int]], data: st.DataObject) -> None:
        numbers = data.draw(st.lists(NUMBERS, min_size=len(vectors), max_size=len(vectors)))
        self.put(self.named(numbers), vectors, "added")

    @rule(vectors=VECTORS)
    @precondition(lambda self: self.kind == "int64")
    def add_numbered(self, vectors: list[list[int]]) -> None:
        before = self.next
        texts, years = ["numbered"] * len(vectors), [7] * len(vectors)
        ids = self.store.add_embeddings(np.reshape(vectors, (-1, DIMENSION)), None, texts, {"year": years})
        assert ids.tolist() == list(range(before, before + len(vectors)))
        self.next += len(vectors)
        self.rows |= {id: (vector, "numbered", 7) for id, vector in zip(ids.tolist(), vectors, strict=True)}

    @rule(vectors=VECTORS, data=st.data())
    def replace(self, vectors: list[list[int]], data: st.DataObject) -> None:
        ids = data.draw(st.permutations(list(self.rows)))[: len(vectors)]
        self.put(ids, vectors[: len(ids)], "replaced")

    @rule(vectors=VECTORS)
    def fail_to_add(self, vectors: list[list[int]]) -> None:
        vectors = [*vectors, [0, 0, float("nan"), 0]]
        with pytest.raises(ValueError, match=f"row {len(vectors) - 1}"):
            self.store.add_embeddings(
                iter(vectors),
                self.named(list(range(len(vectors)))),
                ["t"] * len(vectors),
                {"year": range(len(vectors))},
            )

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        ids = data.draw(st.lists(st.sampled_from([*self.rows, None]), max_size=8))
        ids = [id for id in ids if id is not None]
        assert self.store.delete(ids) == len({*ids})
        for id in {*ids}:
            del self.rows[id]

    @rule(number=NUMBERS)
    def delete_one(self, number: int) -> None:
        [id] = self.named([number])
        if id in self.rows:
            assert self.store.delete(id) == 1
            del self.rows[id]
        else:
            with pytest.raises(KeyError):
                self.store.delete([*self.rows, id])

    @rule(queries=st.lists(VECTOR, min_size=1, max_size=5), k=COUNT)
    def search(self, queries: list[list[int]], k: int) -> None:
        self.compare(self.store.search(queries, k), list(self.rows), queries, k)

    @rule(queries=st.lists(VECTOR, min_size=1, max_size=3), k=COUNT, data=st.data())
    def search_among_ids(self, queries: list[list[int]], k: int, data: st.DataObject) -> None:
        ids = self.named(data.draw(st.lists(NUMBERS, max_size=20)))
        self.compare(self.store.search(queries, k, filter=ids), [id for id in self.rows if id in ids], queries, k)

    @rule(queries=st.lists(VECTOR, min_size=1, max_size=3), k=COUNT, data=st.data())
    def search_among_booleans(self, queries: list[list[int]], k: int, data: st.DataObject) -> None:
        kept = np.array(data.draw(st.lists(st.booleans(), min_size=len(self.rows), max_size=len(self.rows))), bool)
        ids = [id for id, keep in zip(self.rows, kept, strict=True) if keep]
        self.compare(self.store.search(queries, k, filter=kept), ids, queries, k)

    @rule(queries=st.lists(VECTOR, min_size=1, max_size=3), k=COUNT, year=st.integers(0, 8))
    def search_by_year(self, queries: list[list[int]], k: int, year: int) -> None:
        found = self.store.search(queries, k, filter=lambda row: row.get("year", np.zeros(0)) < year)
        self.compare(found, [id for id, (_, _, known) in self.rows.items() if known < year], queries, k)

    def compare(self, found: tuple[np.ndarray, np.ndarray], ids: list, queries: list[list[int]], k: int) -> None:
        """Holds an answer against the scores of the rows with these ids, in the order of rows."""
        scores, found_ids = found
        assert scores.shape == found_ids.shape == (len(queries), min(k, len(ids)))
        vectors = np.reshape([self.rows[id][0] for id in ids], (-1, DIMENSION))
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

    @rule(mode=st.sampled_from(["r", "a"]), mmap=st.booleans())
    @precondition(lambda self: self.saved is not None)
    def open(self, mode: str, mmap: bool) -> None:
        """What was not committed is gone."""
        self.store.close()
        self.store = EmbeddingStore.open(self.folder, mode, mmap or self.spilling, **self.options)
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
        assert other.ids.tolist() == list(self.saved[0])
        assert other.get(other.ids).tolist() == [vector for vector, _, _ in self.saved[0].values()]

    @rule()
    def copy(self) -> None:
        other = pickle.loads(pickle.dumps(self.store))
        assert other.ids.tolist() == list(self.rows)
        assert other.get(other.ids).tolist() == [vector for vector, _, _ in self.rows.values()]

    @invariant()
    def holds_the_rows(self) -> None:
        assert len(self.store) == len(self.rows)
        assert self.store.ids.tolist() == list(self.store) == list(self.rows)
        ids = list(self.rows)[::-1]
        if ids:
            assert self.store.get(ids).tolist() == [self.rows[id][0] for id in ids]
            assert self.store.texts == [text for _, text, _ in self.rows.values()]
            assert self.store.get_texts(ids) == [self.rows[id][1] for id in ids]
            assert self.store.metadata["year"].tolist() == [year for _, _, year in self.rows.values()]
        numbers = self.named(list(range(31)))
        assert self.store.contains(numbers).tolist() == [id in self.rows for id in numbers]


TestStore = pytest.mark.filterwarnings("ignore:.*not committed:ResourceWarning", "ignore:.*mode='r':UserWarning")(
    StoreMachine.TestCase
)
TestStore.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
