"""A store of which somebody else has written every file: each is data, refused in one line or read as what it is."""

import hashlib
import io
import json
import os
import zipfile
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from mlflow import MlflowClient

from lstm_lab import config
from lstm_lab.records import checkpoint, lookup, provenance, reading, store, tagging, tracking
from lstm_lab.records.store import StoreError
from lstm_lab.runs import forecasting, resume, sheets
from lstm_lab.science.model import CELLS, build_model, with_units
from stores import make_run
from test_config import composed

UNITS = np.array([[[50.0], [20.0]], [[3.0], [0.5]]])
STEPS, SIZE = 200, 3


def settings_of(folder, **changes):
    """The config of a run on a file in the folder."""
    words = ("data=csv", f"data.path={folder}/my.csv", "data.input=a", "data.target=a", f"model.cell_size={SIZE}")
    return config.check(composed(*words, f"training.steps={STEPS}", *(f"{k}={v}" for k, v in changes.items())))


def npy(array, **header):
    """An .npy file, its header changed."""
    buffer = io.BytesIO()
    if not header:
        np.save(buffer, array)
        return buffer.getvalue()
    described = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape} | header
    np.lib.format.write_array_header_1_0(buffer, described)
    return buffer.getvalue() + array.tobytes()


def archive(members, method=zipfile.ZIP_STORED):
    """A zip archive of these files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as opened:
        for name, content in members.items():
            opened.writestr(name, content)
    return buffer.getvalue()


def npz(arrays, **options):
    """An .npz file of these arrays, as np.savez writes it."""
    named = {f"arr_{i}.npy": a if isinstance(a, bytes) else npy(a) for i, a in enumerate(arrays)}
    return archive(named, **options)


def units_file(**changes):
    """The units of two series, as a run keeps them, but for these arrays; None leaves one out."""
    arrays = {"series": np.array(["", "south"]), "inputs": np.tile(UNITS[0], (2, 1, 1))}
    arrays |= {"targets": np.tile(UNITS[1], (2, 1, 1))} | changes
    return archive({f"{name}.npy": npy(array) for name, array in arrays.items() if array is not None})


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A store with one sound run on a file: its client, id, the folder of its files, its config, weights and model."""
    folder = tmp_path_factory.mktemp("sound")
    (folder / "my.csv").write_text("a\n" + "".join(f"{50 + 20 * np.sin(i / 4)}\n" for i in range(60)))
    settings = settings_of(folder)
    model = build_model(**settings.model.model_dump(), seed=1)
    kept = with_units(model, *UNITS)
    kept.save(folder / "model.keras")
    saved = checkpoint.Checkpoint(7, resume.digest(settings), np.ones(7, np.float32), model.get_weights(), [], [])
    client = MlflowClient(f"sqlite:///{folder}/runs.db")
    experiment = client.create_experiment("sound", (folder / "artifacts").as_uri())
    provenance.current(seed=1).write(folder / "made")
    files = {
        "config.yaml": tracking.config_text(settings).encode(),
        "cost.npy": np.geomspace(30, 0.01, STEPS).astype(np.float32),
        "final_weights.npz": npz(model.get_weights()),
        "model/data/model.keras": (folder / "model.keras").read_bytes(),
        "units.npz": units_file(),
        "checkpoint/checkpoint.npz": checkpoint.to_bytes(saved),
        **{f"provenance/{file.name}": file.read_bytes() for file in (folder / "made").iterdir()},
    }
    run_id = make_run(client, experiment, folder / "runs", "sound", files)
    place = folder / "artifacts" / run_id / "artifacts"
    return SimpleNamespace(
        client=client, id=run_id, place=place, settings=settings, kept=kept, saved=saved, folder=folder
    )


@pytest.fixture
def run(sound, monkeypatch):
    """That run, its store the one that commands open; what a test made of its files is undone."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", sound.client.tracking_uri)
    monkeypatch.setattr(store, "open_store", lambda *_: sound.client)
    before = {path: path.read_bytes() for path in sound.place.rglob("*") if path.is_file()}
    yield sound.client.get_run(sound.id)
    for path in sound.place.rglob("*"):
        if path not in before and not path.is_dir():
            path.unlink()
    for path, content in before.items():
        path.unlink(missing_ok=True)
        path.write_bytes(content)


def read(sound, run, path):
    """What the commands read of that file."""
    return {
        "config.yaml": lambda: lookup.config_of(sound.client, run),
        "cost.npy": lambda: lookup.costs_of(sound.client, run, STEPS),
        "final_weights.npz": lambda: lookup.weights_of(sound.client, run, sound.settings),
        "units.npz": lambda: lookup.units_of(sound.client, run, sound.settings),
        "model/data/model.keras": lambda: lookup.units_in_model(sound.client, run, sound.settings),
        "half_widths.npy": lambda: lookup.half_widths_of(sound.client, run, ahead(sound)),
    }[path]()


def refused(sound, run, path):
    """What is said of the file: one short line that names run and file."""
    with pytest.raises(StoreError) as raised:
        read(sound, run, path)
    message = str(raised.value)
    assert sound.id in message
    assert path.rpartition("/")[2] in message
    assert message.isprintable()
    assert len(message) < 1000
    return message


def test_a_sound_run_is_read_as_it_was_written(sound, run):
    assert read(sound, run, "config.yaml") == sound.settings
    assert len(read(sound, run, "cost.npy")) == STEPS
    for one, other in zip(read(sound, run, "final_weights.npz"), sound.saved.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(read(sound, run, "model/data/model.keras"), UNITS)
    assert list(read(sound, run, "units.npz")) == ["", "south"]
    for units in read(sound, run, "units.npz").values():
        np.testing.assert_array_equal(units, UNITS)
    assert lookup.provenance_of(sound.client, sound.id).packages == provenance.packages()
    found = resume.stored(sound.client, run, sound.settings)
    assert found.costs.tobytes() == sound.saved.costs.tobytes()


@pytest.mark.parametrize("cell", CELLS)
def test_the_shapes_of_weights_are_told_without_keras(cell):
    settings = config.check(composed(f"model={cell}", "model.cell_size=5"))
    weights = build_model(**settings.model.model_dump(), seed=0).get_weights()
    assert lookup.weight_shapes(settings) == [array.shape for array in weights]


LAUGHS = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
CONFIGS = {
    "laughs": LAUGHS,
    "itself": "&a [*a]",
    "deep": "[" * 100_000,
    "deep groups": "".join(" " * i + "a:\n" for i in range(200)),
    "large": "a: " + "x" * 2**20,
    "many settings": "".join(f"k{i}: 1\n" for i in range(90_000)),
    "python": "!!python/object/apply:os.system ['touch pwned']",
    "long integer": "training: {steps: " + "9" * 6000 + "}",
    "long hexadecimal": "training: {steps: 0x" + "f" * 6000 + "}",
    "base 60": "training: {steps: 1" + ":59" * 100_000 + "}",
    "long binary": "a: !!binary " + "A" * 4000,
    "no day": "a: 2001-99-99",
    "no text": b"\x00\xff\xfe",
    "escapes": "\x1b]0;pwned\x07: 1",
    "nothing": "",
    "a list": "[1, 2]",
    "a number": "7",
    "a key that is a list": "? [a]\n: 1",
    "names with escapes": yaml.safe_dump({"\x1b[31m\u202e": {"\n": "\x07"}}),
}


@pytest.mark.parametrize("case", CONFIGS)
def test_a_config_of_another_form_is_refused(case, sound, run):
    text = CONFIGS[case]
    (sound.place / "config.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    refused(sound, run, "config.yaml")
    with pytest.raises(StoreError):
        resume.prepare(sound.id, {}, take_over=False)
    assert not os.path.exists("pwned")  # what one of them would make


PLACES = ("config.yaml", "cost.npy", "final_weights.npz", "units.npz", "model/data/model.keras")


@pytest.mark.parametrize("path", PLACES)
def test_devices_pipes_folders_and_links_are_no_files(path, sound, run, tmp_path):
    file, elsewhere = sound.place / path, tmp_path / "elsewhere"
    elsewhere.write_bytes(file.read_bytes())
    for make in (
        lambda: file.symlink_to("/dev/zero"),
        lambda: file.symlink_to(elsewhere),
        lambda: os.mkfifo(file),
        lambda: file.mkdir(),
    ):
        file.unlink()
        make()
        assert "is " in refused(sound, run, path)
    file.rmdir()
    with open(file, "wb") as sparse:
        sparse.truncate(2**40)
    assert "1,099,511,627,776 bytes" in refused(sound, run, path)


COST = np.geomspace(30, 0.01, STEPS).astype(np.float32)
COSTS = {
    "objects": npy(np.array(["x", 1], object)),
    "float64": npy(COST.astype(np.float64)),
    "big-endian": npy(COST.astype(">f4")),
    "text": npy(np.array(["x"])),
    "two dimensions": npy(COST.reshape(2, -1)),
    "none": npy(COST[:0]),
    "a number": npy(np.float32(1)),
    "more than there are steps": npy(np.tile(COST, 2)),
    "more than there are": npy(COST, shape=(10**15,)),
    "product overflows": npy(COST, shape=(2**32, 2**32)),
    "negative": npy(COST, shape=(-1,)),
    "many dimensions": npy(COST, shape=(1,) * 40 + (STEPS,)),
    "fields": npy(np.zeros(2, [("a", "f4"), ("b", "O")])),
    "cut": npy(COST)[:-1],
    "no header": b"\x93NUMPY\x01\x00",
    "a header of brackets": b"\x93NUMPY\x01\x00\xff\x7f" + b"(" * 0x7FFF,
    "a header that calls": b"\x93NUMPY\x01\x00\x20\x00" + b"__import__('os').system('ls')   \n",
    "a pickle": b"\x80\x04\x95",
    "nothing": b"",
}


@pytest.mark.parametrize("case", COSTS)
def test_costs_of_another_form_are_refused(case, sound, run):
    (sound.place / "cost.npy").write_bytes(COSTS[case])
    refused(sound, run, "cost.npy")


def weights_in_other_forms(weights):
    """Faulty archives, by what is wrong with them."""
    first, *others = weights
    lying = bytearray(npz(weights))
    at = lying.rindex(b"PK\x01\x02")
    lying[at + 20 : at + 28] = (2**31).to_bytes(4, "little") * 2  # what the last member's sizes are said to be
    return {
        "one too few": npz(others),
        "one too many": npz([*weights, first]),
        "float64": npz([first.astype(np.float64), *others]),
        "other shape": npz([first.T, *others]),
        "objects": npz([npy(np.array([1, "x"], object)), *others]),
        "compressed": npz([np.zeros(10**7, np.float32), *others], method=zipfile.ZIP_DEFLATED),
        "declares more": npz([npy(first, shape=(10**12, 1)), *others]),
        "lies": bytes(lying),
        "cut": npz(weights)[:-30],
        "no archive": b"PK",
        "nothing": b"",
    }


def test_weights_of_another_form_are_refused(sound, run):
    for content in weights_in_other_forms(sound.saved.weights).values():
        (sound.place / "final_weights.npz").write_bytes(content)
        refused(sound, run, "final_weights.npz")


UNIT_FILES = {
    "no names": units_file(series=None),
    "names that are numbers": units_file(series=np.arange(2)),
    "names that are objects": units_file(series=np.array(["", 1], object)),
    "one name": units_file(series=np.array("south")),
    "no inputs": units_file(inputs=None),
    "no targets": units_file(targets=None),
    "of other series": units_file(targets=np.tile(UNITS[1], (3, 1, 1))),
    "of more columns": units_file(inputs=np.tile(UNITS[0], (2, 1, 2))),
    "float32": units_file(inputs=np.tile(UNITS[0], (2, 1, 1)).astype(np.float32)),
    "a deviation of zero": units_file(targets=np.tile([[3.0], [0.0]], (2, 1, 1))),
    "no number": units_file(inputs=np.tile([[np.nan], [1.0]], (2, 1, 1))),
    "of more series than there is room": archive({"series.npy": npy(np.array(["x"]), shape=(10**15,))}),
    "no archive": b"PK",
    "nothing": b"",
}


@pytest.mark.parametrize("case", UNIT_FILES)
def test_units_of_another_form_are_refused(case, sound, run):
    (sound.place / "units.npz").write_bytes(UNIT_FILES[case])
    refused(sound, run, "units.npz")


def ahead(sound):
    """The settings of a run that is backtested three samples ahead."""
    return settings_of(sound.folder, **{"data.horizon": 1, "evaluation.horizon": 3})


def test_half_widths_of_another_form_are_refused(sound, run):
    assert read(sound, run, "half_widths.npy") is None
    widths = np.array([[1], [2], [np.inf]], np.float32)
    (sound.place / "half_widths.npy").write_bytes(npy(widths))
    np.testing.assert_array_equal(read(sound, run, "half_widths.npy"), widths)
    assert lookup.half_widths_of(sound.client, run, sound.settings) is None  # of a run that is not backtested
    for wrong in (widths[:2], widths.astype(np.float64), widths.T, -widths, np.nan * widths, np.zeros(10**6)):
        (sound.place / "half_widths.npy").write_bytes(npy(wrong))
        refused(sound, run, "half_widths.npy")


def described(**layers):
    """A kept model whose description has these layers, each with its settings."""
    listed = [{"class_name": "Rescaling", "config": {"name": name, **values}} for name, values in layers.items()]
    return archive({"config.json": json.dumps({"config": {"layers": listed}})})


SCALES = {"subtract_mean": {"offset": -50.0}, "normalize": {"scale": 0.05}, "to_units": {"scale": 0.5, "offset": 3.0}}
MODELS = {
    "no units": described(),
    "a scale of zero": described(**SCALES | {"normalize": {"scale": 0.0}}),
    "a negative scale": described(**SCALES | {"normalize": {"scale": -1.0}}),
    "no number": described(**SCALES | {"normalize": {"scale": float("nan")}}),
    "infinite": described(**SCALES | {"subtract_mean": {"offset": float("inf")}}),
    "a text": described(**SCALES | {"normalize": {"scale": "x"}}),
    "two numbers": described(**SCALES | {"normalize": {"scale": [1.0, 2.0]}}),
    "a long number": archive({"config.json": '{"config": ' + "9" * 6000 + "}"}),
    "deep": archive({"config.json": "[" * 100_000}),
    "as deep as is read": archive({"config.json": "[" * 500 + "]" * 500}),
    "a list": archive({"config.json": "[]"}),
    "unpacks to much": archive({"config.json": b" " * 10**7}, zipfile.ZIP_DEFLATED),
    "packed otherwise": archive({"config.json": b"{}"}, zipfile.ZIP_BZIP2),
    "nothing in it": archive({}),
    "no archive": b"PK",
}


@pytest.mark.parametrize("case", MODELS)
def test_a_kept_model_without_sound_units_is_refused(case, sound, run):
    (sound.place / "model/data/model.keras").write_bytes(MODELS[case])
    refused(sound, run, "model/data/model.keras")


def test_units_are_those_that_keras_describes(sound, run):
    (sound.place / "model/data/model.keras").write_bytes(described(**SCALES))
    np.testing.assert_allclose(read(sound, run, "model/data/model.keras"), UNITS)
    once = [
        {"class_name": "Normalization", "config": {"name": "n", "mean": [50.0], "variance": 400.0, "invert": invert}}
        for invert in (False, True)
    ]
    content = archive({"config.json": json.dumps({"config": {"layers": once}})})
    (sound.place / "model/data/model.keras").write_bytes(content)
    np.testing.assert_allclose(read(sound, run, "model/data/model.keras"), UNITS[[0, 0]])


def test_files_and_units_come_from_a_server_too(sound, server, tmp_path):
    client = MlflowClient(server)
    experiment = client.create_experiment("from a server")
    files = {path: (sound.place / path).read_bytes() for path in ("config.yaml", "final_weights.npz")}
    run = client.get_run(make_run(client, experiment, tmp_path, "x", files | {"cost.npy": b"x" * (4 * STEPS + 2**17)}))
    assert lookup.config_of(client, run) == sound.settings
    assert len(lookup.weights_of(client, run, sound.settings)) == len(sound.saved.weights)
    assert lookup.units_of(client, run, sound.settings) is None
    with pytest.raises(StoreError, match=r"its cost\.npy has 131,872 bytes; "):
        lookup.costs_of(client, run, STEPS)
    (tmp_path / "kept/data").mkdir(parents=True)
    (tmp_path / "kept/data/model.keras").write_bytes((sound.place / "model/data/model.keras").read_bytes())
    logged = client.create_logged_model(experiment, name="model", source_run_id=run.info.run_id)
    client.log_model_artifacts(logged.model_id, str(tmp_path / "kept"))
    np.testing.assert_allclose(lookup.units_of(client, run, sound.settings)[""], UNITS)


def test_a_forecast_obeys_nothing_that_the_kept_model_says(sound, run, tmp_path, monkeypatch):
    """Loaders, pickles, a SavedModel, layers of code: the numbers are those of config, weights and units."""
    model = sound.place / "model"
    hostile = {
        "flavors": {"keras": {"data": "data", "keras_module": "pwned"}, "python_function": {"loader_module": "pwned"}}
    }
    (model / "MLmodel").write_text(yaml.safe_dump(hostile))
    (model / "data/saved_model.pb").write_bytes(b"x")
    (model / "data/keras_module.txt").write_text("pwned")
    with zipfile.ZipFile(model / "data/model.keras") as kept:
        members = {name: kept.read(name) for name in kept.namelist()}
    layers = json.loads(members["config.json"])
    code = {"class_name": "function", "module": "os", "config": "system", "registered_name": "system"}
    layers["config"]["layers"].append(
        {"class_name": "Lambda", "module": "os", "config": {"name": "x", "function": code}}
    )
    members["config.json"] = json.dumps(layers).encode()
    (model / "data/model.keras").write_bytes(archive(members | {"model.weights.h5": b"\x89HDF no weights"}))
    [table, _] = forecasting.forecast(sound.id, None, None, None, str(tmp_path / "out.csv"))
    values = np.loadtxt(table, delimiter=",", skiprows=1)
    inputs = [values[:, 1].reshape(1, -1, 1), *(np.zeros((1, SIZE), np.float32) for _ in sound.kept.inputs[1:])]
    # without carry a window starts over; the default config carries
    np.testing.assert_allclose(values[:, 2], np.asarray(sound.kept(inputs)[0]).ravel(), rtol=1e-5)


def test_weights_of_a_run_that_diverged_make_no_forecast(sound, run, tmp_path):
    weights = [np.full_like(array, np.nan) for array in sound.saved.weights]
    (sound.place / "final_weights.npz").write_bytes(npz(weights))
    with pytest.raises(StoreError, match="it diverged"):
        forecasting.forecast(sound.id, None, None, None, str(tmp_path / "out.csv"))
    assert not list(tmp_path.iterdir())


FACTS = {
    "no table": [],
    "a text": "x",
    "a list of processors": {"processor": []},
    "instruction sets that are lists": {"processor": {"instruction_sets": [["avx"]]}},
    "an environment that is text": {"environment": "x"},
    "files without a name": {"left_out_of_diff": [{}]},
    "files that are text": {"left_out_of_diff": ["x"]},
    "a commit that is a number": {"commit": 7},
    "deep": {"os": json.loads("[" * 100 + "]" * 100)},
}


@pytest.mark.parametrize("case", FACTS)
def test_facts_of_another_form_are_not_known(case, sound, run):
    (sound.place / "provenance/provenance.json").write_text(json.dumps(FACTS[case]))
    assert lookup.provenance_of(sound.client, sound.id) is None


def test_packages_without_versions_and_texts_that_are_none_are_not_known(sound, run):
    for name, content in {"packages.txt": b"numpy\n", "provenance.json": b"[" * 100_000}.items():
        (sound.place / "provenance" / name).write_bytes(content)
        assert lookup.provenance_of(sound.client, sound.id) is None
        (sound.place / "provenance" / name).unlink()
        (sound.place / "provenance" / name).symlink_to("/dev/zero")
        assert lookup.provenance_of(sound.client, sound.id) is None


def test_facts_are_told_in_short_lines(sound, run):
    then = provenance.current()
    odd = {"python": "\x1b[31m" + "x" * 9999, "os": [[]], "environment": {"\x1b": {"a": 1}}, "processor": {"model": 7}}
    told = provenance.differences(replace(then, facts=odd), then, portable=False)
    assert len(told) >= 4
    assert all(line.isprintable() and len(line) < 400 for line in told)


def spoilt(saved):
    """Checkpoints with a checksum of their own that are none, by what is wrong with them."""
    whole = {
        "step": np.int64(7),
        "config_digest": np.asarray(saved.config_digest),
        "costs": saved.costs,
        **{f"weights_{i}": array for i, array in enumerate(saved.weights)},
    }
    changed = {
        "no costs": {"costs": None},
        "no step": {"step": None},
        "a step that is a list": {"step": np.arange(7)},
        "a step that is text": {"step": np.asarray("7")},
        "fewer costs than steps": {"costs": saved.costs[:3]},
        "costs in float64": {"costs": saved.costs.astype(np.float64)},
        "a gap in its weights": {"weights_0": None},
        "a negative step": {"step": np.int64(-1)},
    }
    for case, other in changed.items():
        named = {f"{name}.npy": npy(array) for name, array in (whole | other).items() if array is not None}
        yield case, archive(named)
    yield "compressed", archive({f"{name}.npy": npy(array) for name, array in whole.items()}, zipfile.ZIP_DEFLATED)
    yield "objects", archive({"step.npy": npy(np.array([object], object))})


def test_the_older_sound_checkpoint_is_taken_where_a_newer_one_is_none(sound, run, tmp_path, monkeypatch):
    monkeypatch.setattr(resume, "ROOT", tmp_path)
    forms = checkpoint.forms_of(sound.saved)
    older, newer = replace(sound.saved, step=3, costs=sound.saved.costs[:3]), resume.folder_of(sound.id) / "step-9.npz"
    checkpoint.save(resume.folder_of(sound.id), older)
    cases = {case: seal(content) for case, content in spoilt(sound.saved)}
    cases["other shapes"] = checkpoint.to_bytes(replace(sound.saved, weights=sound.saved.weights[::-1]))
    cases["other types"] = checkpoint.to_bytes(replace(sound.saved, optimizer=[np.zeros(3)]))
    for case, content in cases.items():
        newer.write_bytes(content)
        (sound.place / "checkpoint/checkpoint.npz").write_bytes(content)
        found, faults = resume.newest_checkpoint(sound.client, run, sound.settings, forms)
        assert found.step == 3, case
        assert len(faults) == 2, case
        assert all(fault.isprintable() for fault in faults)


def seal(content):
    """The content with its checksum, as a checkpoint has one."""
    return content + hashlib.sha256(content).digest()


def test_a_config_in_tags_that_is_none_is_refused_before_the_run_is_taken_over(sound, run):
    tagging.set_tags(sound.client, sound.id, {"config.0": "!!python/object:os.x {}"})
    with pytest.raises(StoreError, match="is no plain YAML"):
        resume.prepare(sound.id, {"training.steps": STEPS + 1}, take_over=False)
    sound.client.delete_tag(sound.id, "mlflow.lstm_lab.config.0")


def test_what_a_config_calls_a_variable_stays_text(sound, run, monkeypatch):
    monkeypatch.setenv("SECRET", "hunter2")
    text = tracking.config_text(sound.settings).replace(f"{sound.folder}/my.csv", "${oc.env:SECRET}")
    (sound.place / "config.yaml").write_text(text)
    assert lookup.config_of(sound.client, run).data.path == "${oc.env:SECRET}"
    with pytest.raises(config.ConfigError, match=r"\$\{oc\.env:SECRET\}: there is no such file"):
        forecasting.forecast(sound.id, None, None, None, None)


@pytest.mark.parametrize("ident", ["../../x", "..", "", "/x", "0" * 31, "0" * 32 + "\n", "A" * 32, None])
def test_an_id_that_is_none_names_no_folder(ident):
    found = SimpleNamespace(info=SimpleNamespace(run_id=ident, run_name="x", artifact_uri=f"/x/{ident}/artifacts"))
    with pytest.raises(StoreError, match="must be 32 digits"):
        reading.sound(found)
    if ident is not None:
        folder = resume.folder_of(ident)
        assert folder.parent == resume.folder_of("0" * 32).parent
        assert folder.name not in ("", ".", "..")


@pytest.mark.parametrize("place", ["/home/me", "file:///home/me/.ssh", f"/x/{'1' * 32}/artifacts/..", "", None])
def test_a_run_keeps_its_files_in_a_folder_of_its_id_alone(place):
    info = {"run_id": "1" * 32, "run_name": "x"}
    with pytest.raises(StoreError, match=f"not in a folder {'1' * 32}/artifacts"):
        reading.sound(SimpleNamespace(info=SimpleNamespace(**info, artifact_uri=place)))
    for own in ("mlflow-artifacts:/2/", "s3://bucket/", "/a b/", "file:///c/"):
        found = SimpleNamespace(info=SimpleNamespace(**info, artifact_uri=f"{own}{info['run_id']}/artifacts"))
        assert reading.sound(found) is found


def test_a_columns_name_is_no_formula(tmp_path):
    for name in ("=1+1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", " =1", '=HYPERLINK("x")'):
        assert sheets.in_a_cell(name) == f"'{name}"
    for name in ("T [°C]", "a=b", "1", "", "x-y"):
        assert sheets.in_a_cell(name) == name
    with open(tmp_path / "x.csv", "w+", newline="") as text:
        sheets.write_rows(text, ["sample", "=1+1"], [(0, -1.5)])
        text.seek(0)
        assert text.read() == "sample,'=1+1\n0,-1.5\n"
