#pragma once
/*
 * What to do about a disk that refuses
 *
 * Threading: any.
 */

/* The end of a sentence about the negative errno `r`: what the operator should do. Static. */
const char *disk_advice(int r);
