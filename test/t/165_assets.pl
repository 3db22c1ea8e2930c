# GET / and /client.js: the files that the gateway serves from its own program, their headers, and pg_notifyd.page.
use strict;
use warnings;

use Digest::SHA qw(sha256_base64 sha256_hex);
use Mojo::File qw(path);
use NotifydTest;
use Test::More;

my $node = notifyd_node('main');
my $client = path("$ENV{TESTDIR}/client/client.js")->slurp;

# The status and the headers of a response, by their names in lower case, without Date and those of the connection.
sub headers
{
	my ($method, $path, @headers) = @_;
	my $text = curl($node, $path, '-D', '-', '-o', '/dev/null', map({ ('-H', $_) } @headers), $method eq 'HEAD' ? '-I' : ('-X', $method));
	my ($status) = $text =~ /^(\d+)/;
	my %headers = map { /^([\w-]+): (.*?)\r?$/ ? (lc $1, $2) : () } split /\n/, $text;
	delete @headers{ '', 'connection', 'keep-alive' };
	return { status => $status, %headers };
}

# sha256_base64() leaves out the padding.
sub hash_of { return "'sha256-" . sha256_base64(shift) . "='"; }

# The page
my $page = curl($node, '/') =~ s/^200 //r;
my ($script) = $page =~ /<script type="module">(.*?)<\/script>/s;
my ($style) = $page =~ /<style>(.*?)<\/style>/s;
my %page_headers = (
	status => 200,
	'cache-control' => 'no-cache',
	'content-length' => length $page,
	'content-security-policy' => join('; ', "default-src 'none'", 'script-src ' . hash_of($script), 'style-src ' . hash_of($style), 'img-src data:',
		"connect-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'", "trusted-types 'none'"),
	'content-type' => 'text/html; charset=utf-8',
	'cross-origin-opener-policy' => 'same-origin',
	'cross-origin-resource-policy' => 'same-origin',
	etag => '"' . substr(sha256_hex($page), 0, 32) . '"',
	'referrer-policy' => 'no-referrer',
	'x-content-type-options' => 'nosniff');
is_deeply(headers('GET', '/'), \%page_headers, 'the headers of the page');
is_deeply(headers('HEAD', '/'), \%page_headers, 'and for HEAD');
is_deeply(headers('GET', '/?channel=orders', 'Origin: http://localhost:3000'), \%page_headers, 'with a query, from a page');
is(curl($node, '/', '-I', '-o', '/dev/null'), '200 ', 'HEAD has no body');
unlike($page =~ s/<script.*<\/script>//sr, qr/\s(?:src|href)\s*=\s*["']?+(?!data:|#)|url\(|\@import/i, 'it names no other file');
unlike($page, qr/innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|DOMParser|setHTML|localStorage\W+setItem\W+token/, 'and makes no markup of text');

# The client library
my %client_headers = (
	status => 200,
	'access-control-allow-origin' => '*',
	'cache-control' => 'no-cache',
	'content-length' => length $client,
	'content-type' => 'text/javascript; charset=utf-8',
	'cross-origin-resource-policy' => 'cross-origin',
	etag => '"' . substr(sha256_hex($client), 0, 32) . '"',
	'x-content-type-options' => 'nosniff');
is(curl($node, '/client.js'), "200 $client", 'the client library');
is_deeply(headers('GET', '/client.js', 'Origin: https://elsewhere.example'), \%client_headers, 'its headers, for the pages of all sites');
is_deeply(headers('HEAD', '/client.js'), \%client_headers, 'and for HEAD');

# Caches
foreach my $asset ([ '/', \%page_headers ], [ '/client.js', \%client_headers ])
{
	my ($path, $headers) = @$asset;
	my %known = (%$headers, status => 304);
	delete @known{ 'content-length', 'content-type' };
	foreach my $tags ($headers->{etag}, "W/$headers->{etag}", "\"x\", $headers->{etag}", '*')
	{
		is_deeply(headers($_, $path, "If-None-Match: $tags"), \%known, "$_ $path, which the client has: $tags") for 'GET', 'HEAD';
	}
	is(headers('GET', $path, "If-None-Match: $_")->{status}, 200, "$path, which it does not have: $_") for '"x"', $headers->{etag} =~ s/"//gr, uc $headers->{etag};
	is(curl($node, $path, '-H', "If-None-Match: $headers->{etag}"), '304 ', "$path: no body");
}

# Other methods, and names that are not ours
foreach my $path ('/', '/client.js')
{
	my $answer = headers('POST', $path);
	is("$answer->{status} $answer->{allow}", '405 GET, HEAD', "POST $path");
	is(curl($node, $path, '-H', 'Host: evil.example'), '403 this host name is not one of ours' . "\n", "$path of a rebound name");
	is(curl($node, $path, '-d', 'x', '-X', 'GET', '-o', '/dev/null'), '400 ', "$path with a body");
}
is(curl($node, $_), '404 {"detail":"Not Found"}', "no such path: $_") for '/client.js/', '//';

# Without the page
$node->append_conf('postgresql.conf', 'pg_notifyd.page = off');
$node->reload;
wait_for(sub { return curl($node, '/') =~ /^404/ }, 'the page is off');
is(curl($node, '/', '-X', $_), '404 {"detail":"Not Found"}', "$_ / without the page") for qw(GET POST DELETE);
is_deeply(headers('GET', '/client.js'), \%client_headers, 'the client library stays');
$node->append_conf('postgresql.conf', 'pg_notifyd.page = on');
$node->reload;
wait_for(sub { return curl($node, '/') =~ /^200/ }, 'the page is on');
is_deeply(headers('GET', '/'), \%page_headers, 'the page is back');

done_testing();
