"""Reading and writing safetensors files with NumPy alone."""

import json
from pathlib import Path
from typing import Any

import numpy as np


def read(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a safetensors file, in float32."""
    content = path.read_bytes()
    data = 8 + int.from_bytes(content[:8], "little")
    header = {name: entry for name, entry in json.loads(content[8:data]).items() if name != "__metadata__"}

    def tensor(entry: dict[str, Any]) -> np.ndarray:
        start, end = entry["data_offsets"]
        stored = np.dtype({"F32": np.float32, "F16": np.float16, "BF16": np.uint16, "I64": np.int64}[entry["dtype"]])
        values = np.frombuffer(content[data + start : data + end], stored)
        if entry["dtype"] == "BF16":
            values = (values.astype(np.uint32) << 16).view(np.float32)
        return values.astype(np.float32).reshape(entry["shape"])

    return {name: tensor(entry) for name, entry in header.items()}


def write(path: Path, tensors: dict[str, np.ndarray], dtype: str) -> None:
    """Writes arrays, or bytes that stand for the numbers of a type that NumPy lacks."""
    header, data = {}, b""
    for name, tensor in tensors.items():
        end = len(data) + tensor.nbytes
        header[name] = {"dtype": dtype, "shape": tensor.shape, "data_offsets": (len(data), end)}
        data += tensor.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
