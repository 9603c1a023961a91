-- Compares entries of the index with their records, which are the truth, and puts the index right.
--
-- KEYS  1 due     zset    2 parked  zset
--       + for each workflow, all of one partition: wf hash, inbox list
-- ARGV  1 now ms, or '' for the server's clock
--       + for each workflow, in the same order: member of due
-- Replies (all numbers as text)
--   compared  now  and for each workflow, in the same order, what was found:
--     right                           the two agree
--     missing, stray, score, parked   the entry, or the set of parked workflows, was put right
--     unreadable                      the record is not one of ours: nothing was touched
local due, parked = KEYS[1], KEYS[2]
local count = #ARGV - 1

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local now_text = string.format('%.0f', now)

-- One call for all of them where that is possible: what a step costs is calls.
local scores = redis.call('ZMSCORE', due, unpack(ARGV, 2))
local listed = redis.call('ZMSCORE', parked, unpack(ARGV, 2))
local inboxes = {}
for i = 1, count do inboxes[i] = KEYS[2 * i + 2] end
local signals_wait = redis.call('EXISTS', unpack(inboxes)) > 0

-- Everything is read before the first write.
local found = { 'compared', now_text }
local take, put, release, park = {}, {}, {}, {}
for i = 1, count do
  local member, score = ARGV[i + 1], scores[i]
  local fields = redis.pcall('HMGET', KEYS[2 * i + 1], 'v', 'owner', 'lease_until', 'activity',
    'visible_at', 'wake_at', 'parked')
  local v, owner, lease_until, activity, visible_at, wake_at, reason = unpack(fields)

  -- The wanted score: PROTOCOL of the engine, "the record". `ready` stands for "now": any score
  -- that has come is right.
  local wanted, ready
  if v then
    if owner then
      wanted = lease_until
    elseif reason then
      wanted = false
    elseif activity or (signals_wait and redis.call('EXISTS', inboxes[i]) == 1) then
      wanted, ready = now_text, true
    else
      wanted = visible_at or wake_at
    end
  end

  local what = 'right'
  if fields.err or (wanted and not tonumber(wanted)) then
    what = 'unreadable'
  else
    if not wanted then
      if score then
        take[#take + 1] = member
        what = 'stray'
      end
    elseif not score then
      what = 'missing'
    elseif ready then
      if tonumber(score) > now then what = 'score' end
    elseif tonumber(score) ~= tonumber(wanted) then
      what = 'score'
    end
    if what == 'missing' or what == 'score' then
      put[#put + 1], put[#put + 2] = wanted, member
    end

    local waits_for_a_human = v and reason
    if waits_for_a_human and not listed[i] then
      park[#park + 1], park[#park + 2] = now_text, member
      if what == 'right' then what = 'parked' end
    elseif listed[i] and not waits_for_a_human then
      release[#release + 1] = member
      if what == 'right' then what = 'parked' end
    end
  end
  found[i + 2] = what
end

-- Taking away comes first: after it a server with full memory lets the rest pass.
if #take > 0 then redis.call('ZREM', due, unpack(take)) end
if #release > 0 then redis.call('ZREM', parked, unpack(release)) end
if #put > 0 then redis.call('ZADD', due, unpack(put)) end
if #park > 0 then redis.call('ZADD', parked, unpack(park)) end
return found
