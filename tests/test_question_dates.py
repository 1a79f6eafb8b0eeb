from datetime import date

import pytest

from rag_app.question_dates import find_dates

SUNDAY = date(2025, 6, 15)


@pytest.mark.parametrize(
    ("question", "start", "end", "text"),
    [
        ("2014년 6월에 열린 행사", "2014-06-01", "2014-06-30", "2014년 6월"),
        ("2014년 6월 3일 발사", "2014-06-03", "2014-06-03", "2014년 6월 3일"),
        ("2025-03-04 기사", "2025-03-04", "2025-03-04", "2025-03-04"),
        ("2025.3.4. 기사", "2025-03-04", "2025-03-04", "2025.3.4"),
        ("2023년의 물가", "2023-01-01", "2023-12-31", "2023년"),
        ("1990년대 가요", "1990-01-01", "1999-12-31", "1990년대"),
        ("2024년 상반기 실적", "2024-01-01", "2024-06-30", "2024년 상반기"),
        ("작년 하반기 실적", "2024-07-01", "2024-12-31", "작년 하반기"),
        ("올해 1분기 성장률", "2025-01-01", "2025-03-31", "올해 1분기"),
        ("2024년 2월은 윤달", "2024-02-01", "2024-02-29", "2024년 2월"),
        ("작년 12월 폭설", "2024-12-01", "2024-12-31", "작년 12월"),
        ("지난해 태풍", "2024-01-01", "2024-12-31", "지난해"),
        ("재작년 내내", "2023-01-01", "2023-12-31", "재작년"),
        ("지난달 물가", "2025-05-01", "2025-05-31", "지난달"),
        ("지난 달의 물가", "2025-05-01", "2025-05-31", "지난 달"),
        ("지지난주 경기", "2025-05-26", "2025-06-01", "지지난주"),
        ("이번 주에 열린", "2025-06-09", "2025-06-15", "이번 주"),
        ("어제 경기", "2025-06-14", "2025-06-14", "어제"),
        ("3일 전 사고", "2025-06-12", "2025-06-12", "3일 전"),
        ("2주 전에 난 불", "2025-06-01", "2025-06-01", "2주 전"),
        ("3개월 전 발표", "2025-03-01", "2025-03-31", "3개월 전"),
        ("2년 전부터", "2023-01-01", "2023-12-31", "2년 전"),
        ("최근 3개월 동향", "2025-03-15", "2025-06-15", "최근 3개월"),
        ("올여름 폭염", "2025-06-01", "2025-08-31", "올여름"),
        ("지난 겨울 한파", "2024-12-01", "2025-02-28", "지난 겨울"),
    ],
)
def test_an_expression_means_these_days(question: str, start: str, end: str, text: str) -> None:
    (found,) = find_dates(question, SUNDAY)

    assert (found.start.isoformat(), found.end.isoformat(), found.text) == (start, end, text)


@pytest.mark.parametrize(
    ("question", "day", "yearless"),
    [
        ("12월 8일 경기", "2024-12-08", True),
        ("6월 15일 경기", "2025-06-15", True),
        ("6월 16일 경기", "2024-06-16", True),
        ("2월 29일 경기", None, None),  # 2025 has none
        ("작년 6월 16일 경기", "2024-06-16", False),
    ],
)
def test_without_a_year_it_is_the_latest_that_has_come(question: str, day: str | None, yearless: bool | None) -> None:
    found = find_dates(question, SUNDAY)

    assert [(d.start.isoformat(), d.yearless) for d in found] == ([] if day is None else [(day, yearless)])


@pytest.mark.parametrize(
    "question",
    [
        "3개월 동안 이어진",
        "5일간 열린",
        "15년 만에 처음",
        "2월 30일에 열린",
        "4월 31일",
        "0000년 1월 1일",
        "1234567년",
        "내일신문 기사",
        "그제야 알려진",
        "오늘날의 도시",
        "이번 주식 투자",
        "999년 전",
        "전화번호는 02-2025-0304",
        "",
    ],
)
def test_what_names_no_day_is_passed_over(question: str) -> None:
    assert find_dates(question, date(900, 6, 15) if "999" in question else SUNDAY) == []


def test_dates_come_in_order() -> None:
    found = find_dates("2014년 6월 3일과 작년 12월, 그리고 어제", SUNDAY)

    assert [d.text for d in found] == ["2014년 6월 3일", "작년 12월", "어제"]
