# Attempts of clients and of owners of exposed objects to get more than their roles may: other roles, databases without
# CONNECT, operators and types that search_path finds, and text that the database's encoding lacks.
use strict;
use warnings;

use NotifydTest;
use Test::More;

my $secret = 'a secret of at least thirty-two bytes';
my $node = notifyd_node('main', conf => <<"EOC");
pg_notifyd.jwt_secret = '$secret'
pg_notifyd.authenticator_role = 'authenticator'
max_worker_processes = 20
EOC

sub sql { return $node->safe_psql('postgres', join ';', @_); }

sql(q{
	CREATE ROLE authenticator LOGIN NOINHERIT;
	CREATE ROLE member;
	CREATE ROLE chief;
	CREATE ROLE mallory LOGIN;
	GRANT guest, member, chief TO authenticator;
	CREATE TABLE secret (v text);
	INSERT INTO secret VALUES ('CANARY');
	GRANT SELECT ON secret TO chief;
});

# The status and body of a request.
my @auth;

sub request
{
	my ($method, $path, $body) = @_;
	open my $curl, '-|', 'curl', '-s', '-X', $method, '-w', ' %{http_code}', @auth,
		(defined $body ? ('-H', 'Content-Type: application/json', '-d', $body) : ()), "http://127.0.0.1:$node->{notifyd_port}$path" or die;
	my $answer = do { local $/; <$curl> };
	close $curl;
	$answer =~ s/(.*) (\d+)\z/$2 $1/s;
	return $answer;
}

sub token { return notifyd_token({ role => $_[0], sub => '7', exp => time + 6000 }, $secret); }
sub auth { return ('-H', 'Authorization: Bearer ' . token(@_)); }

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

done_testing();
