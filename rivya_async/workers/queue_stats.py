"""The queue itself, where it is a Redis stream: how long it is, and what of it can go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs
from redis.asyncio import Redis
from redis.exceptions import ResponseError
from taskiq_redis_streams import RedisStreamsBroker

if TYPE_CHECKING:
    from taskiq import AsyncBroker

TRIM: Final = """
local groups = redis.call('XINFO', 'GROUPS', KEYS[1])
if #groups ~= 1 then
    return 0
end
local group = {}
for i = 1, #groups[1], 2 do
    group[groups[1][i]] = groups[1][i + 1]
end
local pending = redis.call('XPENDING', KEYS[1], ARGV[1])
local from = pending[2]
if not from then
    local ms, number = string.match(group['last-delivered-id'], '(%d+)-(%d+)')
    from = ms .. '-' .. string.format('%.0f', tonumber(number) + 1)
end
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
    local facts = {}
    for i = 1, #consumer, 2 do
        facts[consumer[i]] = consumer[i + 1]
    end
    if facts['pending'] == 0 and facts['idle'] > tonumber(ARGV[2]) then
        redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], facts['name'])
    end
end
local dropped = redis.call('XTRIM', KEYS[1], 'MINID', '=', from)
if redis.call('XLEN', KEYS[1]) - pending[1] - (group['lag'] or 0) > tonumber(ARGV[3]) then
    local held = {}
    for _, each in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', pending[1])) do
        held[each[1]] = true
    end
    for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', group['last-delivered-id'])) do
        if not held[entry[1]] then
            dropped = dropped + redis.call('XDEL', KEYS[1], entry[1])
        end
    end
end
return dropped
"""
"""Drop the messages that every reader has acknowledged, and the readers that are gone: nothing else does.

Those before the oldest that is held go at once; those between held ones once they are many.
"""

MANY: Final = 1000
"""Acknowledged messages between held ones that may stay."""

GONE: Final = 3_600_000
"""Milliseconds without a word after which a reader that holds nothing is taken to be gone."""


@attrs.frozen
class QueueDepth:
    """How many messages wait for a worker, and how many a worker holds."""

    waiting: int
    unacknowledged: int


async def read_queue_depth(broker: AsyncBroker) -> QueueDepth | None:
    """The depth of the queue; None where the broker does not tell. Raises redis-py's errors."""
    if not isinstance(broker, RedisStreamsBroker):
        return None
    async with Redis(connection_pool=broker.connection_pool) as redis:
        try:
            groups = await redis.xinfo_groups(broker.stream_name)
        except ResponseError:  # nothing was ever enqueued
            return QueueDepth(0, 0)
    return QueueDepth(
        waiting=sum(int(_told(group, "lag") or 0) for group in groups),
        unacknowledged=sum(int(_told(group, "pending") or 0) for group in groups),
    )


async def trim_queue(broker: AsyncBroker) -> int:
    """Forget what was acknowledged; how many messages that were. Raises redis-py's errors."""
    if not isinstance(broker, RedisStreamsBroker):
        return 0
    async with Redis(connection_pool=broker.connection_pool) as redis:
        arguments = (broker.stream_name, broker.consumer_group_name, str(GONE), str(MANY))
        trimmed: Any = await redis.eval(TRIM, 1, *arguments)  # type: ignore[misc]
    return int(trimmed)


def _told(group: Any, name: str) -> Any:
    return group.get(name, group.get(name.encode()))
