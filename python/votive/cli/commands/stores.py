"""The commands of `votive store`."""

from __future__ import annotations

from typing import Any

from votive.cli import descriptions
from votive.cli.arguments import (
    DEFAULT_MODEL,
    add_files,
    add_json,
    add_model,
    add_other_model,
    add_texts,
    add_truncate_dim,
)
from votive.cli.commands.texts import add_search
from votive.cli.parser import Commands, Parser, add_command


def add_store(commands: Commands) -> None:
    parser: Parser = commands.add_parser(
        "store",
        help="keep texts with their vectors in a folder",
        description=descriptions.STORE,
        epilog=descriptions.STORE_EPILOG,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True, title="commands")
    create = _add_store_command(
        commands,
        "create",
        "make a store of texts",
        descriptions.STORE_CREATE,
        descriptions.STORE_CREATE_EXAMPLES,
        "FOLDER FILE...",
    )
    _add_rows(create, f"(default: {DEFAULT_MODEL})")
    create.add_argument(
        "--metric",
        default="cosine",
        choices=("cosine", "dot", "l2", "euclidean", "hamming"),
        help="how vectors are compared: cosine, dot, l2 (or euclidean) or hamming (default: %(default)s)",
        metavar="METRIC",
    )
    create.add_argument(
        "--store-dtype",
        choices=("float32", "float16", "int8", "ubinary"),
        help="how vectors are stored: float32, float16, int8 or ubinary (default: ubinary for hamming, else float32)",
        metavar="DTYPE",
    )
    add = _add_store_command(
        commands,
        "add",
        "add texts to a store",
        descriptions.STORE_ADD,
        descriptions.STORE_ADD_EXAMPLES,
        "FOLDER FILE...",
    )
    add_other_model(_add_rows(add, f"(default: the one that made the store, else {DEFAULT_MODEL})"))
    add_search(commands, descriptions.STORE_SEARCH_USAGE)
    info = _add_store_command(
        commands, "info", "print what a store holds", descriptions.STORE_INFO, descriptions.STORE_INFO_EXAMPLES
    )
    add_json(info, "print one JSON object")
    verify = _add_store_command(
        commands, "verify", "check every byte of a store", descriptions.STORE_VERIFY, descriptions.STORE_VERIFY_EXAMPLES
    )
    add_json(verify, "print one JSON object")
    _add_store_command(
        commands,
        "compact",
        "give back what deleted rows take",
        descriptions.STORE_COMPACT,
        descriptions.STORE_COMPACT_EXAMPLES,
    )


def _add_store_command(
    commands: Commands, name: str, summary: str, description: str, examples: str, arguments: str = "FOLDER"
) -> Parser:
    usage = f"votive store {name} {arguments} [options]"
    parser = add_command(commands, name, summary, description, examples, module=f"store.{name}", usage=usage)
    parser.add_argument("folder", metavar="FOLDER", help="the folder of the store")
    return parser


def _add_rows(parser: Parser, default_model: str) -> Any:
    """Arguments of what becomes rows of a store; the group of the model's is returned."""
    add_files(parser)
    group = add_texts(parser)
    group.add_argument(
        "--id-field",
        "--id-column",
        dest="id_field",
        metavar="NAME",
        help="the field or column with the id, a whole number or text (default: id, where there is one; "
        "else rows are numbered)",
    )
    group.add_argument("--no-metadata", action="store_true", help="leave out all other fields and columns")
    model = add_model(parser, default_model)
    add_truncate_dim(model)
    return model
