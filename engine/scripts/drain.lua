-- Hands events to a reader of the outbox, which is a consumer group on the partition's stream: what it
-- has not had yet, or once more what it has had and not settled. Whoever asks for what is new and is no
-- reader becomes one, of what comes from then on. What was pushed out of the stream before the reader
-- had settled it is counted, and told as an event of its own.
--
-- KEYS  1 events   stream
--       2 readers  hash    for each reader, as `<reader>.<field>`: `read`, how many of all entries that
--                          the stream ever had lie behind it; `lost`; `abandoned`
-- ARGV  1 now ms, or '' for the server's clock     2 reader
--       3 'new' or 'again'                         4 again: after this position
--       5 how many at most                         6 events to keep at most
--       7 partition, as a gap tells it             8 at, as a gap tells it
-- Replies (all numbers as text)
--   drained  now lost through entries    through is the last position looked at, '' if there was none;
--                                        entries: position and fields of each
local events, readers = KEYS[1], KEYS[2]
local reader, again, after, count = ARGV[2], ARGV[3] == 'again', ARGV[4], ARGV[5]
local events_max, partition, at = ARGV[6], ARGV[7], ARGV[8]

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

local joined = false
if redis.call('EXISTS', events) == 1 then
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', events)) do
    if field(group, 'name') == reader then joined = true end
  end
end
if not joined then
  if again then return { 'drained', text(now), '0', '', {} } end
  redis.call('XGROUP', 'CREATE', events, reader, '$', 'MKSTREAM')
  local info = redis.call('XINFO', 'STREAM', events)
  redis.call('HSET', readers, reader .. '.read', text(field(info, 'entries-added')))
end

-- One consumer, because one process at a time is the reader.
local function take(from)
  local answer = redis.call('XREADGROUP', 'GROUP', reader, reader, 'COUNT', count, 'STREAMS', events, from)
  return answer and answer[1][2] or {}
end

-- Reading comes first: after it a server with full memory lets the rest pass.
local lost, through, entries = 0, '', {}
if again then
  local gone = {}
  for _, entry in ipairs(take(after)) do
    through = entry[1]
    if entry[2] then entries[#entries + 1] = entry else gone[#gone + 1] = entry[1] end
  end
  if #gone > 0 then lost = redis.call('XACK', events, reader, unpack(gone)) end
else
  -- Entries only ever go from the front, so those that are gone are the first ones.
  local info = redis.call('XINFO', 'STREAM', events)
  local gone = field(info, 'entries-added') - field(info, 'length')
  local behind = tonumber(redis.call('HGET', readers, reader .. '.read')) or gone
  lost = math.max(gone - behind, 0)
  entries = take('>')
  if #entries > 0 then through = entries[#entries][1] end
  if lost > 0 or #entries > 0 then
    redis.call('HSET', readers, reader .. '.read', text(behind + lost + #entries))
  end
end

if lost > 0 then
  local in_all = text(redis.call('HINCRBY', readers, reader .. '.lost', lost))
  redis.call('XADD', events, 'MAXLEN', '~', events_max, '*',
    'id', 'gap-' .. reader .. '-' .. partition .. '-' .. text(now) .. '-' .. in_all,
    'event', 'gap', 'subject', '', 'at', at,
    'payload', '{"partition":' .. partition .. ',"reader":"' .. reader .. '","lost":' .. text(lost) ..
      ',"lostInAll":' .. in_all .. '}')
end
return { 'drained', text(now), text(lost), through, entries }
