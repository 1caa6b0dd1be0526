/*
 * For an httpd with one process under callgrind: counting begins when it serves, which saves a
 * start that takes minutes otherwise, and each connection dumps what was counted before it.
 */
#include <pthread.h>
#include <unistd.h>

#include <httpd.h>

#include <http_config.h>
#include <http_connection.h>

#include <valgrind/callgrind.h>

static void *rest(void *argument)
{
    for (;;) {
        pause();
    }
    return argument;
}

/* With one thread alone the C library would save its locks, as it cannot in any other MPM. */
static void child_init(apr_pool_t *pool, server_rec *server)
{
    pthread_t second;

    (void)pool;
    (void)server;
    pthread_create(&second, NULL, rest, NULL);
    CALLGRIND_START_INSTRUMENTATION;
}

static int pre_connection(conn_rec *c, void *socket)
{
    (void)c;
    (void)socket;
    CALLGRIND_DUMP_STATS;
    return OK;
}

static void register_hooks(apr_pool_t *pool)
{
    (void)pool;
    ap_hook_child_init(child_init, NULL, NULL, APR_HOOK_REALLY_LAST);
    ap_hook_pre_connection(pre_connection, NULL, NULL, APR_HOOK_REALLY_FIRST);
}

AP_DECLARE_MODULE(counted) = {
    STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL, register_hooks, AP_MODULE_FLAG_NONE};
