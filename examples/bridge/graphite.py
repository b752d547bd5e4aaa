"""A registry to Graphite, under the name that users of prometheus_client know.

    python examples/bridge/graphite.py --address 127.0.0.1:2003

Every second it sends the numbers, to carbon for example; without one, a line server shows them:
`nc -lk 2003`. `--tags` sends labels as tags. Ctrl-C ends it, and sends what there is by then.
"""

from __future__ import annotations

import argparse
import random
import time

from prometheus_client import CollectorRegistry, Counter, Histogram

from prom_middleware.bridge import GraphiteBridge

registry = CollectorRegistry()
SOLD = Counter("sold", "Books sold.", ["title"], registry=registry)
WAIT = Histogram("wait_seconds", "Time at the till.", buckets=[1, 5, 20], registry=registry)

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", default="127.0.0.1:2003")
    parser.add_argument("--tags", action="store_true")
    options = parser.parse_args()
    host, _, port = options.address.rpartition(":")
    bridge = GraphiteBridge((host, int(port)), registry=registry, tags=options.tags)
    bridge.start(1.0, prefix="shop")
    print(f"Sending to {options.address}; Ctrl-C to end.", flush=True)
    try:
        while True:
            SOLD.labels(random.choice(["Emma", "Ulysses"])).inc()
            WAIT.observe(random.expovariate(0.2))
            time.sleep(0.2)
    except KeyboardInterrupt:
        bridge.stop()
