"""Presets for windows of a series, whose next steps are to be forecast."""

from __future__ import annotations

from gridcell.errors import NetworkError
from gridcell.networks.presets_of_steps import Choice

FORECAST_PRESETS = {
    "forecast": Choice(
        "reversible(flatten lstm(128) last, by=last)",
        "the forecast preset: an LSTM over segments of the window, each seen from its last value",
    ),
    "linear": Choice(
        "reversible(whole, by=last)",
        "the linear preset: a weight from each step of the window to each step ahead",
    ),
}


def of_forecasts(name: str) -> Choice:
    """Return the notation of a preset for windows to forecast from; auto takes `forecast`."""
    if name == "auto":
        choice = FORECAST_PRESETS["forecast"]
        return Choice(choice.notation, f"auto took {choice.reason}")
    if name not in FORECAST_PRESETS:
        raise NetworkError(
            f"the preset {name} does not forecast.",
            fix=f"name one of {', '.join(FORECAST_PRESETS)}.",
        )
    return FORECAST_PRESETS[name]
