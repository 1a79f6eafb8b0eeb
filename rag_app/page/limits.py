"""How much visitors may ask and upload; told in both languages where it is more."""

from collections.abc import Sequence

from rag_app.korean import QUESTION_CHARS as QUESTION_CHARS
from rag_app.language import Say
from rag_app.settings import Settings

QUESTIONS_MB = 50
"""How many megabytes a file of questions for the benchmark may have."""
BENCHMARKS = 200
"""How many benchmarks are kept."""


class LimitError(ValueError):
    """Something is more than is allowed; says what to do in both languages.

    Attributes:
        korean: The message.
        english: The same in English.
    """

    def __init__(self, korean: str, english: str) -> None:
        super().__init__(english)
        self.korean = korean
        self.english = english

    def told(self, say: Say) -> str:
        """Return the message in a language."""
        return say(self.korean, self.english)


def check_question(question: str) -> None:
    """Check that a question is not too long.

    Raises:
        LimitError: It is.
    """
    if len(question) > QUESTION_CHARS:
        raise LimitError(
            f"질문이 {len(question):,}자입니다. {QUESTION_CHARS:,}자까지 물을 수 있으니 줄여 주세요.",
            f"The question has {len(question):,} characters. Shorten it to {QUESTION_CHARS:,}.",
        )


def check_upload(sizes: Sequence[int], settings: Settings) -> None:
    """Check that not too much is uploaded.

    Args:
        sizes: Bytes of each file.
        settings: Those of the page.

    Raises:
        LimitError: It is.
    """
    if len(sizes) > settings.upload_files:
        raise LimitError(
            f"파일이 {len(sizes):,}개입니다. 한 번에 {settings.upload_files:,}개까지 올리세요.",
            f"These are {len(sizes):,} files. Upload at most {settings.upload_files:,} at once.",
        )
    if sum(sizes) > settings.upload_mb * 1_000_000:
        raise LimitError(
            f"파일이 모두 {sum(sizes) / 1e6:,.0f}MB입니다. 한 번에 {settings.upload_mb:,}MB까지 올리세요.",
            f"These files have {sum(sizes) / 1e6:,.0f} MB. Upload at most {settings.upload_mb:,} MB at once.",
        )


def check_benchmarks(count: int, upload: int) -> None:
    """Check that one more benchmark may be kept.

    Args:
        count: How many there are.
        upload: Bytes of its questions, if they were uploaded.

    Raises:
        LimitError: It may not.
    """
    if count >= BENCHMARKS:
        raise LimitError(
            f"결과가 {count:,}개 있습니다. 오래된 결과를 지운 뒤 다시 해 보세요.",
            f"There are {count:,} results. Delete old ones and try again.",
        )
    if upload > QUESTIONS_MB * 1_000_000:
        raise LimitError(
            f"질문 파일이 {upload / 1e6:,.0f}MB입니다. {QUESTIONS_MB}MB까지 올릴 수 있으니 나누어 주세요.",
            f"The file of questions has {upload / 1e6:,.0f} MB. Split it: {QUESTIONS_MB} MB may be uploaded.",
        )
