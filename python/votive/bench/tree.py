"""What files say, changed without losing where each value stood."""

from __future__ import annotations

from typing import Any

from votive.bench.yaml_file import Document, ExperimentError, KeyPath, Place, found, written


class Tree:
    """A document that is changed.

    Attributes:
        value: keys and values.
        places: of the values; one without a place has that of what holds it.
    """

    def __init__(self, document: Document) -> None:
        self.value: dict[str, Any] = document.value
        self.places = document.places

    def get(self, path: KeyPath) -> Any:
        """The value; None where there is none."""
        value: Any = self.value
        for part in path:
            try:
                value = value[part]
            except (KeyError, IndexError, TypeError):
                return None
        return value

    def place(self, path: KeyPath) -> Place:
        """Where the value stood, or what holds it, with the key as it is written there."""
        if path in self.places:
            return self.places[path]
        for length in range(len(path) - 1, -1, -1):
            if path[:length] in self.places:
                held = self.places[path[:length]]
                rest = written(path[length:])
                dot = "." if held.key and not rest.startswith("[") else ""
                return held._replace(key=f"{held.key}{dot}{rest}")
        return Place("the experiment", None, written(path))

    def assign(self, path: KeyPath, value: Any) -> None:
        """Another value in the same place."""
        self.get(path[:-1])[path[-1]] = value

    def drop(self, path: KeyPath) -> None:
        """Take the value out, if it is there."""
        holder = self.get(path[:-1])
        if isinstance(holder, dict):
            holder.pop(path[-1], None)
        self._forget(path)

    def put(self, path: KeyPath, value: Any, place: Place) -> None:
        """Put a value in, with the mappings that hold it; in a list in the place of another.

        Raises:
            ExperimentError: what should hold it is something else.
        """
        holder: Any = self.value
        for depth, part in enumerate(path):
            last = depth == len(path) - 1
            if isinstance(holder, list) and isinstance(part, int) and part < len(holder):
                pass
            elif isinstance(holder, dict) and isinstance(part, str):
                if not last and holder.get(part) is None:
                    holder[part] = {}
            else:
                inside = written(path[:depth])
                raise ExperimentError(f"{place}: {inside} has no place {part}: it is {found(holder)}")
            if not last:
                holder = holder[part]
        holder[path[-1]] = value
        self._forget(path)
        self.places[path] = place

    def move(self, source: KeyPath, target: KeyPath, in_list: bool = False) -> None:
        """Take a value, and put it elsewhere, with the places in it; `in_list` puts it into a list of its own."""
        value = self.get(source)
        held = self.place(source)
        inner = {path[len(source) :]: place for path, place in self.places.items() if path[: len(source)] == source}
        # The holder is made anew where the target is inside of what moves.
        if target[: len(source)] == source and target != source:
            self.assign(source, {})
        elif target != source:
            self.drop(source)
        self.put(target, [value] if in_list else value, held)
        for path, place in inner.items():
            self.places[(*target, 0, *path) if in_list else (*target, *path)] = place

    def merge(self, over: Document) -> None:
        """Put another document over this one: mappings are merged, all else is replaced."""
        self._merge((), self.value, over.value, over.places)

    def _merge(self, path: KeyPath, below: dict[str, Any], over: dict[str, Any], places: dict[KeyPath, Place]) -> None:
        if path in places:
            self.places[path] = places[path]
        for key, value in over.items():
            inner = (*path, key)
            if isinstance(value, dict) and isinstance(below.get(key), dict):
                self._merge(inner, below[key], value, places)
                continue
            below[key] = value
            self._forget(inner)
            self.places.update({at: place for at, place in places.items() if at[: len(inner)] == inner})

    def _forget(self, path: KeyPath) -> None:
        for at in [at for at in self.places if at[: len(path)] == path]:
            del self.places[at]
