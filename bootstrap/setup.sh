#!/bin/sh
# Runs setup.py on the Python that .venv is to be made from: $PYTHON, else the first of the usual names that suits.
# In shell, since there may be no Python at all, or one too old to read setup.py.

cd "$(dirname "$0")/.." || exit 1
unset PYTHONHOME PYTHONPATH PYTHONWARNINGS  # of another environment; and they keep Python or pip from starting

found=
try() {
    probe=$("$1" -c 'import sys; print("%d.%d %s" % (sys.version_info[:2] + (sys.executable,)))' 2>/dev/null) || return
    version=${probe%% *}
    case $version in
        3.11 | 3.12 | 3.13) shift && exec "${probe#* }" bootstrap/setup.py "$@" ;;  # pyproject.toml: requires-python
    esac
    found="${found:+$found, }$1 is $version"
}

if [ -n "${PYTHON:-}" ]; then
    try "$PYTHON" "$@"
    : "${found:=$PYTHON does not run}"
else
    for python in python3 python3.13 python3.12 python3.11 .venv/bin/python; do
        try "$python" "$@"
    done
fi
echo "Python 3.11, 3.12 or 3.13 is needed: ${found:-no python3 was found}." \
    "Install one, or name it: make PYTHON=/path/to/python3.12" >&2
exit 1
