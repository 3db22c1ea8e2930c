package NotifydTest::Page;

=head1 NAME

NotifydTest::Page - the live page of a node in a headless Chromium, for TAP tests

=head1 SYNOPSIS

	my $page = NotifydTest::Page->new($node, '#channel=orders');
	$page->is_live;
	$page->shows($node, 'SELECT id, name FROM orders ORDER BY id DESC', 'the rows');

=cut

use strict;
use warnings;

use parent 'NotifydTest::Browser';

use Mojo::JSON qw(to_json);
use NotifydTest ();
use Test::More;

=head1 METHODS

=over

=item new(NODE, WHAT), go(WHAT), reload

Opens the page of this node; another address of it; the same one again. WHAT is what the address has behind the slash,
such as C<#channel=orders>.

=cut

sub new
{
	my ($class, $node, $what) = @_;
	my $self = $class->SUPER::new('about:blank');

	$self->{base} = 'http://localhost:' . NotifydTest::notifyd_port($node) . '/';
	$self->go($what // '');
	return $self;
}

sub go
{
	my ($self, $what) = @_;
	$self->_load('about:blank');
	$self->_load("$self->{base}$what");
	return;
}

sub reload
{
	my ($self) = @_;
	return $self->go(substr $self->evaluate('location.href'), length $self->{base});
}

sub _load
{
	my ($self, $url) = @_;
	eval { $self->evaluate('window.before = true') };
	$self->command('Page.navigate', url => $url);
	$self->wait_for(q{!window.before && document.readyState === 'complete'}, $url);
	return;
}

=item is_live

Waits until the page is connected.

=cut

sub is_live
{
	my ($self, $what) = @_;
	$self->wait_for(q{document.getElementById('connection').dataset.state === 'open' && document.getElementById('state').textContent === 'Live'}, 'live');
	pass($what // 'the page is connected');
	return;
}

=item rows(SELECTOR)

What the page shows: a line for each row that has not left, with its cells between bars. SELECTOR is that of the rows.

=cut

sub rows
{
	my ($self, $selector) = @_;
	$selector //= 'tbody tr:not(.leaving)';
	return $self->evaluate("[...document.querySelectorAll('$selector')].map(row => [...row.cells].map(cell => cell.textContent).join('|')).join('\\n')");
}

=item shows(NODE, QUERY, NAME)

Waits until the page shows the rows of this query, in its order, and no others.

=cut

sub shows
{
	my ($self, $node, $query, $name) = @_;
	my ($shown, $table) = ('', '');

	eval { NotifydTest::wait_for(sub { $shown = $self->rows; $table = $node->safe_psql('postgres', "\\pset null NULL\n$query"); return $shown eq $table }, $name) };
	$table =~ s/^Null display.*\n//;
	is($shown, $table, $name);
	return;
}

=item has(TEXT, NAME)

Waits until the page has this text.

=cut

sub has
{
	my ($self, $text, $name) = @_;
	$self->wait_for('document.body.innerText.includes(' . to_json([$text]) . '[0])', $name);
	pass($name);
	return;
}

=item fill(ID, VALUE), press(TEXT)

Write into a field; press the first visible button with this text.

=cut

sub fill
{
	my ($self, $id, $value) = @_;
	my $text = to_json([$value]);
	$self->evaluate("(() => { const field = document.getElementById('$id'); field.value = ${text}[0]; for (const type of ['input', 'change']) field.dispatchEvent(new Event(type, { bubbles: true })); })()");
	return;
}

sub press
{
	my ($self, $text) = @_;
	$self->evaluate("[...document.querySelectorAll('button')].find(button => button.textContent === '$text' && button.checkVisibility()).click()");
	return;
}

=item device(WIDTH, HEIGHT, SCHEME)

Sets the size of the window, and whether its user wants light or dark colours.

=cut

sub device
{
	my ($self, $width, $height, $scheme) = @_;
	$self->command('Emulation.setDeviceMetricsOverride', width => $width, height => $height, deviceScaleFactor => 1,
		mobile => $width < 600 ? \1 : \0);
	$self->command('Emulation.setEmulatedMedia', features => [ { name => 'prefers-color-scheme', value => $scheme } ]) if $scheme;
	return;
}

=back

=cut

1;
