"""Full and read-only disks, for real: the tests of `on_a_small_disk.py`, where there is one.

A small disk is mounted by a process in namespaces of its own, which needs no rights, only a
system that lets users have namespaces.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

INNER = Path(__file__).with_name("on_a_small_disk.py")
MEGABYTES = 4
UNMOUNTED = 77  # exit code


def test_every_command_on_a_small_disk(tmp_path: Path) -> None:
    if shutil.which("unshare") is None or shutil.which("mount") is None:
        pytest.skip("no unshare and mount to make a small disk with")
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f'mount -t tmpfs -o size={MEGABYTES}m none "$SMALL_DISK" || exit {UNMOUNTED}; exec "$@"'
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(INNER)]
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", mount, "sh", *tests, f"--basetemp={tmp_path / 'inner'}"],
        env={**os.environ, "SMALL_DISK": str(disk)},
        cwd=INNER.parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == UNMOUNTED or done.stderr.startswith("unshare"):
        pytest.skip(f"this system lets nobody mount a small disk: {done.stderr.strip()[:100]}")
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
