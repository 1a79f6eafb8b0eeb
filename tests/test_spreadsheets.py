"""Tables that a spreadsheet opens."""

from rag_app.files.spreadsheets import spreadsheet_csv


def test_what_looks_like_a_formula_stays_text_and_korean_is_recognised() -> None:
    table = spreadsheet_csv(["파일", "기사 수"], [["=HYPERLINK(1).txt", 3], ["@회의\n록,1.hwp", "-"]])
    assert table.startswith(b"\xef\xbb\xbf")
    assert table.decode("utf-8-sig").splitlines()[:2] == ["파일,기사 수", "'=HYPERLINK(1).txt,3"]
    assert "\"'@회의\n록,1.hwp\",'-" in table.decode("utf-8-sig")
