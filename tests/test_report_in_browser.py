"""The page of a report in a real browser, opened from the disk."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from eval.report.verdict import best_system, p50
from tests.benchmark_results import HOSTILE, HOSTILE_END, MEASURE, make_results

pytest.importorskip("jinja2", reason="the eval extra is not installed")

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Dialog, Locator, Page

READABLE = 4.5
"""The contrast that WCAG 2.2 asks of text, https://www.w3.org/TR/WCAG22/#contrast-minimum."""
CONTRASTS = """
() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const paint = (colours) => {
    canvas.clearRect(0, 0, 1, 1);
    for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
    const linear = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map((value) => value / 255)
      .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const seen = {};
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !element.checkVisibility() || element.closest("caption, .skip, script, option")) continue;
    const behind = [];
    for (let e = element; e; e = e.parentElement) behind.unshift(getComputedStyle(e).backgroundColor);
    const style = getComputedStyle(element);
    const text = element.closest("svg") ? style.fill : style.color;
    const [light, dark] = [paint(behind), paint([...behind, text])].sort((a, b) => b - a);
    const name = `${element.tagName} ${element.getAttribute("class") || ""} in ${element.parentElement.className}`;
    seen[name] = Math.min(seen[name] || 99, (light + 0.05) / (dark + 0.05));
  }
  return seen;
}
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from eval.report.page import page

    path = tmp_path_factory.mktemp("report") / "index.html"
    path.write_text(page(make_results()), "utf-8")
    return path


@pytest.fixture
def visit(browser: "Browser", file: Path) -> "Iterator[Callable[..., Page]]":
    """Opens the page; at the end, no visit may have asked for anything else, complained or run a text as a script."""
    contexts: list[BrowserContext] = []
    pages: list[Page] = []
    requests: list[str] = []
    surprises: list[str] = []

    def dismiss(dialog: "Dialog") -> None:
        surprises.append(dialog.message)
        dialog.dismiss()

    def open_page(width: int = 1280, *, dark: bool = False) -> "Page":
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light", locale="ko-KR"
        )
        contexts.append(context)
        page = context.new_page()
        pages.append(page)
        page.on("request", lambda request: requests.append(request.url))
        page.on("dialog", dismiss)
        page.on("pageerror", lambda error: surprises.append(str(error)))
        page.on("console", lambda message: surprises.append(message.text))
        page.goto(file.as_uri())
        page.locator("#list .question").first.wait_for()
        return page

    yield open_page
    assert [page.evaluate("window.broken") for page in pages] == [None] * len(pages)
    for context in contexts:
        context.close()
    assert {url for url in requests if not url.startswith("data:,")} == {file.as_uri()}
    assert surprises == []


def _choose(page: "Page", *names: str) -> None:
    for label in page.locator("#systems label").all():
        box = label.locator("input")
        if box.is_checked() != (label.inner_text().strip() in names):
            box.click()


def _count(page: "Page") -> int:
    return int(page.locator("#count").inner_text().split()[0])


def _right_ranks(system: str) -> dict[str, int]:
    """Return, by question, the rank of the first right passage, 0 where there is none."""
    result = make_results().protocols["clean"]
    ranks = {}
    for question in result.benchmark.questions:
        found = list(result.systems[system].answers[question.id].found)
        ranks[question.id] = next((n for n, doc_id in enumerate(found, 1) if doc_id in question.relevant), 0)
    return ranks


def _first_column(table: "Locator") -> list[str]:
    return [name.strip() for name in table.locator("tbody th").all_inner_texts()]


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 390])
def test_all_text_is_readable_and_the_page_is_no_wider_than_the_screen(
    visit: "Callable[..., Page]", width: int, dark: bool
) -> None:
    page = visit(width, dark=dark)
    for summary in page.locator("main section > details > summary").all():
        summary.click()
    _choose(page, "base", "lexical+rerank")
    for place in range(3):
        page.locator(".question > summary").nth(place).click()
    contrasts = page.evaluate(CONTRASTS)
    assert len(contrasts) > 40
    assert {name: contrast for name, contrast in contrasts.items() if contrast < READABLE} == {}
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    shown, hidden = (".wide", ".narrow") if width > 700 else (".narrow", ".wide")
    assert page.locator(f"{shown} svg:visible").count() == 5
    assert page.locator(f"{hidden} svg:visible").count() == 0


def test_printed_tables_of_many_systems_fit_the_paper(visit: "Callable[..., Page]") -> None:
    page = visit(718)  # A4 upright at 96 dots per inch, less the margins
    page.emulate_media(media="print")
    assert page.locator("table.many:visible").count() >= 2
    assert page.evaluate("document.documentElement.scrollWidth") <= 718


def test_a_table_sorts_by_a_click_and_by_the_keyboard(visit: "Callable[..., Page]") -> None:
    page = visit()
    systems = make_results().protocols["clean"].systems
    table = page.locator("#protocol-1 table.sortable").first
    assert _first_column(table) == list(systems)
    table.get_by_role("button", name=MEASURE).click()
    falling = sorted(systems, key=lambda name: -systems[name].intervals[MEASURE].mean)
    assert _first_column(table) == falling
    assert table.locator("th[aria-sort=descending]").inner_text().startswith(MEASURE)
    table.get_by_role("button", name=MEASURE).press("Enter")
    assert [systems[name].intervals[MEASURE].mean for name in _first_column(table)] == [
        systems[name].intervals[MEASURE].mean for name in reversed(falling)
    ]
    table.get_by_role("button", name="system").click()
    assert _first_column(table)[0] == "base"


def test_the_first_click_brings_the_best_to_the_top_be_it_the_most_or_the_least(visit: "Callable[..., Page]") -> None:
    page = visit()
    systems = make_results().protocols["clean"].systems
    table = page.locator("#protocol-1 table.sortable").first
    table.get_by_role("button", name="p50 ms").click()
    assert _first_column(table)[0] == min(systems, key=lambda name: p50(systems[name])) == "base"
    table.get_by_role("button", name="questions/s").click()
    assert _first_column(table)[0] == "base"
    pairs = page.locator("#protocol-1 table.sortable", has_text="corrected p").first
    pairs.get_by_role("button", name="corrected p").click()
    assert pairs.locator("th[aria-sort=ascending]").inner_text().startswith("corrected p")


def test_what_has_no_figure_stays_at_the_end(visit: "Callable[..., Page]") -> None:
    table = visit().locator("table.sortable", has_text="memory peak").first
    for _ in range(2):
        table.get_by_role("button", name="index on disk").click()
        figures = table.locator("tbody td:nth-child(3)").all_inner_texts()
        assert [figure == "–" for figure in figures] == sorted(figure == "–" for figure in figures)


def test_another_measure_of_the_pairs_can_be_chosen(visit: "Callable[..., Page]") -> None:
    page = visit()
    part = page.locator("#protocol-1 .matrices")
    part.locator("summary").click()
    assert part.locator(".matrix:visible").get_attribute("data-measure") == MEASURE
    part.get_by_label("Measure").select_option("hit_rate@1")
    assert part.locator(".matrix:visible").get_attribute("data-measure") == "hit_rate@1"


def test_the_filters_show_what_they_say(visit: "Callable[..., Page]") -> None:
    page = visit()
    base, lexical = _right_ranks("base"), _right_ranks("lexical")
    show = page.get_by_role("combobox", name="Show")
    _choose(page, "base")
    assert _count(page) == 60
    show.select_option("first")
    assert _count(page) == sum(rank != 1 for rank in base.values())
    show.select_option("ten")
    assert _count(page) == sum(not 0 < rank <= 10 for rank in base.values())
    assert 0 < _count(page) < 60
    _choose(page, "base", "lexical")
    show.select_option("differ")
    cut = [{rank if 0 < rank <= 10 else 0 for rank in (base[id_], lexical[id_])} for id_ in base]
    assert _count(page) == sum(len(ranks) > 1 for ranks in cut)


def test_a_kind_and_words_narrow_the_list(visit: "Callable[..., Page]") -> None:
    page = visit()
    kinds = page.get_by_role("combobox", name="Kind")
    [kind] = [text for text in kinds.locator("option").all_inner_texts() if text.endswith("several sentences")]
    kinds.select_option(label=kind)
    assert _count(page) == 20
    page.get_by_label("Words").fill("17호의 깊이")
    assert _count(page) == 0
    kinds.select_option(label="all kinds")
    assert page.locator(".question .asked").all_inner_texts() == ["가람호수 17호의 깊이는 몇 미터인가요?"]


def test_an_open_question_stays_open_when_other_systems_are_chosen(visit: "Callable[..., Page]") -> None:
    page = visit()
    _choose(page, "base")
    page.locator(".question > summary").nth(2).click()
    asked = page.locator(".question[open] .asked").inner_text()
    _choose(page, "base", "lexical")
    assert page.locator(".question[open] .asked").all_inner_texts() == [asked]
    assert page.locator(".question[open] .columns h4").all_inner_texts() == ["lexical found", "base found"]


def test_more_questions_come_when_asked_for(visit: "Callable[..., Page]") -> None:
    page = visit()
    assert page.locator(".question").count() == 50
    page.get_by_role("button", name="Show more").click()
    assert page.locator(".question").count() == 60
    assert page.locator("#more").is_hidden()


def test_the_tutorial_protocol_can_be_looked_at(visit: "Callable[..., Page]") -> None:
    page = visit()
    page.get_by_role("combobox", name="Protocol").select_option("tutorial")
    assert _count(page) == 30
    assert page.locator("#systems label").all_inner_texts() == ["base", "tuned"]


def test_a_question_shows_the_right_passage_and_what_was_found_rank_by_rank(visit: "Callable[..., Page]") -> None:
    page = visit()
    system = best_system(make_results().protocols["clean"], MEASURE)
    _choose(page, system)
    page.get_by_label("Words").fill("29호의 깊이")
    page.locator(".question > summary").press("Enter")
    answer = make_results().protocols["clean"].systems[system].answers["q 29"]
    body = page.locator(".question .body")
    assert body.locator("> .passage mark").all_inner_texts() == ["32미터"]
    items = body.locator("li")
    assert items.count() == 10
    place = list(answer.found).index("d29")
    assert items.nth(place).locator(".passage.right .tick").inner_text() == "✓ right"
    assert body.locator("li .right").count() == 1


def test_a_long_passage_shows_where_the_answer_is_and_all_of_it_when_asked(visit: "Callable[..., Page]") -> None:
    page = visit()
    page.get_by_label("Words").fill("29호의 깊이")
    page.locator(".question > summary").click()
    passage = page.locator(".question .body > .passage")
    text = make_results().protocols["clean"].benchmark.corpus[29].page_content
    assert passage.locator("p").inner_text().startswith("… ")
    assert "32미터" in passage.locator("p").inner_text()
    passage.get_by_role("button", name="Show all of it").click()
    assert passage.locator("p").inner_text() == text
    assert passage.locator("mark").all_inner_texts() == ["32미터"]


def test_the_best_system_is_chosen_at_first(visit: "Callable[..., Page]") -> None:
    chosen = visit().locator("#systems label:has(:checked)").all_inner_texts()
    assert chosen == ["bigrams", best_system(make_results().protocols["clean"], MEASURE)]


def test_nothing_found_is_said(visit: "Callable[..., Page]") -> None:
    page = visit()
    _choose(page, "base")
    question = page.locator(".question", has_text="가람호수 5호의 깊이")
    assert question.locator(".rank").inner_text() == "base not found"
    question.locator("summary").click()
    assert question.locator(".columns .empty").inner_text() == "Nothing."


def test_hostile_texts_are_shown_and_do_nothing(visit: "Callable[..., Page]") -> None:
    page = visit()
    page.get_by_label("Words").fill("window.broken")
    page.locator(".question > summary").first.click()
    assert page.locator(".question .asked").first.inner_text() == HOSTILE_END
    assert page.locator(".body .title").first.inner_text() == HOSTILE
    assert page.locator("main img, main script").count() == 0
