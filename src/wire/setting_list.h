/*-------------------------------------------------------------------------
 *
 * setting_list.h
 *	  The entries of comma-separated lists, as settings have them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_NOTIFYD_SETTING_LIST_H
#define PG_NOTIFYD_SETTING_LIST_H

#include <stdbool.h>
#include <stddef.h>

typedef struct SettingItem
{
	const char *data;
	size_t len;
} SettingItem;

/*
 * Get the next entry of a list, a C string, without surrounding white space, and advance the list over
 * it. Skips empty entries. Returns false at the end.
 */
extern bool setting_list_next(const char **list, SettingItem *item);

#endif /* PG_NOTIFYD_SETTING_LIST_H */
