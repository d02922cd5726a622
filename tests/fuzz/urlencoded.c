/* application/x-www-form-urlencoded bodies: byte 0 chooses an encoding, bytes 1 and 2 where the body is cut.
 * However it is cut, the result is the same, and what comes out keeps the promises of form_end(). */

#include "tests/form_body.h"

#include <stdlib.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    charset_open();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const charsets[] = {NULL,  "utf-8",       "latin1", "shift_jis",
                                           "gbk", "iso-2022-jp", "big5",   "utf-16"};
    if (size < 3) {
        return 0;
    }
    struct body b = {
        .kind = FORM_URLENCODED,
        .boundary = NULL,
        .charset = charsets[data[0] % COUNT(charsets)],
        .limits = {.body = 4096, .fields = 20, .files = 4},
        .bytes = (const char *)data + 3,
        .len = size - 3,
    };
    struct form *whole = body_parse(&b, 0, 0);
    struct form *cut = body_parse(&b, data[1], data[2]);
    struct form *bytewise = body_parse(&b, 1, 1);
    if (whole == NULL || cut == NULL || bytewise == NULL || !body_same(whole, cut) ||
        !body_same(whole, bytewise) || !body_promises(whole, &b.limits)) {
        abort();
    }
    form_free(whole);
    form_free(cut);
    form_free(bytewise);
    return 0;
}
