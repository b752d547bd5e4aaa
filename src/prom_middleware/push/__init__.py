"""Batch jobs: their metrics to a Pushgateway, and what every job has to tell of itself.

    from prom_middleware.push import batch_job

    with batch_job("nightly", gateway="localhost:9091") as job:
        for row in rows:
            job.done()

A push that fails never fails the job: it is logged, counted, and told by what is returned.

groups.py      where a group of a gateway is: the URL for a job and its grouping key
options.py     how to push: limits of time, retries, credentials, compression
payload.py     what is pushed: a registry in the text format, compressed
routes.py      how to get to a URL: directly, or by a proxy
exchange.py    one request and its answer, which another thread can end
outcomes.py    what an attempt came to, and whether another one may help
handlers.py    an attempt that a handler of prometheus_client's kind makes
sending.py     all attempts, with the pauses between them
results.py     what a push came to, for its caller, the log and the counters
deliveries.py  from a push's arguments to its result
client.py      the functions that users know from prometheus_client, and async ones
runs.py        what one run of a job records
jobs.py        `batch_job`, around a block or a function
termination.py SIGTERM while a job runs, and while it pushes
addresses.py   this host's address, as a grouping key
tls.py         a TLS context from files
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prom_middleware.lazy import lazily

if TYPE_CHECKING:
    from prometheus_client.exposition import (
        basic_auth_handler,
        default_handler,
        passthrough_redirect_handler,
        tls_auth_handler,
    )

    from prom_middleware.push.addresses import instance_ip_grouping_key
    from prom_middleware.push.client import (
        delete_from_gateway,
        delete_from_gateway_async,
        push_to_gateway,
        push_to_gateway_async,
        pushadd_to_gateway,
        pushadd_to_gateway_async,
    )
    from prom_middleware.push.jobs import BatchJob, batch_job, current_job
    from prom_middleware.push.options import PushOptions
    from prom_middleware.push.results import PushResult
    from prom_middleware.push.runs import Run
    from prom_middleware.push.tls import tls_context

__all__ = [
    "BatchJob",
    "PushOptions",
    "PushResult",
    "Run",
    "basic_auth_handler",
    "batch_job",
    "current_job",
    "default_handler",
    "delete_from_gateway",
    "delete_from_gateway_async",
    "instance_ip_grouping_key",
    "passthrough_redirect_handler",
    "push_to_gateway",
    "push_to_gateway_async",
    "pushadd_to_gateway",
    "pushadd_to_gateway_async",
    "tls_auth_handler",
    "tls_context",
]

_HOMES = {
    "BatchJob": "prom_middleware.push.jobs",
    "PushOptions": "prom_middleware.push.options",
    "PushResult": "prom_middleware.push.results",
    "Run": "prom_middleware.push.runs",
    "basic_auth_handler": "prometheus_client.exposition",
    "batch_job": "prom_middleware.push.jobs",
    "current_job": "prom_middleware.push.jobs",
    "default_handler": "prometheus_client.exposition",
    "delete_from_gateway": "prom_middleware.push.client",
    "delete_from_gateway_async": "prom_middleware.push.client",
    "instance_ip_grouping_key": "prom_middleware.push.addresses",
    "passthrough_redirect_handler": "prometheus_client.exposition",
    "push_to_gateway": "prom_middleware.push.client",
    "push_to_gateway_async": "prom_middleware.push.client",
    "pushadd_to_gateway": "prom_middleware.push.client",
    "pushadd_to_gateway_async": "prom_middleware.push.client",
    "tls_auth_handler": "prometheus_client.exposition",
    "tls_context": "prom_middleware.push.tls",
}


__getattr__, __dir__ = lazily(__name__, _HOMES)
