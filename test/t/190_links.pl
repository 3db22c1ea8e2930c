# Every link in the Markdown files leads to a file that exists, and to a heading that it has.
use strict;
use warnings;

use Cwd qw(realpath);
use Encode qw(decode_utf8);
use File::Basename qw(dirname);
use File::Find qw(find);
use PostgreSQL::Test::Utils;
use Test::More;

my $top = realpath(dirname(__FILE__) . '/../..');
my @files;
find({ no_chdir => 1, wanted => sub {
	$File::Find::prune = 1 if /\/(?:\.git|node_modules|build\S*|tmp_check|log|results|debian\/\.debhelper)$/;
	push @files, $_ if /\.md$/;
} }, $top);

# A document without its blocks of code, and without code in lines.
sub prose
{
	my ($file) = @_;
	return decode_utf8(slurp_file($file)) =~ s/^ *```.*?^ *```$//gmsr;
}

# The anchors of a document's headings, as GitHub and GitLab make them; a repeated one gets a number.
sub anchors
{
	my ($file) = @_;
	my (%anchors, %seen);

	foreach my $heading (prose($file) =~ /^#{1,6} +(.*?)\s*$/gm)
	{
		my $anchor = lc($heading =~ s/\[([^]]*)\]\([^)]*\)/$1/gr) =~ s/[^\w\- ]//gr =~ tr/ /-/r;
		$anchors{ $seen{$anchor}++ ? "$anchor-" . ($seen{$anchor} - 1) : $anchor } = 1;
	}
	return \%anchors;
}

# What is wrong with a link of this file, or nothing.
sub wrong
{
	my ($file, $link) = @_;
	my ($path, $anchor) = split /#/, $link, 2;
	my $target = $path eq '' ? $file : dirname($file) . "/$path";

	return if $link =~ /^(?:https?|mailto):/;
	return "$link: there is no such file" if !-e $target;
	return "$link: a file outside of the project" if index(realpath($target), $top) != 0;
	return if !defined $anchor;
	return $target =~ /\.md$/ && anchors($target)->{$anchor} ? () : "$link: there is no such heading";
}

foreach my $file (sort @files)
{
	my $text = prose($file) =~ s/`[^`\n]+`//gr;
	my @links = ($text =~ /\]\(\s*<?([^)\s>]+)>?[^)]*\)/g, $text =~ /(?:src|href)="([^"]+)"/g);
	is_deeply([ map { wrong($file, $_) } @links ], [], substr($file, length($top) + 1) . ': ' . @links . ' links');
}

# Each document is in the index.
my $index = slurp_file("$top/doc/README.md");
my @missing = grep { index($index, "]($_)") < 0 } map { substr($_, length("$top/doc/")) } grep { m{^\Q$top\E/doc/(?!README)} } sort @files;
is_deeply(\@missing, [], 'doc/README.md has every document');

done_testing();
