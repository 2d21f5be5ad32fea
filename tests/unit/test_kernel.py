"""What we ask the kernel for."""

from __future__ import annotations

import subprocess
import sys

import psutil

PARENT = """
import subprocess, sys, time
from broker.kernel import end_with_parent
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], preexec_fn=end_with_parent)
print(child.pid, flush=True)
time.sleep(600)
"""


def test_a_child_ends_with_a_parent_that_was_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    try:
        child.wait(30)
    except psutil.TimeoutExpired:
        child.kill()
        raise
