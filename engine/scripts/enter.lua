-- Takes a place in a gate: so many at once, so many a second, nobody while a pause lasts, and one at a
-- time behind a breaker that has opened. What the gate guards, this script does not know.
--
-- KEYS  1 gate    hash  paused_until throttled failed opened open_until trial next_us; forgotten after a day
--       2 places  zset  place -> when it ends, ms
-- ARGV  1 now ms, or '' for the server's clock     2 place, random
--       3 places there are                         4 between two beginnings, µs
--       5 life of a place that is not given back, ms
--       6 exempt from the pace, '0' or '1'         7 exempt from the breaker, '0' or '1'
--       8 until one that was let through must be back, ms
-- Replies (all numbers as text; nothing is written but where `entered` is answered)
--   entered  wait_ms troubled   in; begin after wait_ms. troubled '1': something went wrong lately
--   paused   left_ms            nobody gets in for so long
--   open     left_ms            the breaker: ask again after so long
--   full                        all places are taken
local gate, places = KEYS[1], KEYS[2]
local place, at_once, spacing_us = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local life_ms, unpaced, through = tonumber(ARGV[5]), ARGV[6] == '1', ARGV[7] == '1'
local trial_ms = ARGV[8]
local FORGOTTEN_MS = 86400000

local now_us
if ARGV[1] == '' then
  local time = redis.call('TIME')
  now_us = time[1] * 1000000 + time[2]
else
  now_us = ARGV[1] * 1000
end
local now = math.floor(now_us / 1000)

-- Lua prints large numbers with an exponent unless told otherwise.
local function text(number) return string.format('%.0f', number) end

local paused_until, open_until, trial, next_us, throttled, failed = unpack(redis.call(
  'HMGET', gate, 'paused_until', 'open_until', 'trial', 'next_us', 'throttled', 'failed'))

-- Sent once more because the answer was lost. It may be the very place that fills the gate, or is let
-- through the breaker.
local taken = redis.call('ZSCORE', places, place)
if taken and tonumber(taken) > now then return { 'entered', '0', '1' } end

local pause_left = (tonumber(paused_until) or 0) - now
if pause_left > 0 then return { 'paused', text(pause_left) } end

if open_until and not through then
  local open_left = tonumber(open_until) - now
  if open_left > 0 then return { 'open', text(open_left) } end
  -- Half open. The one that was let through is back, or gone, when its place is.
  local trial_ends = trial and redis.call('ZSCORE', places, trial)
  if trial_ends and tonumber(trial_ends) > now then return { 'open', trial_ms } end
end

if redis.call('ZCOUNT', places, '(' .. text(now), '+inf') >= at_once then return { 'full' } end

-- Only who has a place waits for the pace. So a next beginning that is further away than all of them
-- together was reckoned by a clock that has been stepped back since.
local window_us = at_once * spacing_us
local next_start = tonumber(next_us) or 0
if next_start > now_us + window_us then next_start = 0 end
next_start = math.max(next_start, now_us)
local start = unpaced and now_us or next_start

-- Writes from here on.
redis.call('ZREMRANGEBYSCORE', places, '-inf', text(now))
redis.call('ZADD', places, text(now + life_ms), place)
redis.call('PEXPIRE', places, FORGOTTEN_MS)
redis.call('HSET', gate, 'next_us', text(math.min(next_start + spacing_us, now_us + window_us)))
if open_until and not through then redis.call('HSET', gate, 'trial', place) end
redis.call('PEXPIRE', gate, FORGOTTEN_MS)
local troubled = (throttled or failed or open_until) and '1' or '0'
return { 'entered', text(math.ceil((start - now_us) / 1000)), troubled }
