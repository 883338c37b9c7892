#pragma once
/*
 * A transport without a network, for scenarios
 *
 * Requests wait here until the test answers them, oldest first. Threading: one thread.
 */

#include <stddef.h>

#include "base/auto.h"
#include "http/transport.h"

struct fake_transport;

struct fake_transport *fake_transport_new(void); /* aborts when out of memory */
struct fake_transport *fake_transport_free(struct fake_transport *f);
AUTO_DEFINE(struct fake_transport, fake_transport_free)

const struct transport *fake_transport_seam(struct fake_transport *f); /* valid as long as `f` */

size_t fake_transport_waiting(const struct fake_transport *f);
size_t fake_transport_sent(const struct fake_transport *f); /* since the beginning */

/* The oldest waiting request; there must be one. Valid until it is answered. */
const struct http_request *fake_transport_oldest(const struct fake_transport *f);

/* The one that came `i` requests after it; there must be one. */
const struct http_request *fake_transport_at(const struct fake_transport *f, size_t i);

/* Answers the oldest waiting request. `date` 0: no Date header. `retry_after_us` -1: no Retry-After. */
void fake_transport_answer(struct fake_transport *f, int status, const char *body, int64_t date_s,
                           int64_t retry_after_us);

/* Lets the oldest waiting request fail without an answer. */
void fake_transport_fail(struct fake_transport *f, enum http_outcome outcome);

/* The next send() itself fails. */
void fake_transport_refuse_next(struct fake_transport *f, int r);
