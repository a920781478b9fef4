/**
 * What runs inside Redis, each step as a whole. A window is a hash of second to count, with the seconds of Redis' own clock; slots are a hash of
 * process to count, and count only while their process gives signs of life.
 */
export const REGION_SCRIPTS = {
  /** KEYS: window, birth. ARGV: birth, seconds of the window, seconds ahead, limit, need, want, sharers. */
  take: `
if redis.call('HGET', KEYS[2], 'at') ~= ARGV[1] then return { -1, 0, 0, 1 } end
local now = tonumber(redis.call('TIME')[1])
local window, ahead, limit = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local need, want, sharers = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local oldest = now - window
local fields = redis.call('HGETALL', KEYS[1])
local counts, sum = {}, 0
for index = 1, #fields, 2 do
  local second = tonumber(fields[index])
  if second < oldest then
    redis.call('HDEL', KEYS[1], fields[index])
  else
    counts[second] = tonumber(fields[index + 1])
    sum = sum + counts[second]
  end
end
local remaining, granted, reset = limit - sum, 0, 1
if remaining >= need and remaining > 0 then
  granted = math.max(need, math.min(want, math.floor(remaining / (2 * sharers))))
end
if granted > 0 then
  redis.call('HINCRBY', KEYS[1], now + ahead, granted)
  redis.call('EXPIRE', KEYS[1], window + ahead + 2)
else
  local left, least = sum, math.max(1, need)
  reset = window
  for second = oldest, now + ahead do
    left = left - (counts[second] or 0)
    if left + least <= limit then
      reset = second - oldest + 1
      break
    end
  end
end
return { granted, now + ahead, math.max(0, remaining - granted), reset }`,

  /** KEYS: window. ARGV: second, amount. */
  back: `
local count = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '0')
if count > 0 then redis.call('HINCRBY', KEYS[1], ARGV[1], -math.min(count, tonumber(ARGV[2]))) end
return 0`,

  /** KEYS: window. ARGV: seconds of the window, seconds ahead, amount. */
  charge: `
redis.call('HINCRBY', KEYS[1], redis.call('TIME')[1], ARGV[3])
redis.call('EXPIRE', KEYS[1], tonumber(ARGV[1]) + tonumber(ARGV[2]) + 2)
return 0`,

  /** KEYS: slots, birth, processes. ARGV: birth, process, milliseconds without a sign of life, limit, need, want, sharers. */
  take_slots: `
if redis.call('HGET', KEYS[2], 'at') ~= ARGV[1] then return { -1, 0, 0, 1 } end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local limit, need, want, sharers = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local fields = redis.call('HGETALL', KEYS[1])
local sum = 0
for index = 1, #fields, 2 do
  local seen = redis.call('ZSCORE', KEYS[3], fields[index])
  if fields[index] ~= ARGV[2] and (not seen or now - tonumber(seen) > tonumber(ARGV[3])) then
    redis.call('HDEL', KEYS[1], fields[index])
  else
    sum = sum + tonumber(fields[index + 1])
  end
end
local remaining, granted = limit - sum, 0
if remaining >= need and remaining > 0 then
  granted = math.max(need, math.min(want, math.floor(remaining / (2 * sharers))))
end
if granted > 0 then
  redis.call('HINCRBY', KEYS[1], ARGV[2], granted)
  redis.call('EXPIRE', KEYS[1], 86400)
end
return { granted, 0, math.max(0, remaining - granted), 1 }`,

  /** KEYS: slots. ARGV: process, amount. */
  back_slots: `
if redis.call('HINCRBY', KEYS[1], ARGV[1], -tonumber(ARGV[2])) <= 0 then redis.call('HDEL', KEYS[1], ARGV[1]) end
return 0`,

  /** KEYS: slots. ARGV: process, slots. */
  claim_slots: `
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('EXPIRE', KEYS[1], 86400)
return 0`,

  /**
   * KEYS: processes, instances, birth. ARGV: process, instance, milliseconds without a sign of life. Returns when the data began, its age, and the
   * live instances. Data of an earlier run of the server may be older than what was counted last, so it does not count as kept.
   */
  beat: `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for index = 1, 2 do
  redis.call('ZADD', KEYS[index], now, ARGV[index])
  redis.call('ZREMRANGEBYSCORE', KEYS[index], '-inf', now - tonumber(ARGV[3]))
end
local info = redis.pcall('INFO', 'server')
local run = type(info) == 'string' and string.match(info, 'run_id:(%x+)') or ''
if redis.call('HGET', KEYS[3], 'run') ~= run then redis.call('HSET', KEYS[3], 'at', string.format('%.0f', now), 'run', run) end
local birth = redis.call('HGET', KEYS[3], 'at')
return { birth, now - tonumber(birth), redis.call('ZCARD', KEYS[2]) }`,

  /** KEYS: processes, instances. ARGV: process, instance ('' when others of it live on). */
  leave: `
redis.call('ZREM', KEYS[1], ARGV[1])
if ARGV[2] ~= '' then redis.call('ZREM', KEYS[2], ARGV[2]) end
return 0`,
} as const;

export type RegionScript = keyof typeof REGION_SCRIPTS;
