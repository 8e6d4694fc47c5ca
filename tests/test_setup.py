"""What builds the environments: which of pip's settings count, and that none is called ready without its packages."""

import importlib.machinery
import os
import re
import sys
import types
from pathlib import Path

import pytest

from helpers import ROOT

loader = importlib.machinery.SourceFileLoader("bootstrap_setup", str(ROOT / "bootstrap/setup.py"))
setup = types.ModuleType(loader.name)
setup.__file__ = loader.path
loader.exec_module(setup)
PIP = str(next(ROOT.glob("bootstrap/pip-*.whl")))


def test_of_pips_settings_only_the_packages_source_counts(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    (tmp_path / "pip.conf").write_text(
        "[global]\nindex-url = https://company/simple\ntarget = /t\nuser = true\nfind-links =\n  /a\n  /b\ncert = /ca\n"
        "[install]\nprefix = /p\nroot = /r\nno-binary = :all:\ncert = /other\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.setenv("PIP_TARGET", "/t")
    monkeypatch.setenv("PIP_PROXY", "http://proxy")
    found = setup.pip_settings(PIP)
    wanted = {
        "PIP_INDEX_URL": "https://company/simple",
        "PIP_FIND_LINKS": "/a /b",
        "PIP_CERT": "/other",
        "PIP_PROXY": "http://proxy",
    }
    assert wanted.items() <= found.items()
    assert not {"PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "PIP_NO_BINARY", "PIP_CONFIG_FILE"} & set(found)


def test_an_environment_without_its_packages_is_not_ready(tmp_path):
    (tmp_path / "here.lock").write_text(
        "NumPy==0 \\\n    --hash=sha256:0\nwindows-only==1 ; sys_platform == 'win32' \\\n"
    )
    (tmp_path / "elsewhere.lock").write_text("numpy==0 \\\nno-such_package==1 \\\n")
    assert setup.lacking(Path(sys.prefix), tmp_path / "here.lock") is None
    assert "no-such_package" in setup.lacking(Path(sys.prefix), tmp_path / "elsewhere.lock")


def test_how_far_pip_is_can_be_read_in_its_log():
    begun = "Collecting absl-py==2.4.0 (from -r requirements.lock (line 1))\n  Downloading absl_py-2.4.0.whl (135 kB)\n"
    assert setup.how_far("") == "asking for packages"
    assert setup.how_far(begun + "Collecting numpy==2.4.6 (from x)\n") == "fetching package 2: numpy 2.4.6"
    assert setup.how_far(begun + "Installing collected packages: a, b, c\n") == "installing 3 packages"


@pytest.mark.parametrize("lock", setup.LOCKS)
def test_every_pin_has_its_hashes_and_no_lock_an_address(lock):
    text = (ROOT / lock).read_text()
    assert "://" not in text
    for pin in re.split(r"^(?=\S+==)", text, flags=re.M)[1:]:
        assert "--hash=sha256:" in pin, pin
