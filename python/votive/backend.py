"""Devices: which are there, which is chosen, and what to go on with where one fails."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from votive import _core
from votive._display import html_table, text_table
from votive._tracebacks import short_traceback
from votive._warnings import caller_stacklevel

T = TypeVar("T")

# What programs call a device, and what votive does. "torch" is whatever `device` says.
_NAMES = {
    "auto": "auto",
    "cpu": "cpu",
    "numpy": "cpu",
    "metal": "metal",
    "mps": "metal",
    "mlx": "metal",
    "cuda": "cuda",
    "vulkan": "vulkan",
    "dx12": "dx12",
    "wgpu": "wgpu",
    "torch": "auto",
}
# Those of which a machine may have several.
_NUMBERED = ("cuda", "vulkan", "dx12", "wgpu")

_HEADINGS = ("device", "name", "memory", "types of weights")
_UNKNOWN = "not known before it is used"


class FallbackWarning(UserWarning):
    """A device is not there, or failed, and work goes on with another one."""


@dataclass(frozen=True)
class Backend:
    """A device that is there. It can be given wherever a device is asked for: `Embedder(name, device=get_backend())`.

    Attributes:
        name: "cpu", "metal", "cuda", "vulkan", "dx12" or "wgpu".
        device: its name for `device=`: "cpu", "metal", "cuda:N", "vulkan:N" and so on.
        device_name: what its maker calls it; None where that is not known before it is used.
        memory: bytes; the machine's for the CPU. None where that is not known before it is used.
        dtypes: in which weights are held there.
        built_with: what this build has beyond the CPU's kernels: "metal", "cuda", "accelerate".
    """

    name: str
    device: str
    device_name: str | None
    memory: int | None
    dtypes: tuple[str, ...]
    built_with: tuple[str, ...]

    @property
    def unavailable(self) -> dict[str, str]:
        """The backends that are not there, and why."""
        return dict(_core.devices()[1])

    def __repr__(self) -> str:
        memory = None if self.memory is None else f"{self.memory / 2**30:.1f} GiB"
        return (
            f"Backend({self.name!r}, device={self.device!r}, device_name={self.device_name!r}, memory={memory!r}, "
            f"dtypes={self.dtypes}, built_with={self.built_with}, unavailable={self.unavailable})"
        )

    def _repr_html_(self) -> str:
        rows = [
            ("backend", self.name),
            *zip(_HEADINGS, self._cells(), strict=True),
            ("built with", ", ".join(self.built_with) or "nothing beyond the kernels of the CPU"),
            *((f"no {name}", reason) for name, reason in self.unavailable.items()),
        ]
        return html_table((), rows)

    def _cells(self) -> tuple[str, ...]:
        """What tables say of it, below `_HEADINGS`."""
        memory = _UNKNOWN if self.memory is None else f"{self.memory / 2**30:.1f} GiB"
        return self.device, self.device_name or _UNKNOWN, memory, ", ".join(self.dtypes)


class _Backends(list[Backend]):
    """Devices, as a list whose `repr` is a table."""

    def __repr__(self) -> str:
        table = text_table(_HEADINGS, (backend._cells() for backend in self))
        return "\n".join([table, *self._missing()])

    def _repr_html_(self) -> str:
        return html_table(_HEADINGS, (backend._cells() for backend in self), "\n".join(self._missing()))

    def _missing(self) -> list[str]:
        return [f"no {name}: {reason}" for name, reason in _core.devices()[1]]


@short_traceback
def get_backend(
    name: str | Backend | None = None, device: str | Backend | None = None, *, fallback: bool = False
) -> Backend:
    """The device that a program asks for, or the best one that is there.

    It is not initialised, save for a discrete GPU that "auto" measures by "vulkan" or "dx12".

    >>> get_backend("cpu").device
    'cpu'

    Args:
        name: None or "auto" for what `VOTIVE_DEVICE` names, else the first of Metal, CUDA, a discrete GPU that
            multiplies twice as fast as the CPU by "vulkan" or "dx12", and the CPU.
            "metal", "mps" or "mlx" for Apple's GPU; "cuda" or "cuda:N" for NVIDIA's; "vulkan", "dx12" and, for Metal,
            "wgpu" for GPUs of any maker by votive's own kernels, with ":N" for another than the first; "cpu" or
            "numpy"; "torch" for what `device` says.
        device: which device, by the same names, where `name` does not say.
        fallback: where it is not there, warn, and take the next one that is.

    Raises:
        DeviceError: it is not there; the message says why, and what is.
        ValueError: a name is none of these, or `name` and `device` are two devices.
        TypeError: a name is no str.
    """
    if not isinstance(fallback, bool):
        raise TypeError(f"fallback: expected a bool, found {type(fallback).__name__}")
    return _backend(*on_device(device_of(name, device, "name"), fallback, _core.find_device))


def available_backends() -> list[Backend]:
    """The devices that are there, as a list; its `repr` is a table.

    They stand in the order in which "auto" takes them; of "vulkan", "dx12" and "wgpu" it takes a discrete GPU that
    multiplies twice as fast as the CPU. `unavailable` of each says what is not there.
    """
    return _Backends(_backend(*found) for found in _core.devices()[0])


def _backend(device: str, device_name: str | None, memory: int | None, dtypes: list[str]) -> Backend:
    name = device.partition(":")[0]
    if name == "cpu" and hasattr(os, "sysconf"):
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Backend(name, device, device_name, memory, tuple(dtypes), tuple(_core.features()))


def device_of(backend: Any, device: Any, argument: str) -> str:
    """The device that two arguments ask for together, by the name that was given, if the core knows it.

    Raises:
        ValueError: one is no device's name, or they are two devices.
        TypeError: one is no str, no `Backend` and not None.
    """
    wanted, on = _known(argument, backend), _known("device", device)
    numbered = on.startswith(f"{wanted}:")
    if "auto" not in (wanted, on) and wanted != on and not numbered and not wanted.startswith(f"{on}:"):
        raise ValueError(f"{argument}, device: {backend!r} and {device!r} are two devices; give one of them")
    given = device_name(device if wanted == "auto" or numbered else backend)
    return {None: "auto", "numpy": "cpu", "torch": "auto"}.get(given, given)


def device_name(device: Any) -> Any:
    """A `Backend` by its name, anything else as it is."""
    return device.device if isinstance(device, Backend) else device


def is_device(device: Any, name: str) -> bool:
    """Whether `device` is one of the names of the device `name`."""
    device = device_name(device)
    if not isinstance(device, str):
        return False
    known = _NAMES.get(device, device)
    return name == (f"{known}:0" if known in _NUMBERED else known)


def _known(argument: str, value: Any) -> str:
    value = device_name(value)
    if value is None:
        return "auto"
    if not isinstance(value, str):
        raise TypeError(f"{argument}: expected str, Backend or None, found {type(value).__name__}")
    family, _, number = value.partition(":")
    if family in _NUMBERED and number.isascii() and number.isdecimal():
        return value
    if value in _NAMES:
        return _NAMES[value]
    if value == "fake" and "VOTIVE_FAKE_DEVICE" in os.environ:
        return value
    raise ValueError(
        f"{argument}: {value!r} is not a device; accepted: {', '.join(_NAMES)}, cuda:N, vulkan:N, dx12:N, wgpu:N"
    )


def on_device(device: str, fallback: bool, make: Callable[[str], T]) -> T:
    """What `make` makes on `device` or, with `fallback`, on the first one after it where that does not fail.

    Raises:
        DeviceError: `make` does on all of them.
    """
    while True:
        try:
            return make(device)
        except _core.DeviceError as error:
            if not fallback:
                raise
            device = device_after(device, error)


def device_after(device: str, error: _core.DeviceError) -> str:
    """The device to go on with after `error` on `device`. The user is warned.

    Raises:
        DeviceError: `error`, after the last device.
    """
    following = _core.next_device(device)
    if following is None:
        raise error
    warnings.warn(f"{error}; going on with {following!r}", FallbackWarning, stacklevel=caller_stacklevel())
    return following
