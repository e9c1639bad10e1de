"""Children of a process that has a store open for writing: they keep nobody from it, and commit nothing themselves."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from votive import EmbeddingStore

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")

# Forking beside threads is warned of: NumPy shall have none.
ALONE = {"OPENBLAS_NUM_THREADS": "1"}

BEGIN = """
import contextlib, gc, multiprocessing, os, signal, subprocess, sys, threading, time, warnings
import numpy as np
from votive import EmbeddingStore, StoreError
from votive._store.files import writer as _writer
sys.path.insert(0, sys.argv[2])
from power import QuickDisk
warnings.simplefilter("ignore", DeprecationWarning)  # that forking beside threads may deadlock is what is tested
fork = multiprocessing.get_context("fork")
folder = sys.argv[1]
store = EmbeddingStore.open(folder, "a", num_threads=1)

def add():
    store.add_embeddings(np.ones((1, 3)))

def child(do=lambda: time.sleep(60)):
    '''Does something in a child, or lives on for long, without the output of this process; returns once it runs.'''
    reading, writing = os.pipe()
    number = os.fork()
    if number == 0:
        # Only now has it closed what it inherited: a parent that ends before would leave it the lock.
        os.write(writing, b"!")
        os.close(1)
        os.close(2)
        with contextlib.suppress(BaseException):
            do()
        os._exit(0)
    os.read(reading, 1)
    os.close(reading)
    os.close(writing)
    return number

def locked():
    '''Whether another process finds the folder locked.'''
    code = "import sys, votive; votive.EmbeddingStore.open(sys.argv[1], 'a')"
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True)
    assert done.returncode == 0 or "another writer" in done.stderr, done.stderr
    return done.returncode != 0

children = []

def end():
    for number in children:
        os.kill(number, signal.SIGKILL)
        os.waitpid(number, 0)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "store"
    store = EmbeddingStore()
    store.add_embeddings(np.ones((2, 3)))
    store.save_to_disk(path)
    return path


@pytest.fixture
def run(folder: Path, run_python: Callable[..., str]) -> Callable[[str], str]:
    """Runs code that begins with a store that is open for writing."""
    return lambda code: run_python(BEGIN + code, str(folder), str(Path(__file__).parent), **ALONE)


def test_a_child_that_lives_on_does_not_keep_the_lock(run: Callable[[str], str]) -> None:
    printed = run("""
children.append(child())
print(locked())
add()
store.commit()
store.close()
print(locked())
with EmbeddingStore.open(folder, "a", num_threads=1) as store:
    children.append(child())
    add()
    print(locked())
del store
gc.collect()
print(locked(), len(EmbeddingStore.open(folder)))
end()
""")
    assert printed.split() == ["True", "False", "True", "False", "4"]


def test_the_lock_goes_with_its_process_while_children_live(folder: Path, run: Callable[[str], str]) -> None:
    # As after a crash: nothing is closed.
    printed = run("""
print(child(), child(), flush=True)
os._exit(0)
""")
    try:
        with EmbeddingStore.open(folder, "a") as store:
            store.add_embeddings(np.ones((1, 3)))
    finally:
        for number in printed.split():
            os.kill(int(number), 9)
    assert len(EmbeddingStore.open(folder)) == 3


def test_pools_that_live_on_do_not_keep_the_lock(run: Callable[[str], str]) -> None:
    printed = run("""
with fork.Pool(2) as pool:
    print(pool.map(abs, range(-2, 2)))
    add()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # that row is lost
        store.close()
    with EmbeddingStore.open(folder, "a", num_threads=1) as store, fork.Pool(2) as other:
        print(other.map(abs, range(-2, 2)), locked())
        add()
        store.commit()
        print(len(EmbeddingStore.open(folder, mmap=False)))
    print(pool.map(abs, range(-2, 2)), locked())
""")
    assert printed.splitlines() == ["[2, 1, 0, 1]", "[2, 1, 0, 1] True", "3", "[2, 1, 0, 1] False"]


@pytest.fixture
def fork_beside_opening(folder: Path, run: Callable[[str], str]) -> Callable[[str], None]:
    """Forks while another thread opens the store, at the place where code sets `reached` and waits for `forked`."""

    def fork(code: str) -> None:
        printed = run(f"""
store.close()
reached, forked = threading.Event(), threading.Event()
{code}
kept = []
writer = threading.Thread(target=lambda: kept.append(EmbeddingStore.open(folder, "a", num_threads=1)))
writer.start()
reached.wait()
number = child()
forked.set()
writer.join()
kept[0].commit()
print(number, flush=True)
os._exit(0)
""")
        try:
            EmbeddingStore.open(folder, "a").close()
        finally:
            os.kill(int(printed), 9)

    return fork


@pytest.mark.parametrize("name", ["store", "LOCK"])
def test_a_fork_while_another_thread_just_opens_a_store(fork_beside_opening: Callable[[str], None], name: str) -> None:
    fork_beside_opening(f"""
os_open = os.open

def slow(path, *arguments, **options):
    file = os_open(path, *arguments, **options)
    if os.path.basename(path) == {name!r} and not reached.is_set():
        reached.set()
        forked.wait(0.5)  # a fork waits for this to end
    return file

os.open = slow
""")


def test_a_fork_while_another_thread_lists_the_folder(fork_beside_opening: Callable[[str], None]) -> None:
    fork_beside_opening("""
os_listdir = os.listdir

def slow(path):
    duplicate = os.dup(path)  # as os.listdir does
    reached.set()
    forked.wait(0.5)  # a fork waits for this to end
    os.close(duplicate)
    return os_listdir(path)

os.listdir = slow
""")


def test_forks_while_another_thread_saves(folder: Path, run: Callable[[str], str]) -> None:
    *numbers, rows = run("""
_writer.DISK = QuickDisk()
done, failed = threading.Event(), []

def save():
    global store
    try:
        while not done.is_set():
            add()
            store.commit()
            store.close()
            store.save_to_disk(folder)
            store = EmbeddingStore.open(folder, "a", num_threads=1)
    except BaseException as error:
        failed.append(error)

writer = threading.Thread(target=save)
writer.start()
for _ in range(100):
    children.append(child())
    time.sleep(0.002)
done.set()
writer.join()
assert not failed, failed
add()
store.commit()
print(*children, len(store), flush=True)
os._exit(0)
""").split()
    try:
        with EmbeddingStore.open(folder, "a") as store:
            assert len(store) == int(rows)
    finally:
        for number in numbers:
            os.kill(int(number), 9)


def test_a_child_cannot_commit_and_says_so(folder: Path, run: Callable[[str], str]) -> None:
    printed = run("""
def leave():
    with store:
        pass

def do():
    add()
    for action in (store.commit, lambda: store.save_to_disk(folder), leave):
        try:
            action()
        except StoreError as error:
            os.write(writing, f"{error}\\n".encode())
    store.close()
    try:
        store.commit()
    except StoreError as error:
        os.write(writing, f"{error}\\n".encode())
    store.save_to_disk(folder + " of the child")
    gc.collect()

reading, writing = os.pipe()
os.waitpid(child(do), 0)
os.close(writing)
print(open(reading).read())
print(locked())
add()
store.commit()
""")
    lines = printed.split("\n")
    for line in lines[:3]:
        assert str(folder) in line
        assert "opened for writing by the process that this one is a fork of, which alone may commit" in line
        assert 'mode="a"' in line
    assert lines[3].startswith("commit: not open for writing")
    assert lines[4:] == ["", "True", ""]
    assert len(EmbeddingStore.open(folder)) == 3
    assert len(EmbeddingStore.open(f"{folder} of the child")) == 3


def test_a_child_that_ends_as_a_program_does_leaves_the_lock_to_its_parent(run: Callable[[str], str]) -> None:
    printed = run("""
number = os.fork()
if number == 0:
    sys.exit()  # with all that is done at exit
os.waitpid(number, 0)
print(locked())
number = os.fork()
if number == 0:
    del store
    gc.collect()
    os._exit(0)
os.waitpid(number, 0)
print(locked())
add()
store.commit()
print(len(EmbeddingStore.open(folder)))
""")
    assert printed.split() == ["True", "True", "3"]


def test_a_child_opens_the_folder_when_the_parent_has_closed_it(folder: Path, run: Callable[[str], str]) -> None:
    run("""
def do():
    os.read(reading, 1)
    with EmbeddingStore.open(folder, "a", num_threads=1) as store:
        store.add_embeddings(np.ones((4, 3)))

reading, writing = os.pipe()
number = child(do)
store.close()
os.write(writing, b"!")
os.waitpid(number, 0)
""")
    assert len(EmbeddingStore.open(folder)) == 6


def test_programs_that_are_started_do_not_keep_the_lock(run: Callable[[str], str]) -> None:
    printed = run("""
sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], close_fds=False)
for _ in range(200):
    store.close()
    store = EmbeddingStore.open(folder, "a", num_threads=1)
    if _ % 20 == 0:
        os.posix_spawn("/bin/true", ["true"], {})
store.close()
print(locked())
sleeper.kill()
sleeper.wait()
""")
    assert printed.split() == ["False"]


def test_a_child_that_collects_garbage_while_it_closes_files_closes_all(run: Callable[[str], str]) -> None:
    printed = run("""
from votive._store.files import descriptor
stores = [EmbeddingStore() for _ in range(3)]
for number, other in enumerate(stores):
    other.save_to_disk(f"{folder}-{number}")
stores = [EmbeddingStore.open(f"{folder}-{number}", "a", num_threads=1) for number in range(3)]
os_close = os.close
numbers = [handle.number for handle in descriptor._handles]
others = list(descriptor._handles)

def collecting(number):
    # As the garbage collector might: closes another one, once.
    os_close(number)
    if len(others) == len(numbers):
        others.pop(next(i for i, handle in enumerate(others) if handle.number not in (number, -1))).close()

def is_open(number):
    with contextlib.suppress(OSError):
        return bool(os.fstat(number))
    return False

def do():
    left = sum(map(is_open, numbers))
    with open(f"{folder}-left", "w") as file:
        file.write(str(left))

os.close = collecting
number = os.fork()
os.close = os_close
if number == 0:
    do()
    os._exit(0)
os.waitpid(number, 0)
print(open(f"{folder}-left").read())
""")
    assert printed.split() == ["0"]
