import json
import subprocess
import sys
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document

from eval import mteb_tasks
from eval.metrics import question_scores
from eval.mteb_models import RERANK, MtebEncoder, MtebSearch
from eval.mteb_tasks import korean_task, main, run_task, task_table
from rag_app.compressors import load_reranker
from rag_app.documents import searchable_text
from rag_app.embeddings import ModelEmbeddings, load_embeddings
from rag_app.models import EMBEDDED

mteb = pytest.importorskip("mteb", reason="the extra korean-rag[mteb] is not installed")

CORPUS = {
    "d1": ("국회", "국회는 내년 예산안을 의결했다."),
    "d2": ("", "기상청은 주말에 비가 온다고 예보했다."),
    "d3": ("프로야구", "프로야구 개막전이 잠실에서 열렸다."),
    "d4": ("수도", "대한민국의 수도는 서울이고 국민은 한국어를 씁니다."),
    "d5": ("다른 제목", "국회는 내년 예산안을 의결했다."),  # the same text again
    "d6": ("제목뿐", ""),
    "d7": ("", " "),
    **{f"d{n}": ("", f"서울 국민은 {n}월 주말에 예보를 씁니다.") for n in range(8, 30)},
}
QUERIES = {
    "q1": "국회는 무엇을 의결했나?",
    "q2": "주말에 비가 오나?",
    "q3": "개막전은 어디에서 열렸나?",
    "q4": "서울",
    "q5": "제목뿐",
    "q6": "?!",  # nothing to search by
}
QRELS = {"q1": {"d1": 1, "d5": 1}, "q2": {"d2": 1}, "q3": {"d3": 1}, "q4": {"d4": 1, "d9": 1}, "q5": {"d6": 1}}
QRELS["q6"] = {"d8": 1}


@pytest.fixture
def task(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A task of our own with everything in memory, under its name in mteb's table of tasks."""
    from datasets import Dataset
    from mteb.abstasks import AbsTaskRetrieval
    from mteb.abstasks.task_metadata import TaskMetadata
    from mteb.get_tasks import _TASKS_REGISTRY

    class LocalRetrieval(AbsTaskRetrieval):
        metadata = TaskMetadata(
            name="LocalRetrieval",
            description="A handful of Korean sentences.",
            reference=None,
            dataset={"path": "local/local", "revision": "1"},
            type="Retrieval",
            category="t2t",
            modalities=["text"],
            eval_splits=["test"],
            eval_langs=["kor-Hang"],
            main_score="ndcg_at_10",
        )

        def load_data(self, *args: Any, **kwargs: Any) -> None:
            self.dataset = {
                "default": {
                    "test": {
                        "corpus": Dataset.from_list(
                            [{"id": id_, "title": title, "text": text} for id_, (title, text) in CORPUS.items()]
                        ),
                        "queries": Dataset.from_list([{"id": id_, "text": text} for id_, text in QUERIES.items()]),
                        "relevant_docs": {query: dict(relevant) for query, relevant in QRELS.items()},
                        "top_ranked": None,
                    }
                }
            }
            self.data_loaded = True

    monkeypatch.setitem(_TASKS_REGISTRY, "LocalRetrieval", LocalRetrieval)
    monkeypatch.setattr(mteb_tasks, "_load_data", lambda task: task.load_data())
    return LocalRetrieval()


@pytest.fixture(params=["tiny_static", "tiny_sentence_transformer"])
def embeddings(request: pytest.FixtureRequest) -> ModelEmbeddings:
    return load_embeddings(request.getfixturevalue(request.param))


def search(system: str, embeddings: ModelEmbeddings, folder: Path, reranker: str | Path = EMBEDDED) -> MtebSearch:
    compressor = load_reranker(reranker, top_n=None) if system.endswith(RERANK) else None
    return MtebSearch(system.removesuffix(RERANK), embeddings, folder, compressor)


def scores_of(task: Any, model: Any, folder: Path) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Return mteb's scores of a model, and the run that they are of."""
    if not task.data_loaded:
        task.load_data()
    found = mteb.evaluate(model, task, cache=None, co2_tracker=False, prediction_folder=folder, show_progress_bar=False)
    run = json.loads((folder / "LocalRetrieval_predictions.json").read_text("utf-8"))["default"]["test"]
    [scores] = found.task_results[0].scores["test"]
    return scores, run


def test_the_models_are_what_mteb_asks_for(embeddings: ModelEmbeddings, tmp_path: Path) -> None:
    from mteb.models import EncoderProtocol, SearchProtocol

    assert isinstance(MtebEncoder(embeddings), EncoderProtocol)
    assert not isinstance(MtebEncoder(embeddings), SearchProtocol)
    assert isinstance(search("hybrid", embeddings, tmp_path), SearchProtocol)
    assert not isinstance(search("hybrid", embeddings, tmp_path), EncoderProtocol)


def test_vectors_are_those_of_the_model_with_titles_above_texts(embeddings: ModelEmbeddings, task: Any) -> None:
    from mteb._create_dataloaders import create_dataloader
    from mteb.types import PromptType

    task.load_data()
    data = task.dataset["default"]["test"]
    model = MtebEncoder(embeddings)
    options: dict[str, Any] = {"task_metadata": task.metadata, "batch_size": 4}
    loader = create_dataloader(data["corpus"], prompt_type=PromptType.document, **options)
    documents = model.encode(loader, prompt_type=PromptType.document, hf_split="test", hf_subset="default", **options)
    texts = [searchable_text(Document(text, metadata={"title": title})) for title, text in CORPUS.values()]
    assert documents.shape == (len(CORPUS), embeddings.dimension)
    assert documents.dtype == np.float32
    np.testing.assert_allclose(documents, embeddings.encode(texts), atol=1e-6)

    loader = create_dataloader(data["queries"], prompt_type=PromptType.query, **options)
    queries = model.encode(loader, prompt_type=PromptType.query, hf_split="test", hf_subset="default", **options)
    np.testing.assert_allclose(queries, embeddings.encode(list(QUERIES.values()), query=True), atol=1e-6)
    cosines = model.similarity(queries, documents)
    assert cosines.shape == (len(QUERIES), len(CORPUS))
    np.testing.assert_allclose(model.similarity_pairwise(queries, documents[:6]), np.diag(cosines), atol=1e-6)


def test_queries_get_the_prompt_of_queries_and_documents_theirs(tiny_sentence_transformer: Path) -> None:
    from mteb.types import PromptType

    model = MtebEncoder(load_embeddings(tiny_sentence_transformer, query_prompt="국회 ", document_prompt="서울 "))
    bare = load_embeddings(tiny_sentence_transformer, query_prompt="", document_prompt="")
    batch = [{"text": ["수도는"], "body": ["수도는"]}]
    as_query = model.encode(batch, prompt_type=PromptType.query)
    as_document = model.encode(batch, prompt_type=PromptType.document)
    np.testing.assert_allclose(as_query, bare.encode(["국회 수도는"]), atol=1e-5)
    np.testing.assert_allclose(as_document, bare.encode(["서울 수도는"]), atol=1e-5)
    assert not np.allclose(as_query, as_document, atol=1e-3)


@pytest.mark.parametrize("system", ["encoder", "lexical", "dense", "hybrid", "hybrid+rerank"])
def test_the_scores_are_those_of_our_own_metrics(
    system: str, embeddings: ModelEmbeddings, task: Any, tmp_path: Path
) -> None:
    model = MtebEncoder(embeddings) if system == "encoder" else search(system, embeddings, tmp_path / "index")
    scores, run = scores_of(task, model, tmp_path)
    by_query = question_scores({query: list(relevant) for query, relevant in QRELS.items()}, _untied(run))
    ours = {name: fmean(of_queries.values()) for name, of_queries in by_query.items()}
    assert 0 < ours["ndcg@10"] < 1
    for name in mteb_tasks._MEASURES:
        assert scores[name.replace("@", "_at_")] == pytest.approx(ours[name], abs=1e-5), name


def _untied(run: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Return a run in mteb's order: documents of equal score rank by falling id."""
    return {
        query: {id_: -float(rank) for rank, id_ in enumerate(sorted(found, key=lambda id_: (found[id_], id_))[::-1])}
        for query, found in run.items()
    }


def test_a_query_that_finds_nothing_scores_zero_and_counts(task: Any, tmp_path: Path) -> None:
    lexical = search("lexical", load_embeddings(), tmp_path / "index")
    scores, run = scores_of(task, lexical, tmp_path)
    assert set(run) == set(QUERIES)
    assert run["q6"] == {}
    found = sum(bool(set(run[query]) & set(relevant)) for query, relevant in QRELS.items())
    assert scores["hit_rate_at_100"] == pytest.approx(found / len(QUERIES), abs=1e-5)


def test_a_search_knows_documents_of_the_same_text_by_all_their_ids(task: Any, tmp_path: Path) -> None:
    hybrid = search("hybrid", load_embeddings(), tmp_path / "index")
    _, run = scores_of(task, hybrid, tmp_path)
    assert list(run["q1"])[:2] == ["d1", "d5"]
    assert run["q5"]["d6"] == 0  # a document that is all title
    assert all("d7" not in found for found in run.values())  # an empty one
    assert all(len(set(found.values())) == len(found) for found in run.values())


def test_a_search_returns_no_more_than_it_is_asked_for(task: Any, tmp_path: Path) -> None:
    hybrid = search("hybrid", load_embeddings(), tmp_path)
    corpus = [{"id": id_, "title": title, "text": text} for id_, (title, text) in CORPUS.items()]
    hybrid.index(corpus, task_metadata=task.metadata, hf_split="test", hf_subset="default")
    found = hybrid.search([{"id": "q", "text": "국회 예산안"}, {"id": "empty", "text": " "}], top_k=1)
    assert found == {"q": {"d1": 0.0}, "empty": {}}


def test_searches_of_a_task_share_its_index(task: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = [{"id": "a", "text": "국회"}, {"id": "b", "text": "날씨"}, {"id": "c", "text": "날씨 "}]
    part: dict[str, Any] = {"task_metadata": task.metadata, "hf_split": "test", "hf_subset": "default"}
    search("hybrid", load_embeddings(), tmp_path).index(corpus, **part)
    monkeypatch.setattr("eval.mteb_models.build_index", None)
    second = search("lexical", load_embeddings(), tmp_path)
    second.index(corpus, **part)
    assert second.search([{"id": "q", "text": "날씨"}], top_k=9) == {"q": {"b": 0.0, "c": -1.0}}
    with pytest.raises(TypeError):
        second.index(corpus[:1], **{**part, "hf_split": "dev"})  # another part is built anew


def test_what_a_search_cannot_do_is_refused(tmp_path: Path) -> None:
    hybrid = search("hybrid", load_embeddings(), tmp_path)
    with pytest.raises(ValueError, match="Call index"):
        hybrid.search([], top_k=10)
    with pytest.raises(ValueError, match="--system encoder"):
        hybrid.search([], top_k=10, top_ranked={})


def test_the_card_says_which_model_and_which_version_it_was(embeddings: ModelEmbeddings) -> None:
    meta = MtebEncoder(embeddings).mteb_model_meta
    assert meta.name == f"local/{Path(embeddings.name).name}"
    assert meta.revision == embeddings.fingerprint
    assert meta.embed_dim == embeddings.dimension
    assert meta.max_tokens == (embeddings.window or float("inf"))
    assert MtebEncoder(load_embeddings()).mteb_model_meta.name == "korean-rag/embedded"


def test_a_hub_model_goes_by_its_id_and_commit(tiny_static: Path) -> None:
    model = load_embeddings(tiny_static)
    hub = type(model).__new__(type(model))
    hub.__dict__ = {**model.__dict__, "name": "owner/name@main", "fingerprint": "owner/name@0123abc"}
    meta = MtebEncoder(hub).mteb_model_meta
    assert (meta.name, meta.revision) == ("owner/name", "0123abc")


def test_each_search_has_a_revision_of_its_own(tiny_static: Path, tiny_linear_reranker: Path, tmp_path: Path) -> None:
    first, second = load_embeddings(), load_embeddings(tiny_static)
    searches = [
        search("lexical", first, tmp_path),
        search("hybrid", first, tmp_path),
        search("hybrid", second, tmp_path),
        search("hybrid+rerank", first, tmp_path),
        search("hybrid+rerank", first, tmp_path, tiny_linear_reranker),
    ]
    assert len({search.mteb_model_meta.revision for search in searches}) == 5
    assert searches[1].mteb_model_meta.name == "korean-rag/embedded+hybrid"
    assert searches[3].mteb_model_meta.name == "korean-rag/embedded+hybrid+rerank"


def test_finished_tasks_are_not_run_again(
    task: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["--task", "LocalRetrieval", "--system", "encoder", "--system", "hybrid+rerank"]
    command += ["--output", str(tmp_path)]
    assert main(command) == 0
    printed = capsys.readouterr().out
    lines = [line.split() for line in printed.splitlines() if line.startswith("LocalRetrieval")]
    assert [line[:3] for line in lines] == [
        ["LocalRetrieval", "test", "encoder"],
        ["LocalRetrieval", "test", "hybrid+rerank"],
    ]
    files = sorted(path.parts[-3] for path in tmp_path.rglob("LocalRetrieval.json"))
    assert files == ["korean-rag__embedded", "korean-rag__embedded+hybrid+rerank"]

    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("it was run again")

    monkeypatch.setattr(mteb_tasks, "_load_data", fail)
    assert main(command) == 0
    assert capsys.readouterr().out == printed
    with pytest.raises(AssertionError, match="run again"):
        main([*command, "--overwrite"])


def test_an_interruption_keeps_what_is_finished_and_says_what_is_not(
    task: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(MtebSearch, "search", interrupt)
    command = ["--task", "LocalRetrieval", "--system", "encoder", "--system", "lexical", "--output", str(tmp_path)]
    assert main(command) == 130
    output = capsys.readouterr()
    assert "encoder" in output.out
    assert output.err.endswith("Interrupted. The same command goes on from there.\n")
    monkeypatch.undo()
    [result] = tmp_path.rglob("LocalRetrieval.json")
    assert json.loads(result.read_text("utf-8"))["scores"]["test"][0]["ndcg_at_10"] > 0


def test_without_a_network_the_data_are_missed_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--task", "Ko-StrategyQA", "--output", str(tmp_path)])
    assert "Ko-StrategyQA (taeminlee/Ko-StrategyQA)" in (message := capsys.readouterr().err)
    assert "Run it once where there is a network" in message


def test_the_tasks_of_mteb_are_listed_without_a_network(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    lines = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()}
    assert lines["Ko-StrategyQA"] == ["9,251", "592", "cc-by-4.0", "machine-translated"]
    assert lines["MIRACLRetrieval"][0] == "1,486,752"  # in Korean, not in all 18 languages
    assert "XPQARetrieval" in lines


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Ko-StrategyQ", "Did you mean: 'Ko-StrategyQA'"),
        ("NFCorpus", "no Korean task 'NFCorpus'"),
        ("KLUE-STS", "of type STS"),
    ],
)
def test_a_task_that_cannot_be_run_is_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        korean_task(name)


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mteb", None)
    with pytest.raises(ImportError, match=r"pip install 'korean-rag\[mteb\]'"):
        task_table()


def test_nothing_else_of_the_benchmark_loads_mteb() -> None:
    code = "import sys, eval, eval.hit_rate, eval.mteb_models, eval.mteb_tasks; sys.exit('mteb' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_result_can_be_read_by_mteb(task: Any, tmp_path: Path) -> None:
    result = run_task(task, MtebEncoder(load_embeddings()), tmp_path)
    loaded = mteb.ResultCache(tmp_path).load_results(tasks=[task], models=["korean-rag/embedded"])
    [read], [written] = loaded.model_results[0].task_results[0].scores["test"], result.scores["test"]
    assert read["ndcg_at_10"] == written["ndcg_at_10"] > 0
