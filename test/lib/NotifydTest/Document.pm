package NotifydTest::Document;

=head1 NAME

NotifydTest::Document - the blocks of code in the documentation, for TAP tests that follow it

=head1 SYNOPSIS

	use NotifydTest::Document;

	$node->safe_psql('shop', block('doc/start.md', 'CREATE TABLE'));
	save("$dir/worker.py", block('doc/recipes/worker-pool.md', 'import asyncio'), 7432 => notifyd_port($node));

=head1 FUNCTIONS

=over

=cut

use strict;
use warnings;

use Exporter 'import';
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(block save);

=item block(DOCUMENT, BEGIN)

The first block of a document that begins like this. A document without one ends the test.

=cut

sub block
{
	my ($document, $begin) = @_;
	my $text = slurp_file($document);

	while ($text =~ /^( *)```\w*\n(.*?)^ *```$/gms)
	{
		my ($indent, $block) = ($1, $2);
		$block =~ s/^$indent//gm;
		return $block if index($block, $begin) == 0;
	}
	return BAIL_OUT("$document has no block that begins with: $begin");
}

=item save(FILE, TEXT, OLD => NEW, ...)

Writes a text to a new file, and returns its name. Each OLD, which must be there, is replaced by its NEW, in this order.

=cut

sub save
{
	my ($file, $text, @replace) = @_;

	while (my ($old, $new) = splice @replace, 0, 2)
	{
		$text =~ s/\Q$old\E/$new/g or BAIL_OUT("$file does not contain $old");
	}
	unlink $file;
	append_to_file($file, $text);
	return $file;
}

=back

=cut

1;
