-- Gives a parked workflow back: a human has looked at it, and its claims are counted anew.
--
-- KEYS  1 due     zset    2 parked  zset    3 wf      hash    4 inbox   list
-- ARGV  1 now ms, or '' for the server's clock     2 member of due
--       3 wake channel                             4 partition, as told on the wake channel
-- Replies (all numbers as text)
--   requeued    now       it has the entry in `due` again that its record calls for
--   not_parked  now       it does not wait for a human; nothing written
--   unknown     now       no such workflow
local due, parked, wf, inbox = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local member, channel, partition = ARGV[2], ARGV[3], ARGV[4]

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local now_text = string.format('%.0f', now)

local v, lease_until, activity, visible_at, wake_at, reason = unpack(redis.call(
  'HMGET', wf, 'v', 'lease_until', 'activity', 'visible_at', 'wake_at', 'parked'))
if not v then return { 'unknown', now_text } end
if not reason then return { 'not_parked', now_text } end

-- Writes from here on. Taking away comes first: after it a server with full memory lets the rest pass.
redis.call('HDEL', wf, 'parked')
redis.call('ZREM', parked, member)
redis.call('HSET', wf, 'attempt', 0)

local wanted
if lease_until then
  wanted = lease_until
elseif activity or redis.call('EXISTS', inbox) == 1 then
  wanted = now_text
else
  wanted = visible_at or wake_at
end
if wanted then
  redis.call('ZADD', due, wanted, member)
  if redis.call('ZRANGE', due, 0, 0)[1] == member then
    redis.call('PUBLISH', channel, partition .. ' ' .. wanted)
  end
else
  redis.call('ZREM', due, member)
end
return { 'requeued', now_text }
