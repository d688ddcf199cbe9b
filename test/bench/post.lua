-- SPDX-License-Identifier: Apache-2.0
-- For wrk: posts the file named behind "--" as JSON; the request is made ready once.
local bytes

function init(args)
    local file = assert(io.open(args[1], "rb"))
    local body = file:read("*a")
    file:close()
    bytes = wrk.format("POST", nil, {["Content-Type"] = "application/json"}, body)
end

function request()
    return bytes
end

function done(summary, latency)
    local e = summary.errors
    print(string.format("RESULT %d %d %d %d %d", summary.requests,
                        e.connect + e.read + e.write + e.status + e.timeout,
                        summary.duration, latency:percentile(50), latency:percentile(99)))
end
