/* Copyright (c) 2026 The gpunode.ready maintainers
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A simulated libnvidia-ml.so.1: NVML's ABI, answered from a JSON file. It is honest about being one: it exports
 * the symbol `gpunode_simulated`, and the names in its sample files end in "(simulated)". README.md says how to build
 * it, what the file holds and what the environment switches.
 *
 * Rules of this file: libc only; a field the file does not hold is NVML_ERROR_NOT_SUPPORTED, as on a board that lacks
 * it; every entry point passes through `enter`, which is where delays and failures happen.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifndef VERSION
#define VERSION "580.159.04"
#endif
#define EXPORT __attribute__((visibility("default")))

enum {
    SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NO_PERMISSION = 4, NOT_FOUND = 6,
    INSUFFICIENT_SIZE = 7, DRIVER_NOT_LOADED = 9, LIB_RM_VERSION_MISMATCH = 18, ARGUMENT_VERSION_MISMATCH = 25,
    UNKNOWN = 999
};
#define PROCEED (-1)

EXPORT const char gpunode_simulated[] = "gpunode.ready simulated NVML " VERSION;

/* ---- JSON: a tree of nodes, never freed while the library is initialised ---------------------------------------- */

enum kind { NUL, BOOLEAN, NUMBER, STRING, LIST, OBJECT };

typedef struct node {
    enum kind kind;
    char *key;          /* in an object */
    char *text;         /* STRING */
    double number;      /* NUMBER, BOOLEAN */
    struct node *child; /* LIST, OBJECT */
    struct node *next;
} node;

typedef struct {
    const char *at;
    int depth;
    int failed;
} reader;

static node *value(reader *r);

static void blank(reader *r)
{
    while (isspace((unsigned char)*r->at))
        r->at++;
}

static node *fresh(enum kind kind)
{
    node *made = calloc(1, sizeof *made);
    if (!made)
        abort();
    made->kind = kind;
    return made;
}

static void utf8(char **to, unsigned code)
{
    if (code < 0x80) {
        *(*to)++ = (char)code;
    } else if (code < 0x800) {
        *(*to)++ = (char)(0xC0 | code >> 6);
        *(*to)++ = (char)(0x80 | (code & 0x3F));
    } else {
        *(*to)++ = (char)(0xE0 | code >> 12);
        *(*to)++ = (char)(0x80 | (code >> 6 & 0x3F));
        *(*to)++ = (char)(0x80 | (code & 0x3F));
    }
}

static char *quoted(reader *r)
{
    const char *from = ++r->at, *end = from;
    while (*end && *end != '"')
        end += end[0] == '\\' && end[1] ? 2 : 1;
    if (!*end) {
        r->failed = 1;
        return NULL;
    }
    char *text = malloc((size_t)(end - from) + 1), *to = text;
    if (!text)
        abort();
    for (; from < end; from++) {
        if (*from != '\\') {
            *to++ = *from;
            continue;
        }
        switch (*++from) {
        case 'n': *to++ = '\n'; break;
        case 't': *to++ = '\t'; break;
        case 'r': *to++ = '\r'; break;
        case 'b': *to++ = '\b'; break;
        case 'f': *to++ = '\f'; break;
        case 'u': {
            char digits[5] = {0};
            if (end - from < 5) {
                r->failed = 1;
                break;
            }
            memcpy(digits, from + 1, 4);
            utf8(&to, (unsigned)strtoul(digits, NULL, 16));
            from += 4;
            break;
        }
        default: *to++ = *from;
        }
    }
    *to = 0;
    r->at = end + 1;
    return text;
}

static node *members(reader *r, enum kind kind, char close)
{
    node *made = fresh(kind), **last = &made->child;
    r->at++;
    blank(r);
    if (*r->at == close) {
        r->at++;
        return made;
    }
    while (!r->failed) {
        char *key = NULL;
        blank(r);
        if (kind == OBJECT) {
            if (*r->at != '"') {
                r->failed = 1;
                break;
            }
            key = quoted(r);
            blank(r);
            if (r->failed || *r->at++ != ':') {
                r->failed = 1;
                break;
            }
        }
        *last = value(r);
        if (!*last)
            break;
        (*last)->key = key;
        last = &(*last)->next;
        blank(r);
        if (*r->at == ',') {
            r->at++;
            continue;
        }
        if (*r->at == close) {
            r->at++;
            return made;
        }
        r->failed = 1;
    }
    return made;
}

static node *value(reader *r)
{
    node *made = NULL;
    blank(r);
    if (++r->depth > 64) {
        r->failed = 1;
    } else if (*r->at == '{') {
        made = members(r, OBJECT, '}');
    } else if (*r->at == '[') {
        made = members(r, LIST, ']');
    } else if (*r->at == '"') {
        made = fresh(STRING);
        made->text = quoted(r);
    } else if (!strncmp(r->at, "true", 4) || !strncmp(r->at, "false", 5)) {
        made = fresh(BOOLEAN);
        made->number = *r->at == 't';
        r->at += *r->at == 't' ? 4 : 5;
    } else if (!strncmp(r->at, "null", 4)) {
        made = fresh(NUL);
        r->at += 4;
    } else {
        char *end;
        double number = strtod(r->at, &end);
        if (end == r->at) {
            r->failed = 1;
        } else {
            made = fresh(NUMBER);
            made->number = number;
            r->at = end;
        }
    }
    r->depth--;
    return made;
}

static const node *get(const node *object, const char *key)
{
    if (!object || object->kind != OBJECT)
        return NULL;
    for (const node *here = object->child; here; here = here->next)
        if (!strcmp(here->key, key))
            return here->kind == NUL ? NULL : here;
    return NULL;
}

/* The node at a dotted path: "memory.total". */
static const node *at(const node *object, const char *path)
{
    char step[64];
    while (object) {
        const char *dot = strchr(path, '.');
        size_t length = dot ? (size_t)(dot - path) : strlen(path);
        if (length >= sizeof step)
            return NULL;
        memcpy(step, path, length);
        step[length] = 0;
        object = get(object, step);
        if (!dot)
            return object;
        path = dot + 1;
    }
    return NULL;
}

static const node *nth(const node *list, unsigned index)
{
    const node *here = list && list->kind == LIST ? list->child : NULL;
    while (here && index--)
        here = here->next;
    return here;
}

static unsigned length(const node *list)
{
    unsigned count = 0;
    for (const node *here = list && list->kind == LIST ? list->child : NULL; here; here = here->next)
        count++;
    return count;
}

/* ---- State ------------------------------------------------------------------------------------------------------ */

static node *world;
static int users;
static char driver_version[80];

static char *slurp(const char *path)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return NULL;
    size_t room = 65536, used = 0;
    char *text = malloc(room + 1);
    while (text) {
        used += fread(text + used, 1, room - used, file);
        if (used < room)
            break;
        room *= 2;
        char *more = realloc(text, room + 1);
        if (!more)
            free(text);
        text = more;
    }
    fclose(file);
    if (text)
        text[used] = 0;
    return text;
}

static node *read_world(void)
{
    const char *path = getenv("GPUNODE_SIM_GPUS");
    char *text = slurp(path && *path ? path : "/etc/gpunode-lab/gpus.json");
    if (!text)
        return fresh(OBJECT); /* a driver without a GPU */
    reader r = {text, 0, 0};
    node *read = value(&r);
    blank(&r);
    if (r.failed || *r.at || !read || read->kind != OBJECT) {
        fprintf(stderr, "simulated NVML: the file of GPUs is not a JSON object (near byte %ld)\n", (long)(r.at - text));
        return NULL;
    }
    free(text);
    return read;
}

/* Of the kernel module's own words: "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.159.04  <date>". */
static int loaded_version(const char *root, char *version, size_t room)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/proc/driver/nvidia/version", root);
    char *text = slurp(path);
    int found = 0;
    for (char *here = text; here && *here && !found; here++) {
        if (!isdigit((unsigned char)*here) || (here > text && !isspace((unsigned char)here[-1])))
            continue;
        size_t size = strspn(here, "0123456789.");
        if (size >= 5 && size < room && memchr(here, '.', size)) {
            memcpy(version, here, size);
            version[size] = 0;
            found = 1;
        }
    }
    free(text);
    return found;
}

/* What the kernel says of the driver: as the real library, which asks the module through /dev/nvidiactl. */
static int look_at_kernel(void)
{
    const char *mode = getenv("GPUNODE_SIM_KERNEL"), *root = getenv("GPUNODE_SIM_ROOT");
    char path[4096], loaded[80];
    root = root ? root : "";
    if (mode && !strcmp(mode, "any"))
        return SUCCESS;
    snprintf(path, sizeof path, "%s/sys/module/nvidia", root);
    if (access(path, F_OK))
        return DRIVER_NOT_LOADED;
    if (loaded_version(root, loaded, sizeof loaded) && strcmp(loaded, VERSION))
        return LIB_RM_VERSION_MISMATCH;
    snprintf(path, sizeof path, "%s/dev/nvidiactl", root);
    if (access(path, R_OK | W_OK) && errno == EACCES)
        return NO_PERMISSION;
    return SUCCESS;
}

static int planned(const node *plan, const char *call, double *number)
{
    const node *found = get(plan, call);
    found = found ? found : get(plan, "*");
    if (!found || found->kind != NUMBER)
        return 0;
    *number = found->number;
    return 1;
}

/* The one way in: sleeps as `delays` says (milliseconds; below 0: for ever), then fails as `failures` says (a return
 * code; below 0: the process dies of that signal). A device's own plans go before the file's. */
static int enter(const char *call, const node *device)
{
    double number;
    if (planned(get(device, "delays"), call, &number) || planned(get(world, "delays"), call, &number)) {
        struct timespec left = {(time_t)(number / 1000), (long)((long long)number % 1000 * 1000000)};
        while (number < 0)
            pause();
        while (nanosleep(&left, &left) && errno == EINTR)
            ;
    }
    if (planned(get(device, "failures"), call, &number) || planned(get(world, "failures"), call, &number)) {
        if (number < 0) {
            signal((int)-number, SIG_DFL);
            raise((int)-number);
        }
        if (number > 0)
            return (int)number;
    }
    return PROCEED;
}

#define SYSTEM()                                                                                                       \
    do {                                                                                                               \
        if (!users)                                                                                                    \
            return UNINITIALIZED;                                                                                      \
        int code = enter(__func__, NULL);                                                                              \
        if (code != PROCEED)                                                                                           \
            return code;                                                                                               \
    } while (0)

#define DEVICE(device)                                                                                                 \
    do {                                                                                                               \
        if (!users)                                                                                                    \
            return UNINITIALIZED;                                                                                      \
        if (!(device))                                                                                                 \
            return INVALID_ARGUMENT;                                                                                   \
        int code = enter(__func__, device);                                                                            \
        if (code != PROCEED)                                                                                           \
            return code;                                                                                               \
    } while (0)

typedef const node *handle;

static int put_text(const char *text, char *to, unsigned room)
{
    if (!text || !to)
        return text ? INVALID_ARGUMENT : NOT_SUPPORTED;
    if (strlen(text) + 1 > room)
        return INSUFFICIENT_SIZE;
    strcpy(to, text);
    return SUCCESS;
}

static int text_of(handle device, const char *path, char *to, unsigned room)
{
    const node *found = at(device, path);
    return found && found->kind == STRING ? put_text(found->text, to, room) : NOT_SUPPORTED;
}

static int number_of(handle device, const char *path, unsigned *to)
{
    const node *found = at(device, path);
    if (!found || (found->kind != NUMBER && found->kind != BOOLEAN))
        return NOT_SUPPORTED;
    if (!to)
        return INVALID_ARGUMENT;
    *to = (unsigned)found->number;
    return SUCCESS;
}

static int long_of(handle device, const char *path, unsigned long long *to)
{
    const node *found = at(device, path);
    if (!found || found->kind != NUMBER)
        return NOT_SUPPORTED;
    if (!to)
        return INVALID_ARGUMENT;
    *to = (unsigned long long)found->number;
    return SUCCESS;
}

static int both_of(handle device, const char *one, unsigned *first, const char *other, unsigned *second)
{
    int code = number_of(device, one, first);
    return code ? code : number_of(device, other, second);
}

/* ---- The library ------------------------------------------------------------------------------------------------ */

EXPORT int nvmlInitWithFlags(unsigned flags)
{
    (void)flags;
    if (!users) {
        node *read = read_world();
        if (!read)
            return UNKNOWN;
        world = read;
        int code = enter("nvmlInit_v2", NULL);
        if (code == PROCEED)
            code = look_at_kernel();
        if (code != SUCCESS)
            return code;
        if (text_of(world, "driver_version", driver_version, sizeof driver_version))
            strcpy(driver_version, VERSION);
    }
    users++;
    return SUCCESS;
}

EXPORT int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
EXPORT int nvmlInit(void) { return nvmlInitWithFlags(0); }

EXPORT int nvmlShutdown(void)
{
    SYSTEM();
    users--;
    return SUCCESS;
}

EXPORT const char *nvmlErrorString(int code)
{
    switch (code) {
    case SUCCESS: return "Success";
    case NOT_SUPPORTED: return "Not Supported";
    case DRIVER_NOT_LOADED: return "Driver Not Loaded";
    case LIB_RM_VERSION_MISMATCH: return "Driver/library version mismatch";
    default: return "Simulated error";
    }
}

EXPORT int nvmlSystemGetDriverVersion(char *version, unsigned room)
{
    SYSTEM();
    return put_text(driver_version, version, room);
}

EXPORT int nvmlSystemGetNVMLVersion(char *version, unsigned room)
{
    SYSTEM();
    char made[128];
    unsigned cuda = 13000;
    number_of(world, "cuda_version", &cuda);
    snprintf(made, sizeof made, "%u.%s", cuda / 1000, driver_version);
    return put_text(made, version, room);
}

EXPORT int nvmlSystemGetCudaDriverVersion_v2(int *version)
{
    SYSTEM();
    unsigned cuda = 13000;
    number_of(world, "cuda_version", &cuda);
    *version = (int)cuda;
    return SUCCESS;
}

EXPORT int nvmlSystemGetCudaDriverVersion(int *version) { return nvmlSystemGetCudaDriverVersion_v2(version); }

EXPORT int nvmlDeviceGetCount_v2(unsigned *count)
{
    SYSTEM();
    *count = length(get(world, "devices"));
    return SUCCESS;
}

EXPORT int nvmlDeviceGetCount(unsigned *count) { return nvmlDeviceGetCount_v2(count); }

EXPORT int nvmlDeviceGetHandleByIndex_v2(unsigned index, handle *device)
{
    SYSTEM();
    handle found = nth(get(world, "devices"), index);
    if (!found)
        return INVALID_ARGUMENT;
    double code;
    if (planned(get(found, "failures"), __func__, &code) && code > 0)
        return (int)code;
    *device = found;
    return SUCCESS;
}

EXPORT int nvmlDeviceGetHandleByIndex(unsigned index, handle *device)
{
    return nvmlDeviceGetHandleByIndex_v2(index, device);
}

EXPORT int nvmlDeviceGetIndex(handle device, unsigned *index)
{
    DEVICE(device);
    *index = 0;
    for (handle here = nth(get(world, "devices"), 0); here; here = here->next, ++*index)
        if (here == device)
            return SUCCESS;
    return NOT_FOUND;
}

EXPORT int nvmlDeviceGetHandleByUUID(const char *uuid, handle *device)
{
    SYSTEM();
    for (handle here = nth(get(world, "devices"), 0); here; here = here->next) {
        const node *own = get(here, "uuid");
        if (own && own->kind == STRING && !strcmp(own->text, uuid)) {
            *device = here;
            return SUCCESS;
        }
    }
    return NOT_FOUND;
}

EXPORT int nvmlDeviceGetName(handle device, char *name, unsigned room)
{
    DEVICE(device);
    return text_of(device, "name", name, room);
}

EXPORT int nvmlDeviceGetUUID(handle device, char *uuid, unsigned room)
{
    DEVICE(device);
    return text_of(device, "uuid", uuid, room);
}

EXPORT int nvmlDeviceGetSerial(handle device, char *serial, unsigned room)
{
    DEVICE(device);
    return text_of(device, "serial", serial, room);
}

EXPORT int nvmlDeviceGetMinorNumber(handle device, unsigned *minor)
{
    DEVICE(device);
    return number_of(device, "minor_number", minor);
}

typedef struct {
    char bus_id_legacy[16];
    unsigned domain, bus, device, device_id, subsystem_id;
    char bus_id[32];
} pci_info;

static int pci_of(handle device, pci_info *info, size_t room)
{
    const node *found = get(device, "pci_bus_id");
    pci_info made = {0};
    if (!found || found->kind != STRING || sscanf(found->text, "%x:%x:%x", &made.domain, &made.bus, &made.device) != 3)
        return NOT_SUPPORTED;
    snprintf(made.bus_id_legacy, sizeof made.bus_id_legacy, "%04X:%02X:%02X.0", made.domain & 0xFFFFu, made.bus & 0xFFu,
             made.device & 0xFFu);
    snprintf(made.bus_id, sizeof made.bus_id, "%08X:%02X:%02X.0", made.domain, made.bus & 0xFFu, made.device & 0xFFu);
    if ((found = get(device, "pci_device_id")) && found->kind == STRING)
        made.device_id = (unsigned)strtoul(found->text, NULL, 16);
    if ((found = get(device, "pci_subsystem_id")) && found->kind == STRING)
        made.subsystem_id = (unsigned)strtoul(found->text, NULL, 16);
    memcpy(info, &made, room);
    return SUCCESS;
}

EXPORT int nvmlDeviceGetPciInfo_v3(handle device, pci_info *info)
{
    DEVICE(device);
    return pci_of(device, info, sizeof *info);
}

EXPORT int nvmlDeviceGetPciInfo_v2(handle device, pci_info *info)
{
    DEVICE(device);
    return pci_of(device, info, 36); /* the older, shorter structure: the legacy id and five numbers */
}

EXPORT int nvmlDeviceGetCudaComputeCapability(handle device, int *major, int *minor)
{
    DEVICE(device);
    const node *found = get(device, "compute_capability");
    if (!found || found->kind != STRING || sscanf(found->text, "%d.%d", major, minor) != 2)
        return NOT_SUPPORTED;
    return SUCCESS;
}

typedef struct {
    unsigned long long total, free, used;
} memory_v1;

typedef struct {
    unsigned version;
    unsigned long long total, reserved, free, used;
} memory_v2;

EXPORT int nvmlDeviceGetMemoryInfo(handle device, memory_v1 *memory)
{
    DEVICE(device);
    unsigned long long reserved = 0;
    int code = long_of(device, "memory.total", &memory->total);
    code = code ? code : long_of(device, "memory.used", &memory->used);
    code = code ? code : long_of(device, "memory.free", &memory->free);
    if (!code && !long_of(device, "memory.reserved", &reserved))
        memory->used += reserved; /* as the real first version */
    return code;
}

EXPORT int nvmlDeviceGetTemperature(handle device, unsigned sensor, unsigned *celsius)
{
    DEVICE(device);
    return sensor ? INVALID_ARGUMENT : number_of(device, "temperature_celsius", celsius);
}

EXPORT int nvmlDeviceGetPowerUsage(handle device, unsigned *milliwatts)
{
    DEVICE(device);
    return number_of(device, "power_draw_milliwatts", milliwatts);
}

EXPORT int nvmlDeviceGetEnforcedPowerLimit(handle device, unsigned *milliwatts)
{
    DEVICE(device);
    return number_of(device, "power_limit_milliwatts", milliwatts);
}

typedef struct {
    unsigned gpu, memory;
} utilisation;

EXPORT int nvmlDeviceGetUtilizationRates(handle device, utilisation *rates)
{
    DEVICE(device);
    return both_of(device, "utilisation.gpu", &rates->gpu, "utilisation.memory", &rates->memory);
}

EXPORT int nvmlDeviceGetClockInfo(handle device, unsigned type, unsigned *mhz)
{
    DEVICE(device);
    static const char *const clocks[] = {"clocks.graphics", "clocks.sm", "clocks.memory", "clocks.video"};
    return type < 4 ? number_of(device, clocks[type], mhz) : INVALID_ARGUMENT;
}

EXPORT int nvmlDeviceGetCurrentClocksThrottleReasons(handle device, unsigned long long *reasons)
{
    DEVICE(device);
    return long_of(device, "clocks_event_reasons", reasons);
}

EXPORT int nvmlDeviceGetEccMode(handle device, unsigned *current, unsigned *pending)
{
    DEVICE(device);
    return both_of(device, "ecc.current", current, "ecc.pending", pending);
}

EXPORT int nvmlDeviceGetTotalEccErrors(handle device, unsigned type, unsigned counter, unsigned long long *count)
{
    DEVICE(device);
    static const char *const counters[2][2] = {{"ecc.volatile_corrected", "ecc.aggregate_corrected"},
                                               {"ecc.volatile_uncorrected", "ecc.aggregate_uncorrected"}};
    return type < 2 && counter < 2 ? long_of(device, counters[type][counter], count) : INVALID_ARGUMENT;
}

static int retired(handle device, unsigned cause, unsigned *count, unsigned long long *addresses,
                   unsigned long long *times)
{
    unsigned pages = 0;
    int code = cause > 1 ? INVALID_ARGUMENT
                         : number_of(device, cause ? "retired_pages.double_bit" : "retired_pages.single_bit", &pages);
    if (code)
        return code;
    if (*count < pages || (pages && !addresses)) {
        *count = pages;
        return INSUFFICIENT_SIZE;
    }
    *count = pages;
    for (unsigned page = 0; page < pages; page++) {
        addresses[page] = 0x1000ULL * (page + 1);
        if (times)
            times[page] = 1700000000ULL + page;
    }
    return SUCCESS;
}

EXPORT int nvmlDeviceGetRetiredPages(handle device, unsigned cause, unsigned *count, unsigned long long *addresses)
{
    DEVICE(device);
    return retired(device, cause, count, addresses, NULL);
}

EXPORT int nvmlDeviceGetRetiredPages_v2(handle device, unsigned cause, unsigned *count, unsigned long long *addresses,
                                        unsigned long long *times)
{
    DEVICE(device);
    return retired(device, cause, count, addresses, times);
}

EXPORT int nvmlDeviceGetRetiredPagesPendingStatus(handle device, unsigned *pending)
{
    DEVICE(device);
    return number_of(device, "retired_pages.pending", pending);
}

EXPORT int nvmlDeviceGetPersistenceMode(handle device, unsigned *mode)
{
    DEVICE(device);
    return number_of(device, "persistence_mode", mode);
}

EXPORT int nvmlDeviceGetComputeMode(handle device, unsigned *mode)
{
    DEVICE(device);
    return number_of(device, "compute_mode", mode);
}

EXPORT int nvmlDeviceGetNvLinkState(handle device, unsigned link, unsigned *active)
{
    DEVICE(device);
    const node *links = get(device, "nvlinks");
    if (!links)
        return NOT_SUPPORTED;
    const node *found = nth(links, link);
    if (!found)
        return INVALID_ARGUMENT;
    *active = (unsigned)found->number;
    return SUCCESS;
}

typedef struct {
    unsigned pid;
    unsigned long long memory;
} process_v1;

typedef struct {
    unsigned pid;
    unsigned long long memory;
    unsigned gpu_instance, compute_instance;
} process_v3;

static int processes(handle device, unsigned *count, void *to, size_t size)
{
    const node *list = get(device, "processes");
    unsigned found = length(list);
    if (found > *count || (found && !to)) {
        *count = found;
        return INSUFFICIENT_SIZE;
    }
    *count = found;
    for (unsigned index = 0; index < found; index++) {
        process_v3 made = {0, 0, 0xFFFFFFFFu, 0xFFFFFFFFu};
        number_of(nth(list, index), "pid", &made.pid);
        if (long_of(nth(list, index), "memory", &made.memory))
            made.memory = ~0ULL;
        memcpy((char *)to + index * size, &made, size);
    }
    return SUCCESS;
}

EXPORT int nvmlDeviceGetComputeRunningProcesses(handle device, unsigned *count, process_v1 *to)
{
    DEVICE(device);
    return processes(device, count, to, sizeof *to);
}

EXPORT int nvmlDeviceGetComputeRunningProcesses_v2(handle device, unsigned *count, process_v3 *to)
{
    DEVICE(device);
    return processes(device, count, to, sizeof *to);
}

/* ---- What a library of before R450 does not have (build with -DOLD to leave it out) ----------------------------- */
#ifndef OLD

EXPORT int nvmlDeviceGetArchitecture(handle device, unsigned *architecture)
{
    DEVICE(device);
    return number_of(device, "architecture", architecture);
}

EXPORT int nvmlDeviceGetMemoryInfo_v2(handle device, memory_v2 *memory)
{
    DEVICE(device);
    if (memory->version != (sizeof *memory | 2u << 24))
        return ARGUMENT_VERSION_MISMATCH;
    int code = long_of(device, "memory.total", &memory->total);
    code = code ? code : long_of(device, "memory.used", &memory->used);
    code = code ? code : long_of(device, "memory.free", &memory->free);
    if (!code && long_of(device, "memory.reserved", &memory->reserved))
        memory->reserved = 0;
    return code;
}

typedef struct {
    unsigned version, sensor;
    int celsius;
} temperature;

EXPORT int nvmlDeviceGetTemperatureV(handle device, temperature *to)
{
    DEVICE(device);
    unsigned celsius;
    if (to->version != (sizeof *to | 1u << 24))
        return ARGUMENT_VERSION_MISMATCH;
    int code = to->sensor ? INVALID_ARGUMENT : number_of(device, "temperature_celsius", &celsius);
    if (!code)
        to->celsius = (int)celsius;
    return code;
}

EXPORT int nvmlDeviceGetCurrentClocksEventReasons(handle device, unsigned long long *reasons)
{
    DEVICE(device);
    return long_of(device, "clocks_event_reasons", reasons);
}

EXPORT int nvmlDeviceGetRemappedRows(handle device, unsigned *corrected, unsigned *uncorrected, unsigned *pending,
                                     unsigned *failure)
{
    DEVICE(device);
    int code = both_of(device, "remapped_rows.corrected", corrected, "remapped_rows.uncorrected", uncorrected);
    return code ? code : both_of(device, "remapped_rows.pending", pending, "remapped_rows.failure", failure);
}

EXPORT int nvmlDeviceGetMigMode(handle device, unsigned *current, unsigned *pending)
{
    DEVICE(device);
    return both_of(device, "mig.current", current, "mig.pending", pending);
}

EXPORT int nvmlDeviceGetMaxMigDeviceCount(handle device, unsigned *count)
{
    DEVICE(device);
    *count = at(device, "mig.current") ? 7 : 0;
    return SUCCESS;
}

EXPORT int nvmlDeviceGetMigDeviceHandleByIndex(handle device, unsigned index, handle *instance)
{
    DEVICE(device);
    if (!at(device, "mig.current"))
        return NOT_SUPPORTED;
    handle found = nth(at(device, "mig.instances"), index);
    if (!found)
        return NOT_FOUND;
    *instance = found;
    return SUCCESS;
}

EXPORT int nvmlDeviceGetGpuInstanceId(handle device, unsigned *id)
{
    DEVICE(device);
    return number_of(device, "gpu_instance_id", id);
}

EXPORT int nvmlDeviceGetComputeInstanceId(handle device, unsigned *id)
{
    DEVICE(device);
    return number_of(device, "compute_instance_id", id);
}

typedef struct {
    unsigned multiprocessors, copy_engines, decoders, encoders, jpegs, ofas, gpu_slices, compute_slices;
    unsigned long long memory_mib;
} attributes;

EXPORT int nvmlDeviceGetAttributes_v2(handle device, attributes *to)
{
    DEVICE(device);
    memset(to, 0, sizeof *to);
    if (!get(device, "gpu_instance_id"))
        return NOT_SUPPORTED;
    number_of(device, "multiprocessors", &to->multiprocessors);
    number_of(device, "gpu_slices", &to->gpu_slices);
    number_of(device, "compute_slices", &to->compute_slices);
    return long_of(device, "memory_mib", &to->memory_mib);
}

typedef struct {
    unsigned version;
    unsigned char cluster[16];
    unsigned status, clique;
    unsigned char state;
    unsigned health;
} fabric_v2;

static int fabric(handle device, fabric_v2 *to)
{
    unsigned state = 0;
    const node *cluster = at(device, "fabric.cluster_uuid");
    memset(to->cluster, 0, sizeof to->cluster);
    to->status = to->clique = to->health = 0;
    int code = number_of(device, "fabric.state", &state);
    if (code)
        return code;
    to->state = (unsigned char)state;
    number_of(device, "fabric.status", &to->status);
    number_of(device, "fabric.clique_id", &to->clique);
    number_of(device, "fabric.health_mask", &to->health);
    if (cluster && cluster->kind == STRING) {
        const char *here = cluster->text;
        for (unsigned byte = 0; byte < 16 && *here; here += *here == '-' ? 1 : 2)
            if (*here != '-') {
                unsigned read = 0;
                sscanf(here, "%2x", &read);
                to->cluster[byte++] = (unsigned char)read;
            }
    }
    return SUCCESS;
}

EXPORT int nvmlDeviceGetGpuFabricInfoV(handle device, fabric_v2 *to)
{
    DEVICE(device);
    return to->version == (sizeof *to | 2u << 24) ? fabric(device, to) : ARGUMENT_VERSION_MISMATCH;
}

typedef struct {
    unsigned field, scope;
    long long timestamp, latency;
    unsigned type;
    int code;
    union {
        double number;
        unsigned word;
        unsigned long long wide;
    } value;
} field_value;

EXPORT int nvmlDeviceGetFieldValues(handle device, int count, field_value *values)
{
    DEVICE(device);
    for (int index = 0; index < count; index++) {
        field_value *asked = &values[index];
        asked->type = 1; /* unsigned int */
        asked->value.wide = 0;
        asked->code = asked->field == 230 ? number_of(device, "recovery_action", &asked->value.word) : NOT_SUPPORTED;
    }
    return SUCCESS;
}

EXPORT int nvmlDeviceGetComputeRunningProcesses_v3(handle device, unsigned *count, process_v3 *to)
{
    DEVICE(device);
    return processes(device, count, to, sizeof *to);
}

#endif
