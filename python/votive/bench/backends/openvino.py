"""OpenVINO."""

from __future__ import annotations

from typing import Any

from votive.bench.backends import engines
from votive.bench.backends.engine_backend import EngineBackend

CALIBRATION = 300


class OpenVino(EngineBackend):
    """OpenVINO on the CPU."""

    def engine(self, setup: engines.EngineSetup) -> engines.Runtime:
        if self.precision("float32", "int8") == "int8":
            return engines.OpenVinoInt8(setup, self.calibration)
        return engines.OpenVino(setup, "f32")

    def calibration(self, setup: engines.EngineSetup) -> list[Any]:
        """Passages of the demo corpus, which no set holds."""
        from votive.demo_corpus import passages

        texts = [passage.text for passage in passages()][:CALIBRATION]
        return texts if self.setup.task == "embed" else list(zip(texts[1:], texts, strict=False))
