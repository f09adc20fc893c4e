"""The published rank of a model, beside its measured scores."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedRank:
    """The rank of a model among all models with published results of one source.

    Attributes:
        source: "maeb" or "superb".
        rank: mean rank over the tasks; 1 is best. Equal results share the mean of their ranks.
        better_than: mean share of the other models of a task that the model is better than, from 0 to 1; equal results
            count half.
        place: place by `better_than` among the models of the source; 1 is best.
        models: number of models with results of the source.
        tasks: number of tasks with a result of this model.
    """

    source: str
    rank: float
    better_than: float
    place: int
    models: int
    tasks: int

    @property
    def title(self) -> str:
        """The place in words.

        Example:
            >>> PublishedRank("maeb", 18.1, 0.64, 11, 49, 20).title
            'MAEB 11 of 49'
        """
        return f"{self.source.upper()} {self.place} of {self.models}"
