"""llama.cpp."""

from __future__ import annotations

from pathlib import Path

from votive.bench.backends import engines, gguf_files, llama_engine
from votive.bench.backends.engine_backend import EngineBackend
from votive.bench.backends.heads import Head
from votive.bench.backends.unavailable import Unavailable


class LlamaCpp(EngineBackend):
    """llama.cpp with a GGUF file, or with one of eight bits that it makes of the model."""

    tasks = ("embed",)
    poolings, families = tuple(gguf_files.POOLINGS), ("BERT",)
    batch_size = 8  # larger ones are slower, see `llama_engine`

    def engine(self, setup: engines.EngineSetup) -> engines.Runtime:
        return llama_engine.LlamaCpp(setup, file=self.file(), normalizes=self.head is None or self.head.normalizes)

    def file(self) -> Path | None:
        """The one that is given, as the backend's or as the model itself."""
        given, model = self.setup.choice.file, self.setup.model
        return Path(given) if given else model if model.is_file() else None

    def find_head(self) -> Head | None:
        if self.file() is not None:
            return None
        try:
            return super().find_head()
        except Unavailable as error:
            raise Unavailable(f"{error}: give file: model.gguf") from error
