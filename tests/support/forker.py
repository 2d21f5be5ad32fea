"""The process that tests' programs are forked from: it has imported everything, and does nothing else.

Each datagram on its socket asks for one program: JSON {module, arguments, cwd, environment, descriptors},
with four descriptors: stdin, stdout, stderr, and a channel; ``descriptors`` is the limit of open files. On
the channel come the process id and, at the end, the wait status, 4 octets each. The program's parent is a
process that waits for that end.

>>> # python -P -m tests.support.forker 5
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import resource
import runpy
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from admin.main import Commands

SERVICES = ("bridge.run", "meter_firmware.run", "meter_firmware.simulate", "registrar.service", "web.run")
LARGEST = 1 << 17


def main() -> dict[str, Any]:
    """Fork what is asked for; returns, in a forked process alone, what it is to be."""
    control = socket.socket(fileno=int(sys.argv[1]))
    _import_everything()
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests, which then end
    while True:
        data, descriptors, _, _ = socket.recv_fds(control, LARGEST, 4)
        if not data:
            os._exit(0)
        if os.fork() == 0:
            control.close()
            return _program(json.loads(data), descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        _reap()


def _import_everything() -> None:
    """All but the MMS library: a process that does not need it must not have it."""
    commands = [f"admin.commands.{lazy.module}" for lazy in Commands.table.values() if lazy.module != "mms"]
    for name in (*commands, *SERVICES):
        importlib.import_module(name)
    with Path("/proc/self/maps").open() as maps:
        assert not any("iec61850.so" in line for line in maps)


def _reap() -> None:
    """Of the processes that wait for a program: those that have done so."""
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                return
        except ChildProcessError:
            return


def _program(asked: dict[str, Any], descriptors: list[int]) -> dict[str, Any]:
    """Fork again: this process waits for the program, the other one is it, and returns."""
    channel = descriptors[3]
    child = os.fork()
    if child:
        os.write(channel, child.to_bytes(4, "little"))
        for descriptor in (0, 1, 2, *descriptors[:3]):
            os.close(descriptor)
        _, status = os.waitpid(child, 0)
        os.write(channel, status.to_bytes(4, "little"))
        os._exit(0)
    os.close(channel)
    for target, descriptor in enumerate(descriptors[:3]):
        os.dup2(descriptor, target)
        os.close(descriptor)
    if most := asked["descriptors"]:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = [asked["module"], *asked["arguments"]]
    return asked


if __name__ == "__main__":
    program = main()
    runpy.run_module(program["module"], run_name="__main__", alter_sys=True)
