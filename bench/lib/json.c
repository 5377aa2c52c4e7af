/* Results as data: one JSON object per line, appended, so that runs collect in one file and
 * plots are made from it. */
#include "bench.h"

#include <inttypes.h>

static void put_string(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else if (c < 0x20)
            fprintf(out, "\\u%04x", c);
        else
            fputc(c, out);
    }
    fputc('"', out);
}

static bool put_key(struct bench_json *json, const char *key)
{
    if (!json->out) return false;
    fputs(json->some ? "," : "{", json->out);
    json->some = true;
    put_string(json->out, key);
    fputc(':', json->out);
    return true;
}

void bench_json_str(struct bench_json *json, const char *key, const char *value)
{
    if (put_key(json, key)) put_string(json->out, value);
}

void bench_json_int(struct bench_json *json, const char *key, uint64_t value)
{
    if (put_key(json, key)) fprintf(json->out, "%" PRIu64, value);
}

void bench_json_num(struct bench_json *json, const char *key, double value)
{
    if (put_key(json, key)) fprintf(json->out, "%.6g", value);
}

void bench_json_nums(struct bench_json *json, const char *key, const double *at, size_t len)
{
    if (!put_key(json, key)) return;
    fputc('[', json->out);
    for (size_t i = 0; i < len; i++) fprintf(json->out, i ? ",%.6g" : "%.6g", at[i]);
    fputc(']', json->out);
}

void bench_json_interval(struct bench_json *json, const char *key, struct bench_interval value)
{
    if (put_key(json, key))
        fprintf(json->out, "{\"lo\":%.5f,\"mid\":%.5f,\"hi\":%.5f}", value.lo, value.mid, value.hi);
}

void bench_json_bool(struct bench_json *json, const char *key, bool value)
{
    if (put_key(json, key)) fputs(value ? "true" : "false", json->out);
}

void bench_json_begin(struct bench_json *json, FILE *out, const char *bench,
                      const struct bench_host *host)
{
    *json = (struct bench_json){.out = out};
    bench_json_str(json, "bench", bench);
    bench_json_str(json, "machine", host->machine);
    bench_json_int(json, "cpus", (uint64_t)host->cpus);
    bench_json_str(json, "kernel", host->kernel);
    bench_json_str(json, "commit", host->commit);
}

void bench_json_end(struct bench_json *json)
{
    if (!json->out) return;
    fputs("}\n", json->out);
    fflush(json->out);
}
