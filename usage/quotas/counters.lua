-- One operation on the quota counters of some rules, whole or not at all.
-- KEYS: the rules' keys. ARGV[1]: JSON of {op, now (microseconds), rules: [{w, n, b, ...}], ...}, where
-- w is the window in seconds, n its length in buckets and b the bucket of now.
-- The key itself is a hash: v (version), w, h (newest bucket), r t c (sums of the window), ht hc (sums of
-- what is held), nr nt (newest buckets with requests and tokens), and r<b> t<b> c<b> for each bucket.
-- Beside it, <key>:holds has the live holds by expiry and <key>:held their tokens:cost:bucket.
-- Numbers are doubles here: sums stop at 2^53 - 1, so that all of them are exact.
local call = cjson.decode(ARGV[1])
local VERSION, MOST, HOLD = '1', 9007199254740991, 45000000

local function text(number)
  if number == 0 then return '0' end -- never '-0'
  return string.format('%.0f', number)
end

local function cell(q, kind, bucket)
  return tonumber(redis.call('HGET', q.key, kind .. text(bucket)) or '0')
end

local function save(q)
  redis.call('HSET', q.key, 'v', VERSION, 'w', text(q.w), 'h', text(q.h), 'r', text(q.r), 't', text(q.t),
    'c', text(q.c), 'ht', text(q.ht), 'hc', text(q.hc), 'nr', text(q.nr), 'nt', text(q.nt))
  -- what nobody asks about for its window and a day holds nothing any more: its rule may be gone
  for _, part in ipairs({'', ':holds', ':held'}) do
    redis.call('EXPIRE', q.key .. part, text(q.w + 86400))
  end
end

local function roll(q, bucket)
  local names = {}
  for old = q.h - q.n, math.min(q.h, bucket - q.n - 1) do
    for _, kind in ipairs({'r', 't', 'c'}) do names[#names + 1] = kind .. text(old) end
  end
  local values = redis.call('HMGET', q.key, unpack(names))
  for i = 1, #names, 3 do
    q.r = q.r - tonumber(values[i] or '0')
    q.t = q.t - tonumber(values[i + 1] or '0')
    q.c = q.c - tonumber(values[i + 2] or '0')
  end
  redis.call('HDEL', q.key, unpack(names))
  q.h = bucket
end

-- End a hold; nothing where it has expired before.
local function let_go(q, id)
  local held = redis.call('HGET', q.key .. ':held', id)
  if not held then return end
  redis.call('HDEL', q.key .. ':held', id)
  redis.call('ZREM', q.key .. ':holds', id)
  local tokens, cost = string.match(held, '^(%d+):(%d+):')
  q.ht = q.ht - tonumber(tokens)
  q.hc = q.hc - tonumber(cost)
end

-- A rule's counters, moved on to now and without expired holds; nil where there are none of its window.
local function open(key, rule)
  local s = redis.call('HMGET', key, 'v', 'w', 'h', 'r', 't', 'c', 'ht', 'hc', 'nr', 'nt')
  if s[1] ~= VERSION or tonumber(s[2]) ~= rule.w then return nil end
  for i = 3, 10 do
    s[i] = tonumber(s[i] or 'x')
    if not s[i] then return nil end
  end
  local q = {key = key, n = rule.n, w = rule.w, h = s[3], r = s[4], t = s[5], c = s[6], ht = s[7], hc = s[8],
    nr = s[9], nt = s[10]}
  local changed = rule.b > q.h
  if changed then roll(q, rule.b) end
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', key .. ':holds', '-inf', text(call.now))) do
    let_go(q, id)
    changed = true
  end
  if changed then save(q) end
  return q
end

local function add(q, kind, newest, bucket, amount)
  if amount == 0 then return end
  local before = cell(q, kind, bucket)
  amount = math.max(-before, math.min(amount, MOST - q[kind]))
  q[kind] = q[kind] + amount
  if before + amount == 0 then
    redis.call('HDEL', q.key, kind .. text(bucket))
  else
    redis.call('HSET', q.key, kind .. text(bucket), text(before + amount))
  end
  if not newest then return end
  if before + amount > 0 then
    q[newest] = math.max(q[newest], bucket)
  elseif bucket == q[newest] then
    while bucket > q.h - q.n and cell(q, kind, bucket) == 0 do bucket = bucket - 1 end
    q[newest] = bucket
  end
end

-- -1 is no limit.
local function room(maximum, settled, held)
  return math.min(maximum, MOST) - settled - held
end

local function refuses(q, rule, live)
  return (rule.requests >= 0 and q.r >= rule.requests)
    or (rule.tokens >= 0 and room(rule.tokens, q.t, q.ht) <= 0)
    or (rule.cost >= 0 and room(rule.cost, q.c, q.hc) <= 0)
    or (rule.concurrent >= 0 and live >= rule.concurrent)
end

-- The bucket with whose leaving a limit has room again; -1 where it has room, or use alone does not fill it.
local function opening(q, kind, maximum, held)
  if maximum <= 0 or room(maximum, q[kind], held) > 0 or room(maximum, 0, held) <= 0 then return -1 end
  local names, settled = {}, q[kind]
  for bucket = q.h - q.n, q.h do names[#names + 1] = kind .. text(bucket) end
  for i, value in ipairs(redis.call('HMGET', q.key, unpack(names))) do
    settled = settled - tonumber(value or '0')
    if room(maximum, settled, held) > 0 then return q.h - q.n + i - 1 end
  end
  return -1
end

-- Sums, as window.py's Contents, and the buckets that requests, tokens and cost wait for.
local function told(q, rule)
  return {q.r, q.t, q.c, redis.call('ZCARD', q.key .. ':holds'), q.ht, q.hc, q.nr, q.nt,
    opening(q, 'r', rule.requests, 0), opening(q, 't', rule.tokens, q.ht), opening(q, 'c', rule.cost, q.hc)}
end

local function clamped(q, bucket)
  return math.max(q.h - q.n, math.min(bucket, q.h))
end

local op = {}

function op.reserve()
  local all = {}
  for i, rule in ipairs(call.rules) do
    all[i] = open(KEYS[i], rule)
    if not all[i] then return {'missing', i} end
  end
  for i, rule in ipairs(call.rules) do
    if refuses(all[i], rule, redis.call('ZCARD', KEYS[i] .. ':holds')) then
      return {'refused', i, told(all[i], rule)}
    end
  end
  local answer = {'held'}
  for i, rule in ipairs(call.rules) do
    local q, tokens, cost = all[i], 0, 0
    if rule.tokens >= 0 then tokens = math.min(call.tokens, room(rule.tokens, q.t, q.ht)) end
    if rule.cost >= 0 then cost = math.min(call.cost, room(rule.cost, q.c, q.hc)) end
    local bucket = clamped(q, rule.b)
    add(q, 'r', 'nr', bucket, 1)
    q.ht, q.hc = q.ht + tokens, q.hc + cost
    redis.call('ZADD', q.key .. ':holds', text(call.now + HOLD), call.id)
    redis.call('HSET', q.key .. ':held', call.id, text(tokens) .. ':' .. text(cost) .. ':' .. text(bucket))
    save(q)
    answer[i + 1] = {bucket, tokens, cost, told(q, rule)}
  end
  return answer
end

function op.settle()
  for i, rule in ipairs(call.rules) do
    local q = open(KEYS[i], rule)
    if q then
      let_go(q, call.id)
      if call.admitted[i] >= q.h - q.n then
        local bucket = clamped(q, call.admitted[i])
        if call.counted then
          add(q, 't', 'nt', bucket, call.tokens)
          add(q, 'c', nil, bucket, call.cost)
        else
          add(q, 'r', 'nr', bucket, -1)
        end
      end
      save(q)
    end
  end
  return {'done'}
end

function op.charge()
  local rule = call.rules[1]
  local q = open(KEYS[1], rule)
  if not q then return {'missing', 1} end
  if call.at >= rule.b - rule.n then
    local bucket = clamped(q, call.at)
    add(q, 'r', 'nr', bucket, call.requests)
    add(q, 't', 'nt', bucket, call.tokens)
    add(q, 'c', nil, bucket, call.cost)
    save(q)
  end
  return {'done'}
end

function op.fill()
  local rule, key = call.rules[1], KEYS[1]
  local was = open(key, rule)
  if was and call.only_missing then return {'done'} end
  local oldest = rule.b - rule.n
  local q = {key = key, w = rule.w, n = rule.n, h = rule.b, r = 0, t = 0, c = 0, ht = 0, hc = 0, nr = oldest,
    nt = oldest}
  redis.call('DEL', key)
  for _, used in ipairs(call.cells) do
    add(q, 'r', 'nr', used[1], used[2])
    add(q, 't', 'nt', used[1], used[3])
    add(q, 'c', nil, used[1], used[4])
  end
  redis.call('ZREMRANGEBYSCORE', key .. ':holds', '-inf', text(call.now))
  local held = redis.call('HGETALL', key .. ':held')
  for i = 1, #held, 2 do
    if redis.call('ZSCORE', key .. ':holds', held[i]) then
      local tokens, cost, bucket = string.match(held[i + 1], '^(%d+):(%d+):(%d+)$')
      q.ht, q.hc = q.ht + tonumber(tokens), q.hc + tonumber(cost)
      -- Buckets of another window say nothing here: the newest one leaves last.
      add(q, 'r', 'nr', was and clamped(q, tonumber(bucket)) or q.h, 1)
    else
      redis.call('HDEL', key .. ':held', held[i])
    end
  end
  save(q)
  return {'done'}
end

function op.standing()
  local q = open(KEYS[1], call.rules[1])
  if not q then return {'missing', 1} end
  return {'standing', told(q, call.rules[1])}
end

function op.exists()
  return {open(KEYS[1], call.rules[1]) and 'yes' or 'no'}
end

function op.beat()
  for i, key in ipairs(KEYS) do
    redis.call('ZADD', key .. ':holds', 'XX', text(call.now + HOLD), call.ids[i])
  end
  return {'done'}
end

return op[call.op]()
