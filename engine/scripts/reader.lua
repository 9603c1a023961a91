-- How far a reader of the outbox has come.
--
-- KEYS  1 events   stream    2 readers  hash, see drain.lua
-- ARGV  1 now ms, or '' for the server's clock     2 reader
-- Replies (all numbers as text)
--   reader  now unread unsettled oldest lost abandoned    oldest: position of the oldest that is not
--                                                         settled, '' if all are
--   nobody  now lost abandoned                            it is no reader here
local events, readers = KEYS[1], KEYS[2]
local reader = ARGV[2]

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

local read, lost, abandoned = unpack(redis.call('HMGET', readers,
  reader .. '.read', reader .. '.lost', reader .. '.abandoned'))
lost, abandoned = lost or '0', abandoned or '0'

local mine
if redis.call('EXISTS', events) == 1 then
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', events)) do
    if field(group, 'name') == reader then mine = group end
  end
end
if not mine then return { 'nobody', text(now), lost, abandoned } end

local info = redis.call('XINFO', 'STREAM', events)
local added, length = field(info, 'entries-added'), field(info, 'length')
-- What is gone already is not waiting any more.
local unread = math.min(added - (tonumber(read) or (added - length)), length)
local unsettled = field(mine, 'pending')
local oldest = ''
if unsettled > 0 then
  oldest = redis.call('XPENDING', events, reader)[2]
elseif unread > 0 then
  local next_one = redis.call('XRANGE', events, '(' .. field(mine, 'last-delivered-id'), '+', 'COUNT', 1)
  if next_one[1] then oldest = next_one[1][1] end
end
return { 'reader', text(now), text(math.max(unread, 0)), text(unsettled), oldest, lost, abandoned }
