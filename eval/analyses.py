"""Ways to take Korean texts apart for BM25, and what each finds and costs; see ``python -m eval.tokenizers``."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import process_time, thread_time
from typing import NamedTuple

from langchain_core.documents import Document
from tokenizers import Tokenizer
from tqdm import tqdm

from eval.asking import WARM_UP, ask, warm_up
from eval.measuring import score
from eval.protocols import Benchmark
from eval.results import Scores
from rag_app.documents import searchable_text
from rag_app.korean import CONTENT_TAGS, Analyzer
from rag_app.lexical import Analysis, LexicalIndex, LexicalRetriever, korean_analyses
from rag_app.models import EMBEDDED, resolve_model

SERVING = "bigrams+morphemes"

NOUN_TAGS = CONTENT_TAGS - {"VV", "VA", "MAG", "XR"}
"""What is left of `CONTENT_TAGS` without verbs, adjectives, adverbs and roots."""
ALL_TAGS = CONTENT_TAGS | {
    *("NNB", "NP", "VX", "VCP", "VCN", "MM", "MAJ", "IC"),
    *("JKS", "JKC", "JKG", "JKO", "JKB", "JKV", "JKQ", "JX", "JC"),
    *("EP", "EF", "EC", "ETN", "ETM", "XPN", "XSN", "XSV", "XSA", "XSM", "UN"),
    *("W_URL", "W_EMAIL", "W_HASHTAG", "W_MENTION", "W_SERIAL", "W_EMOJI"),
}
"""Every tag of Kiwi's but those of punctuation and symbols."""

_WORD = re.compile(r"[^\W_]+")
_UNITS = "units"  # the field of an index that holds one analysis


class Candidate(NamedTuple):
    """A way to take texts apart.

    Attributes:
        about: What the units are.
        analyses: What its index holds, see `rag_app.lexical.LexicalIndex.create`.
    """

    about: str
    analyses: Mapping[str, Analysis]


class Measured(NamedTuple):
    """What was measured of one candidate.

    Attributes:
        scores: By measure, of every question.
        units: How many units all passages have.
        distinct: How many different ones; those of two fields count apart.
        index_seconds: Of the processor, over all cores, to analyse and index all passages: what else the machine does
            meanwhile changes it little.
        index_bytes: On disk.
        question_seconds: To analyse and search a question, through LangChain; the median.
    """

    scores: dict[str, Scores]
    units: int
    distinct: int
    index_seconds: float
    index_bytes: int
    question_seconds: float


class _Count:
    """An analysis that counts what passes through it, and how long that takes the processor."""

    def __init__(self, analyse: Analysis) -> None:
        self._analyse = analyse
        self.units = 0
        self.distinct: set[str] = set()
        self.seconds = 0.0

    def __call__(self, texts: Sequence[str]) -> Iterator[Sequence[str]]:
        for units in self._analyse(texts):
            start = thread_time()
            self.units += len(units)
            self.distinct.update(units)
            self.seconds += thread_time() - start
            yield units


def candidates(korean: Analyzer, tokenizers: Sequence[Path] = ()) -> dict[str, Candidate]:
    """Return the ways to take texts apart, by name; the one that serves comes first.

    Args:
        korean: Finds morphemes.
        tokenizers: Files of the tokenizers library. A ``tokenizer.json`` goes by the name of its folder, others by
            their own.

    Raises:
        OSError: A tokenizer cannot be read.
        ValueError: A file is no tokenizer.
    """
    serving = korean_analyses(korean)
    embedded = resolve_model(EMBEDDED).folder / "tokenizer.json"
    alone: dict[str, tuple[str, Analysis]] = {
        "split": ("words between white space as they stand, as LangChain's BM25Retriever takes them", _each(str.split)),
        "words": ("runs of letters and digits", _each(words)),
        "unigrams": ("single characters of these words", _each(partial(ngrams, n=1))),
        "bigrams": ("pairs of characters inside the words, and the character each begins with", serving["bigrams"]),
        "trigrams": ("triples of characters inside the words; shorter words whole", _each(partial(ngrams, n=3))),
        "morphemes": ("Kiwi's morphemes that carry content, in their dictionary form", serving["morphemes"]),
        "nouns": ("of these the nouns, numbers and foreign words", partial(korean.morphemes_batch, tags=NOUN_TAGS)),
        "all morphemes": ("Kiwi's, with particles and endings", partial(korean.morphemes_batch, tags=ALL_TAGS)),
        "word pieces": ("those of the embedded model", word_pieces(embedded)),
    }
    for path in tokenizers:
        name = path.resolve().parent.name if path.stem == "tokenizer" else path.stem
        name = name if name not in {SERVING, *alone} else str(path)
        alone[name] = (f"word pieces of {path}", word_pieces(path))
    table = {name: Candidate(about, {_UNITS: analysis}) for name, (about, analysis) in alone.items()}
    return {SERVING: Candidate("both, weighed as in serving", serving), **table}


def measure(
    candidate: Candidate, passages: Sequence[Document], benchmark: Benchmark, *, k: int = 10, name: str = ""
) -> Measured:
    """Index passages in an analysis and ask every question.

    Args:
        candidate: What to measure.
        passages: Those of the benchmark's corpus, as `rag_app.passages.split_documents` yields them.
        benchmark: Its questions are asked; a document counts by its best passage.
        k: Where the measures cut off.
        name: Stands before the progress bars on stderr.
    """
    documents = {str(passage.id): passage for passage in passages}
    for analyse in candidate.analyses.values():  # what is loaded on first use is no passage's time
        list(analyse([WARM_UP]))
    counts = {field: _Count(analyse) for field, analyse in candidate.analyses.items()}
    with TemporaryDirectory(prefix="tokenizers-") as folder:
        path = Path(folder, "index")
        texts = [searchable_text(passage) for passage in passages]
        start = process_time()
        index = LexicalIndex.create(counts, path)
        index.add(documents, tqdm(texts, desc=f"{name}: indexing", unit="passage", leave=False))
        index.commit()
        index_seconds = process_time() - start - sum(count.seconds for count in counts.values())
        index_bytes = sum(file.stat().st_size for file in path.iterdir())
        retriever = LexicalRetriever(index=LexicalIndex.open(candidate.analyses, path), documents=documents)
        warm_up(retriever)
        answers = ask(retriever, benchmark.questions, k=k, name=f"{name}: asking")
    scores = score(benchmark, answers, k)
    return Measured(
        scores={measure: scores[measure] for measure in ("hit_rate@1", f"hit_rate@{k}", f"mrr@{k}")},
        units=sum(count.units for count in counts.values()),
        distinct=sum(len(count.distinct) for count in counts.values()),
        index_seconds=index_seconds,
        index_bytes=index_bytes,
        question_seconds=median(answer.seconds for answer in answers.values()),
    )


def words(text: str) -> list[str]:
    """Return the runs of letters and digits of a normalised text, lower-cased."""
    return _WORD.findall(text.lower())


def ngrams(text: str, n: int) -> list[str]:
    """Return the runs of n characters inside each of a text's `words`; shorter words stay whole."""
    return [word[i : i + n] for word in words(text) for i in range(max(1, len(word) - n + 1))]


def word_pieces(path: Path) -> Analysis:
    """Return the analysis of a tokenizer (``tokenizer.json``): the ids of its pieces, less the unknown one.

    Texts are lower-cased first, as for the other analyses.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no tokenizer.
    """
    content = path.read_bytes()
    try:
        tokenizer = Tokenizer.from_buffer(content)
    except Exception as error:  # the library raises nothing more special
        raise ValueError(f"{path} is no tokenizer.json of the tokenizers library: {error}") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    unknown = _unknown(tokenizer, json.loads(content)["model"])

    def analyse(texts: Sequence[str]) -> list[list[str]]:
        encodings = tokenizer.encode_batch_fast([text.lower() for text in texts], add_special_tokens=False)
        return [[str(id_) for id_ in encoding.ids if id_ != unknown] for encoding in encodings]

    return analyse


def _unknown(tokenizer: Tokenizer, model: Mapping[str, object]) -> object:
    if "unk_id" in model:  # a Unigram model
        return model["unk_id"]
    token = model.get("unk_token")
    return None if token is None else tokenizer.token_to_id(str(token))


def _each(take_apart: Callable[[str], Sequence[str]]) -> Analysis:
    return lambda texts: map(take_apart, texts)
