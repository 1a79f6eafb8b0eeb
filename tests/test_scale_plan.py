from pathlib import Path

import faiss
import numpy as np
import pytest

from eval import scale
from eval.capacity import plan, unit_costs
from eval.capacity.figures import ASSUMED, MEASURED, Figure, Figures, read_figures, write_figures
from eval.capacity.tables import plan_tables
from rag_app.data import sample_documents

DOCUMENT = Path(__file__).parents[1] / "docs" / "scale.md"
HAND = {
    "split_ms": 1,
    "analyse_ms": 2,
    "embed_embedded_ms": 3,
    "parallel_efficiency": 0.5,
    "node_cores": 10,
    "node_price": 2,
    "passage_tokens": 100,
    "gpu_tokens_per_second": 1000,
    "gpu_price": 3,
    "deadline_hours": 1,
}


def known() -> Figures:
    return Figures([*read_figures(MEASURED), *read_figures(ASSUMED)])


def by_hand() -> Figures:
    return Figures(Figure(name, value, "", "") for name, value in HAND.items())


def computed(figures: Figures) -> str:
    """Return the tables of a plan without the rows that it was computed from."""
    measured = [row.name for row in read_figures(MEASURED)]
    assumed = figures.keys() - set(measured)
    text = plan_tables(Figures(figures.rows(measured)), Figures(figures.rows(assumed)), scale.PASSAGES)
    return text.partition("### Measured\n")[0]


def test_the_document_has_what_the_program_computes() -> None:
    page = DOCUMENT.read_text("utf-8")
    tables = plan_tables(Figures(read_figures(MEASURED)), Figures(read_figures(ASSUMED)), scale.PASSAGES)
    assert scale.put_into(page, tables) == page, "run: python -m eval.scale --into docs/scale.md"


def test_what_is_printed_comes_from_every_row_of_the_tables() -> None:
    figures = known()
    before = computed(figures)
    idle = [
        name
        for name in figures
        if all(computed(figures.replaced({name: figures[name] * by}, "")) == before for by in (0.5, 1.5, 0.01))
    ]
    assert not idle


def test_no_figure_is_in_both_tables() -> None:
    assert not {row.name for row in read_figures(MEASURED)} & {row.name for row in read_figures(ASSUMED)}


def test_each_figure_says_where_it_is_from() -> None:
    assert not [row.name for row in known().rows() if len(row.source) < 4 or not row.unit]


def test_embedding_as_computed_by_hand() -> None:
    # 6 ms a passage for 3,600,000 of them are 6 hours, 12 at half the speed; a core's hour costs 0.2
    on_cores = plan.indexing(by_hand(), plan.MODELS["embedded model, CPU"], 3_600_000)
    assert on_cores == pytest.approx((12, 0, 2.4))
    assert plan.workers(by_hand(), on_cores) == (2, 0)
    # 3 ms on a core, 0.1 s on a GPU
    on_gpus = plan.indexing(by_hand(), plan.MODELS["klue/roberta-base, GPU"], 3_600_000)
    assert on_gpus == pytest.approx((6, 200, 6 * 0.2 + 200 * 3))
    assert plan.workers(by_hand(), on_gpus) == (1, 200)


def test_serving_as_computed_by_hand() -> None:
    figures = known().replaced(
        {
            "passage_units": 100,
            "posting_bytes": 10,
            "lexical_resident_share": 0.5,
            "node_memory": 1e9,
            "filled_memory": 0.5,
            "replicas": 2,
            "questions_per_second": 1e-6,
            "control_nodes": 3,
            "node_price": 1,
            "hours_a_month": 700,
            "object_price": 1e-9,
        },
        "",
    )
    # 100 bytes of a vector in memory and half of 1,000 of its words: 0.6 GB a million, in half of a machine each
    index = plan.Index(lambda *_: 100, lambda *_: 200, "ivf_sq8")
    served = plan.serving(figures, index, 256, 10_000_000)
    assert served.memory == pytest.approx(6e9)
    assert served.disk == pytest.approx(12e9)
    assert served.needed["memory"] == 24
    assert served.machines == 27
    assert served.dollars == pytest.approx(27 * 700)


def test_a_question_costs_by_how_much_it_searches() -> None:
    index = plan.INDEXES["IVF_SQ8"]
    figures = known().replaced({"questions_per_second": 1000}, "")
    tenth = figures.replaced({"searched_share": 0.1}, "")
    all_of_it, part = (plan.serving(some, index, 256, 10**10).needed for some in (figures, tenth))
    assert part["words"] == pytest.approx(all_of_it["words"] / 10, rel=0.01)
    assert part["memory"] == all_of_it["memory"]


def test_the_narrowest_search_that_finds_enough_is_taken() -> None:
    rows = {"hnsw_recall_9": 0.5, "hnsw_ms_9": 1, "hnsw_recall_10": 0.9, "hnsw_ms_10": 2, "target_recall": 0.6}
    figures = Figures(Figure(name, value, "", "") for name, value in rows.items())
    assert plan.search_cost(figures, "hnsw") == (0.9, 2)
    assert plan.search_cost(figures.replaced({"target_recall": 0.4}, ""), "hnsw") == (0.5, 1)
    assert plan.search_cost(figures.replaced({"target_recall": 0.99}, ""), "hnsw") == (0.9, 2)


@pytest.mark.parametrize("dimension", [64, 128])
@pytest.mark.parametrize(
    ("computes", "factory"),
    [
        (plan.flat_bytes, "Flat"),
        (plan.hnsw_bytes, "HNSW32"),
        (plan.ivf_sq8_bytes, "IVF8,SQ8"),
        (plan.ivf_rabitq_bytes, "IVF8,RaBitQ"),
    ],
)
def test_the_formulae_for_bytes_agree_with_faiss(computes: plan.Bytes, factory: str, dimension: int) -> None:
    vectors = np.random.default_rng(0).normal(size=(4000, dimension)).astype(np.float32)
    index = faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    few = len(faiss.serialize_index(index))
    index.add(vectors)
    a_vector = (len(faiss.serialize_index(index)) - few) / len(vectors)
    assert computes(known(), dimension) == pytest.approx(a_vector, rel=0.03)


def test_the_formulae_for_bytes_agree_with_what_was_measured() -> None:
    figures = known()
    formulae = {"flat": plan.flat_bytes, "hnsw": plan.hnsw_bytes, "ivf_sq8": plan.ivf_sq8_bytes}
    for form, computes in (formulae | {"ivf_rabitq": plan.ivf_rabitq_bytes}).items():
        lists = 1264 * 1024 / 100_000 if form.startswith("ivf") else 0  # centres, which the formulae leave out
        assert computes(figures, 256) + lists == pytest.approx(figures[f"{form}_bytes"], rel=0.02), form


def test_other_values_are_taken_from_the_command_line_and_from_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "own.toml"
    write_figures(own, [Figure("gpu_price", 8, "$ an hour", 'our "own" offer')])
    assert scale.main(["--passages", "1e6", "--figures", str(own), "--set", "split_ms=7.25"]) == 0
    printed = capsys.readouterr().out
    assert '| `gpu_price` | $ an hour | our "own" offer | 8 |' in printed
    assert "| `split_ms` | CPU ms a passage | --set | 7.25 |" in printed
    assert "### Serving 1 million passages" in printed
    assert "billion" not in printed.partition("### Measured")[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "unheard_of=1"], "There is no figure unheard_of"),
        (["--set", "split_ms=-1"], "Want a number above 0"),
        (["--set", "split_ms=nan"], "Want a number above 0"),
        (["--set", "split_ms=fast"], "invalid NAME=VALUE"),
        (["--passages", "0"], "invalid list of positive numbers"),
        (["--figures", "missing.toml"], "missing.toml"),
        (["--figures", str(Path(__file__))], "is not a table of figures"),
        (["--into", str(Path(__file__).parents[1] / "LICENSE")], "has no place for the tables"),
    ],
)
def test_what_cannot_be_is_refused(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        scale.main(arguments)
    assert stopped.value.code == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_a_file_with_figures_that_no_plan_uses_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_figures(tmp_path / "own.toml", [Figure("gpu_prize", 8, "$", "misspelt")])
    with pytest.raises(SystemExit):
        scale.main(["--figures", str(tmp_path / "own.toml")])
    assert "gpu_prize" in capsys.readouterr().err


def test_figures_are_kept_in_a_file_that_holds_others(tmp_path: Path) -> None:
    path = tmp_path / "figures.toml"
    write_figures(path, [Figure("one", 1.5, "ms", 'a \\ "place"'), Figure("two", 2, "ms", "there")])
    write_figures(path, [Figure("two", 3, "ms", "here")])
    assert read_figures(path) == [Figure("one", 1.5, "ms", 'a \\ "place"'), Figure("two", 3.0, "ms", "here")]


def test_measuring_finds_the_figures_of_the_table() -> None:
    """Transformers are left out: they take minutes."""
    articles = sample_documents()
    questions = [article.metadata["title"] for article in articles[:20]]
    result = unit_costs.Measurement("here")
    unit_costs._texts(result, articles, questions)
    unit_costs._indexes(result, articles, questions, 300, forms=False)
    unit_costs._indexes(result, articles, questions, 1200, forms=True)
    found = {row.name.replace("_at_300", "_at_20000").replace("_at_1200", "_at_100000"): row for row in result.figures}

    table = {row.name: row for row in read_figures(MEASURED)}
    transformers = {name for name in table if "_base_" in name or name.startswith("rerank_")} | {"passage_tokens"}
    assert found.keys() == table.keys() - transformers
    assert {name: row.unit for name, row in found.items()} == {name: table[name].unit for name in found}
    assert found["flat_recall"].value == 1
    assert found["hnsw_recall_512"].value > 0.95
    assert all(row.value > 0 for row in found.values())
