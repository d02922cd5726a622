/* What GMP and Nettle free. They free their working memory as it is: intermediate values of secrets would stay in it. */

#include "bridge.h"

#include <gmp.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static pthread_once_t installed = PTHREAD_ONCE_INIT;

/* The size that GMP is told cannot be relied on: of the working memory of RSA, Nettle 3.8 says how many limbs it has
 * where it should say how many bytes (TMP_GMP_FREE in its gmp-glue.h). malloc(3) knows. */
static void wipe_and_free(void *memory, size_t size)
{
    (void)size;
    explicit_bzero(memory, malloc_usable_size(memory));
    free(memory);
}

static void install(void)
{
    mp_set_memory_functions(NULL, NULL, wipe_and_free);
}

void wipe_gmp(void)
{
    pthread_once(&installed, install);
}
