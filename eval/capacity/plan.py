"""What so many passages need: time and money to index them, machines to search them."""

from collections.abc import Callable
from math import ceil, log
from typing import NamedTuple

from eval.capacity.figures import Figures

MILLION = 1_000_000
_HOUR_MS = 3_600_000
_GB = 1e9
_BITS = 8
Bytes = Callable[[Figures, float], float]
"""Bytes of a vector of so many dimensions."""


class Model(NamedTuple):
    """A way to embed.

    Attributes:
        dimension: The figure that says how many dimensions a vector has.
        passage_ms: Likewise, how long a passage takes on a core; empty for a GPU.
    """

    dimension: str
    passage_ms: str = ""


MODELS = {
    "embedded model, CPU": Model("dimension_embedded", "embed_embedded_ms"),
    "klue/roberta-base, CPU, float32": Model("dimension_base", "embed_base_float32_ms"),
    "klue/roberta-base, CPU, int8": Model("dimension_base", "embed_base_int8_ms"),
    "klue/roberta-base, GPU": Model("dimension_base"),
}
RERANKERS = {
    "embedded reranker, CPU": "rerank_embedded_ms",
    "klue/roberta-small, CPU, float32": "rerank_small_float32_ms",
    "klue/roberta-small, CPU, int8": "rerank_small_int8_ms",
    "klue/roberta-small, GPU": "",
}
"""Which figure says how long a question's passages take on a core; empty for a GPU."""


def _raw(figures: Figures, dimension: float) -> float:
    return dimension * figures["float_bytes"]


def flat_bytes(figures: Figures, dimension: float) -> float:
    """Return the bytes of a vector where all are compared."""
    return _raw(figures, dimension)


def hnsw_bytes(figures: Figures, dimension: float) -> float:
    """Return the bytes of a vector and its links in HNSW: 2 M in the lowest layer and a few above."""
    above = 1 / (figures["hnsw_links"] - 1)
    return _raw(figures, dimension) + figures["hnsw_links"] * (2 + above) * figures["link_bytes"]


def ivf_sq8_bytes(figures: Figures, dimension: float) -> float:
    """Return the bytes of a vector in the lists of an IVF index of one byte for each dimension."""
    return dimension + figures["id_bytes"]


def ivf_rabitq_bytes(figures: Figures, dimension: float) -> float:
    """Return the bytes of a vector in the lists of an IVF index of one bit for each dimension."""
    return dimension / _BITS + figures["rabitq_factor_bytes"] + figures["id_bytes"]


def _rabitq_refined(figures: Figures, dimension: float) -> float:
    return ivf_rabitq_bytes(figures, dimension) + dimension  # the best are compared by a byte for each dimension


def _diskann_memory(figures: Figures, dimension: float) -> float:
    return _raw(figures, dimension) * figures["diskann_memory_share"]


def _diskann_disk(figures: Figures, dimension: float) -> float:
    return _raw(figures, dimension) + figures["diskann_links"] * figures["link_bytes"]


class Index(NamedTuple):
    """An index of Milvus.

    Attributes:
        memory: Bytes of a vector.
        disk: Likewise, of index files on a machine's disk.
        form: How its figures are called.
    """

    memory: Bytes
    disk: Bytes
    form: str


INDEXES = {
    "HNSW": Index(hnsw_bytes, hnsw_bytes, "hnsw"),
    "IVF_SQ8": Index(ivf_sq8_bytes, ivf_sq8_bytes, "ivf_sq8"),
    "IVF_RABITQ, refined by SQ8": Index(_rabitq_refined, _rabitq_refined, "ivf_rabitq"),
    "DISKANN": Index(_diskann_memory, _diskann_disk, "diskann"),
}


class Indexing(NamedTuple):
    """What embedding passages takes.

    Attributes:
        core_hours: Of all cores together.
        gpu_hours: Likewise.
        dollars: For both.
    """

    core_hours: float
    gpu_hours: float
    dollars: float


class Serving(NamedTuple):
    """What searching passages takes.

    Attributes:
        memory: Bytes, of one copy.
        disk: Bytes of index files, of one copy.
        stored: Bytes in the object store.
        needed: How many machines each of memory, disk, vectors and words needs for all copies.
        machines: How many there must be, those that coordinate included.
        dollars: A month.
        ms: Until an answer, without the model and reranking.
        recall: Of the ten nearest vectors.
    """

    memory: float
    disk: float
    stored: float
    needed: dict[str, int]
    machines: int
    dollars: float
    ms: float
    recall: float


def core_price(figures: Figures) -> float:
    """Return what an hour of a core costs, in dollars."""
    return figures["node_price"] / figures["node_cores"]


def indexing(figures: Figures, model: Model, passages: float) -> Indexing:
    """Return what splitting, analysing and embedding take; writing into the store is not in it."""
    cpu_ms = figures["split_ms"] + figures["analyse_ms"] + (figures[model.passage_ms] if model.passage_ms else 0)
    core_hours = passages * cpu_ms / _HOUR_MS / figures["parallel_efficiency"]
    seconds = 0 if model.passage_ms else passages * figures["passage_tokens"] / figures["gpu_tokens_per_second"]
    gpu_hours = seconds * 1000 / _HOUR_MS / figures["parallel_efficiency"]
    return Indexing(core_hours, gpu_hours, core_hours * core_price(figures) + gpu_hours * figures["gpu_price"])


def workers(figures: Figures, spent: Indexing) -> tuple[int, int]:
    """Return how many machines and GPUs are done with it in time."""
    hours = figures["deadline_hours"]
    return ceil(spent.core_hours / hours / figures["node_cores"]), ceil(spent.gpu_hours / hours)


def widths(figures: Figures, form: str) -> dict[int, tuple[float, float]]:
    """Return recall and CPU milliseconds of a form of index by the width of a search, narrow first."""
    prefix = f"{form}_recall_"
    found = sorted(int(name.removeprefix(prefix)) for name in figures if name.startswith(prefix))
    return {width: (figures[f"{prefix}{width}"], figures[f"{form}_ms_{width}"]) for width in found}


def search_cost(figures: Figures, form: str) -> tuple[float, float]:
    """Return recall and CPU milliseconds of the narrowest search that finds enough, or of the widest."""
    if form == "diskann":
        return figures["diskann_recall"], figures["diskann_ms"]
    measured = list(widths(figures, form).values())
    return next((one for one in measured if one[0] >= figures["target_recall"]), measured[-1])


def lexical_ms(figures: Figures, passages: float) -> float:
    """Return the CPU milliseconds of a question's words, by a power of the number of passages between two measured."""
    few, many = sizes(figures)
    less, more = figures[f"lexical_ms_at_{few}"], figures[f"lexical_ms_at_{many}"]
    return float(more * (passages / many) ** (log(more / less) / log(many / few)))


def sizes(figures: Figures) -> tuple[int, int]:
    """Return the smallest and the largest number of passages that an index in a folder was measured with."""
    prefix = "lexical_ms_at_"
    found = [int(name.removeprefix(prefix)) for name in figures if name.startswith(prefix)]
    return min(found), max(found)


def serving(figures: Figures, index: Index, dimension: float, passages: float) -> Serving:
    """Return what searching takes: each segment by itself, in as many machines as the scarcest of four needs."""
    lexical = figures["passage_units"] * figures["posting_bytes"]
    memory = passages * (index.memory(figures, dimension) + lexical * figures["lexical_resident_share"])
    disk = passages * (index.disk(figures, dimension) + lexical)
    texts = sum(figures[name] for name in ("passage_text_bytes", "passage_units_bytes", "metadata_bytes"))
    fields = texts + lexical + _raw(figures, dimension)
    stored = disk + passages * fields

    searched = passages * figures["searched_share"]
    in_segment = min(searched, figures["segment_bytes"] / fields)
    segments = searched / in_segment
    recall, ms = search_cost(figures, index.form)
    if index.form != "diskann":
        ms *= dimension / figures["dimension_embedded"] * (in_segment / sizes(figures)[1]) ** figures["growth"]
    spent = {"vectors": segments * ms, "words": segments * lexical_ms(figures, in_segment)}
    cores = {what: ms / 1000 * figures["questions_per_second"] / figures["busy_cores"] for what, ms in spent.items()}
    copies, node_cores = figures["replicas"], figures["node_cores"]
    needed = {
        "memory": ceil(copies * memory / (figures["node_memory"] * figures["filled_memory"])),
        "disk": ceil(copies * disk / (figures["node_disk"] * figures["filled_disk"])),
        "vectors": ceil(cores["vectors"] / node_cores),
        "words": ceil(cores["words"] / node_cores),
    }
    together = ceil(sum(cores.values()) / node_cores)
    searching = max(needed["memory"], needed["disk"], together, ceil(copies))
    machines = searching + (ceil(figures["control_nodes"]) if searching > copies else 0)
    dollars = machines * figures["node_price"] * figures["hours_a_month"] + stored / _GB * figures["object_price"]
    a_copy = max(1, searching // copies)
    latency = sum(spent.values()) / (a_copy * node_cores) * figures["straggler"] + figures["network_ms"]
    return Serving(memory, disk, stored, needed, machines, dollars, latency, recall)


def cheapest(figures: Figures, dimension: float, passages: float) -> str:
    """Return the index that finds enough with the fewest machines; of several, the one that finds most."""
    plans = {name: serving(figures, index, dimension, passages) for name, index in INDEXES.items()}
    enough = {name: plan for name, plan in plans.items() if plan.recall >= figures["target_recall"]} or plans
    return min(enough, key=lambda name: (enough[name].machines, -enough[name].recall))


def reranking(figures: Figures, milliseconds: str) -> tuple[float, float]:
    """Return the milliseconds of a question on a core, or on a GPU, and the dollars of a million questions."""
    if milliseconds:
        spent, price = figures[milliseconds], core_price(figures)
    else:
        tokens = min(figures["pair_tokens_most"], figures["passage_tokens"] + figures["question_tokens"])
        speed = figures["gpu_tokens_per_second"] * figures["small_speed"]
        spent, price = 1000 * tokens * figures["rerank_candidates"] / speed, figures["gpu_price"]
    return spent, MILLION * spent / _HOUR_MS * price
