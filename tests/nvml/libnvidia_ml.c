/*
 * A stand-in for NVIDIA's libnvidia-ml.so.1 that replays a flattened recording, and fails on demand.
 *
 * FAKE_NVML_DATA   the flattened recording (tests/nvml/driver.py writes it):
 *                    chips N
 *                    chip ROW UUID NAME...
 *                    row TIME_MS ROW POWER_MW ENERGY_MJ UTIL_PERCENT CLOCK_MHZ MEMORY_BYTES TEMP_C PROCESSES
 *                        [nine of GPM, millionths; EVENT_REASONS; PCIE_TX PCIE_RX bytes; NVLINK_TX NVLINK_RX KiB]
 *                  where -1 means missing: the driver then answers with NVML's "not available". What a chip's rows
 *                  never hold of the part in brackets, the chip does not support.
 * FAKE_NVML_FAIL   comma-separated FUNCTION:CODE[:ROW[:FROM_MS]]: from that replay time on, calls of
 *                  FUNCTION ("*" for every call that takes a device) for chip ROW (-1: all) answer CODE.
 *                  CODE -1 hangs: such a call comes back once it is no longer asked for. "metric-ID" and "field-ID"
 *                  fail one metric of GPM and one field alone.
 * FAKE_NVML_TELL   comma-separated NAME:VALUE: what a metric of GPM ("metric-ID", per cent), a field ("field-ID") or
 *                  the event reasons ("reasons") are told as, whatever was recorded.
 * FAKE_NVML_NARROW comma-separated ids of fields that are told as unsigned int.
 * FAKE_NVML_MIG    comma-separated ROW:FROM_MS[:UNTIL_MS]: the chips that are partitioned, and when.
 * -DOMIT_...       leaves a symbol out, as an old driver would.
 *
 * The samples that it keeps of a chip are the newest KEPT rows of the recording, in a clock of its own. A row stands
 * until the next. GPM's shares are of the cycles between two samples; below 100 ms it says that there are no data.
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
    MEMORY_ERROR = 20,
    NO_DATA = 21,
    ARGUMENT_VERSION_MISMATCH = 25,
};

#define MAX_CHIPS 64
#define CHANNELS 21
#define LEAST_CHANNELS 7
#define GPM_METRICS 9
#define GPM_LEAST_MS 100
#define GPM_MOST_SAMPLES 256
#define KEPT 120
#define DRIVERS_EPOCH_MS 1700000000000LL
enum { POWER, ENERGY, UTIL, CLOCK, MEMORY, TEMPERATURE, PROCESSES, GPM, REASONS = GPM + GPM_METRICS, PCIE_TX, PCIE_RX,
       NVLINK_TX, NVLINK_RX };

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
    int supports[CHANNELS];
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

typedef union {
    double dVal;
    int siVal;
    unsigned int uiVal;
    unsigned long ulVal;
    unsigned long long ullVal;
    long long sllVal;
    unsigned short usVal;
} Value;
typedef struct {
    unsigned int fieldId, scopeId;
    long long timestamp, latencyUsec;
    unsigned int valueType;
    int nvmlReturn;
    Value value;
} FieldValue;
typedef struct {
    const Chip *chip;
    long long time_ms;
    size_t at; /* the row that stood then */
} GpmSample;
typedef struct {
    unsigned int metricId;
    int nvmlReturn;
    double value;
    struct { const char *shortName, *longName, *unit; } metricInfo;
} GpmMetric;
typedef struct {
    unsigned int version, numMetrics;
    GpmSample *sample1, *sample2;
    GpmMetric metrics[];
} GpmMetricsGet;
typedef struct { unsigned int version, isSupportedDevice; } GpmSupport;

static Chip chips[MAX_CHIPS];
static int gpm_allocated, gpm_leaked;
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
        } else if (sscanf(line, "row %lld %d %n", &row.time_ms, &index, &offset) == 2 && offset > 0) {
            char *from = line + offset, *end;
            int found = 0;
            for (; found < CHANNELS; found++, from = end) {
                row.value[found] = strtoll(from, &end, 10);
                if (end == from) break;
            }
            if (found < LEAST_CHANNELS) continue;
            while (found < CHANNELS) row.value[found++] = -1;
            Chip *chip = &chips[index];
            if (chip->count == chip->room) {
                chip->room = chip->room ? chip->room * 2 : 64;
                chip->rows = realloc(chip->rows, chip->room * sizeof *chip->rows);
                if (!chip->rows) abort();
            }
            chip->rows[chip->count++] = row;
            for (int i = 0; i < CHANNELS; i++) chip->supports[i] |= row.value[i] >= 0;
        }
    }
    fclose(file);
    return SUCCESS;
}

/* What FAKE_NVML_TELL has a name told as, or what was found. */
static double told(const char *name, double found) {
    const char *spec = getenv("FAKE_NVML_TELL");
    size_t length = strlen(name);
    while (spec && *spec) {
        if (!strncmp(spec, name, length) && spec[length] == ':') return strtod(spec + length + 1, NULL);
        spec = strchr(spec, ',');
        if (spec) spec++;
    }
    return found;
}

/* Whether one of the comma-separated lists of an environment's variable begins with a number. */
static const char *listed(const char *variable, long number) {
    const char *spec = getenv(variable);
    while (spec && *spec) {
        char *end;
        if (strtol(spec, &end, 10) == number && end != spec) return end;
        spec = strchr(spec, ',');
        if (spec) spec++;
    }
    return NULL;
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
    if (!initialised) gpm_leaked += gpm_allocated;
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
    const char *when = listed("FAKE_NVML_MIG", chip->index);
    long long from_ms = 0, until_ms = LLONG_MAX;
    int got = when ? sscanf(when, ":%lld:%lld", &from_ms, &until_ms) : 0;
    *current = *pending = got > 0 && now_ms() >= from_ms && now_ms() < until_ms;
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

#if !defined OMIT_EVENT_REASONS || !defined OMIT_THROTTLE_REASONS
static int tell_reasons(Chip *chip, unsigned long long *reasons) {
    if (!chip->supports[REASONS]) return NOT_SUPPORTED;
    long long found = (long long)told("reasons", (double)value(chip, REASONS));
    *reasons = found < 0 ? ULLONG_MAX : (unsigned long long)found;
    return SUCCESS;
}
#endif

#ifndef OMIT_EVENT_REASONS
int nvmlDeviceGetCurrentClocksEventReasons(Chip *chip, unsigned long long *reasons) {
    BEGIN(chip);
    return tell_reasons(chip, reasons);
}
#endif

#ifndef OMIT_THROTTLE_REASONS
int nvmlDeviceGetCurrentClocksThrottleReasons(Chip *chip, unsigned long long *reasons) {
    BEGIN(chip);
    return tell_reasons(chip, reasons);
}
#endif

#ifndef OMIT_FIELDS
static void tell_field(Chip *chip, FieldValue *field) {
    static const struct { unsigned int id; int channel; } known[] = {
        {197, PCIE_TX}, {198, PCIE_RX}, {138, NVLINK_TX}, {139, NVLINK_RX}};
    char name[32];
    int channel = -1;
    snprintf(name, sizeof name, "field-%u", field->fieldId);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].id == field->fieldId) channel = known[i].channel;
    field->timestamp = (DRIVERS_EPOCH_MS + now_ms()) * 1000;
    field->latencyUsec = 0;
    field->nvmlReturn = asked_to_fail(name, chip->index);
    if (field->nvmlReturn != SUCCESS) return;
    if (channel < 0) {
        field->nvmlReturn = INVALID_ARGUMENT;
    } else if (!chip->supports[channel]) {
        field->nvmlReturn = NOT_SUPPORTED;
    } else if (channel >= NVLINK_TX && field->scopeId != UINT_MAX) {
        field->nvmlReturn = INVALID_ARGUMENT; /* single links were not recorded */
    } else {
        double found = told(name, (double)value(chip, channel));
        memset(&field->value, 0, sizeof field->value);
        if (listed("FAKE_NVML_NARROW", field->fieldId)) {
            field->valueType = 1;
            field->value.uiVal = found < 0 ? UINT_MAX : (unsigned int)(unsigned long long)found;
        } else {
            field->valueType = 3; /* unsigned long long */
            field->value.ullVal = found < 0 ? ULLONG_MAX : (unsigned long long)found;
        }
    }
}

int nvmlDeviceGetFieldValues(Chip *chip, int count, FieldValue *fields) {
    BEGIN(chip);
    if (count < 1 || !fields) return INVALID_ARGUMENT;
    for (int i = 0; i < count; i++) tell_field(chip, &fields[i]);
    return SUCCESS;
}
#endif

/* How many samples are allocated, and how many were when the library was left. */
int fake_gpm_allocated(void) { return gpm_allocated; }
int fake_gpm_leaked(void) { return gpm_leaked; }

#ifndef OMIT_GPM
/* Of SM, any tensor, HMMA, IMMA, DFMA, FP16, FP32, FP64, DRAM: the order of the flattened recording. */
static const unsigned int gpm_ids[GPM_METRICS] = {2, 5, 7, 9, 6, 13, 12, 11, 10};
static GpmSample *gpm_samples[GPM_MOST_SAMPLES];

int nvmlGpmQueryDeviceSupport(Chip *chip, GpmSupport *support) {
    BEGIN(chip);
    if (support->version != 1) return ARGUMENT_VERSION_MISMATCH;
    support->isSupportedDevice = 0;
    for (int i = 0; i < GPM_METRICS; i++) support->isSupportedDevice |= (unsigned int)chip->supports[GPM + i];
    return SUCCESS;
}

int nvmlGpmSampleAlloc(GpmSample **sample) {
    int code = asked_to_fail(__func__, -1);
    if (!initialised) return UNINITIALIZED;
    if (code != SUCCESS) return code;
    for (int i = 0; i < GPM_MOST_SAMPLES; i++) {
        if (gpm_samples[i]) continue;
        *sample = gpm_samples[i] = calloc(1, sizeof **sample);
        if (!*sample) abort();
        gpm_allocated++;
        return SUCCESS;
    }
    return MEMORY_ERROR;
}

static int is_allocated(const GpmSample *sample) {
    for (int i = 0; sample && i < GPM_MOST_SAMPLES; i++)
        if (gpm_samples[i] == sample) return i + 1;
    return 0;
}

int nvmlGpmSampleFree(GpmSample *sample) {
    int place = is_allocated(sample);
    if (!initialised) return UNINITIALIZED;
    if (!place) abort(); /* freed twice, or never allocated: a real driver would corrupt its memory */
    free(sample);
    gpm_samples[place - 1] = NULL;
    gpm_allocated--;
    return SUCCESS;
}

int nvmlGpmSampleGet(Chip *chip, GpmSample *sample) {
    BEGIN(chip);
    if (!is_allocated(sample)) abort();
    value(chip, GPM); /* moves to the row of now */
    *sample = (GpmSample){chip, now_ms(), chip->at};
    return SUCCESS;
}

/* The share of the cycles between two samples, 0 to 1, in which a channel was active; -1 where it is not all known. */
static double share(const GpmSample *from, const GpmSample *until, int channel) {
    const Chip *chip = from->chip;
    double active = 0, elapsed = 0;
    for (size_t i = from->at; i <= until->at; i++) {
        const Row *row = &chip->rows[i];
        long long begins = row->time_ms > from->time_ms ? row->time_ms : from->time_ms;
        long long ends = i < until->at ? chip->rows[i + 1].time_ms : until->time_ms;
        if (ends <= begins) continue;
        double cycles = (double)(ends - begins) * (row->value[CLOCK] > 0 ? (double)row->value[CLOCK] : 1.0);
        if (row->value[channel] < 0) return -1;
        active += cycles * (double)row->value[channel] * 1e-6;
        elapsed += cycles;
    }
    return elapsed > 0 ? active / elapsed : -1;
}

static void tell_metric(const GpmSample *from, const GpmSample *until, GpmMetric *metric) {
    char name[32];
    int channel = -1;
    snprintf(name, sizeof name, "metric-%u", metric->metricId);
    for (int i = 0; i < GPM_METRICS; i++)
        if (gpm_ids[i] == metric->metricId) channel = GPM + i;
    metric->value = 0;
    metric->metricInfo.shortName = metric->metricInfo.longName = metric->metricInfo.unit = "";
    metric->nvmlReturn = asked_to_fail(name, from->chip->index);
    if (metric->nvmlReturn != SUCCESS) return;
    if (channel < 0) {
        metric->nvmlReturn = INVALID_ARGUMENT;
    } else if (!from->chip->supports[channel]) {
        metric->nvmlReturn = NOT_SUPPORTED;
    } else if (until->time_ms - from->time_ms < GPM_LEAST_MS) {
        metric->nvmlReturn = NO_DATA;
    } else {
        double found = share(from, until, channel);
        metric->value = told(name, found * 100);
        if (found < 0) metric->nvmlReturn = NO_DATA;
    }
}

int nvmlGpmMetricsGet(GpmMetricsGet *request) {
    if (!initialised) return UNINITIALIZED;
    if (request->version != 1) return ARGUMENT_VERSION_MISMATCH;
    if (!request->numMetrics) return INVALID_ARGUMENT;
    if (!is_allocated(request->sample1) || !is_allocated(request->sample2)) abort();
    const GpmSample *from = request->sample1, *until = request->sample2;
    if (!from->chip || from->chip != until->chip) return INVALID_ARGUMENT;
    int code = asked_to_fail(__func__, from->chip->index);
    if (code != SUCCESS) return code;
    for (unsigned int i = 0; i < request->numMetrics; i++) tell_metric(from, until, &request->metrics[i]);
    return SUCCESS;
}
#endif
