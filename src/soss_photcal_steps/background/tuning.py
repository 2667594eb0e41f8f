"""Widths of priors and variances that the data themselves ask for (type II likelihood)."""

from __future__ import annotations

import numpy as np

from soss_photcal_steps.background.fit import NormalEquations
from soss_photcal_steps.background.wings import ROUND, WingBasis

__all__ = ["tune_prior", "tune_stripes"]

# Widths of the prior, relative to those that `WingPrior` states, that are expected before the
# data are seen: two real standards differ by no more.  Along the dispersion light is spread as by
# a round point spread function, or hardly.
_EXPECTED = {
    "shape": 0.15, "order": 0.15, "side": 0.15, "chromatic": 0.15, "outside": 0.4, "spread": 0.05,
}  # fmt: skip
# How readily wider ones are believed, in the natural logarithm.  What is left of field stars and
# noise also asks for them, and then wing and background are hard to tell apart.
_WIDENING = 0.38
# Least width of the prior where a round point spread function is expected: real ones are not
# that round.
_ROUND_WIDTH = 0.4
_SPREADS = ((0.0, 0.05), (0.0, 0.15), (0.0, 0.4), (0.0, 1.0), (1.0, _ROUND_WIDTH), (1.0, 1.0))
_FACTORS = np.array([0.05, 0.15, 0.4, 1.0, 2.0])
_SWEEPS = 3


def tune_prior(
    equations: NormalEquations,
    mixture: NormalEquations | None,
    basis: WingBasis,
    limits: np.ndarray | None,
    margin: float,
    start: dict[str, float] | None = None,
) -> dict[str, float]:
    """Find the widths of the wing's prior that the data themselves ask for.

    Parameters
    ----------
    equations, mixture : NormalEquations
        Those of the single templates, and of their combination, if it is tried.
    basis : WingBasis
        Wing terms and their prior.
    limits : ndarray or None
        Variance of the priors of the combination's amplitudes.
    margin : float
        Gain in log evidence that a combination must have over the best template.
    start : dict, optional
        Widths from an earlier search, of which only the neighbours are looked at.

    Returns
    -------
    dict of str to float
        Widths relative to those that `WingPrior` states, for `WingBasis.prior`.
    """
    start = start or {}
    tuned = {
        name: start.get(name, width) for name, width in _EXPECTED.items() if name in basis.parts
    }
    widths = tuple(tuned)

    def evidence(trial: dict[str, float]) -> float:
        mean, covariance = basis.prior(trial)
        values = equations.log_evidences(mean, covariance)
        if mixture is not None:
            values = np.append(values, mixture.log_evidences(mean, covariance, limits) - margin)
        wider = [np.log(trial[name] / _EXPECTED[name]) for name in widths]
        penalty = 0.5 * (np.maximum(wider, 0) ** 2).sum() / _WIDENING**2
        top = values.max()
        return float(top + np.log(np.exp(values - top).sum()) - penalty)

    trials = [{**tuned, ROUND: centre, "spread": width} for centre, width in _SPREADS]
    scores = [evidence(trial) for trial in trials]
    best, tuned = max(scores), trials[int(np.argmax(scores))]
    for sweep in range(_SWEEPS):
        before = best
        for name in widths:
            width = tuned[name]
            for factor in _FACTORS:
                # Later sweeps look at the neighbours only.
                near = 0.2 < factor / width < 4
                if factor == width or not (near or (sweep == 0 and not start)):
                    continue
                if name == "spread" and tuned[ROUND] and factor < _ROUND_WIDTH:
                    continue
                score = evidence({**tuned, name: float(factor)})
                if score > best:
                    best, tuned = score, {**tuned, name: float(factor)}
        if best == before:
            break
    return tuned


# Errors of the columns' offsets that are tried, in units of the error of a column's mean.
_OFFSETS = np.array([0.0, 0.2, 0.4, 0.7, 1.0, 1.5, 2.2, 3.3, 5.0, 8.0, 12.0, 20.0])
# Steps that are tried in turn: what neighbours share first, as there is more of it; and from one
# to the other.
_MOVES = ((0, 1), (0, -1), (1, 0), (-1, 0), (1, -1), (-1, 1))


def tune_stripes(
    equations: NormalEquations,
    model: int,
    prior: tuple[np.ndarray, np.ndarray, np.ndarray | None],
    shapes: np.ndarray,
    start: tuple[int, int] = (0, 0),
) -> tuple[np.ndarray, tuple[int, int]]:
    """Find the covariance of the columns' offsets.

    Parameters
    ----------
    equations : NormalEquations
        Data and models.
    model : int
        The model to be taken.
    prior : tuple
        Mean and covariance of the wing terms, variance of the background amplitudes.
    shapes : ndarray
        Two covariances, of which a sum is looked for, `stripe_shapes`.
    start : tuple of int
        Sizes to begin with, from an earlier search.

    Returns
    -------
    covariance : ndarray
        Shape (n_columns, n_columns), (DN/s)^2.
    sizes : tuple of int
        Size of each part, as a step of those that are tried.
    """
    error = equations.column_error
    typical = float(np.median(error[np.isfinite(error)]))
    units = [shape * typical**2 / np.median(np.diag(shape)) for shape in shapes]

    def covariance(sizes: tuple[int, int]) -> np.ndarray:
        alone, shared = (_OFFSETS[k] ** 2 * u for k, u in zip(sizes, units, strict=True))
        return alone + shared

    scores: dict[tuple[int, int], float] = {}

    def score(sizes: tuple[int, int]) -> float:
        if not 0 <= min(sizes) <= max(sizes) < len(_OFFSETS):
            return -np.inf
        if sizes not in scores:
            trial = equations.with_stripes(covariance(sizes))
            scores[sizes] = float(trial.log_evidences(*prior)[model])
        return scores[sizes]

    best, before = start, None
    while best != before:
        before = best
        for up, along in _MOVES:
            while score((best[0] + up, best[1] + along)) > score(best):
                best = (best[0] + up, best[1] + along)
    return covariance(best), best
