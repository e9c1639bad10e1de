"""What the process runs on, as `sentence_transformers.util.environment` says it."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, metadata, version
from typing import Any

from votive.backend import get_backend

__all__ = [
    "check_package_availability",
    "check_version_requirements",
    "get_device_name",
    "is_accelerate_available",
    "is_datasets_available",
    "is_dist_initialized",
    "is_training_available",
]


def get_device_name() -> str:
    """The device that a model runs on unless another one is asked for: "cuda:0", "mps" or "cpu"."""
    device = get_backend().device
    return "mps" if device == "metal" else device


def is_dist_initialized() -> bool:
    """Whether the process is one of a group of torch.distributed."""
    torch = sys.modules.get("torch")
    distributed = getattr(torch, "distributed", None)
    return distributed is not None and distributed.is_available() and distributed.is_initialized()


def check_package_availability(package_name: str, owner: str) -> bool:
    """Whether a package is installed whose home page names that owner."""
    try:
        found = metadata(package_name)
    except PackageNotFoundError:
        return False
    page: str | None = found.get("Home-page")  # type: ignore[attr-defined,unused-ignore]
    return found["Name"] == package_name and page is not None and owner in page


def is_accelerate_available() -> bool:
    """Whether accelerate is installed."""
    return check_package_availability("accelerate", "huggingface")


def is_datasets_available() -> bool:
    """Whether datasets is installed."""
    return check_package_availability("datasets", "huggingface")


def is_training_available() -> bool:
    """False: votive does not train."""
    return False


def check_version_requirements(requirements: dict[str, Any] | None, source: str | None = None) -> None:
    """Checks the versions of packages that a model asks for. Needs the package packaging.

    Args:
        requirements: a specifier such as ">=5,<6" for each package, or a dict with "specifier" and "reason".
        source: the model, for errors.

    Raises:
        ImportError: a package is not installed, or in another version.
    """
    if not requirements:
        return
    from packaging.specifiers import SpecifierSet

    unmet = []
    for name, requirement in requirements.items():
        package = "torch" if name == "pytorch" else name
        asked = requirement if isinstance(requirement, dict) else {"specifier": requirement}
        found = platform.python_version() if package == "python" else _installed_version(package)
        if found is None or not SpecifierSet(asked["specifier"], prereleases=True).contains(found):
            is_there = f"{package}=={found} is installed" if found else "it is not installed"
            unmet.append(f"- {package}{asked['specifier']}, but {is_there}. {asked.get('reason', '')}".rstrip())
    if unmet:
        raise ImportError("\n".join([f"The model {source!r} requires:" if source else "This model requires:", *unmet]))


def _installed_version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
