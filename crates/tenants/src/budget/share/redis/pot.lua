-- Takes one replica's report of one budget and answers what it may spend from now on.
-- The same rules as `Pot` in share/pot.rs, step by step.
--
-- KEYS[1]  the pot's hash: `used`, `grace`, and `r:<id>` for each replica
-- ARGV     id, sequence, limit, base, 1 when the pot told the base, base_spent, spent, kept, need,
--          wanted, grace and gone in ms, 1 when the replica leaves, how long to keep the pot in ms,
--          the time in ms, or nothing for the server's own, spare
-- Returns  {used, held, spare elsewhere, short, in grace}, or nothing when a later report came before

local SEQUENCE, SPENT, HELD, NEED, SEEN, SPARE = 1, 2, 3, 4, 5, 6

local id, is_told, leaves = ARGV[1], ARGV[5] == '1', ARGV[13] == '1'
local sequence, limit, base = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local base_spent, spent, kept = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local need, wanted, spare = tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[16])
local grace, gone_after, keep = tonumber(ARGV[11]), tonumber(ARGV[12]), tonumber(ARGV[14])
local now = tonumber(ARGV[15])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local used, grace_until, replicas = 0, nil, {}
local fields = redis.call('HGETALL', KEYS[1])
for place = 1, #fields, 2 do
  local name, value = fields[place], fields[place + 1]
  if name == 'used' then
    used = tonumber(value)
  elseif name == 'grace' then
    grace_until = tonumber(value)
  else
    replicas[string.sub(name, 3)] = cmsgpack.unpack(value)
  end
end

local me = replicas[id]
if me and me[SEQUENCE] >= sequence then
  return {}
end

local is_new = grace_until == nil
if is_new then
  local is_lost = base > 0 or spent > 0 or kept > 0
  grace_until = is_lost and now + grace or 0
end
local gone_before = math.max(0, now - gone_after)
for other, held in pairs(replicas) do
  if held[SEEN] < gone_before and other ~= id then
    used = used + held[HELD]
    replicas[other] = nil
    redis.call('HDEL', KEYS[1], 'r:' .. other)
  end
end

local in_grace = now < grace_until
local since_base = math.max(0, spent - base_spent)
if me then
  used = used + math.max(0, spent - me[SPENT])
  if is_told then
    used = math.max(used, base + since_base)
  end
else
  if is_told or is_new or in_grace then
    used = math.max(used, base)
  end
  used = used + since_base
end
spent = math.max(spent, me and me[SPENT] or 0)

local function store()
  redis.call('HSET', KEYS[1], 'used', string.format('%.0f', used),
    'grace', string.format('%.0f', grace_until))
  redis.call('PEXPIRE', KEYS[1], keep)
end

if leaves then
  used = used + kept
  redis.call('HDEL', KEYS[1], 'r:' .. id)
  store()
  return {}
end

local held, spare_elsewhere, others_lack = 0, 0, false
for other, its in pairs(replicas) do
  if other ~= id then
    held = held + its[HELD]
    spare_elsewhere = spare_elsewhere + its[SPARE]
    others_lack = others_lack or its[NEED] > 0
  end
end
local gone = used + held + kept
local free = math.max(0, limit - gone)
local given
if in_grace or need > free then
  given = 0
elseif others_lack then
  given = need
else
  given = math.min(math.max(wanted, need), free)
end
local lacks = given < need
local mine = kept + given
redis.call('HSET', KEYS[1], 'r:' .. id,
  cmsgpack.pack({ sequence, spent, mine, lacks and need or 0, now,
    spare + math.max(0, given - need) }))
store()
return { used, mine, spare_elsewhere, (others_lack or gone > limit) and 1 or 0, in_grace and 1 or 0 }
