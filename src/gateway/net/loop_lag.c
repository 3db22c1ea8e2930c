/*-------------------------------------------------------------------------
 *
 * loop_lag.c
 *	  For how long new data has waited because the loop was busy.
 *
 *-------------------------------------------------------------------------
 */
#include "gateway/net/loop_lag.h"

void
loop_lag_start(LoopLag *lag, uv_loop_t *loop)
{
	(void) uv_loop_configure(loop, UV_METRICS_IDLE_TIME);
	*lag = (LoopLag){.loop = loop, .ended = uv_hrtime(), .idle = uv_metrics_idle_time(loop)};
}

void
loop_lag_turn(LoopLag *lag)
{
	uint64_t now = uv_hrtime();
	uint64_t idle = uv_metrics_idle_time(lag->loop);
	uint64_t took = now - lag->ended - (idle - lag->idle);

	if (took > lag->longest)
		lag->longest = took;
	lag->ended = now;
	lag->idle = idle;
}

uint32_t
loop_lag_take(LoopLag *lag)
{
	uint64_t longest = lag->longest;

	lag->longest = 0;
	return (uint32_t) (longest / 1000000);
}
