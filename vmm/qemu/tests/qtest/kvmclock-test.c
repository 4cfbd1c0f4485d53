/*
 * The kvmclock device: whether a guest's TSC is restored with its clock.
 *
 * Guests migrate between two QEMUs of one host, with each combination of the
 * property x-guest-tsc.  What KVM can is not known beforehand: 'auto' tells.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "libqtest.h"

typedef struct Ends {
    const char *name, *source, *destination;
} Ends;

static const Ends both_ends[] = {
    { "auto-to-auto", "auto", "auto" },
    { "auto-to-off", "auto", "off" },
    { "off-to-auto", "off", "auto" },
    { "off-to-off", "off", "off" },
};

static QTestState *start(const char *properties, const char *arguments)
{
    return qtest_initf("-M pc -accel kvm -nodefaults %s %s",
                       properties, arguments);
}

static char *get(QTestState *qts, const char *property)
{
    QDict *rsp = qtest_qmp(qts, "{ 'execute': 'qom-get', 'arguments': {"
                           "'path': '/machine/kvmclock', 'property': %s } }",
                           property);
    char *value = g_strdup(qdict_get_try_str(rsp, "return"));

    qobject_unref(rsp);
    return value;
}

static void assert_is(QTestState *qts, const char *property, const char *value)
{
    g_autofree char *found = get(qts, property);

    g_assert_cmpstr(found, ==, value);
}

static bool has_tsc(QTestState *qts)
{
    g_autofree char *found = get(qts, "x-guest-tsc");

    g_assert_nonnull(found);
    return g_str_equal(found, "on");
}

static void test_default(void)
{
    QTestState *qts = start("", "");

    assert_is(qts, "x-guest-tsc", "off");
    assert_is(qts, "count-pauses", "auto");
    assert_is(qts, "restored", "none");
    qtest_quit(qts);
}

static void test_migrate(const void *data)
{
    const Ends *ends = data;
    g_autofree char *dir = g_dir_make_tmp("kvmclock-test-XXXXXX", NULL);
    g_autofree char *uri = g_strdup_printf("unix:%s/socket", dir);
    g_autofree char *incoming = g_strdup_printf("-incoming %s", uri);
    g_autofree char *to = g_strdup_printf("-global kvmclock.x-guest-tsc=%s",
                                          ends->destination);
    g_autofree char *from = g_strdup_printf("-global kvmclock.x-guest-tsc=%s",
                                            ends->source);
    QTestState *destination = start(to, incoming);
    QTestState *source = start(from, "");
    const char *expected = "without-tsc";

    if (has_tsc(source)) {
        expected = has_tsc(destination) ? "with-tsc" : "tsc-dropped";
    }
    qtest_qmp_assert_success(source, "{ 'execute': 'migrate',"
                             "'arguments': { 'uri': %s } }", uri);
    qtest_qmp_eventwait(destination, "RESUME");
    assert_is(destination, "restored", expected);
    assert_is(source, "restored", "none");

    qtest_quit(source);
    qtest_quit(destination);
    unlink(uri + strlen("unix:"));
    rmdir(dir);
}

int main(int argc, char **argv)
{
    int i;

    g_test_init(&argc, &argv, NULL);

    if (qtest_has_accel("kvm")) {
        qtest_add_func("kvmclock/default", test_default);
        for (i = 0; i < ARRAY_SIZE(both_ends); i++) {
            g_autofree char *path = g_strdup_printf("kvmclock/migrate/%s",
                                                    both_ends[i].name);

            qtest_add_data_func(path, &both_ends[i], test_migrate);
        }
    }

    return g_test_run();
}
