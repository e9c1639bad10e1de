"""What files say, changed without losing where each value stood."""

from __future__ import annotations

from typing import Any

from votive._config_file import ConfigError, Document, KeyPath, Place, found, written


class ExperimentError(ConfigError):
    """A file that can be read, and is no experiment."""


class Tree(Document):
    """A document that is changed."""

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
        self.source = over.source
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
