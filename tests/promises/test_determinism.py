"""The same index and question give the same ids and scores: again, in a batch, in other processes and threads."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document

from rag_app.chain import build_chain
from rag_app.compressors import load_reranker
from rag_app.data import load_retrieval_data, sample_documents
from rag_app.embeddings import load_embeddings
from rag_app.index import Index, build_index, open_index
from rag_app.retrieval import build_retriever
from tests.reliability import Promised

pytestmark = pytest.mark.promise(13)

FORMS = ["exact", "ivf", "rabitq"]
Ranking = list[tuple[str, str]]
"""Ids and scores, these to the last bit."""

CHILD = """
import json, sys
from pathlib import Path
from tests.promises.test_determinism import answers, digest
folder, threads = Path(sys.argv[1]), int(sys.argv[2])
import faiss
faiss.omp_set_num_threads(threads)
print(json.dumps(answers(folder, json.loads(sys.argv[3]))))
"""


def ranking(documents: Sequence[Document], score: str = "score") -> Ranking:
    found = []
    for document in documents:
        scores = [document.metadata[score].hex()]
        scores += [float(stage["score"]).hex() for stage in document.metadata.get("stages", {}).values()]
        found.append((str(document.id), " ".join(scores)))
    return found


def systems(index: Index) -> dict[str, Callable[[Sequence[str]], list[Ranking]]]:
    """Return every way to ask an index several questions, by name."""
    reranked = build_retriever(index, compressor=load_reranker())
    retrievers = {
        "lexical": build_retriever(index, weights={"lexical": 1, "dense": 0}),
        "dense": build_retriever(index, weights={"lexical": 0, "dense": 1}),
        "hybrid": build_retriever(index),
        "standardised": build_retriever(index, fusion="standardised"),
        "reciprocal ranks": build_retriever(index, fusion="rrf"),
        "filtered": build_retriever(index, filter={"section": {"$ne": "정치"}}),
        "reranked": reranked,
    }
    chain = build_chain(reranked, embeddings=index.embeddings)

    def quoted(question: str) -> Ranking:
        answer = chain.invoke({"question": question})
        return [(answer["answer"], answer["evidence"].hex()), *ranking(answer["documents"])]

    def alone(question: str) -> Ranking:
        load_reranker().forget()  # what is remembered is not asked again
        return ranking(reranked.invoke(question))

    asked: dict[str, Callable[[Sequence[str]], list[Ranking]]] = {
        name: lambda questions, retriever=retriever: [ranking(retriever.invoke(q)) for q in questions]  # type: ignore[misc]
        for name, retriever in retrievers.items()
    }
    return {
        **asked,
        "reranked anew": lambda questions: [alone(q) for q in questions],
        "chain": lambda questions: [quoted(q) for q in questions],
    }


def answers(folder: Path, questions: Sequence[str]) -> dict[str, Any]:
    """Return a digest of what each index in a folder answers, and of the vectors of the passages."""
    found: dict[str, Any] = {}
    for form in FORMS:
        index = open_index(folder / form)
        for name, ask in systems(index).items():
            found[f"{name} in {form}"] = digest(ask(questions))
    found["vectors"] = digest(load_embeddings().encode([d.page_content for d in sample_documents()]).tolist())
    return found


def digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=False).encode()).hexdigest()[:16]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample indexed in every form."""
    folder, documents = tmp_path_factory.mktemp("indexes"), list(sample_documents())
    for form in FORMS:
        build_index(folder / form, documents, load_embeddings(), vectors=form, passage_chars=300)
    return folder


@pytest.fixture(scope="module")
def questions() -> list[str]:
    return [question.text for question in load_retrieval_data("sample")[1]]


@pytest.mark.parametrize("form", FORMS)
def test_every_run_gives_the_same_ids_and_scores(
    form: str, promised: Promised, folder: Path, questions: list[str], tmp_path: Path
) -> None:
    runs, asked = promised.times(3, 100), questions[:: promised.times(50, 30)]
    for name, ask in systems(open_index(folder / form)).items():
        wanted = ask(asked)
        assert all(wanted)
        for _ in range(runs - 1):
            assert ask(asked) == wanted, name
        assert systems(open_index(folder / form))[name](asked) == wanted, name  # loaded again
        promised.tried((runs + 1) * len(asked), "questions asked again")


@pytest.mark.parametrize("form", FORMS)
def test_questions_in_a_batch_get_what_each_alone_gets(
    form: str, promised: Promised, folder: Path, questions: list[str]
) -> None:
    asked = questions[:: promised.times(20, 1)]
    index = open_index(folder / form)
    for retriever in (build_retriever(index), build_retriever(index, compressor=load_reranker())):
        alone = [ranking(retriever.invoke(question)) for question in asked]
        load_reranker().forget()
        assert [ranking(found) for found in retriever.batch(asked)] == alone
        assert [ranking(found) for found in retriever.batch(asked, config={"max_concurrency": 16})] == alone
    promised.tried(2 * len(asked), "questions asked in a batch")


def test_threads_and_hash_seeds_change_nothing(promised: Promised, folder: Path, questions: list[str]) -> None:
    asked = questions[:: promised.times(50, 8)]
    settings = [("1", "0"), ("4", "1"), *[("4", str(seed)) for seed in range(2, promised.times(2, 6))]]
    found = []
    for threads, seed in settings:
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")
        environment = {**os.environ, **dict.fromkeys(names, threads), "PYTHONHASHSEED": seed, "PYTHONPATH": "."}
        environment["TOKENIZERS_PARALLELISM"] = "true" if threads != "1" else "false"
        child = subprocess.run(
            [sys.executable, "-c", CHILD, str(folder), threads, json.dumps(asked)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert child.returncode == 0, child.stderr
        found.append(json.loads(child.stdout))
    for (threads, seed), other in zip(settings, found, strict=True):
        assert other == found[0], f"{threads} threads, hash seed {seed}"
    assert found[0] == answers(folder, asked)
    promised.tried(len(settings) + 1, "processes with 1 or 4 threads and other hash seeds")


def test_an_index_built_again_is_the_same(folder: Path, questions: list[str], tmp_path: Path) -> None:
    for form in FORMS:
        build_index(tmp_path / form, list(sample_documents()), load_embeddings(), vectors=form, passage_chars=300)
        ours, again = (
            {p.relative_to(where / form): p.read_bytes() for p in (where / form).rglob("*.jsonl")}
            | {p.relative_to(where / form): p.read_bytes() for p in (where / form).rglob("*.faiss")}
            for where in (folder, tmp_path)
        )
        assert ours == again
    assert answers(tmp_path, questions[::50]) == answers(folder, questions[::50])


@pytest.mark.parametrize("form", FORMS)
def test_the_order_of_the_documents_decides_only_between_equals(
    form: str, folder: Path, questions: list[str], tmp_path: Path
) -> None:
    documents = list(reversed(list(sample_documents())))
    other = build_index(tmp_path / form, documents, load_embeddings(), vectors=form, passage_chars=300)
    index = open_index(folder / form)
    for question in questions[::20]:
        for options in ({"lexical": 1.0, "dense": 0.0}, {"lexical": 0.9, "dense": 0.1}):
            ours, theirs = (build_retriever(one, weights=options).invoke(question) for one in (index, other))
            check_alike(scores(ours), scores(theirs))


def scores(documents: Sequence[Document]) -> dict[str, float]:
    return {str(document.id): document.metadata["score"] for document in documents}


def check_alike(ours: Mapping[str, float], theirs: Mapping[str, float], tolerance: float = 1e-5) -> None:
    """Check that two rankings are one, but for passages whose scores are as good as equal."""
    assert sorted(ours.values()) == pytest.approx(sorted(theirs.values()), abs=tolerance)
    assert {id_: ours[id_] for id_ in ours.keys() & theirs.keys()} == pytest.approx(
        {id_: theirs[id_] for id_ in ours.keys() & theirs.keys()}, abs=tolerance
    )
    last = min(ours.values())
    for one, other in ((ours, theirs), (theirs, ours)):
        assert all(score <= last + tolerance for id_, score in one.items() if id_ not in other)
