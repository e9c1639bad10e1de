"""What a query found: rows with their scores, texts and metadata, to read, to look at and to pass on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, overload

from votive._cells import clipped
from votive._display import html_table, text_table

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd  # type: ignore[import-untyped, import-not-found, unused-ignore]
    import pyarrow  # type: ignore[import-untyped, import-not-found, unused-ignore]
    from numpy.typing import NDArray

# What is shown of many hits, and of a long text.
SHOWN_HITS = 50
_REPR_WIDTH = 60

_NOTHING = "no hits"


@dataclass(frozen=True)
class Hit:
    """A row that a query found.

    Attributes:
        id: of the row.
        score: the larger the nearer: a cosine, a dot product, or a negated distance.
        text: of the row; None where it has none.
        metadata: values by the names of the store's columns, None for null; points in time are `numpy.datetime64`.
    """

    id: int | str
    score: float
    text: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict, hash=False)

    def __repr__(self) -> str:
        parts = [f"id={self.id!r}", f"score={self.score:.4f}"]
        if self.text is not None:
            parts.append(f"text={clipped(self.text, _REPR_WIDTH)!r}")
        if self.metadata:
            parts.append(f"metadata={clipped(repr(self.metadata), _REPR_WIDTH)}")
        return f"Hit({', '.join(parts)})"


class Hits(Sequence[Hit]):
    """The hits of one query, the best first; of a slice, too. Shown as a table in a terminal and in a notebook.

    Args:
        hits: what it holds.
    """

    __slots__ = ("_hits",)

    def __init__(self, hits: Iterable[Hit] = ()) -> None:
        self._hits = tuple(hits)

    @overload
    def __getitem__(self, place: int) -> Hit: ...
    @overload
    def __getitem__(self, place: slice) -> Hits: ...
    def __getitem__(self, place: int | slice) -> Hit | Hits:
        return Hits(self._hits[place]) if isinstance(place, slice) else self._hits[place]

    def __len__(self) -> int:
        return len(self._hits)

    def __eq__(self, other: object) -> bool:
        return self._hits == other._hits if isinstance(other, Hits) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._hits)

    @property
    def ids(self) -> NDArray[Any]:
        """The ids `[hits]`: int64, or an object array of str."""
        import numpy as np

        ids = [hit.id for hit in self._hits]
        return np.array(ids, object if ids and isinstance(ids[0], str) else np.int64)

    @property
    def scores(self) -> NDArray[np.float32]:
        """The scores `[hits]`."""
        import numpy as np

        return np.array([hit.score for hit in self._hits], np.float32)

    @property
    def texts(self) -> list[str | None]:
        """The texts, None for null."""
        return [hit.text for hit in self._hits]

    def to_pandas(self) -> pd.DataFrame:
        """A table with the columns "id", "score" and "text", and those of metadata.

        A column of metadata that is called "score" becomes "metadata.score".

        Raises:
            ImportError: pandas is not installed.
        """
        pandas = _imported("pandas", "to_pandas")
        return pandas.DataFrame({"id": self.ids, "score": self.scores, "text": self.texts, **self._metadata()})

    def to_arrow(self) -> pyarrow.Table:
        """As `to_pandas`, of types that `EmbeddingStore.to_arrow` gives such columns.

        Raises:
            ImportError: pyarrow is not installed.
            ValueError: a point in time is beyond what Arrow holds.
        """
        pa = _imported("pyarrow", "to_arrow")
        from votive._store.arrow_arrays import table_of

        ids = self.ids
        arrays = {"id": pa.array(ids, pa.string() if ids.dtype == object else pa.int64())}
        return table_of({**arrays, "score": pa.array(self.scores)}, {"text": self.texts, **self._metadata()})

    def _metadata(self) -> dict[str, list[Any]]:
        """The columns of metadata, by names that are no other's."""
        names = dict.fromkeys(name for hit in self._hits for name in hit.metadata)
        return {
            f"metadata.{name}" if name in ("id", "score", "text") else name: [
                hit.metadata.get(name) for hit in self._hits
            ]
            for name in names
        }

    def _cells(self) -> dict[str, list[str]]:
        """What is shown, by the heads of its columns: of the first hits, and of texts only where there are some."""
        shown = self[:SHOWN_HITS]
        cells = {"id": [str(hit.id) for hit in shown], "score": [f"{hit.score:.4f}" for hit in shown]}
        if any(text is not None for text in shown.texts):
            cells["text"] = ["" if text is None else text for text in shown.texts]
        for name, values in shown._metadata().items():
            cells[name] = ["" if value is None else str(value) for value in values]
        return cells

    def _rest(self) -> str:
        more = len(self) - SHOWN_HITS
        return f"… and {more} more" if more > 0 else ""

    def __repr__(self) -> str:
        if not self._hits:
            return f"Hits: {_NOTHING}"
        cells = self._cells()
        # Without a text, whatever comes first is what the others stand beside.
        main = "text" if "text" in cells else "id"
        table = text_table(list(cells), zip(*cells.values(), strict=True), main=main)
        return f"{table}\n{self._rest()}" if self._rest() else table

    def _repr_html_(self) -> str:
        if not self._hits:
            return f"<p><em>{_NOTHING}</em></p>"
        cells = self._cells()
        rest = f"<p>{self._rest()}</p>" if self._rest() else ""
        return html_table(list(cells), zip(*cells.values(), strict=True)) + rest


def _imported(package: str, method: str) -> Any:
    try:
        return import_module(package)
    except ImportError as error:
        raise ImportError(f"{method} needs {package}: pip install {package}") from error
