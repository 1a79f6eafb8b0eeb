"""Why a file could not be read, told with what to do about it."""

import re
from pathlib import PurePath

from rag_app.page.problems import Remedy, explain
from rag_app.page.words import say

SCANNED = Remedy(
    "글이 없습니다. 글자를 그림으로 담은 스캔 문서라면 문자 인식(OCR)을 거쳐 올리세요.",
    "It holds no text. If it is a scan, run text recognition (OCR) on it first.",
)
# By what an error says; the first that fits counts.
REASONS: tuple[tuple[str, Remedy], ...] = (
    (
        r"no column .*for the text",
        Remedy(
            "본문이 어느 열인지 알 수 없습니다. 표를 따로 올리고 본문 열을 골라 주세요.",
            "Which column holds the text is not clear. Upload the table by itself and choose the column.",
        ),
    ),
    (
        r"its encoding is",
        Remedy(
            "글자 인코딩을 알 수 없습니다. UTF-8로 저장해 다시 올리세요.",
            "Its encoding is not known. Save it as UTF-8 and upload it again.",
        ),
    ),
    (
        r"locked for distribution",
        Remedy(
            "배포용으로 잠근 문서입니다. 원본을 받거나 PDF로 인쇄해 올리세요.",
            "It is locked for distribution. Ask for the original, or print it as PDF.",
        ),
    ),
    (
        r"HWP 3|\(\.doc\)",
        Remedy(
            "오래된 형식입니다. 새 프로그램에서 HWPX나 DOCX로 저장해 올리세요.",
            "It is of an old format. Save it as HWPX or DOCX in a newer program.",
        ),
    ),
    (
        r"encrypted|password",
        Remedy(
            "암호가 걸려 있습니다. 암호를 풀어 저장한 사본을 올리세요.",
            "It is encrypted. Upload a copy saved without a password.",
        ),
    ),
    (
        r"seconds",
        Remedy(
            "읽는 데 너무 오래 걸립니다. 파일을 나누거나 다시 저장해 올리세요.",
            "Reading it takes too long. Split it, or save it anew.",
        ),
    ),
    (
        r"unpacked it has|is longer than|of memory",
        Remedy(
            "너무 큽니다. 파일을 나누어 올리세요.",
            "It is too large. Split it.",
        ),
    ),
    (
        r"its suffix is",
        Remedy(
            "읽을 수 있는 종류의 파일이 아닙니다. 지원하는 형식으로 저장해 올리세요.",
            "It is not of a kind that can be read. Save it in one of those that are.",
        ),
    ),
    (
        r"its content is that of|the suffix that belongs",
        Remedy(
            "이름과 내용의 형식이 다릅니다. 내용에 맞는 확장자로 바꾸어 올리세요.",
            "Its content is not what its name says. Give it the suffix that belongs to it.",
        ),
    ),
    (
        r"the file is empty",
        Remedy(
            "내용이 하나도 없는 빈 파일입니다. 원본을 다시 복사하거나 저장해 올리세요.",
            "The file is empty. Copy or save the original again.",
        ),
    ),
    (
        r"\(OCR\)",
        SCANNED,
    ),
    (
        r"holds no text",
        Remedy(
            "읽을 글이 없습니다. 파일을 열어 글이 있는지 확인하고 다시 올리세요.",
            "There is no text in it. Open it, see that it has some, and upload it again.",
        ),
    ),
    (
        r"line \d+|record \d+|not JSON|want a",
        Remedy(
            "표의 형식이 어긋난 곳이 있습니다. 아래에 적힌 곳을 고쳐 다시 올리세요.",
            "The table is broken in one place. Mend what is named below.",
        ),
    ),
    (
        r"in an archive|in its archive|out of the archive|as a zip archive|packed in",
        Remedy(
            "압축 파일에 문제가 있습니다. 다시 압축하거나, 풀어서 안의 파일을 올리세요.",
            "Something is wrong with the archive. Pack it again, or unpack it and upload the files.",
        ),
    ),
)
BROKEN = Remedy(
    "파일이 깨졌거나 이름과 다른 형식입니다. 원래 프로그램으로 열어 다시 저장해 올리세요.",
    "The file is broken, or not what its name says. Open it in its program and save it anew.",
)


def explain_file(error: Exception, name: str = "") -> str:
    """Return why a file could not be read and what to do about it.

    Args:
        error: What reading it raised.
        name: The file's, which begins the message and says no more about the reason than its suffix does.
    """
    if isinstance(error, OSError):
        return explain(error)
    message = str(error).removeprefix(f"{name}: ")
    if message.startswith("holds no text") and PurePath(name).suffix.lower() == ".docx":  # it may be all pictures
        return say(*SCANNED)
    found = (remedy for pattern, remedy in REASONS if re.search(pattern, message))
    return say(*next(found, BROKEN))
