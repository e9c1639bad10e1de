"""Damaged models: loading them and computing with them gives finite numbers, or an error that names a file."""

import random
import shutil
import warnings
from pathlib import Path
from typing import Literal

import numpy as np
from votive import Embedder, Reranker, quantize_model

from fuzz.harness import Fault, Fuzzer, link, main, remove, replace
from fuzz.mutations import KINDS, damaged_bytes

FIXTURES = Path(__file__).parent.parent / "fixtures"

# What a folder must have for votive to load it; what else is in a fixture is for its tests.
_LEFT_OUT = ("*.npz", "*.md", "texts.json", "pairs.json", "cases.json", "*.py")

# Models that are written by `quantize_model`, too.
QUANTIZED: dict[str, Literal["int8", "int4"]] = {"bert_modules": "int8", "mlx_qwen3": "int4", "gguf_bert": "int4"}

TEXTS = ["hello world", "Ärger mit [MASK] \uff46\uff55\uff4c\uff4c 日本, " + "a" * 40 + "!"]


class Models(Fuzzer):
    """Tries damaged models."""

    name = "models"

    def __init__(self, base: Path) -> None:
        super().__init__(base)
        self.sources = sorted(path for path in FIXTURES.iterdir() if (path / "config.json").exists() or is_model(path))
        self.names: set[str] = set()
        for name, dtype in QUANTIZED.items():
            source = base / "quantized" / f"{name}_{dtype}"
            if not source.exists():
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", UserWarning)  # small models lose more in int4
                    quantize_model(FIXTURES / name, source, dtype)
            self.sources.append(source)
        for source in self.sources:
            copy = base / "sources" / source.name
            if not copy.exists():
                shutil.copytree(source, copy, ignore=shutil.ignore_patterns(*_LEFT_OUT))
            self.names |= {path.name for path in copy.rglob("*") if path.is_file()}

    def make(self, rng: random.Random, folder: Path) -> None:
        source = self.base / "sources" / rng.choice(self.sources).name
        link(source, folder)
        (folder / "KIND").write_text("Reranker" if "rerank" in source.name or "labels" in source.name else "Embedder")
        files = sorted(path for path in source.rglob("*") if path.is_file())
        for _ in range(rng.choice([1, 1, 1, 1, 2, 3])):
            path = rng.choice(files)
            place = folder / path.relative_to(source)
            match rng.randrange(40):
                case 0:
                    remove(place)
                case 1:
                    replace(place, rng.choice(files).read_bytes())
                case 2:
                    other = self.base / "sources" / rng.choice(self.sources).name / path.relative_to(source)
                    replace(place, other.read_bytes() if other.is_file() else b"")
                case 3:
                    remove(place)
                    place.mkdir()
                case _ if place.is_file():
                    change = KINDS.get(path.suffix, damaged_bytes)
                    replace(place, change(rng, place.read_bytes() if rng.random() < 0.1 else path.read_bytes()))

    def use(self, folder: Path) -> None:
        kind = (folder / "KIND").read_text()
        if kind == "Reranker":
            ranker = Reranker(folder, num_threads=1, local_files_only=True)
            numbers = ranker.predict([(TEXTS[0], TEXTS[1]), (TEXTS[1], TEXTS[0])], activation_fn="identity")
        else:
            model = Embedder(folder, num_threads=1, local_files_only=True)
            numbers = model.encode(TEXTS)
            if numbers.shape != (2, model.get_embedding_dimension()):
                raise Fault(f"vectors of shape {numbers.shape}")
        # Large finite weights are numbers, and what follows from them may be none.
        if not np.isfinite(numbers).all() and not self._has_other_numbers(folder):
            raise Fault(f"not finite: {numbers!r:.200}")

    def check_message(self, folder: Path, error: Exception) -> None:
        super().check_message(folder, error)
        message = str(error)
        names = {str(folder), *self.names}
        if not isinstance(error, MemoryError) and not any(name in message for name in names):
            raise Fault(f"no file is named: {type(error).__name__}: {message}")

    def _has_other_numbers(self, folder: Path) -> bool:
        """Whether weights, or numbers that scale them, are not those of a fixture."""
        kinds = (".safetensors", ".gguf")
        known = {path.read_bytes() for path in (self.base / "sources").rglob("*") if path.suffix in kinds}
        found = (path for path in folder.rglob("*") if path.suffix in kinds and path.is_file())
        return any(path.read_bytes() not in known for path in found)


def is_model(folder: Path) -> bool:
    """Whether a fixture is a model that has its Transformer in a folder of its own, or all in one file."""
    return folder.is_dir() and ((folder / "modules.json").exists() or (folder / "model.gguf").exists())


if __name__ == "__main__":
    main(Models)
