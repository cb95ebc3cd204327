"""The three-stage curve fitted with scipy.optimize.least_squares, to compare the time of one fit.

Reads JSON: {"repeat": n, "levels": [[[batch_size, ln_steps, se, censored], ...], ...]}.
Model, parameters, box, Huber threshold, starts and tolerance are those of
src/curve/three_stage.rs; the residuals are vectorised with numpy and the Jacobian is by finite
differences (jac="2-point") or, with an argument "3-point", better ones. Prints JSON:
{"seconds_per_fit": ..., "levels": [{"cost": ..., "b_opt": ...}, ...]}.
"""
import json
import sys
import time

import numpy as np
from scipy.optimize import least_squares

HUBER = 1.5
SHAPES = [
    (-1.0, 1.0, 0.0, 0.0),
    (0.8, 0.0, 1.0, -1.0),
    (0.0, 2.0, -1.0, 1.0),
    (1.5, 1.5, 0.5, 1.5),
    (0.5, 1.0, 2.0, -2.0),
]


def curve(p):
    s_opt, e_min = np.exp(p[0]), np.exp(p[1])
    s_1 = s_opt / (1 + np.exp(-p[2]))
    s_min = s_1 / (1 + np.exp(-p[3]))
    s_2 = s_opt * (1 + np.exp(p[4]))
    k = 1 / (1 + np.exp(-p[5]))
    return s_min, s_1, s_opt, s_2, e_min, k


def ln_steps(p, b):
    s_min, s_1, s_opt, s_2, e_min, k = curve(p)
    c = k * e_min / (s_2**2 - s_opt**2)
    b_1 = 2 * c * (s_opt - s_1) * (s_1 - s_min) ** 2
    b_0 = c * (s_1 - s_opt) ** 2 + e_min - b_1 / (s_1 - s_min)
    b_min = 2 * c * (s_2 - s_opt)
    at_1 = (c * (s_1 - s_opt) ** 2 + e_min) / s_1
    at_2 = (c * (s_2 - s_opt) ** 2 + e_min) / s_2
    with np.errstate(all="ignore"):
        linear = (1 - k) * e_min / (b - b_min)
        h = 2 * c * s_opt + b
        rest = c * s_opt**2 + e_min
        quadratic = 2 * rest / (h + np.sqrt(np.maximum(h * h - 4 * c * rest, 0)))
        g = b_0 - b * s_min
        inverse = s_min + (g + np.sqrt(g * g + 4 * b * b_1)) / (2 * b)
        s = np.where(b < at_2, linear, np.where(b <= at_1, quadratic, inverse))
        s = np.where(b <= b_min, np.nan, s)
        return np.log(s)


def fit(points, jacobian):
    b, ln_s, se, censored = (np.array(x) for x in zip(*points))
    censored = censored.astype(bool)
    reached = np.flatnonzero(~censored)
    best = reached[np.argmin(ln_s[reached] + np.log(b[reached]))]
    s0, e0 = ln_s[best], ln_s[best] + np.log(b[best])

    def residuals(p):
        r = (ln_steps(p, b) - ln_s) / se
        r = np.where(censored & ~(r < 0), 0.0, r)
        # Below B_min a step has no residual; a large finite one keeps the solver going.
        return np.where(np.isnan(r), 1e3, r)

    low = [s0 - 3, e0 - 1.5, -9, -9, -7, -9]
    high = [s0 + 3, e0 + 0.5, 9, 9, 5, 9]
    found = None
    for s_1, s_min, s_2, k in SHAPES:
        for shift in (-0.3, 0.3):
            start = [s0 + shift, e0, s_1, s_min, s_2, k]
            one = least_squares(
                residuals, start, jac=jacobian, bounds=(low, high), loss="huber",
                f_scale=HUBER, ftol=1e-9, max_nfev=120,
            )
            if found is None or one.cost < found.cost:
                found = one
    return found


def main():
    jacobian = sys.argv[1] if len(sys.argv) > 1 else "2-point"
    told = json.load(sys.stdin)
    begin = time.perf_counter()
    for _ in range(told["repeat"]):
        found = [fit(points, jacobian) for points in told["levels"]]
    seconds = time.perf_counter() - begin
    fits = told["repeat"] * len(told["levels"])
    # scipy's Huber cost is 0.5 * sum of (f_scale^2 rho((r/f_scale)^2)): the same as ours.
    levels = [{"cost": f.cost, "b_opt": float(np.exp(f.x[1] - f.x[0]))} for f in found]
    print(json.dumps({"seconds_per_fit": seconds / fits, "levels": levels}))


main()
