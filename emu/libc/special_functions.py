"""Gamma and Bessel functions to any precision; the conventions are those of `real_functions`."""

from __future__ import annotations

import math
from decimal import ROUND_FLOOR, Decimal, localcontext
from decimal import getcontext as context
from fractions import Fraction
from functools import lru_cache

from emu.libc.real_functions import CHECK, cos, decimal_context, pi, reduced, sin

_CHECKED = 1024  #: steps of a recurrence between two checks of the time limit

# ---------------------------------------------------------------- gamma (5.5, 5.11)


@lru_cache(maxsize=4)
def _bernoulli(count: int) -> list[Fraction]:
    """B_2, B_4, ..., with the Akiyama-Tanigawa algorithm of tangent numbers."""
    tangents: list[int] = [0, 1] + [0] * (count - 1)
    for n in range(2, count + 1):
        tangents[n] = (n - 1) * tangents[n - 1]
    for n in range(2, count + 1):
        for k in range(n, count + 1):
            tangents[k] = (k - n) * tangents[k - 1] + (k - n + 2) * tangents[k]
    return [Fraction((-1) ** (n - 1) * 2 * n * tangents[n], 4**n * (4**n - 1)) for n in range(1, count + 1)]


def log_gamma(x: Decimal) -> Decimal:
    """ln |gamma(x)|."""
    if x < Decimal("0.5"):
        return (pi() / abs(sin_pi(x))).ln() - log_gamma(1 - x)
    if x.adjusted() > context().prec + 5:
        return x * (x.ln() - 1)
    least = context().prec // 2 + 5
    product, z = Decimal(1), x
    while z < least:
        product *= z
        z += 1
    total = (z - Decimal("0.5")) * z.ln() - z + (2 * pi()).ln() / 2
    square, factor = z * z, 1 / z
    for n, number in enumerate(_bernoulli(least + 20), 1):
        term = Decimal(number.numerator) / number.denominator / (2 * n * (2 * n - 1)) * factor
        total += term
        if abs(term) < abs(total).scaleb(-context().prec - 3):
            break
        factor /= square
    return total - product.ln()


def sin_pi(x: Decimal) -> Decimal:
    """sin(pi x)"""
    with localcontext() as wide:
        wide.prec += max(x.adjusted(), 0) + 5
        fraction = x - (x / 2).to_integral_value(ROUND_FLOOR) * 2
    return sin(pi() * fraction)


def gamma(x: Decimal) -> Decimal:
    """The magnitude of gamma(x)."""
    return log_gamma(x).exp()


# ---------------------------------------------------------------- Bessel functions (10.2, 10.8, 10.17)


def _large(x: Decimal) -> bool:
    """Whether the asymptotic series is precise enough, for orders 0 and 1."""
    return x > context().prec * 2


def _hankel(order: int, x: Decimal) -> tuple[Decimal, Decimal]:
    """(J, Y) of order 0 or 1."""
    p = q = Decimal(0)
    term, k, mu = Decimal(1), 0, 4 * order * order
    end = Decimal(10) ** (-context().prec - 3)
    while abs(term) > end:
        if k % 2:
            q += term if k % 4 == 1 else -term
        else:
            p += term if k % 4 == 0 else -term
        k += 1
        term *= (mu - (2 * k - 1) ** 2) / (Decimal(8 * k) * x)
    rest, quarter = reduced(x)
    phase = rest + (quarter - order) * (pi() / 2) - pi() / 4
    sine, cosine, scale = sin(phase), cos(phase), (2 / (pi() * x)).sqrt()
    return scale * (p * cosine - q * sine), scale * (p * sine + q * cosine)


def bessel_j(order: int, x: Decimal) -> Decimal:
    """J of an order >= 0, for x > 0."""
    if _large(x):
        if order < 2:
            return _hankel(order, x)[0]
        before, value = _hankel(0, x)[0], _hankel(1, x)[0]
        return _upward(order, x, before, value) if order < x else _downward(order, x, before, value)
    with localcontext() as wide:
        wide.prec += int(x) + 5
        half = x / 2
        square, term = -half * half, Decimal(1)
        term = (order * half.ln() - log_gamma(Decimal(order + 1))).exp()
        total, k = term, 0
        while k < half or abs(term) > abs(total).scaleb(-wide.prec):
            k += 1
            term *= square / (k * (k + order))
            total += term
            if not term:
                break
    return +total


def _upward(order: int, x: Decimal, before: Decimal, value: Decimal) -> Decimal:
    """From orders 0 and 1 (10.6.1), which is stable while the order is below x, and for Y always."""
    for n in range(1, order):
        before, value = value, 2 * n / x * value - before
        if not n % _CHECKED:
            CHECK.get()()
        if value.adjusted() > 6000:  # beyond the range of all formats
            break
    return value


def _downward(order: int, x: Decimal, zero: Decimal, one: Decimal) -> Decimal:
    """J for an order of at least x, with Miller's algorithm (3.6.v) from the values of orders 0 and 1."""
    above, value, wanted = Decimal(0), Decimal(1), Decimal(0)
    for n in range(order + 40 * math.isqrt(order) + 6 * context().prec, 0, -1):
        above, value = value, 2 * n / x * value - above
        if not n % _CHECKED:
            CHECK.get()()
        if n - 1 == order:
            wanted = value
    return wanted * zero / value if abs(zero) > abs(one) else wanted * one / above


def bessel_y(order: int, x: Decimal) -> Decimal:
    """Y of an order >= 0, for x > 0."""
    zero, one = (_hankel(n, x)[1] for n in (0, 1)) if _large(x) else (_y_series(0, x), _y_series(1, x))
    return zero if order == 0 else _upward(order, x, zero, one)


def _y_series(order: int, x: Decimal) -> Decimal:
    """10.8.1, for orders 0 and 1."""
    with localcontext() as wide:
        wide.prec += int(x) + 5
        half = x / 2
        square = -half * half
        term = Decimal(1) if order == 0 else half
        harmonic = -2 * _euler() if order == 0 else 1 - 2 * _euler()
        total, k = term * harmonic, 0
        end = Decimal(10) ** -(wide.prec + 3)
        while k < half or abs(term * harmonic) > end * abs(total):
            k += 1
            term *= square / (k * (k + order))
            harmonic += Decimal(1) / k + Decimal(1) / (k + order)
            total += term * harmonic
            if not term:
                break
        value = 2 * half.ln() * bessel_j(order, x) - total - (1 / half if order else 0)
        value /= pi()
    return +value


@lru_cache(maxsize=8)
def _euler_at(digits: int) -> Decimal:
    """Euler's constant by the algorithm of Brent and McMillan (1980), B1."""
    with localcontext(decimal_context(digits + 20)):
        n = int(digits * 0.6) + 10
        square, a, b = Decimal(n * n), -Decimal(n).ln(), Decimal(1)
        upper, lower, k = a, b, 0
        while k < 4 * n:
            k += 1
            b *= square / (k * k)
            a = (a * square / k + b) / k
            upper, lower = upper + a, lower + b
        return upper / lower


def _euler() -> Decimal:
    return +_euler_at(-(-context().prec // 50) * 50)
