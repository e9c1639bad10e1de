"""What backends that compute with PyTorch have in common."""

from __future__ import annotations

from votive.bench.backends import engines
from votive.bench.backends.backend import Backend


class TorchBackend(Backend):
    tasks = ("embed", "rerank")

    def load(self) -> None:
        import torch

        self.torch = torch
        self.device = self.setup.choice.device or "cpu"
        engines.torch_device(engines.EngineSetup(self.setup.model, self.setup.cache, self.setup.threads), self.device)
        self.dtype = torch.float16 if self.setup.choice.precision == "float16" else torch.float32
        self.load_model()

    def load_model(self) -> None:
        raise NotImplementedError

    def device_memory(self) -> int | None:
        if self.device == "cpu":
            return None
        if self.device.startswith("cuda"):
            return int(self.torch.cuda.memory_allocated())
        return int(self.torch.mps.driver_allocated_memory())
