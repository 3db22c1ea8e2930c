package NotifydTest::Node;

=head1 NAME

NotifydTest::Node - programs in JavaScript, and packages of npm, for TAP tests

=head1 SYNOPSIS

	use NotifydTest::Node;

	my ($modules, $why) = npm_modules('react@19.2.0');
	run_script([ node_command() ], 'test/client/library.mjs', $file);

=cut

use strict;
use warnings;

use Exporter 'import';
use IPC::Run ();
use Test::More;

our @EXPORT = qw(npm_modules node_command run_script script_results);

my $top = $ENV{TESTDIR} // '.';
my $kept = "$top/tmp_check/npm";

=head1 FUNCTIONS

=over

=item npm_modules(PACKAGE...)

The folder node_modules with these packages, each NAME@VERSION, which this may fetch. Without them, undef and the reason.
All tests of a run share the folder.

=cut

sub npm_modules
{
	my @packages = @_;
	my @missing = grep { !-e "$kept/" . s/\W/_/gr } @packages;
	my ($out, $err) = ('', '');

	return "$kept/node_modules" if !@missing;
	mkdir "$top/tmp_check";
	mkdir $kept;
	my @npm = ('npm', 'install', '--no-audit', '--no-fund', '--prefix', $kept, @missing);
	my $good = eval { IPC::Run::run(\@npm, \undef, \$out, \$err, IPC::Run::timeout(300)) };
	return (undef, "npm cannot fetch @missing") if !$good;
	foreach (@missing)
	{
		open my $mark, '>', "$kept/" . s/\W/_/gr or die "mark of $_: $!";
		close $mark or die "mark of $_: $!";
	}
	return "$kept/node_modules";
}

=item node_command()

A command that runs Node with a WebSocket: that of the machine from version 22 on, version 20 with the option that it
needs, or one that npm fetches. Without one, an empty list.

=cut

sub node_command
{
	my $version = qx(node --version 2>&1) // '';
	my ($major) = $version =~ /^v(\d+)/;

	return 'node' if ($major // 0) >= 22;
	return ('node', '--experimental-websocket', '--no-warnings') if ($major // 0) >= 20;
	my ($modules) = npm_modules('node@22.23.3');
	return defined $modules ? "$modules/node/bin/node" : ();
}

=item script_results(COMMAND, ARGUMENTS...)

Runs a script whose output has lines "ok - NAME" and "not ok - NAME", as those of F<test/client/tap.mjs>. Returns a list of
{ good, name }; the last one is its status, which must be 0. COMMAND is a reference to a list. Other output is shown.

=cut

sub script_results
{
	my ($command, @arguments) = @_;
	my @results;

	open my $output, '-|', @$command, @arguments or die "$command->[0]: $!";
	while (my $line = <$output>)
	{
		chomp $line;
		if ($line =~ /^(not )?ok - (.*)/)
		{
			push @results, { good => !$1, name => $2 };
		}
		else
		{
			diag($line =~ s/^# //r);
		}
	}
	my $good = close $output;
	return (@results, { good => $good, name => "status of $arguments[0]: $?" });
}

=item run_script(COMMAND, ARGUMENTS...)

Makes tests of script_results(). Returns whether all passed.

=cut

sub run_script
{
	my @results = script_results(@_);

	ok($_->{good}, $_->{name}) foreach @results;
	return !grep { !$_->{good} } @results;
}

=back

=cut

1;
