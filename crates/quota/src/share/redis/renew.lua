-- Renews one replica's lease of one lane and answers what it may use from now on.
-- The same rules as `Ledger` in share/ledger.rs, step by step and in the same arithmetic.
--
-- KEYS[1]  the lane's hash: `meta`, and `r:<id>` for each replica
-- ARGV     id, sequence, weight, lease and grace in ms, 1 when the replica leaves,
--          limits as JSON, [key, period, amount, known, version, kept, used, wanted, need] each,
--          with -1 for no amount; the time in ms, or nothing for the server's own
-- Returns  {replicas, in grace, then limit, amount, known, version, others' use for each limit},
--          or nothing when a later renewal came before this one

local SHORTEST_TURN, BURST_PART, IDLE_PART, ONE_EACH = 1000, 10, 50, 10
local PERIOD, COUNTED, USED, WANTED, NEED, HAD_AT, GLIDE_FROM, GLIDE_AT = 1, 2, 3, 4, 5, 6, 7, 8

local id, sequence, weight = ARGV[1], tonumber(ARGV[2]), math.max(1, tonumber(ARGV[3]))
local lease, grace, leaves = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6] == '1'
local now = tonumber(ARGV[8])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local reports, longest = {}, 0
for place, r in ipairs(cjson.decode(ARGV[7])) do
  reports[place] = {
    key = r[1], period = r[2], amount = r[3], known = r[4], version = r[5],
    kept = r[6], used = r[7], wanted = r[8], need = r[9],
  }
  longest = math.max(longest, r[2])
end

local meta, replicas, ids = nil, {}, {}
local fields = redis.call('HGETALL', KEYS[1])
for place = 1, #fields, 2 do
  if fields[place] == 'meta' then
    meta = cmsgpack.unpack(fields[place + 1])
  else
    replicas[string.sub(fields[place], 3)] = cmsgpack.unpack(fields[place + 1])
  end
end

local me = replicas[id]
if me and me.sequence >= sequence then
  return {}
end

local function write(name, replica)
  redis.call('HSET', KEYS[1], 'r:' .. name, cmsgpack.pack(replica))
end

if leaves then
  if me then
    me = { sequence = sequence, seen = math.max(0, now - lease - 1), weight = 1, limits = {} }
    for _, r in ipairs(reports) do
      if r.period > 0 then
        me.limits[r.key] = { r.period, r.used, r.used, 0, 0, 0, -1, 0 }
      end
    end
    write(id, me)
  end
  return {}
end

local function lives(replica)
  return now <= replica.seen + lease
end

-- A ledger that was lost, or that nobody could reach, waits until all had time to claim
-- what they hold.
local lost = false
if not meta then
  meta = { beliefs = {}, grace_until = 0 }
  for _, r in ipairs(reports) do
    lost = lost or r.kept > 0
  end
else
  lost = now > meta.renewed_at + lease
end
if lost then
  meta.grace_until = now + grace
end
meta.renewed_at = now
local in_grace = now < meta.grace_until

local function counted_of(replica, key)
  local held = replica.limits[key]
  if not held then
    return 0
  end
  if lives(replica) or in_grace then
    return held[COUNTED]
  end
  local period = held[PERIOD]
  local age = math.max(0, now - (replica.seen + math.max(lease, math.floor(period / BURST_PART))))
  if age >= period then
    return 0
  end
  return held[COUNTED] - math.floor(held[COUNTED] * age / period)
end

for name, replica in pairs(replicas) do
  if not lives(replica) then
    local counts = false
    for key in pairs(replica.limits) do
      counts = counts or counted_of(replica, key) > 0
    end
    if not counts then
      replicas[name] = nil
      redis.call('HDEL', KEYS[1], 'r:' .. name)
    end
  end
end

-- A change counts when it was made knowing the version before it, or when it is stricter than
-- what somebody who knew nothing yet would find.
local function agree(r)
  local agreed = meta.beliefs[r.key] or { -1, -1, 0 }
  local stricter = r.amount >= 0 and (agreed[1] < 0 or r.amount < agreed[1])
  local changed = r.amount ~= agreed[1] or r.known ~= agreed[2]
  local may = agreed[3] == 0 or r.version == agreed[3] or (r.version == 0 and stricter)
  if may and (changed or agreed[3] == 0) then
    agreed = { r.amount, r.known, agreed[3] + 1 }
  end
  meta.beliefs[r.key] = agreed
end

local before = replicas[id] and replicas[id].limits or {}
me = { sequence = sequence, seen = now, weight = weight, limits = {} }
replicas[id] = me
for _, r in ipairs(reports) do
  local old = before[r.key] or { r.period, 0, 0, 0, 0, 0, -1, 0 }
  local had_at = r.used > 0 and now or old[HAD_AT]
  me.limits[r.key] = {
    r.period, math.max(r.kept, r.used), r.used, r.wanted, r.need, had_at,
    old[GLIDE_FROM], old[GLIDE_AT],
  }
  agree(r)
end

local live = 0
for name, replica in pairs(replicas) do
  ids[#ids + 1] = name
  if lives(replica) then
    live = live + 1
  end
end
table.sort(ids)

local function divide(capacity, claims, without)
  local shares, all = {}, {}
  for at = 1, #claims do
    shares[at] = 0
    if at ~= without then
      all[#all + 1] = at
    end
  end
  if #all == 0 then
    return shares
  end
  local open, rest = all, capacity
  local least = math.floor(capacity / (IDLE_PART * #all))
  least = math.max(least, capacity >= ONE_EACH * #all and 1 or 0)
  local function want(at)
    return math.max(claims[at].wanted, claims[at].need, least)
  end
  while #open > 0 do
    local total, level, content, wanting = 0, rest, {}, {}
    for _, at in ipairs(open) do
      total = total + claims[at].weight
    end
    for _, at in ipairs(open) do
      local list = want(at) * total <= level * claims[at].weight and content or wanting
      list[#list + 1] = at
    end
    if #content == 0 then
      for _, at in ipairs(open) do
        shares[at] = math.floor(level * claims[at].weight / total)
        rest = rest - shares[at]
      end
      break
    end
    for _, at in ipairs(content) do
      shares[at] = want(at)
      rest = rest - shares[at]
    end
    open = wanting
  end
  local takers = #open > 0 and open or all
  local each = math.floor(rest / #takers)
  local extra = rest - each * #takers
  table.sort(takers, function(a, b)
    if claims[a].had_at ~= claims[b].had_at then
      return claims[a].had_at < claims[b].had_at
    end
    return a < b
  end)
  for place, at in ipairs(takers) do
    shares[at] = shares[at] + each + (place - 1 < extra and 1 or 0)
  end
  return shares
end

local function fill(capacity, claims, turn)
  local shares = divide(capacity, claims, nil)
  local starved = {}
  for at, claim in ipairs(claims) do
    if claim.need > shares[at] and claim.need > 1 then
      starved[#starved + 1] = at
    end
  end
  if #starved > 0 then
    local chosen = starved[turn % #starved + 1]
    local need = math.min(claims[chosen].need, capacity)
    shares = divide(capacity - need, claims, chosen)
    shares[chosen] = need
  end
  return shares
end

local function target_of(r, amount)
  local gone, claims, mine = 0, {}, 0
  for _, name in ipairs(ids) do
    local replica = replicas[name]
    local held = replica.limits[r.key]
    if held and not lives(replica) then
      gone = gone + counted_of(replica, r.key)
    elseif held then
      claims[#claims + 1] = {
        wanted = held[WANTED], need = held[NEED], had_at = held[HAD_AT], weight = replica.weight,
      }
      if name == id then
        mine = #claims
      end
    end
  end
  local turn = math.floor(now / math.max(r.period, SHORTEST_TURN))
  return fill(math.max(0, amount - gone), claims, turn)[mine]
end

local function glide(held, r, target)
  local kept = math.max(target, math.min(r.kept, r.used))
  if held[GLIDE_FROM] < 0 then
    held[GLIDE_FROM], held[GLIDE_AT] = kept, now
  end
  local passed = math.max(0, now - held[GLIDE_AT])
  if passed >= r.period then
    return target
  end
  local above = math.max(0, held[GLIDE_FROM] - target)
  return math.min(kept, target + above - math.floor(above * passed / r.period))
end

local answer = { live, in_grace and 1 or 0 }
for _, r in ipairs(reports) do
  local held, agreed = me.limits[r.key], meta.beliefs[r.key]
  local counted, used, limit = 0, 0, 0
  for _, name in ipairs(ids) do
    if name ~= id then
      local replica = replicas[name]
      counted = counted + counted_of(replica, r.key)
      local other = lives(replica) and replica.limits[r.key]
      used = used + (other and other[USED] or 0)
    end
  end
  if agreed[1] >= 0 then
    local free = math.max(0, agreed[1] - counted)
    local target = target_of(r, agreed[1])
    local is_over = math.max(r.kept, r.used) > free
    if not in_grace and target < r.kept and not is_over then
      limit = glide(held, r, target)
    else
      held[GLIDE_FROM], held[GLIDE_AT] = -1, 0
      if in_grace then
        limit = r.kept
      elseif target < r.kept then
        limit = target
      else
        limit = math.min(target, math.max(free, r.kept))
      end
    end
  end
  held[COUNTED] = math.max(held[COUNTED], limit)
  for _, figure in ipairs({ limit, agreed[1], agreed[2], agreed[3], used }) do
    answer[#answer + 1] = figure
  end
end

write(id, me)
redis.call('HSET', KEYS[1], 'meta', cmsgpack.pack(meta))
redis.call('PEXPIRE', KEYS[1], longest + lease + grace + 60000)
return answer
