"""The plain Keras LSTM as keras.io's tutorial writes it: windows of the past in, the next sample out.

'Timeseries forecasting for weather prediction' (Attri, Sharma, Takahashi and Chollet, 2020),
https://keras.io/examples/timeseries/timeseries_weather_forecasting/: samples normalised by those that are trained on,
LSTM(32), Dense(1), Adam at 0.001, mean squared error, stopped once the validation loss has not been lower for 5 epochs,
the best epoch's weights kept. The tutorial has 300,000 samples, batches of 256 and 10 epochs; with some hundred samples
that would be a dozen steps, so batches here are Keras's own 32, and epochs as many as its stopping rule lets it have.
"""

import numpy as np

from public_series import Series, split

EPOCHS, PATIENCE = 500, 5


def past_of(series: Series) -> int:
    """How many samples a window has: two seasons, and 10 at least."""
    return max(10, 2 * series.season)


def forecast(series: Series, seed: int) -> np.ndarray:
    """The forecasts [origins, horizon] from every origin that was not trained on, each fed back for the next."""
    import keras

    values, parted, past = series.values(), split(series), past_of(series)
    mean, stddev = values[: parted.trained].mean(), values[: parted.trained].std()
    normal = ((values - mean) / stddev).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(normal, past)[..., None]  # number n is before sample n + past
    first, last = parted.trained - past, parted.known - past
    validation = windows[first:last], normal[parted.trained : parted.known]
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((past, 1)), keras.layers.LSTM(32), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.001), loss="mse")
    stop = keras.callbacks.EarlyStopping(patience=PATIENCE, restore_best_weights=True)
    given = windows[:first], normal[past : parted.trained]
    model.fit(*given, epochs=EPOCHS, validation_data=validation, callbacks=[stop], verbose=0)
    window, made = windows[first : parted.origins[-1] - past + 1], []
    for _ in range(series.horizon):
        made.append(model.predict_on_batch(window)[:, 0])
        window = np.concatenate([window[:, 1:], made[-1][:, None, None]], axis=1)
    return np.stack(made, axis=1).astype(np.float64) * stddev + mean
