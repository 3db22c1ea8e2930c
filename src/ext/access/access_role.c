/*-------------------------------------------------------------------------
 *
 * access_role.c
 *	  The standing of a role: its attributes and memberships.
 *
 * PostgreSQL invalidates its system caches when a role or membership changes, but does not say what
 * has changed. Most changes concern no subscription, for example a new role or another password. So
 * callers that keep decisions about a role keep its standing too. The decisions are right as long
 * as the standing is the same.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_auth_members.h"
#include "catalog/pg_authid.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/catcache.h"
#include "utils/syscache.h"

#include "ext/access/access.h"
#include "ext/base/compat.h"
#include "ext/base/settings.h"

Oid
access_role(const char *name, AccessReason *reason)
{
	const char *role = name[0] != '\0' ? name : notifyd_anonymous_role;
	Oid oid = role[0] != '\0' ? get_role_oid(role, true) : InvalidOid;

	if (!OidIsValid(oid))
	{
		reason->kind = WIRE_NOT_PERMITTED;
		if (role[0] == '\0')
			snprintf(reason->message, sizeof(reason->message), "anonymous access is disabled");
		else
			snprintf(reason->message, sizeof(reason->message), "role \"%s\" does not exist", role);
	}
	return oid;
}

/*
 * Return the role and all roles that it is a member of, directly or indirectly, with or without
 * their privileges.
 */
static List *
access_memberships(Oid role)
{
	List *roles = list_make1_oid(role);
	ListCell *cell;

	/* The loop appends to the list, like in acl.c. */
	foreach (cell, roles)
	{
		CatCList *found = SearchSysCacheList1(AUTHMEMMEMROLE, ObjectIdGetDatum(lfirst_oid(cell)));

		for (int i = 0; i < found->n_members; i++)
			roles = list_append_unique_oid(
				roles, ((Form_pg_auth_members) GETSTRUCT(&found->members[i]->tuple))->roleid);
		ReleaseSysCacheList(found);
	}
	return roles;
}

AccessStanding *
access_standing(const char *name)
{
	AccessReason reason;
	Oid role = access_role(name, &reason);
	List *roles = OidIsValid(role) ? access_memberships(role) : NIL;
	AccessStanding *standing =
		palloc0(offsetof(AccessStanding, roles) + (list_length(roles) + 1) * sizeof(Oid));
	ListCell *cell;

	standing->role = role;
	if (!OidIsValid(role))
		return standing;
	standing->superuser = superuser_arg(role);
	standing->bypasses_rls = has_bypassrls_privilege(role);
	standing->connects = COMPAT_DATABASE_CONNECTABLE(MyDatabaseId, role);

	/* If the roles are found in another order, decisions are only repeated in vain. */
	foreach (cell, roles)
	{
		if (has_privs_of_role(role, lfirst_oid(cell)))
			standing->roles[standing->n++] = lfirst_oid(cell);
	}
#ifdef ROLE_PG_DATABASE_OWNER
	/* This membership has no row. It changes with the owner of the database. */
	if (has_privs_of_role(role, ROLE_PG_DATABASE_OWNER))
		standing->roles[standing->n++] = ROLE_PG_DATABASE_OWNER;
#endif
	return standing;
}

bool
access_standing_same(const AccessStanding *a, const AccessStanding *b)
{
	/* A superuser's decisions can depend on roles that it is not a member of. */
	return a->role == b->role && !a->superuser && !b->superuser &&
		   a->bypasses_rls == b->bypasses_rls && a->connects == b->connects && a->n == b->n &&
		   memcmp(a->roles, b->roles, a->n * sizeof(Oid)) == 0;
}
