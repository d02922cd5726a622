/* Messages as POP3 sends them (pure). A file has LF line ends, or CRLF if another program delivered it; whatever else
 * it holds passes as it is. */

#include "bridge.h"

#include <string.h>

void poptext_whole(struct poptext *t)
{
    *t = (struct poptext){.top = false};
}

void poptext_top(struct poptext *t, uint64_t lines)
{
    *t = (struct poptext){.top = true, .lines = lines};
}

/* A line has ended. */
static void end_line(struct poptext *t, struct buf *out)
{
    bool empty = t->line == 0 || (t->line == 1 && t->last == '\r');
    buf_str(out, t->line > 0 && t->last == '\r' ? "\n" : "\r\n");
    t->line = 0;
    if (!t->top) {
        return;
    }
    if (t->in_body) {
        t->lines--;
    }
    t->in_body = t->in_body || empty;
    t->done = t->in_body && t->lines == 0;
}

void poptext_put(struct poptext *t, const void *bytes, size_t len, struct buf *out)
{
    const unsigned char *p = bytes;
    while (len > 0 && !t->done) {
        const unsigned char *lf = memchr(p, '\n', len);
        size_t run = lf == NULL ? len : (size_t)(lf - p);
        if (run > 0) {
            if (t->line == 0 && p[0] == '.') {
                buf_byte(out, '.');
            }
            buf_put(out, p, run);
            t->line += run;
            t->last = p[run - 1];
        }
        if (lf != NULL) {
            end_line(t, out);
            run++;
        }
        p += run;
        len -= run;
    }
}

void poptext_end(struct poptext *t, struct buf *out)
{
    if (t->line > 0) {
        end_line(t, out);
    }
    buf_str(out, ".\r\n");
}

void popcount_put(struct popcount *c, const void *bytes, size_t len)
{
    const unsigned char *p = bytes, *end = p + len;
    if (len == 0) {
        return;
    }
    c->octets += len;
    for (const unsigned char *lf = p; (lf = memchr(lf, '\n', (size_t)(end - lf))) != NULL; lf++) {
        c->octets += (lf > p ? lf[-1] : c->last) == '\r' ? 0 : 1;
    }
    c->last = end[-1];
}

uint64_t popcount_end(const struct popcount *c)
{
    uint64_t missing = c->octets == 0 || c->last == '\n' ? 0 : c->last == '\r' ? 1 : 2;
    return c->octets + missing;
}
