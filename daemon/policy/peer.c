#include "policy/peer.h"

#include <stdlib.h>

const char *const peer_unit_reasons[PEER_UNIT_MAX] = {
        [PEER_UNIT_NOT_ASKED] = "no rule asks for it",
        [PEER_UNIT_NONE] = "the process is in no unit of systemd",
        [PEER_UNIT_OF_OTHERS] =
                "the process is in none of this user's units, and bearerd --user knows no others",
        [PEER_UNIT_FOREIGN] = "the process is in a namespace that bearerd does not see into",
        [PEER_UNIT_GONE] = "the process has ended",
        [PEER_UNIT_HIDDEN] =
                "/proc does not show bearerd the processes of others (ProtectProc=, hidepid=)",
        [PEER_UNIT_OLD_KERNEL] = "the kernel cannot tell; that takes Linux 6.5 or newer",
};

void peer_done(struct peer *peer) {
        free(peer->groups);
        free(peer->unit);
        *peer = (struct peer){ 0 };
}
