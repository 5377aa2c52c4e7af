/* proactor: completion-based asynchronous I/O.  This header includes all the others.
 *
 * Start with proactor/op.h (the life of one operation), then loop.h, net.h and scope.h. */
#ifndef PROACTOR_H
#define PROACTOR_H

#include <proactor/await.h>
#include <proactor/base.h>
#include <proactor/blocking.h>
#include <proactor/co.h>
#include <proactor/copy.h>
#include <proactor/datagram.h>
#include <proactor/error.h>
#include <proactor/file.h>
#include <proactor/loop.h>
#include <proactor/memory.h>
#include <proactor/names.h>
#include <proactor/net.h>
#include <proactor/op.h>
#include <proactor/pipe.h>
#include <proactor/buffers.h>
#include <proactor/poll.h>
#include <proactor/process.h>
#include <proactor/runtime.h>
#include <proactor/scope.h>
#include <proactor/signal.h>
#include <proactor/stackless.h>
#include <proactor/sim.h>
#include <proactor/test.h>
#include <proactor/timer.h>
#include <proactor/unix.h>
#include <proactor/watch.h>

#endif
