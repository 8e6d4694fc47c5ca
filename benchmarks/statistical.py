"""What people forecast with who train nothing, by statsforecast: a worker in an environment of its own.

    python benchmarks/statistical.py < REQUEST > ANSWER     both JSON; see `answer`

Each method is fitted once, on the samples before the first origin. At every origin its state, not its parameters, is
brought up to date with all samples before it: the fair match to a network whose weights are frozen.
"""

import json
import sys
from importlib.metadata import version
from typing import Any

import numpy as np
from statsforecast.arima import arima_string
from statsforecast.models import AutoARIMA, AutoETS, AutoTheta, SeasonalNaive

METHODS = {"seasonal_naive": SeasonalNaive, "ets": AutoETS, "arima": AutoARIMA, "theta": AutoTheta}


def forecast(model: Any, values: np.ndarray, origins: list[int], horizon: int, level: int) -> dict[str, Any]:
    """The forecasts of samples n, n + 1, ... from every origin n, with their intervals: lists [origins, horizon].

    Of `values` [samples] those before the first origin are fitted to.
    """
    model.fit(values[: origins[0]])
    made = [model.forward(values[:origin], horizon, level=[level]) for origin in origins]
    parts = {"forecasts": "mean", "lower": f"lo-{level}", "upper": f"hi-{level}"}
    return {name: np.array([one[key] for one in made]).tolist() for name, key in parts.items()}


def chosen(name: str, model: Any) -> str:
    """Which model of its kind a fitted method has chosen."""
    if name == "arima":
        return str(arima_string(model.model_))
    if name == "ets":
        return f"ETS({','.join(model.model_['components'][:3])}){' damped' * (model.model_['components'][3] != 'N')}"
    return str(model.model_["modeltype"]) if name == "theta" else ""


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """The forecasts of every method for a request's `values`, `season`, `origins`, `horizon` and `level`, per cent."""
    values = np.array(request["values"])
    given = values, request["origins"], request["horizon"], request["level"]
    models = {name: method(season_length=request["season"]) for name, method in METHODS.items()}
    made = {name: forecast(model, *given) for name, model in models.items()}
    names = {name: chosen(name, model) for name, model in models.items()}
    return {"version": version("statsforecast"), "models": names, "methods": made}


if __name__ == "__main__":
    json.dump(answer(json.load(sys.stdin)), sys.stdout)
