import json
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings

from rag_app.documents import make_document
from rag_app.embeddings import load_embeddings
from rag_app.explaining.explanation import explain_match
from rag_app.index import Changes, build_index, open_index
from rag_app.index_contract import Index
from rag_app.retrieval import HybridRetriever
from rag_app.server_index import ServerIndex
from rag_app.stores.address import Address
from tests.in_memory_server import Server, memory_server

__all__ = ["memory_server"]
pytestmark = pytest.mark.usefixtures("memory_server")

EMBEDDINGS = DeterministicFakeEmbedding(size=8)
PLACE = Address("memory", "here", None, "", "news")
RICE = make_document("올해 쌀 수확량이 4.2% 줄었다.", title="쌀 수확량 감소", path="a.csv", date="2025-01-02")
SHIP = make_document("가온호가 남해를 조사했다.", title="가온호 출항", path="a.csv")
BANK = make_document("은행이 금리를 내렸다.", title="금리 인하", path="b.csv")
LONG = make_document(
    "\n\n".join(f"{n}번째 문장은 여기에서 끝난다. 그리고 이어진다." for n in range(200)), title="긴 글", path="c.csv"
)
ALL = [RICE, LONG, SHIP, BANK]


@pytest.fixture(autouse=True)
def _small_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rag_app.server_index.WRITTEN", 2)  # so that four articles take several


def _build(documents: Iterable[Document] = (RICE, SHIP), **options: Any) -> ServerIndex:
    return build_index(PLACE, documents, EMBEDDINGS, **options)


def _content(index: Index) -> list[tuple[str, dict[str, Any], str | None]]:
    """What anybody can read of an index, in the order of ids."""
    passages = [passage for doc_id in sorted(index.document_ids()) for passage in index.passages(doc_id)]
    assert len(passages) == len(index)
    return sorted((str(p.id), p.metadata, p.page_content) for p in passages)


def _split_at(chars: int, server: Server) -> None:
    """Let what is written from now on be split otherwise, as another model's window would have it."""
    table = server.tables[PLACE.name]
    table.manifest = json.dumps({**json.loads(table.manifest), "passage_chars": chars})


def _stop_at(number: int, error: BaseException) -> Callable[[str], None]:
    """Return what fails at the given write, counted from 1."""
    left = [number]

    def fail(call: str) -> None:
        if call in ("upsert", "delete"):
            left[0] -= 1
            if left[0] == 0:
                raise error

    return fail


def _interrupted(server: Server, work: Callable[[], Any]) -> int:
    """Do a piece of work, stopping at its first write, then at its second, and so on; then let it be done."""
    number, stopped = 1, True
    while stopped:
        when = ("fail", "fail_after")[number % 2]
        setattr(server, when, _stop_at((number + 1) // 2, ConnectionError("gone")))
        try:
            work()
            stopped = False
        except ConnectionError:
            number += 1
        server.fail = server.fail_after = lambda call: None
    return number - 1


def test_a_built_index_opens() -> None:
    _build()
    index = open_index(PLACE, EMBEDDINGS)
    assert index.document_ids() == {RICE.id, SHIP.id}
    assert (index.snapshot.manifest["documents"], index.snapshot.manifest["passages"]) == (2, 2)
    assert index.article(str(RICE.id)).page_content == RICE.page_content
    assert [hit.id for hit in index.snapshot.lexical.search("쌀 수확량", 10)] == [RICE.id]


def test_an_index_that_is_there_is_only_replaced_on_request() -> None:
    _build()
    with pytest.raises(FileExistsError, match="memory://here/news holds an index already"):
        _build([BANK])
    assert _build([BANK], replace=True).document_ids() == {BANK.id}


def test_an_index_that_comes_there_during_a_build_is_only_replaced_on_request(memory_server: Server) -> None:
    def build_another(call: str) -> None:
        if call == "upsert":
            memory_server.fail = lambda call: None
            _build([BANK], replace=True, passage_chars=1000)

    for replace in (False, True):
        memory_server.fail = build_another
        with nullcontext() if replace else pytest.raises(FileExistsError, match="Add to it, replace it"):
            _build(replace=replace)
        assert open_index(PLACE, EMBEDDINGS).document_ids() == {p.id for p in ([RICE, SHIP] if replace else [BANK])}
        memory_server.tables.clear()


def test_an_open_index_writes_no_vectors_of_its_model_into_one_of_another(memory_server: Server) -> None:
    index, other = _build([RICE]), DeterministicFakeEmbedding(size=EMBEDDINGS.size + 1)
    build_index(PLACE, [SHIP], other, replace=True)
    for write in (index.add, index.update):
        with pytest.raises(ValueError, match="built with"):
            write([BANK])
    assert open_index(PLACE, other).document_ids() == {SHIP.metadata["doc_id"]}


def test_an_open_index_writes_as_the_one_that_has_taken_its_place_is_split() -> None:
    index = _build([RICE], passage_chars=1200)
    _build([SHIP], passage_chars=100, replace=True)
    index.add([LONG])
    assert len(index.passages(LONG.metadata["doc_id"])) == len(_build([LONG], passage_chars=100, replace=True))


def test_nothing_is_begun_for_no_document(memory_server: Server) -> None:
    with pytest.raises(ValueError, match="no document"):
        _build([])
    assert not memory_server.drafts


@pytest.mark.parametrize("documents", [ALL, [LONG], [RICE, SHIP, RICE]])
def test_an_interrupted_build_is_gone_on_with_and_seen_by_nobody(
    documents: list[Document], memory_server: Server
) -> None:
    whole = build_index(Address("memory", "here", None, "", "whole"), documents, EMBEDDINGS)

    def build() -> None:
        assert "news" not in memory_server.tables
        _build(documents)

    assert _interrupted(memory_server, build) > 0
    assert _content(open_index(PLACE, EMBEDDINGS)) == _content(whole)


def test_what_an_interrupted_build_wrote_of_other_documents_is_not_kept(memory_server: Server) -> None:
    memory_server.fail_after = _stop_at(2, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        _build([RICE, LONG, BANK])
    memory_server.fail_after = lambda call: None
    later = make_document(RICE.page_content, title="쌀, 4.2% 감소")
    index = _build([later, SHIP])
    assert index.document_ids() == {RICE.id, SHIP.id}
    assert index.article(str(RICE.id)).metadata["title"] == "쌀, 4.2% 감소"
    assert len(index) == 2


def test_a_replaced_index_is_searched_until_the_new_one_is_complete(memory_server: Server) -> None:
    old = _build([RICE, SHIP])
    other = DeterministicFakeEmbedding(size=16)
    questions = []

    def ask(call: str) -> None:
        if call == "upsert":
            memory_server.fail = lambda call: None
            questions.append([passage.id for passage in HybridRetriever(index=old, k=1).invoke("쌀 수확량")])
            memory_server.fail = ask

    memory_server.fail = ask
    new = build_index(PLACE, [BANK, LONG], other, replace=True)
    memory_server.fail = lambda call: None
    assert len(questions) > 1
    assert set(map(tuple, questions)) == {(RICE.id,)}
    assert new.document_ids() == {BANK.id, LONG.id}
    with pytest.raises(ValueError, match=r"8 dimensions.*--index memory://here/news --model"):
        old.refresh()
    with pytest.raises(ValueError, match="16 dimensions"):
        open_index(PLACE, EMBEDDINGS)


def test_adding_twice_changes_nothing(memory_server: Server) -> None:
    index = _build(ALL)
    before, memory_server.calls = _content(index), []
    assert index.add([*ALL, RICE]) == Changes(added=0, skipped=5)
    assert _content(index) == before
    assert "upsert" not in memory_server.calls


def test_added_documents_are_found(memory_server: Server) -> None:
    index = _build()
    assert index.add([BANK, SHIP, LONG, BANK]) == Changes(added=2, skipped=2)
    for current in (index, open_index(PLACE, EMBEDDINGS)):
        assert current.article(str(LONG.id)).page_content == LONG.page_content
        assert current.snapshot.manifest["documents"] == 4


def test_an_interrupted_add_is_completed(memory_server: Server) -> None:
    index = _build([RICE])
    assert _interrupted(memory_server, lambda: index.add(ALL)) > 2
    assert _content(index) == _content(_build(ALL, replace=True))


def test_adding_what_is_there_under_another_title_changes_nothing_however_it_would_be_split(
    memory_server: Server,
) -> None:
    index = _build([LONG, RICE])
    before = _content(index)
    _split_at(700, memory_server)
    assert index.add([LONG]) == Changes(skipped=1)
    assert _content(index) == before


def test_an_update_that_splits_otherwise_leaves_nothing_of_before(memory_server: Server) -> None:
    for before, chars in ((1200, 700), (700, 100_000), (100_000, 1200)):
        index = _build([LONG, RICE], replace=True, passage_chars=before)
        _split_at(chars, memory_server)
        assert index.update([LONG, RICE]) == Changes(added=1, skipped=1, removed=1)
        assert _content(index) == _content(_build([LONG, RICE], replace=True, passage_chars=chars))


def test_update_brings_new_versions_and_drops_what_is_gone() -> None:
    index = _build(ALL)
    retitled = make_document(RICE.page_content, title="쌀이 줄었다", path="a.csv")
    new = make_document("새 기사다.", path="a.csv")
    assert index.update([retitled, new, new]) == Changes(added=2, skipped=1, removed=2)
    assert index.document_ids() == {RICE.id, new.id, LONG.id, BANK.id}
    assert index.article(str(RICE.id)).metadata["title"] == "쌀이 줄었다"
    assert index.update([retitled, new]) == Changes(skipped=2)


def test_an_interrupted_update_is_completed_and_never_lacks_an_article(memory_server: Server) -> None:
    index = _build(ALL)
    retitled = [make_document(d.page_content, title="새 제목", path=d.metadata["path"]) for d in (RICE, LONG)]

    def update() -> None:
        assert {RICE.id, LONG.id} <= index.document_ids()
        assert index.article(str(LONG.id)).page_content == LONG.page_content
        index.update(retitled)

    assert _interrupted(memory_server, update) > 3
    assert _content(index) == _content(_build([*retitled, BANK], replace=True))


def test_what_is_new_is_there_before_what_is_old_goes(memory_server: Server) -> None:
    index = _build([RICE, SHIP])
    memory_server.calls = []
    index.update([make_document("새 기사다.", path="a.csv")])
    assert memory_server.calls.index("upsert") < memory_server.calls.index("delete")


def test_delete_counts_documents_and_is_completed_when_interrupted(memory_server: Server) -> None:
    index = _build(ALL)

    def delete() -> None:
        if (left := index.passages(str(LONG.id))) and len(left) < len(whole):
            assert str(LONG.id) in index.document_ids()  # so that whoever looks sees that it is still there
        index.delete([str(LONG.id), "unknown"])

    whole = index.passages(str(LONG.id))
    assert _interrupted(memory_server, delete) > 2
    assert _content(index) == _content(_build([RICE, SHIP, BANK], replace=True))
    assert index.delete([str(RICE.id), "unknown"]) == Changes(removed=1)


def test_two_that_add_the_same_at_once_keep_it_once(memory_server: Server) -> None:
    first, second = _build([RICE]), open_index(PLACE, EMBEDDINGS)

    def meanwhile(call: str) -> None:
        if call == "upsert":
            memory_server.fail = lambda call: None
            second.add(ALL)

    memory_server.fail = meanwhile
    first.add(ALL)
    assert _content(first) == _content(_build(ALL, replace=True))


def test_refresh_tells_whether_there_is_more_or_less() -> None:
    first, second = _build(), open_index(PLACE, EMBEDDINGS)
    assert not second.refresh()
    first.add([BANK])
    assert second.refresh()
    assert second.snapshot.manifest["documents"] == 3


def test_a_refresh_forgets_what_a_store_keeps_only_where_there_is_other(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = _build(), open_index(PLACE, EMBEDDINGS)
    forgotten = []
    monkeypatch.setattr(second.snapshot.store, "forget", lambda: forgotten.append("forgotten"))
    second.refresh()
    assert not forgotten
    first.add([BANK])
    second.refresh()
    assert forgotten


def test_another_analysis_is_refused(memory_server: Server) -> None:
    index = _build()
    table = memory_server.tables["news"]
    table.manifest = json.dumps({**json.loads(table.manifest), "analysis": "of another version"})
    for work in (lambda: open_index(PLACE, EMBEDDINGS), lambda: open_index(PLACE), index.refresh):
        with pytest.raises(ValueError, match=r"another analysis .*--index memory://here/news --replace"):
            work()


def test_of_documents_that_are_added_under_one_id_the_last_is_kept() -> None:
    store = _build().snapshot.store
    store.add_documents([Document("먼저", id="a"), Document("다른 글", id="b"), Document("나중", id="a")])
    assert [document.page_content for document in store.get_by_ids(["a", "b"])] == ["나중", "다른 글"]


def test_a_model_by_another_name_is_refused() -> None:
    class Named(DeterministicFakeEmbedding):
        model: str = "other"

    _build()
    other: Embeddings = Named(size=8)
    with pytest.raises(ValueError, match="was built with 'DeterministicFakeEmbedding'"):
        open_index(PLACE, other)


def test_a_user_dictionary_and_forms_of_folders_are_refused(memory_server: Server) -> None:
    with pytest.raises(ValueError, match=r"user dictionary goes with .* folder; .* Leave words\.tsv out .*, or give a"):
        _build(user_dictionary=Path("words.tsv"))
    with pytest.raises(ValueError, match="auto, exact"):
        _build(vectors="ivf")
    assert not memory_server.calls


def test_questions_searched_together_wait_side_by_side_on_however_few_cores(
    memory_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = _build(ALL)
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    together = Barrier(8)  # broken unless eight wait at once

    def wait(call: str) -> None:
        if call == "search_units":
            together.wait(timeout=20)

    memory_server.fail = wait
    retriever = HybridRetriever(index=index, k=1, weights={"lexical": 1, "dense": 0})
    found = retriever._find(["쌀 수확량"] * 8, [None] * 8, 1)  # as many as came while others were answered
    assert [[passage.id for passage in passages] for passages in found] == [[RICE.id]] * 8


def test_an_explanation_takes_four_round_trips(memory_server: Server) -> None:
    index = build_index(PLACE, ALL, load_embeddings())
    question = "쌀 수확량과 은행 금리"
    [found] = HybridRetriever(index=index, k=1).invoke(question)
    memory_server.calls = []
    explained = explain_match(question, found, index)
    assert explained.lexical.score == pytest.approx(found.metadata["stages"]["lexical"]["score"])
    assert sorted(memory_server.calls) == ["get_by_ids", "score_units", "search_units", "vectors"]


@pytest.mark.parametrize(
    ("filter", "news", "calls"),
    [(None, False, 5), ({"path": "a.csv"}, False, 5), (None, True, 7), ({"path": "a.csv"}, True, 7)],
)
async def test_a_question_takes_three_round_trips(
    filter: dict[str, Any] | None, news: bool, calls: int, memory_server: Server
) -> None:
    index = _build(ALL)
    retriever = HybridRetriever(index=index, k=2, candidates=2, filter=filter)
    retriever.news = retriever.news.model_copy(update={"infer_filters": news})
    memory_server.calls = []
    found = await retriever.ainvoke("쌀 수확량과 은행 금리")
    assert found
    order = [call for call in memory_server.calls if call != "values"]
    assert set(order[:2]) == {"search_units", "search_vector"}  # side by side
    assert order[-1] == "get_by_ids"
    assert len(memory_server.calls) <= calls
