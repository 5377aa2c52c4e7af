/* Between program.c (the course of it: hosts, ends, handlers) and act.c (one thing at random). */
#ifndef TEST_RANDOM_ACT_H
#define TEST_RANDOM_ACT_H

#include "random/model.h"

uint64_t program_bits(void);
unsigned program_below(unsigned n);
uint64_t program_some_time(host *h, unsigned units);

task *program_task_new(void);
life *program_choose_life(host *h, end *e, task *t);
end  *program_end_new(host *h, bool is_client);
void  program_begin_close(end *e, task *t, bool abortive);
void  program_on_done(pro_op *op);

void program_begin_timer(host *h, end *e, task *t);
void program_initiate(host *h, task *t, program_kind kind);
void program_act(host *h, task *t); /* with this idle task, if given */

#endif
