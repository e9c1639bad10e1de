"""How many CPUs a process may use: by its affinity, and by quotas of control groups of both versions."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from votive._cpus import usable_cpus

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system's number is all there is")


@pytest.fixture
def eight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))


def group(root: Path, groups: str, files: dict[str, str]) -> Path:
    for path, text in {"proc/self/cgroup": groups, **{f"sys/fs/cgroup/{path}": files[path] for path in files}}.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n"}, 8),
        ("0::/a/b\n", {"a/b/cpu.max": "300000 100000\n"}, 3),
        ("0::/a/b\n", {"a/b/cpu.max": "350000 100000\n"}, 3),
        ("0::/a/b\n", {"a/b/cpu.max": "50000 100000\n"}, 1),
        ("0::/a/b\n", {"a/b/cpu.max": "1600000 100000\n"}, 8),
        ("0::/a/b\n", {"a/b/cpu.max": "500000 100000\n", "a/cpu.max": "200000 100000\n"}, 2),
        # In a container: the path is the host's, the folder is its own group.
        ("0::/of/the/host\n", {"cpu.max": "400000 100000\n"}, 4),
        ("0::/\n", {"cpu.max": "400000 100000\n"}, 4),
        ("0::/a:b\n", {"a:b/cpu.max": "400000 100000\n"}, 4),
        ("4:cpu,cpuacct:/a\n", {"cpu,cpuacct/a/cpu.cfs_quota_us": "200000\n"}, 8),
        (
            "9:memory:/b\n4:cpu,cpuacct:/a\n0::/\n",
            {"cpu,cpuacct/a/cpu.cfs_quota_us": "200000\n", "cpu,cpuacct/a/cpu.cfs_period_us": "50000\n"},
            4,
        ),
        ("4:cpu:/a\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ("3:cpuset:/a\n", {"cpuset/a/cpu.max": "100000 100000\n"}, 8),
        ("", {}, 8),
    ],
)
@pytest.mark.usefixtures("eight")
def test_quotas(groups: str, files: dict[str, str], expected: int, tmp_path: Path) -> None:
    assert usable_cpus(group(tmp_path, groups, files)) == expected


@pytest.mark.usefixtures("eight")
def test_a_system_without_control_groups(tmp_path: Path) -> None:
    assert usable_cpus(tmp_path) == 8


@pytest.mark.parametrize("is_bound", [False, True], ids=["every CPU", "one CPU"])
def test_the_core_counts_the_same(is_bound: bool) -> None:
    text = """
import os
from votive import EmbeddingStore
from votive._cpus import usable_cpus
print(usable_cpus(), EmbeddingStore(dimension=2).num_threads)
"""
    if is_bound:
        text = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n" + text
    variables = ("VOTIVE_NUM_THREADS", "RAYON_NUM_THREADS", "OMP_NUM_THREADS")
    environment = {name: value for name, value in os.environ.items() if name not in variables}
    run = subprocess.run([sys.executable, "-c", text], env=environment, capture_output=True, text=True, check=True)
    here, core = run.stdout.split()
    assert here == core
    assert not is_bound or here == "1"
