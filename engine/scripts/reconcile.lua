-- Compares one entry of the index with the record, which is the truth, and puts the index right.
--
-- KEYS  1 due     zset    2 parked  zset    3 wf      hash    4 inbox   list
-- ARGV  1 now ms, or '' for the server's clock     2 member of due
-- Replies (all numbers as text)
--   right     now
--   repaired  now what    what is 'missing', 'stray', 'score' or 'parked'
local due, parked, wf, inbox = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local member = ARGV[2]

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local now_text = string.format('%.0f', now)

local v, owner, lease_until, activity, visible_at, wake_at, reason = unpack(redis.call(
  'HMGET', wf, 'v', 'owner', 'lease_until', 'activity', 'visible_at', 'wake_at', 'parked'))
local score = redis.call('ZSCORE', due, member)

-- The wanted score: PROTOCOL of the engine, "the record". `ready` stands for "now": any score
-- that has come is right.
local wanted, ready
if v then
  if owner then
    wanted = lease_until
  elseif reason then
    wanted = false
  elseif activity or redis.call('EXISTS', inbox) == 1 then
    wanted, ready = now_text, true
  else
    wanted = visible_at or wake_at
  end
end

local what
if not wanted then
  if score then
    redis.call('ZREM', due, member)
    what = 'stray'
  end
elseif not score then
  redis.call('ZADD', due, wanted, member)
  what = 'missing'
elseif ready then
  if tonumber(score) > now then
    redis.call('ZADD', due, wanted, member)
    what = 'score'
  end
elseif tonumber(score) ~= tonumber(wanted) then
  redis.call('ZADD', due, wanted, member)
  what = 'score'
end

local listed = redis.call('ZSCORE', parked, member)
if (v and reason) and not listed then
  redis.call('ZADD', parked, now_text, member)
  what = what or 'parked'
elseif listed and not (v and reason) then
  redis.call('ZREM', parked, member)
  what = what or 'parked'
end

if what then return { 'repaired', now_text, what } end
return { 'right', now_text }
