/*-------------------------------------------------------------------------
 *
 * loads.c
 *	  The clients of each database, counted over all gateways. See loads.h.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "ext/base/shared.h"
#include "ext/launcher/databases.h"
#include "ext/launcher/loads.h"

typedef struct GatewayLoad
{
	WireLoad load;
	bool fresh; /* of the report that is not complete yet */
} GatewayLoad;

/* By the number of the gateway and the index of the database's entry. */
static GatewayLoad loads[NOTIFYD_MAX_GATEWAYS][NOTIFYD_MAX_DATABASES];

void
loads_report(int gateway, const WireDatabaseLoad *load)
{
	int index = databases_find(load->database.data, load->database.len);

	if (index >= 0)
		loads[gateway][index] = (GatewayLoad){.load = load->load, .fresh = true};
}

static void
loads_add(WireLoad *sum, const WireLoad *load)
{
	sum->clients += load->clients;
	sum->slow += load->slow;
	sum->waiting += load->waiting;
	sum->queued += load->queued;
}

/* Write the sums into the shared memory. */
static void
loads_publish(void)
{
	static WireLoad sums[NOTIFYD_MAX_DATABASES];

	memset(sums, 0, sizeof(sums));
	LWLockAcquire(&notifyd_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < NOTIFYD_MAX_GATEWAYS; i++)
	{
		if (notifyd_shared->gateways[i].pid == 0)
			continue;
		for (int j = 0; j < NOTIFYD_MAX_DATABASES; j++)
			loads_add(&sums[j], &loads[i][j].load);
	}
	for (int j = 0; j < NOTIFYD_MAX_DATABASES; j++)
		notifyd_shared->databases[j].load = sums[j];
	LWLockRelease(&notifyd_shared->lock);
}

void
loads_complete(int gateway)
{
	for (int i = 0; i < NOTIFYD_MAX_DATABASES; i++)
	{
		GatewayLoad *load = &loads[gateway][i];

		if (!load->fresh)
			load->load = (WireLoad){0};
		load->fresh = false;
	}
	loads_publish();
}

void
loads_forget(int gateway)
{
	memset(loads[gateway], 0, sizeof(loads[gateway]));
	loads_publish();
}
