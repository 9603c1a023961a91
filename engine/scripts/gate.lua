-- Tells a gate how it went inside, and how it stands afterwards.
--
-- KEYS  1 gate    hash  paused_until throttled failed opened open_until trial next_us; forgotten after a day
--       2 places  zset  place -> when it ends, ms
-- ARGV  1 now ms, or '' for the server's clock
--       2 'answered', 'failed', 'throttled', or '' to say nothing
--       3 throttled: the pause that was asked for, ms; '' if its length was not said
--       4 first pause of unsaid length, ms         5 longest pause of unsaid length, ms
--       6 longest pause, ms                        7 failures in a row that open the breaker
--       8 how long it is open first, ms            9 how long it is open at most, ms
-- Replies (all numbers as text)
--   gate  pause_left_ms breaker open_left_ms inside throttled failed
--     breaker is 'closed', 'open' or 'half_open'
local gate, places = KEYS[1], KEYS[2]
local said, pause_ms = ARGV[2], tonumber(ARGV[3])
local pause_first_ms, pause_chosen_max_ms = tonumber(ARGV[4]), tonumber(ARGV[5])
local pause_max_ms, opens_after = tonumber(ARGV[6]), tonumber(ARGV[7])
local open_first_ms, open_max_ms = tonumber(ARGV[8]), tonumber(ARGV[9])
local FORGOTTEN_MS = 86400000
local DOUBLINGS_MAX = 16

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Lua prints large numbers with an exponent unless told otherwise.
local function text(number) return string.format('%.0f', number) end

local function doubled(first, times, most)
  return math.min(first * 2 ^ math.min(times, DOUBLINGS_MAX), most)
end

local function read()
  local paused_until, throttled, failed, opened, open_until = unpack(redis.call(
    'HMGET', gate, 'paused_until', 'throttled', 'failed', 'opened', 'open_until'))
  return (tonumber(paused_until) or 0) - now, tonumber(throttled) or 0, tonumber(failed) or 0,
    tonumber(opened) or 0, (tonumber(open_until) or 0) - now
end

local pause_left, throttled, failed, opened, open_left = read()

if said == 'answered' then
  redis.call('HDEL', gate, 'failed', 'opened', 'open_until', 'trial')
  -- What left before the pause began says nothing of it.
  if pause_left <= 0 then redis.call('HDEL', gate, 'throttled') end
elseif said == 'failed' then
  redis.call('HSET', gate, 'failed', failed + 1)
  -- Those that failed while it was open had left before: one time, not many.
  if (opened == 0 and failed + 1 >= opens_after) or (opened > 0 and open_left <= 0) then
    local span = doubled(open_first_ms, opened, open_max_ms)
    redis.call('HSET', gate, 'opened', opened + 1, 'open_until', text(now + span))
    redis.call('HDEL', gate, 'trial')
  end
elseif said == 'throttled' and (pause_ms or pause_left <= 0) then
  -- Those that are throttled together are throttled once; only a longer wish counts then.
  local span
  if not pause_ms then
    span = doubled(pause_first_ms, throttled, pause_chosen_max_ms)
  elseif throttled > 0 and pause_left <= 0 then
    span = math.max(pause_ms, doubled(pause_first_ms, throttled - 1, pause_chosen_max_ms))
  else
    span = pause_ms
  end
  if pause_left <= 0 then redis.call('HSET', gate, 'throttled', throttled + 1) end
  span = math.max(math.min(span, pause_max_ms), pause_left)
  redis.call('HSET', gate, 'paused_until', text(now + span))
end
if said ~= '' then
  redis.call('PEXPIRE', gate, FORGOTTEN_MS)
  pause_left, throttled, failed, opened, open_left = read()
end

local breaker = 'closed'
if opened > 0 then breaker = open_left > 0 and 'open' or 'half_open' end
local inside = redis.call('ZCOUNT', places, '(' .. text(now), '+inf')
return { 'gate', text(math.max(pause_left, 0)), breaker, text(math.max(open_left, 0)), text(inside),
  text(throttled), text(failed) }
