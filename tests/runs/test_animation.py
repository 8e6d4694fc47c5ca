import numpy as np
import pytest
from PIL import Image

from lstm_lab.runs import animation
from lstm_lab.runs.observers import Frames
from lstm_lab.runs.panels import Labels


@pytest.mark.parametrize(("targets", "height"), [(1, 481), (50, 761)])
def test_animation_has_a_picture_a_step_and_moves(targets, height, tmp_path):
    x = np.linspace(0, 12, 300)
    y = np.tile(np.cos(x)[:, None], targets)
    if targets > 1:  # a target that is not known at first, and one of which a value stands alone
        y[:, 1] = np.nan
    frames = Frames(10, 3)
    frames.x, frames.targets, frames.steps = x, [y, y.copy(), y], [1, 5, 10]
    frames.targets[1][::2, -1] = np.nan
    frames.predictions = [np.zeros_like(y), 0.5 * y, y]
    labels = Labels(y=tuple(f"sensor {i}" for i in range(targets)) if targets > 1 else ("",))
    animation.fit_animation(tmp_path / "fit.gif", frames, np.geomspace(10, 0.1, 10), labels)
    pictures = []
    with Image.open(tmp_path / "fit.gif") as gif:
        assert gif.n_frames == 3
        assert gif.height == height
        for frame in range(3):
            gif.seek(frame)
            pictures.append(np.asarray(gif.convert("RGB")))
    assert (pictures[0] != pictures[1]).any()
    assert (pictures[1] != pictures[2]).any()
    assert (pictures[0][0, 0] == 255).all()
