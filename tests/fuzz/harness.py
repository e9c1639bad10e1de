"""Runs cases in a process of their own, which is started anew where one of them ends or hangs it."""

import argparse
import json
import os
import random
import select
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from votive import VotiveError

HANG = 10.0  # seconds that no case takes
MEMORY = 1 << 30  # bytes that no case needs beyond what the process has before
LONGEST = 4200  # characters of a message: what errors of the core keep of a long one, and a few words
MOST_FAULTS = 20  # after which there is enough to look at

Number = tuple[int, int]  # seed and case


class Fault(Exception):
    """Something that must not happen."""


class Fuzzer(ABC):
    """One kind of folders.

    Args:
        base: a folder for what cases are made of, in the file system where they will be.
    """

    name: str
    accepted: tuple[type[Exception], ...] = (VotiveError, ValueError, FileNotFoundError, MemoryError)

    def __init__(self, base: Path) -> None:
        self.base = base

    @abstractmethod
    def make(self, rng: random.Random, folder: Path) -> None:
        """Makes a damaged folder, always the same of one `rng`."""

    @abstractmethod
    def use(self, folder: Path) -> None:
        """Does with it what users do; whatever is raised must be `accepted`, but for a `Fault`."""

    def check_message(self, folder: Path, error: Exception) -> None:
        """Raises a `Fault` for a message that says too little or too much."""
        message = str(error)
        if len(message) > LONGEST + len(str(folder)) or "\0" in message or not message:
            raise Fault(f"a message of {len(message)} characters: {message[:300]!r}")
        if "panick" in message or "internal error of votive" in message:
            raise Fault(f"a panic: {message}")

    def judge(self, folder: Path) -> str:
        """Tries a folder, and says what became of it.

        Raises:
            Fault: what must not be.
        """
        try:
            self.use(folder)
        except Fault:
            raise
        except self.accepted as error:
            if isinstance(error, UnicodeError):
                raise Fault(f"{type(error).__name__}: {error}") from error
            self.check_message(folder, error)
            return "refused"
        except BaseException as error:
            raise Fault(f"{type(error).__name__}: {str(error)[:300]}") from error
        return "answered"

    def case(self, number: Number, folder: Path) -> None:
        """Makes the case of that number."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        self.make(random.Random(f"{self.name} {number[0]} {number[1]}"), folder)


def main(kind: type[Fuzzer]) -> None:
    """The command line of a fuzzer."""
    parser = argparse.ArgumentParser(description=kind.__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (%(default)s)")
    parser.add_argument(
        "--cases", type=int, default=sys.maxsize, help="how many at most (as many as there is time for)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the cases (%(default)s)")
    parser.add_argument("--faults", type=Path, default=Path("fuzz-faults"), help="where failing cases go (%(default)s)")
    parser.add_argument("--replay", type=Path, help="a folder with a failing case to try again")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        _work(kind, Path(given.worker[0]), (int(given.worker[1]), int(given.worker[2])))
        return
    # In memory where the system has such a place; links to what is not changed need one file system.
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="votive-fuzz-", dir=place) as base:
        if given.replay:
            copy = shutil.copytree(given.replay, Path(base) / "case", ignore=lambda *_: ["FAULT.txt"])
            warnings.simplefilter("ignore")
            print(kind(Path(base)).judge(Path(copy)))
        else:
            sys.exit(_campaign(kind, Path(base), given))


def _is_over(start: float, number: int, counts: dict[str, int], given: argparse.Namespace) -> bool:
    late = time.monotonic() - start >= given.seconds
    return late or number >= given.cases or counts["fault"] >= MOST_FAULTS


def _campaign(kind: type[Fuzzer], base: Path, given: argparse.Namespace) -> int:
    seed, faults = given.seed, given.faults
    fuzzer = kind(base)
    counts = {"answered": 0, "refused": 0, "fault": 0}
    start, number = time.monotonic(), 0
    while not _is_over(start, number, counts, given):
        errors = base / "errors"
        command = [sys.executable, "-m", f"fuzz.{kind.name}", "--worker", str(base), str(seed), str(number)]
        environment = {**os.environ, "MALLOC_ARENA_MAX": "2", "HF_HUB_OFFLINE": "1", "RUST_BACKTRACE": "0"}
        with (
            errors.open("wb") as sink,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=sink, env=environment) as worker,
        ):
            assert worker.stdout is not None
            while True:
                ready, _, _ = select.select([worker.stdout], [], [], HANG + 20 * (number == 0))
                line = worker.stdout.readline() if ready else b""
                if line:
                    told: dict[str, str] = json.loads(line)
                    if told["end"] == "begins":
                        continue
                else:
                    worker.kill()
                    why = f"ended with {worker.wait()}" if ready else f"took longer than {HANG} s"
                    told = {"end": "fault", "why": f"{why}\n{errors.read_text(errors='replace')[-2000:]}"}
                counts[told["end"]] += 1
                if told["end"] == "fault":
                    _keep(fuzzer, (seed, number), faults, told["why"])
                number += 1
                if not line or _is_over(start, number, counts, given):
                    break
            worker.kill()
    took = time.monotonic() - start
    print(
        f"fuzz.{kind.name}: {number:,} cases in {took:.0f} s ({number / took:.0f}/s) of seed {seed}: "
        f"{counts['refused']:,} refused, {counts['answered']:,} answered, {counts['fault']:,} faults"
    )
    return 1 if counts["fault"] else 0


def _keep(fuzzer: Fuzzer, number: Number, faults: Path, why: str) -> None:
    """Makes the case again where it can be looked at."""
    folder = faults / f"{fuzzer.name}-{number[0]}-{number[1]}"
    faults.mkdir(parents=True, exist_ok=True)
    case = fuzzer.base / "kept"
    fuzzer.case(number, case)
    shutil.copytree(case, folder, dirs_exist_ok=True)
    (folder / "FAULT.txt").write_text(why)
    print(f"{folder}: {why}", flush=True)


def _work(kind: type[Fuzzer], base: Path, first: Number) -> None:
    """Case after case, each told on standard output."""
    # What is printed by accident is a fault, and must not be taken for a word to the parent.
    told = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    fuzzer = kind(base)
    seed, number = first
    limited = False
    while True:
        folder = base / "case"
        fuzzer.case((seed, number), folder)
        told.write(json.dumps({"end": "begins"}) + "\n")
        printed = os.fstat(2).st_size
        answer: dict[str, Any]
        try:
            answer = {"end": fuzzer.judge(folder)}
            if os.fstat(2).st_size != printed:
                raise Fault("something was printed on standard error")
        except Fault:
            answer = {"end": "fault", "why": traceback.format_exc(limit=12)[-3000:]}
        told.write(json.dumps(answer) + "\n")
        if not limited:
            _limit_memory()
            limited = True
        number += 1


def _limit_memory() -> None:
    """Has whatever asks for more memory than `MEMORY` from now on fail."""
    if sys.platform != "linux":
        return
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def link(source: Path, target: Path) -> None:
    """All files of one folder in another, as links."""
    for path in sorted(source.rglob("*")):
        place = target / path.relative_to(source)
        if path.is_dir():
            place.mkdir()
        else:
            os.link(path, place)


def remove(path: Path) -> None:
    """Removes a file or a folder, if there is one."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def replace(path: Path, content: bytes) -> None:
    """Other content for what may be a link."""
    remove(path)
    path.write_bytes(content)
