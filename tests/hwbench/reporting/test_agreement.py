"""Whether devices agree."""

import numpy as np
import pytest

from hwbench.reporting.agreement import compare, loss_points


def test_devices_that_rank_alike_lose_nothing():
    ms, accuracy = np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.5, 0.6, 0.55, 0.7])
    found = compare([ms, 10 * ms], accuracy)
    assert np.allclose(found["spearman"], 1) and np.allclose(found["loss"], 0)


def test_the_loss_is_what_a_better_choice_of_the_same_latency_adds():
    # On the first device the second subnet is the best within 2 ms; on the other device it takes as long as the third,
    # which is ten points better.
    first, other, accuracy = np.array([1.0, 2.0, 9.0]), np.array([1.0, 3.0, 3.0]), np.array([0.5, 0.6, 0.7])
    assert loss_points(first, other, accuracy) == pytest.approx(100 * (0 + 0.1 + 0) / 3)


def test_only_subnets_known_everywhere_count():
    one, other = np.array([1.0, 2.0, np.nan]), np.array([2.0, 1.0, 5.0])
    found = compare([one, other], np.array([0.1, 0.2, 0.3]))
    assert found["subnets"] == 2 and found["spearman"][0][1] == pytest.approx(-1)
    nothing = compare([np.array([np.nan]), np.array([1.0])], np.array([0.5]))
    assert nothing == {"subnets": 0, "spearman": [[None] * 2] * 2, "loss": [[None] * 2] * 2}
