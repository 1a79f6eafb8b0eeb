import logging
import pickle
from collections import Counter
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from finetune.batches import group_batches, random_batches, shared_batches

Batches = list[list[int]]


def sampler(groups: list[int], batch_size: int, *, drop_last: bool = False, seed: int = 0) -> Any:
    return group_batches(groups)(
        range(len(groups)),
        batch_size=batch_size,
        drop_last=drop_last,
        valid_label_columns=["label"],
        generator=torch.Generator(),
        seed=seed,
    )


def epoch(batches: Any, number: int) -> Batches:
    batches.set_epoch(number)
    return list(batches)


def sizes(batches: Batches) -> list[int]:
    return [len(batch) for batch in batches]


class Recorder:
    """A trainer's collator that remembers the rows of each batch, by the number after the word."""

    def __init__(self, collator: Any) -> None:
        self.collator = collator
        self.seen: Batches = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.collator, name)

    def __call__(self, rows: list[dict[str, Any]]) -> Any:
        self.seen.append([int(row["question"].split()[1]) for row in rows])
        return self.collator(rows)


@given(st.lists(st.integers(0, 12), max_size=60), st.integers(1, 9), st.integers(0, 99), st.integers(0, 3))
def test_every_row_comes_once_and_no_two_of_a_group_meet(groups: list[int], size: int, seed: int, number: int) -> None:
    batch_sampler = sampler(groups, size, seed=seed)
    batches = epoch(batch_sampler, number)
    assert sorted(row for batch in batches for row in batch) == list(range(len(groups)))
    assert all(0 < len(batch) <= size for batch in batches)
    assert all(len({groups[row] for row in batch}) == len(batch) for batch in batches)
    largest = max(Counter(groups).values(), default=0)
    assert len(batches) == len(batch_sampler) == max(-(-len(groups) // size), largest)
    assert epoch(sampler(groups, size, seed=seed), number) == batches
    batch_sampler.set_epoch(number + 1)
    assert len(batch_sampler) == len(list(batch_sampler)) == len(batches)


@given(st.lists(st.integers(0, 12), max_size=60), st.integers(1, 9), st.integers(0, 99))
def test_with_drop_last_batches_are_full_and_as_many_as_can_be(groups: list[int], size: int, seed: int) -> None:
    counts = Counter(groups).values()
    most = max(n for n in range(len(groups) + 1) if sum(min(count, n) for count in counts) >= n * size)
    if groups and not most:
        with pytest.raises(ValueError, match=f"No batch of {size} rows can be filled"):
            sampler(groups, size, drop_last=True, seed=seed)
        return
    batch_sampler = sampler(groups, size, drop_last=True, seed=seed)
    batches = list(batch_sampler)
    assert sizes(batches) == [size] * most
    assert len(batch_sampler) == most
    assert len({row for batch in batches for row in batch}) == most * size
    assert all(len({groups[row] for row in batch}) == size for batch in batches)


def test_two_questions_on_each_of_two_articles_make_two_batches() -> None:
    batches = list(sampler([7, 7, 8, 8], 2))
    assert sorted(row for batch in batches for row in batch) == [0, 1, 2, 3]
    assert all({row // 2 for row in batch} == {0, 1} for batch in batches)


def test_rows_are_spread_evenly_where_a_rest_would_make_a_small_batch() -> None:
    assert sorted(sizes(list(sampler(list(range(2060)), 256)))) == [228] + [229] * 8


def test_what_is_left_of_a_large_group_comes_last_in_small_batches(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        batches = list(sampler([0] * 500 + list(range(1, 1561)), 256))
    assert sorted(sizes(batches[:7])) == [223, 224, 224, 224, 224, 224, 224]
    assert sizes(batches[7:]) == [1] * 493
    assert "The largest group has 500 of 2060 rows, so that an epoch takes 500 batches" in caplog.text
    assert "where 9 of 256 rows would do" in caplog.text


def test_a_group_that_fits_is_not_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        sampler([0, 0, 0, 1, 2, 3], 2)
    assert not caplog.text


def test_an_epoch_has_its_batches_whatever_came_before() -> None:
    groups = [row // 3 for row in range(90)]
    walked = sampler(groups, 8)
    epochs = [epoch(walked, number) for number in range(4)]
    partly = sampler(groups, 8)
    next(iter(partly))  # a run broken off in its first epoch
    torch.rand(3)
    assert epoch(partly, 3) == epochs[3]
    assert list(walked) == epochs[3]
    assert epoch(walked, 1) == epochs[1]
    assert len({str(batches) for batches in epochs}) == 4
    assert epoch(sampler(groups, 8, seed=1), 3) != epochs[3]


def test_changing_a_batch_that_was_given_out_changes_no_later_one() -> None:
    batch_sampler = sampler(list(range(10)), 5)
    first = list(batch_sampler)
    kept = [list(batch) for batch in first]
    first[0].clear()
    assert list(batch_sampler) == kept


def test_what_drop_last_leaves_out_differs_between_epochs() -> None:
    batch_sampler = sampler([0] * 20 + list(range(1, 9)), 4, drop_last=True)
    used = [frozenset(row for batch in epoch(batch_sampler, number) for row in batch) for number in range(200)]
    assert len(batch_sampler) == 2  # two rows of the large group and six others
    assert set.union(*map(set, used)) == set(range(28))


def test_groups_of_other_data_are_refused() -> None:
    with pytest.raises(ValueError, match=r"3 groups are given for a data set of 2 rows.*evaluator"):
        group_batches([0, 1, 2])(range(2), batch_size=2, drop_last=False)


def test_it_can_be_saved_with_the_arguments_of_a_trainer() -> None:
    make = group_batches([0, 0, 1, 1])
    copy = pickle.loads(pickle.dumps(make))
    arguments: dict[str, Any] = {"batch_size": 2, "drop_last": False, "seed": 3}
    assert list(copy(range(4), **arguments)) == list(make(range(4), **arguments))


@given(st.lists(st.integers(0, 12), min_size=1, max_size=60), st.integers(1, 4), st.integers(2, 5), st.integers(0, 3))
def test_processes_share_the_batches_of_one(groups: list[int], share: int, processes: int, number: int) -> None:
    from accelerate.data_loader import BatchSamplerShard  # type: ignore[import-untyped,unused-ignore]

    whole = epoch(sampler(groups, share * processes), number)

    def of_process(rank: int) -> Batches:
        shared: Any = shared_batches(group_batches(groups), processes)(
            range(len(groups)), batch_size=share, drop_last=True, generator=torch.Generator(), seed=0
        )
        shared.set_epoch(number)
        shard = BatchSamplerShard(shared, processes, rank)
        assert len(shard) == len(whole), "as many steps as one process takes"
        return list(shard)

    for batch, *shares in zip(whole, *map(of_process, range(processes)), strict=True):
        rows = [row for one in shares for row in one]
        assert len({len(one) for one in shares}) == 1, "what is gathered has one shape"
        if len(batch) < processes:
            assert set(rows) == set(batch)
            assert len(rows) == processes
        else:
            assert rows == batch[: len(batch) - len(batch) % processes]


def test_random_batches_are_those_of_the_trainer_in_one_process() -> None:
    from accelerate import Accelerator
    from torch.utils.data import DataLoader

    def order(make: Any, size: int) -> Batches:
        torch.manual_seed(7)
        generator = torch.Generator().manual_seed(7)
        batches = make(range(10), batch_size=size, drop_last=False, generator=generator, seed=7)
        loader = Accelerator(cpu=True).prepare(DataLoader(cast(Any, range(10)), batch_sampler=batches))
        return [batch.tolist() for _ in range(2) for batch in loader]

    whole, shares = order(random_batches, 4), order(shared_batches(random_batches, 2), 2)
    assert [first + second for first, second in zip(shares[::2], shares[1::2], strict=True)] == whole


def test_a_trainer_that_resumes_within_an_epoch_sees_the_batches_of_an_unbroken_run(
    tiny_static: Path, tmp_path: Path
) -> None:
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from sentence_transformers.sentence_transformer.training_args import SentenceTransformerTrainingArguments

    groups = [row // 2 for row in range(16)]
    rows = Dataset.from_dict({"question": [f"질문 {row}" for row in range(16)], "passage": ["국회"] * 16})

    def train(resume: str | None) -> Batches:
        model = SentenceTransformer(modules=[StaticEmbedding.from_model2vec(str(tiny_static))], device="cpu")
        arguments = SentenceTransformerTrainingArguments(
            output_dir=str(tmp_path),
            num_train_epochs=2,
            per_device_train_batch_size=4,
            batch_sampler=group_batches(groups),
            save_steps=6,
            report_to="none",
            use_cpu=True,
            seed=5,
        )
        loss = MultipleNegativesRankingLoss(model)
        trainer = SentenceTransformerTrainer(model, arguments, train_dataset=rows, loss=loss)
        recorder = Recorder(trainer.data_collator)
        cast(Any, trainer).data_collator = recorder
        trainer.train(resume_from_checkpoint=resume)
        return recorder.seen

    whole = train(None)
    assert sizes(whole) == [4] * 8
    assert whole[:4] != whole[4:]
    assert train(str(tmp_path / "checkpoint-6")) == whole[6:]
