import random
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

from eval.origins import Origins

RIVER = (
    "한강은 대한민국의 중부를 가로질러 황해로 흘러드는 강이다. 북한강과 남한강이 양평군 두물머리에서 만난다.\n"
    "길이는 494킬로미터이고, 유역의 넓이는 3만 5천 제곱킬로미터에 이른다. 서울에는 서른 개가 넘는 다리가 놓여 있다."
)
MOUNTAIN = (
    "설악산은 강원특별자치도 속초시와 양양군, 고성군, 인제군에 걸쳐 있는 산이다. 가장 높은 봉우리는 대청봉이다.\n"
    "1970년에 다섯 번째 국립공원이 되었고, 1982년에는 유네스코 생물권 보전 지역으로 지정되었다."
)


def test_a_chunk_is_found_whatever_happened_to_its_white_space() -> None:
    origins = Origins({"river": RIVER, "mountain": MOUNTAIN})
    assert origins.find(RIVER[20:100]) == "river"
    assert origins.find("  " + MOUNTAIN[10:90].replace(" ", "\n\n") + "\n") == "mountain"
    assert origins.find(RIVER) == "river"


def test_a_changed_letter_is_no_chunk() -> None:
    origins = Origins({"river": RIVER, "mountain": MOUNTAIN})
    assert origins.find(RIVER[20:100].replace("두물머리", "세물머리")) is None
    assert (
        origins.find("지구는 태양의 둘레를 도는 세 번째 행성이며, 하나의 위성을 가지고 있다. 그 위성은 달이라 불린다.")
        is None
    )


def test_what_stands_in_two_documents_comes_from_neither() -> None:
    origins = Origins({"river": RIVER, "both": f"{MOUNTAIN}\n{RIVER}"})
    assert origins.find(RIVER[20:100]) is None
    assert origins.find(MOUNTAIN[20:100]) == "both"


def test_a_chunk_across_two_documents_comes_from_neither() -> None:
    assert Origins({"river": RIVER, "mountain": MOUNTAIN}).find(RIVER[-60:] + MOUNTAIN[:60]) is None


def test_short_texts_are_never_found_and_break_nothing() -> None:
    origins = Origins({"short": "짧은 글", "empty": "", "river": RIVER})
    assert origins.find("짧은 글") is None
    assert origins.find("") is None
    assert origins.find(RIVER[:80]) == "river"
    assert Origins({}).find(RIVER) is None


def test_every_chunk_of_47_characters_is_found_and_no_shorter_one() -> None:
    letters = random.Random(0)
    texts = {f"d{n}": "".join(chr(letters.randrange(0xAC00, 0xD7A4)) for _ in range(400)) for n in range(30)}
    origins = Origins(texts)
    for doc_id, text in texts.items():
        assert {origins.find(text[start : start + 47]) for start in range(350)} == {doc_id}
        assert origins.find(text[:46]) is None


def test_what_many_documents_begin_with_costs_no_time() -> None:
    head = "연합뉴스 기자가 서울에서 전합니다. 오늘의 소식을 알려 드리겠습니다. 먼저 나라 안의 일부터 봅니다."
    origins = Origins({"river": head + RIVER, **{f"d{n}": f"{head} {n}" for n in range(5000)}})
    start = perf_counter()
    assert [origins.find(head + RIVER) for _ in range(200)] == ["river"] * 200
    assert perf_counter() - start < 1  # 5,000 texts looked through for each would take ten


def test_threads_share_one_table() -> None:
    origins = Origins({"river": RIVER, "mountain": MOUNTAIN})
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(origins.find, [RIVER[10:110]] * 40)) == {"river"}
