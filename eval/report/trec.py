"""Questions, relevant passages and runs in TREC's formats, so that anybody can compute the measures again.

    ir_measures qrels/clean.txt runs/clean/hybrid.txt Success@1 RR@10 nDCG@10

Columns are apart by spaces there. An id with white space or a per cent sign has these as in a URL (``%20``).
"""

import json
import re
from collections.abc import Mapping
from urllib.parse import quote

from eval.protocols import Benchmark
from eval.results import Answer
from rag_app.fusion import ranks


def qrels_lines(benchmark: Benchmark) -> str:
    """Return which documents answer each question, a line for each: ``question 0 document 1``."""
    return "".join(
        f"{_column(question.id)} 0 {_column(doc_id)} 1\n"
        for question in benchmark.questions
        for doc_id in sorted(question.relevant)
    )


def run_lines(answers: Mapping[str, Answer], name: str) -> str:
    """Return what a system found, a line for each document: ``question Q0 document rank score name``.

    The score is one over the rank: it only keeps the order, because programs break ties in different ways.
    """
    return "".join(
        f"{_column(id_)} Q0 {_column(doc_id)} {rank} {1 / rank:.9f} {_column(name)}\n"
        for id_, answer in answers.items()
        for doc_id, rank in ranks(answer.found).items()
    )


def question_lines(benchmark: Benchmark) -> str:
    """Return the questions as lines of JSON, the unanswerable ones at the end.

    Their fields are ``id``, ``text``, ``relevant``, ``answers``, ``impossible`` and ``metadata``.
    """
    return "".join(
        json.dumps(
            {
                "id": question.id,
                "text": question.text,
                "relevant": sorted(question.relevant),
                "answers": question.answers,
                "impossible": question.impossible,
                "metadata": question.metadata,
            },
            ensure_ascii=False,
            default=str,
        )
        + "\n"
        for question in (*benchmark.questions, *benchmark.unanswerable)
    )


def _column(text: str) -> str:
    return re.sub(r"[\s%]", lambda match: quote(match[0]), text)
