"""ONNX Runtime."""

from __future__ import annotations

from votive.bench.backends import engines, exports
from votive.bench.backends.engine_backend import EngineBackend


class OnnxRuntime(EngineBackend):
    """ONNX Runtime on the CPU."""

    def engine(self, setup: engines.Setup) -> engines.Runtime:
        int8 = self.precision("float32", "int8") == "int8"
        return engines.OnnxRuntime(setup, exports.onnx_int8 if int8 else exports.onnx_optimized)
