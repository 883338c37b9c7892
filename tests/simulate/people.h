#pragma once
/*
 * People and programs: who asks for tokens, logs in and logs out
 */

#include <stddef.h>
#include <stdint.h>

#include "conf/conf.h"

/* `grants`: how many subjects of each interactive credential have a grant from the start. */
void people_begin(const struct conf *conf, unsigned grants);
void people_daemon_died(void);    /* their connections break */
void people_daemon_stopped(void); /* all must have been answered */

void people_session(void);                      /* somebody begins to work for a while */
void people_crowd(unsigned n, bool everywhere); /* so many ask at once */
void people_login(void);
void people_logout(void);
void people_revoke(void);         /* a person revokes a grant in the provider's console */
void people_ask_everything(void); /* at the end: whatever is alive must be served */

size_t people_waiting(void);
size_t people_keys_wanted(void); /* (credential, subject, variant) asked for in the last days */
unsigned long people_asks(void);
unsigned long people_tokens(void);

extern int64_t fault_wait_us; /* a fault: callers' deadlines are forgotten by so much */
extern unsigned fault_drop;   /* a fault: each so manieth ask is forgotten; 0: none */
