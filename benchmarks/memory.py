"""Resident memory as the kernel tells it; None where there is no `/proc`."""

from __future__ import annotations

from pathlib import Path


def resident_kib(pid: int | str = "self") -> int | None:
    """What a process holds now, in KiB."""
    return _kib(pid, "VmRSS:")


def peak_kib(pid: int | str = "self") -> int | None:
    """The most that a process ever held, in KiB."""
    return _kib(pid, "VmHWM:")


def _kib(pid: int | str, name: str) -> int | None:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith(name)), None)
