/* Without an argument: every key and its default. With one: the mistakes in the text of that config, exit 1 if there
 * are any. */

#include "bridge.h"

#include <stdio.h>

int main(int argc, char **argv)
{
    struct buf out;
    buf_init(&out, 1 << 20);
    struct conf *c = NULL;
    if (argc > 1) {
        static char text[1 << 20];
        FILE *file = fopen(argv[1], "r");
        size_t len = file != NULL ? fread(text, 1, sizeof text, file) : 0;
        c = conf_parse(argv[1], text, len, &out);
        if (file != NULL) {
            fclose(file);
        }
    } else {
        confkeys_list(&out);
    }
    fwrite(out.data, 1, out.len, stdout);
    bool failed = argc > 1 && c == NULL;
    conf_free(c);
    buf_free(&out);
    return failed;
}
