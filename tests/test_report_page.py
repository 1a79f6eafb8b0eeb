import json
import re
from typing import Any

import pytest
from bs4 import BeautifulSoup

from eval.report import explorer
from eval.report.explorer import explorer_data
from eval.report.markdown import markdown_report
from eval.report.page import data_name, page
from eval.report.tables import pair_matrix, pairs_table, robustness_table, score_table
from eval.report.verdict import best_system, difference, level_systems
from eval.results import Results
from tests.benchmark_results import HOSTILE, HOSTILE_END, MEASURE, make_results

pytest.importorskip("jinja2", reason="the eval extra is not installed")

Soup = Any
"""A parsed page or a part of it: what it holds is looked at, not declared."""


@pytest.fixture(scope="module")
def html() -> str:
    return page(make_results())


@pytest.fixture(scope="module")
def soup(html: str) -> Soup:
    return BeautifulSoup(html, "html.parser")


def _table(soup: Soup, caption: str) -> Soup:
    return next(table for table in soup.find_all("table") if table.caption.get_text() == caption)


def test_the_score_table_has_the_means_the_intervals_and_the_marks(soup: Soup) -> None:
    result = make_results().protocols["clean"]
    table = _table(soup, "Quality and time")
    head = [th.get_text() for th in table.thead.find_all("th")]
    best, level = best_system(result, MEASURE), level_systems(result, MEASURE)
    rows = {row.th.get_text(): row.find_all("td") for row in table.tbody.find_all("tr")}
    assert rows.keys() == result.systems.keys()
    for name, cells in rows.items():
        cell, one = cells[head.index(MEASURE) - 1], result.systems[name].intervals[MEASURE]
        assert float(cell["data-value"]) == one.mean
        assert cell.get_text().startswith(f"{one.mean:.3f}")
        assert cell.small.get_text() == f"{one.low:.3f}–{one.high:.3f}"
        assert ("best" in cell["class"]) == (name == best)
        assert ("level" in cell["class"]) == (name in level)


def test_the_pair_matrix_has_every_comparison_both_ways(soup: Soup) -> None:
    result = make_results().protocols["clean"]
    pair = difference(result, MEASURE, "base", "hybrid")
    assert pair is not None
    table = _table(soup, f"Row less column, {MEASURE}")
    head = [th.get_text() for th in table.thead.find_all("th")]
    rows = {row.th.get_text(): row.find_all("td") for row in table.tbody.find_all("tr")}
    cell = rows["base"][head.index("hybrid") - 1].get_text()
    change, wins = pair.comparison.after - pair.comparison.before, pair.comparison
    assert cell.startswith(f"−{abs(change):.3f}")
    assert f"{wins.wins}/{wins.ties}/{wins.losses}" in cell
    assert f"+{abs(change):.3f}" in rows["hybrid"][head.index("base") - 1].get_text()
    matrices = soup.find_all(class_="matrix")
    assert len([matrix for matrix in matrices if matrix.find("caption").get_text().endswith("hit_rate@1")]) == 2


def test_what_asking_otherwise_costs_is_coloured_and_marked_where_it_is_significant() -> None:
    table = robustness_table(make_results(), MEASURE)
    rows = {row[0].text: row[2:] for row in table.rows}
    assert all(cell.tone == 0 and not cell.best and cell.text == "0.000" for cell in rows["NFD"])
    assert all(cell.tone < 0 and cell.best for cell in rows["no spaces"])


def test_warnings_come_first(soup: Soup) -> None:
    findings = soup.select(".findings li")
    assert [finding["class"] for finding in findings] == [["warning"], ["fine"], ["fine"]]
    assert soup.select("section")[0]["id"] == "health"


def test_the_page_is_whole_and_tables_say_what_they_are(soup: Soup) -> None:
    ids = [element["id"] for element in soup.find_all(id=True)]
    assert len(ids) == len(set(ids))
    assert all(link["href"][1:] in ids for link in soup.select("nav a"))
    assert soup.html["lang"] == "en"
    for table in soup.find_all("table"):
        assert table.caption.get_text().strip()
        assert all(cell.get("scope") == "col" for cell in table.thead.find_all("th"))
        assert all(row.th["scope"] == "row" for row in table.tbody.find_all("tr"))
        columns = len(table.thead.find_all("th"))
        assert all(len(row.find_all(["th", "td"])) == columns for row in table.tbody.find_all("tr"))
    assert all(svg["aria-label"] for svg in soup.find_all("svg"))


def test_nothing_is_asked_of_the_network(html: str, soup: Soup) -> None:
    for element in soup.find_all(True):
        for attribute in ("src", "href", "srcset", "action", "data", "poster", "xlink:href"):
            assert str(element.get(attribute, "#")).startswith(("#", "data:,"))
    assert not re.search(r"url\(|@import", soup.style.get_text())
    policy = soup.find("meta", attrs={"http-equiv": "Content-Security-Policy"})["content"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not soup.select("[style]")
    assert not re.search(r"""<[^>]*\son\w+=["']""", html.replace(str(soup.find(id="data")), ""))


def test_hostile_texts_are_text(html: str, soup: Soup) -> None:
    assert len(soup.find_all("script")) == 2
    assert not soup.find_all(["img", "iframe", "object", "b"])
    assert HOSTILE not in html
    data = json.loads(soup.find(id="data").string)
    texts = [question["text"] for question in data["protocols"]["clean"]["questions"]]
    assert HOSTILE_END in texts
    assert [HOSTILE, f"{HOSTILE_END} 본문이다."] in data["passages"]
    assert "<" not in soup.find(id="data").string


def test_the_explorer_has_what_each_system_found() -> None:
    results = make_results()
    data = explorer_data(results)
    clean = data["protocols"]["clean"]
    result = results.protocols["clean"]
    questions = {question.text: question for question in result.benchmark.questions}
    assert clean["total"] == len(clean["questions"]) == 60
    for record in clean["questions"]:
        question = questions[record["text"]]
        for name, rank, found in zip(clean["systems"], record["ranks"], record["found"], strict=True):
            answer = result.systems[name].answers[question.id]
            doc_ids = list(answer.found)
            assert (rank == 1) == (result.systems[name].scores["hit_rate@1"][question.id] == 1)
            assert [right for _, right in found] == [int(id_ in question.relevant) for id_ in doc_ids[:10]]
            texts = {document.metadata["doc_id"]: document.page_content for document in result.benchmark.corpus}
            assert [data["passages"][place][1] for place, _ in found] == [texts[id_] for id_ in doc_ids[:10]]
        assert [data["passages"][place][1] for place in record["right"]] == [
            texts[doc_id] for doc_id in sorted(question.relevant)
        ]


def test_the_hardest_questions_are_shown_and_the_page_says_how_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    everything = explorer_data(make_results(tutorial=False))["protocols"]["clean"]["questions"]
    monkeypatch.setattr(explorer, "SIZES", ((12, 3000),))
    clean = explorer_data(make_results(tutorial=False))["protocols"]["clean"]
    missed = [sum(not 0 < rank <= 10 for rank in question["ranks"]) for question in clean["questions"]]
    assert (clean["total"], len(clean["questions"])) == (60, 12)
    assert missed == sorted(missed, reverse=True)
    others = [question for question in everything if question["text"] not in {q["text"] for q in clean["questions"]}]
    assert max(sum(not 0 < rank <= 10 for rank in question["ranks"]) for question in others) <= missed[-1]


def test_long_passages_are_cut_before_questions_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = explorer_data(make_results())
    size = sum(len(title) + len(text) for title, text in whole["passages"])
    monkeypatch.setattr(explorer, "SIZES", ((500, 3000), (500, 100), (20, 100)))
    monkeypatch.setattr(explorer, "RIGHT_CHARACTERS", 200)
    monkeypatch.setattr(explorer, "MOST_CHARACTERS", size - 1)
    cut = explorer_data(make_results())
    assert len(cut["protocols"]["clean"]["questions"]) == 60
    assert max(len(text) for _, text in cut["passages"]) == 201
    assert any(len(text) == 101 for _, text in cut["passages"])
    monkeypatch.setattr(explorer, "MOST_CHARACTERS", 100)
    assert len(explorer_data(make_results())["protocols"]["clean"]["questions"]) == 20


def test_figures_of_the_run_are_short_and_without_exponents() -> None:
    details = make_results().details | {"seconds": {"models": 0.2840873829991324, "retrievers": 9.502100147074088e-05}}
    for text in (
        page(make_results()._replace(details=details)),
        markdown_report(make_results()._replace(details=details)),
    ):
        assert "0.284" in text
        assert "0.2840" not in text
        assert "9.502" not in text


def test_a_single_comparison_is_one() -> None:
    assert "corrected for 1 comparison (Holm)" in pairs_table(make_results().protocols["tutorial"]).note
    assert "corrected for 45 comparisons (Holm)" in pairs_table(make_results().protocols["clean"]).note


def test_an_interrupted_benchmark_has_a_page_that_says_so() -> None:
    results = make_results()
    clean = results.protocols["clean"]
    alone = clean._replace(systems={"base": clean.systems["base"]}, pairs={measure: [] for measure in clean.pairs})
    assert "Not complete" in page(results._replace(protocols={"clean": alone}, slices=[], scaling=None, complete=False))
    assert "No system was measured" in page(Results({}, [], [], None, {}, complete=False))


def test_the_page_is_the_same_each_time(html: str) -> None:
    assert page(make_results()) == html


def test_tables_have_as_many_cells_as_columns() -> None:
    result = make_results().protocols["clean"]
    for table in (score_table(result), pair_matrix(result, MEASURE)):
        assert {len(row) for row in table.rows} == {len(table.header)}


def test_of_a_path_the_title_has_the_last_part() -> None:
    assert data_name({"data": "../data/질문 모음/dev.json, validation"}) == "dev.json, validation"
    assert data_name({"data": "sample, validation"}) == "sample, validation"
    assert data_name({}) == "Retrieval benchmark"
