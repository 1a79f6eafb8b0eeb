"""Why the questions of a benchmark could not be read, told with what to do about it."""

import re

from rag_app.page.problems import Remedy
from rag_app.page.words import say

_DATA = "\0"  # stands for the path of the data: what a file is called says nothing about the reason
# By what the program says; the first that fits counts.
REASONS: tuple[tuple[str, Remedy], ...] = (
    (
        r"holds no question",
        Remedy(
            "질문이 없습니다. question(또는 질문) 열에 질문을, context(또는 본문) 열에 답이 든 글을 적어 주세요.",
            "There are no questions in it. It needs a column question, and a column context with the text that "
            "answers each.",
        ),
    ),
    (
        r"no column .*for the text",
        Remedy(
            "답이 든 글이 어느 열인지 알 수 없습니다. 그 열의 이름을 context(또는 본문)로 바꿔 주세요.",
            "Which column holds the text that answers is not clear. Call it context.",
        ),
    ),
    (
        r"the context is empty",
        Remedy(
            "답이 든 글(context)이 빈 줄이 있습니다. 아래에 적힌 줄을 채우거나 빼 주세요.",
            "A row has no text that answers. Fill in the one named below, or leave it out.",
        ),
    ),
    (
        r"^None of the .* questions has an answer",
        Remedy(
            "답이 있는 질문이 하나도 없습니다. 답이 있는 질문을 더해 주세요.",
            "None of the questions has an answer. Add some that have.",
        ),
    ),
    (
        r"the tutorial protocol searches just these",
        Remedy(
            "어느 글에 대한 질문인지 적혀 있지 않아 튜토리얼 방식으로는 잴 수 없습니다. 정확한 방식으로 새로 재세요.",
            "The tutorial's protocol needs to know which text a question was asked of. Measure by the clean protocol.",
        ),
    ),
    (
        rf"^{_DATA}.*its encoding is",
        Remedy(
            "글자 인코딩을 알 수 없습니다. UTF-8로 저장해 주세요.",
            "Its encoding is not known. Save it as UTF-8.",
        ),
    ),
    (
        rf"^{_DATA} has the suffix",
        Remedy(
            "질문을 읽을 수 있는 형식이 아닙니다. jsonl, csv, tsv, json 가운데 하나로 저장해 주세요.",
            "Questions are not read from such a file. Save it as jsonl, csv, tsv or json.",
        ),
    ),
    (
        rf"^There is no file or folder {_DATA}",
        Remedy(
            "그런 파일이나 폴더가 없습니다. 경로를 확인하고 새로 재세요.",
            "There is no such file or folder. Check the path and begin anew.",
        ),
    ),
    (
        rf"^{_DATA}\S*: .*(line \d|record \d|not JSON|want a)",
        Remedy(
            "형식이 어긋난 곳이 있습니다. 아래에 적힌 곳을 고쳐 주세요.",
            "It is broken in one place. Mend what is named below.",
        ),
    ),
)


def explain_data(problem: str, data: str) -> str | None:
    """Return what is wrong with the data of a benchmark and what to do about it; None if something else went wrong.

    Args:
        problem: What the program said.
        data: The path of the data, as the program was given it.
    """
    message = problem.replace(data, _DATA)
    return next((say(*remedy) for pattern, remedy in REASONS if re.search(pattern, message)), None)
