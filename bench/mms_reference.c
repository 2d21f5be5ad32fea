/* The reference of bench/mms.py: the library's own update calls in a C loop, none of our code.
 *
 * For every meter of every round: lock, then for each of its points set t, update q, update the
 * value (the last one is the energy, an INT64), then unlock; as mms_bridge/libiec61850/value_writer.py does. The library's functions come as pointers,
 * so that this compiles without its headers:  cc -O2 -shared -fPIC -o reference.so mms_reference.c
 */
#include <stdint.h>

typedef void (*server_fn)(void *server);
typedef void (*float_fn)(void *server, void *attribute, float value);
typedef void (*int64_fn)(void *server, void *attribute, int64_t value);
typedef void (*quality_fn)(void *server, void *attribute, uint16_t quality);
typedef void (*time_fn)(void *value, uint64_t ms, uint8_t quality);

struct functions {
    server_fn lock, unlock;
    float_fn update_float;
    int64_fn update_int64;
    quality_fn update_quality;
    time_fn set_time;
};

struct point {
    void *value, *q, *t;
};

struct meter {
    void *server;
    struct point *points;
    int count;
};

void run(const struct functions *f, const struct meter *meters, int n, int rounds) {
    for (int round = 0; round < rounds; round++)
        for (int m = 0; m < n; m++) {
            f->lock(meters[m].server);
            for (int p = 0; p < meters[m].count; p++) {
                struct point point = meters[m].points[p];
                f->set_time(point.t, 1700000000000u + round, 0x8A);
                f->update_quality(meters[m].server, point.q, 0);
                if (p < meters[m].count - 1)
                    f->update_float(meters[m].server, point.value, round + p + 1.0f);
                else
                    f->update_int64(meters[m].server, point.value, round + p + 1);
            }
            f->unlock(meters[m].server);
        }
}
