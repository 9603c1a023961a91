-- One reading of a workflow. Two separate reads could see a state and the blobs of another.
--
-- KEYS  1 due     zset    2 wf      hash    3 inbox   list    4 sealed  hash
-- ARGV  1 now ms, or '' for the server's clock     2 member of due
--       3 with the sealed blobs, '0' or '1'
-- Replies (all numbers as text)
--   found    now record sealed inbox_length score    score is '' where there is no entry in `due`
--   unknown  now
local due, wf, inbox, sealed = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local member, with_sealed = ARGV[2], ARGV[3] == '1'

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local now_text = string.format('%.0f', now)

local record = redis.call('HGETALL', wf)
if #record == 0 then return { 'unknown', now_text } end
local score = redis.call('ZSCORE', due, member)
return {
  'found', now_text, record,
  with_sealed and redis.call('HGETALL', sealed) or {},
  tostring(redis.call('LLEN', inbox)),
  score and string.format('%.0f', tonumber(score)) or '',
}
