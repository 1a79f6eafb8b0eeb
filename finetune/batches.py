"""Batches for in-batch negatives: no two rows of one group in a batch, each row once an epoch.

And how several processes share a batch, so that they train as one process does.
"""

import logging
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sentence_transformers.base.sampler import DefaultBatchSampler
from torch.utils.data import RandomSampler, Sampler

logger = logging.getLogger(__name__)
_FEW = 8  # rows in a batch, on average: too few negatives to learn much from


def group_batches(groups: Sequence[int]) -> Callable[..., DefaultBatchSampler]:
    """Return what makes a sampler of such batches, for the ``batch_sampler`` of a trainer's arguments.

    It can be pickled, as a trainer does with its arguments at each checkpoint. A trainer batches its evaluation data
    by it too, which have other rows: evaluate with an evaluator, not with an ``eval_dataset``.

    Args:
        groups: The group of each row of the training data, in their order (see `finetune.groups`).
    """
    return partial(GroupBatchSampler, groups=tuple(groups))


def random_batches(dataset: Any, *, generator: Any, **options: Any) -> DefaultBatchSampler:
    """Return sentence-transformers' own sampler, as its trainers make it: rows in random order."""
    return DefaultBatchSampler(RandomSampler(dataset, generator=generator), generator=generator, **options)


def shared_batches(batches: Callable[..., DefaultBatchSampler], processes: int) -> Callable[..., "SharedBatches"]:
    """Return what makes a sampler that deals the rows of each batch out to several processes, likewise.

    Args:
        batches: Makes the sampler whose batches those are.
        processes: How many there are.
    """
    return partial(SharedBatches, batches=batches, processes=processes)


class SharedBatches(Sampler[list[int]]):
    """Deals each batch of another sampler out to several processes, in equal shares, one after the other.

    accelerate gives every n-th of these shares to a process. It could split batches itself (``split_batches``), but
    drops those that are not full, which are all of an epoch's where rows are spread evenly. The other sampler makes the
    batches that it makes for one process, so several train on the same rows at each step. Shares have to be equal, as
    gathered tensors have one shape: a rest of fewer rows than there are processes is left out of a batch, and
    a batch of fewer rows than that has some of them twice.

    Args:
        dataset: What has the rows.
        batch_size: Rows of a share; as the trainer counts, that of one process.
        drop_last: Not used: the trainer sets it where there are several processes.
        batches: Makes the other sampler.
        processes: How many there are.
        options: Of the other sampler.
    """

    batch_size = None  # accelerate would leave out what has fewer rows
    drop_last = True  # it would fill up what is never missing

    def __init__(
        self,
        dataset: Any,
        batch_size: int,
        drop_last: bool,
        *,
        batches: Callable[..., DefaultBatchSampler],
        processes: int,
        **options: Any,
    ) -> None:
        self._whole = batches(dataset, batch_size=batch_size * processes, drop_last=False, **options)
        self._processes = processes

    @property
    def sampler(self) -> Any:
        """What the other sampler takes rows from; accelerate replaces it by one that knows its epoch."""
        return self._whole.sampler

    @sampler.setter
    def sampler(self, sampler: Any) -> None:
        self._whole.sampler = sampler

    def set_epoch(self, epoch: int) -> None:
        """Tell the other sampler."""
        self._whole.set_epoch(epoch)

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the shares of each batch of the epoch, in the order of the processes."""
        for batch in self._whole:
            rows = batch * -(-self._processes // len(batch)) if len(batch) < self._processes else batch
            share = len(rows) // self._processes
            for start in range(0, share * self._processes, share):
                yield rows[start : start + share]

    def __len__(self) -> int:
        """Return how many shares every epoch has."""
        return len(self._whole) * self._processes


class GroupBatchSampler(DefaultBatchSampler):
    """Deals rows into random batches, of which none holds two rows of one group.

    The batches are as few as possible, and rows are spread over them evenly: 2,060 rows in batches of up to 256 are 9
    batches of 228 or 229, not 8 of 256 and one of 12. Their number is that of the rows over the batch size or the size
    of the largest group, whichever is more, so it is the same in every epoch, and ``len`` is exact.

    A group with more rows than there are other batches has one in each of them, and the rest go into ever smaller
    batches at the end of the epoch; where batches have fewer than 8 rows on average a warning says so. 500 questions on
    one article beside one each on 1,560 others, in batches of up to 256, are 7 batches of 223 or 224 rows and then 493
    of one row, from which in-batch negatives teach nothing while the learning rate decays. With ``drop_last`` every
    batch is full, and there are as many as can be; the rows left out are others in each epoch.

    The batches depend on seed and epoch only (``set_epoch``), not on what was iterated before nor on the shared
    generator: a run resumed within an epoch sees the batches that it would have seen. With several processes that takes
    a callback which calls ``set_epoch`` when the epoch begins: transformers 5.23 does not get through accelerate's two
    wrappers to this sampler then, and leaves it in epoch 0.

    Args:
        dataset: What has the rows; only its length matters.
        batch_size: The most rows of a batch.
        drop_last: Leave out what does not fill a batch.
        valid_label_columns: Not used.
        generator: Not used.
        seed: Of the shuffling.
        groups: The group of each row.

    Raises:
        ValueError: There are more or fewer groups than rows, or ``drop_last`` would leave no batch.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int,
        drop_last: bool,
        valid_label_columns: list[str] | None = None,
        generator: Any = None,
        seed: int = 0,
        *,
        groups: Sequence[int],
    ) -> None:
        super().__init__(dataset, batch_size, drop_last, valid_label_columns, generator, seed)
        if len(groups) != len(dataset):
            raise ValueError(
                f"{len(groups)} groups are given for a data set of {len(dataset)} rows: want one for each row of the "
                "training data. If these are evaluation data, give the trainer an evaluator in their place"
            )
        rows: defaultdict[int, list[int]] = defaultdict(list)
        for row, group in enumerate(groups):
            rows[group].append(row)
        self._groups = list(rows.values())
        self._rounds = _rounds(np.array([len(members) for members in self._groups]), batch_size, drop_last)
        self._dealt: tuple[int, list[list[int]]] | None = None
        if drop_last and groups and not len(self):
            raise ValueError(
                f"No batch of {batch_size} rows can be filled: there are {len(self._groups)} groups, and a batch takes "
                "one row of each. Lower the batch size, or keep incomplete batches (dataloader_drop_last=False)"
            )
        enough = -(-len(groups) // batch_size)
        if len(self) > enough and len(groups) < _FEW * len(self):
            logger.warning(
                "The largest group has %d of %d rows, so that an epoch takes %d batches, the last ones small, where %d "
                "of %d rows would do. Lower the batch size, or leave rows of that group out",
                max(map(len, self._groups)),
                len(groups),
                len(self),
                enough,
                batch_size,
            )

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the rows of each batch of the epoch."""
        if self._dealt is None or self._dealt[0] != self.epoch:
            self._dealt = (self.epoch, self._deal(np.random.default_rng((self.seed, self.epoch))))
        yield from (list(batch) for batch in self._dealt[1])  # copies: accelerate extends what it is given

    def __len__(self) -> int:
        """Return how many batches every epoch has."""
        return sum(self._rounds)

    def _deal(self, rng: np.random.Generator) -> list[list[int]]:
        order = rng.permutation(len(self._groups))
        groups = [rng.permutation(self._groups[group]).tolist() for group in order]
        batches: list[list[int]] = []
        for count in self._rounds:
            batches += _deal_round(groups, count, self.batch_size, rng)
            groups = [rows[count:] for rows in groups if len(rows) > count]
        return batches


def _rounds(sizes: NDArray[np.int64], batch_size: int, drop_last: bool) -> list[int]:
    """Return how many batches each round deals: up to one row of each group into each batch.

    ``count`` batches take in ``min(size, count)`` rows of a group, and all of these find room if they are no more than
    ``count * batch_size``. Both grow with the count, the first ever more slowly: there is one largest count at which
    they fill every batch, and one least at which they find room. Fewer groups than a batch has rows are then left
    over, if any, so the rest is dealt in rounds of one batch.
    """

    def surplus(count: int) -> int:
        return int(np.minimum(sizes, count).sum()) - count * batch_size

    if not sizes.size:
        return []
    if drop_last:
        most = int(sizes.sum()) // batch_size
        return [bisect_left(range(1, most + 1), True, key=lambda count: surplus(count) < 0)]
    first = 1 + bisect_left(range(1, int(sizes.sum())), True, key=lambda count: surplus(count) <= 0)
    return [first] + [1] * (int(sizes.max()) - first)


def _deal_round(groups: Sequence[list[int]], count: int, batch_size: int, rng: np.random.Generator) -> list[list[int]]:
    """Return ``count`` batches with up to that many of the first rows of each group, each in another batch.

    Batches are drawn like cards from a shuffled deck, and from a new one when it is used up. So at any time no batch
    has two rows more than another, and rows find room as long as there is any.
    """
    batches: list[list[int]] = [[] for _ in range(count)]
    room = count * batch_size
    deck: list[int] = []
    for rows in groups:
        share = rows[: min(count, room)]
        room -= len(share)
        drawn = [deck.pop() for _ in range(min(len(deck), len(share)))]
        if missing := len(share) - len(drawn):
            fresh = rng.permutation(count).tolist()
            others = [batch for batch in fresh if batch not in drawn]
            deck = [batch for batch in fresh if batch not in others[:missing]]
            drawn += others[:missing]
        for batch, row in zip(drawn, share, strict=True):
            batches[batch].append(row)
    return batches
