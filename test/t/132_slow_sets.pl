# Policies and filters that take long, and locks that they wait for: who is concerned, and who is not.
use strict;
use warnings;

use NotifydTest;
use Test::More;
use Time::HiRes qw(time);

my $node = notifyd_node('main', roles => ['reader']);

sub sql { return $node->safe_psql('postgres', join ';', @_); }
sub user { my ($sub) = @_; return notifyd_client($node, headers => { notifyd_bearer('reader', $sub) }); }
sub log_count { my ($from, $pattern) = @_; my @found = PostgreSQL::Test::Utils::slurp_file($node->logfile, $from) =~ /$pattern/g; return scalar @found; }
sub ids { my ($client, $n) = @_; return join ' ', map { $client->next_message('event')->{key}{id} } 1 .. $n; }

sql(q{
	CREATE FUNCTION uid() RETURNS int LANGUAGE sql STABLE AS $$
		SELECT (current_setting('request.jwt.claims', true)::json->>'sub')::int $$;
	CREATE FUNCTION slow(id int, seconds float8) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
		BEGIN PERFORM pg_sleep(seconds); RETURN true; END $$;
	CREATE TABLE marks (id int PRIMARY KEY);
	CREATE TABLE ended (id int PRIMARY KEY);
	CREATE TABLE allowed (id int PRIMARY KEY);
	CREATE TABLE many (id int PRIMARY KEY);
	CREATE TABLE members (u int, tenant int);
	CREATE TABLE orders (id int PRIMARY KEY, tenant int);
	CREATE TABLE texts (id int PRIMARY KEY, t text);
	INSERT INTO members VALUES (1, 10), (2, 20);
	ALTER TABLE ended ENABLE ROW LEVEL SECURITY;
	ALTER TABLE allowed ENABLE ROW LEVEL SECURITY;
	ALTER TABLE many ENABLE ROW LEVEL SECURITY;
	ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
	CREATE POLICY p ON ended USING (uid() <> 1 OR slow(id, 0.3));
	CREATE POLICY p ON allowed USING (uid() < 0 OR slow(id, 0.1));
	CREATE POLICY p ON many USING (uid() < 0 OR slow(id, 0.05));
	CREATE POLICY p ON orders USING (tenant IN (SELECT tenant FROM members WHERE u = (SELECT uid())));
	GRANT SELECT ON marks, ended, allowed, many, members, orders, texts TO reader;
});
sql("SELECT notify_watch('$_')") for qw(marks ended allowed many orders texts);

my $witness = user(1000);
$witness->subscribe('marks');
my $mark = 0;

# A mark is written now; returns when the witness has got it.
sub marked { $mark++; sql("INSERT INTO marks VALUES ($mark)"); is(ids($witness, 1), $mark, $_[0]); }

# What takes too long ends at the first row, and is not tried with the others.
my $from = -s $node->logfile;
my $slow = user(1);
my $other = user(2);
$_->subscribe('ended') for $slow, $other;
sql('INSERT INTO ended SELECT generate_series(1, 20)');
is($slow->next_message('error')->{code}, -32003, 'a policy that takes too long ends the subscription');
is(ids($other, 20), join(' ', 1 .. 20), 'others get all rows');
cmp_ok(log_count($from, qr/"ended" took too long/), '<=', 2, 'it was not evaluated for each row');

# The limit of one is not what others have used.
my @allowed = map { user($_) } 1 .. 5;
$_->subscribe('allowed') for @allowed;
sql('INSERT INTO allowed SELECT generate_series(1, 3)');
is(ids($_, 3), '1 2 3', 'policies within the limit go on beside others') for @allowed;

# Many that are slow come behind those that are not.
my @many = map { user($_) } 1 .. 40;
$_->subscribe('many') for @many;
sql('INSERT INTO many VALUES (1)');
my $began = time;
$mark++;
sql("INSERT INTO marks VALUES ($mark)");
my $written = time;
is(ids($witness, 1), $mark, 'others do not wait for many slow policies');
my $marked = time - $written;
is(ids($_, 1), '1', 'and these get their events') for @many;
cmp_ok($marked, '<', (time - $began) / 2, 'later');

# A condition that is slow all the time ends.
sql('INSERT INTO many SELECT generate_series(2, 30)');
like($many[0]->next_message('error')->{message}, qr/row security of table "many" takes too much time/, 'what is slow all the time ends');

# A lock on a table that a policy reads.
my $reader = user(1);
$reader->subscribe('orders');
my $session = $node->background_psql('postgres');
$session->query_safe('BEGIN; LOCK TABLE members IN ACCESS EXCLUSIVE MODE');
sql('INSERT INTO orders VALUES (1, 10), (2, 20)');
marked('a lock does not hold up others');
my $late = user(2);
$late->subscribe('orders');
sql('INSERT INTO orders VALUES (3, 10), (4, 20)');
marked('nor does a subscription that needs the lock');
$session->query_safe('COMMIT');
is(ids($reader, 2), '1 3', 'events that had to wait come after the lock');
is($late->next_message('event')->{key}{id}, 4, 'also those of a new subscription');
$session->query_safe('BEGIN; DELETE FROM members; LOCK TABLE members IN ACCESS EXCLUSIVE MODE');
sql('INSERT INTO orders VALUES (5, 10), (6, 20)');
marked('again');
$session->query_safe('COMMIT');
ok(exists $reader->next_message('reset')->{reason}, 'what has changed with the lock counts for events from before');
sql("INSERT INTO members VALUES (1, 10)", "INSERT INTO orders VALUES (7, 10)");
ok(exists $reader->next_message('reset')->{reason}, 'a new membership');
is($reader->next_message('event')->{key}{id}, 7, 'and the hidden row was not sent');

# Filters that would cost too much time or memory.
my $costly = user(1);
for my $case (
	[ 't=like.' . 'a' x 257, qr/pattern for column "t" is longer than 256 bytes/ ],
	[ 't=like.' . '*a' x 17, qr/pattern for column "t" has more than 16 wildcards/ ],
	[ 'or=(' . join(',', ('id.eq.1') x 201) . ')', qr/more than 200 conditions/ ])
{
	my $refused = $costly->call('subscribe', { channel => 'texts', filter => $case->[0] })->{error};
	is($refused->{code}, -32602, 'a filter is refused');
	like($refused->{message}, $case->[1], 'with the reason');
}
my $accepted = 0;
my $together;
for my $n (1 .. 20)
{
	my $reply = $costly->call('subscribe', { channel => 'texts', filter => 't=in.(' . 'a' x 8000 . "$n)" });
	$together = $reply->{error} and last if $reply->{error};
	$accepted++;
}
is($accepted, 16, 'the filters of a connection are limited');
like($together->{message}, qr/at most 131072 bytes together/, 'with the reason');
$costly->close;
my $pattern = user(1);
$pattern->subscribe('texts', filter => 't=like.*a*b');
sql("INSERT INTO texts VALUES (1, 'xab'), (2, repeat('a', 100001))");
is($pattern->next_message('event')->{key}{id}, 1, 'a pattern');
is($pattern->next_message('error')->{message}, 'the filter of table "texts" raised an error (SQLSTATE 54000)', 'is not compared with a value that is too long');
$pattern->close;

$_->close for $witness, $slow, $other, $reader, $late, @allowed, @many;
done_testing();
