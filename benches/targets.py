"""The ratios that votive is held to, from one run: `python benches/targets.py --help`."""

from __future__ import annotations

from statistics import median
from typing import Any, NamedTuple

import report
from comparison import say
from embed_comparison import EmbedComparison, embed_options
from fidelity import cosines, nearest_overlap
from peers import PEERS, REFERENCE

FLOAT32, BFLOAT16, INT8 = "votive", "votive-bfloat16", "votive-int8"
DTYPES = {FLOAT32: "float32", BFLOAT16: "bfloat16", INT8: "int8"}
QUICK_PASSAGES_EVERY = 20


class Target(NamedTuple):
    """A ratio of two peers' speed: at "all" texts a call of the rates, at "1" of the median times; with its goals."""

    subject: str
    name: str
    size: str
    peer: str
    goal: str
    aim: str

    def __str__(self) -> str:
        texts = "one short text, p50" if self.size == "1" else f"{self.name} texts"
        return f"{DTYPES[self.subject]}, {texts}, against {self.peer}"

    def settings(self) -> list[str]:
        """The peer with all cores on each batch, and at its fastest; one alone where these are the same."""
        all_cores = f"{self.peer}-all-cores"
        if all_cores not in PEERS:
            return [self.peer]
        return [all_cores] if self.size == "1" else [all_cores, self.peer]


TARGETS = (
    Target(FLOAT32, "mixed", "all", "onnxruntime", "1.8x", "2.2x"),
    Target(FLOAT32, "mixed", "all", "openvino-float32", "1.6x", "2x"),
    Target(FLOAT32, "short", "all", "onnxruntime", "1.4x", "1.8x"),
    Target(FLOAT32, "long", "all", "onnxruntime", "1.4x", "1.8x"),
    Target(BFLOAT16, "mixed", "all", "openvino-default", "1.5x", "2x"),
    Target(INT8, "mixed", "all", "openvino-int8", "1.8x", "2.5x"),
    Target(INT8, "long", "all", "openvino-int8", "1.4x", "2x"),
    Target(INT8, "mixed", "all", REFERENCE, "4x", "6x"),
    Target(FLOAT32, "short", "1", "onnxruntime", "2x (Zen 4: 1.7x)", "2.7x"),
    Target(INT8, "short", "1", "openvino-int8", "4x (Zen 4: 2x)", "1.5x of the peaks"),
)


def main() -> None:
    """Measure, print Markdown and write JSON."""
    arguments = embed_options("The ratios that votive is held to, with their spread.").parse_args()
    comparison = EmbedComparison(arguments)
    trained = arguments.model == "minilm"  # what vectors, start and memory are held to is MiniLM's
    targets = [target for target in TARGETS if trained or target.size == "all"]

    for peer in dict.fromkeys(peer for target in targets for peer in (target.subject, *target.settings())):
        if comparison.load(peer):
            if peer in (FLOAT32, REFERENCE):
                comparison.memory(peer)
            sets = {target.name for target in targets if peer in target.settings() and target.size == "all"}
            comparison.choose(peer, sorted(sets))
    if trained and FLOAT32 in comparison.workers:
        _compare_vectors(comparison)

    cells = comparison.cells((each.name, each.size, [each.subject, *each.settings()]) for each in targets)
    calls = comparison.warm_up(cells)
    for number in range(comparison.rounds):
        say(f"round {number + 1} of {comparison.rounds}")
        comparison.round(cells, calls)
        if trained:
            for peer in (FLOAT32, REFERENCE):
                if peer in comparison.workers:
                    seconds = comparison.results["peers"][peer].setdefault("first_vector_seconds", [])
                    seconds.append(comparison.first_vector_seconds(peer))
        comparison.write("targets", markdown(targets, comparison.results))
    comparison.close()
    print(markdown(targets, comparison.results))


def _compare_vectors(comparison: EmbedComparison) -> None:
    """Note how near the vectors of votive's types are to float32's, of the mixed texts and of the demo corpus."""
    from votive.demo_corpus import passages

    every = QUICK_PASSAGES_EVERY if comparison.quick else 1
    corpora = {"mixed": comparison.sets["mixed"], "demo": [passage.text for passage in passages()][::every]}
    vectors = {
        peer: {name: comparison.workers[peer].call("compute", texts) for name, texts in corpora.items()}
        for peer in (FLOAT32, BFLOAT16, INT8)
        if peer in comparison.workers
    }
    for peer, each in vectors.items():
        mixed = cosines(each["mixed"], vectors[FLOAT32]["mixed"])
        comparison.results["peers"][peer] |= {
            "cosine_mean": float(mixed.mean()),
            "cosine_lowest": float(mixed.min()),
            "nearest_overlap": nearest_overlap(each["demo"], vectors[FLOAT32]["demo"]),
        }


def markdown(targets: list[Target], results: dict[str, Any]) -> str:
    """The machine, the ratios, and what they were computed from."""
    rows = [[str(target), *_ratios(target, results), target.goal, target.aim] for target in targets]
    if results["model"] == "minilm":
        rows += _once(results["peers"])
    head = ["", "peer: all cores on each batch", "peer: fastest setting found", "goal", "aim"]
    parts = [report.machine_line(results), report.table(head, rows), _speeds(results)]
    parts += [f"- {peer}: skipped, {reason}" for peer, reason in results["skipped"].items()]
    return "\n\n".join(parts) + "\n"


def _ratios(target: Target, results: dict[str, Any]) -> tuple[str, str]:
    """Against the peer's first and last setting; empty where one was not measured."""
    cell = results["times"].get(target.name, {}).get(target.size, {})

    def ratio(peer: str) -> str:
        if not {peer, target.subject} <= cell.keys():
            return ""
        return _ratio(_seconds(cell[peer]), _seconds(cell[target.subject]))

    settings = target.settings()
    return ratio(settings[0]), ratio(settings[1]) if len(settings) > 1 else "same"


def _once(peers: dict[str, dict[str, Any]]) -> list[list[str]]:
    """Rows of what is no speed of many texts, where it was measured."""
    rows = []
    if {FLOAT32, REFERENCE} <= peers.keys():
        votive, reference = peers[FLOAT32], peers[REFERENCE]
        start = _ratio(reference["first_vector_seconds"], votive["first_vector_seconds"])
        memory = f"1/{reference['memory_bytes'] / votive['memory_bytes']:.1f}"
        rows.append([f"process start to first vector, against {REFERENCE}", start, "same", "20x", "40x"])
        rows.append([f"resident memory after 1,000 texts, of that of {REFERENCE}", memory, "same", "1/4", "1/6"])
    for peer, goal, aim in ((BFLOAT16, ".9999 / .9995", ".99999"), (INT8, ".998 / .995", ".9995 / .998")):
        if peer in peers:
            near = f"{peers[peer]['cosine_mean']:.6f} / {peers[peer]['cosine_lowest']:.6f}"
            rows.append([f"{DTYPES[peer]} cosine to float32, mean / worst text", near, "", goal, aim])
    if INT8 in peers:
        overlap = f"{peers[INT8]['nearest_overlap']:.4f}"
        rows.append(["int8 nearest-10 overlap with float32, demo corpus", overlap, "", ".97", ".99"])
    return rows


def _speeds(results: dict[str, Any]) -> str:
    """A row for each peer: texts per second of whole sets, milliseconds of one text, start, memory, batches."""
    columns: dict[str, dict[str, str]] = {}
    for name, sizes in results["times"].items():
        for size, cell in sizes.items():
            head = f"{name}, texts per second" if size == "all" else f"one {name} text, p50, ms"
            columns[head] = {}
            for peer, rounds in cell.items():
                texts = results["corpus"]["sets"][name]["count"]
                values = [texts / call if size == "all" else 1000 * call for call in _seconds(rounds)]
                columns[head][peer] = report.spread(values, report.short)
    for peer, facts in results["peers"].items():
        if "first_vector_seconds" in facts:
            start = report.spread(facts["first_vector_seconds"], "{:.2f}".format)
            columns.setdefault("start to first vector, s", {})[peer] = start
        if "memory_bytes" in facts:
            columns.setdefault("memory, MB", {})[peer] = f"{facts['memory_bytes'] / 1e6:.0f}"
        if facts["choices"]:
            batches = "; ".join(f"{name}: {choice}" for name, choice in facts["choices"].items())
            columns.setdefault("batches", {})[peer] = batches
    rows = [[peer, *(column.get(peer, "") for column in columns.values())] for peer in results["peers"]]
    return report.table(["", *columns], rows)


def _seconds(rounds: list[list[float]]) -> list[float]:
    """Of each round, the median call's; a whole set is one call."""
    return [median(calls) for calls in rounds]


def _ratio(theirs: list[float], ours: list[float]) -> str:
    """How many times faster, of the two times of one round."""
    return report.spread([their / our for their, our in zip(theirs, ours, strict=True)], "{:.2f}x".format)


if __name__ == "__main__":
    main()
