"""Presets for windows of a series, whose next steps are to be forecast."""

from __future__ import annotations

from gridcell.errors import NetworkError
from gridcell.networks.presets_of_steps import Choice

# Chosen on the validation months of ETTh1 (hours, 24 ahead; mean squared error, standardised). From
# the last value 0.362, from mean and deviation 0.374; with the calendar 0.352; a linear map alone
# 0.419, beside the LSTM it adds nothing. The dropout changes no score by more than 0.001 there, but
# with it the score no longer grows again after a few epochs.
FORECAST_PRESETS = {
    "forecast": Choice(
        "reversible(flatten lstm(128, recurrent_dropout=0.2) last dropout(0.3), by=last)",
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
