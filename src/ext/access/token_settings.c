/*-------------------------------------------------------------------------
 *
 * token_settings.c
 *	  Settings of tokens, and the keys that they name.
 *
 * PostgreSQL shows a setting's value in many places: SHOW, pg_settings, the log line 'parameter "x"
 * changed to "..."' of a reload, error messages, parallel workers' memory. Therefore the variable of
 * pg_notifyd.jwt_secret is always the empty string. The check hook moves the secret to the "extra"
 * data that PostgreSQL keeps with each value (utils/misc/README), and errors do not contain it. The
 * log line does not appear, because PostgreSQL compares the variable before and after the reload
 * (ProcessConfigFileInternal(), utils/misc/guc.c or guc-file.l in 14 to 18).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/parallel.h"
#include "ext/access/token_settings.h"
#include "ext/base/compat.h"
#include "miscadmin.h"
#include "utils/guc.h"

/* A secret's file has at most so many bytes. */
#define TOKEN_MAX_SECRET 4096

char *notifyd_jwt_audience = NULL;
char *notifyd_jwt_role_claim = NULL;
int notifyd_jwt_max_lifetime = 0;
int notifyd_wampcra_lifetime = 0;

static char *token_secret_variable = NULL; /* always empty */
static const char *token_secret_text = ""; /* the setting: empty, a secret, or "@" and a path */
static char *token_keys_path = NULL;
static bool token_reloaded = false; /* since the keys were made */

/* What tells one content of a file from the next. All zero if there is no file. */
typedef struct TokenFileState
{
	dev_t device;
	ino_t inode;
	off_t size;
	struct timespec modified;
	struct timespec changed;
} TokenFileState;

/* One of the two settings that give keys, with the content that is in use. */
typedef struct TokenSource
{
	const char *name;
	bool is_secret;
	char *setting; /* that the content comes from; malloc */
	TokenFileState state;
	char *content; /* NULL: none; malloc */
	size_t length;
	bool failed; /* the setting is not empty, and there is no content */
} TokenSource;

static TokenSource token_secret_source = {.name = "pg_notifyd.jwt_secret", .is_secret = true};
static TokenSource token_keys_source = {.name = "pg_notifyd.jwt_keys"};
static JwsKeys *token_current_keys = NULL;

/* The file that a setting names; NULL if it is empty or the secret itself. */
static const char *
token_path(bool is_secret, const char *setting)
{
	if (is_secret)
		return setting[0] == '@' ? setting + 1 : NULL;
	return setting[0] != '\0' ? setting : NULL;
}

static TokenFileState
token_file_state(const char *path)
{
	TokenFileState state;
	struct stat file;

	memset(&state, 0, sizeof(state));
	if (path != NULL && stat(path, &file) == 0)
	{
		state.device = file.st_dev;
		state.inode = file.st_ino;
		state.size = file.st_size;
		state.modified = file.st_mtim;
		state.changed = file.st_ctim;
	}
	return state;
}

/* Read an open file into at most size bytes. Returns their number, or -1 with *reason. */
static ssize_t
token_read_descriptor(int fd, char *buf, size_t size, JwsRefusal *reason)
{
	struct stat file;
	size_t length = 0;
	ssize_t n;

	if (fstat(fd, &file) == 0 && !S_ISREG(file.st_mode))
	{
		strlcpy(reason->text, "It is not a regular file.", sizeof(reason->text));
		return -1;
	}
	while ((n = read(fd, buf + length, size - length)) > 0)
		length += n;
	if (n < 0)
		snprintf(reason->text, sizeof(reason->text), "It cannot be read: %s.", strerror(errno));
	else if (length == size)
		snprintf(reason->text, sizeof(reason->text), "It has %zu bytes or more.", size);
	else
		return length;
	return -1;
}

/*
 * Read a file, a path relative to the data directory, into new memory of malloc. NULL with *reason
 * if that fails.
 */
static char *
token_read_file(const char *path, size_t limit, size_t *length, JwsRefusal *reason)
{
	char *buf = malloc(limit + 1);
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	ssize_t n = -1;

	if (fd < 0 || buf == NULL)
		snprintf(reason->text, sizeof(reason->text), "It cannot be opened: %s.", strerror(errno));
	else
		n = token_read_descriptor(fd, buf, limit + 1, reason);
	if (fd >= 0)
		close(fd);
	if (n < 0)
	{
		free(buf);
		return NULL;
	}
	*length = n;
	return buf;
}

/* Add a content's keys, without the line break that editors put at the end of a secret's file. */
static bool
token_add_content(JwsKeys *keys, bool is_secret, const char *content, size_t length,
				  JwsRefusal *reason)
{
	JwsRefusal refusal;

	if (is_secret && length > 0 && content[length - 1] == '\n')
		length--;
	if (is_secret && length > 0 && content[length - 1] == '\r')
		length--;
	if (is_secret && length > 0 &&
		(content[0] == '{' || (length > 10 && memcmp(content, "-----BEGIN", 10) == 0)))
	{
		strlcpy(reason->text,
				"It is a JWK or in PEM form. Such keys belong into pg_notifyd.jwt_keys, as "
				"a JWKS.",
				sizeof(reason->text));
		return false;
	}
	if (is_secret ? jws_keys_add_secret(keys, content, length, &refusal)
				  : jws_keys_add_set(keys, content, length, &refusal))
		return true;
	snprintf(reason->text, sizeof(reason->text), "The %s is not usable: %s.",
			 is_secret ? "secret" : "key set", refusal.text);
	return false;
}

/*
 * The content of a setting, in memory of malloc, after a check that it has keys, and their number.
 * False with *reason if it has none. *content is NULL if the setting is empty.
 */
static bool
token_load(bool is_secret, const char *setting, char **content, size_t *length, int *n,
		   JwsRefusal *reason)
{
	const char *path = token_path(is_secret, setting);
	JwsKeys *keys;
	bool right;

	*content = NULL;
	*length = 0;
	*n = 0;
	if (setting[0] == '\0')
		return true;
	if (path == NULL && setting[0] == '/')
	{
		strlcpy(reason->text, "It begins with \"/\", as a path does.", sizeof(reason->text));
		return false;
	}
	if (path != NULL)
		*content =
			token_read_file(path, is_secret ? TOKEN_MAX_SECRET : JWS_MAX_SET_SIZE, length, reason);
	else if ((*content = strdup(setting)) != NULL)
		*length = strlen(setting);
	if (*content == NULL)
		return false;
	keys = jws_keys_new();
	right = keys != NULL && token_add_content(keys, is_secret, *content, *length, reason);
	if (right)
		*n = jws_keys_count(keys);
	jws_keys_free(keys);
	if (!right)
	{
		explicit_bzero(*content, *length);
		free(*content);
		*content = NULL;
	}
	return right;
}

static void
token_report_file(const TokenSource *source, const char *path, const JwsRefusal *reason,
				  const char *hint)
{
	ereport(LOG, (errcode(ERRCODE_CONFIG_FILE_ERROR),
				  errmsg("could not load keys of parameter \"%s\"", source->name),
				  path != NULL ? errdetail("File \"%s\": %s", path, reason->text)
							   : errdetail("%s", reason->text),
				  errhint("%s", hint), errhidestmt(true)));
}

/*
 * Whether a setting has keys, for the check hooks. The message never has a secret. When the server
 * starts, PostgreSQL would replace a wrong value by the default, and forget the path of a file that
 * comes later. A parallel worker gets the settings of its leader, so a file that has gone must not
 * make it fail.
 */
static bool
token_check_source(const TokenSource *source, const char *setting)
{
	const char *path = token_path(source->is_secret, setting);
	JwsRefusal reason = {.text = "There is not enough memory."};
	char *content;
	size_t length;
	int n;

	if (InitializingParallelWorker)
		return true;
	if (token_load(source->is_secret, setting, &content, &length, &n, &reason))
	{
		if (content != NULL)
			explicit_bzero(content, length);
		free(content);
		return true;
	}
	if (path != NULL && process_shared_preload_libraries_in_progress)
	{
		token_report_file(source, path, &reason,
						  "Tokens that need these keys are refused until the file can be used.");
		return true;
	}
	GUC_check_errcode(ERRCODE_INVALID_PARAMETER_VALUE);
	GUC_check_errmsg("invalid value for parameter \"%s\"", source->name);
	if (path != NULL)
		GUC_check_errdetail("File \"%s\": %s", path, reason.text);
	else
		GUC_check_errdetail("%s", reason.text);
	if (source->is_secret)
		GUC_check_errhint("Set a text of at least %d random bytes, or \"@\" and the path of a file "
						  "that contains it.",
						  JWS_MIN_SECRET);
	else
		GUC_check_errhint("Set the path of a file with a JSON Web Key Set.");
	return false;
}

/* See the head of this file for why the variable becomes empty. */
static bool
token_check_secret(char **newval, void **extra, GucSource source pg_attribute_unused())
{
	size_t length = strlen(*newval);

	if (!token_check_source(&token_secret_source, *newval))
		return false;
	*extra = COMPAT_GUC_MALLOC(length + 1);
	if (*extra == NULL)
		return false;
	memcpy(*extra, *newval, length + 1);
	explicit_bzero(*newval, length);
	return true;
}

static void
token_assign_secret(const char *newval pg_attribute_unused(), void *extra)
{
	token_secret_text = extra != NULL ? extra : "";
	token_reloaded = true;
}

static const char *
token_show_secret(void)
{
	if (token_secret_text[0] == '\0' || token_secret_text[0] == '@')
		return token_secret_text;
	return "********";
}

static bool
token_check_keys(char **newval, void **extra pg_attribute_unused(),
				 GucSource source pg_attribute_unused())
{
	return token_check_source(&token_keys_source, *newval);
}

static void
token_assign_keys(const char *newval pg_attribute_unused(), void *extra pg_attribute_unused())
{
	token_reloaded = true;
}

static bool
token_check_role_claim(char **newval, void **extra pg_attribute_unused(),
					   GucSource source pg_attribute_unused())
{
	if (slice_path_valid(*newval))
		return true;
	GUC_check_errdetail("It must be a path of member names and array indexes.");
	GUC_check_errhint("Write for example role, $.realm.roles[0] or .\"https://example.com/role\". "
					  "Names that contain a dot, a colon or a slash need the quotes.");
	return false;
}

void
token_settings_define(void)
{
	DefineCustomStringVariable(
		"pg_notifyd.jwt_secret", "Sets the secret of tokens that are signed with HS256 to HS512.",
		"A text of at least 32 bytes, or \"@\" and the path of a file that contains it.",
		&token_secret_variable, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY, token_check_secret,
		token_assign_secret, token_show_secret);
	DefineCustomStringVariable(
		"pg_notifyd.jwt_keys", "Sets the path of a file with a JSON Web Key Set for tokens.",
		"The file is read again when it has changed.", &token_keys_path, "", PGC_SIGHUP,
		GUC_SUPERUSER_ONLY, token_check_keys, token_assign_keys, NULL);
	DefineCustomStringVariable("pg_notifyd.jwt_audience",
							   "Sets the audience that a token must be for, if it names one.",
							   "An empty string accepts every audience.", &notifyd_jwt_audience, "",
							   PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL, NULL, NULL);
	DefineCustomStringVariable("pg_notifyd.jwt_role_claim",
							   "Sets the path of the role in a token's claims.", NULL,
							   &notifyd_jwt_role_claim, "role", PGC_SIGHUP, GUC_SUPERUSER_ONLY,
							   token_check_role_claim, NULL, NULL);
	DefineCustomIntVariable("pg_notifyd.jwt_max_lifetime",
							"Sets the longest time that tokens may be valid after they are issued.",
							"0 accepts tokens without a limit.", &notifyd_jwt_max_lifetime, 0, 0,
							INT_MAX, PGC_SIGHUP, GUC_SUPERUSER_ONLY | GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("pg_notifyd.wampcra_lifetime",
							"Sets the longest time that a session of a user of WAMP-CRA lasts.",
							"0 disables the limit.", &notifyd_wampcra_lifetime, 0, 0, INT_MAX,
							PGC_SIGHUP, GUC_SUPERUSER_ONLY | GUC_UNIT_S, NULL, NULL, NULL);
}

/* Say that a file was read again, or that it could not be. */
static void
token_report_refresh(const TokenSource *source, const char *path, bool loaded, int n,
					 const JwsRefusal *reason)
{
	if (!loaded && source->content != NULL)
		token_report_file(source, path, reason, "The previous keys remain in use.");
	else if (!loaded)
		token_report_file(source, path, reason,
						  "Tokens that need these keys are refused until the file can be used.");
	else if (path != NULL)
		ereport(LOG, (errmsg_plural("read %d key from file \"%s\"", "read %d keys from file \"%s\"",
									n, n, path),
					  errhidestmt(true)));
}

static void
token_free_content(TokenSource *source)
{
	if (source->content != NULL)
		explicit_bzero(source->content, source->length);
	free(source->content);
	source->content = NULL;
}

/*
 * Bring the content of a source up to date; returns whether it is another one now. A changed
 * setting with a file that cannot be used leaves no keys: the old ones may have been withdrawn. A
 * file that has become unusable under the same setting leaves the old ones.
 */
static bool
token_refresh(TokenSource *source, const char *setting)
{
	bool moved = source->setting == NULL || strcmp(source->setting, setting) != 0;
	const char *path = token_path(source->is_secret, setting);
	TokenFileState state = token_file_state(path);
	bool changed = memcmp(&state, &source->state, sizeof(state)) != 0;
	JwsRefusal reason = {.text = "There is not enough memory."};
	char *content;
	size_t length;
	bool loaded;
	int n;

	if (!moved && !token_reloaded && !changed)
		return false;
	loaded = token_load(source->is_secret, setting, &content, &length, &n, &reason);
	if (moved)
	{
		token_free_content(source);
		free(source->setting);
		source->setting = strdup(setting);
	}
	if (moved ? !loaded : changed)
		token_report_refresh(source, path, loaded, n, &reason);
	source->state = state;
	source->failed = !loaded && source->content == NULL;
	if (!loaded && !moved)
		return false;
	token_free_content(source);
	source->content = content;
	source->length = length;
	return true;
}

const JwsKeys *
token_keys(void)
{
	TokenSource *sources[] = {&token_secret_source, &token_keys_source};
	bool changed = token_refresh(&token_secret_source, token_secret_text);
	JwsKeys *keys;
	JwsRefusal reason;

	changed |= token_refresh(&token_keys_source, token_keys_path);
	token_reloaded = false;
	if (!changed && token_current_keys != NULL)
		return token_current_keys;
	keys = jws_keys_new();
	if (keys == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	for (int i = 0; i < (int) lengthof(sources); i++)
	{
		if (sources[i]->content != NULL &&
			!token_add_content(keys, sources[i]->is_secret, sources[i]->content, sources[i]->length,
							   &reason))
			ereport(LOG, (errcode(ERRCODE_CONFIG_FILE_ERROR),
						  errmsg("could not use all keys of parameter \"%s\"", sources[i]->name),
						  errdetail("%s", reason.text), errhidestmt(true)));
	}
	jws_keys_free(token_current_keys);
	token_current_keys = keys;
	return keys;
}

bool
token_keys_failed(void)
{
	return token_secret_source.failed || token_keys_source.failed;
}
