/*
 * A stand-in for NVIDIA's libnvidia-ml.so.1 that replays a flattened recording, and fails on demand.
 *
 * FAKE_NVML_DATA   the flattened recording (tests/nvml/driver.py writes it):
 *                    chips N
 *                    chip ROW UUID NAME...
 *                    row TIME_MS ROW POWER_MW ENERGY_MJ UTIL_PERCENT CLOCK_MHZ MEMORY_BYTES TEMP_C PROCESSES
 *                  where -1 means missing: the driver then answers with NVML's "not available".
 * FAKE_NVML_FAIL   comma-separated FUNCTION:CODE[:ROW[:FROM_MS]]: from that replay time on, calls of
 *                  FUNCTION ("*" for every call that takes a device) for chip ROW (-1: all) answer CODE.
 *                  CODE -1 hangs: such a call comes back once it is no longer asked for.
 * -DOMIT_...       leaves a symbol out, as an old driver would.
 *
 * The samples that it keeps of a chip are the newest KEPT rows of the recording, in a clock of its own.
 *
 * Time is what fake_set_time_ms() says; until it is called, milliseconds since nvmlInit.
 * The declarations follow https://docs.nvidia.com/deploy/nvml-api/; no NVIDIA code is used.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    HANG = -1, /* ours: not a code of NVML's */
    SUCCESS = 0,
    UNINITIALIZED = 1,
    INVALID_ARGUMENT = 2,
    INSUFFICIENT_SIZE = 7,
    NOT_SUPPORTED = 3,
    NOT_FOUND = 6,
    DRIVER_NOT_LOADED = 9,
    ARGUMENT_VERSION_MISMATCH = 25,
};

#define MAX_CHIPS 64
#define CHANNELS 7
#define KEPT 120
#define DRIVERS_EPOCH_MS 1700000000000LL
enum { POWER, ENERGY, UTIL, CLOCK, MEMORY, TEMPERATURE, PROCESSES };

typedef struct {
    long long time_ms;
    long long value[CHANNELS];
} Row;

typedef struct Chip {
    int index;
    char uuid[96];
    char name[96];
    Row *rows;
    size_t count, room, at;
} Chip;

typedef struct { unsigned int gpu, memory; } Utilization;
typedef struct { unsigned long long total, free, used; } Memory;
typedef struct {
    unsigned long long timeStamp; /* us */
    union { double dVal; unsigned int uiVal; unsigned long long ullVal; } value;
} Sample;
typedef struct { unsigned int version, sensor; int celsius; } VersionedTemperature;
typedef struct {
    unsigned int pid;
    unsigned long long usedGpuMemory;
    unsigned int gpuInstanceId, computeInstanceId;
} ProcessInfo;

static Chip chips[MAX_CHIPS];
static int chip_count, initialised, loaded; /* initialised counts, as NVML does */
static long long set_time_ms = -1, started_ms;

static long long monotonic_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static long long now_ms(void) {
    return set_time_ms >= 0 ? set_time_ms : monotonic_ms() - started_ms;
}

void fake_set_time_ms(long long time_ms) { set_time_ms = time_ms; }

static int load(const char *path) {
    char line[512];
    FILE *file = fopen(path, "r");
    if (!file) return DRIVER_NOT_LOADED;
    while (fgets(line, sizeof line, file)) {
        Row row;
        int index, offset = 0;
        if (sscanf(line, "chips %d", &index) == 1) {
            chip_count = index;
            for (int i = 0; i < chip_count; i++) chips[i].index = i;
        } else if (sscanf(line, "chip %d %n", &index, &offset) == 1 && offset > 0) {
            sscanf(line + offset, "%95s %95[^\n]", chips[index].uuid, chips[index].name);
        } else if (sscanf(line, "row %lld %d %lld %lld %lld %lld %lld %lld %lld", &row.time_ms, &index,
                          &row.value[0], &row.value[1], &row.value[2], &row.value[3], &row.value[4],
                          &row.value[5], &row.value[6]) == 9) {
            Chip *chip = &chips[index];
            if (chip->count == chip->room) {
                chip->room = chip->room ? chip->room * 2 : 64;
                chip->rows = realloc(chip->rows, chip->room * sizeof *chip->rows);
                if (!chip->rows) abort();
            }
            chip->rows[chip->count++] = row;
        }
    }
    fclose(file);
    return SUCCESS;
}

/* The code that FAKE_NVML_FAIL asks for now, or SUCCESS. */
static int asked_for(const char *function, int index) {
    const char *spec = getenv("FAKE_NVML_FAIL");
    while (spec && *spec) {
        char name[96];
        int code = 0, row = -1;
        long long from_ms = 0;
        int got = sscanf(spec, "%95[^:]:%d:%d:%lld", name, &code, &row, &from_ms);
        int names_it = !strcmp(name, function) || (!strcmp(name, "*") && index >= 0);
        if (got >= 2 && names_it && (row < 0 || row == index) && now_ms() >= from_ms) return code;
        spec = strchr(spec, ',');
        if (spec) spec++;
    }
    return SUCCESS;
}

static int asked_to_fail(const char *function, int index) {
    struct timespec while_asked = {0, 10000000};
    int code;
    while ((code = asked_for(function, index)) == HANG) nanosleep(&while_asked, NULL);
    return code;
}

static int begin(const char *function, const Chip *chip) {
    if (!initialised) return UNINITIALIZED;
    if (!chip) return INVALID_ARGUMENT;
    return asked_to_fail(function, chip->index);
}

static long long value(Chip *chip, int channel) {
    long long now = now_ms();
    if (!chip->count) return -1;
    if (chip->rows[chip->at].time_ms > now) chip->at = 0;
    while (chip->at + 1 < chip->count && chip->rows[chip->at + 1].time_ms <= now) chip->at++;
    return chip->rows[chip->at].value[channel];
}

static unsigned int narrow(long long found) { return found < 0 ? UINT_MAX : (unsigned int)found; }

#define BEGIN(chip)                                  \
    do {                                             \
        int code = begin(__func__, (chip));          \
        if (code != SUCCESS) return code;            \
    } while (0)

const char *nvmlErrorString(int code) { return code == SUCCESS ? "Success" : "fake driver's error"; }

int nvmlInitWithFlags(unsigned int flags) {
    const char *path = getenv("FAKE_NVML_DATA");
    int code = asked_to_fail(__func__, -1);
    (void)flags;
    if (code != SUCCESS) return code;
    if (!loaded && (code = load(path ? path : "")) != SUCCESS) return code;
    if (!loaded) started_ms = monotonic_ms();
    loaded = 1;
    initialised++;
    return SUCCESS;
}

int nvmlShutdown(void) {
    if (!initialised) return UNINITIALIZED;
    initialised--;
    return SUCCESS;
}

int fake_initialised(void) { return initialised; }

int nvmlSystemGetDriverVersion(char *version, unsigned int length) {
    snprintf(version, length, "999.99-fake");
    return SUCCESS;
}

int nvmlDeviceGetCount_v2(unsigned int *count) {
    int code = asked_to_fail(__func__, -1);
    if (!initialised) return UNINITIALIZED;
    if (code != SUCCESS) return code;
    *count = (unsigned int)chip_count;
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, Chip **chip) {
    if ((int)index >= chip_count) return INVALID_ARGUMENT;
    BEGIN(&chips[index]);
    *chip = &chips[index];
    return SUCCESS;
}

int nvmlDeviceGetUUID(Chip *chip, char *uuid, unsigned int length) {
    BEGIN(chip);
    snprintf(uuid, length, "%s", chip->uuid);
    return SUCCESS;
}

int nvmlDeviceGetName(Chip *chip, char *name, unsigned int length) {
    BEGIN(chip);
    snprintf(name, length, "%s", chip->name);
    return SUCCESS;
}

int nvmlDeviceGetVbiosVersion(Chip *chip, char *version, unsigned int length) {
    BEGIN(chip);
    snprintf(version, length, "96.00.00.00.01");
    return SUCCESS;
}

int nvmlDeviceGetEnforcedPowerLimit(Chip *chip, unsigned int *milliwatts) {
    BEGIN(chip);
    *milliwatts = 700000;
    return SUCCESS;
}

int nvmlDeviceGetMaxClockInfo(Chip *chip, unsigned int type, unsigned int *megahertz) {
    BEGIN(chip);
    (void)type;
    *megahertz = 1980;
    return SUCCESS;
}

int nvmlDeviceGetMigMode(Chip *chip, unsigned int *current, unsigned int *pending) {
    BEGIN(chip);
    *current = *pending = 0;
    return SUCCESS;
}

#ifndef OMIT_ENERGY
int nvmlDeviceGetTotalEnergyConsumption(Chip *chip, unsigned long long *millijoules) {
    BEGIN(chip);
    long long found = value(chip, ENERGY);
    *millijoules = found < 0 ? ULLONG_MAX : (unsigned long long)found;
    return SUCCESS;
}
#endif

#ifndef OMIT_POWER
int nvmlDeviceGetPowerUsage(Chip *chip, unsigned int *milliwatts) {
    BEGIN(chip);
    *milliwatts = narrow(value(chip, POWER));
    return SUCCESS;
}
#endif

int nvmlDeviceGetUtilizationRates(Chip *chip, Utilization *rates) {
    BEGIN(chip);
    rates->gpu = narrow(value(chip, UTIL));
    rates->memory = 0;
    return SUCCESS;
}

int nvmlDeviceGetClockInfo(Chip *chip, unsigned int type, unsigned int *megahertz) {
    BEGIN(chip);
    if (type != 1) return NOT_SUPPORTED; /* only the SM clock is recorded */
    *megahertz = narrow(value(chip, CLOCK));
    return SUCCESS;
}

#ifndef OMIT_SAMPLES
int nvmlDeviceGetSamples(Chip *chip, unsigned int type, unsigned long long seen_us, unsigned int *value_type,
                         unsigned int *count, Sample *samples) {
    BEGIN(chip);
    int channel = type == 0 ? POWER : type == 1 ? UTIL : type == 5 ? CLOCK : -1;
    if (channel < 0) return NOT_SUPPORTED;
    value(chip, channel); /* moves to the row of now */
    size_t until = chip->count && chip->rows[chip->at].time_ms <= now_ms() ? chip->at + 1 : 0;
    size_t from = until > KEPT ? until - KEPT : 0;
    unsigned int found = 0;
    for (size_t i = from; i < until; i++) {
        unsigned long long at_us = (unsigned long long)(DRIVERS_EPOCH_MS + chip->rows[i].time_ms) * 1000;
        if (at_us <= seen_us) continue;
        if (samples && found < *count) {
            samples[found].timeStamp = at_us;
            samples[found].value.uiVal = narrow(chip->rows[i].value[channel]);
        }
        if (!samples || found < *count) found++;
    }
    *value_type = 1; /* unsigned int */
    *count = found;
    return found ? SUCCESS : NOT_FOUND;
}
#endif

int nvmlDeviceGetMemoryInfo(Chip *chip, Memory *memory) {
    BEGIN(chip);
    long long found = value(chip, MEMORY);
    memory->total = 85899345920ULL;
    memory->used = found < 0 ? ULLONG_MAX : (unsigned long long)found;
    memory->free = found < 0 ? 0 : memory->total - memory->used;
    return SUCCESS;
}

#ifndef OMIT_OLD_TEMPERATURE
int nvmlDeviceGetTemperature(Chip *chip, unsigned int sensor, unsigned int *celsius) {
    BEGIN(chip);
    if (sensor != 0) return INVALID_ARGUMENT;
    *celsius = narrow(value(chip, TEMPERATURE));
    return SUCCESS;
}
#endif

#ifndef OMIT_TEMPERATURE
int nvmlDeviceGetTemperatureV(Chip *chip, VersionedTemperature *temperature) {
    BEGIN(chip);
    if (temperature->version != (sizeof *temperature | 1u << 24)) return ARGUMENT_VERSION_MISMATCH;
    if (temperature->sensor != 0) return INVALID_ARGUMENT;
    temperature->celsius = (int)narrow(value(chip, TEMPERATURE));
    return SUCCESS;
}
#endif

#ifndef OMIT_PROCESSES
int nvmlDeviceGetComputeRunningProcesses_v3(Chip *chip, unsigned int *count, ProcessInfo *infos) {
    BEGIN(chip);
    long long found = value(chip, PROCESSES);
    if (found < 0) return NOT_SUPPORTED;
    unsigned int running = (unsigned int)found;
    if (running > *count) {
        *count = running;
        return INSUFFICIENT_SIZE;
    }
    for (unsigned int i = 0; i < running; i++) {
        memset(&infos[i], 0, sizeof infos[i]);
        infos[i].pid = 1000 + i;
    }
    *count = running;
    return SUCCESS;
}
#endif
