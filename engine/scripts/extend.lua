-- What a holder may do with its lease besides committing: renew it, or give the workflow back.
--
-- KEYS  1 due     zset    2 wf      hash    3 inbox   list
-- ARGV  1 now ms, or '' for the server's clock     2 member of due
--       3 fence                                    4 claim id
--       5 'renew' or 'give_back'
--       6 renew: lease, ms. give_back: ms from now until when nobody may have it, '0' for at once
--       7 give_back: does the attempt count, '0' or '1'
--       8 wake channel                             9 partition, as told on the wake channel
-- Replies (all numbers as text)
--   extended    now lease_until
--   given_back  now
--   fenced      now               not ours any more; nothing written
local due, wf, inbox = KEYS[1], KEYS[2], KEYS[3]
local member, fence, claim, what = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local span_ms, counts, channel, partition = tonumber(ARGV[6]), ARGV[7] == '1', ARGV[8], ARGV[9]

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local now_text = string.format('%.0f', now)
local until_text = string.format('%.0f', now + span_ms)

local held_fence, held_claim, owner, attempt, activity, visible_at, wake_at, reason = unpack(
  redis.call('HMGET', wf, 'fence', 'claim', 'owner', 'attempt', 'activity', 'visible_at',
    'wake_at', 'parked'))
if not owner or held_fence ~= fence or held_claim ~= claim then return { 'fenced', now_text } end

if what == 'renew' then
  redis.call('HSET', wf, 'lease_until', until_text)
  redis.call('ZADD', due, until_text, member)
  return { 'extended', now_text, until_text }
end

if not counts then
  redis.call('HSET', wf, 'attempt', math.max((tonumber(attempt) or 1) - 1, 0))
end
if span_ms > 0 then
  -- A lease that nobody holds: also a waiting signal or a lost activity does not make it visible.
  redis.call('HINCRBY', wf, 'fence', 1)
  redis.call('HSET', wf, 'owner', '(given back)', 'lease_until', until_text)
  redis.call('HDEL', wf, 'claim')
  redis.call('ZADD', due, until_text, member)
  return { 'given_back', now_text }
end

redis.call('HDEL', wf, 'owner', 'claim', 'lease_until')
local wanted
if reason then
  wanted = false
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
return { 'given_back', now_text }
