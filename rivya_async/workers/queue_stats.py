"""The depth of a queue in a Redis stream, and the removal of its acknowledged messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs
from redis.asyncio import Redis
from redis.exceptions import ResponseError
from taskiq_redis_streams import RedisStreamsBroker

if TYPE_CHECKING:
    from taskiq import AsyncBroker

TRIM_SCRIPT: Final = """
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
"""Deletes the messages that all consumers have acknowledged, and consumers that are gone: Redis keeps both.

Messages before the oldest unacknowledged one are deleted at once, those after it when they are many.
"""

MAX_ACKNOWLEDGED: Final = 1000
"""Maximum number of acknowledged messages that may stay between unacknowledged ones."""

CONSUMER_IDLE_LIMIT: Final = 3_600_000
"""Milliseconds of silence after which a consumer without messages is deleted."""


@attrs.frozen
class QueueDepth:
    """The number of messages that wait for a worker, and of those that a worker has not acknowledged yet."""

    waiting: int
    unacknowledged: int


async def read_queue_depth(broker: AsyncBroker) -> QueueDepth | None:
    """Reads the depth of the queue; None for a broker other than Redis Streams. Raises redis-py's errors."""
    if not isinstance(broker, RedisStreamsBroker):
        return None
    async with Redis(connection_pool=broker.connection_pool) as redis:
        try:
            groups: Any = await redis.xinfo_groups(broker.stream_name)
        except ResponseError:  # the stream does not exist yet
            return QueueDepth(0, 0)
    return QueueDepth(_sum_field(groups, "lag"), _sum_field(groups, "pending"))


async def trim_queue(broker: AsyncBroker) -> int:
    """Deletes acknowledged messages and returns their number. Raises redis-py's errors."""
    if not isinstance(broker, RedisStreamsBroker):
        return 0
    async with Redis(connection_pool=broker.connection_pool) as redis:
        arguments = (broker.stream_name, broker.consumer_group_name, str(CONSUMER_IDLE_LIMIT), str(MAX_ACKNOWLEDGED))
        return int(await redis.eval(TRIM_SCRIPT, 1, *arguments))  # type: ignore[misc]


def _sum_field(groups: list[dict[Any, Any]], name: str) -> int:
    return sum(int(group.get(name, group.get(name.encode())) or 0) for group in groups)
