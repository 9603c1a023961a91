-- 0001: makes the key space. From nothing to version 1.
--
-- KEYS  1 meta    hash    what the key space is
-- ARGV  1 now ms, or '' for the server's clock
--       2 partitions
--       3 salt: 32 random bytes as hex digits; keys the fingerprints of spent refresh tokens
-- Replies
--   applied             the key space was made
--   present  version    it was there; nothing written
local meta = KEYS[1]
local now, partitions, salt = tonumber(ARGV[1]), ARGV[2], ARGV[3]

local version = redis.call('HGET', meta, 'version')
if version then return { 'present', version } end

if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local now_text = string.format('%.0f', now)
redis.call('HSET', meta, 'version', 1, 'partitions', partitions, 'created_at', now_text,
  'salt', salt, 'stamp', now_text)
return { 'applied' }
