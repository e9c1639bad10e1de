"""Files that describe one backend of a server become experiments.

They have `model: {name, device, backend, mlx: {bits}, mps: {fp16}}`, `batching: {enabled, max_batch_size, timeout_ms}`
and `server: {max_concurrency}`, and may have `batch_size` and `max_tokens_per_text`. Such a file names one program;
votive is measured before it, with weights in as few bits and on the same device, so that ratios refer to it.
"""

from __future__ import annotations

from typing import Any

from votive._config_file import found
from votive.bench.tree import ExperimentError, Tree

# A name of `model.backend` to the keys of a backend.
_PROGRAMS: dict[str, dict[str, Any]] = {
    "pytorch": {"kind": "sentence-transformers"},
    "mps": {"kind": "sentence-transformers", "device": "mps"},
    "compiled": {"kind": "sentence-transformers", "compile": True},
    "onnx": {"kind": "onnxruntime"},
    "mlx": {"kind": "mlx"},
}
_DTYPES = {4: "int4", 8: "int8", 16: "float16", 32: "float32"}
_OWN_KEYS = ("device", "backend", "mlx", "mps")
_IGNORED = ("normalize", "backend_preference", "device_preference")


def translate(tree: Tree) -> list[str]:
    """Turn such keys into those of an experiment; what has no meaning here is returned as notes.

    Raises:
        ExperimentError: a value that cannot be.
    """
    notes: list[str] = []
    for key in _IGNORED:
        if key in tree.value:
            notes.append(f"{tree.place((key,))}: is ignored: it is a server's, and changes nothing that is measured")
            tree.drop((key,))
    if "server" in tree.value:
        for key in list(_section(tree, ("server",))):
            if key == "max_concurrency":
                tree.move(("server", key), ("batching", key))
            else:
                notes.append(f"{tree.place(('server', key))}: is ignored: experiments start no such server")
        tree.drop(("server",))
    if "batch_size" in tree.value:
        tree.move(("batch_size",), ("sweep", "batch_size"))
    model = tree.get(("model",))
    if isinstance(model, str) and "max_tokens_per_text" in tree.value:
        tree.move(("model",), ("model", "name"))
        model = tree.get(("model",))
    if not isinstance(model, dict):
        return notes
    if "max_tokens_per_text" in tree.value:
        tree.move(("max_tokens_per_text",), ("model", "max_seq_length"))
    if any(key in model for key in _OWN_KEYS):
        notes += _backend(tree, model)
    return notes


def _backend(tree: Tree, model: dict[str, Any]) -> list[str]:
    if tree.value.get("backends"):
        key = next(key for key in _OWN_KEYS if key in model)
        raise ExperimentError(f"{tree.place(('model', key))}: stands beside backends: give it to one of them")
    program = model.get("backend", "votive")
    if program not in (*_PROGRAMS, "votive"):
        accepted = ", ".join(("votive", *_PROGRAMS))
        raise ExperimentError(f"{tree.place(('model', 'backend'))}: accepted: {accepted}; found {found(program)}")
    device = model.get("device")
    bits = _section(tree, ("model", "mlx")).get("bits")
    if bits is not None and bits not in _DTYPES:
        place = tree.place(("model", "mlx", "bits"))
        raise ExperimentError(f"{place}: accepted: {', '.join(map(str, _DTYPES))}; found {found(bits)}")
    half = _section(tree, ("model", "mps")).get("fp16")
    if half not in (None, True, False):
        raise ExperimentError(f"{tree.place(('model', 'mps', 'fp16'))}: accepted: true or false; found {found(half)}")
    own: dict[str, Any] = {"kind": "votive"}
    other = dict(_PROGRAMS.get(program, {}))
    if program == "mlx":
        other["bits"] = bits or 16
        own["dtype"] = _DTYPES[bits or 16]
    if program == "mps" and half:
        other["precision"] = own["dtype"] = "float16"
    if device is not None:
        own["device"] = device
        if program != "mlx":
            other.setdefault("device", device)
    place = tree.place(("model", "backend"))
    where = tree.place(("model",))
    for key in _OWN_KEYS:
        tree.drop(("model", key))
    tree.put(("backends",), [own, other] if other else [own], where)
    return [f"{place}: {program} is measured beside votive, which ratios refer to"] if other else []


def _section(tree: Tree, path: tuple[str, ...]) -> dict[str, Any]:
    value = tree.get(path)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ExperimentError(f"{tree.place(path)}: expected keys and values, found {found(value)}")
    return value
