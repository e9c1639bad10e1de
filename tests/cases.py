"""Cases of the fixtures: how a model is loaded and called, and what the reference gave. See `fixtures/README.md`."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np

FIXTURES = Path(__file__).parent / "fixtures"


@dataclass(frozen=True)
class Case:
    """One case of one fixture, as its JSON file has it."""

    fixture: str
    name: str
    fields: dict[str, Any]

    # The class that is tested, and the name, without an ending, of the two files with its cases.
    kind: ClassVar[type]
    file: ClassVar[str]

    @property
    def arguments(self) -> dict[str, Any]:
        return self.fields.get("arguments", {})

    def chosen(self, key: str, everything: list[Any]) -> list[Any]:
        """Those that the case names by their places under `key`, else all."""
        indices = self.fields.get(key)
        return everything if indices is None else [everything[index] for index in indices]

    def expected(self) -> dict[str, np.ndarray]:
        """The case's arrays by their short names."""
        prefix = self.name + "."
        with np.load(FIXTURES / self.fixture / f"{self.file}.npz") as arrays:
            return {key.removeprefix(prefix): arrays[key] for key in arrays.files if key.startswith(prefix)}

    def load(self, copy: Path, **options: Any) -> Any:
        """The model of the case, from a copy of the fixture under `copy` where the case changes files."""
        folder = FIXTURES / self.fixture
        files = self.fields.get("files", {})
        if files:
            folder = shutil.copytree(folder, copy / self.fixture, dirs_exist_ok=True)
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                path.unlink()
            else:
                path.write_text(json.dumps(content), encoding="utf-8")
        options = {"device": "cpu", "dtype": "float32", **self.fields.get("constructor", {}), **options}
        return self.kind(str(folder), **options)


OfKind = TypeVar("OfKind", bound=Case)


def cases(kind: type[OfKind]) -> list[OfKind]:
    """All cases of all fixtures of that kind."""
    found = []
    for path in sorted(FIXTURES.glob(f"*/{kind.file}.json")):
        fields = json.loads(path.read_text(encoding="utf-8"))["cases"]
        found += [kind(path.parent.name, name, fields[name]) for name in fields]
    return found
