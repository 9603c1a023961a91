-- Writes one transition: state, timer, activity, sealed blobs, consumed signals, log and events,
-- all or nothing. Everything is validated before the first write.
--
-- KEYS  1 due     zset    2 parked  zset    3 wf      hash    4 inbox   list
--       5 sealed  hash    6 log     list    7 events  stream
-- ARGV  1 now ms, or '' for the server's clock     2 member of due
--       3 fence                                    4 claim id
--       5 commit id                                6 strict, '0' or '1'
--       7 signals consumed
--       8 state      9 data     10 schema
--      11 wake_at, ms or ''    12 visible_at, ms or ''
--      13 activity or ''       14 keep: renew the lease by so many ms, or '' for the final commit
--      15 finish, '0' or '1'   16 park: reason or ''
--      17 heads: how many next due entries to tell
--      18 log entries to keep  19 log entry or ''
--      20 events to keep at most
--      21 wake channel         22 partition, as told on the wake channel
--      23 most signals told by `signals`
--      24 id of the commit that this one was worked out from, '' for none
--      25 the last of the signals consumed, as it was read; '' if only their count is known
--      26 number of sealed operations, then for each, in the order in which they are meant:
--         'put' field value | 'erase' field '' | 'clear' '' ''
--       + for each event: id, name, subject's field, subject, at, payload
-- Replies (all numbers as text)
--   committed  now heads v         written
--   already    now heads v ours    written before, by this very commit; ours is '1' while the lease is
--   fenced     now heads v         somebody else has claimed since, or nobody holds it, or record or inbox
--                                  is not what this was worked out from: nothing written
--   signals    now heads rest      strict, and signals came since the claim: nothing written
--   unknown    now heads           no such workflow
--   invalid    now heads why       the caller is wrong: nothing written
local due, parked, wf, inbox = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local sealed, log, events = KEYS[5], KEYS[6], KEYS[7]
local member, fence, claim, commit = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local strict, consumed = ARGV[6] == '1', tonumber(ARGV[7])
local state, data, schema = ARGV[8], ARGV[9], ARGV[10]
local wake_at, visible_at, activity, keep_ms = ARGV[11], ARGV[12], ARGV[13], tonumber(ARGV[14])
local finish, park, heads = ARGV[15] == '1', ARGV[16], tonumber(ARGV[17])
local log_max, log_entry, events_max = tonumber(ARGV[18]), ARGV[19], ARGV[20]
local channel, partition, rest_max = ARGV[21], ARGV[22], tonumber(ARGV[23])
local follows, last_heard = ARGV[24], ARGV[25]
local sealed_ops, sealed_first = tonumber(ARGV[26]), 27

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end

local function text(ms) return string.format('%.0f', ms) end

local function answer(word, ...)
  local next_due = redis.call('ZRANGE', due, 0, heads - 1, 'WITHSCORES')
  return { word, text(now), next_due, ... }
end

local held_fence, held_claim, owner, last_commit, v, ahead = unpack(redis.call(
  'HMGET', wf, 'fence', 'claim', 'owner', 'commit', 'v', 'ahead'))
if not v then return answer('unknown') end
if last_commit == commit then
  -- Written again on purpose: an acknowledgement (WAIT, WAITAOF) speaks only of writes of the
  -- connection that asks, and this reply may travel on a new one.
  redis.call('HSET', wf, 'commit', commit)
  return answer('already', v, (owner and held_claim == claim) and '1' or '0')
end
if not owner or held_fence ~= fence or held_claim ~= claim then return answer('fenced', v) end
-- A failover may keep the claim and lose the intent that was written under it. What was worked out
-- from the intent's state must not be written onto the state before it.
if (last_commit or '') ~= follows then return answer('fenced', v) end

-- It may also keep the claim and lose signals that the holder was told of since. What has come in their
-- place nobody has heard, and it must not be taken for them.
if last_heard ~= '' and redis.call('LINDEX', inbox, consumed - 1) ~= last_heard then
  return answer('fenced', v)
end

local waiting = redis.call('LLEN', inbox)
if consumed > waiting then
  return answer('invalid', 'the commit consumes ' .. consumed .. ' signals of ' .. waiting)
end
if keep_ms and park ~= '' then
  return answer('invalid', 'a workflow that is kept cannot be parked')
end
if (strict or finish) and waiting > consumed then
  return answer('signals', redis.call('LRANGE', inbox, consumed, consumed + rest_max - 1))
end

-- Writes from here on. Erasing comes first: after it a server with full memory lets the rest pass.
for i = 0, sealed_ops - 1 do
  local op = sealed_first + 3 * i
  if ARGV[op] == 'clear' then
    redis.call('DEL', sealed)
  elseif ARGV[op] == 'erase' then
    redis.call('HDEL', sealed, ARGV[op + 1])
  end
end
-- From the last operation to the first: what was put before it was erased must not come back.
local settled = {}
for i = sealed_ops - 1, 0, -1 do
  local op = sealed_first + 3 * i
  local what, field = ARGV[op], ARGV[op + 1]
  if what == 'clear' then break end
  if what == 'put' and not settled[field] then redis.call('HSET', sealed, field, ARGV[op + 2]) end
  settled[field] = true
end

v = text(tonumber(v) + 1)
for i = sealed_first + 3 * sealed_ops, #ARGV, 6 do
  redis.call('XADD', events, 'MAXLEN', '~', events_max, '*', 'id', ARGV[i], 'event', ARGV[i + 1],
    ARGV[i + 2], ARGV[i + 3], 'at', ARGV[i + 4], 'payload', ARGV[i + 5])
end

if finish then
  redis.call('DEL', wf, inbox, sealed, log)
  redis.call('ZREM', due, member)
  redis.call('ZREM', parked, member)
  return answer('committed', v)
end

redis.call('LTRIM', inbox, consumed, -1)
redis.call('HSET', wf, 'state', state, 'data', data, 'schema', schema, 'v', v, 'commit', commit)
local function put(field, value)
  if value == '' then redis.call('HDEL', wf, field) else redis.call('HSET', wf, field, value) end
end
put('wake_at', wake_at)
put('visible_at', visible_at)
put('activity', activity)
put('parked', park)
-- What comes behind a pre-emptive signal does not keep its barrier up.
if waiting == consumed or (ahead and consumed >= tonumber(ahead)) then
  redis.call('HDEL', wf, 'barrier', 'ahead')
elseif ahead and consumed > 0 then
  redis.call('HINCRBY', wf, 'ahead', -consumed)
end
if log_max > 0 and log_entry ~= '' then
  redis.call('RPUSH', log, log_entry)
  redis.call('LTRIM', log, -log_max, -1)
end

local wanted
if keep_ms then
  wanted = text(now + keep_ms)
  redis.call('HSET', wf, 'lease_until', wanted)
else
  redis.call('HDEL', wf, 'owner', 'claim', 'lease_until')
  redis.call('HSET', wf, 'attempt', 0)
  if park ~= '' then
    wanted = ''
  elseif waiting > consumed or activity ~= '' then
    wanted = text(now)
  else
    wanted = visible_at ~= '' and visible_at or wake_at
  end
end
if park ~= '' then
  redis.call('ZADD', parked, text(now), member)
else
  redis.call('ZREM', parked, member)
end
if wanted == '' then
  redis.call('ZREM', due, member)
else
  redis.call('ZADD', due, wanted, member)
  if not keep_ms and redis.call('ZRANGE', due, 0, 0)[1] == member then
    redis.call('PUBLISH', channel, partition .. ' ' .. wanted)
  end
end
return answer('committed', v)
