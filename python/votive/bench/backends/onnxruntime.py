"""ONNX Runtime."""

from __future__ import annotations

from votive.bench.backends import engines, exports
from votive.bench.backends.engine_backend import EngineBackend
from votive.bench.backends.unavailable import Unavailable

# By device: the name of what computes there, and how to get an ONNX Runtime that has it.
PROVIDERS = {
    "cpu": (engines.CPU_PROVIDER, "pip install onnxruntime"),
    "cuda": ("CUDAExecutionProvider", "pip uninstall onnxruntime, then pip install onnxruntime-gpu"),
    "coreml": ("CoreMLExecutionProvider", "onnxruntime has it on macOS alone"),
}


class OnnxRuntime(EngineBackend):
    """ONNX Runtime on the CPU, by CUDA or by Core ML."""

    devices = tuple(PROVIDERS)

    def engine(self, setup: engines.EngineSetup) -> engines.Runtime:
        import onnxruntime

        device = self.setup.choice.device or "cpu"
        self.provider, how = PROVIDERS[device]
        there = onnxruntime.get_available_providers()
        if self.provider not in there:
            raise Unavailable(f"this onnxruntime has no {self.provider}, only {', '.join(there)}: {how}")
        int8 = self.precision("float32", "int8") == "int8"
        if int8 and device != "cpu":
            raise Unavailable(f"int8 of onnxruntime is for the CPU here, not for {device}")
        # Core ML knows no operators that are fused of others.
        export = exports.onnx_int8 if int8 else exports.onnx if device == "coreml" else exports.onnx_optimized
        return engines.OnnxRuntime(setup, export, provider=self.provider)

    def load(self) -> None:
        super().load()
        assert isinstance(self.runtime, engines.OnnxRuntime)
        # A provider whose libraries are missing is left out with no more than a line on standard error.
        used = self.runtime.all_cores.get_providers()
        if self.provider not in used:
            raise Unavailable(f"{self.provider} did not start, onnxruntime would compute by {', '.join(used)}")
