"""What a reader calls the systems of the benchmark and of the comparison."""

from rag_app.page.words import say

_WORDS = {
    "bigrams": ("낱말만: 글자쌍", "Words alone: letter pairs"),
    "morphemes": ("낱말만: 형태소", "Words alone: morphemes"),
    "lexical": ("낱말만", "Words alone"),
    "base": ("뜻만", "Meaning alone"),
    "hybrid": ("낱말+뜻", "Words + meaning"),
    "tuned": ("견줄 모델", "Model to compare"),
}


def system_words(name: str) -> str:
    """Return a system's name in words, as text; a label that somebody gave stays as it is."""
    if (first := name.removesuffix("+rerank")) != name:
        words = system_words(first)
        return say(f"{words.removesuffix('만')}+재순위", f"{words.removesuffix(' alone')}, reranked")
    if (model := name.removesuffix("+hybrid")) != name:
        words = system_words(model)
        return say(f"낱말+{words}", f"Words + {words}")
    return say(*_WORDS.get(name, (name, name)))


def system_name(name: str) -> str:
    """Return a system's name in words, with the technical name in brackets where that is another."""
    words = system_words(name)
    return words if words == name else f"{words} ({name})"
