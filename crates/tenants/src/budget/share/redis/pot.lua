-- Takes one replica's report of one budget and answers what it may spend from now on.
-- The same rules as `Pot` in share/pot.rs, step by step.
--
-- KEYS[1]  the pot's hash: `base`, `added`, `grace`, and `r:<id>` for each replica
-- KEYS[2]  what is there until the server loses its data
-- KEYS[3]  what is there for a while after it was found missing
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

local own_base, added, grace_until, replicas = 0, 0, nil, {}
local fields = redis.call('HGETALL', KEYS[1])
for place = 1, #fields, 2 do
  local name, value = fields[place], fields[place + 1]
  if name == 'base' then
    own_base = tonumber(value)
  elseif name == 'added' then
    added = tonumber(value)
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
  if redis.call('SETNX', KEYS[2], id) == 1 then
    redis.call('SET', KEYS[3], id, 'PX', grace)
  end
  local is_fresh = redis.call('EXISTS', KEYS[3]) == 1
  local is_lost = is_fresh or base > 0 or spent > 0 or kept > 0
  grace_until = is_lost and now + grace or 0
end
local gone_before = math.max(0, now - gone_after)
for other, held in pairs(replicas) do
  if held[SEEN] < gone_before and other ~= id then
    added = added + held[HELD]
    replicas[other] = nil
    redis.call('HDEL', KEYS[1], 'r:' .. other)
  end
end

local in_grace = now < grace_until
local function raise_to(used)
  own_base = own_base + math.max(0, used - own_base - added)
end
local since_base = math.max(0, spent - base_spent)
if me then
  added = added + math.max(0, spent - me[SPENT])
  if is_told then
    raise_to(base + since_base)
  end
elseif is_new or in_grace then
  own_base = math.max(own_base, base)
  added = added + since_base
else
  if is_told then
    raise_to(base)
  end
  added = added + since_base
end
spent = math.max(spent, me and me[SPENT] or 0)

local function store()
  redis.call('HSET', KEYS[1], 'base', string.format('%.0f', own_base),
    'added', string.format('%.0f', added), 'grace', string.format('%.0f', grace_until))
  redis.call('PEXPIRE', KEYS[1], keep)
end

if leaves then
  added = added + kept
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
local used = own_base + added
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
