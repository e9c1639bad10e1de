"""The command line of `python -m benches`. It needs NumPy alone, so that `--help` works wherever votive does."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path

from votive.bench.backends import stores

from benches.data.vectors import SHAPES
from benches.peers import documents, embedders, models, quantized, rerankers, servers

EMBED_SETS = ("short", "medium", "long", "mixed")
EMBED_SIZES = ("1", "5", "10", "20", "50", "100", "all")
RERANK_SIZES = ("1", "2", "5", "8", "10", "16", "20", "32", "64", "96")
RERANK_CALLERS = ("1", "2", "4", "8")
STORE_KS = ("10", "100")
PROOF_DATA = ("texts", "clustered", "uniform")
QUANTIZED_MODELS = ("minilm", "base", "qwen3")
CONNECTIONS = (1, 8, 32, 128)
CALLERS = (1, 2, 4, 8, 12, 16, 24)
CALLERS_SIZES = (1, 8, 32, 64)

Commands = argparse._SubParsersAction


def parser() -> argparse.ArgumentParser:
    """What is parsed has `module`, of `benches.measure`, `what`, its function, and that function's arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m benches",
        description="votive beside its peers on this machine, in turns. Tables are printed in Markdown and written to "
        "--out, with every single time as JSON. Peers that are not installed are skipped, and listed with the reason.",
    )
    subjects = parser.add_subparsers(dest="subject", required=True, help="what is compared")
    for add, name, says in (
        (_embed, "embed", "embedders: texts to vectors, beside sentence-transformers, ONNX Runtime and OpenVINO"),
        (_rerank, "rerank", "rerankers: pairs to scores, beside sentence-transformers, ONNX Runtime and OpenVINO"),
        (_store, "store", "stores: exact vector search, beside NumPy, PyTorch, FAISS and USearch; documents"),
        (_callers, "callers", "callers that share an embedder, beside sentence-transformers with a lock"),
        (_dropin, "dropin", "the drop-in's search helpers, beside those of sentence-transformers"),
        (_static, "static", "static embeddings, beside model2vec"),
        (_serve, "serve", "servers of OpenAI's interface, beside infinity and FastAPI with sentence-transformers"),
        (_quantized, "quantized", "quantized weights, beside llama.cpp, ONNX Runtime and OpenVINO"),
        (_scale, "scale", "engines that spread work over machines, on this one, beside plain encode"),
    ):
        subject = subjects.add_parser(name, help=says, description=f"{says[0].upper()}{says[1:]}.")
        subject.set_defaults(module=name)
        add(subject.add_subparsers(dest="what", required=True, help="what is measured"))
    return parser


def _embed(commands: Commands) -> None:
    targets = commands.add_parser(
        "targets",
        help="the ratios that votive is held to: targets.md and .json",
        description="Embedders: the ratios that votive is held to, beside their goals. A quarter of an hour.",
    )
    table = commands.add_parser(
        "table",
        help="every peer, set and number of texts per call: embed.md, .json and .png",
        description="Embedders: every peer, set and number of texts per call. More than an hour.",
    )
    for parser in (targets, table):
        _item_options(parser, models.EMBEDDERS, "all but minilm have random weights")
    pauses = commands.add_parser(
        "pauses",
        help="one short text a call after pauses, beside ONNX Runtime: pauses.md and .json",
        description="Embedders: one short text a call, each after a pause, beside ONNX Runtime. 5 minutes.",
    )
    pauses.set_defaults(module="pauses")
    pauses.add_argument(
        "--model", choices=models.EMBEDDERS, default="minilm", help="all but minilm have random weights; minilm"
    )
    pauses.add_argument("--threads", type=_numbers, help="comma-separated; 1 and the CPUs that this process may use")
    pauses.add_argument("--before", type=Path, help="folder with the package votive of an earlier build, as a peer")
    _turns_options(pauses, 5, 1.0, "of each peer with each pause in each round, its pauses included")
    _cache_option(pauses)
    _output_options(pauses, "two rounds of a tenth of a second")
    table.add_argument("--peers", type=_listed(embedders.PEERS), default=[*embedders.PEERS], help=_names("all"))
    table.add_argument("--sets", type=_listed(EMBED_SETS), default=[*EMBED_SETS], help=_names(*EMBED_SETS))
    table.add_argument(
        "--sizes", type=_listed(EMBED_SIZES), default=[*EMBED_SIZES], help=f"texts per call; {_names(*EMBED_SIZES)}"
    )


def _rerank(commands: Commands) -> None:
    targets = commands.add_parser(
        "targets",
        help="the ratios that votive is held to: rerank_targets.md and .json, of qwen3 rerank_targets_qwen3.*",
        description="Rerankers: the ratios that votive is held to, beside their goals. 6 minutes.",
    )
    _item_options(
        targets, models.RERANKERS, "qwen3 is the shape of Qwen3-Reranker-0.6B, which needs 14 GB", seconds=2.0
    )
    table = commands.add_parser(
        "table",
        help="every peer, number of pairs per call and of calling threads: rerank.md, .json and .png",
        description="Rerankers: every peer, number of pairs per call and of calling threads. A quarter of an hour.",
    )
    _item_options(table, ("minilm",), "a decoder has targets alone", rounds=3)
    usual = [peer for peer in rerankers.ENCODERS if not peer.endswith("-all-cores")]  # these are among others' choices
    table.add_argument("--peers", type=_listed(rerankers.ENCODERS), default=usual, help=_names(*usual))
    table.add_argument(
        "--sizes", type=_listed(RERANK_SIZES), default=[*RERANK_SIZES], help=f"pairs per call; {_names(*RERANK_SIZES)}"
    )
    table.add_argument(
        "--callers", type=_listed(RERANK_CALLERS), default=[*RERANK_CALLERS], help=f"threads; {_names(*RERANK_CALLERS)}"
    )


def _store(commands: Commands) -> None:
    targets = commands.add_parser(
        "targets",
        help="the ratios that votive is held to: store_targets.md and .json",
        description="Stores: the ratios that votive is held to, beside their goals. 5 minutes, 15 GB of memory.",
    )
    _store_options(targets)
    table = commands.add_parser(
        "table",
        help="every store, two shapes, k = 10 and 100: store.md, .json and .png",
        description="Stores: every store, two shapes, k = 10 and 100. A quarter of an hour.",
    )
    _store_options(table, rounds=3)
    table.add_argument(
        "--peers",
        type=_listed(stores.PEERS),
        default=[*stores.PEERS],
        help=f"with {stores.REFERENCE}, which the others are compared with; {_names('all')}",
    )
    table.add_argument("--shapes", type=_listed(SHAPES), default=[*SHAPES], help=_names(*SHAPES))
    table.add_argument("--k", type=_listed(STORE_KS), default=[*STORE_KS], help=_names(*STORE_KS))
    proof = commands.add_parser(
        "proof",
        help="votive's answers id by id beside brute force, and what proving them costs: store_proof.md and .json",
        description="Stores: votive's answers id by id beside brute force, and what proving them costs. 15 minutes.",
    )
    proof.set_defaults(module="proof")
    proof.add_argument("--data", type=_listed(PROOF_DATA), default=[*PROOF_DATA], help=_names(*PROOF_DATA))
    proof.add_argument("--rows", type=int, default=1_000_000, help="of clustered and uniform vectors; %(default)s")
    proof.add_argument("--texts", type=int, default=100_000, help="%(default)s")
    proof.add_argument("--queries", type=int, default=1000, help="%(default)s")
    _cache_option(proof)
    _output_options(proof, "20,000 rows, 2,000 texts, 100 queries")
    binary = commands.add_parser(
        "binary",
        help="rows of bits by Hamming distance beside FAISS IndexBinaryFlat: store_binary.md and .json",
        description="Stores: 1,000,000 rows of 1,024 bits by Hamming distance, beside FAISS. A minute.",
    )
    binary.set_defaults(module="binary")
    binary.add_argument("--rows", type=int, help="1,000,000")
    binary.add_argument("--rounds", type=int, default=25, help="%(default)s")
    _output_options(binary, "50,000 rows, two rounds")
    kept = commands.add_parser(
        "documents",
        help="vectors with texts and columns, beside LanceDB, Chroma and Qdrant: store_documents.md and .json",
        description="Stores of documents: adding, opening, get by id, an update, filters, beside LanceDB, Chroma and "
        "Qdrant's local mode. 20 minutes, 20 GB of disk.",
    )
    kept.add_argument("--rows", type=int, default=1_000_000, help="%(default)s")
    _document_options(
        kept, [*documents.PEERS], 180.0, "most seconds that a store adds; the rest of the rows is left out"
    )
    _turns_options(kept, 3, 1.0, "what each store spends on one kind of call in one round")
    _output_options(kept, "2,000 rows, two rounds")
    commits = commands.add_parser(
        "commits",
        help="a commit for every row: store_commits.md and .json",
        description="Stores of documents: so many commits of one row each, how they slow down, and what they leave.",
    )
    commits.add_argument("--commits", type=int, default=10_000, help="%(default)s")
    _document_options(commits, ["votive"], 600.0, "most seconds of a store's commits")
    _turns_options(commits, 5, 1.0, "not used")
    _output_options(commits, "200 commits, two rounds")
    for parser in (kept, commits):
        parser.set_defaults(module="documents")


def _callers(commands: Commands) -> None:
    targets = commands.add_parser(
        "targets",
        help="the ratios that sharing is held to: concurrency_targets.md and .json",
        description="Callers that share one model: the ratios that votive is held to, beside their goals.",
    )
    table = commands.add_parser(
        "table",
        help="every number of callers and of texts per call: concurrency.md, .json and .png",
        description="Callers that share one model: every number of callers and of texts per call, by threads and by "
        "asyncio. A quarter of an hour.",
    )
    for parser in (targets, table):
        _turns_options(parser, 5, 1.0, "of each cell in each round")
        parser.add_argument("--threads", type=int, help="of every peer; the CPUs that this process may use")
        _output_options(parser, "two rounds of a tenth of a second")
    table.add_argument("--callers", type=_numbers, default=[*CALLERS], help=_names(*CALLERS))
    table.add_argument(
        "--sizes", type=_numbers, default=[*CALLERS_SIZES], help=f"texts per call; {_names(*CALLERS_SIZES)}"
    )
    table.add_argument("--votive", action="store_true", help="without sentence-transformers")


def _serve(commands: Commands) -> None:
    table = commands.add_parser(
        "table",
        help="every server and number of connections, and latencies by schedule: serve.md and .json",
        description="Servers: requests a second by connections, latencies at shares of the peak, and what HTTP costs. "
        "A quarter of an hour.",
    )
    _turns_options(table, 3, 4.0, "of each cell in each round")
    table.add_argument("--threads", type=int, help="of every peer; the CPUs that this process may use")
    table.add_argument("--peers", type=_listed(servers.PEERS), default=[*servers.PEERS], help=_names(*servers.PEERS))
    table.add_argument("--connections", type=_numbers, default=[*CONNECTIONS], help=_names(*CONNECTIONS))
    _output_options(table, "two rounds of a tenth of a second")
    soak = commands.add_parser(
        "soak",
        help="memory of votive's server under mixed load, each second: soak.md and .json",
        description="votive's server under mixed load: several interfaces, sizes and lengths, clients that leave, bad "
        "bodies. Says whether its memory stays. Half an hour.",
    )
    soak.set_defaults(module="soak")
    soak.add_argument("--minutes", type=float, default=30.0, help="%(default)s")
    soak.add_argument("--callers", type=int, default=16, help="%(default)s")
    soak.add_argument("--threads", type=int, help="of the model; the CPUs that this process may use")
    _output_options(soak, "ten seconds")


def _dropin(commands: Commands) -> None:
    util = commands.add_parser(
        "util",
        help="semantic_search, paraphrase_mining_embeddings and community_detection: dropin_util.md and .json",
        description="The drop-in's search helpers: 100,000 x 384, beside sentence-transformers. 20 minutes.",
    )
    util.add_argument("--rows", type=int, help="100,000")
    util.add_argument("--mined", type=int, help="rows that pairs and communities are found among; all of them")
    util.add_argument("--rounds", type=int, default=3, help="%(default)s")
    _output_options(util, "5,000 rows, two rounds")


def _static(commands: Commands) -> None:
    targets = commands.add_parser(
        "targets",
        help="mixed texts beside model2vec in Python and in Rust: static_targets.md and .json",
        description="Static embeddings: mixed texts beside model2vec in Python and in Rust. A minute.",
    )
    targets.add_argument("--rust", help="the program that benches/peers/model2vec_rs.rs makes")
    targets.add_argument("--rounds", type=int, default=50, help="%(default)s")
    _output_options(targets, "two rounds")


def _quantized(commands: Commands) -> None:
    targets = commands.add_parser(
        "targets",
        help="GGUF files beside llama.cpp: quantized_targets.md and .json, of other models quantized_targets_MODEL.*",
        description="Quantized weights: votive on GGUF files beside llama.cpp, and beside ONNX Runtime and OpenVINO in "
        "four bits. 10 minutes; qwen3 half an hour and 8 GB.",
    )
    _item_options(targets, QUANTIZED_MODELS, "all but minilm have random weights")
    targets.add_argument(
        "--peers", type=_listed(quantized.PEERS), default=[*quantized.PEERS], help=_names(*quantized.PEERS)
    )


def _scale(commands: Commands) -> None:
    engines = commands.add_parser(
        "engines",
        help="Ray Data and Dask beside plain encode: scale_engines.md and .json",
        description="Engines: mixed texts through Ray Data and Dask, beside plain encode, in turns. 2 minutes.",
    )
    engines.add_argument("--rounds", type=int, default=3, help="%(default)s")
    _output_options(engines, "an eighth of the texts, one round")
    rows = commands.add_parser(
        "rows",
        help="memory while rows go through Ray Data and a stub of the model: scale_rows.md and .json",
        description="Engines: rows through Ray Data to Parquet with a stub of the model, and memory. 5 minutes.",
    )
    rows.add_argument("--rows", type=int, default=10_000_000, help="%(default)s")
    _output_options(rows, "200,000 rows")


def _item_options(
    parser: argparse.ArgumentParser, names: Iterable[str], says: str, rounds: int = 5, seconds: float = 0.5
) -> None:
    """Those of embedders and rerankers; the first of the models is the default."""
    names = tuple(names)
    parser.add_argument("--model", choices=names, default=names[0], help=f"{says}; %(default)s")
    _turns_options(parser, rounds, seconds, "what the slowest peer spends on one size in one round")
    parser.add_argument("--threads", type=int, help="of every peer; the CPUs that this process may use")
    _cache_option(parser)
    _output_options(parser, "a part of the items, two rounds, batches as they come")


def _store_options(parser: argparse.ArgumentParser, rounds: int = 5) -> None:
    parser.add_argument("--rows", type=int, help="of each shape, in place of its own number")
    _turns_options(parser, rounds, 1.0, "what the slowest store spends on one kind of call in one round")
    parser.add_argument(
        "--folder", type=Path, help="for saved stores, 10 GB for a million rows; the system's temporary"
    )
    _output_options(parser, "50,000 rows, two rounds")


def _document_options(parser: argparse.ArgumentParser, peers: list[str], limit: float, says: str) -> None:
    parser.add_argument("--peers", type=_listed(documents.PEERS), default=peers, help=_names(*peers))
    parser.add_argument("--limit", type=float, default=limit, help=f"{says}; %(default)s")
    parser.add_argument("--folder", type=Path, help="for the stores; the system's temporary")


def _turns_options(parser: argparse.ArgumentParser, rounds: int, seconds: float, says: str) -> None:
    parser.add_argument("--rounds", type=int, default=rounds, help="%(default)s")
    parser.add_argument("--seconds", type=float, default=seconds, help=f"{says}; %(default)s")


def _cache_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cache",
        type=Path,
        help="for models, exports and vectors that are made once; $VOTIVE_BENCH_CACHE, else the user's cache folder",
    )


def _output_options(parser: argparse.ArgumentParser, quick: str) -> None:
    parser.add_argument("--out", type=Path, default=Path(), help="folder for what is written; here")
    parser.add_argument("--quick", action="store_true", help=f"{quick}: a trial run")


def _names(*default: object) -> str:
    return f"comma-separated; {','.join(map(str, default))}"


def _listed(accepted: Iterable[str]) -> Callable[[str], list[str]]:
    """The type of an argument that is comma-separated: some of the accepted names, in that order."""

    def names(text: str) -> list[str]:
        wanted = text.split(",")
        unknown = set(wanted) - set(accepted)
        if unknown:
            raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: choose from {', '.join(accepted)}")
        return [name for name in accepted if name in wanted]

    return names


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]
