"""All that a relay ever writes: five scripts, each of which Redis runs as a whole or not at all.

What they have in common: the lease is a key with an expiry that holds the token of the active relay, and the fencing
number in the state is raised with every acquisition. Numbers that are kept go through ``string.format``, since Lua
may write large ones with an exponent.
"""

from __future__ import annotations

from realtime_client.transports.redis_wire import Script

__all__ = ["ACQUIRE", "APPEND", "RELEASE", "RENEW", "SNAPSHOT"]

ACQUIRE = Script("""
-- KEYS lease, state   ARGV token, milliseconds, highest fencing number that the relay knows
local holder = redis.call('GET', KEYS[1])
local state = redis.call('HMGET', KEYS[2], 'fence', 'written', 'epoch', 'seq', 'id')
if holder and holder ~= ARGV[1] then
  local left = redis.call('PTTL', KEYS[1])
  if left < 0 then  -- somebody has taken its end away
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
    left = tonumber(ARGV[2])
  end
  return {0, left, state[1]}
end
local fence = string.format('%.0f', math.max(tonumber(state[1] or '0'), tonumber(ARGV[3])) + 1)
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('HSET', KEYS[2], 'fence', fence)
return {1, fence, state[2], state[3], state[4], state[5]}
""")
"""Take the lease, if it is free or ours, with a new fencing number."""

RENEW = Script("""
-- KEYS lease   ARGV token, milliseconds
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
""")
"""Prolong the lease, if it is still ours."""

APPEND = Script("""
-- KEYS lease, state, events   ARGV token, fence, last number, cap, and in MessagePack each entry's kind and body
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'lease'} end
local state = redis.call('HMGET', KEYS[2], 'fence', 'seq', 'ms')
if state[1] ~= ARGV[2] then return {'fence'} end
if state[2] ~= ARGV[3] then return {'seq'} end
local now = redis.call('TIME')
local ms = math.max(now[1] * 1000 + math.floor(now[2] / 1000), tonumber(state[3] or '0'))
local at, seq, id = string.format('%.0f', ms), tonumber(ARGV[3]), ''
local entries = cmsgpack.unpack(ARGV[5])
for i = 1, #entries, 2 do
  seq = seq + 1
  id = at .. '-' .. seq
  redis.call('XADD', KEYS[3], id, entries[i] .. ':' .. ARGV[2], entries[i + 1])
end
-- Before anything that may be refused: entries of which the state does not know would be written again and again.
redis.call('HSET', KEYS[2], 'seq', string.format('%.0f', seq), 'ms', at, 'id', id, 'written', ARGV[2])
redis.call('XTRIM', KEYS[3], 'MAXLEN', '~', ARGV[4])
return {'ok', id}
""")
"""Append a batch, if lease, fencing number and numbering are what the relay thinks.

The entries are one argument: redis-py would take its time over each, if they were many.
"""

SNAPSHOT = Script("""
-- KEYS lease, state, events, snapshot   ARGV token, fence, number, epoch, store, whether a term begins
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'lease'} end
local state = redis.call('HMGET', KEYS[2], 'fence', 'seq', 'id', 'ms')
if state[1] ~= ARGV[2] then return {'fence'} end
local id = state[3] or '0-0'
if ARGV[6] == '1' then
  -- The numbering is the relay's: Redis may have lost something. Ids must go on behind whatever is there.
  local last = redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)
  id = last[1] and last[1][1] or '0-0'
  local ms = tonumber(string.match(id, '^%d+'))
  if last[1] and id ~= state[3] then ms = ms + 1 end
  ms = string.format('%.0f', math.max(ms, tonumber(state[4] or '0')))
  redis.call('HSET', KEYS[2], 'epoch', ARGV[4], 'seq', ARGV[3], 'id', id, 'ms', ms, 'written', ARGV[2])
elseif state[2] ~= ARGV[3] then
  return {'seq'}
end
redis.call('HSET', KEYS[4], 'epoch', ARGV[4], 'seq', ARGV[3], 'fence', ARGV[2], 'id', id, 'store', ARGV[5])
return {'ok', id}
""")
"""Replace the snapshot; at the beginning of a term also the numbering."""

RELEASE = Script("""
-- KEYS lease   ARGV token
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
""")
"""Give the lease back, if it is still ours."""
