/*-------------------------------------------------------------------------
 *
 * pulse.c
 *	  Checks whether a feed is alive. The rules are in pulse.h.
 *
 *-------------------------------------------------------------------------
 */
#include "ext/launcher/pulse.h"

PulseAction
pulse_look(Pulse *pulse, PulseSign sign)
{
	if (!sign.running)
	{
		pulse->silent = 0;
		pulse->missing = sign.expected ? pulse->missing + 1 : 0;
		pulse->state = pulse->missing >= PULSE_MISSING ? PULSE_IS_MISSING : PULSE_IS_WELL;
		return PULSE_NO_ACTION;
	}
	pulse->missing = 0;
	pulse->silent = sign.alive_at == pulse->alive_at ? pulse->silent + 1 : 0;
	pulse->alive_at = sign.alive_at;
	pulse->state = pulse->silent >= PULSE_SILENT ? PULSE_IS_SILENT : PULSE_IS_WELL;
	if (pulse->silent == PULSE_CONTINUE)
		return PULSE_SEND_CONTINUE;
	if (pulse->silent == PULSE_TERMINATE)
		return PULSE_SEND_TERMINATE;
	return PULSE_NO_ACTION;
}
