"""What the numbers were taken on: the processor, the system and the versions of everything compared."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from votive._cpus import usable_cpus

# Instruction sets that decide which kernels an engine picks.
FLAGS = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimddp", "i8mm", "sve")
PACKAGES = (
    "sentence-transformers",
    "transformers",
    "torch",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "nncf",
    "llama-cpp-python",
    "tokenizers",
    "mlx",
    "mlx-embeddings",
    "model2vec",
    "fastembed",
    "infinity-emb",
    "numpy",
    "faiss-cpu",
    "usearch",
    "lancedb",
    "chromadb",
    "qdrant-client",
    "ray",
    "distributed",
    "sqlite-vec",
    "apsw",
)

_CPU_FOLDER = Path("/sys/devices/system/cpu")


def describe() -> dict[str, str | int | float | list[str]]:
    """Processor, instruction sets, CPUs that this process may use, memory, system, Python, the load average before."""
    description: dict[str, str | int | float | list[str]] = {
        "processor": _processor(),
        "flags": [flag for flag in FLAGS if flag in _cpuinfo_flags()],
        "cpus": usable_cpus(),
        "cpu_mhz": mhz_range(),
        "memory_bytes": psutil.virtual_memory().total,
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
    }
    if hasattr(os, "getloadavg"):
        description["load"] = f"{os.getloadavg()[0]:.1f}"
    return description


def cpu_mhz(folder: Path = _CPU_FOLDER) -> float | None:
    """The clock of the fastest CPU that this process may use, now: idle ones slow down by themselves.

    None where the kernel does not govern it, as in most virtual machines and outside Linux. What psutil and
    /proc/cpuinfo say there is a constant.
    """
    return max(_each_mhz(folder, "scaling_cur_freq"), default=None)


def mhz_range(folder: Path = _CPU_FOLDER) -> str:
    """Between which bounds the clock of the CPUs may be."""
    lowest, highest = (_each_mhz(folder, f"cpuinfo_{end}_freq") for end in ("min", "max"))
    return f"{min(lowest):.0f} to {max(highest):.0f}" if lowest and highest else "not said by this system"


def _each_mhz(folder: Path, file: str) -> list[float]:
    """Of the CPUs that this process may use and that have the file, which is in kHz."""
    found = []
    for number in os.sched_getaffinity(0) if sys.platform == "linux" else ():
        with contextlib.suppress(OSError, ValueError):
            found.append(int((folder / f"cpu{number}" / "cpufreq" / file).read_text()) / 1000)
    return found


def versions() -> dict[str, str]:
    """Of votive, and of the installed ones of `PACKAGES`."""
    from votive import __version__

    found = {"votive": __version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def git_commit(folder: Path) -> str | None:
    """The commit of the folder's repository, with "-dirty" where files were changed since; None outside of one."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):  # no git here, no repository, or no commit yet
        return None


def _cpuinfo() -> str:
    file = Path("/proc/cpuinfo")
    return file.read_text() if file.exists() else ""


def _cpuinfo_flags() -> set[str]:
    found = re.search(r"^(?:flags|Features)\s*:(.*)$", _cpuinfo(), re.MULTILINE)
    return set(found[1].split()) if found else set()


def _processor() -> str:
    """The model name; with family and model numbers, since virtual machines often hide the name."""
    fields = dict(re.findall(r"^(model name|cpu family|model)\s*:\s*(.*)$", _cpuinfo(), re.MULTILINE))
    if "model name" in fields:
        return f"{fields['model name']} (family {fields.get('cpu family')}, model {fields.get('model')})"
    if platform.system() == "Darwin":
        return subprocess.check_output(["sysctl", "-n", "machdep.cpu.brand_string"], text=True).strip()
    return platform.processor() or platform.machine()
