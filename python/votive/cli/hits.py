"""What commands print of the texts that they found."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from votive._text_table import clipped, one_line, width
from votive.cli.terminal import BOLD, CYAN, DIM, columns, is_terminal, painted

# Columns that are left for a text on the narrowest terminal.
_MIN_TEXT_COLUMNS = 20
# Of what stands below a hit: as far as its score.
_INDENT = 5


class Hit(NamedTuple):
    """A text that was found.

    Attributes:
        score: the higher, the better.
        place: where it is, for people: "notes.txt:3", or an id.
        text: None where a store has none.
        fields: what `--json` gives between the score and the text.
        metadata: of a store; None where there is none.
    """

    score: float
    place: str
    text: str | None
    fields: Mapping[str, Any]
    metadata: Mapping[str, Any] | None = None


def print_hits(hits: Iterable[Hit], as_json: bool, first: str = "place") -> None:
    """Prints hits, the best first.

    As JSON it is an object a line. On a terminal a line is cut to its width. Elsewhere it is the whole text behind the
    score and what is `first`, "place" or "rank", separated by tabs.
    """
    if not as_json and is_terminal(sys.stdout):
        _print_for_people(list(hits))
        return
    for rank, hit in enumerate(hits, 1):
        if as_json:
            record: dict[str, Any] = {"rank": rank, "score": hit.score, **hit.fields, "text": hit.text}
            print_json(record if hit.metadata is None else record | {"metadata": hit.metadata})
        elif first == "rank":
            print(f"{rank}\t{hit.score:.4f}\t{one_line(hit.text or '')}")
        else:
            print(f"{hit.score:.4f}\t{one_line(hit.place)}\t{one_line(hit.text or '')}")


def print_json(value: Any) -> None:
    """Prints `value` as one line of JSON in UTF-8, whatever the terminal's encoding is."""
    line = json.dumps(_plain(value), ensure_ascii=False, allow_nan=False) + "\n"
    sys.stdout.flush()
    # Half of a surrogate pair is escaped, which is JSON, too.
    sys.stdout.buffer.write(line.encode("utf-8", "backslashreplace"))


def _plain(value: Any) -> Any:
    """`value` as JSON has it: what is no number is null, points in time and bytes are strings."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "dtype"):  # of NumPy
        kind = value.dtype.kind
        return _plain(str(value) if kind in "mM" else value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return value.hex() if isinstance(value, bytes) else str(value)


def _print_for_people(hits: list[Hit]) -> None:
    """Texts beside their places, or below them where a place is long."""
    screen = columns()
    scores = max((len(f"{hit.score:.4f}") for hit in hits), default=0)
    room = screen - _INDENT - scores - 2
    places = [clipped(hit.place, room) for hit in hits]
    widest = max(map(width, places), default=0)
    has_columns = widest <= screen // 4 and room - widest - 2 >= _MIN_TEXT_COLUMNS
    for rank, (hit, place) in enumerate(zip(hits, places, strict=True), 1):
        head = f"{painted(f'{rank:>3}', DIM)}  {painted(f'{hit.score:>{scores}.4f}', BOLD)}  {painted(place, CYAN)}"
        text = hit.text or ""
        if has_columns:
            print(f"{head}{' ' * (widest - width(place))}  {clipped(text, room - widest - 2)}".rstrip())
        else:
            print(f"{head}\n{' ' * _INDENT}{clipped(text, screen - _INDENT)}".rstrip())
        if hit.metadata:
            values = ", ".join(f"{name}={value}" for name, value in hit.metadata.items() if value is not None)
            print(painted(" " * _INDENT + clipped(values, screen - _INDENT), DIM))
