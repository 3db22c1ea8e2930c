/*-------------------------------------------------------------------------
 *
 * realm.h
 *	  The realms of WAMP, which are databases: pg_notifyd.realms.
 *
 * The setting is a list of realm=database, separated by commas. A realm that it does not have is the
 * database of that name.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_REALM_H
#define PG_NOTIFYD_REALM_H

#include "wire/setting_list.h"

#define REALM_MAX_DATABASE 63 /* bytes of a database's name */

/* Return the name of the realm's database; data points into one of the arguments. */
extern SettingItem realm_database(const char *list, const char *realm, size_t len);

/* Get the next realm of the list and its database, and advance the list. Returns false at the end. */
extern bool realm_next(const char **list, SettingItem *realm, SettingItem *database);

/*
 * Return what is wrong with the first malformed entry of the list, which is set in *item: the
 * predicate of a sentence whose subject is the entry. NULL: all entries are valid.
 */
extern const char *realm_first_bad(const char *list, SettingItem *item);

#endif /* PG_NOTIFYD_REALM_H */
