"""Differential evolution: a minimum of a function of D numbers that has no gradient."""

from collections.abc import Callable

import numpy as np

# Three times the generations found hardly better anchors for BCCD's and for COCO's boxes.
MEMBERS = 32
GENERATIONS = 160
# Share of the numbers that a trial takes from its mutant.
CROSSOVER = 0.7
# Around the first guess, members spread by this.
SPREAD = 0.5


def minimize(
    cost: Callable[[np.ndarray], float],
    first: np.ndarray,
    *,
    low: np.ndarray,
    high: np.ndarray,
    random: np.random.Generator,
) -> np.ndarray:
    """Return the vector (D,) of the lowest cost met: never a higher one than that of `first`.

    "rand-to-best/1/bin" of Storn and Price 1997: a trial goes part of the way to the best member
    and adds the difference of two others; it replaces its member if it costs no more.

    Args:
        cost: of a vector (D,).
        first: (D,) a guess within the bounds, a member from the start on.
        low, high: (D,) the bounds.
        random: decides everything else.
    """
    near = first + random.normal(0, SPREAD, (MEMBERS // 2, len(first)))
    anywhere = random.uniform(low, high, (MEMBERS // 2, len(first)))
    members = np.clip(np.concatenate([near, anywhere]), low, high)
    members[0] = first
    costs = np.array([cost(member) for member in members])
    for _ in range(GENERATIONS):
        for index, member in enumerate(members):
            best = members[costs.argmin()]
            pull, factor = random.uniform(0, 1), random.uniform(0.4, 1)
            one, two = members[random.choice(MEMBERS, 2, replace=False)]
            mutant = member + pull * (best - member) + factor * (one - two)
            crossed = random.uniform(size=len(first)) < CROSSOVER
            trial = np.where(crossed, np.clip(mutant, low, high), member)
            trial_cost = cost(trial)
            if trial_cost <= costs[index]:
                members[index], costs[index] = trial, trial_cost
    return members[costs.argmin()]
