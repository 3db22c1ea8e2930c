package NotifydTest::Metrics;

=head1 NAME

NotifydTest::Metrics - what GET /metrics of a server says, read by Prometheus' own parser

=head1 SYNOPSIS

	my $metrics = NotifydTest::Metrics->new($node);
	is($metrics->value('pg_notifyd_subscriptions', database => 'postgres'), 1);
	$metrics->becomes(0, 'pg_notifyd_feed_lag_seconds', database => 'postgres');

=cut

use strict;
use warnings;

use IPC::Run;
use Mojo::JSON qw(decode_json);
use NotifydTest;
use Test::More;

=head1 METHODS

=over

=item new(NODE)

=cut

sub new
{
	my ($class, $node) = @_;
	return bless { node => $node }, $class;
}

=item samples()

A list of [name, labels, value], from one request. Empty if it is refused.

=cut

sub samples
{
	my ($self) = @_;
	my $response = http_get($self->{node}, '/metrics') // return;
	my ($json, $errors) = ('', '');

	return if $response->code != 200;
	IPC::Run::run([ 'python3', "$ENV{TESTDIR}/test/lib/metrics.py" ], '<', \$response->body, '>', \$json, '2>', \$errors)
	  or die "Prometheus cannot read the metrics: $errors";
	return @{ decode_json($json) };
}

=item value(NAME, %labels)

The value of the only sample with these labels; undef: there is none.

=cut

sub value
{
	my ($self, $name, %labels) = @_;
	my @found = grep {
		my $sample = $_;
		$sample->[0] eq $name && !grep { ($sample->[1]{$_} // '') ne $labels{$_} } keys %labels;
	} $self->samples;

	die "$name is there " . @found . ' times' if @found > 1;
	return @found ? $found[0][2] : undef;
}

=item becomes(EXPECTED, NAME, %labels)

Wait until a value is EXPECTED, or until EXPECTED->(value) is true. A test of its own.

=cut

sub becomes
{
	my ($self, $expected, $name, %labels) = @_;
	my $what = join ' ', $name, map { "$_=$labels{$_}" } sort keys %labels;
	my $last;

	wait_for(
		sub {
			$last = $self->value($name, %labels);
			return defined $last && (ref $expected ? $expected->($last) : $last == $expected);
		},
		"$what, which is " . ($last // 'missing'));
	pass("$what becomes $last");
	return;
}

1;
