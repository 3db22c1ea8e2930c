/*-------------------------------------------------------------------------
 *
 * realm.c
 *	  The realms of WAMP, which are databases. See realm.h.
 *
 *-------------------------------------------------------------------------
 */
#include "wire/realm.h"

#include <string.h>

#include "wire/uri.h"

static bool
realm_is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Split an entry at its first "=", and leave out white space there. Returns the length of the realm. */
static size_t
realm_split(const SettingItem *item, SettingItem *database)
{
	const char *equals = memchr(item->data, '=', item->len);
	size_t len = equals != NULL ? (size_t) (equals - item->data) : item->len;

	*database = (SettingItem){.data = item->data + item->len};
	if (equals != NULL)
		*database = (SettingItem){.data = equals + 1, .len = item->len - len - 1};
	while (database->len > 0 && realm_is_space(database->data[0]))
	{
		database->data++;
		database->len--;
	}
	while (len > 0 && realm_is_space(item->data[len - 1]))
		len--;
	return len;
}

bool
realm_next(const char **list, SettingItem *realm, SettingItem *database)
{
	if (!setting_list_next(list, realm))
		return false;
	realm->len = realm_split(realm, database);
	return true;
}

SettingItem
realm_database(const char *list, const char *realm, size_t len)
{
	SettingItem item;
	SettingItem database;

	while (setting_list_next(&list, &item))
	{
		if (realm_split(&item, &database) == len && memcmp(item.data, realm, len) == 0)
			return database;
	}
	return (SettingItem){.data = realm, .len = len};
}

const char *
realm_first_bad(const char *list, SettingItem *item)
{
	const char *start = list;
	SettingItem database;

	while (setting_list_next(&list, item))
	{
		size_t len = realm_split(item, &database);
		const char *p = start;
		SettingItem before;

		if (!uri_is_valid(URI_EXACT, item->data, len))
			return "does not begin with the name of a realm";
		if (database.len == 0 || database.len > REALM_MAX_DATABASE)
			return "does not end with \"=\" and the name of a database";
		while (setting_list_next(&p, &before) && before.data < item->data)
		{
			SettingItem other;

			if (realm_split(&before, &other) == len && memcmp(before.data, item->data, len) == 0)
				return "has the realm of an earlier entry";
		}
	}
	return NULL;
}
