"""The plain Keras LSTM as keras.io's tutorial writes it: windows of the past in, the next sample out.

'Timeseries forecasting for weather prediction' (Attri, Sharma, Takahashi and Chollet, 2020),
https://keras.io/examples/timeseries/timeseries_weather_forecasting/: samples normalised by those that are trained on,
LSTM(32), Dense(1), Adam at 0.001, mean squared error, stopped once the validation loss has not been lower for 5 epochs,
the best epoch's weights kept. The tutorial has 300,000 samples, batches of 256 and 10 epochs; with some hundred samples
that would be a dozen steps, so batches here are Keras's own 32, and epochs as many as its stopping rule lets it have.
"""

import numpy as np

from public_series import Series, Split

EPOCHS, PATIENCE = 500, 5


def past_of(series: Series) -> int:
    """How many samples a window has: two seasons, and 10 at least."""
    return max(10, 2 * series.season)


def forecast(series: Series, split: Split, origins: np.ndarray, seed: int) -> np.ndarray:
    """The forecasts [origins, horizon] of samples n, n + 1, ... from every origin n, each fed back for the next."""
    import keras

    values, past = series.values(), past_of(series)
    mean, stddev = values[: split.trained].mean(), values[: split.trained].std()
    normal = ((values - mean) / stddev).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(normal, past)[..., None]
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((past, 1)), keras.layers.LSTM(32), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.001), loss="mse")
    trained, known = split.trained - past, split.known - past
    stop = keras.callbacks.EarlyStopping(patience=PATIENCE, restore_best_weights=True)
    validation = windows[trained:known], normal[split.trained : split.known]
    given = windows[:trained], normal[past : split.trained]
    model.fit(*given, epochs=EPOCHS, validation_data=validation, callbacks=[stop], verbose=0)
    window, made = windows[origins - past], []
    for _ in range(series.horizon):
        made.append(model.predict_on_batch(window)[:, 0])
        window = np.concatenate([window[:, 1:], made[-1][:, None, None]], axis=1)
    return np.stack(made, axis=1).astype(np.float64) * stddev + mean
