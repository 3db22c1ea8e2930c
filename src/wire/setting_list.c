/*-------------------------------------------------------------------------
 *
 * setting_list.c
 *	  The entries of comma-separated lists. See setting_list.h.
 *
 *-------------------------------------------------------------------------
 */
#include "wire/setting_list.h"

#include <string.h>

bool
setting_list_next(const char **list, SettingItem *item)
{
	static const char separators[] = ", \t\r\n";
	const char *p = *list + strspn(*list, separators);
	const char *end = p + strcspn(p, ",");

	*list = end;
	while (end > p && strchr(separators, end[-1]) != NULL)
		end--;
	*item = (SettingItem){.data = p, .len = (size_t) (end - p)};
	return item->len > 0;
}
