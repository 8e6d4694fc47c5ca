from lstm_lab.runs import keeping
from lstm_lab.runs.setup import Part


def test_what_is_logged_of_a_trial_is_its_own_whatever_is_in_its_folder(tmp_path):
    own = tmp_path / "sweep/0"
    (own / "figures").mkdir(parents=True)
    (own / "figures/fitted_curve.png").write_text("another trial's")
    (own / "cost.npy").write_text("another trial's")
    part = Part(name="trial 0", tags={}, folder=own)
    with keeping.output_folder(part) as folder:
        assert not list(folder.iterdir())
        (folder / "cost.npy").write_text("its own")
    assert (own / "cost.npy").read_text() == "its own"
