-- wrk.lua: lets wrk print what it has measured as a line of JSON, when all of it is done.
function done(summary, latency, requests)
	local errors = summary.errors
	io.write(string.format('\n{"requests":%d,"bytes":%d,"seconds":%.6f,"p50":%.3f,"p99":%.3f,"failed":%d}\n',
		summary.requests, summary.bytes, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
		errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
