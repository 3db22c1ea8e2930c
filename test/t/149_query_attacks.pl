# Attempts of clients and of owners of exposed objects to get more than their roles may: other roles, databases without
# CONNECT, operators and types that search_path finds, text that the database's encoding lacks, and memory.
use strict;
use warnings;

use NotifydTest;
use Test::More;

my $node = notifyd_node('main', roles => [ 'member', 'chief' ], conf => <<"EOC");
max_worker_processes = 20
EOC

sub sql { return $node->safe_psql('postgres', join ';', @_); }

sql(q{
	CREATE ROLE mallory LOGIN;
	CREATE TABLE secret (v text);
	INSERT INTO secret VALUES ('CANARY');
	GRANT SELECT ON secret TO chief;
});

# The status and body of a request.
my @auth;

sub request
{
	my ($method, $path, $body) = @_;
	return curl($node, $path, '-X', $method, @auth, defined $body ? ('-H', 'Content-Type: application/json', '-d', $body) : ());
}

sub auth { my ($role) = @_; return ('-H', join ': ', notifyd_bearer($role, 7)); }

# A role that owns a schema, and code that runs for clients of other roles.
sql(q{
	CREATE SCHEMA mallory AUTHORIZATION mallory;
	GRANT USAGE ON SCHEMA mallory TO PUBLIC;
	SET SESSION AUTHORIZATION mallory;
	CREATE FUNCTION mallory.as_chief(command text DEFAULT 'SET ROLE chief') RETURNS text LANGUAGE plpgsql AS $$
		DECLARE result text;
		BEGIN EXECUTE command; SELECT v INTO result FROM public.secret; RETURN result; END $$;
	CREATE FUNCTION mallory.caught() RETURNS text LANGUAGE plpgsql AS $$
		BEGIN BEGIN RAISE division_by_zero; EXCEPTION WHEN division_by_zero THEN NULL; END; RETURN mallory.as_chief(); END $$;
	CREATE FUNCTION mallory.trigger() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.v := mallory.as_chief(); RETURN NEW; END $$;
	CREATE TABLE mallory.plain (id int PRIMARY KEY, v text);
	CREATE TRIGGER now BEFORE INSERT ON mallory.plain FOR EACH ROW EXECUTE FUNCTION mallory.trigger();
	CREATE TABLE mallory.deferred (id int PRIMARY KEY, v text);
	CREATE CONSTRAINT TRIGGER later AFTER INSERT ON mallory.deferred DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION mallory.trigger();
	CREATE FUNCTION mallory.cursor() RETURNS void LANGUAGE plpgsql AS $$
		BEGIN EXECUTE 'DECLARE late CURSOR WITH HOLD FOR SELECT mallory.as_chief()'; END $$;
	CREATE VIEW mallory.view AS SELECT mallory.as_chief() AS v;
	GRANT ALL ON mallory.plain, mallory.deferred, mallory.view TO PUBLIC;
	CREATE FUNCTION mallory.role() RETURNS text[] LANGUAGE sql AS $$SELECT ARRAY[current_user, session_user, current_setting('role')]$$;
	SELECT public.notify_expose(oid::regprocedure) FROM pg_proc WHERE pronamespace = 'mallory'::regnamespace AND proname <> 'trigger';
	SELECT public.notify_expose('mallory.plain'), public.notify_expose('mallory.deferred'), public.notify_expose('mallory.view');
});

for my $role ('guest', 'member')
{
	@auth = $role eq 'guest' ? () : auth($role);
	is(request('POST', '/rpc/role'), qq{200 ["$role","authenticator","$role"]}, "the role of $role");
	for my $command ('SET ROLE chief', 'SET LOCAL ROLE chief', 'RESET ROLE', 'SET ROLE NONE', "SELECT set_config('role', 'chief', true)",
		'SET SESSION AUTHORIZATION chief', 'RESET SESSION AUTHORIZATION', 'SET SESSION AUTHORIZATION DEFAULT')
	{
		like(request('POST', '/rpc/as_chief', qq{{"command": "$command"}}), qr/^40[13] .*"code":"42501","message":"cannot set parameter/, "$role: $command");
	}
	for my $attempt ([ 'POST', '/rpc/caught' ], [ 'GET', '/view/' ], [ 'POST', '/plain/', '{"id": 1}' ],
		[ 'POST', '/deferred/', '{"id": 1}' ], [ 'POST', '/rpc/cursor' ])
	{
		like(request(@$attempt), qr/^40[13] .*"code":"42501","message":"cannot set parameter/, "$role: $attempt->[1]");
	}
	is(request('POST', '/rpc/role'), qq{200 ["$role","authenticator","$role"]}, 'the role afterwards');
}

# Operators and types that search_path finds are not those of filters.
sql(q{
	CREATE SCHEMA app;
	GRANT USAGE ON SCHEMA app TO PUBLIC;
	CREATE DOMAIN app.words AS text;
	CREATE TYPE app.mood AS ENUM ('sad', 'happy');
	CREATE TABLE app.rows (id int PRIMARY KEY, tags varchar[], v varchar, w app.words, c char(3), f float4, m app.mood, j json, ok bool);
	GRANT SELECT ON app.rows TO PUBLIC;
	INSERT INTO app.rows VALUES (1, '{a,b}', 'a''b', 'x\y', 'c', 0.1, 'happy', '{"a": [1, "x"]}', true);
	INSERT INTO app.rows (id) VALUES (2);
	SELECT notify_expose('app.rows'), notify_watch('app.rows');
	CREATE SCHEMA member AUTHORIZATION mallory;
	GRANT USAGE ON SCHEMA member TO PUBLIC;
	SET SESSION AUTHORIZATION mallory;
	CREATE FUNCTION member.bad(varchar[], varchar[]) RETURNS bool LANGUAGE plpgsql AS $$BEGIN RAISE 'code of mallory'; END $$;
	CREATE OPERATOR member.= (LEFTARG = varchar[], RIGHTARG = varchar[], FUNCTION = member.bad);
	CREATE OPERATOR member.@> (LEFTARG = varchar[], RIGHTARG = varchar[], FUNCTION = member.bad);
	CREATE FUNCTION member.to_jsonb(app.words) RETURNS jsonb LANGUAGE plpgsql AS $$BEGIN RAISE 'code of mallory'; END $$;
	CREATE DOMAIN member.text AS pg_catalog.text CHECK (VALUE = 'code of mallory');
});

my %filters = (
	'tags=cs.{a}' => '1', 'tags=eq.{"a","b"}' => '1', 'tags=isdistinct.{c}' => '1,2', 'tags=isdistinct.{a,b}' => '2', 'w->>0=is.null' => '2',
	'v=eq.a\'b' => '1', 'v=like.a*' => '1', 'w=like.x*' => '1', 'w=eq.x\y' => '1', 'v=in.("a\'b",z)' => '1', 'v=not.in.(a)' => '1', 'c=eq.c' => '1',
	'f=eq.0.1' => '1', 'm=gt.sad' => '1', 'm=in.(sad,happy)' => '1', 'j->a->>1=eq.x' => '1', 'ok=is.true' => '1', 'ok=is.unknown' => '2',
	'tags=is.null' => '2', 'or=(ok.is.not_null,and(id.eq.2,v.is.null))' => '1,2', 'v=like(any).{b*,a*}' => '1', 'id=not.eq.1' => '2',
);

sub check_filters
{
	my ($name) = @_;
	my $client = notifyd_client($node, headers => { notifyd_bearer('member', 7) });

	@auth = auth('member');
	for my $filter (sort keys %filters)
	{
		my $encoded = $filter =~ s/([^\w.=()-])/sprintf '%%%02X', ord $1/ger;
		my $ids = join ',', map { qq{{"id":$_}} } split /,/, $filters{$filter};
		is(request('GET', "/rows/?select=id&$encoded"), "200 [$ids]", "$name: $filter");
		$client->call('subscribe', { channel => 'app.rows', filter => $encoded, snapshot => \1, tag => $encoded })->{result} or next;
		my (@rows, $message);
		do
		{
			$message = $client->next_message('rows');
			push @rows, map { $_->{id} } @{ $message->{rows} };
		} until $message->{done};
		is(join(',', @rows), $filters{$filter}, "$name: a snapshot with $filter");
	}
	return;
}

check_filters('search_path is that of the session');
sql('ALTER ROLE authenticator SET search_path = member, pg_catalog', 'ALTER ROLE authenticator SET standard_conforming_strings = off',
	'ALTER ROLE authenticator SET extra_float_digits = -2');
$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'authenticator'});
check_filters('search_path has pg_catalog last');
sql('ALTER ROLE authenticator RESET ALL');

# A client's role needs CONNECT, as for events.
$node->safe_psql('postgres', 'CREATE DATABASE closed');
$node->safe_psql('closed', q{
	REVOKE CONNECT ON DATABASE closed FROM PUBLIC;
	GRANT CONNECT ON DATABASE closed TO authenticator, chief;
	CREATE EXTENSION pg_notifyd;
	CREATE FUNCTION one() RETURNS int LANGUAGE sql STABLE AS 'SELECT 1';
	CREATE TABLE t (id int PRIMARY KEY);
	GRANT SELECT ON t TO PUBLIC;
	SELECT notify_expose('one()'), notify_expose('t'), notify_grant('news', 'member', 'publish');
});
wait_healthy($node, 'closed');
@auth = auth('chief');
is(request('GET', '/rpc/one?database=closed'), '200 1', 'a role with CONNECT');
@auth = auth('member');
for my $attempt ([ 'GET', '/rpc/one' ], [ 'GET', '/t/' ], [ 'POST', '/send/news', '1' ])
{
	my ($method, $path, @body) = @$attempt;
	is(request($method, "$path?database=closed", @body),
		'403 {"code":"42501","message":"permission denied for database closed","details":null,"hint":null}', "$path without CONNECT");
}

# A database whose encoding is not UTF-8: errors are converted, and nothing is replaced.
$node->safe_psql('postgres', q{CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0});
$node->safe_psql('latin', q{
	CREATE EXTENSION pg_notifyd;
	CREATE FUNCTION echo(t text) RETURNS text LANGUAGE plpgsql STABLE AS $$BEGIN IF t = '' THEN RAISE 'no text: %', chr(233); END IF; RETURN t; END $$;
	CREATE TABLE t (k text PRIMARY KEY);
	GRANT ALL ON t TO PUBLIC;
	SELECT notify_expose('echo(text)'), notify_expose('t');
});
wait_healthy($node, 'latin');
my $pid = $node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()');
is(request('POST', '/rpc/echo?database=latin', '{"t":"é"}'), '200 "é"', 'a character that LATIN1 has');
is(request('POST', '/rpc/echo?database=latin', '{"t":""}'), '400 {"code":"P0001","message":"no text: é","details":null,"hint":null}', 'an error');
like(request('POST', '/rpc/echo?database=latin', '{"t":"☃"}'), qr/^400 .*"code":"22P05"/, 'a character that it lacks');
like(request('GET', '/t/?database=latin&k=eq.%E2%98%83'), qr/^400 .*"code":"22P05"/, 'in a filter');
like(request('GET', '/t/?database=latin&k=eq.%E9'), qr/^400 .*"code":"22023"/, 'a filter that is not UTF-8');
like(request('POST', '/t/?database=latin', '{"k":"☃"}'), qr/^400 .*"code":"22P05"/, 'in a row');
is(request('POST', '/t/?database=latin', '{"k":"é"}'), '201 {"k":"é"}', 'a row');
is(request('GET', '/t/%C3%A9/?database=latin'), '200 {"k":"é"}', 'its path');
is(request('GET', '/t/%E9/?database=latin'), '404 {"detail":"Not Found"}', 'a path that is not UTF-8');
is($node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()'), $pid, 'the server has not restarted');

# Clients that do not read their snapshots of large rows: the worker keeps no row in its memory for each of them.
sql(q{
	CREATE TABLE app.large (id int PRIMARY KEY, v text);
	GRANT SELECT ON app.large TO PUBLIC;
	INSERT INTO app.large SELECT i, repeat('x', 10000000) FROM generate_series(1, 2) AS i;
	SELECT notify_watch('app.large');
});
my @idle = map { notifyd_client($node) } 1 .. 20;
for my $client (@idle)
{
	$client->send({ id => 1, method => 'subscribe', params => { channel => 'app.large', snapshot => \1 } });
	$client->stop_reading;
}
wait_for(sub { sql('SELECT count(*) FROM pg_ls_tmpdir()') >= @idle }, 'the rest of each snapshot in a file');
my $memory = 0;
$memory += process_status($_, 'VmRSS') =~ s/ kB//r
  for split /\n/, sql(q{SELECT pid FROM pg_stat_activity WHERE usename = 'authenticator' AND datname = 'postgres'});
cmp_ok($memory, '<', 200_000, 'the memory of the workers');

done_testing();
