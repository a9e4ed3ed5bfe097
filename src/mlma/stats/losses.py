"""Pointwise losses: what a forecast of one slot cost.

Takes observed and forecast values of any shape, gives losses of this shape. Next is the batch mean.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from inspect import signature
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from mlma.domain.errors import DataError, SettingsError, unknown_name
from mlma.domain.expressions import parse_call

Floats = NDArray[np.float64]
UserLoss = Callable[[Floats, Floats], Any]

SMALLEST_RATE = 1e-6
"""Forecasts below this count as this in deviances, which are infinite at a rate of 0."""


@dataclass(frozen=True, slots=True)
class Loss:
    """A pointwise loss; lower is better, 0 is a perfect forecast.

    name
        as it is written in settings, ``pinball(q=0.9)``.
    function
        ``(y, y_hat, scale)`` to losses; can be pickled.
    needs_scale
        losses are relative to the stream's scale, see ``scale_from``.
    forbids_negative
        a negative ``y`` has no loss (NaN).
    squared_scale
        the scale is a root mean square rather than a mean absolute difference.
    """

    name: str
    function: Callable[[Floats, Floats, Floats | float], Floats]
    needs_scale: bool = False
    forbids_negative: bool = False
    description: str = ""
    squared_scale: bool = False

    def __call__(self, y: Floats, y_hat: Floats, scale: Floats | float = 1.0) -> Floats:
        """Return losses, of the shape of ``y``; NaN where ``y`` or ``y_hat`` is NaN.

        ``scale`` broadcasts against ``y`` and is ignored by losses that need none. A loss that
        is too large for a float is infinite, without a warning.

        Raises
        ------
        DataError
            The user's own function returned another shape, or no numbers.
        """
        # Missing pairs and overflow are told by the values that come out, not by warnings.
        with np.errstate(all="ignore"):
            losses = self.function(y, y_hat, scale)
        return np.where(np.isnan(y) | np.isnan(y_hat), np.nan, losses)

    def scale_from(self, y: Floats, season: int) -> Floats:
        """Return the scale of each stream that this loss asks for, ``(n_streams,)``; 1 = none."""
        if not self.needs_scale:
            return np.ones(len(y))
        return seasonal_scale(y, season, squared=self.squared_scale)


def absolute() -> Loss:
    """Return the absolute loss ``|y - y_hat|``; its best forecast is the median."""
    return Loss("absolute", _absolute, description="absolute error, in units of y")


def squared() -> Loss:
    """Return the squared loss ``(y - y_hat)^2``; its best forecast is the mean."""
    return Loss("squared", _squared, description="squared error, in squared units of y")


def pinball(q: float = 0.5) -> Loss:
    """Return the pinball loss of quantile ``q``: ``max(q (y - y_hat), (q - 1) (y - y_hat))``.

    Source: Koenker and Bassett (1978). At ``q=0.5`` it is half the absolute loss.
    """
    _check("`q` of `pinball`", q, 0.0, 1.0, "pinball(q=0.9) judges forecasts of the 90 % quantile")
    about = f"pinball error of the {q:g} quantile, in units of y"
    return Loss(f"pinball(q={q!r})", partial(_pinball, q=q), description=about)


def mase() -> Loss:
    """Return the absolute scaled loss ``|y - y_hat| / scale``.

    Source: Hyndman and Koehler (2006); its mean over slots is the MASE. 1 is as
    good as the seasonal-naive forecast on the data that the scale was taken from.
    """
    about = "absolute error relative to the mean absolute seasonal difference"
    return Loss("mase", _absolute_scaled, needs_scale=True, description=about)


def rmsse() -> Loss:
    """Return the pointwise squared scaled loss ``(y - y_hat)^2 / scale^2``.

    Its mean over slots is the *square* of the RMSSE (Makridakis, Spiliotis and Assimakopoulos,
    2022): a root cannot be taken slot by slot.
    """
    return Loss(
        "rmsse",
        _squared_scaled,
        needs_scale=True,
        description="squared error relative to the mean squared seasonal difference",
        squared_scale=True,
    )


def poisson() -> Loss:
    """Return the Poisson deviance ``2 (y log(y / y_hat) - y + y_hat)``, for counts.

    A negative ``y`` gives NaN. Forecasts below 1e-6 count as 1e-6.
    Source: McCullagh and Nelder (1989).

    >>> float(poisson()(np.array([3.0]), np.array([2.0])).round(4)[0])
    0.4328
    """
    about = "Poisson deviance, for counts"
    return Loss("poisson", _poisson, forbids_negative=True, description=about)


def tweedie(power: float = 1.5) -> Loss:
    """Return the Tweedie deviance of ``power``, for amounts with many zeros.

    ``2 (y^(2-p) / ((1-p)(2-p)) - y y_hat^(1-p) / (1-p) + y_hat^(2-p) / (2-p))``. A negative ``y``
    gives NaN. Forecasts below 1e-6 count as 1e-6. Source: Jorgensen (1997).
    """
    hint = "power 1 is `poisson`, power 0 is `squared`"
    _check("`power` of `tweedie`", power, 1.0, 2.0, hint)
    return Loss(
        f"tweedie(power={power!r})",
        partial(_tweedie, power=power),
        forbids_negative=True,
        description=f"Tweedie deviance of power {power:g}, for amounts with many zeros",
    )


LOSSES: Mapping[str, Callable[..., Loss]] = {
    maker.__name__: maker for maker in (absolute, squared, pinball, mase, rmsse, poisson, tweedie)
}


def loss_from(spec: str | UserLoss | Loss) -> Loss:
    """Return the loss that a text or a user's function describes; a `Loss` is returned as it is.

    A user's function takes ``(y, y_hat)`` arrays and returns losses of the same shape, at least
    0, NaN where a value is missing.

    Raises
    ------
    SettingsError
        The name or a setting is unknown, or a setting is out of range.

    >>> loss = loss_from("pinball(q=0.9)")
    >>> float(loss(np.array([10.0]), np.array([8.0]))[0])
    1.8
    """
    if isinstance(spec, Loss):
        return spec
    if callable(spec):
        name = getattr(spec, "__name__", type(spec).__name__)
        return Loss(name, partial(_of_user, user=spec, name=name), description="the user's own")
    name, settings = parse_call(spec, "loss")
    if name not in LOSSES:
        raise unknown_name("loss", name, LOSSES)
    known = list(signature(LOSSES[name]).parameters)
    for setting in settings:
        if setting not in known:
            raise unknown_name(f"setting of `{name}`", setting, known or ["(none)"])
    return LOSSES[name](**settings)


def seasonal_scale(y: Floats, season: int, *, squared: bool = False) -> Floats:
    """Return the error of the seasonal-naive forecast of each stream, ``(n_streams,)``.

    The mean of ``|y_t - y_{t - season}|`` over the pairs that are both finite (Hyndman and
    Koehler, 2006), or with ``squared`` the root of the mean square.

    A stream without a pair, or whose differences are rounding (below 1e-12 of its largest value:
    a constant stream), has scale 1: its losses stay in units of y. It keeps its finite losses and
    is monitored like any other; no verdict changes, because every batch of a stream has the same
    scale. Only an average of scaled losses over a fleet is not scale-free for such a stream.

    Parameters
    ----------
    y
        ``(n_streams, n_slots)`` observed values; NaN = missing.
    season
        slots of a season, at least 1.

    Raises
    ------
    SettingsError
        ``season`` is below 1.

    >>> float(seasonal_scale(np.array([[1.0, 5.0, 2.0, 8.0]]), season=2)[0])
    2.0
    """
    if season < 1:
        raise SettingsError(
            f"`season` of `seasonal_scale` must be at least 1 slot. Got {season!r}. "
            "Hint: 24 for a daily season of hourly slots.",
        )
    finite = np.isfinite(y)
    largest = np.max(np.abs(np.where(finite, y, 0.0)), axis=1, initial=0.0)
    unit = np.where(largest > 0, largest, 1.0)  # squares of 1e200 would not fit a float
    paired = finite[:, season:] & finite[:, :-season]
    known = np.where(finite, y, 0.0) / unit[:, None]
    steps = np.where(paired, np.abs(known[:, season:] - known[:, :-season]), 0.0)
    count = np.maximum(paired.sum(axis=1), 1)
    error = np.sqrt((steps**2).sum(axis=1) / count) if squared else steps.sum(axis=1) / count
    return np.where(error > 1e-12, error * unit, 1.0)


def _check(name: str, got: object, low: float, high: float, hint: str) -> None:
    number = isinstance(got, int | float) and not isinstance(got, bool)
    if not (number and low < float(str(got)) < high):
        raise SettingsError(
            f"{name} must be between {low:g} and {high:g}, both left out. "
            f"Got {got!r}. Hint: {hint}.",
        )


def _absolute(y: Floats, y_hat: Floats, scale: Floats | float) -> Floats:
    return np.abs(y - y_hat)


def _squared(y: Floats, y_hat: Floats, scale: Floats | float) -> Floats:
    return (y - y_hat) ** 2


def _absolute_scaled(y: Floats, y_hat: Floats, scale: Floats | float) -> Floats:
    return np.abs(y - y_hat) / scale


def _squared_scaled(y: Floats, y_hat: Floats, scale: Floats | float) -> Floats:
    return ((y - y_hat) / scale) ** 2


def _pinball(y: Floats, y_hat: Floats, scale: Floats | float, *, q: float) -> Floats:
    return np.maximum(q * (y - y_hat), (q - 1) * (y - y_hat))


def _poisson(y: Floats, y_hat: Floats, scale: Floats | float) -> Floats:
    rate = np.maximum(y_hat, SMALLEST_RATE)
    return _deviance(y, 2 * (special.xlogy(y, y / rate) - y + rate))


def _tweedie(y: Floats, y_hat: Floats, scale: Floats | float, *, power: float) -> Floats:
    rate = np.maximum(y_hat, SMALLEST_RATE)
    own = y ** (2 - power) / ((1 - power) * (2 - power))
    return _deviance(
        y, 2 * (own - y * rate ** (1 - power) / (1 - power) + rate ** (2 - power) / (2 - power))
    )


def _deviance(y: Floats, raw: Floats) -> Floats:
    # A perfect forecast is the difference of equal terms, and may come out at -1e-16.
    return np.where(y >= 0, np.maximum(raw, 0.0), np.nan)


def _of_user(
    y: Floats, y_hat: Floats, scale: Floats | float, *, user: UserLoss, name: str
) -> Floats:
    returned = user(y, y_hat)
    try:
        losses = np.asarray(returned, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"The loss `{name}` must return an array of numbers. "
            f"Got {type(returned).__name__}. Hint: one loss for each pair.",
        ) from error
    if losses.shape != np.shape(y):
        raise DataError(
            f"The loss `{name}` must return one loss for each pair, shape {np.shape(y)}. "
            f"Got shape {losses.shape}. Hint: do not average inside the loss.",
        )
    return losses
