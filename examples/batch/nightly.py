"""The same story with `batch_job`: what every job has to tell, also when it fails.

python examples/batch/nightly.py            three files, 600 rows
python examples/batch/nightly.py broken.csv  raises, and is pushed all the same
"""

from __future__ import annotations

import sys
import time

from prom_middleware.push import batch_job, current_job


@batch_job("nightly", gateway="localhost:9091")
def load(files: list[str]) -> None:
    job = current_job()
    for file in files:
        with job.stage("read"):
            rows = read(file)
        with job.stage("write"):
            for _ in rows:
                time.sleep(0.0005)
                job.done()


def read(file: str) -> range:
    if file.startswith("broken"):
        raise ValueError(f"{file}: line 7 has no end")
    return range(200)


if __name__ == "__main__":
    load(sys.argv[1:] or ["a.csv", "b.csv", "c.csv"])
