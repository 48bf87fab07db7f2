"""Random sessions, deliveries, other software and calendars over one account, held to a model (tests/support/model_*).

A few seeds here, which may be repeated by their number; a thousand by `scripts/prove_model.py --seeds 1000`.
"""

import os

import pytest

from model_world import run_seed

SEEDS = range(int(os.environ.get("PREAU_SEEDS", "4")) if os.environ.get("PREAU_PROVE") else 4)

FOUND = (5, 25, 49, 5000)
"""Seeds that showed a fault once (test_found.py)."""


@pytest.mark.parametrize("seed", sorted({*SEEDS, *FOUND}))
def test_every_client_ends_with_the_truth(seed: int) -> None:
    commands, changes = run_seed(seed)
    assert commands > 50
    assert changes > 30
