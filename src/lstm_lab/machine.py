"""The machine as far as numbers depend on it: its processor, and the environment variables that change them."""

import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

# Environment variables that change numbers or the order of floating-point operations; recorded with every run.
NUMERIC_ENVIRONMENT = (
    "CUDA_VISIBLE_DEVICES",
    "DNNL_MAX_CPU_ISA",
    "KERAS_BACKEND",
    "MKL_NUM_THREADS",
    "NPY_DISABLE_CPU_FEATURES",
    "OMP_NUM_THREADS",
    "ONEDNN_MAX_CPU_ISA",
    "OPENBLAS_NUM_THREADS",
    "PYTHONHASHSEED",
    "TENSORFLOW_USE_CUSTOM_CONTRACTION_KERNEL",
    "TF_DETERMINISTIC_OPS",
    "TF_ENABLE_ONEDNN_OPTS",
    "TF_NUM_INTEROP_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_XLA_FLAGS",
    "XLA_FLAGS",
)
COMPILED_FLAG = "--tf_xla_persistent_cache_directory"  # changes no number, and differs from checkout to checkout


def processor() -> dict[str, Any]:
    """The processor's model and instruction sets, and how many cores this process may use."""
    info: dict[str, str] = {}
    if Path("/proc/cpuinfo").exists():
        for line in Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines():
            key, _, value = line.partition(":")
            info[key.strip()] = value.strip()
    elif sys.platform == "darwin":
        brand = subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True)
        info["model name"] = brand.stdout.strip()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "machine": platform.machine(),
        "model": info.get("model name", platform.processor()),
        "family_model_stepping": [info.get(key, "") for key in ("cpu family", "model", "stepping")],
        "instruction_sets": sorted((info.get("flags") or info.get("Features", "")).split()),
        "cores": cores,
    }


def numeric_environment() -> dict[str, str]:
    """Each of NUMERIC_ENVIRONMENT, empty if not set; XLA's flags without the place where it keeps what it compiled."""
    found = {name: os.environ.get(name, "") for name in NUMERIC_ENVIRONMENT}
    found["TF_XLA_FLAGS"] = re.sub(rf' ?{COMPILED_FLAG}="[^"]*"', "", found["TF_XLA_FLAGS"])
    return found
