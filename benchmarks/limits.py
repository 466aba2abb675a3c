"""Measure what this machine can do at most, for `fusedlstm bench --limits`.

    python benchmarks/limits.py limits.json

Compiles limits.cpp with the system's C++ compiler ($CXX, or c++) into a temporary folder and runs it, pinned to the CPU
that one-thread figures are measured on; six seconds in all. x86-64 and Linux only. Not part of the package, whose users
need no compiler.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import fusedlstm
from fusedlstm.bench.session import pick_cpus

SOURCE = Path(__file__).with_name("limits.cpp")
RUNS = 3


def measure():
    """The best of several runs, a second apart: what disturbs one only ever makes figures worse."""
    compiler = shutil.which(os.environ.get("CXX", "c++"))
    if compiler is None or platform.machine() not in ("x86_64", "AMD64"):
        raise OSError("limits: expected x86-64 and a C++ compiler ($CXX, or c++)")
    with tempfile.TemporaryDirectory() as folder:  # not cached: it compiles in a second, and /tmp belongs to everybody
        program = Path(folder) / "limits"
        subprocess.run([compiler, "-O2", "-std=c++17", SOURCE, "-o", program], check=True)
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, pick_cpus(sorted(before), 1))
        runs = []
        for k in range(RUNS):
            time.sleep(min(k, 1))
            runs.append(json.loads(subprocess.run([program], check=True, capture_output=True, text=True).stdout))
        os.sched_setaffinity(0, before)
    best = {
        isa: {
            "gflops": max(run[isa]["gflops"] for run in runs),
            "cell_ns": min(run[isa]["cell_ns"] for run in runs),
            "reads": [
                [size, max(run[isa]["reads"][k][1] for run in runs)]
                for k, (size, _) in enumerate(runs[0][isa]["reads"])
            ],
        }
        for isa in runs[0]
    }
    measured = datetime.now().isoformat(" ", "minutes")
    return {"cpu": fusedlstm.cpu_info()["model"], "measured": measured, "isas": best}


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(measure(), indent=1) + "\n")
