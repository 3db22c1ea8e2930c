/*-------------------------------------------------------------------------
 *
 * certificate.c
 *	  The certificate and private key that gateways use for TLS. See certificate.h.
 *
 * This follows be_tls_init() in PostgreSQL's be-secure-openssl.c, and for the key file's owner and
 * mode check_ssl_key_file_permissions() in be-secure-common.c.
 *
 * The files are tried in a context as gateways make it (gateway/tls/tls_context.c), so that a gateway
 * can use what it gets. Nothing here raises an error.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include "ext/base/settings.h"
#include "ext/launcher/certificate.h"
#include "libpq/libpq.h"

#define CERTIFICATE_MAX_FILE (1024 * 1024)

/* Bytes of secure memory: room for two keys as they are read and as they are sent. */
#define CERTIFICATE_SECURE (256 * 1024)

typedef struct Certificate
{
	char *chain; /* contents of the file, in secure memory like the key; NULL: none */
	int chain_len;
	unsigned char *key; /* DER */
	int key_len;
	int64 expires; /* Unix time */
} Certificate;

static Certificate certificate_used = {.chain = NULL};
static bool certificate_started = false; /* the files were read before */

/* Why the files cannot be used. */
typedef struct CertificateProblem
{
	int code;  /* SQLSTATE; 0: that of the error */
	int error; /* errno */
	char text[MAXPGPATH + 256];
	const char *hint; /* NULL: none */
} CertificateProblem;

static bool certificate_problem(CertificateProblem *problem, int code, const char *hint,
								const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Set the problem. Always returns false, for use in a return statement. */
static bool
certificate_problem(CertificateProblem *problem, int code, const char *hint, const char *format,
					...)
{
	va_list args;

	problem->error = errno;
	problem->code = code;
	problem->hint = hint;
	va_start(args, format);
	vsnprintf(problem->text, sizeof(problem->text), format, args);
	va_end(args);
	return false;
}

static const char *
certificate_library_error(void)
{
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());

	ERR_clear_error();
	return reason != NULL ? reason : "unknown error of OpenSSL";
}

/*
 * The files
 */

/* Check that nobody else can read the key. */
static bool
certificate_check_mode(const struct stat *file, const char *path, CertificateProblem *problem)
{
	static const char hint[] =
		"File must have permissions u=rw (0600) or less if owned by the database user, or "
		"permissions u=rw,g=r (0640) or less if owned by root.";

	if (file->st_uid != geteuid() && file->st_uid != 0)
		return certificate_problem(problem, ERRCODE_CONFIG_FILE_ERROR, NULL,
								   "private key file \"%s\" must be owned by the database user or "
								   "root",
								   path);
	if (file->st_mode &
		(file->st_uid == geteuid() ? S_IRWXG | S_IRWXO : S_IWGRP | S_IXGRP | S_IRWXO))
		return certificate_problem(problem, ERRCODE_CONFIG_FILE_ERROR, hint,
								   "private key file \"%s\" has group or world access", path);
	return true;
}

/*
 * Read a file into secure memory, which the caller frees; key: nobody else may be able to read it.
 * A relative path begins in the data directory, which is our working directory.
 */
static bool
certificate_read(const char *path, bool key, char **data, int *len, CertificateProblem *problem)
{
	struct stat file;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	bool good = false;

	*data = NULL;
	if (fd < 0 || fstat(fd, &file) != 0)
		certificate_problem(problem, 0, NULL, "could not open file \"%s\": %m", path);
	else if (!S_ISREG(file.st_mode) || file.st_size == 0 || file.st_size > CERTIFICATE_MAX_FILE)
		certificate_problem(problem, ERRCODE_CONFIG_FILE_ERROR, NULL,
							"file \"%s\" is not a certificate or a private key", path);
	else if (!key || certificate_check_mode(&file, path, problem))
	{
		*data = OPENSSL_secure_malloc((size_t) file.st_size);
		good = *data != NULL && (*len = (int) read(fd, *data, (size_t) file.st_size)) > 0;
		if (!good)
			certificate_problem(problem, ERRCODE_IO_ERROR, NULL, "could not read file \"%s\": %m",
								path);
	}
	if (fd >= 0)
		close(fd);
	return good;
}

static void
certificate_free(Certificate *certificate)
{
	OPENSSL_secure_clear_free(certificate->chain, (size_t) certificate->chain_len);
	OPENSSL_secure_clear_free(certificate->key, (size_t) certificate->key_len);
	*certificate = (Certificate){.chain = NULL};
}

/*
 * The key's passphrase, for OpenSSL. arg: set to the problem if there is no passphrase.
 */
static int
certificate_passphrase(char *buf, int size, int rwflag pg_attribute_unused(), void *arg)
{
	const char **why = arg;
	int len;

	buf[0] = '\0';
	if (ssl_passphrase_command[0] == '\0')
		*why = "it needs a passphrase, and ssl_passphrase_command is empty";
	else if (certificate_started && !ssl_passphrase_command_supports_reload)
		*why = "it needs a passphrase, and ssl_passphrase_command_supports_reload is off";
	else
	{
		/* Not as at the server's start: then it would raise an error, and OpenSSL has called us. */
		len = run_ssl_passphrase_command("Enter PEM pass phrase of pg_notifyd: ", false, buf, size);
		if (len > 0)
			return len;
		*why = "ssl_passphrase_command returned no passphrase";
	}
	return -1;
}

/*
 * Try the chain in a context for TLS. Returns false if it cannot be used. Sets *expires, which lives
 * as long as the context.
 */
static bool
certificate_use_chain(SSL_CTX *context, const Certificate *certificate, const ASN1_TIME **expires)
{
	BIO *file = BIO_new_mem_buf(certificate->chain, certificate->chain_len);
	X509 *x509 = PEM_read_bio_X509_AUX(file, NULL, NULL, NULL);
	bool used = x509 != NULL && SSL_CTX_use_certificate(context, x509) == 1;

	if (used)
		*expires = X509_get0_notAfter(x509);
	X509_free(x509);
	while (used && (x509 = PEM_read_bio_X509(file, NULL, NULL, NULL)) != NULL)
	{
		used = SSL_CTX_add0_chain_cert(context, x509) == 1;
		if (!used)
			X509_free(x509);
	}
	BIO_free(file);
	return used;
}

/* Try the key of a PEM file in the context, and make *certificate have it. */
static bool
certificate_use_key(SSL_CTX *context, const char *pem, int pem_len, const char *path,
					Certificate *certificate, CertificateProblem *problem)
{
	const char *why = NULL;
	BIO *file = BIO_new_mem_buf(pem, pem_len);
	EVP_PKEY *key = PEM_read_bio_PrivateKey(file, NULL, certificate_passphrase, (void *) &why);
	unsigned char *der;
	bool used = false;

	BIO_free(file);
	if (key == NULL)
		certificate_problem(problem, ERRCODE_CONFIG_FILE_ERROR, NULL,
							"could not load private key file \"%s\": %s", path,
							why != NULL ? why : certificate_library_error());
	else if (SSL_CTX_use_PrivateKey(context, key) != 1 || SSL_CTX_check_private_key(context) != 1)
		certificate_problem(
			problem, ERRCODE_CONFIG_FILE_ERROR,
			"The key must be that of the first certificate in the certificate file.",
			"private key file \"%s\" does not fit the certificate: %s", path,
			certificate_library_error());
	else
	{
		certificate->key_len = i2d_PrivateKey(key, NULL);
		der = certificate->key = OPENSSL_secure_malloc((size_t) Max(certificate->key_len, 1));
		used = der != NULL && i2d_PrivateKey(key, &der) == certificate->key_len;
		if (!used)
			certificate_problem(problem, ERRCODE_OUT_OF_MEMORY, NULL,
								"private key file \"%s\" is too large", path);
	}
	EVP_PKEY_free(key);
	return used;
}

/* The settings, or the server's own. */
static const char *
certificate_path(const char *own, const char *server)
{
	return own[0] != '\0' ? own : server;
}

/* Log what is used from now on, unless it was used before. */
static void
certificate_announce(const Certificate *certificate, const char *path, const ASN1_TIME *expires)
{
	char text[64] = "?";
	BIO *time = BIO_new(BIO_s_mem());

	if (certificate->chain_len == certificate_used.chain_len &&
		memcmp(certificate->chain, certificate_used.chain, (size_t) certificate->chain_len) == 0)
	{
		BIO_free(time);
		return;
	}
	if (time != NULL && ASN1_TIME_print(time, expires) == 1)
		(void) BIO_gets(time, text, sizeof(text));
	BIO_free(time);
	ereport(LOG, (errmsg("pg_notifyd uses the certificate in file \"%s\"", path),
				  X509_cmp_current_time(expires) < 0 ? errdetail("It has expired on %s.", text)
													 : errdetail("It expires on %s.", text)));
}

/* Read the files, and try them. */
static bool
certificate_read_files(Certificate *certificate, CertificateProblem *problem)
{
	const char *chain_path = certificate_path(notifyd_ssl_cert_file, ssl_cert_file);
	const char *key_path = certificate_path(notifyd_ssl_key_file, ssl_key_file);
	const ASN1_TIME *expires = NULL;
	char *pem = NULL;
	int pem_len = 0;
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());
	struct tm tm;
	bool used = false;

	if (context == NULL)
		certificate_problem(problem, ERRCODE_INTERNAL_ERROR, NULL,
							"could not create SSL context: %s", certificate_library_error());
	else if (certificate_read(chain_path, false, &certificate->chain, &certificate->chain_len,
							  problem))
	{
		if (!certificate_use_chain(context, certificate, &expires))
			certificate_problem(problem, ERRCODE_CONFIG_FILE_ERROR, NULL,
								"could not load server certificate file \"%s\": %s", chain_path,
								certificate_library_error());
		else if (certificate_read(key_path, true, &pem, &pem_len, problem))
			used = certificate_use_key(context, pem, pem_len, key_path, certificate, problem);
	}
	if (used)
	{
		certificate->expires = ASN1_TIME_to_tm(expires, &tm) == 1 ? (int64) timegm(&tm) : 0;
		certificate_announce(certificate, chain_path, expires);
	}
	OPENSSL_secure_clear_free(pem, (size_t) pem_len);
	SSL_CTX_free(context);
	return used;
}

void
certificate_load(void)
{
	Certificate read = {.chain = NULL};
	CertificateProblem problem;

	if (!notifyd_ssl)
	{
		certificate_free(&certificate_used);
		return;
	}
	/* Without memory of this kind, usual memory is used. */
	if (!CRYPTO_secure_malloc_initialized())
		(void) CRYPTO_secure_malloc_init(CERTIFICATE_SECURE, 16);
	ERR_clear_error();
	if (certificate_read_files(&read, &problem))
	{
		certificate_free(&certificate_used);
		certificate_used = read;
	}
	else
	{
		certificate_free(&read);
		errno = problem.error;
		ereport(LOG,
				(problem.code != 0 ? errcode(problem.code) : errcode_for_file_access(),
				 errmsg("pg_notifyd: %s", problem.text),
				 certificate_used.chain != NULL
					 ? errdetail("The last certificate stays in use.")
					 : errdetail("pg_notifyd.ssl is on, so clients are not served."),
				 problem.hint != NULL ? errhint("%s", problem.hint)
									  : errhint("Correct this, and reload the configuration.")));
	}
	ERR_clear_error();
	certificate_started = true;
}

bool
certificate_is_ready(void)
{
	return !notifyd_ssl || certificate_used.chain != NULL;
}

int64
certificate_expires(void)
{
	return certificate_used.expires;
}

/* The lowest version that is offered. Versions before 1.2 are never. */
static uint16
certificate_min_version(void)
{
	bool only_13 = notifyd_ssl_min_protocol_version[0] != '\0'
					   ? pg_strcasecmp(notifyd_ssl_min_protocol_version, "TLSv1.3") == 0
					   : ssl_min_protocol_version == PG_TLS1_3_VERSION;

	return only_13 ? TLS1_3_VERSION : TLS1_2_VERSION;
}

void
certificate_configure(WireConfig *config)
{
	if (!notifyd_ssl)
		return;
	config->ssl = 1;
	config->ssl_min_version = certificate_min_version();
	config->ssl_chain =
		(WireBytes){.data = certificate_used.chain, .len = (uint32_t) certificate_used.chain_len};
	config->ssl_key = (WireBytes){.data = (const char *) certificate_used.key,
								  .len = (uint32_t) certificate_used.key_len};
}
