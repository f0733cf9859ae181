"""What a process uses, as the kernel counts it (Linux only)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Footprint:
    """
    What a process uses at a moment.

    Attributes:
        threads: How many threads, those of libraries in C too.
        descriptors: How many open files, sockets and the like.
        memory_kb: Resident memory in KiB.
    """

    threads: int
    descriptors: int
    memory_kb: int

    @classmethod
    def of(cls, process_id: int) -> Footprint:
        """Return what the process uses now."""
        folder = Path(f"/proc/{process_id}")
        status = dict(
            line.split(":", 1)
            for line in (folder / "status").read_text().splitlines()
            if ":" in line
        )
        return cls(
            threads=int(status["Threads"]),
            descriptors=len(list((folder / "fd").iterdir())),
            memory_kb=int(status["VmRSS"].split()[0]),
        )
