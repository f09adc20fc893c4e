"""Rankings with any names."""

import pytest

from tied_rankings import make_ranking


@pytest.fixture
def ranking():
    return make_ranking()


@pytest.fixture
def make():
    return make_ranking
