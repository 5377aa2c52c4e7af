/* Testing by hand: small means that need no simulated world of their own, or little of it.
 *
 *   a handler as a pure function       pro_test_complete
 *   time moved by hand                 pro_test_clock, with pro_loop_poll, on any engine
 *   faults on one socket               pro_sim_next_recv, pro_sim_next_send (sim.h)
 *   every error at every place         pro_test_sweep
 *   a real engine on a bad day         PROACTOR_FAULTS, below
 *
 * The next means up is a whole world: sim.h. */
#ifndef PROACTOR_TEST_H
#define PROACTOR_TEST_H

#include <proactor/base.h>
#include <proactor/loop.h>
#include <proactor/op.h>
#include <proactor/sim.h>

PRO_BEGIN_DECLS

/* Call a handler as a loop would, without one: op has this value, error and flags (PRO_MORE or 0), no
 * deadline, and is not in flight.  op->user is left alone.  An operation in flight aborts.
 * What the handler initiates needs handles of a loop as always. */
PRO_API void pro_test_complete(pro_op *op, pro_handler *handler, int64_t value, int error);
PRO_API void pro_test_complete_flags(pro_op *op, pro_handler *handler, int64_t value, int error,
                                     uint16_t flags);

/* A clock that stands still until it is moved.
 *
 *     pro_test_clock clock;
 *     pro_test_clock_init(&clock);
 *     options.env = pro_test_clock_env(&clock);     into pro_loop_options
 *     ...
 *     pro_test_clock_advance(&clock, 3600 * PRO_SEC);
 *     pro_loop_poll(loop);                          what was due in the hour runs now
 *
 * The clock is the loop's until pro_loop_free returns.  Use pro_loop_poll: a turn that waits for a
 * timer would wait for ever. */
typedef struct pro_test_clock {
    uint64_t now_ns;
} pro_test_clock;

PRO_API void    pro_test_clock_init(pro_test_clock *clock); /* at 1 s */
PRO_API pro_env pro_test_clock_env(pro_test_clock *clock);
PRO_API void    pro_test_clock_advance(pro_test_clock *clock, uint64_t ns);

/* Run a scenario once without faults; then, for each place (call site) at which it initiates an
 * operation that reaches the engine, once for each error that this kind of operation can end with
 * there: the first operation from that place ends so.  The scenario is given a calm world, makes its
 * nodes, runs it, and checks what it must; the world is freed after it.
 *
 * told, if not NULL, hears of each run: the site, the operation, the error, the failures of its world.
 * Up to 256 places.  Returns how many runs failed. */
typedef void pro_test_scenario(pro_sim *world, void *arg);
typedef void pro_test_told(void *arg, const char *site, const char *operation, int error,
                           int failures);

PRO_API int pro_test_sweep(pro_test_scenario *scenario, pro_test_told *told, void *arg);

/* Faults on a real engine, for integration tests: the program is unchanged, its sockets and its peers
 * are real, and by seed
 *
 *     short_read, short_write   a receive or a send on a stream moves only a part of what it could
 *     slow                      a completion comes up to 16 ms late
 *     reset                     a connection breaks: PRO_ECONNRESET; the peer hears of it at the close
 *     refuse                    a connect fails with PRO_ECONNREFUSED
 *     aborted, handles          an accept is tried again inside; it fails with PRO_EMFILE
 *
 * PROACTOR_FAULTS=SEED or SEED:PLAN in the environment, or `faults` in pro_loop_options, turns it on for
 * a loop.  PLAN is one or more of these words, with commas, and they are on; or "mild" (the first two
 * lines) or "all", of which each seed turns about half on; without a PLAN it is "mild".  How often a kind
 * strikes is the seed's too; pro_loop_explain says all of it.  A plan that is none: PRO_EINVAL from
 * pro_loop_new.
 *
 * What a seed decides for the n-th step of the n-th handle of the n-th loop is always the same; what the
 * system does meanwhile is not, so a seed here makes a failure likely again, and only the simulator makes
 * it certain.  All that the contract promises still holds.  It is for tests: it allocates, and looks
 * at each step.  On PRO_ENGINE_SIM it does nothing: the world has these faults, and more, of its own. */

/* How often faults of this kind struck on this loop; 0 without the layer.  Thread: the loop's. */
PRO_API uint64_t pro_test_faults_count(const pro_loop *loop, pro_sim_fault kind);

PRO_END_DECLS

#endif
