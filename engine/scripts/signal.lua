-- Queues a signal; creates the workflow if asked to; a pre-emptive signal ends the lease at once.
--
-- KEYS  1 due     zset    2 parked  zset    3 wf      hash    4 inbox   list
-- ARGV  1 now ms, or '' for the server's clock     2 member of due
--       3 the signal                               4 pre-emptive, '0' or '1'
--       5 ends the lease of this claim id, or ''   6 create, '0' or '1'
--       7 initial state   8 initial data           9 schema
--      10 signals an inbox may hold
--      11 wake channel                            12 partition, as told on the wake channel
--      13 id of a pre-emptive signal that may be sent again, or ''
--      14 unless the very same plain signal waits already, '0' or '1'
-- Replies (all numbers as text)
--   queued   now v held    held is '1' while somebody holds the workflow: their commit makes it due
--   already  now v held    pre-emptive, and queued before under this id: it ends no lease again; or plain,
--                          and the very same waits
--   unknown  now           no such workflow, and the signal does not create one
--   full     now           the inbox holds as many as it may; nothing written
local due, parked, wf, inbox = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local member, payload, preemptive, ends_claim = ARGV[2], ARGV[3], ARGV[4] == '1', ARGV[5]
local create, state, data, schema = ARGV[6] == '1', ARGV[7], ARGV[8], ARGV[9]
local inbox_max, channel, partition, once = tonumber(ARGV[10]), ARGV[11], ARGV[12], ARGV[13]
local unless_it_waits = ARGV[14] == '1'

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local now_text = string.format('%.0f', now)

local v, owner, claim, reason, last = unpack(redis.call(
  'HMGET', wf, 'v', 'owner', 'claim', 'parked', 'signal'))
if not v and not create then return { 'unknown', now_text } end
if preemptive and once ~= '' and last == once then
  -- Written again on purpose, as in commit.lua; and taken away first, for a server with full memory.
  redis.call('HDEL', wf, 'signal')
  redis.call('HSET', wf, 'signal', once)
  return { 'already', now_text, v, owner and '1' or '0' }
end
local ends = ends_claim ~= '' and claim == ends_claim
if v and unless_it_waits and not preemptive and not ends then
  for i, text in ipairs(redis.call('LRANGE', inbox, 0, -1)) do
    if string.sub(text, (string.find(text, ' ', 1, true) or 0) + 1) == payload then
      -- Written again on purpose, as above.
      redis.call('LSET', inbox, i - 1, text)
      return { 'already', now_text, v, owner and '1' or '0' }
    end
  end
end
-- A pre-emptive signal is never refused: whoever disconnects must be able to.
if not preemptive and redis.call('LLEN', inbox) >= inbox_max then return { 'full', now_text } end

-- Writes from here on. Taking away comes first: after it a server with full memory lets the rest
-- pass, so that whoever disconnects can, whatever the memory.
if preemptive or ends then
  redis.call('HDEL', wf, 'owner', 'claim', 'lease_until')
  redis.call('HINCRBY', wf, 'fence', 1)
  owner = false
end
if not v then
  v = '0'
  redis.call('HSETNX', wf, 'fence', 0)
  redis.call('HSET', wf, 'state', state, 'data', data, 'schema', schema, 'v', v, 'attempt', 0)
end
local length = redis.call('RPUSH', inbox, now_text .. ' ' .. payload)

if preemptive then
  redis.call('HDEL', wf, 'parked')
  redis.call('HSET', wf, 'attempt', 0, 'barrier', 1, 'ahead', length)
  if once ~= '' then redis.call('HSET', wf, 'signal', once) end
  redis.call('ZREM', parked, member)
  reason = false
end

-- A signal never shortens a lease, and never wakes what waits for a human.
if not owner and not reason then
  redis.call('ZADD', due, now_text, member)
  redis.call('PUBLISH', channel, partition .. ' ' .. now_text)
end
return { 'queued', now_text, v, owner and '1' or '0' }
