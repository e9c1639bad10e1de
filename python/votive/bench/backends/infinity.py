"""infinity, which speaks OpenAI's dialect."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import ClassVar

from votive.bench.backends.http import Http
from votive.bench.backends.servers import INFINITY


class Infinity(Http):
    """Of its Python package, or at `url`."""

    prefixes: ClassVar[dict[str, str]] = {}

    def command(self, port: int) -> list[str]:
        if find_spec("infinity_emb") is None:
            raise ImportError("No module named 'infinity_emb'")
        model = str(self.setup.model)
        command = [sys.executable, "-c", INFINITY, "v2", "--model-id", model, "--served-model-name", model]
        command += ["--host", "127.0.0.1", "--port", str(port)]
        engine = "optimum" if self.setup.choice.precision == "onnx" else "torch"
        return [*command, "--device", self.setup.choice.device or "cpu", "--engine", engine]
