"""The functions that users know from `prometheus_client`, and async ones.

Names, arguments and their order are those of `prometheus_client.exposition`. Other than there, they
never raise for what goes wrong: they log it, count it in
`prom_middleware_errors_total{cause="push"}`, and return a `PushResult`, which is false then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from prometheus_client import REGISTRY
from prometheus_client.exposition import default_handler
from prometheus_client.registry import Collector

from prom_middleware.push.deliveries import Delivery
from prom_middleware.push.options import Handler
from prom_middleware.push.payload import rendered
from prom_middleware.push.results import PushResult, refused, told

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from prom_middleware.push.options import PushOptions

GroupingKey = Mapping[str, Any] | None


def push_to_gateway(
    gateway: str,
    job: str,
    registry: Collector,
    grouping_key: GroupingKey = None,
    timeout: float | None = 30,
    handler: Handler = default_handler,
    compression: str | None = None,
    **options: Unpack[PushOptions],
) -> PushResult:
    """Replace the group's metrics by those of `registry` (PUT); say whether it went.

    `gateway` is `host:port` or a URL; `timeout` is for one attempt, in seconds; `compression` is
    `gzip` or `snappy`. Further options are those of `PushOptions`.
    """
    return _push(
        "PUT",
        *(gateway, job, grouping_key, registry),
        {"timeout": timeout, "handler": handler, "compression": compression, **options},
    )


def pushadd_to_gateway(
    gateway: str,
    job: str,
    registry: Collector | None,
    grouping_key: GroupingKey = None,
    timeout: float | None = 30,
    handler: Handler = default_handler,
    compression: str | None = None,
    **options: Unpack[PushOptions],
) -> PushResult:
    """Replace those of the group's metrics that `registry` has by its own (POST).

    Arguments and result are those of `push_to_gateway`; without a registry it is the default one.
    """
    return _push(
        "POST",
        *(gateway, job, grouping_key, registry),
        {"timeout": timeout, "handler": handler, "compression": compression, **options},
    )


def delete_from_gateway(
    gateway: str,
    job: str,
    grouping_key: GroupingKey = None,
    timeout: float | None = 30,
    handler: Handler = default_handler,
    **options: Unpack[PushOptions],
) -> PushResult:
    """Delete the group (DELETE), with arguments and result as `push_to_gateway` has them."""
    return _push(
        "DELETE",
        *(gateway, job, grouping_key, None),
        {"timeout": timeout, "handler": handler, **options},
    )


async def push_to_gateway_async(
    gateway: str,
    job: str,
    registry: Collector,
    grouping_key: GroupingKey = None,
    timeout: float | None = 30,
    handler: Handler = default_handler,
    compression: str | None = None,
    **options: Unpack[PushOptions],
) -> PushResult:
    """Do as `push_to_gateway` does, while asyncio's loop goes on."""
    return await _push_async(
        "PUT",
        *(gateway, job, grouping_key, registry),
        {"timeout": timeout, "handler": handler, "compression": compression, **options},
    )


async def pushadd_to_gateway_async(
    gateway: str,
    job: str,
    registry: Collector | None,
    grouping_key: GroupingKey = None,
    timeout: float | None = 30,
    handler: Handler = default_handler,
    compression: str | None = None,
    **options: Unpack[PushOptions],
) -> PushResult:
    """Do as `pushadd_to_gateway` does, while asyncio's loop goes on."""
    return await _push_async(
        "POST",
        *(gateway, job, grouping_key, registry),
        {"timeout": timeout, "handler": handler, "compression": compression, **options},
    )


async def delete_from_gateway_async(
    gateway: str,
    job: str,
    grouping_key: GroupingKey = None,
    timeout: float | None = 30,
    handler: Handler = default_handler,
    **options: Unpack[PushOptions],
) -> PushResult:
    """Do as `delete_from_gateway` does, while asyncio's loop goes on."""
    return await _push_async(
        "DELETE",
        *(gateway, job, grouping_key, None),
        {"timeout": timeout, "handler": handler, **options},
    )


def _push(
    method: str,
    gateway: str,
    job: str,
    grouping_key: GroupingKey,
    registry: Collector | None,
    options: Mapping[str, Any],
) -> PushResult:
    try:
        delivery = Delivery(method, gateway, job, grouping_key, options)
    except Exception as error:
        return told(refused(error), f"the gateway of job {job!r}")
    return delivery.send(_content(method, registry))


async def _push_async(
    method: str,
    gateway: str,
    job: str,
    grouping_key: GroupingKey,
    registry: Collector | None,
    options: Mapping[str, Any],
) -> PushResult:
    try:
        delivery = Delivery(method, gateway, job, grouping_key, options)
    except Exception as error:
        return told(refused(error), f"the gateway of job {job!r}")
    return await delivery.send_async(_content(method, registry))


def _content(method: str, registry: Collector | None) -> Callable[[], bytes]:
    if method == "DELETE":
        return bytes
    return partial(rendered, REGISTRY if registry is None else registry)
