import json
from pathlib import Path

import pytest

from rag_app.data.unlabelled import asks_questions, without_title
from rag_app.documents import make_document


def test_an_article_loses_its_title_and_the_line_that_repeats_it() -> None:
    plain = without_title(make_document("금리 인하\n은행이 금리를 내렸다.", title="금리 인하"))
    assert plain.page_content == "은행이 금리를 내렸다."
    assert "title" not in plain.metadata


def test_questions_are_told_from_articles(tmp_path: Path) -> None:
    def write(name: str, **row: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(row) + "\n", "utf-8")
        return path

    questions = write("labelled/deep/train.jsonl", context="가", question="나?")
    articles = write("articles/news.jsonl", text="가", title="나")
    (tmp_path / "articles" / "note.md").write_text("# 제목\n글", "utf-8")
    assert asks_questions("sample")
    assert asks_questions(questions)
    assert asks_questions(tmp_path / "labelled")
    assert asks_questions(tmp_path / "nowhere")  # whoever reads it says that there is nothing
    assert not asks_questions(articles)
    assert not asks_questions(articles.parent)
    (tmp_path / "articles" / "broken.jsonl").write_text("{", "utf-8")
    with pytest.raises(ValueError, match=r"broken\.jsonl: line 1"):
        asks_questions(articles.parent)
