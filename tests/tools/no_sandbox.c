/* In place of sandbox.c in a build for valgrind, which knows neither the calls of Landlock nor those of a filter. Such a
 * program shows memory errors and leaks; it is good for nothing else. */

#include "bridge.h"

bool sandbox_user(const char *user, char *why, size_t why_size)
{
    if (user != NULL) {
        text_copy(why, why_size, "this build for valgrind does not change its user");
    }
    return user == NULL;
}

bool sandbox_kernel(char *why, size_t why_size)
{
    text_copy(why, why_size, "sandbox: NONE, this is a build for valgrind");
    return true;
}

bool sandbox_paths(enum sandbox_role role, const struct sandbox_path *paths, size_t count, char *why,
                   size_t why_size)
{
    (void)role, (void)paths, (void)count, (void)why, (void)why_size;
    return true;
}

bool sandbox_calls(enum sandbox_role role, int *bad_call, char *why, size_t why_size)
{
    (void)role, (void)bad_call, (void)why, (void)why_size;
    return true;
}

void sandbox_call_name(int number, char *out, size_t size)
{
    text_fmt(out, size, "%d", number);
}
