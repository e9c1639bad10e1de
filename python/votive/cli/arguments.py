"""Arguments that several commands have, and what they are by default."""

from __future__ import annotations

import argparse
from typing import Any

from votive.cli.parser import Parser

DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
DEFAULT_RERANKER = "cross-encoder/ms-marco-MiniLM-L6-v2"


def add_model(parser: Parser, default: str) -> Any:
    group = parser.add_argument_group("the model")
    group.add_argument("--model", metavar="MODEL", help=f"a name on the Hugging Face Hub, or a folder {default}")
    group.add_argument(
        "--device",
        default="auto",
        metavar="DEVICE",
        help="what computes: auto, cpu, metal, cuda, cuda:N, vulkan, dx12 or wgpu (default: %(default)s; see "
        "`votive devices`)",
    )
    group.add_argument(
        "--dtype",
        default="auto",
        metavar="DTYPE",
        help="how weights are held and multiplied: float32, bfloat16, float16, int8 or int4; "
        "auto is float32 on a CPU (default: %(default)s)",
    )
    add_num_threads(group)
    return group


def add_other_model(group: Any) -> None:
    group.add_argument(
        "--allow-other-model",
        action="store_true",
        help="take --model also where another one made the store",
    )


def add_files(parser: Parser) -> None:
    parser.add_argument("files", nargs="+", metavar="FILE", help="files with texts; - is standard input")


def add_texts(parser: Parser) -> Any:
    group = parser.add_argument_group("the texts")
    group.add_argument("--field", metavar="NAME", help="the text's field in .jsonl files (default: text)")
    group.add_argument("--column", metavar="NAME", help="the text's column in .csv and .tsv files (default: text)")
    return group


def add_top_k(parser: Parser, default: int | None) -> None:
    shown = "all" if default is None else default
    parser.add_argument(
        "-k", "--top-k", type=positive, default=default, metavar="K", help=f"texts to print (default: {shown})"
    )


def add_json(parser: Parser, summary: str) -> None:
    parser.add_argument("--json", action="store_true", help=summary)


def add_num_threads(parser: Any) -> None:
    parser.add_argument(
        "--num-threads",
        type=positive,
        metavar="N",
        help="threads to use (default: every CPU this process may use)",
    )


def add_truncate_dim(parser: Any) -> None:
    parser.add_argument(
        "--truncate-dim", type=positive, metavar="N", help="keep the first N dimensions (for models trained for it)"
    )


def positive(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"want a whole number from 1 up, got {text!r}")
    return number
