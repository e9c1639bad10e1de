"""Commands of servers: `serve` and `monitor`."""

from __future__ import annotations

import argparse
from typing import Any

from votive._server_config import SETTINGS
from votive.cli import descriptions
from votive.cli.arguments import add_json
from votive.cli.parser import Commands, add_command

DEFAULT_SERVER = "http://127.0.0.1:8000"


def add_serve(commands: Commands) -> None:
    parser = add_command(
        commands,
        "serve",
        "answer requests over HTTP, as OpenAI, Cohere, Jina, Ollama and text-embeddings-inference do",
        descriptions.SERVE,
        descriptions.SERVE_EXAMPLES,
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


def add_monitor(commands: Commands) -> None:
    parser = add_command(
        commands,
        "monitor",
        "show how a server does",
        descriptions.MONITOR,
        descriptions.MONITOR_EXAMPLES,
        usage=descriptions.MONITOR_USAGE,
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
    add_json(parser, "print one JSON object per line")
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


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0.05 <= number <= 86_400:
        raise argparse.ArgumentTypeError(f"want seconds from 0.05 up, got {text!r}")
    return number
