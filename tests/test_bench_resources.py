"""What is sampled while a cell is measured."""

from __future__ import annotations

import os
import sys
import threading
from itertools import count
from pathlib import Path

import pytest

pytest.importorskip("psutil")

from votive.bench import machine
from votive.bench.resources import SAMPLES_PER_CLOCK, Sampler


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says which clock its CPUs have")
def test_the_clock_is_that_of_the_fastest_cpu_of_this_process(tmp_path: Path) -> None:
    mine = sorted(os.sched_getaffinity(0))
    foreign = max(mine) + 1
    for place, number in enumerate([*mine, foreign]):
        folder = tmp_path / f"cpu{number}" / "cpufreq"
        folder.mkdir(parents=True)
        (folder / "scaling_cur_freq").write_text(f"{3_000_000 if number == foreign else 2_000_000 + place}\n")
        (folder / "cpuinfo_min_freq").write_text("800000\n")
        (folder / "cpuinfo_max_freq").write_text("3400000\n")
    assert machine.cpu_mhz(tmp_path) == (2_000_000 + len(mine) - 1) / 1000
    assert machine.mhz_range(tmp_path) == "800 to 3400"


def test_a_clock_that_is_not_said_is_not_guessed(tmp_path: Path) -> None:
    assert machine.cpu_mhz(tmp_path) is None
    assert machine.mhz_range(tmp_path) == "not said by this system"


@pytest.mark.parametrize("says", [[1000.0, 3000.0, 2000.0], [None]])
def test_the_clock_is_read_while_the_block_runs(says: list[float | None]) -> None:
    asked, enough = count(), threading.Event()

    def clock() -> float | None:
        place = next(asked)
        if place >= len(says) - 1:
            enough.set()
        return says[min(place, len(says) - 1)]

    with Sampler(lambda: [os.getpid()], 0.001, clock) as sampler:
        assert enough.wait(60)
    assert sampler.clocks[:3] == [mhz for mhz in says if mhz is not None]
    assert sampler.peak is not None
    assert SAMPLES_PER_CLOCK > 1
