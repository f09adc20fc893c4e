"""The queue of numbered work that waits for workers. It counts losses, and knows which nodes miss audio."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable


class WorkQueue:
    """A queue of numbered pieces of work, in order.

    A piece goes to a node that sees its audio. If no node sees it, it is given out all the same (`must_see` is false),
    and its utterances are skipped. A piece on which a worker may have been lost is given out alone.

    Attributes:
        waiting: numbers of the pieces that wait, in order.
        losses: number of a piece → number of workers that were lost on it.
    """

    def __init__(self) -> None:
        self.waiting: list[int] = []
        self.losses: Counter[int] = Counter()
        self._unseen: defaultdict[str, set[int]] = defaultdict(set)
        self._seen_by_none: set[int] = set()

    def append(self, number: int) -> None:
        """Add a piece whose number is higher than all others."""
        self.waiting.append(number)

    def put_back(self, numbers: Iterable[int]) -> None:
        """Let pieces wait again."""
        self.waiting = sorted({*self.waiting, *numbers})

    def take(self, node: str, count: Callable[[int], int]) -> tuple[int, ...]:
        """Take pieces for a worker on a node.

        Args:
            node: identifier of the node.
            count: number of usable pieces → number of pieces to take.
        """
        unseen = self._unseen[node] - self._seen_by_none
        usable = [number for number in self.waiting if number not in unseen] if unseen else self.waiting
        first = usable[: count(len(usable))]
        alone = (i for i, number in enumerate(first) if self.losses[number] or number in self._seen_by_none)
        taken = tuple(first[: max(1, next(alone, len(first)))])
        chosen = set(taken)
        self.waiting = (
            [number for number in self.waiting if number not in chosen] if unseen else self.waiting[len(taken) :]
        )
        return taken

    def must_see(self, numbers: Collection[int]) -> bool:
        """Return whether a worker must leave pieces whose audio it does not see to other nodes."""
        return self._seen_by_none.isdisjoint(numbers)

    def is_blind(self, node: str) -> bool:
        """Return whether a node misses some audio."""
        return bool(self._unseen[node])

    def leave(self, node: str, numbers: Collection[int], *, everything: bool) -> None:
        """Let other nodes do pieces whose audio a node does not see.

        Args:
            node: identifier of the node.
            numbers: the pieces, which wait again.
            everything: whether the node saw nothing that it was given. It then receives none of the waiting pieces.
        """
        self.put_back(numbers)
        self._unseen[node].update(self.waiting if everything else numbers)

    def give_up(self, numbers: Iterable[int]) -> None:
        """Give pieces to any node, because no node sees their audio."""
        self._seen_by_none.update(numbers)
