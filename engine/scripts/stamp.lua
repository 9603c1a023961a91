-- Compares the store's stamp with the newest one that the caller has seen, and writes the next one. A store
-- whose stamp is older was restored from a backup, or has lost its last writes; that is written down before
-- the newer stamp, and in the same step, else nobody could notice any more.
--
-- KEYS  1 meta  hash  what the key space says of itself
-- ARGV  1 now ms, or '' for the server's clock
--       2 the newest stamp that the caller has seen, ms; '0' for none
--       3 write the next one, '0' or '1'
-- Replies (all numbers as text)
--   stamped  now stored stamp restored   stored is the stamp that was found, stamp the next one; restored is
--                                        when it was noticed that the store is an older one, '0' for never
--   older    now stored stamp restored   it was noticed just now
local meta = KEYS[1]
local newest, write = tonumber(ARGV[2]), ARGV[3] == '1'

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end

local function text(ms) return string.format('%.0f', ms) end

local stored, restored = unpack(redis.call('HMGET', meta, 'stamp', 'restored'))
stored, restored = tonumber(stored) or 0, tonumber(restored) or 0

local word = 'stamped'
if stored < newest then
  word, restored = 'older', now
  redis.call('HSET', meta, 'restored', text(now))
end
-- A clock that was stepped back does not make a stamp older.
local stamp = math.max(now, stored, newest)
if write then redis.call('HSET', meta, 'stamp', text(stamp)) end
return { word, text(now), text(stored), text(stamp), text(restored) }
