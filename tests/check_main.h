#pragma once
/*
 * The main() of a unit test
 *
 * CHECK_MAIN(name, tests...) makes a suite of functions that add tests to one case.
 */

#include <check.h>
#include <stdlib.h>

#include "base/auto.h"

#define CHECK_MAIN(name, add)                                                                      \
        int main(void) {                                                                           \
                Suite *suite = suite_create(name);                                                 \
                TCase *tc = tcase_create(name);                                                    \
                SRunner *runner;                                                                   \
                int failed;                                                                        \
                add(tc);                                                                           \
                suite_add_tcase(suite, tc);                                                        \
                runner = srunner_create(suite);                                                    \
                srunner_run_all(runner, CK_ENV);                                                   \
                failed = srunner_ntests_failed(runner);                                            \
                srunner_free(runner);                                                              \
                return failed ? EXIT_FAILURE : EXIT_SUCCESS;                                       \
        }
