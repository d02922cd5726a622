/* The chain of a mail host: certificates one after another, each with its length in three bytes in front (RFC
 * 5246 §7.4.2). Without an anchor and with a pin that nobody has, no bytes are good enough. */

#include "bridge.h"

#include <stdlib.h>
#include <string.h>

static void judge(const struct mailhost *host, const uint8_t *data, size_t size)
{
    struct trust_check *c = trust_check_new(host, NULL, 1800000000);
    if (c == NULL) {
        abort();
    }
    const br_x509_class **x = trust_check_class(c);
    (*x)->start_chain(x, NULL);
    while (size >= 3) {
        size_t len = (size_t)data[0] << 16 | (size_t)data[1] << 8 | data[2];
        data += 3;
        size -= 3;
        len = len < size ? len : size;
        (*x)->start_cert(x, (uint32_t)len);
        if (len > 0) {
            (*x)->append(x, data, len);
        }
        (*x)->end_cert(x);
        data += len;
        size -= len;
    }
    if ((*x)->end_chain(x) == 0 || trust_check_why(c)[0] == '\0') {
        abort();
    }
    trust_check_free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char name[] = "mail.example.com";
    static unsigned char pin[1][32];
    struct mailhost chain = {.server = name};
    struct mailhost pinned = {.server = name, .pins = pin, .pin_count = 1, .pin_only = true};
    judge(&chain, data, size);
    judge(&pinned, data, size);
    return 0;
}
