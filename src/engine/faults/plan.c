/* Which faults, and how often: from the text of a plan and its seed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/faults/inside.h"

/* Those that can be had of a real engine, as the simulator calls them. */
static const struct {
    const char   *name;
    pro_sim_fault kind;
    uint32_t      rate_min, rate_max; /* one in so many */
    bool          is_mild;
} kinds[] = {
    {"short_read", PRO_SIM_SHORT_READ, 1, 8, true},
    {"short_write", PRO_SIM_SHORT_WRITE, 1, 8, true},
    {"slow", PRO_SIM_SLOW, 1, 64, true},
    {"reset", PRO_SIM_RESET, 16, 1024, false},
    {"refuse", PRO_SIM_REFUSE, 4, 64, false},
    {"aborted", PRO_SIM_ABORTED, 4, 64, false},
    {"handles", PRO_SIM_HANDLES, 4, 64, false},
};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

static bool is_word(const char *at, size_t len, const char *word)
{
    return strlen(word) == len && memcmp(at, word, len) == 0;
}

/* Two bits for each kind: it may be on; it was named, and is. */
static bool read_words(const char *words, bool *may, bool *must)
{
    while (*words) {
        size_t len = strcspn(words, ",");
        bool   is_known = false;
        for (int i = 0; i < KINDS; i++) {
            bool is_named = is_word(words, len, kinds[i].name);
            bool is_meant =
                is_word(words, len, "all") || (is_word(words, len, "mild") && kinds[i].is_mild);
            must[i] |= is_named;
            may[i] |= is_named || is_meant;
            is_known |= is_named || is_meant;
        }
        if (!is_known) return false;
        words += len;
        if (*words == ',') words++;
    }
    return true;
}

bool pri_faults_plan_read(faults_plan *plan, const char *text)
{
    char *end;
    bool  may[KINDS] = {false}, must[KINDS] = {false};
    *plan = (faults_plan){.seed = strtoull(text, &end, 0)};
    if (end == text || text[0] == '-' || (*end && *end != ':')) return false;
    if (!read_words(*end == ':' && end[1] ? end + 1 : "mild", may, must)) return false;
    uint64_t stream = plan->seed;
    for (int i = 0; i < KINDS; i++) {
        bool     is_on = faults_choice(&stream, 2) == 0; /* drawn for all, whatever is allowed */
        uint32_t rate = kinds[i].rate_min << faults_choice(&stream, 8);
        if (rate > kinds[i].rate_max) rate = kinds[i].rate_max;
        if (must[i] || (may[i] && is_on)) plan->rate[kinds[i].kind] = rate;
    }
    return true;
}

bool pri_faults_is_plan(const char *plan)
{
    faults_plan read;
    return pri_faults_plan_read(&read, plan);
}

size_t pri_faults_plan_tell(const faults_plan *plan, char *buf, size_t size)
{
    size_t len = (size_t)snprintf(buf, size, "seed %llu", (unsigned long long)plan->seed);
    for (int i = 0; i < KINDS && len < size; i++)
        if (plan->rate[kinds[i].kind])
            len += (size_t)snprintf(buf + len, size - len, ", %s 1:%u", kinds[i].name,
                                    plan->rate[kinds[i].kind]);
    return len;
}
