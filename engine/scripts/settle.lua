-- A reader of the outbox has dealt with events. What every reader has settled, and what is old enough
-- then, leaves the stream.
--
-- KEYS  1 events   stream    2 readers  hash, see drain.lua
-- ARGV  1 now ms, or '' for the server's clock     2 reader
--       3 'done' or 'abandoned'                    4 keep what is settled for so many ms
--       + positions
-- Replies (all numbers as text)
--   settled  now count    so many of them were not settled before
local events, readers = KEYS[1], KEYS[2]
local reader, abandoned, keep_ms = ARGV[2], ARGV[3] == 'abandoned', tonumber(ARGV[4])

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local function text(number) return string.format('%.0f', number) end

local function field(flat, name)
  for i = 1, #flat, 2 do
    if flat[i] == name then return flat[i + 1] end
  end
end

local function is_before(one, other)
  local ms, number = string.match(one, '^(%d+)-(%d+)$')
  local other_ms, other_number = string.match(other, '^(%d+)-(%d+)$')
  ms, other_ms = tonumber(ms), tonumber(other_ms)
  return ms < other_ms or (ms == other_ms and tonumber(number) < tonumber(other_number))
end

if redis.call('EXISTS', events) == 0 then return { 'settled', text(now), '0' } end
local settled = 0
if #ARGV > 4 then settled = redis.call('XACK', events, reader, unpack(ARGV, 5)) end
if abandoned and settled > 0 then redis.call('HINCRBY', readers, reader .. '.abandoned', settled) end

-- From here on nobody needs what is older: the oldest that a reader has not settled, or the last that
-- it has had.
local oldest = text(math.max(now - keep_ms, 0)) .. '-0'
for _, group in ipairs(redis.call('XINFO', 'GROUPS', events)) do
  local needed = field(group, 'last-delivered-id')
  if field(group, 'pending') > 0 then
    needed = redis.call('XPENDING', events, field(group, 'name'))[2]
  end
  if is_before(needed, oldest) then oldest = needed end
end
redis.call('XTRIM', events, 'MINID', '~', oldest)
return { 'settled', text(now), text(settled) }
