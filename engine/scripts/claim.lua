-- Takes a workflow: the only way to get the right to commit.
--
-- KEYS  1 due     zset  workflow -> visibility, integer ms
--       2 parked  zset  workflow -> when it was parked, ms
--       3 wf      hash  the record
--       4 inbox   list  signals not yet consumed
--       5 sealed  hash  sealed blobs
-- ARGV  1 now ms, or '' for the server's clock     2 member of due
--       3 claim id                                 4 owner
--       5 lease, ms                                6 'due' (a worker) or 'drive' (a caller)
--       7 heads: how many next due entries to tell 8 signals to hand out at most
--       9 attempts before claims are delayed      10 attempts before the workflow is parked
--      11 first delay, ms                         12 longest delay, ms
--      13 spare what anybody owns although its lease has ended, '0' or '1'
-- Replies (all numbers as text)
--   claimed  now heads record sealed inbox   the lease is ours, one reading of everything
--   held     now heads lease_until owner     somebody else's, or to be spared
--   not_due  now heads                       nothing to do yet; the score was put right
--   delayed  now heads until                 its holders keep vanishing: nobody gets it until then
--   parked   now heads reason                waits for a human; what is sealed is gone if a
--                                            pre-emptive signal was not heard
--   unknown  now heads                       no such workflow; the stray entry was removed
local due, parked, wf, inbox, sealed = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local member, claim, owner = ARGV[2], ARGV[3], ARGV[4]
local lease_ms, mode, heads = tonumber(ARGV[5]), ARGV[6], tonumber(ARGV[7])
local inbox_max = tonumber(ARGV[8])
local delay_after, park_after = tonumber(ARGV[9]), tonumber(ARGV[10])
local delay_first_ms, delay_max_ms = tonumber(ARGV[11]), tonumber(ARGV[12])
local spare_owned = ARGV[13] == '1'

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Lua prints large numbers with an exponent unless told otherwise.
local function text(ms) return string.format('%.0f', ms) end

local function answer(word, ...)
  local next_due = redis.call('ZRANGE', due, 0, heads - 1, 'WITHSCORES')
  return { word, text(now), next_due, ... }
end

if redis.call('EXISTS', wf) == 0 then
  redis.call('ZREM', due, member)
  return answer('unknown')
end

local held_by, lease_until, activity, visible_at, wake_at, attempt, reason, barrier, ahead = unpack(
  redis.call('HMGET', wf, 'owner', 'lease_until', 'activity', 'visible_at', 'wake_at', 'attempt',
    'parked', 'barrier', 'ahead'))
attempt = tonumber(attempt) or 0

-- A claimer that has seen the server change spares what is owned, although its lease has ended: the
-- clock that ended it is not the clock that began it. So also what it owns itself: another turn of its
-- own process may be at it, and trust its lease. In brackets: a lease that nobody holds.
local spared = spare_owned and held_by and string.sub(held_by, 1, 1) ~= '('
if held_by and (tonumber(lease_until) > now or spared) then
  redis.call('ZADD', due, lease_until, member)
  return answer('held', lease_until, held_by)
end

local pending = activity or redis.call('EXISTS', inbox) == 1
if reason and not held_by then
  redis.call('ZREM', due, member)
  return answer('parked', reason)
end

-- The entry in `due` is a copy and may be wrong; the record decides whether it is time.
if mode == 'due' and not held_by and not pending then
  local wanted = visible_at or wake_at
  if not wanted then
    redis.call('ZREM', due, member)
    return answer('not_due')
  end
  if tonumber(wanted) > now then
    redis.call('ZADD', due, wanted, member)
    return answer('not_due')
  end
end

-- A turn that kills its process must not kill the fleet one by one: this is judged before the
-- state is handed out.
attempt = attempt + 1
if attempt > park_after then
  reason = 'no turn was finished in ' .. (attempt - 1) .. ' claims'
  -- A pre-emptive signal that nobody could hear has ended these all the same.
  if barrier and ahead then redis.call('DEL', sealed) end
  redis.call('HDEL', wf, 'owner', 'claim', 'lease_until')
  redis.call('HSET', wf, 'parked', reason)
  redis.call('ZREM', due, member)
  redis.call('ZADD', parked, text(now), member)
  return answer('parked', reason)
end
if attempt > delay_after and held_by and held_by ~= '(delayed)' then
  local delay = math.min(delay_first_ms * 2 ^ (attempt - delay_after - 1), delay_max_ms)
  local till = text(now + delay)
  redis.call('HINCRBY', wf, 'fence', 1)
  redis.call('HSET', wf, 'owner', '(delayed)', 'claim', claim, 'lease_until', till)
  redis.call('ZADD', due, till, member)
  return answer('delayed', till)
end

-- A server with full memory lets pass what comes after taking away. A pre-emptive signal must be
-- heard even then; no other claim may pass, because a turn whose commit cannot would count as lost.
if barrier then redis.call('HDEL', wf, 'owner', 'claim', 'lease_until') end
lease_until = text(now + lease_ms)
redis.call('HINCRBY', wf, 'fence', 1)
redis.call('HSET', wf, 'owner', owner, 'claim', claim, 'lease_until', lease_until,
  'attempt', attempt)
redis.call('ZADD', due, lease_until, member)
return answer('claimed', redis.call('HGETALL', wf), redis.call('HGETALL', sealed),
  redis.call('LRANGE', inbox, 0, inbox_max - 1))
