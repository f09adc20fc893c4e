"""LogME written directly from the papers' formulas: dense matrices, no sufficient statistics."""

import numpy as np
from scipy import optimize


def dense_evidence(features, target, alpha, beta):
    """Return L(alpha, beta)/n by its definition, with A (D, D) formed and factored."""
    n, dim = features.shape
    a = alpha * np.eye(dim) + beta * features.T @ features
    m = beta * np.linalg.solve(a, features.T @ target)
    log_det = np.linalg.slogdet(a)[1]
    return (
        n / 2 * np.log(beta)
        + dim / 2 * np.log(alpha)
        - n / 2 * np.log(2 * np.pi)
        - beta / 2 * np.sum((features @ m - target) ** 2)
        - alpha / 2 * m @ m
        - log_det / 2
    ) / n


def fixed_point(features, target, tolerance=1e-14, iterations=100_000):
    """Run the published iteration on alpha and beta to convergence, without its added 1e-5."""
    u, s, _ = np.linalg.svd(features, full_matrices=False)
    n, s2 = len(features), s**2
    x2 = (u.T @ target) ** 2
    rest = max(np.sum(target**2) - np.sum(x2), 0.0)
    alpha = beta = 1.0
    for _ in range(iterations):
        t = alpha / beta
        gamma = np.sum(s2 / (t + s2))
        new_alpha = gamma / np.sum(s2 * x2 / (t + s2) ** 2)
        new_beta = (n - gamma) / (np.sum(x2 / (1 + s2 / t) ** 2) + rest)
        done = abs(new_alpha / new_beta / t - 1) < tolerance
        alpha, beta = new_alpha, new_beta
        if done:
            break
    return alpha, beta


def best_dense_evidence(features, target):
    """Return the maximum of the dense evidence over ln alpha and ln beta, from several starts."""

    def negative(x):
        return -dense_evidence(features, target, *np.exp(x))

    starts = [(a, b) for a in (-4.0, 2.0, 8.0) for b in (-1.0, 3.0)]
    options = {"xatol": 1e-9, "fatol": 1e-15, "maxiter": 4000}
    return -min(optimize.minimize(negative, s, method="Nelder-Mead", options=options).fun for s in starts)


def one_hot(labels):
    """Return the columns of the classes that occur."""
    return (labels[:, None] == np.unique(labels)).astype(float)
