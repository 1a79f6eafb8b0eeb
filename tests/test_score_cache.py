"""Remembered scores: what is found again, what gives way, and threads."""

from concurrent.futures import ThreadPoolExecutor

from rag_app.reranking.score_cache import ScoreCache, Scored, cache_key


def test_a_score_is_found_by_question_passage_and_what_else_it_depends_on() -> None:
    cache = ScoreCache()
    cache.keep({cache_key("질문", "본문", 128): Scored(0.5)})

    keys = [cache_key("질문", "본문", None), cache_key("질문", "본문", 128), cache_key("질", "문\0본문", 128)]
    assert cache.find(keys) == {1: Scored(0.5)}
    assert (cache.hits, cache.misses) == (1, 2)


def test_what_was_not_used_for_longest_gives_way() -> None:
    cache = ScoreCache(2)
    first, second, third = (cache_key("질문", passage) for passage in "가나다")
    cache.keep({first: Scored(0.1), second: Scored(0.2)})
    cache.find([first])
    cache.keep({third: Scored(0.3)})

    assert set(cache.find([first, second, third])) == {0, 2}
    assert len(cache) == 2


def test_clearing_forgets_scores_and_counts() -> None:
    cache = ScoreCache()
    cache.keep({cache_key("질문", "가"): Scored(0.1)})
    cache.find([cache_key("질문", "가")])
    cache.clear()

    assert (len(cache), cache.hits, cache.misses) == (0, 0, 0)
    assert cache.find([cache_key("질문", "가")]) == {}


def test_threads_share_a_cache() -> None:
    cache = ScoreCache(50)

    def use(number: int) -> bool:
        key = cache_key("질문", str(number % 80))
        cache.keep({key: Scored(number % 80)})
        return all(scored.score == number % 80 for scored in cache.find([key]).values())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(use, range(4000)))
    assert len(cache) == 50
    assert cache.hits + cache.misses == 4000


def test_half_a_surrogate_pair_has_a_key() -> None:
    assert cache_key("질문", "\ud800") != cache_key("질문", "\ud801")
