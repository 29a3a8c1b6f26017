/* floor: what the kernel alone needs for one container's life, as the bound that no engine can beat.
 *
 *   gcc -O2 scripts/floor.c -o floor && ./floor IMAGE-DIRECTORY SCRATCH-DIRECTORY ROUNDS
 *
 * Each round: six namespaces, an overlay root, the usual mounts and devices, masked and read-only paths, pivot_root,
 * exec of /bin/true. Prints one line of milliseconds per round. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *image, *scratch;

static void must(int result, const char *what) {
    if (result < 0) {
        perror(what);
        _exit(1);
    }
}

static void fs(const char *type, const char *where, unsigned long flags, const char *options) {
    must(mount(type, where, type, flags, options), where);
}

static void readonly_bind(const char *where) {
    must(mount(where, where, NULL, MS_BIND | MS_REC, NULL), where);
    must(mount(NULL, where, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL), where);
}

static void root_of_its_own(void) {
    char options[4096], merged[1024];
    must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "private");
    snprintf(options, sizeof options, "lowerdir=%s,upperdir=%s/upper,workdir=%s/work", image, scratch, scratch);
    snprintf(merged, sizeof merged, "%s/merged", scratch);
    fs("overlay", merged, 0, options);
    must(chdir(merged), "chdir");
}

static void usual_mounts(void) {
    const unsigned long plain = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    static const struct { const char *path; int major, minor; } devices[] = {
        {"dev/null", 1, 3}, {"dev/zero", 1, 5}, {"dev/full", 1, 7}, {"dev/random", 1, 8}, {"dev/urandom", 1, 9}, {"dev/tty", 5, 0}};
    fs("proc", "proc", plain, NULL);
    fs("tmpfs", "dev", MS_NOSUID, "mode=755,size=65536k");
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++)
        must(mknod(devices[i].path, S_IFCHR | 0666, makedev(devices[i].major, devices[i].minor)), devices[i].path);
    must(mkdir("dev/pts", 0755) | mkdir("dev/shm", 0755) | mkdir("dev/mqueue", 0755), "mkdir");
    fs("devpts", "dev/pts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620");
    fs("tmpfs", "dev/shm", plain, "mode=1777,size=65536k");
    fs("mqueue", "dev/mqueue", plain, NULL);
    fs("sysfs", "sys", plain | MS_RDONLY, NULL);
    readonly_bind("proc/bus");
    readonly_bind("proc/fs");
    readonly_bind("proc/irq");
    readonly_bind("proc/sys");
    mount("dev/null", "proc/kcore", NULL, MS_BIND, NULL); /* not every kernel has these two */
    mount("dev/null", "proc/timer_list", NULL, MS_BIND, NULL);
}

static int container(void *unused) {
    (void)unused;
    root_of_its_own();
    usual_mounts();
    must(syscall(SYS_pivot_root, ".", "."), "pivot_root");
    must(umount2(".", MNT_DETACH), "umount");
    must(chdir("/"), "chdir");
    must(sethostname("floor", 5), "sethostname");
    execl("/bin/true", "true", (char *)NULL);
    _exit(127);
}

int main(int count, char **words) {
    static char stack[1 << 16];
    const int apart = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
    if (count != 4) return 2;
    image = words[1];
    scratch = words[2];
    for (int round = atoi(words[3]); round > 0; round--) {
        struct timespec begin, end;
        int status;
        clock_gettime(CLOCK_MONOTONIC, &begin);
        int pid = clone(container, stack + sizeof stack, apart | SIGCHLD, NULL);
        must(pid, "clone");
        waitpid(pid, &status, 0);
        clock_gettime(CLOCK_MONOTONIC, &end);
        if (status) return 1;
        printf("%.3f\n", (end.tv_sec - begin.tv_sec) * 1e3 + (end.tv_nsec - begin.tv_nsec) / 1e6);
    }
    return 0;
}
