"""The ratios that votive's Reranker is held to, from one run: `python benches/rerank_targets.py --help`."""

from __future__ import annotations

from typing import Any, NamedTuple

import report
import rerank_report
from comparison import say
from rerank_comparison import CALLERS_SIZE, RerankComparison, rerank_options
from rerankers import DECODER_REFERENCE, ENCODER_REFERENCE

DTYPES = {"votive": "float32", "votive-int8": "int8"}
CALLERS = 8


class Target(NamedTuple):
    """A ratio of two peers' pairs per second, against each of the peer's `settings`, of which the last is fastest."""

    subject: str
    name: str
    size: str
    peer: str
    goal: str
    settings: tuple[str, ...]

    def __str__(self) -> str:
        called = "one query, 20 documents" if self.name == "question" else f"{self.size} pairs a call"
        return f"{DTYPES[self.subject]}, {called}, against {self.peer}"


def _minilm(name: str, size: str) -> tuple[Target, ...]:
    def both(peer: str) -> tuple[str, str]:
        return f"{peer}-all-cores", peer

    return (
        Target("votive", name, size, ENCODER_REFERENCE, "2.5x", (ENCODER_REFERENCE,)),
        Target("votive", name, size, "onnxruntime", "1.5x", both("onnxruntime")),
        Target("votive-int8", name, size, "openvino-int8", "1.8x", both("openvino-int8")),
    )


AS_THE_CARD = ("transformers-model-card", DECODER_REFERENCE)
TARGETS = {
    "minilm": (*_minilm("pairs", str(CALLERS_SIZE)), *_minilm("question", "20")),
    "qwen3": (
        Target("votive", "question", "all", DECODER_REFERENCE, "2x", AS_THE_CARD),
        Target("votive-int8", "question", "all", DECODER_REFERENCE, "4x", AS_THE_CARD),
    ),
}
HEADS = {
    "minilm": ("peer: all cores on each batch", "peer: fastest setting found"),
    "qwen3": ("peer: as on the model card", "peer: the last position's logits alone"),
}


def main() -> None:
    """Measure, print Markdown and write JSON."""
    arguments = rerank_options("The ratios that votive's Reranker is held to, with their spread.").parse_args()
    comparison = RerankComparison(arguments)
    targets = TARGETS[arguments.model]
    for peer in dict.fromkeys(peer for target in targets for peer in (target.subject, *target.settings)):
        comparison.load(peer)
    cells = comparison.cells((each.name, each.size, [each.subject, *each.settings]) for each in targets)
    for (name, size), peers in cells.items():
        for peer in peers:
            comparison.choose(peer, [name], None if size == "all" else int(size))
    comparison.compare_scores()
    calls = comparison.warm_up(cells)
    name = "rerank_targets" if arguments.model == "minilm" else f"rerank_targets_{arguments.model}"
    for number in range(comparison.rounds):
        say(f"round {number + 1} of {comparison.rounds}")
        comparison.round(cells, calls)
        if "pairs" in comparison.sets:
            for callers in (1, CALLERS):
                comparison.callers_round(callers, [peer for peer in DTYPES if peer in comparison.workers])
        comparison.write(name, markdown(comparison.results))
    comparison.close()
    print(markdown(comparison.results))


def markdown(results: dict[str, Any]) -> str:
    """The machine, the ratios, and what they were computed from."""
    rows = [[str(target), *_ratios(target, results), target.goal] for target in TARGETS[results["model"]]]
    rows += _callers(results)
    head = ["", *HEADS[results["model"]], "goal"]
    parts = [report.machine_line(results), rerank_report.sets_line(results), report.table(head, rows)]
    parts += ["Pairs per second:", rerank_report.calls(results, report.rate_cell)]
    parts += ["Milliseconds per call, p50 / p95 / p99:", rerank_report.calls(results, rerank_report.latency_cell)]
    parts += [rerank_report.peers(results), *rerank_report.skipped(results)]
    return "\n\n".join(parts) + "\n"


def _ratios(target: Target, results: dict[str, Any]) -> tuple[str, str]:
    """Against the peer's first and last setting; empty where one was not measured."""
    cell = results["times"].get(target.name, {}).get(target.size, {})

    def ratio(peer: str) -> str:
        if not {peer, target.subject} <= cell.keys():
            return ""
        return report.ratio_cell(target.subject, results, target.name, target.size, peer)

    return ratio(target.settings[0]), ratio(target.settings[1]) if len(target.settings) > 1 else "same"


def _callers(results: dict[str, Any]) -> list[list[str]]:
    """Rows of what many threads reach together, of what one does, and of how alike they are served."""
    rows = []
    alone, many = (results["callers"].get(str(callers), {}) for callers in (1, CALLERS))
    for peer, dtype in DTYPES.items():
        if peer not in many:
            continue
        rates = zip(rerank_report.together(many[peer]), rerank_report.together(alone[peer]), strict=True)
        share = report.spread([together / single for together, single in rates], "{:.2f}".format)
        fair = rerank_report.fairness_cell(many[peer])
        rows.append([f"{dtype}, {CALLERS} threads, pairs per second, of those of one thread", share, "", ".9"])
        rows.append([f"{dtype}, {CALLERS} threads, the slowest's pairs per second, of the fastest's", fair, "", ".5"])
    return rows


if __name__ == "__main__":
    main()
