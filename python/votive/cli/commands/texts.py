"""Commands that compute with texts: `demo`, `encode`, `search` and `rerank`."""

from __future__ import annotations

import argparse
from typing import Any

from votive.cli import descriptions
from votive.cli.arguments import (
    DEFAULT_MODEL,
    DEFAULT_RERANKER,
    add_files,
    add_json,
    add_model,
    add_other_model,
    add_texts,
    add_top_k,
    add_truncate_dim,
    positive,
)
from votive.cli.parser import Commands, add_command


def add_demo(commands: Commands) -> None:
    parser = add_command(
        commands,
        "demo",
        "index Python's documentation and ask it questions",
        descriptions.DEMO,
        descriptions.DEMO_EXAMPLES,
    )
    parser.add_argument("--ask", action="append", metavar="QUESTION", help="answer this; may be given several times")
    parser.add_argument(
        "--limit",
        type=positive,
        metavar="N",
        default=1000,
        help="embed the first N passages (default: %(default)s)",
    )
    parser.add_argument(
        "--output",
        metavar="FOLDER",
        help="where the store is written, in place of one that is there (default: a new temporary folder)",
    )
    add_top_k(parser, default=3)
    add_json(parser, "print answers as JSON, an object per line, and figures on standard error")
    add_model(parser, f"(default: {DEFAULT_MODEL})")


def add_encode(commands: Commands) -> None:
    parser = add_command(
        commands,
        "encode",
        "write the vectors of texts to a NumPy file",
        descriptions.ENCODE,
        descriptions.ENCODE_EXAMPLES,
        usage="votive encode FILE... -o VECTORS [options]",
    )
    add_files(parser)
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="VECTORS",
        help="the .npy file to write; - is standard output, which must not be a terminal",
    )
    parser.add_argument("--normalize", action="store_true", help="scale every vector to length 1")
    parser.add_argument("--prompt-name", metavar="NAME", help="put this prompt of the model before each text")
    add_truncate_dim(parser)
    parser.add_argument(
        "--batch-size",
        type=positive,
        metavar="N",
        help="at most N texts in one pass through the model (default: as many as fit a budget of tokens)",
    )
    add_texts(parser)
    add_model(parser, f"(default: {DEFAULT_MODEL})")


def add_search(commands: Commands, usage: str) -> None:
    parser = add_command(
        commands,
        "search",
        "find the texts nearest to a query",
        descriptions.SEARCH,
        descriptions.SEARCH_EXAMPLES,
        usage=usage,
    )
    parser.add_argument("query", metavar="QUERY", help="what to look for, in words")
    parser.add_argument("source", metavar="STORE", help="the folder of a store, or a .npy file of vectors")
    parser.add_argument(
        "texts", nargs="?", metavar="FILE", help="beside VECTORS, the file with the texts; - is standard input"
    )
    add_top_k(parser, default=10)
    parser.add_argument(
        "--filter",
        type=_filter,
        metavar="JSON",
        help="of a store: which rows count, such as '{\"year\": 2024}'",
    )
    parser.add_argument("--min-score", type=float, metavar="SCORE", help="print no text with a lower score")
    add_json(parser, "print a JSON object per line")
    add_texts(parser)
    group = add_model(parser, f"(default: the one that made the store, else {DEFAULT_MODEL})")
    add_truncate_dim(group)
    add_other_model(group)


def add_rerank(commands: Commands) -> None:
    parser = add_command(
        commands,
        "rerank",
        "put texts in order of how well they answer a query",
        descriptions.RERANK,
        descriptions.RERANK_EXAMPLES,
        usage=descriptions.RERANK_USAGE,
    )
    parser.add_argument("query", metavar="QUERY", help="what the texts should answer, in words")
    parser.add_argument(
        "files", nargs="*", default=[], metavar="FILE", help="files with texts (default: -, standard input)"
    )
    add_top_k(parser, default=None)
    add_json(parser, "print a JSON object per line")
    add_texts(parser)
    add_model(parser, f"(default: {DEFAULT_RERANKER})")


def _filter(text: str) -> dict[str, Any]:
    import json

    try:
        found = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not JSON ({error}): {text}") from None
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError(f"want a JSON object such as '{{\"year\": 2024}}', got {text}")
    return found
