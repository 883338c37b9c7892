#include "store/disk.h"

#include <errno.h>

const char *disk_advice(int r) {
        switch (-r) {
        case EBADMSG:
                return "nothing was changed; restore it from a backup, or move it away and "
                       "authorize anew";
        case ENOSPC:
        case EDQUOT:
                return "make room on that disk";
        case EROFS:
        case EACCES:
        case EPERM:
                return "make it writable for the user bearerd runs as";
        case EBUSY:
                return "another program holds it; close that";
        case ENOTDIR:
        case ELOOP:
        case ENAMETOOLONG:
                return "correct the path";
        case EMFILE:
        case ENFILE:
                return "allow more open files";
        case ENOMEM:
                return "free some memory";
        default:
                return "look at the disk and the kernel's log";
        }
}
