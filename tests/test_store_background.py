"""Compaction in the background of a writer: what was committed shrinks, and nothing else changes."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stored import files, seen
from votive import EmbeddingStore
from votive._store import compaction
from votive._store.files import generations

DIMENSION = 6


def vectors(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, DIMENSION), np.float32)


def fill(store: EmbeddingStore, first: int, count: int) -> None:
    numbers = range(first, first + count)
    store.add_embeddings(
        vectors(count, first),
        [f"id {number}" for number in numbers],
        [f"text {number}" for number in numbers],
        {"number": list(numbers), "name": [None if number % 3 == 0 else f"ä{number}" for number in numbers]},
    )


def settle(store: EmbeddingStore) -> None:
    """Waits until nothing is compacted any more."""
    for thread in threading.enumerate():
        if thread.name == "votive-compact":
            thread.join()
    assert store._state.compacting is None


def shown(store: EmbeddingStore) -> dict[str, Any]:
    return {name: np.asarray(values).tolist() for name, values in seen(store).items()}


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_a_commit_that_leaves_much_dead_compacts(tmp_path: Path, dtype: Any) -> None:
    folder = tmp_path / "store"
    EmbeddingStore(dtype=dtype).save_to_disk(folder)
    with EmbeddingStore.open(folder, "a", compact_at=0.5) as store:
        fill(store, 0, 300)
        store.commit()
        store.delete([f"id {number}" for number in range(100)])
        store.commit()
        settle(store)
        assert any(name.startswith("deleted") for name in files(folder))
        store.delete([f"id {number}" for number in range(100, 200)])
        before = shown(store)
        store.commit()
        settle(store)
        assert not any(name.startswith("deleted") for name in files(folder))
        assert shown(store) == before == shown(EmbeddingStore.open(folder))
        assert len(store._state.contents.core.segments()[0][2]) == 100
        # And it goes on.
        fill(store, 300, 5)
        store.update("id 250", metadata={"number": -1})
        store.commit()
        assert shown(store) == shown(EmbeddingStore.open(folder, mmap=False))
        store.verify()


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_what_is_changed_meanwhile_is_kept_and_not_committed(
    tmp_path: Path, dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "store"
    EmbeddingStore(dtype=dtype).save_to_disk(folder)
    store = EmbeddingStore.open(folder, "a", compact_at=0.3)
    fill(store, 0, 50)
    store.delete([f"id {number}" for number in range(20)])
    begun, changed = threading.Event(), threading.Event()
    compact = compaction.compacted

    def slow(*arguments: Any) -> Any:
        begun.set()
        assert changed.wait(60)
        return compact(*arguments)

    monkeypatch.setattr(compaction, "compacted", slow)
    store.commit()
    committed = shown(store)
    assert begun.wait(60)
    fill(store, 45, 10)  # replaces five
    store.delete(["id 30", "id 52"])
    store.update(["id 25", "id 51"], texts=["changed", None], metadata=[{"number": 2.5}, {"new": [1, 2]}])
    store.update("id 31", metadata={"name": None, "number": 7})
    expected = shown(store)
    changed.set()
    settle(store)
    assert store._state.contents.core.rows == 30 + 10
    assert shown(store) == expected
    assert shown(EmbeddingStore.open(folder)) == committed
    store.commit()
    assert shown(EmbeddingStore.open(folder)) == expected
    store.verify()
    store.close()


def test_clearing_meanwhile_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "store"
    EmbeddingStore().save_to_disk(folder)
    with EmbeddingStore.open(folder, "a", compact_at=0.1) as store:
        fill(store, 0, 50)
        store.delete("id 7")
        store.delete([f"id {number}" for number in range(30, 40)])
        cleared = threading.Event()
        commit = generations.commit

        def slow(*arguments: Any, committed: int | None) -> Any:
            if committed is None:
                assert cleared.wait(60)
            return commit(*arguments, committed=committed)

        monkeypatch.setattr(generations, "commit", slow)
        store.commit()
        store.clear()
        cleared.set()
        settle(store)
        assert len(store) == 0
        fill(store, 0, 3)
    assert EmbeddingStore.open(folder).ids.tolist() == ["id 0", "id 1", "id 2"]


def test_what_fails_is_told_by_the_next_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "store"
    EmbeddingStore().save_to_disk(folder)
    with EmbeddingStore.open(folder, "a", compact_at=0.1) as store:
        fill(store, 0, 50)
        store.delete([f"id {number}" for number in range(30)])

        def fail(*_: Any) -> Any:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(compaction, "compacted", fail)
        store.commit()
        settle(store)
        fill(store, 50, 1)
        with pytest.warns(RuntimeWarning, match="not compacted in the background .*No space left"):
            store.commit()
        assert len(store) == len(EmbeddingStore.open(folder)) == 21


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"mode": "a", "compact_at": 0}, ValueError, "compact_at: expected a share above 0 and up to 1"),
        ({"mode": "a", "compact_at": 1.5}, ValueError, "compact_at: expected a share above 0 and up to 1"),
        ({"mode": "a", "compact_at": float("nan")}, ValueError, "compact_at: expected a share above 0 and up to 1"),
        ({"mode": "a", "compact_at": "half"}, TypeError, "compact_at: expected a float or None, found str"),
        ({"mode": "r", "compact_at": 0.5}, ValueError, "compact_at: expected None with mode 'r'"),
    ],
)
def test_bounds_that_are_refused(tmp_path: Path, arguments: dict[str, Any], kind: type, message: str) -> None:
    EmbeddingStore().save_to_disk(tmp_path / "store")
    with pytest.raises(kind, match=message):
        EmbeddingStore.open(tmp_path / "store", **arguments)
