"""Models on disk with their weights as they are held: quantized once, and mapped from then on."""

from __future__ import annotations

import os
import tempfile
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Literal

from votive._arguments import check_choice, check_path
from votive._core import ModelError
from votive._tracebacks import short_traceback
from votive.embedder import Embedder
from votive.reranker import Reranker

DTYPES = ("int8", "int4")


def _write(kind: type[Embedder | Reranker], panel_folder: str, name: str | PathLike[str], **options: Any) -> None:
    """Loads a model of that class, which is written as it is packed."""
    written: Any = type(kind.__name__, (kind,), {"_panel_folder": panel_folder})
    written(name, **options).close()


@short_traceback
def quantize_model(
    model_name_or_path: str | PathLike[str],
    output_folder: str | PathLike[str],
    dtype: Literal["int8", "int4"] = "int8",
    *,
    revision: str | None = None,
    base: str | PathLike[str] | None = None,
    gguf_file: str | None = None,
    cache_folder: str | PathLike[str] | None = None,
    local_files_only: bool = False,
    token: bool | str | None = None,
    num_threads: int | None = None,
) -> Path:
    """Writes a model with its weights in int8 or int4, in panels for this CPU's kernels.

    `Embedder(output_folder)`, or `Reranker`, maps them: it starts at once, and gives the bits of the model with that
    `dtype`; processes share the memory. The bytes are compared with their checksums at every start. They are for CPUs
    whose kernels have the same layout, and for this version of it: another one gets an error that says so.

    Args:
        model_name_or_path: as for `Embedder`.
        output_folder: a new folder, or an empty one; it appears when it is complete. Nothing may change its files while
            a model of it is loaded.
        dtype: "int8" or "int4", as for `Embedder`.
        revision: see `Embedder`, as all that follow.
        base: see there.
        gguf_file: see there.
        cache_folder: see there.
        local_files_only: see there.
        token: see there.
        num_threads: see there.

    Returns:
        The folder's path.

    Raises:
        FileExistsError: there is something in `output_folder`.
        ModelError: the model is not supported; static embeddings, and models with adapters of tasks, have no such form.
    """
    check_choice("dtype", dtype, DTYPES)
    target = Path(fspath(output_folder))
    check_path("output_folder", str(target))
    if os.path.lexists(target) and (not target.is_dir() or any(target.iterdir())):
        raise FileExistsError(f"output_folder: {target} is there already; name a new folder, or an empty one")
    target.parent.mkdir(parents=True, exist_ok=True)
    options = {
        "device": "cpu",
        "dtype": dtype,
        "revision": revision,
        "gguf_file": gguf_file,
        "cache_folder": cache_folder,
        "local_files_only": local_files_only,
        "token": token,
        "num_threads": num_threads,
    }
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as beside:
        written = os.path.join(beside, "model")
        try:
            _write(Embedder, written, model_name_or_path, base=base, **options)
        except ModelError as error:
            # What is no model of texts may be one of pairs.
            try:
                _write(Reranker, written, model_name_or_path, **options)
            except ModelError:
                raise error from None
        if target.is_dir():
            target.rmdir()
        os.rename(written, target)
    return target
