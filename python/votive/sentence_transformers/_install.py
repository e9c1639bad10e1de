"""Putting this package where programs look for sentence_transformers.

    install():   meta path ← a finder of `sentence_transformers` and all below it, which gives the modules of this package
    uninstall(): takes it away, and the modules that it gave
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

from votive.sentence_transformers._names import PACKAGE
from votive.sentence_transformers._tensors import TensorRule, set_rule

STANDS_FOR = "sentence_transformers"


class _Loader(Loader):
    """Gives the module of this package that has the rest of the name."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        own = importlib.import_module(PACKAGE + spec.name.removeprefix(STANDS_FOR))
        # A module of its own, so that what is imported by the one name keeps its own spec, which find_spec reads.
        module = ModuleType(spec.name, own.__doc__)
        module.__dict__.update({name: value for name, value in vars(own).items() if not _is_of_import(name)})
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is left to do."""


class _Finder(MetaPathFinder):
    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != STANDS_FOR and not name.startswith(f"{STANDS_FOR}."):
            return None
        own = importlib.util.find_spec(PACKAGE + name.removeprefix(STANDS_FOR))
        if own is None:
            return None
        spec = ModuleSpec(name, _Loader(), origin=own.origin, is_package=own.submodule_search_locations is not None)
        return spec


_finder = _Finder()


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
    there = sys.modules.get(STANDS_FOR)
    if there is not None and _finder not in sys.meta_path:
        raise RuntimeError(
            "install: sentence_transformers was imported already, so that libraries hold its classes; call install() "
            "before those imports, or run the program with `votive run`"
        )
    set_rule(tensors)
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


def uninstall() -> None:
    """Undoes `install`. What was imported meanwhile keeps votive's classes."""
    if _finder not in sys.meta_path:
        return
    sys.meta_path.remove(_finder)
    set_rule("auto")
    for name in [name for name in sys.modules if name == STANDS_FOR or name.startswith(f"{STANDS_FOR}.")]:
        del sys.modules[name]


def _is_of_import(name: str) -> bool:
    return name in ("__name__", "__spec__", "__loader__", "__package__", "__path__", "__file__", "__cached__")
