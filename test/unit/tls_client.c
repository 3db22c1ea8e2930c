#include "tls_client.h"

#include <malloc.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "gateway/tls/tls_context.h"

TlsServer tls_server;
uint64_t tls_refused;
static uint64_t tls_now;
uint64_t tls_step;
SSL_CTX *client_context;
char chain[4096];
static unsigned char key[4096];
int key_len;

char owned[LARGE + 1];
size_t owned_len;
int owned_writable;
int owned_ended;
int owned_closed;
Transport *owned_pause;

static uint64_t
clock_now(void)
{
	return tls_now += tls_step;
}

static void
owner_received(void *owner, char *data, size_t len)
{
	(void) owner;
	assert_between(owned_len + len, 1, LARGE);
	memcpy(owned + owned_len, data, len);
	owned_len += len;
	owned[owned_len] = '\0';
	if (owned_pause != NULL)
		owned_pause->functions->pause(owned_pause, true);
	owned_pause = NULL;
}

static void
owner_writable(void *owner)
{
	(void) owner;
	owned_writable++;
}

static void
owner_ended(void *owner)
{
	(void) owner;
	owned_ended++;
}

static void
owner_closed(void *owner)
{
	(void) owner;
	owned_closed++;
}

const TransportEvents owner_events = {.received = owner_received,
									  .writable = owner_writable,
									  .ended = owner_ended,
									  .closed = owner_closed};
const TransportEvents owner_without_end = {
	.received = owner_received, .writable = owner_writable, .closed = owner_closed};

void
make_certificate(void)
{
	EVP_PKEY *pkey = EVP_EC_gen("P-256");
	X509 *x509 = X509_new();
	BIO *pem = BIO_new(BIO_s_mem());
	unsigned char *der = key;

	assert_true(X509_set_version(x509, 2));
	ASN1_INTEGER_set(X509_get_serialNumber(x509), 1);
	X509_gmtime_adj(X509_getm_notBefore(x509), 0);
	X509_gmtime_adj(X509_getm_notAfter(x509), 3600);
	assert_true(X509_set_pubkey(x509, pkey));
	assert_true(X509_sign(x509, pkey, EVP_sha256()));
	assert_true(PEM_write_bio_X509(pem, x509));
	chain[BIO_read(pem, chain, sizeof(chain) - 1)] = '\0';
	key_len = i2d_PrivateKey(pkey, &der);
	BIO_free(pem);
	X509_free(x509);
	EVP_PKEY_free(pkey);
}

SSL_CTX *
make_context(const char *certificate, int len)
{
	const char *problem = "";
	SSL_CTX *context = tls_context_new(
		(WireBytes){.data = certificate, .len = (uint32_t) strlen(certificate)},
		(WireBytes){.data = (const char *) key, .len = (uint32_t) len}, TLS1_2_VERSION, &problem);

	if (context == NULL)
		print_message("%s\n", problem);
	return context;
}

int
tls_setup(void **state)
{
	(void) state;
	tls_server = (TlsServer){.now = clock_now, .refused = &tls_refused};
	tls_refused = tls_now = tls_step = 0;
	owned_len = 0;
	owned_writable = owned_ended = owned_closed = 0;
	owned_pause = NULL;
	tls_server_init(&tls_server);
	tls_server_use(&tls_server, make_context(chain, key_len));
	client_context = SSL_CTX_new(TLS_client_method());
	return tls_server.context == NULL || client_context == NULL;
}

int
tls_teardown(void **state)
{
	(void) state;
	assert_false(tls_waits(&tls_server));
	tls_server_use(&tls_server, NULL);
	BIO_meth_free(tls_server.method);
	SSL_CTX_free(client_context);
	return 0;
}

void
client_begin(Client *client, const TransportEvents *events)
{
	*client = (Client){.ssl = SSL_new(client_context)};
	client->from_server = BIO_new(BIO_s_mem());
	client->to_server = BIO_new(BIO_s_mem());
	SSL_set_bio(client->ssl, client->from_server, client->to_server);
	SSL_set_connect_state(client->ssl);
	fake_init(&client->fake, 1);
	client->transport = transport_tls_new(&tls_server, &client->fake.base);
	assert_non_null(client->transport);
	transport_own(client->transport, events, client);
}

void
client_take(Client *client)
{
	Fake *fake = &client->fake;

	if (fake->sent_len > 0)
		assert_int_equal(BIO_write(client->from_server, fake->sent, (int) fake->sent_len),
						 fake->sent_len);
	fake->sent_len = 0;
}

void
client_carry(Client *client)
{
	char data[16384];
	int n;

	do
	{
		client_take(client);
		(void) SSL_do_handshake(client->ssl);
		n = BIO_read(client->to_server, data, sizeof(data));
		if (n > 0)
			fake_receive(&client->fake, data, (size_t) n);
		tls_work(&tls_server);
	} while (n > 0 || client->fake.sent_len > 0);
}

void
client_open(Client *client, const TransportEvents *events)
{
	client_begin(client, events);
	client_carry(client);
	assert_true(SSL_is_init_finished(client->ssl));
}

void
client_write(Client *client, const char *text)
{
	assert_int_equal(SSL_write(client->ssl, text, (int) strlen(text)), strlen(text));
}

void
client_end(Client *client)
{
	if (client->fake.base.owner != NULL)
		fake_lose(&client->fake);
	SSL_free(client->ssl);
}

size_t
used_memory(void)
{
	struct mallinfo2 info = mallinfo2();

	return info.uordblks + info.hblkhd;
}
