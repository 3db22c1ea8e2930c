# Calls of functions and messages by HTTP: results, statuses, failures, settings of the request, limits, clients that leave.
use strict;
use warnings;

use Mojo::JSON qw(decode_json);
use Mojo::UserAgent;
use NotifydTest;
use Test::More;

my $node = notifyd_node('main', roles => ['member'], conf => <<"EOC");
pg_notifyd.statement_timeout = '1s'
pg_notifyd.max_response_size = '100kB'
pg_notifyd.max_clients_per_address = 8
pg_notifyd.gateways = 1
EOC

sub sql { return $node->safe_psql('postgres', join ';', @_); }

sql(q{
	CREATE SCHEMA app;
	GRANT USAGE ON SCHEMA app TO guest, member;
	CREATE TABLE app.accounts (id int PRIMARY KEY, parent int REFERENCES app.accounts, name text NOT NULL);
	GRANT ALL ON app.accounts TO member;
	CREATE FUNCTION app.add(a int, b int DEFAULT 10) RETURNS int LANGUAGE sql STABLE AS 'SELECT a + b';
	CREATE FUNCTION app.say("what words" text) RETURNS text LANGUAGE sql STABLE AS 'SELECT $1';
	CREATE FUNCTION app.sum(VARIADIC v int[]) RETURNS int LANGUAGE sql STABLE AS 'SELECT sum(i)::int FROM unnest(v) AS i';
	CREATE FUNCTION app.list(n int) RETURNS TABLE (i int) LANGUAGE sql STABLE AS 'SELECT generate_series(1, n)';
	CREATE FUNCTION app.nothing() RETURNS void LANGUAGE sql AS '';
	CREATE FUNCTION app.no_text() RETURNS text LANGUAGE sql STABLE AS 'SELECT NULL::text';
	CREATE FUNCTION app.whole(json) RETURNS json LANGUAGE sql STABLE AS 'SELECT $1';
	CREATE FUNCTION app.request() RETURNS json LANGUAGE sql STABLE AS $$
		SELECT json_build_object('role', current_user, 'method', current_setting('request.method'), 'path', current_setting('request.path'),
			'headers', current_setting('request.headers')::json, 'read only', current_setting('transaction_read_only')) $$;
	CREATE FUNCTION app.open(id int, parent int, name text) RETURNS void LANGUAGE sql AS 'INSERT INTO app.accounts VALUES (id, parent, name)';
	CREATE FUNCTION app.sly() RETURNS int LANGUAGE plpgsql STABLE AS $$
		BEGIN PERFORM app.wipe(); RETURN 1; END $$;
	CREATE FUNCTION app.wipe() RETURNS void LANGUAGE sql AS 'DELETE FROM app.accounts';
	CREATE FUNCTION app.fail(code text) RETURNS void LANGUAGE plpgsql AS $$
		BEGIN RAISE EXCEPTION 'no money' USING ERRCODE = code, DETAIL = 'none', HINT = 'pay'; END $$;
	CREATE FUNCTION app.sleep(s float8) RETURNS text LANGUAGE plpgsql AS $$BEGIN PERFORM pg_sleep(s); RETURN 'slept'; END$$;
	CREATE FUNCTION app.large(n int) RETURNS text LANGUAGE sql STABLE AS $$SELECT repeat('x', n)$$;
	CREATE FUNCTION app.timeout() RETURNS text LANGUAGE sql STABLE AS $$SELECT current_setting('pg_notifyd.statement_timeout')$$;
	CREATE TABLE app.answers ();
	GRANT INSERT ON app.answers TO guest;
	CREATE FUNCTION app.answer(status text, headers text) RETURNS int LANGUAGE sql AS $$
		INSERT INTO app.answers DEFAULT VALUES;
		SELECT set_config('response.status', status, true), set_config('response.headers', headers, true);
		SELECT 1 $$;
	CREATE FUNCTION app.forbidden() RETURNS int LANGUAGE sql STABLE AS 'SELECT 1';
	REVOKE EXECUTE ON FUNCTION app.forbidden() FROM PUBLIC;
	SELECT notify_expose(oid::regprocedure) FROM pg_proc WHERE pronamespace = 'app'::regnamespace;
	SELECT notify_expose('app.add(int,int)', 'com.example/add');
	SELECT notify_grant('news', 'member'), notify_grant('news', 'member', 'publish');
});

my $ua = Mojo::UserAgent->new(max_redirects => 0);
my $base = 'http://127.0.0.1:' . notifyd_port($node);
my %member = notifyd_bearer('member', 7);
my ($token) = $member{Authorization} =~ /^Bearer (.*)/;

# The status of an answer and its body, which is decoded.
sub answer
{
	my ($method, $path, $headers, @body) = @_;
	my $res = $ua->start($ua->build_tx($method => "$base$path" => $headers // {}, @body))->res;
	return $res->code . ' ' . $res->body;
}

sub post { my ($path, $args, %headers) = @_; return answer('POST', $path, {%headers}, defined $args ? (json => $args) : ()); }

is(post('/rpc/com.example%2Fadd', { a => 1 }), '200 11', 'a default, and a name that is percent-encoded');
is(post('/rpc/com.example%2Fadd', [ 3, 4 ]), '200 7', 'by position');
is(post('/rpc/list', { n => 2 }), '200 [{"i":1},{"i":2}]', 'a table');
is(post('/rpc/nothing'), '204 ', 'void, and no body in the request');
is(post('/rpc/no_text'), '200 null', 'NULL is not void');
is(post('/rpc/whole', { q => [1] }), '200 {"q":[1]}', 'a function of all that is sent');
is(answer(GET => '/rpc/com.example%2Fadd?a=1&b=5'), '200 6', 'GET');
is(answer(GET => '/rpc/say?what+words=a+%2B%26%20%C3%BC'), "200 \"a +& \xc3\xbc\"", 'texts of the query string');
is(answer(GET => '/rpc/sum?v=1&v=2'), '200 3', 'a repeated parameter is an array');
is(answer(GET => '/rpc/sum?v=1'), '200 1', 'and so is one that is not');
is(answer(GET => '/rpc/sum?v={4,5}'), '200 9', 'and so is its text');
is(answer(GET => '/rpc/list?n=0'), '200 []', 'an empty set');
is(answer(HEAD => '/rpc/list?n=0'), '200 ', 'HEAD');
is($ua->get("$base/rpc/no_text")->res->headers->content_type, 'application/json', 'the type of an answer');

# Functions see the request, and not what is secret in it.
my $seen = decode_json($ua->get("$base/rpc/request" => { %member, Cookie => 'c=1', 'X-One' => "\xc3\x84" })->res->body);
is_deeply([ delete $seen->{headers}->@{qw(x-one authorization cookie)} ], [ "\x{c4}", undef, undef ], 'its headers');
is_deeply([ $seen->@{qw(role method path)}, $seen->{'read only'} ], [ 'member', 'GET', '/rpc/request', 'on' ], 'and the rest');
like(post('/rpc/request'), qr/"role" : "guest", "method" : "POST".*"read only" : "off"/, 'an anonymous POST');

# Writes
is(post('/rpc/open', { id => 1, parent => undef, name => 'one' }, %member), '204 ', 'a write');
is(sql('SELECT * FROM app.accounts'), '1||one', 'is there');

# Failures
sub fails
{
	my ($is, $name, $method, @request) = @_;
	my $res = answer($method, @request);
	my ($status, $body) = split / /, $res, 2;
	my $json = $body =~ /^\{/ ? decode_json($body) : {};
	like(join('|', $status, map { $_ // 'null' } $json->@{qw(code message details hint)}), $is, $name);
	return;
}
my @json = (json => {});
fails(qr/^404\|42883\|there is no function "missing"\|null\|null$/, 'an unknown function', POST => '/rpc/missing', {}, @json);
fails(qr/^404\|42883\|there is no function "add"/, 'a function has one name', POST => '/rpc/add', {}, @json);
fails(qr/^400\|42P02\|function ".*add" has no parameter "c"/, 'an unknown parameter', POST => '/rpc/com.example%2Fadd', {}, json => { c => 1 });
fails(qr/^400\|22P02\|invalid input syntax for type integer: "x"\|The parameter is "a"\.\|null$/, 'a wrong value', GET => '/rpc/com.example%2Fadd?a=x');
fails(qr/^400\|22P02\|invalid input syntax for type json\|/, 'no JSON', POST => '/rpc/com.example%2Fadd', {}, '{"a":');
fails(qr/^400\|22P05\|unsupported Unicode escape sequence\|/, 'a NUL character', POST => '/rpc/say', {}, '["\u0000"]');
fails(qr/^400\|22003\|a number is out of range\|Exponents in JSON may be at most 308\./, 'a number of a megabyte', POST => '/rpc/com.example%2Fadd', {}, '{"a":1e131071}');
fails(qr/^400\|54001\|/, 'JSON that is nested too deeply', POST => '/rpc/com.example%2Fadd', {}, '{"a":' . '[' x 500_000);
fails(qr/^400\|22023\|args must be/, 'neither an object nor an array', POST => '/rpc/com.example%2Fadd', {}, '1');
fails(qr/^415\|null\|the body must be JSON/, 'a form', POST => '/rpc/com.example%2Fadd', {}, form => { a => 1 });
fails(qr/^413\|/, 'a large body', POST => '/rpc/com.example%2Fadd', {}, 'x' x (1024 * 1024 + 1));
fails(qr/^401\|42501\|permission denied for function forbidden\|/, 'no privilege, anonymous', GET => '/rpc/forbidden');
fails(qr/^403\|42501\|permission denied for function forbidden\|/, 'no privilege', GET => '/rpc/forbidden', {%member});
fails(qr/^405\|25006\|function "nothing" is volatile/, 'GET of a volatile function', GET => '/rpc/nothing');
fails(qr/^405\|25006\|cannot execute DELETE in a read-only transaction/, 'a function that lies', GET => '/rpc/sly', {%member});
fails(qr/^409\|23505\|duplicate key value .*\|Key \(id\)=\(1\) already exists\./, 'a duplicate', POST => '/rpc/open', {%member}, json => [ 1, undef, 'x' ]);
fails(qr/^409\|23503\|/, 'a missing reference', POST => '/rpc/open', {%member}, json => [ 2, 9, 'x' ]);
fails(qr/^400\|23502\|/, 'a missing value', POST => '/rpc/open', {%member}, json => [ 2, undef, undef ]);
fails(qr/^402\|PT402\|no money\|none\|pay$/, 'a status that the function chooses', POST => '/rpc/fail', {}, json => ['PT402']);
fails(qr/^400\|P0001\|no money\|none\|pay$/, 'an exception', POST => '/rpc/fail', {}, json => ['P0001']);
fails(qr/^500\|XX000\|internal error\|null\|null$/, 'an internal error says nothing', POST => '/rpc/fail', {}, json => ['XX001']);
fails(qr/^500\|54000\|/, 'a result that is too large', GET => '/rpc/large?n=200000');
fails(qr/^504\|57014\|the query took too long/, 'a long one', POST => '/rpc/sleep', {}, json => [30]);
fails(qr/^401\|28000\|/, 'a wrong token', GET => '/rpc/request', { Authorization => "Bearer $token.x" });
is($ua->get("$base/rpc/request?access_token=$token.x")->res->headers->www_authenticate, 'Bearer error="invalid_token"', 'and how it is told');
fails(qr/^404\|null\|there is no such database, or it is not served/, 'no such database', GET => '/rpc/request?database=missing');
is($ua->delete("$base/rpc/request")->res->headers->header('Allow'), 'GET, HEAD, POST, OPTIONS', 'other methods');

# A function chooses the status and headers of its response.
sub chosen
{
	my ($status, $headers) = @_;
	my $res = $ua->post("$base/rpc/answer" => json => { status => $status, headers => $headers })->res;
	return join '|', $res->code, map { $_ // '' } $res->headers->header('X-One'), $res->headers->header('Cache-Control'),
		$res->code == 500 ? $res->json->{code} . ': ' . $res->json->{details} : $res->body;
}
is(chosen('402', '[{"X-One": "a \"1\""}, {"Cache-Control": "max-age=60"}]'), '402|a "1"|max-age=60|1', 'a status and headers');
is(chosen('', ''), '200||no-store|1', 'the next one has the usual ones');
is(chosen('204', '[{"X-One": "a"}, {"X-One": "b"}]'), '204|a, b|no-store|', 'a status without a body');
my $headers = '38000: It must be a JSON array of objects with strings.';
is(chosen(undef, $_->[0]), "500||no-store|$_->[1]", "headers that are refused: $_->[0]")
	for [ '{"X-One": "a"}', $headers ], [ '["X-One"]', $headers ], [ '[{"X-One": 1}]', $headers ], [ '[[{"X-One": {}}]]', $headers ], [ '1', $headers ],
	[ '[{', $headers ],
	[ '[{"X-One": "a\r\nX-Two: b"}]', '38000: The value of the header "X-One" is not printable ASCII.' ],
	[ '[{"X One": "a"}]', '38000: "X One" is no name of a header.' ], [ '[{"X-One:": "a"}]', '38000: "X-One:" is no name of a header.' ],
	[ '[{"Transfer-Encoding": "chunked"}]', '38000: Functions cannot set the header "Transfer-Encoding".' ],
	[ '[{"content-length": "1"}]', '38000: Functions cannot set the header "content-length".' ],
	[ '[{"Access-Control-Allow-Origin": "*"}]', '38000: Functions cannot set the header "Access-Control-Allow-Origin".' ],
	[ '[{"X-Content-Type-Options": "x"}]', '38000: Functions cannot set the header "X-Content-Type-Options".' ],
	[ '[{"X-One": "' . 'a' x 2048 . '"}]', '38000: Headers may have at most 2048 bytes.' ];
is(chosen($_, ''), '500||no-store|38000: It must be a number from 200 to 599.', "a status that is refused: $_") for '600', '199', 'x', '2000';
is(sql('SELECT count(*) FROM app.answers'), 3, 'and what the function has done is rolled back');

# Messages
my $client = notifyd_client($node, headers => {%member});
$client->subscribe('news');
is(post('/send/news', { n => 1.5 }, %member), '200 {}', 'a message');
is_deeply($client->next_event->{payload}, { n => 1.5 }, 'arrives');
fails(qr/^401\|42501\|permission denied for channel "news"/, 'without the privilege', POST => '/send/news', {}, @json);
fails(qr/^403\|42501\|permission denied for channel "old"/, 'with a token', POST => '/send/old', {%member}, @json);
fails(qr/^400\|22P02\|/, 'a message without a payload', POST => '/send/news', {%member});

# Pages of allowed origins
my $preflight = $ua->start($ua->build_tx(OPTIONS => "$base/rpc/request" =>
	{ Origin => 'http://localhost:3000', 'Access-Control-Request-Method' => 'POST', 'Access-Control-Request-Headers' => 'authorization,content-type' }))->res;
is_deeply([ $preflight->code, map { $preflight->headers->header("Access-Control-Allow-$_") } qw(Origin Methods Headers) ],
	[ 204, 'http://localhost:3000', 'GET, HEAD, POST, OPTIONS', 'authorization,content-type' ], 'a preflight');
is(answer(GET => '/rpc/request', { Origin => 'https://evil.example' }) =~ s/ .*//r, 403, 'other pages');

# A client that leaves ends its query; those that wait are clients of their address.
sql(q{ALTER SYSTEM SET pg_notifyd.statement_timeout = '5min'}, q{SELECT pg_reload_conf()});
wait_for(sub { answer(GET => '/rpc/timeout') eq '200 "5min"' }, 'another timeout');
my $running = q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_notifyd worker' AND state = 'active'};
my @sockets = map { my $socket = raw_connect($node); print $socket "POST /rpc/sleep HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n[250]"; $socket } 1 .. 7;
ok($node->poll_query_until('postgres', $running, '2'), 'two run');
wait_for(sub { answer(GET => '/healthz', {}) =~ /^200/ && $ua->get("$base/ws?database=postgres")->res->code }, 'the others have arrived');
my $busy;
wait_for(sub { $busy = Mojo::UserAgent->new(inactivity_timeout => 2)->get("$base/rpc/timeout")->res; ($busy->code // 0) == 503 }, 'no more from this address');
is($busy->headers->header('Retry-After'), 1, 'with the time to try again');
close $_ for @sockets;
ok($node->poll_query_until('postgres', $running, '0'), 'their queries end');
is(answer(GET => '/rpc/com.example%2Fadd?a=1'), '200 11', 'and others run');

# curl, and a client that sends no more
is(`curl -sS -w ' %{http_code}' -H 'Content-Type: application/json' -d '{"a":1}' $base/rpc/com.example%2Fadd`, '11 200', 'curl');
my $socket = raw_connect($node);
print $socket "GET /rpc/com.example%2Fadd?a=1 HTTP/1.1\r\nHost: localhost\r\n\r\n";
shutdown $socket, 1;
like(raw_receive($socket, qr/\r\n\r\n11$/), qr/^HTTP\/1\.1 200 /, 'a client that has closed its side is answered');

done_testing();
