"""Putting this package where programs look for sentence_transformers.

install():   sys.modules["sentence_transformers..."] ← the modules of this package, for every one of its names
uninstall(): takes them away
"""

from __future__ import annotations

import importlib
import pkgutil
import sys

from votive.sentence_transformers._import_paths import PACKAGE
from votive.sentence_transformers._tensors import TensorRule, set_rule

STANDS_FOR = "sentence_transformers"


def install(tensors: TensorRule = "auto") -> None:
    """Has `import sentence_transformers`, and every import from it, give votive's classes, from now on.

    Call it before anything imports sentence_transformers. A second call changes nothing but `tensors`.

    Args:
        tensors: when functions that sentence-transformers gives tensors from do so unasked: "auto" where an argument is
            one or torch was imported; "always"; "never".

    Raises:
        RuntimeError: sentence_transformers was imported already: objects of two kinds would meet.
        ValueError: `tensors` is not accepted.
    """
    package = sys.modules[PACKAGE]
    there = sys.modules.get(STANDS_FOR)
    if there not in (None, package):
        raise RuntimeError(
            "install: sentence_transformers was imported already, so that libraries hold its classes; call install() "
            "before those imports, or run the program with `votive run`"
        )
    set_rule(tensors)
    # The parts that are files; those that are not are there already.
    for found in pkgutil.walk_packages(package.__path__, f"{PACKAGE}."):
        if not any(part.startswith("_") for part in found.name.split(".")) and found.name not in _NOT_THEIRS:
            importlib.import_module(found.name)
    for name in _ours():
        sys.modules[name.replace(PACKAGE, STANDS_FOR, 1)] = sys.modules[name]


def uninstall() -> None:
    """Undoes `install`. What was imported meanwhile keeps votive's classes."""
    if sys.modules.get(STANDS_FOR) is not sys.modules[PACKAGE]:
        return
    set_rule("auto")
    for name in _ours():
        sys.modules.pop(name.replace(PACKAGE, STANDS_FOR, 1), None)


# Files of this package that sentence-transformers has not.
_NOT_THEIRS = (f"{PACKAGE}.pytest_plugin",)


def _ours() -> list[str]:
    """The modules that have a place below sentence_transformers."""
    return [
        name
        for name in sys.modules
        if name.split(".")[:2] == PACKAGE.split(".")
        and not any(part.startswith("_") for part in name.split("."))
        and name not in _NOT_THEIRS
    ]
