/*-------------------------------------------------------------------------
 *
 * tls_context.c
 *	  What all TLS connections share: certificate, key, and what is offered.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/tls/tls_context.h"

#include <openssl/err.h>
#include <openssl/pem.h>

/* RFC 7301, 3.1: a list of names, each after its length. */
static const unsigned char tls_context_protocols[] = "\x08http/1.1";

/*
 * A client that offers protocols, but not ours, is refused (RFC 7301, 3.2). One that offers none is
 * not asked.
 */
static int
tls_context_select_protocol(SSL *ssl, const unsigned char **selected, unsigned char *selected_len,
							const unsigned char *offered, unsigned offered_len, void *arg)
{
	unsigned char *found;

	(void) ssl;
	(void) arg;
	if (SSL_select_next_proto(&found, selected_len, tls_context_protocols,
							  sizeof(tls_context_protocols) - 1, offered,
							  offered_len) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*selected = found;
	return SSL_TLSEXT_ERR_OK;
}

const char *
tls_context_problem(void)
{
	static char text[256];
	unsigned long error = ERR_peek_last_error();
	const char *reason = ERR_reason_error_string(error);

	if (reason != NULL)
		OPENSSL_strlcpy(text, reason, sizeof(text));
	else
		ERR_error_string_n(error, text, sizeof(text));
	ERR_clear_error();
	return text;
}

/* Returns false if it cannot be used. */
static bool
tls_context_use_chain(SSL_CTX *context, WireBytes chain)
{
	BIO *file = BIO_new_mem_buf(chain.data, (int) chain.len);
	X509 *certificate = PEM_read_bio_X509_AUX(file, NULL, NULL, NULL);
	bool used = certificate != NULL && SSL_CTX_use_certificate(context, certificate) == 1;

	X509_free(certificate);
	while (used && (certificate = PEM_read_bio_X509(file, NULL, NULL, NULL)) != NULL)
	{
		used = SSL_CTX_add0_chain_cert(context, certificate) == 1;
		if (!used)
			X509_free(certificate);
	}
	/* At the end of the file there is no further certificate. */
	if (used)
		ERR_clear_error();
	BIO_free(file);
	return used;
}

static bool
tls_context_use_key(SSL_CTX *context, WireBytes key)
{
	const unsigned char *der = (const unsigned char *) key.data;
	EVP_PKEY *private = d2i_AutoPrivateKey(NULL, &der, key.len);
	bool used = private != NULL && SSL_CTX_use_PrivateKey(context, private) == 1 &&
				SSL_CTX_check_private_key(context) == 1;

	EVP_PKEY_free(private);
	return used;
}

static bool
tls_context_set_up(SSL_CTX *context, uint16_t min_version)
{
	SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
									 SSL_OP_NO_TICKET | SSL_OP_CIPHER_SERVER_PREFERENCE |
									 SSL_OP_PRIORITIZE_CHACHA);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	/*
	 * An idle connection has no buffers. What is not sent is encrypted again with the same bytes in
	 * another place, see transport.h.
	 */
	SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
								  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_read_ahead(context, 0);
	SSL_CTX_set_alpn_select_cb(context, tls_context_select_protocol, NULL);
	return SSL_CTX_set_num_tickets(context, 0) == 1 &&
		   SSL_CTX_set_min_proto_version(context, min_version) == 1 &&
		   SSL_CTX_set_cipher_list(context, "ECDHE+AESGCM:ECDHE+CHACHA20") == 1;
}

SSL_CTX *
tls_context_new(WireBytes chain, WireBytes key, uint16_t min_version, const char **problem)
{
	SSL_CTX *context;

	ERR_clear_error();
	context = SSL_CTX_new(TLS_server_method());
	if (context != NULL && tls_context_set_up(context, min_version) &&
		tls_context_use_chain(context, chain) && tls_context_use_key(context, key))
		return context;
	*problem = tls_context_problem();
	SSL_CTX_free(context);
	return NULL;
}
