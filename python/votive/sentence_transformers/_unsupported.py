"""What of sentence-transformers votive does not do: it is refused by name, when it is used, with the way out."""

from __future__ import annotations

from typing import Any


class Unsupported(NotImplementedError):
    """A feature of sentence-transformers that votive does not have. The message names it and says what to do."""


class UnsupportedAttribute(Unsupported, AttributeError):
    """An attribute that votive does not have: to `hasattr` it is not there."""


TRAINING = "votive does not train; train with sentence-transformers, save the model, and load its folder here"


class RefusingType(type):
    """A class that can be imported, named, subclassed and asked with `isinstance`, and raises when it is made."""

    _advice: str

    def __call__(cls, *_: Any, **__: Any) -> Any:
        raise Unsupported(f"{cls.__name__}: {cls._advice}")

    def __getattr__(cls, name: str) -> Any:
        # Libraries read members of what trains where they are imported, as defaults of arguments.
        if name.startswith("_"):
            raise AttributeError(name)
        return refusing_type(f"{cls.__name__}.{name}", cls.__module__, cls._advice)


def refusing_type(name: str, module: str, advice: str) -> type:
    """A class of that name whose making raises `Unsupported`; subclasses of it do, too."""
    return RefusingType(name, (), {"__module__": module, "_advice": advice, "__doc__": f"Not in votive: {advice}."})
