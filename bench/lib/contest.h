/* Servers side by side under the same load: what bench/tcp and bench/pipeline are. */
#ifndef BENCH_CONTEST_H
#define BENCH_CONTEST_H

struct contest {
    const char *name;                         /* of the program */
    const char *connections, *sizes, *depths; /* what is measured by default, with commas between */
    const char *quick_connections, *quick_sizes, *quick_depths;
};

/* The whole program: options, rounds, the table, JSON.  Returns its exit status. */
int contest_main(const struct contest *contest, int argc, char **argv);

#endif
