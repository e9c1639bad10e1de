"""Commands about models: `quantize`, `models` and `inspect`."""

from __future__ import annotations

from votive.cli import descriptions
from votive.cli.arguments import DEFAULT_MODEL, add_json, add_num_threads
from votive.cli.parser import Commands, Parser, add_command


def add_quantize(commands: Commands) -> None:
    parser = add_command(
        commands,
        "quantize",
        "write a model with its weights in int8 or int4, to be loaded at once",
        descriptions.QUANTIZE,
        descriptions.QUANTIZE_EXAMPLES,
        usage="votive quantize [MODEL] -o FOLDER [options]",
    )
    parser.add_argument(
        "model",
        nargs="?",
        metavar="MODEL",
        help=f"a name on the Hugging Face Hub, or a folder (default: {DEFAULT_MODEL})",
    )
    parser.add_argument(
        "-o", "--output", required=True, metavar="FOLDER", help="a new folder, which appears when it is complete"
    )
    parser.add_argument(
        "--dtype",
        choices=("int8", "int4"),
        default="int8",
        help="how weights are held: int8, or int4 for models larger than the caches (default: %(default)s)",
    )
    _add_found(parser)
    add_num_threads(parser)


def add_models(commands: Commands) -> None:
    parser = add_command(
        commands, "models", "print which models load", descriptions.MODELS, descriptions.MODELS_EXAMPLES
    )
    add_json(parser, "print a JSON list")


def add_inspect(commands: Commands) -> None:
    parser = add_command(
        commands, "inspect", "print what a model's files say of it", descriptions.INSPECT, descriptions.INSPECT_EXAMPLES
    )
    parser.add_argument("name", metavar="MODEL", help="a folder, a .gguf file, or a name on the Hugging Face Hub")
    _add_found(parser)
    add_json(parser, "print one JSON object")


def _add_found(parser: Parser) -> None:
    parser.add_argument("--base", metavar="MODEL", help="the model that a quantized one was made from")
    parser.add_argument("--gguf-file", metavar="NAME", help="the file with the weights, of several in a folder")
