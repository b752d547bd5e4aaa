"""A /proc of our own, where processes do as they are told."""

from __future__ import annotations

import shutil
from pathlib import Path

BOOT = 1_000_000_000


def boot(root: Path, btime: float = BOOT) -> Path:
    """Begin an empty /proc."""
    root.mkdir(exist_ok=True)
    (root / "stat").write_text(f"cpu  1 2 3 4\nintr 1 0 0\nctxt 1\nbtime {btime:.0f}\n")
    return root


def run_process(
    root: Path,
    pid: int,
    *,
    start: int = 100,
    cpu: int = 0,
    name: str = "python",
    virtual: int = 8192,
    files: int = 3,
    most: str = "1024",
) -> None:
    """Let a process exist, or do more. Times are in ticks."""
    directory = root / str(pid)
    directory.mkdir(exist_ok=True)
    numbers = [0] * 49
    # proc(5), counted from the parent's id, which is field 4.
    numbers[10], numbers[11], numbers[16], numbers[18] = cpu - cpu // 3, cpu // 3, 2, start
    numbers[19], numbers[20] = virtual, 1
    text = f"{pid} ({name}) S {' '.join(map(str, numbers))}\n"
    (directory / "stat").write_text(text)
    (directory / "limits").write_text(
        "Limit                     Soft Limit           Hard Limit           Units     \n"
        f"Max open files            {most:<20} 524288               files     \n"
    )
    (directory / "fd").mkdir(exist_ok=True)
    for number in range(files):
        (directory / "fd" / str(number)).touch()


def end_process(root: Path, pid: int) -> None:
    """Let a process be gone."""
    shutil.rmtree(root / str(pid))
