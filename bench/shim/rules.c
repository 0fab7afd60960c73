/* The rules by which the disk of disk.c fails, and the network and the clock with it. Part of disk.c. */

#define RULES 32

enum what { SYNC, WRITE, READ, SEND };
struct rule {
    char verb[16], match[64];      /* verbs: fail, chance, slow, before, after */
    enum what what;
    long skip, count;              /* for a chance: per mille; for slow: milliseconds */
};

static struct rule rules[RULES];
static int rule_count;
static long space_left = -1;       /* bytes by which files may still grow; -1: no limit */
static bool read_only;
static struct timespec rules_read; /* when the file with the rules was last changed */
static atomic_long clock_offset;   /* seconds */
static unsigned int random_state = 1;

/*
 * One rule a line. WHAT is sync, write, read or send; MATCH is the end of a file's path or, for send, the peer's port;
 * "*" matches all. Counts begin when the file of rules is replaced.
 *
 *   fail WHAT MATCH SKIP COUNT    fails with EIO, after SKIP successes, COUNT times (0: from then on)
 *   chance WHAT MATCH PERMILLE 0  fails with EIO at random
 *   slow WHAT MATCH MILLIS 0      takes that long
 *   before WHAT MATCH N 0         the process kills itself in the N-th call, before it does anything
 *   after WHAT MATCH N 0          the same, after its effect and before it returns
 *   space BYTES                   files can grow by so much; then ENOSPC
 *   readonly                      EROFS for every change
 *   clock SECONDS                 is added to the wall clock
 */
static void parse(char *text) {
    rule_count = 0, space_left = -1, read_only = false;
    long offset = 0;
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char verb[16], what[16], match[64];
        long skip = 0, count = 0;
        int fields = sscanf(line, "%15s %15s %63s %ld %ld", verb, what, match, &skip, &count);
        if (fields == 5 && rule_count < RULES) {
            struct rule *rule = &rules[rule_count++];
            strcpy(rule->verb, verb), strcpy(rule->match, match);
            rule->what = *what == 'w' ? WRITE : *what == 'r' ? READ : what[1] == 'e' ? SEND : SYNC;
            rule->skip = skip, rule->count = count;
        } else if (!strcmp(verb, "readonly")) {
            read_only = true;
        } else if (!strcmp(verb, "space")) {
            space_left = atol(what);
        } else if (!strcmp(verb, "clock")) {
            offset = atol(what);
        }
    }
    atomic_store(&clock_offset, offset);
}

/* Reads the rules again if they were replaced. */
static void look(void) {
    struct stat now;
    if (syscall(SYS_newfstatat, AT_FDCWD, control, &now, 0) < 0) return;
    if (now.st_mtim.tv_sec == rules_read.tv_sec && now.st_mtim.tv_nsec == rules_read.tv_nsec) return;
    char text[4096];
    int fd = raw_open(control, O_RDONLY, 0);
    if (fd < 0) return;
    ssize_t length = syscall(SYS_read, fd, text, sizeof text - 1);
    syscall(SYS_close, fd);
    rules_read = now.st_mtim;
    text[length > 0 ? length : 0] = 0;
    parse(text);
}

static bool ends_with(const char *text, const char *end) {
    size_t length = strlen(text), of_end = strlen(end);
    return !strcmp(end, "*") || (length >= of_end && !strcmp(text + length - of_end, end));
}

static void die(const char *verb, const char *name) {
    note("killed\t%s\t%s\n", verb, name);
    syscall(SYS_kill, getpid(), SIGKILL);
    for (;;) pause();
}

/* Applies the rules to a call that is about to happen. Returns whether it has to fail; sets the milliseconds that it
 * takes, and whether the process dies after it. */
static bool obey(enum what what, const char *name, long *millis, bool *dies) {
    bool fails = false;
    *millis = 0, *dies = false;
    for (int i = 0; i < rule_count; i++) {
        struct rule *rule = &rules[i];
        if (rule->what != what || !ends_with(name, rule->match)) continue;
        switch (rule->verb[0]) {
        case 'f':
            if (rule->skip > 0) rule->skip--;
            else if (rule->count >= 0) {
                fails = true;
                if (rule->count && --rule->count == 0) rule->count = -1;
            }
            break;
        case 'c': fails |= (long)(rand_r(&random_state) % 1000) < rule->skip; break;
        case 's': *millis += rule->skip; break;
        case 'b': if (--rule->skip == 0) die("before", name); break;
        case 'a': *dies |= --rule->skip == 0; break;
        }
    }
    return fails;
}

static void rest_for(long millis) {
    struct timespec pause = {millis / 1000, millis % 1000 * 1000000};
    if (millis) syscall(SYS_nanosleep, &pause, NULL);
}
