"""The arguments of each command."""

from __future__ import annotations

import argparse
from typing import Any

from votive.cli import descriptions
from votive.cli.parser import Parser

DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
DEFAULT_RERANKER = "cross-encoder/ms-marco-MiniLM-L6-v2"

SHELLS = ("bash", "zsh", "fish", "tcsh")

DEFAULT_SERVER = "http://127.0.0.1:8000"

# What `subparsers.add_parser` is a method of.
Commands = Any


def build_parser() -> Parser:
    """The parser of `votive`. What it parses has `module`, of `votive.cli`, that runs the command, and its `prog`."""
    parser = Parser(prog="votive", description=descriptions.DESCRIPTION, epilog=descriptions.EPILOG)
    parser.add_argument("--version", action=_Version, help="print the version and exit")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, title="commands")
    _add_demo(commands)
    _add_encode(commands)
    _add_search(commands, descriptions.SEARCH_USAGE)
    _add_rerank(commands)
    _add_store(commands)
    _add_quantize(commands)
    _add_models(commands)
    _add_inspect(commands)
    _add_devices(commands)
    _add_check(commands)
    _add_bench_cpu(commands)
    _add_bench(commands)
    _add_serve(commands)
    _add_monitor(commands)
    _add_run(commands)
    _add_completion(commands)
    return parser


def _add_command(commands: Commands, name: str, module: str, summary: str, **options: Any) -> Parser:
    parser: Parser = commands.add_parser(name, help=summary, **options)
    parser.set_defaults(module=module, prog=parser.prog)
    return parser


class _Version(argparse.Action):
    """Like argparse's own, but the version is looked up only when asked for."""

    def __init__(self, option_strings: list[str], dest: str, help: str) -> None:
        super().__init__(option_strings, dest=argparse.SUPPRESS, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_unused: Any) -> None:
        from votive import __version__

        print(f"votive {__version__}")
        parser.exit()


def _add_demo(commands: Commands) -> None:
    parser = _add_command(
        commands,
        "demo",
        "demo",
        "index Python's documentation and ask it questions",
        description=descriptions.DEMO,
        epilog=descriptions.DEMO_EXAMPLES,
    )
    parser.add_argument("--ask", action="append", metavar="QUESTION", help="answer this; may be given several times")
    parser.add_argument(
        "--limit",
        type=_positive,
        metavar="N",
        default=1000,
        help="embed the first N passages (default: %(default)s)",
    )
    parser.add_argument(
        "--output",
        metavar="FOLDER",
        help="where the store is written, in place of one that is there (default: a new temporary folder)",
    )
    _add_top_k(parser, default=3)
    _add_json(parser, "print answers as JSON, an object per line, and figures on standard error")
    _add_model(parser, f"(default: {DEFAULT_MODEL})")


def _add_encode(commands: Commands) -> None:
    parser = _add_command(
        commands,
        "encode",
        "encode",
        "write the vectors of texts to a NumPy file",
        usage="votive encode FILE... -o VECTORS [options]",
        description=descriptions.ENCODE,
        epilog=descriptions.ENCODE_EXAMPLES,
    )
    _add_files(parser)
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="VECTORS",
        help="the .npy file to write; - is standard output, which must not be a terminal",
    )
    parser.add_argument("--normalize", action="store_true", help="scale every vector to length 1")
    parser.add_argument("--prompt-name", metavar="NAME", help="put this prompt of the model before each text")
    _add_truncate_dim(parser)
    parser.add_argument(
        "--batch-size",
        type=_positive,
        metavar="N",
        help="at most N texts in one pass through the model (default: as many as fit a budget of tokens)",
    )
    _add_texts(parser)
    _add_model(parser, f"(default: {DEFAULT_MODEL})")


def _add_search(commands: Commands, usage: str) -> None:
    parser = _add_command(
        commands,
        "search",
        "search",
        "find the texts nearest to a query",
        usage=usage,
        description=descriptions.SEARCH,
        epilog=descriptions.SEARCH_EXAMPLES,
    )
    parser.add_argument("query", metavar="QUERY", help="what to look for, in words")
    parser.add_argument("source", metavar="STORE", help="the folder of a store, or a .npy file of vectors")
    parser.add_argument(
        "texts", nargs="?", metavar="FILE", help="beside VECTORS, the file with the texts; - is standard input"
    )
    _add_top_k(parser, default=10)
    parser.add_argument(
        "--filter",
        type=_filter,
        metavar="JSON",
        help="of a store: which rows count, such as '{\"year\": 2024}'",
    )
    parser.add_argument("--min-score", type=float, metavar="SCORE", help="print no text with a lower score")
    _add_json(parser, "print a JSON object per line")
    _add_texts(parser)
    group = _add_model(parser, f"(default: the one that made the store, else {DEFAULT_MODEL})")
    _add_truncate_dim(group)
    _add_other_model(group)


def _add_rerank(commands: Commands) -> None:
    parser = _add_command(
        commands,
        "rerank",
        "rerank",
        "put texts in order of how well they answer a query",
        usage=descriptions.RERANK_USAGE,
        description=descriptions.RERANK,
        epilog=descriptions.RERANK_EXAMPLES,
    )
    parser.add_argument("query", metavar="QUERY", help="what the texts should answer, in words")
    parser.add_argument(
        "files", nargs="*", default=[], metavar="FILE", help="files with texts (default: -, standard input)"
    )
    _add_top_k(parser, default=None)
    _add_json(parser, "print a JSON object per line")
    _add_texts(parser)
    _add_model(parser, f"(default: {DEFAULT_RERANKER})")


def _add_store(commands: Commands) -> None:
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
    _add_other_model(_add_rows(add, f"(default: the one that made the store, else {DEFAULT_MODEL})"))
    _add_search(commands, descriptions.STORE_SEARCH_USAGE)
    info = _add_store_command(
        commands, "info", "print what a store holds", descriptions.STORE_INFO, descriptions.STORE_INFO_EXAMPLES
    )
    _add_json(info, "print one JSON object")
    verify = _add_store_command(
        commands, "verify", "check every byte of a store", descriptions.STORE_VERIFY, descriptions.STORE_VERIFY_EXAMPLES
    )
    _add_json(verify, "print one JSON object")
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
    parser = _add_command(
        commands, name, f"store.{name}", summary, usage=usage, description=description, epilog=examples
    )
    parser.add_argument("folder", metavar="FOLDER", help="the folder of the store")
    return parser


def _add_rows(parser: Parser, default_model: str) -> Any:
    """Arguments of what becomes rows of a store; the group of the model's is returned."""
    _add_files(parser)
    group = _add_texts(parser)
    group.add_argument(
        "--id-field",
        "--id-column",
        dest="id_field",
        metavar="NAME",
        help="the field or column with the id, a whole number or text (default: id, where there is one; "
        "else rows are numbered)",
    )
    group.add_argument("--no-metadata", action="store_true", help="leave out all other fields and columns")
    model = _add_model(parser, default_model)
    _add_truncate_dim(model)
    return model


def _add_quantize(commands: Commands) -> None:
    parser = _add_command(
        commands,
        "quantize",
        "quantize",
        "write a model with its weights in int8 or int4, to be loaded at once",
        usage="votive quantize [MODEL] -o FOLDER [options]",
        description=descriptions.QUANTIZE,
        epilog=descriptions.QUANTIZE_EXAMPLES,
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
    _add_num_threads(parser)


def _add_models(commands: Commands) -> None:
    parser = _add_command(
        commands,
        "models",
        "models",
        "print which models load",
        description=descriptions.MODELS,
        epilog=descriptions.MODELS_EXAMPLES,
    )
    _add_json(parser, "print a JSON list")


def _add_inspect(commands: Commands) -> None:
    parser = _add_command(
        commands,
        "inspect",
        "inspect",
        "print what a model's files say of it",
        description=descriptions.INSPECT,
        epilog=descriptions.INSPECT_EXAMPLES,
    )
    parser.add_argument("name", metavar="MODEL", help="a folder, a .gguf file, or a name on the Hugging Face Hub")
    _add_found(parser)
    _add_json(parser, "print one JSON object")


def _add_found(parser: Parser) -> None:
    parser.add_argument("--base", metavar="MODEL", help="the model that a quantized one was made from")
    parser.add_argument("--gguf-file", metavar="NAME", help="the file with the weights, of several in a folder")


def _add_devices(commands: Commands) -> None:
    parser = _add_command(
        commands,
        "devices",
        "devices",
        "print which devices can compute, and why others cannot",
        description=descriptions.DEVICES,
        epilog=descriptions.DEVICES_EXAMPLES,
    )
    _add_json(parser, "print one JSON object")


def _add_check(commands: Commands) -> None:
    parser = _add_command(
        commands,
        "check",
        "check",
        "compare what a device computes with the CPU",
        description=descriptions.CHECK,
        epilog=descriptions.CHECK_EXAMPLES,
    )
    _add_json(parser, "print one JSON object")
    _add_model(parser, f"(default: {DEFAULT_MODEL})")


def _add_bench_cpu(commands: Commands) -> None:
    parser = _add_command(
        commands,
        "bench-cpu",
        "bench_cpu",
        "measure what this machine's arithmetic and memory can do",
        description=descriptions.BENCH_CPU,
        epilog=descriptions.BENCH_CPU_EXAMPLES,
    )
    _add_num_threads(parser)
    _add_json(parser, "print one JSON object: figures per second, sizes in bytes")


def _add_bench(commands: Commands) -> None:
    parser: Parser = commands.add_parser(
        "bench",
        help="measure votive and other programs as a file says, and report it",
        usage=descriptions.BENCH_USAGE,
        description=descriptions.BENCH,
        epilog=descriptions.BENCH_EPILOG,
    )
    parser.default_command = "run"
    commands = parser.add_subparsers(metavar="COMMAND", required=True, title="commands", prog="votive bench")
    run = _add_bench_command(
        commands, "run", "measure; what `votive bench` does where no command is named", "[FILE ...] [options]"
    )
    run.add_argument(
        "files",
        nargs="*",
        default=[],
        metavar="FILE",
        help="experiments, folders of them, or names of examples; examples is all of those (default: dtypes)",
    )
    run.add_argument(
        "--only", metavar="GLOB", help="measure experiments of such a name, or else backends of such a name"
    )
    run.add_argument(
        "--set",
        action="append",
        metavar="KEY=VALUE",
        help="put a value in place of the file's, as sweep.batch_size=[8,16]; may be given several times",
    )
    run.add_argument("--quick", action="store_true", help="a trial run: a round, few requests, every backend")
    run.add_argument("--dry-run", action="store_true", help="print what would be measured, and exit")
    run.add_argument("--list", action="store_true", help="print names and descriptions (of the examples), and exit")
    run.add_argument("--resume", action="store_true", help="go on with a run that was stopped or killed")
    _add_results(run)
    compare = _add_bench_command(commands, "compare", "say what got worse from one run to another", "BEFORE AFTER")
    compare.add_argument("before", metavar="BEFORE", help="the folder of an experiment's run, or its report.json")
    compare.add_argument("after", metavar="AFTER", help="that of a later one")
    compare.add_argument(
        "--tolerance",
        type=_share,
        default=0.10,
        metavar="SHARE",
        help="how much worse a median may be (default: %(default)s)",
    )
    report = _add_bench_command(commands, "report", "write the reports of a run anew", "FOLDER")
    report.add_argument("folder", metavar="FOLDER", help="of one experiment's run, or of several")
    datasheet = _add_bench_command(commands, "datasheet", "fill in a datasheet for this machine", "[options]")
    datasheet.add_argument(
        "--model",
        default=DEFAULT_MODEL,
        metavar="MODEL",
        help="a name on the Hugging Face Hub, or a folder (default: %(default)s)",
    )
    datasheet.add_argument("--quick", action="store_true", help="a trial run: fewer and shorter measurements")
    _add_results(datasheet)


def _add_bench_command(commands: Commands, name: str, summary: str, arguments: str) -> Parser:
    parser = _add_command(
        commands,
        name,
        "bench",
        summary,
        usage=f"votive bench {name} {arguments}",
        description=descriptions.BENCH_COMMANDS[name],
        epilog=descriptions.BENCH_EXAMPLES[name],
    )
    parser.set_defaults(action=name)
    return parser


def _add_results(parser: Parser) -> None:
    parser.add_argument("--out", default="results", metavar="FOLDER", help="where it is written (default: %(default)s)")


def _add_serve(commands: Commands) -> None:
    from votive._server_config import SETTINGS

    parser = _add_command(
        commands,
        "serve",
        "serve",
        "answer requests over HTTP, as OpenAI, Cohere, Jina, Ollama and text-embeddings-inference do",
        description=descriptions.SERVE,
        epilog=descriptions.SERVE_EXAMPLES,
    )
    parser.add_argument("--config", metavar="FILE", help="settings as YAML, JSON or TOML; flags beat them")
    parser.add_argument("--print-config", action="store_true", help="print what is in force, and exit")
    titles = {"model": "the models", "server": "the server", "batching": "passes through a model"}
    groups = {section: parser.add_argument_group(title) for section, title in titles.items()}
    groups["model"].add_argument(
        "--model",
        action="append",
        metavar="NAME[=ALIAS]",
        help="a name on the Hugging Face Hub, or a folder, and what else requests call it; may be given several times",
    )
    for setting in SETTINGS:
        options: dict[str, Any] = {"dest": setting.name, "default": None, "help": setting.help}
        if setting.metavar is None:
            options["action"] = "store_true"
        else:
            options |= {"type": setting.parse, "metavar": setting.metavar}
            options |= {"action": "append"} if setting.many else {}
        groups[setting.section].add_argument(setting.flag, **options)


def _add_monitor(commands: Commands) -> None:
    parser = _add_command(
        commands,
        "monitor",
        "monitor",
        "show how a server does",
        usage=descriptions.MONITOR_USAGE,
        description=descriptions.MONITOR,
        epilog=descriptions.MONITOR_EXAMPLES,
    )
    parser.add_argument(
        "url",
        nargs="?",
        default=DEFAULT_SERVER,
        metavar="URL",
        help=f"where the server is, also as unix:PATH (default: {DEFAULT_SERVER})",
    )
    parser.add_argument("--once", action="store_true", help="show it once, and exit")
    parser.add_argument(
        "--interval",
        type=_seconds,
        default=1.0,
        metavar="SECONDS",
        help="how often to look (default: %(default)g)",
    )
    _add_json(parser, "print one JSON object per line")
    parser.add_argument(
        "--api-key-file",
        metavar="FILE",
        help="a file whose first line is the server's key (default: $VOTIVE_API_KEY, where it is set)",
    )
    parser.add_argument(
        "--rules",
        choices=("prometheus", "grafana"),
        metavar="PROGRAM",
        help="print alerts for prometheus, or a dashboard for grafana, and exit",
    )


def _add_run(commands: Commands) -> None:
    parser = _add_command(
        commands,
        "run",
        "run",
        "run a Python program with votive in the place of sentence-transformers",
        usage=descriptions.RUN_USAGE,
        description=descriptions.RUN,
        epilog=descriptions.RUN_EXAMPLES,
    )
    parser.add_argument(
        "--tensors",
        choices=("auto", "always", "never"),
        default="auto",
        help="when similarities and the like are tensors of PyTorch: as soon as the program has imported it (auto, the "
        "default), always, or only where it asks for some",
    )
    parser.add_argument("-m", dest="is_module", action="store_true", help="PROGRAM is the name of a module")
    parser.runs_program = True
    parser.add_argument("program", metavar="PROGRAM", help="a file; the arguments after it are its own")


def _add_completion(commands: Commands) -> None:
    parser = _add_command(
        commands,
        "completion",
        "completion",
        "print what lets a shell complete commands and options",
        description=descriptions.COMPLETION,
        epilog=descriptions.COMPLETION_EXAMPLES,
    )
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help=f"one of {', '.join(SHELLS)}")


def _add_model(parser: Parser, default: str) -> Any:
    group = parser.add_argument_group("the model")
    group.add_argument("--model", metavar="MODEL", help=f"a name on the Hugging Face Hub, or a folder {default}")
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
        help="how weights are held and multiplied: float32, bfloat16, float16, int8 or int4; "
        "auto is float32 on a CPU (default: %(default)s)",
    )
    _add_num_threads(group)
    return group


def _add_other_model(group: Any) -> None:
    group.add_argument(
        "--allow-other-model",
        action="store_true",
        help="take --model also where another one made the store",
    )


def _add_files(parser: Parser) -> None:
    parser.add_argument("files", nargs="+", metavar="FILE", help="files with texts; - is standard input")


def _add_texts(parser: Parser) -> Any:
    group = parser.add_argument_group("the texts")
    group.add_argument("--field", metavar="NAME", help="the text's field in .jsonl files (default: text)")
    group.add_argument("--column", metavar="NAME", help="the text's column in .csv and .tsv files (default: text)")
    return group


def _add_top_k(parser: Parser, default: int | None) -> None:
    shown = "all" if default is None else default
    parser.add_argument(
        "-k", "--top-k", type=_positive, default=default, metavar="K", help=f"texts to print (default: {shown})"
    )


def _add_json(parser: Parser, summary: str) -> None:
    parser.add_argument("--json", action="store_true", help=summary)


def _add_num_threads(parser: Any) -> None:
    parser.add_argument(
        "--num-threads",
        type=_positive,
        metavar="N",
        help="threads to use (default: every CPU this process may use)",
    )


def _add_truncate_dim(parser: Any) -> None:
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


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0.05 <= number <= 86_400:
        raise argparse.ArgumentTypeError(f"want seconds from 0.05 up, got {text!r}")
    return number


def _share(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 10:
        raise argparse.ArgumentTypeError(f"want a share such as 0.1, got {text!r}")
    return number


def _filter(text: str) -> dict[str, Any]:
    import json

    try:
        found = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not JSON ({error}): {text}") from None
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError(f"want a JSON object such as '{{\"year\": 2024}}', got {text}")
    return found
