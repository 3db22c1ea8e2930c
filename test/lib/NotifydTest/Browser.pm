package NotifydTest::Browser;

=head1 NAME

NotifydTest::Browser - a page in a headless Chromium, for TAP tests

=head1 SYNOPSIS

	my $page = NotifydTest::Browser->new('http://localhost:8000/');
	$page->wait_for(q{document.querySelector('button').disabled === false}, 'the button');
	$page->evaluate(q{document.querySelector('button').click()});
	like($page->text, qr/done/);

Each page is a browser of its own, with a new profile. A test controls it by the DevTools protocol. What waits here
waits at most PG_TEST_TIMEOUT_DEFAULT seconds (180) and dies then.

=cut

use strict;
use warnings;

use Carp qw(croak);
use MIME::Base64 qw(decode_base64);
use Mojo::File qw(path);
use Mojo::JSON qw(decode_json encode_json);
use Mojo::UserAgent;
use NotifydTest::Client;
use POSIX qw(WNOHANG);
use PostgreSQL::Test::Utils;

my @browsers;

# A browser has many processes.
END
{
	my $status = $?;
	kill 'KILL', map { -$_ } @browsers;
	waitpid $_, 0 for @browsers;
	$? = $status;
}

=head1 METHODS

=over

=item new(URL)

Opens the page and waits until its document is there: a script that ran earlier would run in the empty document that the
browser starts with. Names that end with C<.example> are this machine.

=cut

sub new
{
	my ($class, $url) = @_;
	my $self = bless { last_id => 0, answers => {}, ua => Mojo::UserAgent->new(connect_timeout => 0, inactivity_timeout => 0) }, $class;

	$self->_start($url);
	return $self if $url eq 'about:blank';
	$self->wait_for(q{location.href !== 'about:blank' && document.readyState !== 'loading'}, 'the document');
	# Chromium shows a page of its own if a change of the network interrupts it.
	NotifydTest::Client::wait_until(
		sub {
			return 1 if !eval { $self->evaluate(q{location.protocol === 'chrome-error:'}) };
			eval { $self->command('Page.navigate', url => $url) };
			return 0;
		},
		$url);
	$self->wait_for(q{document.readyState !== 'loading'}, 'the document');
	return $self;
}

# Start a browser and connect to its page. One that ends at its start is replaced, as busy machines have such.
sub _start
{
	my ($self, $url) = @_;

	for (1 .. 5)
	{
		my $profile = PostgreSQL::Test::Utils::tempdir;
		my $pid = _spawn($profile, $url);
		return if $self->_connect($pid, path("$profile/DevToolsActivePort"));
		@browsers = grep { $_ != $pid } @browsers;
		kill 'KILL', -$pid;
		warn 'chromium has ended at its start: ', path("$profile/log")->slurp;
	}
	croak 'chromium does not start';
}

sub _spawn
{
	my ($profile, $url) = @_;
	my $pid = fork // die "fork: $!";

	if ($pid == 0)
	{
		open STDOUT, '>', "$profile/log";
		open STDERR, '>&', \*STDOUT;
		setpgrp;
		exec 'chromium', '--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run',
		  '--no-proxy-server', '--remote-debugging-port=0', "--user-data-dir=$profile",
		  '--host-resolver-rules=MAP *.example 127.0.0.1', $url;
	}
	push @browsers, $pid;
	return $pid;
}

# Connect to the page. The browser writes its port to the file, in the first line. Returns false if it has ended.
sub _connect
{
	my ($self, $pid, $file) = @_;
	my ($port, $page, $ended);
	my $wait_until = sub {
		my ($code, $what) = @_;
		NotifydTest::Client::wait_until(sub { $code->() || ($ended = $ended || waitpid($pid, WNOHANG) == $pid) }, $what);
		return !$ended;
	};

	$wait_until->(sub { ($port) = -s $file ? $file->slurp =~ /^(\d+)\n/ : () }, 'the browser') or return 0;
	$wait_until->(
		sub {
			my $pages = Mojo::UserAgent->new->get("http://127.0.0.1:$port/json")->res->json // [];
			($page) = grep { $_->{type} eq 'page' } @$pages;
		},
		'its page') or return 0;
	$self->{ua}->websocket(
		$page->{webSocketDebuggerUrl} => sub {
			my ($ua, $tx) = @_;
			$ended = 1, return if !$tx->is_websocket;
			$tx->max_websocket_size(64 * 1024 * 1024);
			$tx->on(text => sub { my $answer = decode_json($_[1]); $self->{answers}{ $answer->{id} } = $answer if $answer->{id}; });
			$self->{tx} = $tx;
		});
	return $wait_until->(sub { $self->{tx} }, 'connection to the page');
}

=item command(METHOD, %params)

The result of a command of the DevTools protocol.

=cut

sub command
{
	my ($self, $method, %params) = @_;
	my $id = $self->_send($method, %params);

	NotifydTest::Client::wait_until(sub { $self->{answers}{$id} }, "answer to $method");
	return $self->_result($method, $id);
}

sub _send
{
	my ($self, $method, %params) = @_;
	my $id = ++$self->{last_id};

	$self->{tx}->send([ 1, 0, 0, 0, 1, encode_json({ id => $id, method => $method, params => \%params }) ]);
	return $id;
}

sub _result
{
	my ($self, $method, $id) = @_;
	my $answer = delete $self->{answers}{$id};
	croak "$method: " . encode_json($answer->{error}) if $answer->{error};
	return $answer->{result};
}

=item evaluate(SCRIPT)

The value of this JavaScript in the page.

=cut

sub evaluate
{
	my ($self, $script) = @_;
	return _value($script, $self->command(_evaluation($script)));
}

sub _evaluation
{
	my ($script) = @_;
	return ('Runtime.evaluate', expression => $script, returnByValue => \1, awaitPromise => \1);
}

sub _value
{
	my ($script, $result) = @_;

	croak "$script: $result->{exceptionDetails}{exception}{description}" if $result->{exceptionDetails};
	return $result->{result}{value};
}

=item wait_for(SCRIPT, WHAT)

Waits until this JavaScript returns something true, also while the page is loading; returns that.

=cut

sub wait_for
{
	my ($self, $script, $what) = @_;
	my ($found, $id, $asked);

	# A document that is replaced may take the answer with it: then ask again.
	my $has = sub {
		($id, $asked) = ($self->_send(_evaluation($script)), time) if !defined $id || time - $asked >= 5;
		return 0 if !$self->{answers}{$id};
		$found = eval { _value($script, $self->_result('Runtime.evaluate', $id)) };
		undef $id;
		return $found;
	};
	eval { NotifydTest::Client::wait_until($has, $what); 1 } or croak "$@ The page has: " . (eval { $self->text } // $@);
	return $found;
}

=item text

The text of the page, as it is shown.

=cut

sub text { return shift->evaluate('document.body.innerText'); }

=item screenshot(FILE, WIDTH)

Writes a picture of the page, in a window of this width, as PNG.

=cut

sub screenshot
{
	my ($self, $file, $width) = @_;

	$self->command('Emulation.setDeviceMetricsOverride', width => $width, height => 800, deviceScaleFactor => 1,
		mobile => $width < 600 ? \1 : \0);
	open my $picture, '>:raw', $file or croak "$file: $!";
	print $picture decode_base64($self->command('Page.captureScreenshot', format => 'png')->{data});
	close $picture or croak "$file: $!";
	return;
}

=back

=cut

1;
