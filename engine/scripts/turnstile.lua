-- Takes a name for a time, or goes on holding it.
--
-- KEYS  1 turnstile  string  who holds it; expires
-- ARGV  1 holder     2 for how long, ms
-- Replies
--   passed           held by the holder from now on, for so long
--   closed  other    somebody else holds it; nothing written
local turnstile = KEYS[1]
local holder, life_ms = ARGV[1], ARGV[2]

local other = redis.call('GET', turnstile)
if other and other ~= holder then return { 'closed', other } end
redis.call('SET', turnstile, holder, 'PX', life_ms)
return { 'passed' }
