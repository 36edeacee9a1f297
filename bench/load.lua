-- What wrk sends: wrk … -s bench/load.lua URL -- KIND SIZE SEED [close]
--
-- KIND is hit, hot (hits and nothing else), query, pass, refuse, or one of three floods that get past a cache: busted-article asks for
-- known articles with a parameter nobody has seen; busted-paths and busted-values are half hits, half addresses that nobody has asked for.
--
-- Every request carries the 14 header fields of a browser (Host and those of browser.headers) and 600 bytes of analytics
-- cookies, because that is what a reader's request weighs; without them a server that never looks at cookies seems dear.
-- Requests are put together once, so that the load costs its core as little as it can.

local ARTICLES = 16       -- hot pages, asked for in turn
local COLD_ONE_IN = 100   -- every hundredth request of a hit asks for a page nobody has asked for
local COOKIE_BYTES = 600

local hot, head, tail, kind, size, seed
local sent = 0

function init(args)
  kind, size, seed = args[1], args[2], args[3]
  local fields = {}
  for line in io.lines("bench/browser.headers") do
    if args[4] == "close" then line = line:gsub("^Connection: keep%-alive$", "Connection: close") end
    fields[#fields + 1] = line .. "\r\n"
  end
  local cookie = "_ga=GA1.1.1203049857.1763800000; _ym_uid=1763800000123456789; _ym_d=1763800000; consent="
  cookie = cookie .. ("k"):rep(COOKIE_BYTES - #cookie)
  tail = " HTTP/1.1\r\nHost: newsroom.test\r\n" .. table.concat(fields) .. "Cookie: " .. cookie .. "\r\n\r\n"
  hot = {}
  for article = 0, ARTICLES - 1 do
    hot[article] = "GET /" .. (kind == "pass" and "pass" or "article") .. "/" .. article .. "/" .. size .. tail
  end
end

function request()
  sent = sent + 1
  if kind == "query" then
    return "GET /article/0/" .. size .. "?q=" .. seed .. "-" .. sent .. tail
  end
  if kind == "busted-article" then
    return "GET /page/" .. sent % ARTICLES .. "/" .. size .. "?x" .. seed .. sent .. "=1" .. tail
  end
  if kind == "busted-paths" and sent % 2 == 0 then
    return "GET /nobody/" .. seed .. "-" .. sent .. "/" .. tail
  end
  if kind == "busted-values" and sent % 2 == 0 then
    return "GET /page/0/" .. size .. "?page=" .. seed .. sent .. tail
  end
  if kind == "hit" and sent % COLD_ONE_IN == 0 then
    return "GET /cold/" .. seed .. "-" .. sent .. "/" .. size .. tail
  end
  return hot[sent % ARTICLES]
end

function done(summary, latency)
  local errors = summary.errors
  print(("measured requests %d refused %d broken %d microseconds %d p99 %d"):format(
    summary.requests, errors.status, errors.connect + errors.read + errors.write + errors.timeout,
    summary.duration, latency:percentile(99)))
end
