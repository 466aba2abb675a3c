"""Measure RTNeural on this machine: python benchmarks/rtneural.py RTNEURAL XSIMD -o rtneural.json

RTNEURAL and XSIMD are clones of github.com/jatinchowdhury18/RTNeural and github.com/xtensor-stack/xsimd. Built with the
flags that its users take, and its fastest backend; report.py --rtneural takes the result.
"""

import json
import os
import platform
import subprocess
import tempfile
from datetime import date
from pathlib import Path

import click

import fusedlstm

HERE = Path(__file__).parent
FLAGS = ["-std=c++17", "-O3", "-march=native", "-ffast-math"]
NARROW = ["-mno-avx512f"]  # the faster one on some CPUs that have it
DEFINES = ["-DRTNEURAL_USE_XSIMD=1", "-DRTNEURAL_DEFAULT_ALIGNMENT=64"]
FOLDER = click.Path(path_type=Path, file_okay=False, exists=True)


@click.command(help=__doc__)
@click.argument("rtneural", type=FOLDER)
@click.argument("xsimd", type=FOLDER)
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), required=True)
def main(rtneural, xsimd, output):
    compiler = os.environ.get("CXX", "c++")
    best = {}
    for more in ([], NARROW) if platform.machine() in ("x86_64", "AMD64") else ([],):
        with tempfile.TemporaryDirectory() as folder:
            program = Path(folder) / "rtneural"
            include = [f"-I{rtneural}", f"-I{xsimd / 'include'}"]
            run(compiler, *FLAGS, *more, *DEFINES, *include, HERE / "rtneural.cpp", "-o", program)
            for case, value in map(str.split, run(program).splitlines()):
                best[case] = min(best.get(case, float("inf")), float(value))
    found = {
        "cpu": fusedlstm.cpu_info()["model"],
        "compiler": f"{run(compiler, '--version').splitlines()[0]}, {' '.join(FLAGS[1:])}, xsimd; AVX-512 or not",
        "source": f"commit {run('git', '-C', rtneural, 'rev-parse', '--short', 'HEAD').strip()}",
        "measured": date.today().isoformat(),
        "nanoseconds": best,
    }
    output.write_text(json.dumps(found, indent=1) + "\n")
    click.echo(json.dumps(found["nanoseconds"]))


def run(*command):
    """What it prints."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    main()
