"""The examples of docs/integrations.md, as they stand."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("framework", ["torch", "keras"])
def test_an_example(framework):
    pytest.importorskip(framework)
    command = [sys.executable, str(EXAMPLES / f"accelerate_{framework}.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "recurrent layers swapped" in done.stdout and "runs in fusedlstm" in done.stdout
    assert float(re.search(r"largest difference (\S+)", done.stdout)[1]) < 1e-5
