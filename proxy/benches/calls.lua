-- wrk: one call after another, each of another user and with another id (UUID version 4).
local tokens = {}
for line in io.lines(os.getenv("LOAD_TOKENS")) do tokens[#tokens + 1] = line end
local threads, user, started = 0, 0, 0
function setup(thread)
  thread:set("first", threads)
  threads = threads + 1
end
function init(args)
  math.randomseed(os.time() + first)
  user = first
end
function request()
  -- Threads take users in turn, and none twice while there are others.
  user = (user + 1) % #tokens
  started = started + 1
  local id = string.format("%04x%04x-%04x-4%03x-8%03x-%04x%04x%04x", math.random(0, 65535), math.random(0, 65535),
    math.random(0, 65535), math.random(0, 4095), math.random(0, 4095), math.random(0, 65535),
    math.random(0, 65535), started % 65536)
  return wrk.format("PUT", os.getenv("LOAD_PATH") .. id,
    { ["Content-Type"] = "application/json", ["Authorization"] = "Bearer " .. tokens[user + 1] },
    '{"to":"+46701234567"}')
end
local statuses = {}
function response(status)
  statuses[status] = (statuses[status] or 0) + 1
  if status ~= 202 then wrk.thread:set("refused", (wrk.thread:get("refused") or 0) + 1) end
end
function done(summary, latency, requests)
  io.write(string.format("requests=%d seconds=%.3f p50_us=%d p99_us=%d max_us=%d errors=%d\n", summary.requests,
    summary.duration / 1e6, latency:percentile(50), latency:percentile(99), latency.max,
    summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.write
    + summary.errors.timeout))
end
